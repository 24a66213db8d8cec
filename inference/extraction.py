"""Feature vectors of texts from a pre-trained encoder, in memory that does not grow.

lines -> chunks, tokenized -> pools of windows -> batches of about one length
      -> vectors, windows averaged -> the order of the lines
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf
from absl import logging

import modeling
import streams
from data_pipeline import batching
from data_pipeline.features import lines as sentences
from data_pipeline.features.lines import Sentence
from errors import UserError
from inference import vector_files
from inference.vector_files import Table, Vectors
from inference.word_extraction import WordExtractor
from modeling.layers import pooling
from systems.system import System
from training.progress import Progress
from training.strategy import num_workers

COMBINATIONS = ("separate", "mean", "concat")
LONG = ("truncate", "window")
_TOKEN_LAYERS, _POOLED_LAYERS = (-1, -2, -3, -4), (-1,)

# What is held at once: lines read, batches grouped by length, vectors not yet written.
_CHUNK_LINES, _CHUNK_CHARACTERS = 4096, 1 << 20
_POOL_BATCHES, _POOL_BYTES = 50, 64 << 20


@dataclasses.dataclass(frozen=True)
class ExtractionConfig:
    """Which vectors, and how they are computed.

    Attributes:
      pooling: one of pooling.STRATEGIES, also by bert-as-service's name; "none" gives
        a vector for every piece.
      layers: of the encoder, as Python indexes a list: 0 is the first, -1 the last.
        None: the parent's four, -1 to -4, or with pooling the last.
      layer_combination: "separate", or one vector of all layers, their "mean" or the
        vectors one after the other ("concat"); layers are combined before pooling.
        None: separate, as the parent's, or with pooling concat.
      mask_cls_sep: leaves [CLS] and [SEP] out of the pool, or of the pieces; GPT reads
        nothing of the kind here.
      normalize: divides each vector by its Euclidean length.
      max_seq_length: pieces of the longest input, the special ones included.
      long: what becomes of a longer line; "truncate": it is cut; "window": it is read
        in several windows and their vectors are averaged.
      batch_size: windows in a batch, over all replicas.
      mixed_precision: "off", "bfloat16" or "float16", of the matrix products.
      static_shapes: pads every batch to `max_seq_length`, as a TPU needs.

    Raises:
      UserError: an unknown choice.
    """

    pooling: str = "none"
    layers: tuple[int, ...] | None = None
    layer_combination: str | None = None
    mask_cls_sep: bool = False
    normalize: bool = False
    max_seq_length: int = 128
    long: str = "truncate"
    batch_size: int = 32
    mixed_precision: str = "off"
    static_shapes: bool = False

    def __post_init__(self):
        pooled = pooling.strategy_name(self.pooling)
        tokens = pooled == "none"
        chosen = {
            "pooling": pooled,
            "layers": self.layers or (_TOKEN_LAYERS if tokens else _POOLED_LAYERS),
            "layer_combination": self.layer_combination
            or ("separate" if tokens else "concat"),
        }
        for name, value in chosen.items():
            object.__setattr__(self, name, value)
        for name, known in (("layer_combination", COMBINATIONS), ("long", LONG)):
            if getattr(self, name) not in known:
                raise UserError(
                    f"--{name}={getattr(self, name)}; wanted one of {', '.join(known)}"
                )

    def check(self, system: System) -> None:
        """Refuses what the model cannot do.

        Raises:
          UserError: a layer that the model does not have, or a length beyond its
            position table or below what a window needs.
        """
        depth = system.num_layers
        for layer in self.layers:
            if not -depth <= layer < depth:
                raise UserError(
                    f"--layers has {layer}, but the model has {depth} layers: wanted "
                    f"{-depth} (the first) to -1 (the last), or 0 to {depth - 1}"
                )
        shortest = 5 if self.long == "window" else 3
        name, longest = system.max_length
        if not shortest <= self.max_seq_length <= longest:
            raise UserError(
                f"--max_seq_length={self.max_seq_length}; wanted {shortest} to "
                f"{longest}, the model's {name}"
            )

    @property
    def layer_axis(self) -> tuple[int, ...] | None:
        """The layers, where they stay an axis of the values."""
        return self.layers if self.layer_combination == "separate" else None

    def row_shape(self, hidden_size: int) -> tuple[int, ...]:
        """Shape of a line's values: [max_seq_length unless pooled, (layers,) width]."""
        width = hidden_size * (2 if self.pooling == "mean_max" else 1)
        if self.layer_combination == "concat":
            width *= len(self.layers)
        layers = (len(self.layers),) if self.layer_axis else ()
        pieces = (self.max_seq_length,) if self.pooling == "none" else ()
        return (*pieces, *layers, width)


