"""What is computed of texts: vectors, and what trained models tell of them.

A work cuts texts into rows in any thread, computes rows in the engine's, and puts their
values together as what is answered.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

import word_rules
from errors import UserError
from inference.extraction import FeatureExtractor
from inference.trained import TrainedModel
from modeling.layers import packing
from serving.engine import PADDING, Limits
from tasks.encoder import EncoderTask


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request, cut into rows.

    Attributes:
      rows: what the work computes.
      lengths: of each, padded.
      tokens: units of all texts, the special ones too.
      join: from the rows' values to the answer.
    """

    rows: Sequence[Any]
    lengths: Sequence[int]
    tokens: int
    join: Callable[[Sequence[Any]], Any]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The vectors of a request's texts.

    Attributes:
      vectors: float [texts, (T, ) width].
      tokens: returns each text's units.
      num_tokens: of all texts.
    """

    vectors: np.ndarray
    tokens: Callable[[], Sequence[Sequence[str]]]
    num_tokens: int


class Vectors:
    """Vectors of texts, or of their units, as bert-as-service lays them out.

    Attributes:
      extractor: what computes them.
      padding_cost: see engine.Work.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        *,
        fixed_length: int | None = None,
        dtype: str = "float32",
    ):
        """Takes what computes.

        Args:
          extractor: reads no line in windows.
          fixed_length: the T of every answer with vectors of units; None: the longest
            text of each request.
          dtype: of the answers.
        """
        self.extractor = extractor
        self.padding_cost = PADDING if extractor.packs else 1.0
        self._fixed, self._dtype = fixed_length, np.dtype(dtype)

    def read(self, requests: Sequence[Sequence]) -> list[Asked]:
        """Cuts the texts of several requests at once, or takes lists of units.

        To cut one text takes nearly as long as to cut a dozen.
        """
        cut = {}
        for in_units in (False, True):
            chosen = [i for i, r in enumerate(requests) if in_units != _is_text(r[0])]
            texts = [text for i in chosen for text in requests[i]]
            lines = iter(self.extractor.lines(texts) if texts else ())
            for i in chosen:
                cut[i] = list(itertools.islice(lines, len(requests[i])))
        return [self._asked(cut[i]) for i in range(len(requests))]

    def _asked(self, lines):
        extractor = self.extractor
        rows = [(line, line.windows[0]) for line in lines]
        sizes = [len(window) for _, window in rows]

        def tokens():
            return [extractor.tokens(line) for line in lines]

        def join(values):
            return Encoded(self._joined(values, sizes), tokens, sum(sizes))

        return Asked(rows, list(map(extractor.bucket, sizes)), sum(sizes), join)

    def tokens(self, texts: Sequence[str]) -> list[Sequence[str]]:
        """Cuts texts into units, the special ones too."""
        return [self.extractor.tokens(line) for line in self.extractor.lines(texts)]

    def units_of_ids(self, rows: Sequence[Sequence[int]]) -> list[list[str]]:
        """Returns the units that ids stand for, as `read` takes them.

        Raises:
          UserError: there is no such id, or the system has none.
        """
        return [self.extractor.units_of_ids(row) for row in rows]

    def run(self, rows: Sequence[Any], size: int) -> Sequence[np.ndarray]:
        """See engine.Work."""
        line, window = rows[-1]
        fill = [(line, window[:1])] * (size - len(rows))  # of one unit: next to nothing
        found = self.extractor.run_batch([*rows, *fill])
        if self.extractor.config.pooling != "none":
            return found
        # Not views that keep the whole batch.
        return [v[: len(w)].copy() for (_, w), v in zip(rows, found, strict=False)]

    def _joined(self, values, sizes):
        if self.extractor.config.pooling == "none":
            longest = self._fixed or max(sizes)
            shape = (len(sizes), longest, *self.extractor.row_shape[1:])
            vectors = np.zeros(shape, np.float32)
            for row, value in zip(vectors, values, strict=True):
                row[: len(value)] = value
        else:
            vectors = np.stack(values)
        return self.extractor.scaled(vectors).astype(self._dtype, copy=False)

    @word_rules.unnoticed()
    def warm_up(self, limits: Limits) -> None:
        """Computes batches of every length, size and filling, so that all is compiled.

        Raises:
          UserError: a batch cannot hold the longest text.
        """
        buckets = self.extractor.buckets
        _check_fits(limits, buckets)
        lines = self.extractor.lines(_texts(buckets))
        rows = [(line, line.windows[0]) for line in lines]
        if not self.extractor.compiles:
            self.extractor.run_batch(rows[:1])
            return
        sizes = [len(window) for _, window in rows]
        for place, size, length in _fillings(sizes, buckets, limits):
            self.extractor.run_batch([rows[place]], size, length)


