"""Questions to windows of word pieces, and to TFRecords.

    [CLS] question [SEP] window of the context [SEP]
      0      0       0            1              1      segment_ids

(for GPT see squad_pieces.py; its models read no segment_ids).
A context longer than the room beside the question is covered by windows that start
`doc_stride` pieces apart. A piece lies in several of them, and an answer may start with
it only in the one where it has most context on its poorer side.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from data_pipeline import tfrecord
from data_pipeline.corpora import parallel
from data_pipeline.feature_spec import INDEX, Feature, FeatureSpec
from data_pipeline.readers.squad import Context, SquadExample
from data_pipeline.squad.pieces import SquadTokenizer
from errors import UserError

# Questions in a job; and so few that they are converted before new processes, which
# load TensorFlow, have started: 12,000 take 2.5 s.
_CHUNK, _FEW = 5000, 20_000

_MODEL_FEATURES = (
    Feature("input_ids", tf.int32, (None,)),
    Feature("segment_ids", tf.int32, (None,)),
    Feature("start_positions", tf.int32, (), is_input=False),
    Feature("end_positions", tf.int32, (), is_input=False),
)
# What the loop reads; and all that a record holds: answers are traced back by the rest.
MODEL_SPEC = FeatureSpec(_MODEL_FEATURES)
RECORD_SPEC = FeatureSpec(
    [
        *_MODEL_FEATURES,
        Feature("token_to_orig", tf.int32, (None,)),
        Feature("is_max_context", tf.int32, (None,)),
    ]
)


@dataclasses.dataclass(frozen=True)
class WindowConfig:
    """How contexts are cut.

    Attributes:
      max_seq_length: pieces of an input, the special ones included.
      doc_stride: pieces from the start of one window to the start of the next.
      max_query_length: longer questions are cut.

    Raises:
      UserError: there is no room for a window, or windows would not overlap.
    """

    max_seq_length: int
    doc_stride: int
    max_query_length: int

    def __post_init__(self):
        if self.max_query_length < 1:
            raise UserError(
                f"--max_query_length={self.max_query_length}; wanted at least 1"
            )
        room = self.max_seq_length - self.max_query_length - 3
        if room < 1:
            raise UserError(
                f"--max_seq_length={self.max_seq_length} must be greater than "
                f"--max_query_length={self.max_query_length} + 3"
            )
        if not 1 <= self.doc_stride < room:
            raise UserError(
                f"--doc_stride={self.doc_stride}; wanted 1 to {room - 1}, so that "
                f"windows overlap: beside a question of --max_query_length="
                f"{self.max_query_length} pieces, --max_seq_length="
                f"{self.max_seq_length} leaves a window {room}"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class SquadFeatures:
    """A question with one window of its context; sequences have their real length S.

    Attributes:
      example_index: the question's position among the examples.
      doc_span_index: the window's position among the question's windows.
      input_ids: ids of the pieces.
      segment_ids: 0 for the question, 1 for the window.
      token_to_orig: the word of the context that a piece is of; -1 outside.
      is_max_context: 1 where no other window gives the piece more context.
      start_position: training: the answer's first piece; where the window does not
        hold it, the place of no answer.
      end_position: training: its last piece, or the same.
    """

    example_index: int
    doc_span_index: int
    input_ids: Sequence[int]
    segment_ids: Sequence[int]
    token_to_orig: Sequence[int]
    is_max_context: Sequence[int]
    start_position: int = 0
    end_position: int = 0

    def to_record(self) -> bytes:
        """Serialises it as RECORD_SPEC says."""
        values = {
            "input_ids": self.input_ids,
            "segment_ids": self.segment_ids,
            "start_positions": self.start_position,
            "end_positions": self.end_position,
            "token_to_orig": self.token_to_orig,
            "is_max_context": self.is_max_context,
        }
        return RECORD_SPEC.to_example(values, self.example_index)


class Converter:
    """Turns questions into features; remembers the words it has split."""

    def __init__(self, tokenizer: SquadTokenizer, config: WindowConfig):
        """Keeps the tokenizer of the model, and how to cut."""
        self._tokenizer, self._config = tokenizer, config
        self._words: dict[str, list[int]] = {}
        self._context: Context | None = None

    def convert(
        self, examples: Sequence[SquadExample], first_index: int = 0
    ) -> Iterator[SquadFeatures]:
        """Yields the windows of every question.

        Args:
          examples: with start_position: training examples.
          first_index: the position of the first one in the data set.
        """
        for index, example in enumerate(examples, first_index):
            yield from self._convert_example(index, example)

    def _convert_example(self, index, example):
        config = self._config
        tokenizer = self._tokenizer
        query = tokenizer.piece_ids(example.question_text)[: config.max_query_length]
        pieces, words, firsts = self._pieces_of(example.context)
        answer = None  # first and last piece; of a test question, nothing is known
        if example.start_position is not None and not example.is_impossible:
            answer = self._answer_pieces(example, pieces, firsts)
        room = config.max_seq_length - len(query) - 3
        windows = doc_windows(len(pieces), room, config.doc_stride)
        best = max_context(windows, len(pieces))
        offset = len(query) + 2
        for i, (start, length) in enumerate(windows):
            end = start + length
            no_answer = offset + length if tokenizer.no_answer_last else 0
            positions = (no_answer, no_answer)
            if answer and start <= answer[0] and answer[1] < end:
                positions = tuple(piece - start + offset for piece in answer)
            yield SquadFeatures(
                example_index=index,
                doc_span_index=i,
                input_ids=[
                    *(tokenizer.first, *query, tokenizer.between),
                    *(*pieces[start:end], tokenizer.last),
                ],
                segment_ids=[0] * offset + [1] * (length + 1),
                token_to_orig=[-1] * offset + words[start:end] + [-1],
                is_max_context=(
                    [0] * offset + (best[start:end] == i).astype(int).tolist() + [0]
                ),
                start_position=positions[0],
                end_position=positions[1],
            )

    def _pieces_of(self, context):
        """Returns the pieces' ids, the word of each, and each word's first piece."""
        if context is not self._context:
            pieces, words, firsts = [], [], []
            for i, word in enumerate(context.words()):
                ids = self._words.get(word)
                if ids is None:
                    ids = self._words[word] = self._tokenizer.piece_ids(word)
                firsts.append(len(pieces))
                pieces += ids
                words += [i] * len(ids)
            self._context, self._pieces = context, (pieces, words, firsts)
        return self._pieces

    def _answer_pieces(self, example, pieces, firsts):
        """Returns the answer's first and last piece: fewer than its words', if so.

        Annotations are of characters. Of "(1895-1943)." the answer may be 1895, which
        is a piece though not a word; where the annotated text is no sequence of
        pieces ("Japan" in "Japanese") the words remain.
        """
        first = firsts[example.start_position]
        following = example.end_position + 1
        last = (firsts[following] if following < len(firsts) else len(pieces)) - 1
        wanted = self._tokenizer.piece_ids(example.orig_answer_text)
        for start in range(first, last + 2 - len(wanted)) if wanted else ():
            if pieces[start : start + len(wanted)] == wanted:
                return start, start + len(wanted) - 1
        return first, last


def doc_windows(num_pieces: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Returns (start, length) of the windows over a context; none over an empty one.

    Args:
      num_pieces: pieces of the context.
      room: pieces of the longest window.
      stride: pieces between two starts, less than `room`.
    """
    windows, start = [], 0
    while num_pieces:
        length = min(num_pieces - start, room)
        windows.append((start, length))
        if start + length == num_pieces:
            break
        start += stride
    return windows


