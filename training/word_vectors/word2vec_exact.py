"""word2vec.c's single thread, step by step: its random numbers, its tables, its order.

For comparing with the original; slow, and very slow without numba. Its peculiarities
are kept: a single thread never gets beyond the first time that it reads the text,
whatever `-iter` says, since it does not forget to have seen the end (the rate falls as
if it did); a sentence has at most 1,000 words; one that is left empty still draws a
number; the rate falls after every 10,000 words; CBOW adds the whole error to each of
its words; a negative word that is `</s>` is replaced, and one that is the right word
left out; the sigmoid comes from a table, with 83 values a unit where it should be 83.3.
"""

from collections.abc import Mapping

import numpy as np

from data_pipeline.corpora.word_corpus import Block
from modeling import word2vec
from training.word_vectors import compiled
from training.word_vectors.learner import RunConfig
from training.word_vectors.loop import Array
from training.word_vectors.steps import Step

_A, _C = np.uint64(25214903917), np.uint64(11)  # the program's random numbers
_LOW, _16 = np.uint64(0xFFFF), np.uint64(16)
_SENTENCE = 1000
_WORDS_A_RATE = 10000
_MAX = np.float32(6)
_STEPS = 1000 // 6 // 2  # of the sigmoid's table in a unit: whole numbers in C
_X = (np.arange(1000, dtype=np.float32) / np.float32(1000) * 2 - 1) * 6
_SIGMOID = (np.exp(_X) / (np.exp(_X) + 1)).astype(np.float32)  # at -6 to 6


def random_numbers(seed: int, number: int) -> np.ndarray:
    """Returns the numbers that follow on a seed in the program; uint64 [number]."""
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(number, _A))
        sums = np.cumsum(np.append(np.uint64(1), powers[:-1]), dtype=np.uint64)
        return powers * np.uint64(seed) + sums * _C


def initial_vectors(vocab_size: int, vector_size: int) -> np.ndarray:
    """Returns the program's initial input vectors; float32 [V, D]."""
    numbers = random_numbers(1, vocab_size * vector_size) & _LOW
    values = numbers.astype(np.float32) / np.float32(65536) - 0.5
    return (values / vector_size).astype(np.float32).reshape(vocab_size, vector_size)


class Engine:
    """Trains two tables.

    Attributes:
      variables: the tables, and where the program is; see loop.Training.
      num_epochs: how often the text is read.
    """

    num_epochs = 1

    def __init__(self, learner, counts: np.ndarray, run: RunConfig, frozen: np.ndarray):
        """Makes the tables; see word2vec.Engine. The program knows no `run`."""
        self._learner = learner
        config = learner.config(len(counts))
        shapes = config.input_shape, config.output_shape
        self._inputs, self._outputs = (Array(np.zeros(s, np.float32)) for s in shapes)
        self._random = Array(np.zeros(1, np.int64))
        self._read = Array(np.zeros(3, np.int64))
        self._rate = Array(np.zeros(1, np.float32))
        self.variables = {
            word2vec.INPUTS: self._inputs,
            word2vec.OUTPUTS: self._outputs,
            "trainer/random": self._random,
            "trainer/words_read": self._read,
            "trainer/rate": self._rate,
        }
        self._total = np.float32(learner.iter * counts.sum() + 1)
        self._keep = word2vec.keep_probabilities(counts, learner.sample)
        self._slots = np.cumsum(word2vec.noise_slots(counts))
        self._code = word2vec.NO_CODE
        if learner.hs:
            self._code = word2vec.huffman_code(counts)

    def initialize(self) -> None:
        """Sets the variables as the program begins; the seed is its own."""
        self._inputs.assign(initial_vectors(*self._inputs.value.shape))
        self._rate.assign(self._learner.alpha)

    def train(self, block: Block, step: Step) -> Mapping[str, float]:
        """Goes through a block.

        Args:
          block: the next one, of words of the vocabulary.
          step: where it is.

        Returns:
          `loss`, the mean of each word and context, or in CBOW, of each word; `alpha`.
        """
        learner = self._learner
        with np.errstate(over="ignore"):  # the random numbers go round
            loss, number = _train(
                block.ids,
                block.offsets,
                step.ends_text,
                (bool(learner.cbow), learner.window, learner.sample > 0),
                np.float32(learner.alpha),
                self._total,
                self._keep,
                self._code,
                (learner.negative, self._slots),
                (self._inputs.value, self._outputs.value),
                (
                    self._random.value.view(np.uint64),
                    self._read.value,
                    self._rate.value,
                ),
            )
        return {"loss": loss / max(1, number), "alpha": float(self._rate.value[0])}