class Answers:
    """What a trained model tells of texts: labels, tags or answers.

    Attributes:
      verb: what it does with them: classify, tag or answer.
      variables: of its model, by their released names.
      padding_cost: see engine.Work.
    """

    def __init__(
        self, task: EncoderTask, model: keras.layers.Layer, max_batch_tokens: int
    ):
        """Takes a task, its trained model, and how much is computed together.

        A text that is cut to the longest input must have room in a batch; where texts
        are read whole, as by ULMFiT's classifiers, longer ones than that are refused.
        """
        self._model = TrainedModel(task, model)
        self._buckets = buckets = self._model.buckets
        if task.config.max_seq_length < buckets[-1]:
            fitting = tuple(size for size in buckets if size <= max_batch_tokens)
            self._buckets = fitting or buckets[:1]
        self.verb, self.variables = self._model.verb, self._model.variables
        self.padding_cost = PADDING if task.system.packs else 1.0

    def read(self, requests: Sequence[Sequence]) -> list[Asked | UserError]:
        """Turns the texts of several requests into records.

        Returns:
          Of each request what is computed, or why it cannot be; see
          inference.serving.TaskReader.read.
        """
        found = []
        for texts in requests:
            try:
                found.append(self._asked(texts))
            except UserError as error:
                found.append(error)
        return found

    def _asked(self, texts):
        records, sizes, join = self._model.read(texts)
        longest = self._buckets[-1]
        for i, size in enumerate(sizes):
            if size > longest:
                raise UserError(
                    f"text {i} has {size} units; --max_batch_tokens has room for "
                    f"{longest}"
                )
        lengths = [self._model.padded(size) for size in sizes]

        def listed(values):
            found = join(values)
            return {name: _plain(value) for name, value in found.items()}

        rows = list(zip(records, lengths, strict=True))
        return Asked(rows, lengths, int(sum(sizes)), listed)

    def run(self, rows: Sequence[tuple[bytes, int]], size: int) -> Sequence[dict]:
        """See engine.Work."""
        records = [record for record, _ in rows]
        records += records[-1:] * (size - len(rows))  # the last one is short
        length = max(length for _, length in rows)
        return self._model.run(records, length)

    @word_rules.unnoticed()
    def warm_up(self, limits: Limits) -> None:
        """Computes batches of every length, size and filling, so that all is compiled.

        Raises:
          UserError: a batch cannot hold the longest text.
        """
        buckets = self._buckets
        _check_fits(limits, buckets)
        texts = [self._model.asking(text) for text in _texts(buckets)]
        records, sizes, _ = self._model.read(texts)
        for place, size, length in _fillings(sizes, buckets, limits):
            self.run([(records[place], length)], size)


def _texts(buckets):
    """Returns texts of one word, two ... as many as the longest has pieces."""
    return [" ".join(["a"] * number) for number in range(1, buckets[-1] + 1)]


def _fillings(
    sizes: Sequence[int], buckets: Sequence[int], limits: Limits
) -> Iterator[tuple[int, int, int]]:
    """Finds the batches after which all is compiled.

    Args:
      sizes: the pieces of some texts, the shortest one first.
      buckets: lengths that texts are padded to.
      limits: of batches.

    Yields:
      Place of a text, times it is repeated, its padded length: of every length and
      size the shortest text, and those that make another number of rows (`packing`).
    """
    seen = set()
    for length in buckets:
        fitting = np.array([pieces for pieces in sizes if pieces <= length], np.int32)
        for size in limits.sizes(length):
            numbers = packing.numbers_of_rows(size * fitting, size * length).numpy()
            for place, rows in enumerate(numbers.tolist()):
                if not place or rows not in seen:
                    seen.add(rows)
                    yield place, size, length


def _is_text(value):
    return isinstance(value, str)


def _check_fits(limits, buckets):
    if limits.max_batch_tokens < buckets[-1]:
        raise UserError(
            f"--max_batch_tokens={limits.max_batch_tokens} is less than the "
            f"{buckets[-1]} of the longest text"
        )


def _plain(value):
    """What JSON has for an array or lists: a number that is not finite is null."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = np.where(np.isfinite(value), value.astype(object), None)
    return value.tolist() if isinstance(value, np.ndarray) else value