def max_context(windows: Sequence[tuple[int, int]], num_pieces: int) -> np.ndarray:
    """Returns, int [num_pieces], the window where each piece has most context.

    The parent's score: the smaller number of neighbours, left or right, and a
    hundredth of the window's length; of equal ones the first.
    """
    best = np.zeros(num_pieces, np.int64)
    scores = np.full(num_pieces, -np.inf)
    for i, (start, length) in enumerate(windows):
        left = np.arange(length)
        found = np.minimum(left, left[::-1]) + 0.01 * length
        part = slice(start, start + length)
        best[part] = np.where(found > scores[part], i, best[part])
        scores[part] = np.maximum(found, scores[part])
    return best


def cached_features(
    prefix: str,
    examples: Sequence[SquadExample],
    make_tokenizer: Callable[[], SquadTokenizer],
    vocabulary: Mapping[str, object],
    config: WindowConfig,
) -> tfrecord.CachedRecords:
    """Converts examples once: the file's name holds a hash of all that shaped it.

    Args:
      prefix: folder and start of the file's name.
      examples: what to convert.
      make_tokenizer: of the model; pickled, where several processes convert.
      vocabulary: JSON values that tell the tokenizer from others.
      config: how to cut.

    Returns:
      The file, with one record a window.
    """
    key = {
        "examples": _digest(examples),
        **vocabulary,
        "windows": dataclasses.asdict(config),
        "features": RECORD_SPEC.describe(),
    }

    def build() -> tuple[Iterator[bytes], Mapping[str, object]]:
        return _records(examples, (make_tokenizer, config)), {}

    return tfrecord.cached(prefix, key, build)


def read_features(path: str) -> list[SquadFeatures]:
    """Reads back what `cached_features` wrote, without doc_span_index (all -1)."""
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    columns, _ = RECORD_SPEC.parse(tf.constant(records))
    arrays = {}
    for name, column in columns.items():
        if isinstance(column, tf.RaggedTensor):
            splits = column.row_splits.numpy()[1:-1]
            arrays[name] = np.split(column.values.numpy(), splits)
        else:
            arrays[name] = column.numpy().tolist()
    return [
        SquadFeatures(
            example_index=arrays[INDEX][i],
            doc_span_index=-1,
            input_ids=arrays["input_ids"][i],
            segment_ids=arrays["segment_ids"][i],
            token_to_orig=arrays["token_to_orig"][i],
            is_max_context=arrays["is_max_context"][i],
            start_position=arrays["start_positions"][i],
            end_position=arrays["end_positions"][i],
        )
        for i in range(len(records))
    ]


def _digest(examples):
    """Hashes all of the examples, each context once."""
    digest, context = hashlib.sha256(), None
    for example in examples:
        if example.context is not context:
            context = example.context
            digest.update(repr((context.text, context.starts)).encode())
        rest = (
            *(example.qas_id, example.question_text, example.orig_answer_text),
            *(example.start_position, example.end_position, example.is_impossible),
        )
        digest.update(repr(rest).encode())
    return digest.hexdigest()


def _records(examples, settings):
    """Yields the records in order; of many examples, on all cores."""
    starts = range(0, len(examples), _CHUNK)
    workers = min(len(starts), len(os.sched_getaffinity(0)))
    if workers == 1 or len(examples) < _FEW:
        _start_worker(*settings)
        yield from _convert_chunk((0, examples))
        return
    jobs = [(start, examples[start : start + _CHUNK]) for start in starts]
    with parallel.worker_processes(workers, _start_worker, settings) as pool:
        for records in parallel.in_order(pool, _convert_chunk, jobs, workers):
            yield from records


_converter: Converter  # of this worker process


def _start_worker(make_tokenizer, config):
    global _converter
    _converter = Converter(make_tokenizer(), config)


def _convert_chunk(job):
    first_index, examples = job
    return [f.to_record() for f in _converter.convert(examples, first_index)]
