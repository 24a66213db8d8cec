"""Streams of sentences for ELMo's language models, after bilm-tf's data set.

    files -> processes look words up -> a record a sentence -> shards
    records -> shuffled anew every epoch -> a stream a batch row -> windows

A record is a sentence between `<S>` and `</S>`: the ids of its words, and the words
themselves, whose letters tell more than the id of `<UNK>`. A row of a training batch
reads sentence after sentence, in windows of so many steps; whichever row comes to the
end of its sentence takes the next one of all. The backward model reads the same
sentences, each from its end.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from data_pipeline import batching
from data_pipeline.corpora import corpus, parallel
from data_pipeline.corpora.report import WordReport
from data_pipeline.corpora.shards import write_shards
from data_pipeline.corpora.word_splitter import WHITESPACE, WordSplitter
from data_pipeline.feature_spec import INDEX, REAL, Feature, FeatureSpec
from errors import UserError
from vocabulary import BOS, EOS, Vocabulary
from word_rules import WordsSeen

SPEC = FeatureSpec(
    [Feature("input_ids", tf.int32, (None,)), Feature("words", tf.string, (None,))]
)
BACKWARD = "_reverse"  # ends the names of what the backward model reads
STARTS = "starts_sentence"  # whether a row's window begins where a sentence does
DIRECTIONS = ("", BACKWARD)
_NAMES = ("inputs", "words", "targets")
_PARSED_RECORDS = 1024
# What is left of a word in ELMo's usual 50 characters, two of them marks.
_USUAL_BYTES = 48


@dataclasses.dataclass
class SentenceReport(WordReport):
    """The report on sentences.

    Attributes:
      cut_sentences: were too long for a record, and became several.
      long_words: of more bytes than a word of 50 characters shows.
    """

    cut_sentences: int = 0
    long_words: int = 0

    def lines(self, max_seq_length: int, seconds: float) -> list[str]:
        """As Report's, but sentences are of no document."""
        return super().lines(max_seq_length, seconds)[1:]

    def _shares(self) -> list[str]:
        return [
            f"cut_sentences = {self.cut_sentences}",
            f"long_words = {self.long_words}",
        ]


def create(
    files: Sequence[str],
    vocab_file: str,
    max_seq_length: int,
    output_files: Sequence[str],
    num_workers: int,
    splitter: WordSplitter = WHITESPACE,
) -> SentenceReport:
    """Reads text and writes TFRecord files, in the order of the text.

    Args:
      files: one sentence a line; blank lines mean nothing.
      vocab_file: one word a line, see `vocabulary`.
      max_seq_length: words of the longest record, marks included; longer sentences
        are cut.
      output_files: records are dealt out to them one by one.
      num_workers: processes.
      splitter: finds the words of a line.

    Returns:
      The counts of everything.

    Raises:
      UserError: the vocabulary lacks a mark, or the files have no word.
    """
    Vocabulary.from_file(vocab_file).require_marks()
    if max_seq_length < 3:
        raise UserError(
            f"--max_seq_length={max_seq_length}, but a word between two marks needs 3"
        )
    report = SentenceReport()
    start = (vocab_file, max_seq_length, splitter)
    with contextlib.ExitStack() as stack:
        portions = (lines for _, lines in corpus.watched(files, corpus.chunks))
        if num_workers == 1:
            _start(*start)
            made = map(_make_records, portions)
        else:
            processes = parallel.worker_processes(num_workers, _start, start)
            pool = stack.enter_context(processes)
            made = parallel.in_order(pool, _make_records, portions, num_workers)
        write_shards(output_files, _with_words(made, files), report)
    return report


def _with_words(made, files):
    """Passes everything on, and refuses a corpus without a word at its end."""
    found = 0
    for records, counts in made:
        found += len(records)
        yield records, counts
    if not found:
        raise UserError(f"no text in {', '.join(files)}")


# What a worker process works with; set once, when it starts.
_work: dict[str, object] = {}


def _start(vocab_file: str, max_seq_length: int, splitter: WordSplitter) -> None:
    _work.update(
        vocabulary=Vocabulary.from_file(vocab_file),
        longest=max_seq_length - 2,
        splitter=splitter,
    )


def _make_records(lines: list[str]) -> tuple[list[bytes], SentenceReport]:
    return make_records(lines, **_work)


