"""Feature vectors of texts from a pre-trained encoder, in memory that does not grow.

lines -> chunks, cut into units -> pools of windows -> batches of about one length
      -> vectors, windows averaged -> the order of the lines

What a unit is, a piece or a word, and how the encoder reads it, is for the system to
say: systems.capabilities.Extracts.
"""

import bisect
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import modeling
import streams
from data_pipeline.features import lines as sentences
from errors import UserError
from inference import vector_files
from inference.extraction_config import (
    ExtractionConfig,
    choose_layers,
    pooled,
    row_shape,
)
from inference.vector_files import Table, Vectors
from modeling.layers import graphs
from modeling.layers.recurrent import CarriedStates
from systems.capabilities import Line
from systems.system import System
from training.progress import Progress
from training.strategy import num_workers

# What is held at once: lines read, batches grouped by length, vectors not yet written.
_CHUNK_LINES, _CHUNK_CHARACTERS = 4096, 1 << 20
_POOL_BATCHES, _POOL_BYTES = 50, 64 << 20


class FeatureExtractor:
    """Computes the vectors of any number of texts.

    Attributes:
      config: which vectors.
      layers: of the encoder.
      buckets: lengths, ascending, to which windows are padded.
      compiles: whether something is compiled for each length and number of windows.
      packs: whether padding costs little, see System.
      layer_axis: the layers, where they stay an axis of the values; else None.
      row_shape: of a line's values, see `row_shape`.
      variables: the encoder's, by their released names.
    """

    def __init__(
        self,
        config: ExtractionConfig,
        system: System,
        *,
        strategy: tf.distribute.Strategy | None = None,
        shared: Mapping[str, keras.Variable] | None = None,
    ):
        """Loads the encoder.

        Args:
          config: which vectors.
          system: the encoder, its vocabulary and its checkpoint.
          strategy: where to compute, in this process; None: on one device.
          shared: see System.load_encoder; of another strategy they are none.

        Raises:
          UserError: the model has no such layer, or no [CLS] to pool, or cannot read
            such a length, or not on such devices; or checkpoint, architecture and
            vocabulary do not belong together.
        """
        self.config = config
        self._source = source = system.need("extracts")
        self.layers = choose_layers(config, system)
        separate = config.layer_combination == "separate"
        self.layer_axis = self.layers if separate else None
        self.row_shape = row_shape(config, self.layers, system.hidden_size)
        self._strategy = strategy or tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        self._check_devices(system.model_type)
        self.buckets = source.buckets(config.max_seq_length)
        if config.static_shapes:
            self.buckets = self.buckets[-1:]
        self.compiles = source.compiles
        self.packs = system.packs and not config.static_shapes
        mixed = config.mixed_precision
        dtype = "float32" if mixed == "off" else f"mixed_{mixed}"
        with self._strategy.scope():
            self._model = system.load_encoder(
                shared, dtype=dtype, fused=not config.static_shapes
            )
        self.variables = modeling.named_variables(self._model)
        self._component = None
        self._states = None
        if config.stateful:
            self._states = CarriedStates(source.zero_states(self._model))
        run = graphs.asks_only(self._run_eager)
        self._run = graphs.step(run, reduce_retracing=True)

    def _check_devices(self, model_type):
        if num_workers(self._strategy) > 1:
            raise UserError(
                "--distribution_strategy=multi_worker: features are extracted in one "
                "process; give every worker a file of its own"
            )
        if self._replicas > 1 and not self._source.many_devices:
            raise UserError(
                f"--distribution_strategy: {self._replicas} devices, but vectors of "
                f"{model_type} are computed on one; wanted off"
            )

    def weigh(self, read: Callable[[], Iterable[str]]) -> None:
        """Finds the weights of words, and of "sif" the direction all lines share.

        Args:
          read: returns all lines, each time anew; none are kept.
        """
        self._source.weigh(read(), self.config.word_weighting)
        if self.config.word_weighting != "sif":
            return
        squares = np.zeros([self.row_shape[-1]] * 2)
        for pool in self._pools(read()):
            values = np.stack(self._compute(pool, None)).astype(np.float64)
            values = values.reshape(-1, values.shape[-1])
            squares += values.T @ values
        # Arora et al. 2017: of the vectors as they are, no mean is taken away.
        self._component = np.linalg.eigh(squares)[1][:, -1].astype(np.float32)

    def extract(
        self,
        lines: Iterable[str] | Iterable[Sequence[str]],
        report: Callable[[float], None] | None = None,
    ) -> Iterator[Vectors]:
        """Computes the vectors of texts, or of pairs written as `a ||| b`.

        Args:
          lines: any number, read as they are needed; or lists of units, see `lines`.
          report: called after each batch with the number of lines it was worth.

        Yields:
          The vectors of each line, in the order of the lines.
        """
        number, cut, dropped = 0, 0, 0
        for pool in self._pools(lines):
            for line, values in zip(pool, self._compute(pool, report), strict=True):
                cut += line.dropped_tokens > 0
                dropped += line.dropped_tokens
                yield self._vectors(number, line, values)
                number += 1
        if cut:
            logging.warning(
                "%d of %d lines were longer than --max_seq_length=%d and were cut, by "
                "%d %s in all",
                cut,
                number,
                self.config.max_seq_length,
                dropped,
                self._source.units,
            )
        self._source.report()

    def _pools(self, lines: Iterable) -> Iterator[list[Line]]:
        """Groups lines as far as they and their vectors may be held at once."""
        config = self.config
        most = 1 if config.stateful else _POOL_BATCHES * config.batch_size
        pool, windows, size = [], 0, 0
        bytes_a_row = 4 * int(np.prod(self.row_shape))  # float32
        for chunk in _chunks(lines):
            for line in self.lines(chunk):
                pool.append(line)
                windows += len(line.windows)
                share = 1
                if config.pooling == "none":
                    share = len(line.content) / config.max_seq_length
                size += share * bytes_a_row
                if windows >= most or size >= _POOL_BYTES:
                    yield pool
                    pool, windows, size = [], 0, 0
        if pool:
            yield pool

    def _compute(
        self, pool: list[Line], report: Callable[[float], None] | None
    ) -> list[np.ndarray]:
        """Returns the values of every sentence, its windows averaged.

        Of pieces, those that lie in several windows are averaged over these.
        """
        sums: list[np.ndarray | None] = [None] * len(pool)
        todo = [
            (row, window)
            for row, sentence in enumerate(pool)
            for window in sentence.windows
        ]
        todo.sort(key=lambda item: len(item[1]))  # stable, so always the same batches
        for start in range(0, len(todo), self.config.batch_size):
            batch = todo[start : start + self.config.batch_size]
            found = self.run_batch([(pool[row], window) for row, window in batch])
            for (row, window), values in zip(batch, found, strict=False):
                if self.config.pooling == "none":
                    values = values[: len(window)]
                if len(pool[row].windows) == 1:
                    sums[row] = values.copy()  # not a view that keeps the whole batch
                    continue
                if sums[row] is None:
                    sums[row] = self._zeros(pool[row])
                place = window if self.config.pooling == "none" else ...
                sums[row][place] += values
            if report:
                report(sum(1 / len(pool[row].windows) for row, _ in batch))
        for row, line in enumerate(pool):
            if len(line.windows) > 1:
                sums[row] /= self._times_read(line)
        return sums

    def _zeros(self, line):
        if self.config.pooling == "none":
            return np.zeros((len(line.content), *self.row_shape[1:]), np.float32)
        return np.zeros(self.row_shape, np.float32)

    def _times_read(self, line):
        """How many windows add to the values: one number, or one for every unit."""
        if self.config.pooling != "none":
            return np.float32(len(line.windows))
        times = np.bincount(np.concatenate(line.windows)).astype(np.float32)
        return times.reshape(-1, *[1] * len(self.row_shape[1:]))

    def bucket(self, length: int) -> int:
        """Returns the length to which a window of `length` is padded."""
        return self.buckets[bisect.bisect_left(self.buckets, length)]

    def run_batch(
        self,
        rows: Sequence[tuple[Line, np.ndarray]],
        size: int | None = None,
        shortest: int = 0,
    ) -> np.ndarray:
        """Computes windows together, padded to the bucket of the longest.

        Args:
          rows: lines, each with one of its windows.
          size: rows to compute, the last ones for nothing; None: no more than needed.
          shortest: units to pad to at the least.

        Returns:
          float32 [rows or more, ...], as of `row_shape`; units up to the bucket.
        """
        length = self.bucket(max(shortest, *(len(window) for _, window in rows)))
        size = self.config.batch_size if self.config.static_shapes else size
        size = max(size or 0, len(rows))
        size += -size % self._replicas
        rows = [*rows, *rows[:1] * (size - len(rows))]
        counts = np.zeros((size, length), np.int32)
        for i, (line, window) in enumerate(rows):
            pooled = line.content[window] if self.config.mask_cls_sep else 1
            counts[i, : len(window)] = pooled
        inputs = self._source.batch(rows, length)
        if self.config.hide_cls_sep and "input_mask" in inputs:
            inputs["input_mask"] *= counts
        batch = (inputs, counts)
        share = size // self._replicas

        def part(context):
            start = context.replica_id_in_sync_group * share
            return tf.nest.map_structure(
                lambda x: tf.constant(x[start : start + share]), batch
            )

        inputs = self._strategy.experimental_distribute_values_from_function(part)
        return self._run(inputs).numpy()

    def _run_eager(self, inputs):
        outputs = self._strategy.run(self._run_replica, args=(inputs,))
        return tf.concat(self._strategy.experimental_local_results(outputs), axis=0)

    def _run_replica(self, inputs):
        batch, counts = inputs
        if self.config.pooling == "cls_pooled":
            return self._source.pooled_output(self._model, batch)
        states = self._states.read(1) if self._states else None
        outputs, states = self._source.layer_outputs(self._model, batch, states)
        if self._states:
            self._states.write(states)
        return pooled([outputs[i] for i in self.layers], counts, self.config)

    def lines(self, texts: Sequence[str] | Sequence[Sequence[str]]) -> Sequence[Line]:
        """Cuts texts into units, as `extract` does, or takes those of lists of units.

        Args:
          texts: all str, or all lists, see Extracts.lines_of_units.
        """
        config = self.config
        if texts and not isinstance(texts[0], str):
            return self._source.lines_of_units(texts, config.max_seq_length)
        in_windows = config.long == "window"
        return self._source.lines(texts, config.max_seq_length, in_windows)

    def tokens(self, line: Line) -> tuple[str, ...]:
        """Returns a line's units, the special ones too."""
        return tuple(self._source.tokens(line))

    def units_of_ids(self, ids: Sequence[int]) -> list[str]:
        """Returns the units that ids stand for; see Extracts.units_of_ids."""
        return self._source.units_of_ids(ids)

    def _vectors(self, number, line, values):
        """Keeps the wanted units, and normalizes."""
        tokens = None
        if self.config.pooling == "none":
            tokens = self.tokens(line)
            if self.config.mask_cls_sep:
                values = values[line.content]
                tokens = tuple(itertools.compress(tokens, line.content))
        if self._component is not None:
            values = values - (values @ self._component) * self._component
        return Vectors(number, tokens, self.scaled(values))

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Returns vectors, [..., width], scaled to length 1 where that is wanted."""
        if not self.config.normalize:
            return values
        length = np.linalg.norm(values, axis=-1, keepdims=True)
        return values / np.where(length > 0, length, 1)


def _chunks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Groups lines for the tokenizer."""
    chunk, characters = [], 0
    for line in lines:
        chunk.append(line)
        characters += len(line)
        if len(chunk) >= _CHUNK_LINES or characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def extract_file(
    extractor: FeatureExtractor,
    input_file: str,
    output_file: str,
    output_format: str,
) -> None:
    """Writes the vectors of every line of a file; the output appears when complete.

    Args:
      extractor: what computes them.
      input_file: UTF-8, one text a line, or a pair as `a ||| b`; of a pipe, a copy is
        kept while it is read.
      output_file: is replaced if it exists.
      output_format: "jsonl", "npy", "tfrecord" or "hdf5", see `vector_files`.

    Raises:
      MissingFile: there is no such input file.
      UserError: the input is empty or not UTF-8, `output_file` is a folder, or the
        format cannot hold the vectors.
    """
    config = extractor.config
    if tf.io.gfile.isdir(output_file):
        raise UserError(f"--output_file={output_file} is a folder; wanted a file")
    if (output_format, config.pooling, config.long) == ("npy", "none", "window"):
        raise UserError(
            "--output_format=npy with --pooling=none holds --max_seq_length pieces a "
            "line, but --long=window gives all; wanted jsonl, tfrecord or a pooling"
        )
    with streams.kept(input_file) as path:
        number = sentences.count_lines(path, input_file)
        if config.word_weighting:
            extractor.weigh(lambda: sentences.read_lines(path, input_file))
        lines = sentences.read_lines(path, input_file)
        _extract_lines(extractor, lines, number, output_file, output_format)


def _extract_lines(extractor, lines, number, output_file, output_format):
    """Writes the vectors of so many lines, and tells how far it is."""
    table = Table(number, extractor.row_shape, extractor.layer_axis)
    started = time.monotonic()
    with Progress(0, number, unit="line") as progress:
        done = 0.0

        def report(lines):
            nonlocal done
            done += lines
            rate = done / (time.monotonic() - started)
            progress.steps(round(done), {"examples_per_second": rate})

        rows = extractor.extract(lines, report)
        vector_files.WRITERS[output_format](output_file, rows, table)
    seconds = time.monotonic() - started
    logging.info(
        "%s: %d lines in %.1f s, %.1f/s", output_file, number, seconds, number / seconds
    )