@compiled.jit
def _next(random):
    """Draws the next number."""
    random[0] = random[0] * _A + _C
    return random[0]


@compiled.jit
def _update_rate(read, rate, alpha, total):
    """Lets the rate fall, every 10,000 words."""
    if read[0] - read[1] > _WORDS_A_RATE:
        read[2] += read[0] - read[1]
        read[1] = read[0]
        rate[0] = alpha * (np.float32(1) - np.float32(read[2]) / total)
        if rate[0] < alpha * 0.0001:
            rate[0] = alpha * 0.0001


@compiled.jit
def _towards(hidden, error, output, label, saturates, rate):
    """Changes a row of the outputs for a label of 0 or 1; returns the loss before."""
    f = np.float32(np.sum(hidden * output))
    if f >= _MAX or f <= -_MAX:
        if not saturates:
            return 0.0
        sigmoid = np.float32(f > 0)
    else:
        sigmoid = _SIGMOID[int((f + _MAX) * np.float32(_STEPS))]
    step = (np.float32(label) - sigmoid) * rate
    error += step * output
    output += step * hidden
    return np.log1p(np.exp(-f if label else f))


@compiled.jit
def _learn(word, hidden, error, outputs, code, noise, random, rate):
    """Predicts a word from `hidden`, whose change goes to `error`; returns the loss."""
    (starts, nodes, codes), (negative, slots) = code, noise
    error[:] = 0
    loss = 0.0
    first_node = len(slots) if negative else 0
    if len(nodes):
        for i in range(starts[word], starts[word + 1]):
            output = outputs[first_node + nodes[i]]
            loss += _towards(hidden, error, output, 1 - codes[i], False, rate)
    for drawn in range(negative + 1 if negative else 0):
        target = np.int64(word)
        if drawn:
            number = _next(random)
            slot = np.int64((number >> _16) % np.uint64(slots[-1]))
            target = np.searchsorted(slots, slot, side="right")
            if target == 0:  # </s>
                target = np.int64(number % np.uint64(len(slots) - 1)) + 1
            if target == word:
                continue
        loss += _towards(hidden, error, outputs[target], drawn == 0, True, rate)
    return loss


@compiled.jit
def _train(
    ids, offsets, is_last, method, alpha, total, keep, code, noise, tables, state
):
    """The program's TrainModelThread, of the lines of a block.

    Returns:
      The sum of the losses, and of how many.
    """
    cbow, window, samples = method
    inputs, outputs = tables
    random, read, rate = state
    sentence = np.zeros(_SENTENCE, np.int64)
    hidden, error = np.zeros((2, inputs.shape[1]), np.float32)
    loss, number = 0.0, 0
    for line in range(len(offsets) - 1):
        place, end = offsets[line], offsets[line + 1]
        ended = False
        while not ended:
            _update_rate(read, rate, alpha, total)
            size = 0
            while size < _SENTENCE:
                word = np.int64(0)
                if place < end:
                    word = np.int64(ids[place])
                    place += 1
                else:
                    ended = True
                read[0] += 1
                if word == 0:
                    break
                if samples:
                    drawn = np.float32(_next(random) & _LOW) / np.float32(65536)
                    if keep[word] < drawn:
                        continue
                sentence[size] = word
                size += 1
            if not size:
                _next(random)
            for position in range(size):
                if position:
                    _update_rate(read, rate, alpha, total)
                word = sentence[position]
                reach = window - np.int64(_next(random) % np.uint64(window))
                first, last = max(0, position - reach), min(size - 1, position + reach)
                if first == last:
                    continue
                if cbow:
                    hidden[:] = 0
                    for other in range(first, last + 1):
                        if other != position:
                            hidden += inputs[sentence[other]]
                    hidden /= np.float32(last - first)
                    loss += _learn(
                        word, hidden, error, outputs, code, noise, random, rate[0]
                    )
                    number += 1
                for other in range(first, last + 1):
                    if other == position:
                        continue
                    context = inputs[sentence[other]]
                    if not cbow:
                        loss += _learn(
                            word, context, error, outputs, code, noise, random, rate[0]
                        )
                        number += 1
                    context += error
    if is_last:
        _update_rate(read, rate, alpha, total)
        read[2] += read[0] - read[1]
        read[:2] = 0
    return loss, number