def make_records(
    lines: Sequence[str],
    vocabulary: Vocabulary,
    longest: int,
    splitter: WordSplitter = WHITESPACE,
) -> tuple[list[bytes], SentenceReport]:
    """Makes the records of some lines.

    Args:
      lines: of text.
      vocabulary: with the three marks.
      longest: words of a record, without marks.
      splitter: finds the words of a line.

    Returns:
      The records, and their counts.
    """
    records, report, seen = [], SentenceReport(), WordsSeen()
    for line in lines:
        words = splitter.words(line)
        seen.add(words)
        report.sentences += bool(words)
        report.tokens += len(words)
        report.cut_sentences += len(words) > longest
        report.long_words += sum(len(w.encode()) > _USUAL_BYTES for w in words)
        for start in range(0, len(words), longest):
            sentence = [BOS, *words[start : start + longest], EOS]
            ids = vocabulary.ids(sentence)
            report.unknown += int((ids == vocabulary.unk).sum())
            report.instances += 1
            report.instance_tokens += len(sentence)
            records.append(SPEC.to_example({"input_ids": ids, "words": sentence}))
    report.notice(seen)
    return records, report


def window_batches(
    files: Sequence[str],
    spec: FeatureSpec = SPEC,
    *,
    batch_size: int,
    unroll_steps: int,
    seed: int,
    start_step: int = 0,
    shuffle: bool = True,
    shuffle_records: int,
    num_replicas: int = 1,
    replica_offset: int = 0,
    local_replicas: int = 1,
) -> tf.data.Dataset:
    """Endless stream of windows, row by row where the batch before left off.

    Every row of every batch is a function of seed and position. To begin later, the
    sentences before are dealt out again, which takes about a microsecond a row.

    Args:
      files: TFRecord files of `create`.
      spec: what they hold; SPEC, with rules or without.
      batch_size: rows of a global batch.
      unroll_steps: T, words of a window.
      seed: of the sentences' order.
      start_step: global batches to leave out.
      shuffle: False keeps the files' order, as bilm-tf's tests have it.
      shuffle_records: see batching.train_batches.
      num_replicas: replicas over all workers.
      replica_offset: this worker's first replica.
      local_replicas: this worker's number of replicas.

    Returns:
      Dataset of dicts as `shifted` makes them, a replica's rows each, and STARTS, int32
      [B]; `example_index` is the row's number in the global batch.
    """
    stream = parsed(
        batching.record_stream(files, seed, 0, shuffle, shuffle_records),
        lambda serialized: _parse(spec, serialized),
    )
    rows = batch_size // num_replicas
    lengths = itertools.repeat(unroll_steps)
    ids = tf.TensorSpec([rows, unroll_steps], tf.int32)
    words = tf.TensorSpec([rows, unroll_steps], tf.string)
    streams = zip(_NAMES, (ids, words, ids), strict=True)
    signature = {name + end: kind for name, kind in streams for end in DIRECTIONS}
    return row_batches(
        lambda: deal(_sentences(stream), batch_size, lengths),
        lambda pieces, first: _window(pieces, unroll_steps, first),
        signature | {"input_mask": ids},
        rows=rows,
        replicas=range(replica_offset, replica_offset + local_replicas),
        start_step=start_step,
    )


def parsed(
    stream: tf.data.Dataset, parse: Callable[[tf.Tensor], Any]
) -> tf.data.Dataset:
    """Parses many records at once, while those before are dealt out.

    Args:
      stream: string [], serialised records.
      parse: of string [N].
    """
    return stream.batch(_PARSED_RECORDS).map(batching.as_it_is(parse)).prefetch(1)


def row_batches(
    steps: Callable[[], Iterable[Sequence[Any]]],
    window: Callable[[Sequence[Any], int], dict[str, np.ndarray]],
    signature: Mapping[str, tf.TensorSpec],
    *,
    rows: int,
    replicas: range,
    start_step: int,
) -> tf.data.Dataset:
    """Makes batches of what `deal` gives every row of a global batch.

    Args:
      steps: begins anew and yields the pieces of a batch's rows, step after step.
      window: makes a batch of some rows' pieces and the number of the first one.
      signature: its tensors, but for INDEX, REAL and STARTS, which are int32 [rows].
      rows: of one replica's batch.
      replicas: this worker's.
      start_step: global batches to leave out.

    Returns:
      Endless dataset of `window`'s dicts, one per replica and step.
    """

    def generate():
        for step, pieces in enumerate(steps()):
            for replica in replicas if step >= start_step else ():
                first = replica * rows
                yield window(pieces[first : first + rows], first)

    numbers = {name: tf.TensorSpec([rows], tf.int32) for name in (INDEX, REAL, STARTS)}
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    batches = tf.data.Dataset.from_generator(
        generate, output_signature={**signature, **numbers}
    )
    return batching.finish(batches.apply(endless))


