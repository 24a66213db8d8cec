"""Copies of the rows that a shard of a text needs, for word2vec's numba engine.

A row that one shard of a round needs is written back by it. What several need is
merged, since what is right for a row in one shard is too much if all of them move it
far the same way; see `merge`.
"""

from typing import NamedTuple

import numpy as np

from training.word_vectors import compiled

SHARDS = 4  # of a round; also the most threads of use
_CURVATURE = np.float32(0.25)


class Copies(NamedTuple):
    """The rows of a table that each shard of a round needs.

    Attributes:
      number: int64 [S], rows of each shard.
      rows: int32 [S, R], which.
      uses: float32 [S, R], steps that each row makes; in CBOW, one of an input's counts
        as its share in the mean.
      values: float32 [S, R, D].
      num_shared: int64 [S], rows of each shard that others of the round have, too.
      shared: int32 [S, R], their places.
    """

    number: np.ndarray
    rows: np.ndarray
    uses: np.ndarray
    values: np.ndarray
    num_shared: np.ndarray
    shared: np.ndarray


def room(table, most):
    """Makes room for so many rows a shard."""
    shape = SHARDS, min(most, len(table))
    rows, uses = np.empty(shape, np.int32), np.empty(shape, np.float32)
    values = np.empty([*shape, table.shape[1]], np.float32)
    number, num_shared = np.zeros([2, SHARDS], np.int64)
    return Copies(number, rows, uses, values, num_shared, np.empty(shape, np.int32))


@compiled.inner
def give_places(found, slot, places, copies):
    """Turns rows into where a shard's copies of them will be; not without room.

    Args:
      found: int32 [N], rows; changed.
      slot: the shard's number in its round.
      places: int32 [S, V], -1 where a shard of the round has no copy of a row, or
        [S, 0]; the shard's are changed.
      copies: of the table; its numbers, rows and uses are set, these to 0.
    """
    if not places.shape[1]:
        return
    number = np.int32(0)
    # Arrays taken out of a tuple in the loop would be counted there. There is no
    # branch, either: whether a row is new is hard to predict.
    places, rows = places[slot], copies.rows[slot]
    for i in range(copies.number[slot]):
        places[rows[i]] = -1
    for i in range(len(found)):
        row = found[i]
        place = places[row]
        place = number if place < 0 else place
        number = max(number, np.int32(place + 1))
        found[i] = places[row] = place
        rows[place] = row
    copies.uses[slot, :number] = 0
    copies.number[slot] = number


@compiled.inlined
def fetch(table, slot, copies, size):
    """Copies the rows of a shard."""
    rows, values = copies.rows[slot], copies.values[slot]
    for place in range(copies.number[slot]):
        row = rows[place]
        for k in range(size):
            values[place, k] = table[row, k]


@compiled.inlined
def give_back(table, slot, number, places, copies, size):
    """Writes the rows that no other shard of the round has; lists the others."""
    rows, values = copies.rows[slot], copies.values[slot]
    shared, count = copies.shared[slot], 0
    for place in range(copies.number[slot]):
        row, holders = rows[place], 0
        for other in range(number):
            holders += places[other, row] >= 0
        shared[count] = place
        if holders > 1:
            count += 1
            continue
        for k in range(size):
            table[row, k] = values[place, k]
    copies.num_shared[slot] = count


@compiled.inlined
def merge(table, copies, sums, number, rate, thread, threads, size):
    """Moves a table's rows as far as they have moved in the shards of a round.

    With rate x curvature r, a shard that makes n steps of a row takes it 1 - e^(-rn)
    of the way to where these steps lead to, and all N of them, one after the other,
    would bring it to 1 - e^(-rN). By that the sum of the moves is scaled: few steps are
    added up, many are averaged. A logistic loss has a curvature of at most a quarter of
    the other vector's square, which is taken for 1.

    A row x whose copies are c_1 to c_n goes by s to x + s (c_1 - x + ... + c_n - x),
    which is (1 - n s) x + s c_1 + ... + s c_n.

    Args:
      table: float32 [V, D].
      copies: of it.
      sums: float32 [3, V], zeros, and left so.
      number: shards of the round.
      rate: float32.
      thread: which one this is; every one has rows of its own.
      threads: how many there are.
      size: D.
    """
    curvature = rate * _CURVATURE
    steps, ways, shares = sums
    for shard in range(number):
        rows, all_uses = copies.rows[shard], copies.uses[shard]
        for place in copies.shared[shard, : copies.num_shared[shard]]:
            row, uses = rows[place], all_uses[place]
            if (row >> 4) % threads == thread:
                steps[row] += uses
                ways[row] += np.float32(1) - np.exp(-curvature * uses)
                shares[row] += 1
    for shard in range(number):
        rows, values = copies.rows[shard], copies.values[shard]
        for place in copies.shared[shard, : copies.num_shared[shard]]:
            row = rows[place]
            if (row >> 4) % threads != thread or not steps[row]:
                continue
            scale, kept = np.float32(1), np.float32(1)
            if ways[row] > 0:
                scale = (np.float32(1) - np.exp(-curvature * steps[row])) / ways[row]
            kept -= scale * shares[row]
            shares[row] = 0
            for k in range(size):
                table[row, k] = kept * table[row, k] + scale * values[place, k]
    for shard in range(number):
        rows = copies.rows[shard]
        for place in copies.shared[shard, : copies.num_shared[shard]]:
            row = rows[place]
            if (row >> 4) % threads == thread:
                steps[row] = ways[row] = shares[row] = 0
