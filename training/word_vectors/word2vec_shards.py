"""A shard of a text, for word2vec's numba engine: what it looks at, and its steps.

A step is the original's, but that all rows that one vector is predicted by move at
once.
"""

from typing import NamedTuple

import numpy as np

from training.word_vectors import compiled
from training.word_vectors.word2vec_copies import (
    SHARDS,
    fetch,
    give_back,
    give_places,
)
from training.word_vectors.word2vec_targets import find_targets

SHARD_WORDS = 256


class Rows(NamedTuple):
    """What the N words of a shard look at, and what each is predicted by.

    Attributes:
      around: int32 [N + at most two windows], the shard's words and those around them.
      inputs: int32 of the same shape, places of their rows of the inputs.
      first: where the shard's own words begin in these.
      left: int32 [N], neighbours before each of its words.
      right: int32 [N], neighbours after it.
      firsts: int64 [N + 1], where each word's targets begin.
      targets: int32 [sum], places of rows of the outputs.
      signs: float32 [sum], 1 where the logit should be high, -1 where low.
    """

    around: np.ndarray
    inputs: np.ndarray
    first: int
    left: np.ndarray
    right: np.ndarray
    firsts: np.ndarray
    targets: np.ndarray
    signs: np.ndarray


@compiled.inner
def _count_uses(firsts, targets, reach, cbow, uses):
    """Counts the steps that each row of the outputs makes."""
    for i in range(len(reach)):
        steps = np.float32(1 if cbow else reach[i])
        for target in range(firsts[i], firsts[i + 1]):
            uses[targets[target]] += steps


@compiled.inner
def find_rows(windows, shard, seed, method, noise, code, places, copies):
    """Finds the rows that a shard needs; see _train_shard.

    Returns:
      The shard's Rows.
    """
    window = method[2]
    slot, first = shard % SHARDS, shard * SHARD_WORDS
    last = min(first + SHARD_WORDS, len(windows.words))
    begin = max(0, first - window)
    around = windows.words[begin : last + window]
    inputs = around.copy()
    give_places(inputs, slot, places[0], copies[0])
    words = windows.words[first:last]
    left, right = windows.left[first:last], windows.right[first:last]
    reach = left + right
    firsts, targets, signs = find_targets(words, reach, seed, method, noise, code)
    give_places(targets, slot, places[1], copies[1])
    if places[1].shape[1]:
        _count_uses(firsts, targets, reach, method[0], copies[1].uses[slot])
    return Rows(around, inputs, first - begin, left, right, firsts, targets, signs)


@compiled.inlined
def _learn(hidden, error, outputs, targets, signs, gradients, rate, size):
    """Moves what a vector is predicted by; where the vector should go is in `error`.

    Returns:
      The probability of all that is right, before.
    """
    probability = 1.0
    for i in range(len(targets)):
        output, logit = outputs[targets[i]], np.float32(0)
        for k in range(size):
            logit += hidden[k] * output[k]
        right = np.float32(1) / (np.float32(1) + np.exp(-signs[i] * logit))
        gradients[i] = signs[i] * (np.float32(1) - right) * rate
        probability *= right
    for k in range(size):
        error[k] = 0
    for i in range(len(targets)):
        output, gradient = outputs[targets[i]], gradients[i]
        for k in range(size):
            error[k] += gradient * output[k]
            output[k] += gradient * hidden[k]
    return probability


@compiled.inlined
def _average(hidden, vectors, rows, start, center, end, size):
    """Sets `hidden` to the mean of a word's neighbours; returns the share of each."""
    for k in range(size):
        hidden[k] = 0
    for other in range(start, end):
        if other != center:
            vector = vectors[rows[other]]
            for k in range(size):
                hidden[k] += vector[k]
    share = np.float32(1) / np.float32(end - start - 1)
    for k in range(size):
        hidden[k] *= share
    return share


@compiled.inlined
def make_steps(rows, cbow, rate, vectors, outputs, frozen, uses, size):
    """Makes a shard's steps, one after the other.

    Args:
      rows: of the shard.
      cbow: whether a word is predicted from the mean of its neighbours.
      rate: float32, the learning rate.
      vectors: float32 [*, D], inputs.
      outputs: float32 [*, D].
      frozen: bool [V], or [0].
      uses: float32 [*], Copies.uses of the inputs; [0]: not asked.
      size: D.

    Returns:
      The sum of the losses, and of how many.
    """
    hidden, error = np.empty(size, np.float32), np.empty(size, np.float32)
    gradients = np.empty(len(rows.targets), np.float32)
    loss, number, probability = 0.0, 0, 1.0
    for i in range(len(rows.left)):
        center = rows.first + i
        start, end = center - rows.left[i], center + rows.right[i] + 1
        if end - start == 1:
            continue
        targets = rows.targets[rows.firsts[i] : rows.firsts[i + 1]]
        signs = rows.signs[rows.firsts[i] : rows.firsts[i + 1]]
        weight = np.float32(len(targets))
        if cbow:
            weight *= _average(hidden, vectors, rows.inputs, start, center, end, size)
            probability *= _learn(
                hidden, error, outputs, targets, signs, gradients, rate, size
            )
            number += 1
        for other in range(start, end):
            if other == center:
                continue
            vector = vectors[rows.inputs[other]]
            if not cbow:
                probability *= _learn(
                    vector, error, outputs, targets, signs, gradients, rate, size
                )
                number += 1
            if probability < 1e-100:
                loss -= np.log(probability)
                probability = 1.0
            if len(frozen) and frozen[rows.around[other]]:
                continue
            for k in range(size):
                vector[k] += error[k]
            if len(uses):
                uses[rows.inputs[other]] += weight
    return loss - np.log(probability), number


@compiled.inlined
def train_copies(rows, slot, number, rate, cbow, tables, frozen, places, copies, size):
    """Trains a shard on copies, and gives back what only it has.

    Args:
      rows: the shard's.
      slot: its number in the round.
      number: shards of the round.
      rate: float32, the learning rate.
      cbow: see make_steps.
      tables: float32 [V, D] and [T, D], inputs and outputs.
      frozen: bool [V], or [0].
      places: int32 [S, V] and [S, T], see give_places.
      copies: of both tables.
      size: D.

    Returns:
      The sum of the losses, and of how many.
    """
    fetch(tables[0], slot, copies[0], size)
    fetch(tables[1], slot, copies[1], size)
    vectors, outputs = copies[0].values[slot], copies[1].values[slot]
    uses = copies[0].uses[slot]
    loss = make_steps(rows, cbow, rate, vectors, outputs, frozen, uses, size)
    give_back(tables[0], slot, number, places[0], copies[0], size)
    give_back(tables[1], slot, number, places[1], copies[1], size)
    return loss
