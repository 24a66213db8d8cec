"""ELMo's vectors of the words of tokenized sentences, in memory that does not grow.

    lines -> words, split at white space -> pools -> batches of about one length
          -> layers -> the order of the lines

By default a sentence has the same vectors wherever it stands. bilm-tf's depend on the
sentences before, for its states go on from call to call: that is `stateful`.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

import numpy as np
import tensorflow as tf
from absl import logging

import modeling
from errors import UserError
from inference.vector_files import Vectors
from modeling.layers.recurrent import CarriedStates
from systems.elmo import ElmoSystem

_POOL_BATCHES = 50


@dataclasses.dataclass(frozen=True)
class WordExtractionConfig:
    """Which vectors, and how they are computed.

    Attributes:
      layers: 0 is the word without its context, 1 and on the LSTMs; also from the end,
        -1 being the last. None: all.
      layer_combination: "separate", or one vector of all layers, their "mean" (ELMo's
        mix, before a task has learned weights) or the vectors one after the other
        ("concat").
      normalize: divides each vector by its Euclidean length.
      max_seq_length: words of the longest sentence, without marks; what is longer is
        cut.
      batch_size: sentences in a batch.
      stateful: reads one sentence after the other, each from the states in which the
        one before left both directions, as bilm-tf writes its files.
      mixed_precision: "off", "bfloat16" or "float16", of the matrix products.
    """

    layers: tuple[int, ...] | None = None
    layer_combination: str = "separate"
    normalize: bool = False
    max_seq_length: int = 128
    batch_size: int = 32
    stateful: bool = False
    mixed_precision: str = "off"

    pooling: ClassVar[str] = "none"
    long: ClassVar[str] = "truncate"


class WordExtractor:
    """Computes the vectors of any number of sentences.

    Attributes:
      config: which vectors.
      layer_axis: the layers' numbers, where they stay an axis of the values.
      row_shape: of the longest sentence's values.
    """

    def __init__(self, config: WordExtractionConfig, system: ElmoSystem):
        """Loads the encoder.

        Args:
          config: which vectors.
          system: the encoder and its checkpoint.

        Raises:
          UserError: a layer that the model does not have; or checkpoint and
            architecture do not belong together.
        """
        self.config = config
        depth = system.num_layers + 1
        self._layers = config.layers or tuple(range(depth))
        for layer in self._layers:
            if not -depth <= layer < depth:
                raise UserError(
                    f"--layers has {layer}, but the model has {depth} layers with the "
                    f"words themselves: wanted 0 to {depth - 1}, or {-depth} to -1"
                )
        separate = config.layer_combination == "separate"
        self.layer_axis = self._layers if separate else None
        width = system.hidden_size
        if config.layer_combination == "concat":
            width *= len(self._layers)
        layers = (len(self._layers),) if separate else ()
        self.row_shape = (config.max_seq_length, *layers, width)
        self._split = system.split
        self._speller = system.speller(vocabulary_has_marks=True)
        mixed = config.mixed_precision
        self._model = system.build_encoder(
            dtype="float32" if mixed == "off" else f"mixed_{mixed}", fused=True
        )
        system.initialize(modeling.named_variables(self._model), None)
        self._states = None
        if config.stateful:
            self._states = CarriedStates(self._model.zero_states(1))
        self._run = tf.function(self._run_eager, autograph=False, reduce_retracing=True)

    def extract(
        self, lines: Iterable[str], report: Callable[[float], None] | None = None
    ) -> Iterator[Vectors]:
        """Computes the vectors of sentences.

        Args:
          lines: any number, see ElmoSystem.split; read as they are needed.
          report: called after each batch with its number of lines.

        Yields:
          The vectors of each line, in the order of the lines; of no word, no vector.
        """
        config = self.config
        sentences = (self._split(line) for line in lines)
        size = 1 if config.stateful else _POOL_BATCHES * config.batch_size
        number = cut = 0
        while pool := list(itertools.islice(sentences, size)):
            cut += sum(len(words) > config.max_seq_length for words in pool)
            pool = [words[: config.max_seq_length] for words in pool]
            for words, values in zip(pool, self._compute(pool, report), strict=True):
                yield Vectors(number, tuple(words), values)
                number += 1
        if cut:
            logging.warning(
                "%d of %d lines were longer than --max_seq_length=%d words and were "
                "cut",
                cut,
                number,
                config.max_seq_length,
            )
        self._speller.report_cuts()

    def _compute(self, pool, report):
        """Returns the values of every sentence; batches hold about one length."""
        order = sorted(range(len(pool)), key=lambda row: len(pool[row]))
        found = [None] * len(pool)
        for start in range(0, len(pool), self.config.batch_size):
            rows = order[start : start + self.config.batch_size]
            ids = self._speller.batch([pool[row] for row in rows])
            values = self._run(tf.constant(ids)).numpy()
            for row, vectors in zip(rows, values, strict=True):
                vectors = vectors[: len(pool[row])].copy()
                if self.config.normalize:
                    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
                    vectors /= np.where(length > 0, length, 1)
                found[row] = vectors
            if report:
                report(len(rows))
        return found

    def _run_eager(self, ids):
        states = self._states.read(1) if self._states else None
        found = self._model(ids, states)
        if self._states:
            self._states.write(found["states"])
        layers = tf.transpose(found["lm_embeddings"], [0, 2, 1, 3])  # [B, T, L, 2P]
        layers = tf.gather(layers, [i % layers.shape[2] for i in self._layers], axis=2)
        how = self.config.layer_combination
        if how == "mean":
            return tf.reduce_mean(layers, axis=2)
        if how == "concat":
            return tf.concat(tf.unstack(layers, axis=2), axis=-1)
        return layers
