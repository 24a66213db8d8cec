"""What word2vec's numba engine predicts each word by: its tree's nodes, and noise.

Words of the noise are shared by all pairs of a window, as Ji et al. (2016) do, and
drawn out of NOISE words for a shard.
"""

import numpy as np

from training.word_vectors import compiled

NOISE = 256

# Splitmix64 (Steele, Lea and Flood 2014).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = (np.uint64(n) for n in (27, 30, 31, 32))
_LOW = np.uint64(0xFFFFFFFF)


@compiled.inner
def _next(random):
    """Draws 64 bits."""
    random[0] += _STEP
    z = random[0]
    z = (z ^ (z >> _30)) * _MIX[0]
    z = (z ^ (z >> _27)) * _MIX[1]
    return z ^ (z >> _31)


@compiled.inner
def _scale(bits, number):
    """Turns the upper half of 64 bits into a number below another."""
    return np.int64(((bits >> _32) * np.uint64(number)) >> _32)


@compiled.inner
def alias_table(shares):
    """Prepares to draw from a distribution in constant time (Vose 1991).

    Args:
      shares: float64 [V], sum 1.

    Returns:
      own: uint32 [V]; each of V places is its own word's up to own / 2^32,
      other: int32 [V], and another's beyond.
    """
    number = len(shares)
    scaled, other = shares * number, np.arange(number).astype(np.int32)
    order = np.argsort(scaled)
    # Words below 1 are filled up by the largest, which falls behind when it is below 1.
    low, high = 0, number - 1
    small = order[0]
    while low < high:
        large = order[high]
        if scaled[small] >= 1:
            break
        other[small] = large
        scaled[large] -= 1 - scaled[small]
        if scaled[large] < 1:
            small = large
            high -= 1
        else:
            low += 1
            small = order[low]
    own = np.empty(number, np.uint32)
    for i in range(number):
        own[i] = np.uint32(min(max(scaled[i], 0.0) * 2.0**32, 2.0**32 - 1))
    return own, other


@compiled.inner
def _draw_noise(seed, noise):
    """Draws NOISE words; returns them, and what draws on."""
    own, other = noise
    random = np.full(1, seed)
    found = np.empty(NOISE, np.int32)
    for i in range(NOISE):
        bits = _next(random)
        row = np.int32(_scale(bits, len(own)))
        if (bits & _LOW) >= own[row]:
            row = other[row]
        found[i] = row
    return found, random


@compiled.inner
def find_targets(words, reach, seed, method, noise, code):
    """Finds what each word is predicted by.

    Args:
      words: int32 [N], of the shard.
      reach: int32 [N], how many words each has around it.
      seed: see _train_shard.
      method: see _train_shard.
      noise: see _train_shard.
      code: see _train_shard.

    Returns:
      firsts: int64 [N + 1], where each word's targets begin,
      targets: int32 [sum], rows of the outputs,
      signs: float32 [sum], 1 where the logit should be high, -1 where low.
    """
    negative = method[1]
    starts, nodes, codes = code
    first_node = np.int32(len(noise[0]))
    most = len(words) * (negative + 1)
    if len(nodes):
        for word in words:
            most += starts[word + 1] - starts[word]
    firsts = np.empty(len(words) + 1, np.int64)
    targets, signs = np.empty(most, np.int32), np.empty(most, np.float32)
    if negative:
        drawn, random = _draw_noise(seed, noise)
    last = 0
    for i in range(len(words)):
        firsts[i] = last
        if not reach[i]:
            continue
        word = words[i]
        if negative:
            targets[last], signs[last] = word, 1
            last += 1
            for _ in range(negative):
                row = drawn[_scale(_next(random), NOISE)]
                if row != word:
                    targets[last], signs[last] = row, -1
                    last += 1
        if len(nodes):
            for node in range(starts[word], starts[word + 1]):
                targets[last] = nodes[node] + first_node
                signs[last] = 1 - 2 * codes[node]
                last += 1
    firsts[len(words)] = last
    return firsts, targets[:last], signs[:last]
