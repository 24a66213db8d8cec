"""word2vec on several threads, compiled by numba.

    a block   the words that are read of it, in shards of SHARD_WORDS
    a shard   what each of its words is predicted by (word2vec_targets); copies of all
              rows that it needs (word2vec_copies); one step after the other on these
              (word2vec_shards)
    a round   of SHARDS shards: what one of them has, it writes back; how far all other
              copies have moved is added to the tables in the shards' order

What a shard computes depends on the tables before its round, so the vectors are the
same for any number of threads. The copies fit into a core's cache, and are fetched
together, which is most of what is won on one thread. Threads go through a block without
Python: they wait for each other several times a millisecond (barrier).
"""

import concurrent.futures
import functools
from collections.abc import Mapping

import numpy as np

from data_pipeline.corpora.word_corpus import Block
from modeling import word2vec
from training.word_vectors import (
    barrier,
    compiled,
    sampling,
    word2vec_copies,
    word2vec_shards,
    word2vec_targets,
)
from training.word_vectors.learner import RunConfig
from training.word_vectors.loop import Array
from training.word_vectors.steps import Step
from training.word_vectors.word2vec_copies import SHARDS, merge
from training.word_vectors.word2vec_shards import find_rows, make_steps, train_copies

_SOURCES = barrier, word2vec_copies, word2vec_shards, word2vec_targets
# Sums in any order; but what is not finite has to be found.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


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
            self._noise = word2vec_targets.alias_table(
                sampling.noise_distribution(counts)
            )
        self._tables = self._inputs.value, self._outputs.value
        longest = int(np.diff(self._code.starts).max(initial=0))
        most = (
            word2vec_shards.SHARD_WORDS + 2 * learner.window,
            word2vec_shards.SHARD_WORDS * (longest + 1) + word2vec_targets.NOISE,
        )
        sizes = [len(table) for table in self._tables]
        if learner.hogwild:
            most, sizes = (0, 0), (0, 0)
        self._copies = tuple(map(word2vec_copies.room, self._tables, most))
        self._sums = tuple(np.zeros([3, size], np.float32) for size in sizes)
        self._places = tuple(
            np.full([word2vec_copies.SHARDS, size], -1, np.int32) for size in sizes
        )
        self._train_block = _compiled(learner.vector_size)

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
        shards = -(-len(windows.words) // word2vec_shards.SHARD_WORDS)
        random = np.random.SeedSequence([self._seed, step.number, 1])
        seeds = random.generate_state(shards, np.uint64)
        shares = np.linspace(step.start, step.end, shards, endpoint=False)
        rates = (learner.alpha * np.maximum(1 - shares, 1e-4)).astype(np.float32)
        losses = np.zeros([shards, 2])
        method = bool(learner.cbow), learner.negative, learner.window

        met = barrier.counter()

        def train(thread):
            try:
                self._train_block(
                    windows,
                    seeds,
                    rates,
                    method,
                    self._noise,
                    self._code,
                    self._tables,
                    self._frozen,
                    self._places,
                    self._copies,
                    self._sums,
                    thread,
                    threads,
                    met,
                    losses,
                )
            except BaseException:
                barrier.leave(met)
                raise

        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            tasks = [pool.submit(train, thread) for thread in range(threads)]
        for task in tasks:
            task.result()
        loss, number = losses.sum(0)
        return {"loss": loss / max(1, number), "alpha": float(rates[-1:].sum())}


@functools.cache
def _compiled(size):
    """Returns what trains on a block, for vectors of one size.

    A compiler that knows the size makes it up to twice as fast. It is compiled again
    where any of its files is another, of which numba looks at this one only.
    """
    known = size, compiled.sources(_SOURCES)

    @compiled.jit(fastmath=_FAST)
    def train_block(
        windows,
        seeds,
        rates,
        method,
        noise,
        code,
        tables,
        frozen,
        places,
        copies,
        sums,
        thread,
        threads,
        met,
        losses,
    ):
        size, _ = known
        cbow, shards = method[0], len(seeds)
        if not places[0].shape[1]:
            no_uses = np.empty(0, np.float32)
            for shard in range(thread, shards, threads):
                rows = find_rows(
                    windows, shard, seeds[shard], method, noise, code, places, copies
                )
                losses[shard, 0], losses[shard, 1] = make_steps(
                    rows,
                    cbow,
                    rates[shard],
                    tables[0],
                    tables[1],
                    frozen,
                    no_uses,
                    size,
                )
            return
        number = 0
        for first in range(0, shards, SHARDS):
            last = min(first + SHARDS, shards)
            found = [
                find_rows(
                    windows, shard, seeds[shard], method, noise, code, places, copies
                )
                for shard in range(first + thread, last, threads)
            ]
            number += threads
            barrier.meet(met, number)
            for i in range(len(found)):
                shard = first + thread + i * threads
                losses[shard, 0], losses[shard, 1] = train_copies(
                    found[i],
                    shard - first,
                    last - first,
                    rates[shard],
                    cbow,
                    tables,
                    frozen,
                    places,
                    copies,
                    size,
                )
            number += threads
            barrier.meet(met, number)
            for i in range(2):
                merge(
                    tables[i],
                    copies[i],
                    sums[i],
                    last - first,
                    rates[first],
                    thread,
                    threads,
                    size,
                )
            number += threads
            barrier.meet(met, number)

    return train_block
