"""word2vec on several threads, compiled by numba.

    a block   the words that are read of it, in shards of SHARD_WORDS
    a shard   what each of its words is predicted by; copies of all rows that it needs;
              one step after the other on these
    a round   of SHARDS shards: how far all copies have moved, added to the tables in
              the shards' order

What a shard computes depends on the tables before its round, so the vectors are the
same for any number of threads. The copies fit into a core's cache, and are fetched
together, which is most of what is won on one thread. A step is the original's, but that
all rows that one vector is predicted by move at once, and that the words of the noise
are shared: by all pairs of a window, as Ji et al. (2016) do, and drawn out of NOISE
words for a shard.

What is right for a row in one shard is too much if all of them move it far the same
way; see `_merge`.
"""

import concurrent.futures
import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from data_pipeline.corpora.word_corpus import Block
from modeling import word2vec
from training.word_vectors import compiled, sampling
from training.word_vectors.learner import RunConfig
from training.word_vectors.loop import Array
from training.word_vectors.steps import Step

SHARDS = 4  # also the most threads of use
SHARD_WORDS = 256
NOISE = 256
_CURVATURE = np.float32(0.25)
# Sums in any order; but what is not finite has to be found.
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_inlined = compiled.jit(inline="always")


class Copies(NamedTuple):
    """The rows of a table that each shard of a round needs.

    Attributes:
      number: int64 [S], rows of each shard.
      rows: int32 [S, R], which.
      uses: float32 [S, R], steps that each row makes; in CBOW, one of an input's counts
        as its share in the mean.
      values: float32 [S, R, D].
    """

    number: np.ndarray
    rows: np.ndarray
    uses: np.ndarray
    values: np.ndarray


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


def _copies(table, most):
    """Makes room for so many rows a shard."""
    shape = SHARDS, min(most, len(table))
    counts = np.zeros(SHARDS, np.int64)
    rows, uses = np.empty(shape, np.int32), np.empty(shape, np.float32)
    return Copies(counts, rows, uses, np.empty([*shape, table.shape[1]], np.float32))


