"""The table in which co-occurrences are counted, compiled by numba."""

import numba
import numpy as np

_jit = numba.njit(nogil=True, cache=True, error_model="numpy")


@_jit
def _slot(key, mask):
    """Where a key's search begins."""
    # Multiplicative hashing (Knuth, The Art of Computer Programming, 6.4).
    spread = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(spread >> np.uint64(20)) & mask


@_jit
def add(ids, places, start, vocab_size, weights, symmetric, table, used, most):
    """Counts the words of a portion until it ends or the table is full.

    A pair (w, c) has the key w V + c; in the table keys are one more, for 0 is empty.

    Args:
      ids: int32 [T], words.
      places: int64 [T], how many words of its line stand before each.
      start: the first word whose pairs with words on its left are counted.
      vocab_size: V.
      weights: int64 [window + 1], what a pair at each distance counts.
      symmetric: whether (w, c) and (c, w) are one pair, kept as the smaller key.
      table: int64 [a power of two, 2], keys and sums; changed.
      used: how many pairs are in it.
      most: how many may be, before a word is begun.

    Returns:
      The first word that was not counted, T if there is none, and the new `used`.
    """
    mask = len(table) - 1
    for i in range(start, len(ids)):
        if used > most:
            return i, used
        right = np.int64(ids[i])
        for distance in range(1, min(len(weights) - 1, places[i]) + 1):
            left = np.int64(ids[i - distance])
            if symmetric:
                key = min(left, right) * vocab_size + max(left, right) + 1
            else:
                key = left * vocab_size + right + 1
            slot = _slot(key, mask)
            while table[slot, 0] != key:
                if table[slot, 0] == 0:
                    table[slot, 0] = key
                    used += 1
                    break
                slot = (slot + 1) & mask
            table[slot, 1] += weights[distance]
    return len(ids), used


@_jit
def move(table, larger):
    """Copies all pairs of a table into a larger, empty one.

    Args:
      table: int64 [a power of two, 2], keys and sums.
      larger: int64 [a power of two, 2]; changed.
    """
    mask = len(larger) - 1
    for i in range(len(table)):
        if table[i, 0]:
            slot = _slot(table[i, 0], mask)
            while larger[slot, 0]:
                slot = (slot + 1) & mask
            larger[slot] = table[i]