@batching.as_it_is
def shifted(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Makes a batch of whole sentences into what each direction reads and predicts.

    Args:
      batch: `input_ids`, `words` and `input_mask` [B, S], of SPEC.

    Returns:
      `inputs` (ids), `words` and `targets`, the next ids, of the forward model, and
      with the ending BACKWARD of the other one; `input_mask`, 1 where a word is
      predicted: all [B, S - 1]. `example_index` and `is_real_example` as they were.
    """
    mask = batch["input_mask"]
    lengths = tf.reduce_sum(mask, axis=1)
    found = {"input_mask": mask[:, 1:], INDEX: batch[INDEX], REAL: batch[REAL]}
    for end in DIRECTIONS:
        ids, words = batch["input_ids"], batch["words"]
        if end:
            ids, words = (
                tf.reverse_sequence(x, lengths, seq_axis=1) for x in (ids, words)
            )
        found |= {
            f"inputs{end}": ids[:, :-1],
            f"words{end}": words[:, :-1],
            f"targets{end}": ids[:, 1:],
        }
    return found


def _parse(
    spec: FeatureSpec, serialized: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    columns, _ = spec.parse(serialized)
    ids, words = columns["input_ids"], columns["words"]
    return ids.values, words.values, ids.row_splits


def _sentences(stream: tf.data.Dataset) -> Iterator[tuple[tuple, int]]:
    """Yields each sentence, ids int32 [n] and words, bytes [n]; and n."""
    for ids, words, splits in stream.as_numpy_iterator():
        ends = splits.tolist()
        for start, end in zip(ends, ends[1:], strict=False):
            yield (ids[start:end], words[start:end]), end - start


def deal(
    sentences: Iterator[tuple[Any, int]], num_rows: int, lengths: Iterable[int]
) -> Iterator[list[list[tuple]]]:
    """Yields for every batch the pieces of each row: (sentence, start, end).

    A sentence of n words is n - 1 steps: every word but the last one is followed by
    another.

    Args:
      sentences: each with the number of its words.
      num_rows: of a batch.
      lengths: steps of each batch.
    """
    rest = [(None, 0, 0)] * num_rows  # of each row's sentence: from where to where
    for steps in lengths:
        batch = []
        for row, (sentence, start, last) in enumerate(rest):
            pieces, missing = [], steps
            while missing:
                if start == last:
                    sentence, words = next(sentences)
                    start, last = 0, words - 1
                end = min(last, start + missing)
                pieces.append((sentence, start, end))
                missing -= end - start
                start = end
            rest[row] = sentence, start, last
            batch.append(pieces)
        yield batch


def _window(
    rows: Sequence[list[tuple]], steps: int, first_row: int
) -> dict[str, np.ndarray]:
    """Copies the pieces of some rows into one batch."""
    parts = {f"{name}{end}": [] for name in _NAMES for end in DIRECTIONS}
    for pieces in rows:
        for (ids, words), start, end in pieces:
            for ending, x, w in (("", ids, words), (BACKWARD, ids[::-1], words[::-1])):
                parts[f"inputs{ending}"].append(x[start:end])
                parts[f"words{ending}"].append(w[start:end])
                parts[f"targets{ending}"].append(x[start + 1 : end + 1])
    shape = [len(rows), steps]
    batch = {k: np.concatenate(v).reshape(shape) for k, v in parts.items()}
    index = np.arange(first_row, first_row + len(rows), dtype=np.int32)
    ones = np.ones(shape, np.int32)
    starts = np.array([pieces[0][1] == 0 for pieces in rows], np.int32)
    marks = {"input_mask": ones, INDEX: index, REAL: ones[:, 0], STARTS: starts}
    return batch | marks