class Engine:
    """Trains two tables.

    Attributes:
      variables: the tables; see loop.Training.
      num_epochs: how often the text is read.
    """

    def __init__(self, learner, counts: np.ndarray, run: RunConfig, frozen: np.ndarray):
        """Makes the tables.

        Args:
          learner: the training.word_vectors.word2vec.Word2vec.
          counts: int64 [V], of the words of the vocabulary, `</s>` first.
          run: the seed, and on how many threads.
          frozen: bool [V], which input vectors stay as they are; [0]: none.
        """
        self.num_epochs = learner.iter
        self._learner, self._seed, self._frozen = learner, run.seed, frozen
        self._threads = run.threads
        self._config = config = learner.config(len(counts))
        shapes = config.input_shape, config.output_shape
        self._inputs, self._outputs = (Array(np.zeros(s, np.float32)) for s in shapes)
        self.variables = {
            word2vec.INPUTS: self._inputs,
            word2vec.OUTPUTS: self._outputs,
        }
        self._sampler = sampling.Sampler(
            counts, learner.sample, learner.window, run.seed
        )
        self._code = word2vec.huffman_code(counts) if learner.hs else word2vec.NO_CODE
        self._noise = np.zeros(0, np.uint32), np.zeros(0, np.int32)
        if learner.negative:
            self._noise = _alias_table(sampling.noise_distribution(counts))
        self._tables = self._inputs.value, self._outputs.value
        longest = int(np.diff(self._code.starts).max(initial=0))
        most = SHARD_WORDS + 2 * learner.window, SHARD_WORDS * (longest + 1) + NOISE
        sizes = [len(table) for table in self._tables]
        if learner.hogwild:
            most, sizes = (0, 0), (0, 0)
        self._copies = tuple(map(_copies, self._tables, most))
        self._sums = [np.zeros([3, size], np.float32) for size in sizes]
        self._places = [
            tuple(np.full(size, -1, np.int32) for size in sizes)
            for _ in range(run.threads)
        ]
        self._train_shard, self._merge = _compiled(learner.vector_size)

    def initialize(self) -> None:
        """Sets the variables to the model's initial values."""
        model = word2vec.Word2vecModel(self._config, seed=self._seed)
        model.build()
        self._inputs.assign(model.input_embeddings.numpy())
        self._outputs.assign(model.output_embeddings.numpy())

    def train(self, block: Block, step: Step) -> Mapping[str, float]:
        """Goes through a block.

        Args:
          block: the next one, of words of the vocabulary.
          step: where it is.

        Returns:
          `loss`, the mean of each word and context, or in CBOW, of each word; `alpha`.
        """
        learner, threads = self._learner, self._threads
        windows = self._sampler.draw(block, step.number)
        shards = -(-len(windows.words) // SHARD_WORDS)
        random = np.random.SeedSequence([self._seed, step.number, 1])
        seeds = random.generate_state(shards, np.uint64)
        shares = np.linspace(step.start, step.end, shards, endpoint=False)
        rates = (learner.alpha * np.maximum(1 - shares, 1e-4)).astype(np.float32)
        losses = np.zeros([shards, 2])
        method = bool(learner.cbow), learner.negative, learner.window

        def train(thread, first, last):
            for shard in range(first + thread, last, threads):
                losses[shard] = self._train_shard(
                    windows,
                    shard,
                    seeds[shard],
                    rates[shard],
                    method,
                    self._noise,
                    self._code,
                    self._tables,
                    self._frozen,
                    self._places[thread],
                    self._copies,
                )

        def merge(thread, first, last):
            for parts in zip(self._tables, self._copies, self._sums, strict=True):
                self._merge(*parts, last - first, rates[first], thread, threads)

        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            for first in range(0, shards, shards if learner.hogwild else SHARDS):
                last = shards if learner.hogwild else min(first + SHARDS, shards)
                for work in (train,) if learner.hogwild else (train, merge):
                    tasks = [
                        pool.submit(work, thread, first, last)
                        for thread in range(1, threads)
                    ]
                    work(0, first, last)
                    for task in tasks:
                        task.result()
        loss, number = losses.sum(0)
        return {"loss": loss / max(1, number), "alpha": float(rates[-1:].sum())}


# Splitmix64 (Steele, Lea and Flood 2014).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = (np.uint64(n) for n in (27, 30, 31, 32))
_LOW = np.uint64(0xFFFFFFFF)


@compiled.jit
def _next(random):
    """Draws 64 bits."""
    random[0] += _STEP
    z = random[0]
    z = (z ^ (z >> _30)) * _MIX[0]
    z = (z ^ (z >> _27)) * _MIX[1]
    return z ^ (z >> _31)


@compiled.jit
def _scale(bits, number):
    """Turns the upper half of 64 bits into a number below another."""
    return np.int64(((bits >> _32) * np.uint64(number)) >> _32)


@compiled.jit
def _alias_table(shares):
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


@compiled.jit
def _give_places(found, shard, places, copies):
    """Turns rows into where a shard's copies of them will be; not without room.

    Args:
      found: int32 [N], rows; changed.
      shard: the number of the copies.
      places: int32, -1 for each row of the table, or [0]; changed.
      copies: of the table; its numbers, rows and uses are set, these to 0.
    """
    number = np.int32(0)
    if len(places):
        # Arrays taken out of a tuple in the loop would be counted there. There is no
        # branch, either: whether a row is new is hard to predict.
        rows = copies.rows[shard]
        for i in range(len(found)):
            row = found[i]
            place = places[row]
            place = number if place < 0 else place
            number = max(number, np.int32(place + 1))
            found[i] = places[row] = place
            rows[place] = row
        copies.uses[shard, :number] = 0
    copies.number[shard] = number


@compiled.jit
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


@compiled.jit
def _find_targets(words, reach, seed, method, noise, code):
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


@compiled.jit
def _count_uses(firsts, targets, reach, cbow, uses):
    """Counts the steps that each row of the outputs makes."""
    for i in range(len(reach)):
        steps = np.float32(1 if cbow else reach[i])
        for target in range(firsts[i], firsts[i + 1]):
            uses[targets[target]] += steps


@_inlined
def _fetch(table, shard, places, copies, size):
    """Copies the rows of a shard, and forgets their places."""
    values = copies.values[shard]
    for place in range(copies.number[shard]):
        row = copies.rows[shard, place]
        places[row] = -1
        for k in range(size):
            values[place, k] = table[row, k]


@_inlined
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


@compiled.jit
def _find_rows(windows, shard, seed, method, noise, code, places, copies):
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
    _give_places(inputs, slot, places[0], copies[0])
    words = windows.words[first:last]
    left, right = windows.left[first:last], windows.right[first:last]
    reach = left + right
    firsts, targets, signs = _find_targets(words, reach, seed, method, noise, code)
    _give_places(targets, slot, places[1], copies[1])
    if len(places[1]):
        _count_uses(firsts, targets, reach, method[0], copies[1].uses[slot])
    return Rows(around, inputs, first - begin, left, right, firsts, targets, signs)


@_inlined
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


@_inlined
def _make_steps(rows, cbow, rate, vectors, outputs, frozen, uses, size):
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


@_inlined
def _train_shard(
    windows,
    shard,
    seed,
    rate,
    method,
    noise,
    code,
    tables,
    frozen,
    places,
    copies,
    size,
):
    """Trains a shard of a block, on copies of the tables' rows where there is room.

    Args:
      windows: the block's sampling.Windows.
      shard: its number in the block.
      seed: uint64, of its noise.
      rate: float32, the learning rate.
      method: whether it is CBOW, words of the noise for a true one, the window.
      noise: of _alias_table; of no word: no negative sampling.
      code: HuffmanCode; of no node: no tree.
      tables: float32 [V, D] and [T, D], inputs and outputs.
      frozen: bool [V], or [0].
      places: int32 [V] and [T], all -1, or [0] where the tables are to be changed.
      copies: of both tables.
      size: D.

    Returns:
      The sum of the losses, and of how many.
    """
    rows = _find_rows(windows, shard, seed, method, noise, code, places, copies)
    slot = shard % SHARDS
    vectors, outputs = tables
    uses = copies[0].uses[slot, :0]
    if len(places[0]):
        _fetch(tables[0], slot, places[0], copies[0], size)
        _fetch(tables[1], slot, places[1], copies[1], size)
        vectors, outputs = copies[0].values[slot], copies[1].values[slot]
        uses = copies[0].uses[slot]
    return _make_steps(rows, method[0], rate, vectors, outputs, frozen, uses, size)


@_inlined
def _merge(table, copies, sums, number, rate, thread, threads, size):
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
        for place in range(copies.number[shard]):
            row, uses = copies.rows[shard, place], copies.uses[shard, place]
            if (row >> 4) % threads == thread:
                steps[row] += uses
                ways[row] += np.float32(1) - np.exp(-curvature * uses)
                shares[row] += 1
    for shard in range(number):
        values = copies.values[shard]
        for place in range(copies.number[shard]):
            row = copies.rows[shard, place]
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
        for place in range(copies.number[shard]):
            row = copies.rows[shard, place]
            if (row >> 4) % threads == thread:
                steps[row] = ways[row] = shares[row] = 0


@functools.cache
def _compiled(size):
    """Returns _train_shard and _merge for vectors of one size.

    A compiler that knows the size makes them up to twice as fast.
    """

    @compiled.jit(fastmath=_FAST)
    def train_shard(
        windows, shard, seed, rate, method, noise, code, tables, frozen, places, copies
    ):
        return _train_shard(
            windows,
            shard,
            seed,
            rate,
            method,
            noise,
            code,
            tables,
            frozen,
            places,
            copies,
            size,
        )

    @compiled.jit(fastmath=_FAST)
    def merge(table, copies, sums, number, rate, thread, threads):
        _merge(table, copies, sums, number, rate, thread, threads, size)

    return train_shard, merge