class FeatureExtractor:
    """Computes the vectors of any number of texts."""

    def __init__(
        self,
        config: ExtractionConfig,
        system: System,
        *,
        strategy: tf.distribute.Strategy | None = None,
    ):
        """Loads the encoder.

        Args:
          config: which vectors.
          system: the encoder, its vocabulary and its checkpoint.
          strategy: where to compute, in this process; None: on one device.

        Raises:
          UserError: see ExtractionConfig.check; several workers; or checkpoint,
            architecture and vocabulary do not belong together.
        """
        config.check(system)
        self.config = config
        self.row_shape = config.row_shape(system.hidden_size)
        self.layer_axis = config.layer_axis
        self._strategy = strategy or tf.distribute.get_strategy()
        if num_workers(self._strategy) > 1:
            raise UserError(
                "--distribution_strategy=multi_worker: features are extracted in one "
                "process; give every worker a file of its own"
            )
        self._replicas = self._strategy.num_replicas_in_sync
        self._buckets = batching.default_buckets(config.max_seq_length)
        if config.static_shapes:
            self._buckets = self._buckets[-1:]
        self._system = system
        self._tokenizer = system.tokenizer()
        self._layout = system.need("extracts").layout(self._tokenizer)
        self._pieces = {i: piece for piece, i in self._tokenizer.vocab.items()}
        mixed = config.mixed_precision
        with self._strategy.scope():
            self._model = system.build_encoder(
                dtype="float32" if mixed == "off" else f"mixed_{mixed}",
                fused=not config.static_shapes,
            )
            system.initialize(modeling.named_variables(self._model), None)
        # Autograph has nothing to convert here, and takes seconds to find that out.
        self._run = tf.function(self._run_eager, autograph=False, reduce_retracing=True)

    def extract(
        self, lines: Iterable[str], report: Callable[[float], None] | None = None
    ) -> Iterator[Vectors]:
        """Computes the vectors of texts, or of pairs written as `a ||| b`.

        Args:
          lines: any number, read as they are needed.
          report: called after each batch with the number of lines it was worth.

        Yields:
          The vectors of each line, in the order of the lines.
        """
        number, cut, dropped = 0, 0, 0
        for pool in self._pools(lines):
            for sentence, values in zip(pool, self._compute(pool, report), strict=True):
                cut += sentence.dropped_tokens > 0
                dropped += sentence.dropped_tokens
                yield self._vectors(number, sentence, values)
                number += 1
        if cut:
            logging.warning(
                "%d of %d lines were longer than --max_seq_length=%d and were cut, by "
                "%d pieces in all",
                cut,
                number,
                self.config.max_seq_length,
                dropped,
            )

    def _pools(self, lines: Iterable[str]) -> Iterator[list[Sentence]]:
        """Groups sentences as far as they and their vectors may be held at once."""
        config = self.config
        pool, windows, size = [], 0, 0
        bytes_a_row = 4 * int(np.prod(self.row_shape))  # float32
        for chunk in _chunks(lines):
            for sentence in sentences.to_sentences(
                chunk,
                self._tokenizer,
                config.max_seq_length,
                config.long == "window",
                self._layout,
            ):
                pool.append(sentence)
                windows += len(sentence.windows)
                pieces = len(sentence.input_ids)
                share = (
                    pieces / config.max_seq_length if config.pooling == "none" else 1
                )
                size += share * bytes_a_row
                full = windows >= _POOL_BATCHES * config.batch_size
                if full or size >= _POOL_BYTES:
                    yield pool
                    pool, windows, size = [], 0, 0
        if pool:
            yield pool

    def _compute(
        self, pool: list[Sentence], report: Callable[[float], None] | None
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
            found = self._run_batch([(pool[row], window) for row, window in batch])
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
        return [
            total / self._times_read(sentence) if len(sentence.windows) > 1 else total
            for sentence, total in zip(pool, sums, strict=True)
        ]

    def _zeros(self, sentence):
        if self.config.pooling == "none":
            return np.zeros((len(sentence.input_ids), *self.row_shape[1:]), np.float32)
        return np.zeros(self.row_shape, np.float32)

    def _times_read(self, sentence):
        """How many windows add to the values: one number, or one for every piece."""
        if self.config.pooling != "none":
            return np.float32(len(sentence.windows))
        times = np.bincount(np.concatenate(sentence.windows)).astype(np.float32)
        return times.reshape(-1, *[1] * len(self.row_shape[1:]))

    def _run_batch(self, rows: list[tuple[Sentence, np.ndarray]]) -> np.ndarray:
        """Pads windows to their bucket; returns their values, [rows or more, ...]."""
        longest = max(len(window) for _, window in rows)
        length = next(bucket for bucket in self._buckets if bucket >= longest)
        size = len(rows)
        if self.config.static_shapes:
            size = self.config.batch_size
        size += -size % self._replicas
        batch = np.zeros((4, size, length), np.int32)
        for i, (sentence, window) in enumerate(rows):
            counts = sentence.content[window] if self.config.mask_cls_sep else 1
            batch[0, i, : len(window)] = sentence.input_ids[window]
            batch[1, i, : len(window)] = 1
            batch[2, i, : len(window)] = sentence.segment_ids[window]
            batch[3, i, : len(window)] = counts
        batch[1, len(rows) :, 0] = 1  # filled up: no mask is empty
        share = size // self._replicas

        def part(context):
            start = context.replica_id_in_sync_group * share
            return tf.constant(batch[:, start : start + share])

        inputs = self._strategy.experimental_distribute_values_from_function(part)
        return self._run(inputs).numpy()

    def _run_eager(self, inputs):
        outputs = self._strategy.run(self._run_replica, args=(inputs,))
        return tf.concat(self._strategy.experimental_local_results(outputs), axis=0)

    def _run_replica(self, inputs):
        *inputs, counts = tf.unstack(inputs)
        names = ("input_ids", "input_mask", "segment_ids")
        inputs = self._system.encoder_inputs(dict(zip(names, inputs, strict=True)))
        outputs = self._model(**inputs)["all_encoder_layers"]
        layers = [tf.cast(outputs[i], tf.float32) for i in self.config.layers]
        how = self.config.layer_combination
        if how == "mean":
            values = tf.add_n(layers) / len(layers)
        elif how == "concat":
            values = tf.concat(layers, axis=-1)
        else:
            values = tf.stack(layers, axis=2)
        return pooling.pool(values, counts, self.config.pooling)

    def _vectors(self, number, sentence, values):
        """Keeps the wanted pieces, and normalizes."""
        tokens = None
        if self.config.pooling == "none":
            ids = sentence.input_ids
            if self.config.mask_cls_sep:
                ids, values = ids[sentence.content], values[sentence.content]
            tokens = tuple(self._pieces[i] for i in ids.tolist())
        if self.config.normalize:
            length = np.linalg.norm(values, axis=-1, keepdims=True)
            values = values / np.where(length > 0, length, 1)
        return Vectors(number, tokens, values)


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
    extractor: FeatureExtractor | WordExtractor,
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
