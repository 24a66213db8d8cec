"""Records for XLM: streams of one language, and pairs of sentences of two.

    texts  -> processes find words and pieces -> a stream a language, on disk
           -> runs of n pieces, in an order that mixes the text -> shards
    pairs  -> the same processes -> </s> a </s> </s> b </s>, a record each -> shards

In a stream `</s>` stands between sentences (Lample and Conneau 2019, section 3.1, and
the original's StreamDataset); whether it is learnt by CLM or by MLM, is decided in
training. A pair is for TLM: where b begins, positions begin again and the language
changes. Records say which language they are of, by its name: a model numbers its own.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipeline.corpora import (
    example_bytes,
    parallel,
    shards,
    token_store,
    token_streams,
)
from data_pipeline.corpora.report import Report
from errors import UserError
from tokenization_xlm import EOS, UNK, BytePairs, XlmTokenizer

LANGUAGE, SECOND_START = "language", "second_start"
_PORTION_LINES = 4096
_AROUND_PAIR = 4  # </s>


@dataclasses.dataclass(frozen=True)
class Config:
    """How text becomes records.

    Attributes:
      vocab_file: see tokenization_xlm.
      do_lower_case: whether text is lower-cased and loses accents.
      max_vocab: pieces that the model knows, if not all of the file's.
      max_seq_length: pieces of a record; longer pairs are left out.
      random_seed: of the order of a stream's records.
    """

    vocab_file: str
    do_lower_case: bool
    max_vocab: int | None
    max_seq_length: int
    random_seed: int


@dataclasses.dataclass
class LanguageReport(Report):
    """The report on a language, or on a pair of them.

    Attributes:
      dropped_pairs: did not fit into a record, or one side was empty.
    """

    dropped_pairs: int = 0

    def _shares(self) -> list[str]:
        return [f"dropped_pairs = {self.dropped_pairs}"]


@dataclasses.dataclass(frozen=True)
class Reports:
    """The reports on all languages and pairs, by name."""

    parts: Mapping[str, LanguageReport]

    def warn(self) -> None:
        """See Report: of pieces, `create` has warned."""

    def lines(self, max_seq_length: int, seconds: float) -> list[str]:
        """See Report; then what was written of each."""
        total = LanguageReport()
        for part in self.parts.values():
            total.add(part)
        _, *lines = total.lines(max_seq_length, seconds)  # there are no documents
        for name, part in self.parts.items():
            lines += [
                f"{name}_sentences = {part.sentences}",
                f"{name}_instances = {part.instances}",
                f"{name}_unk_rate = {part.unknown / max(1, part.tokens):.6f}",
            ]
        return lines


def create(
    texts: Mapping[str, Sequence[str]],
    pairs: Mapping[str, Sequence[str]],
    config: Config,
    output_files: Mapping[str, Sequence[str]],
    num_workers: int,
) -> Reports:
    """Reads texts and writes TFRecord files, which appear when all are complete.

    Args:
      texts: language -> files of a sentence a line; blank lines mean nothing.
      pairs: `a-b` -> a file of language a and one of b, whose lines belong together.
      config: how records are made.
      output_files: language or pair -> where its records are dealt out to.
      num_workers: processes; bytes do not depend on them.

    Returns:
      The counts of everything.

    Raises:
      UserError: a text cannot be used, or the files of a pair have not as many lines;
        says why and where.
    """
    bpe = _start(*dataclasses.astuple(config)[:3])
    first = next(iter(output_files.values()))[0]
    reports = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(token_store.temporary_folder(first))
        run = map
        if num_workers > 1:
            pool = stack.enter_context(
                parallel.worker_processes(
                    num_workers, _start, dataclasses.astuple(config)[:3]
                )
            )

            def run(function, jobs):
                return parallel.in_order(pool, function, jobs, num_workers)

        files = {
            name: stack.enter_context(shards.opened(paths))
            for name, paths in output_files.items()
        }
        for name in texts:
            made = _stream(texts[name], name, folder, config, len(bpe.vocab), run)
            reports[name] = _write(files[name], made, name, texts[name])
        for name in pairs:
            made = run(_pair_records, _pair_jobs(pairs[name], name, config))
            reports[name] = _write(files[name], made, name, pairs[name])
    for name, report in reports.items():
        doubt = bpe.doubt(report.unknown, report.tokens)
        if doubt:
            from absl import logging  # processes need none

            logging.warning("%s: %s", name, doubt)
    return Reports(reports)


def _write(files, made, name, sources):
    """Writes the records of a language or a pair, and counts them."""
    report = LanguageReport()
    shards.deal(files, made, report)
    if not report.instances:
        dropped = f", {report.dropped_pairs} pairs are too long or empty"
        raise UserError(
            f"{name}: no record from {', '.join(sources)}"
            + (dropped if report.dropped_pairs else "")
        )
    return report


def _stream(files, language, folder, config, vocab_size, run):
    """Yields the records of a language's stream, a block of them at a time."""
    from data_pipeline.corpora import corpus  # loads TensorFlow; processes do not

    def portions(path):
        return (lines for _, lines in corpus.chunks(path))

    path = os.path.join(folder, "stream")
    dtype = token_store.storage_dtype(vocab_size)
    report, number = LanguageReport(), 1
    with open(path, "wb") as stream:
        stream.write(np.array([EOS], dtype).tobytes())
        jobs = ((language, lines) for lines in corpus.watched(files, portions))
        for ids, lengths in run(_piece_ids, jobs):
            real = lengths[lengths > 0]
            ended = np.insert(ids, np.cumsum(real), EOS)
            stream.write(ended.astype(dtype).tobytes())
            number += ended.size
            report.add(
                LanguageReport(
                    sentences=real.size,
                    tokens=ids.size,
                    unknown=int((ids == UNK).sum()),
                )
            )
    if not report.sentences:
        return
    yield [], report
    cut = token_streams.StreamConfig(
        vocab_size, EOS, config.max_seq_length, config.random_seed
    )
    for rows, counts in token_streams.blocks(path, number, cut):
        starts = np.zeros(len(rows), np.int32)
        yield list(encode(rows, starts, language)), counts


def _pair_jobs(files, name, config):
    """Yields what `_pair_records` takes, for portions of two files' lines."""
    from data_pipeline.corpora import corpus

    sides = [
        itertools.chain.from_iterable(lines for _, lines in corpus.chunks(path))
        for path in files
    ]
    number = 0
    while True:
        a, b = (list(itertools.islice(side, _PORTION_LINES)) for side in sides)
        if len(a) != len(b):
            counts = [
                number + len(read) + sum(1 for _ in side)
                for read, side in zip((a, b), sides, strict=True)
            ]
            raise UserError(
                f"--parallel={name}: {files[0]} has {counts[0]} lines, {files[1]} has "
                f"{counts[1]}; wanted as many, each the other's translation"
            )
        if not a:
            return
        number += len(a)
        yield name, a, b, config.max_seq_length


# What a worker process works with; set once, when it starts.
_work: dict[str, Any] = {}


def _start(vocab_file: str, do_lower_case: bool, max_vocab: int | None) -> BytePairs:
    bpe = BytePairs(vocab_file, max_vocab)
    _work["tokenizer"] = functools.partial(
        XlmTokenizer, bpe, do_lower_case=do_lower_case
    )
    return bpe


def _piece_ids(job: tuple[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all lines, and how many each line has."""
    language, lines = job
    ids, offsets = _work["tokenizer"](language).ids(lines)
    return ids, np.diff(offsets)


def _pair_records(
    job: tuple[str, list[str], list[str], int],
) -> tuple[list[bytes], LanguageReport]:
    """Records of pairs of lines, and their counts."""
    name, *sides, longest = job
    languages = name.split("-")
    encoded = [
        _work["tokenizer"](language).encode(lines)
        for language, lines in zip(languages, sides, strict=True)
    ]
    rows, starts, report = [], [], LanguageReport()
    for a, b in zip(*encoded, strict=True):
        if not (a and b) or len(a) + len(b) + _AROUND_PAIR > longest:
            report.dropped_pairs += 1
            continue
        rows.append(np.array([EOS, *a, EOS, EOS, *b, EOS], np.int32))
        starts.append(len(a) + 2)
        report.sentences += 2
        report.tokens += len(a) + len(b)
        report.unknown += a.count(UNK) + b.count(UNK)
    report.instances = len(rows)
    report.instance_tokens = sum(map(len, rows))
    return list(encode(rows, np.array(starts, np.int32), name)), report


def features() -> list[Any]:
    """Declares what records hold.

    `input_ids`, int32 [S]; `second_start`, where the second sentence of a pair begins,
    0 in a stream; `language`, as `en` or `en-de`.
    """
    import tensorflow as tf

    from data_pipeline.feature_spec import Feature

    return [
        Feature("input_ids", tf.int32, (None,)),
        Feature(SECOND_START, tf.int32),
        Feature(LANGUAGE, tf.string, is_input=False),
    ]


def encode(
    rows: Sequence[np.ndarray], starts: np.ndarray, language: str
) -> Iterator[bytes]:
    """Yields records; see `features`.

    Args:
      rows: N rows of piece ids, int [length] each.
      starts: int [N], where the second sentence of each begins.
      language: of all of them.
    """
    if not rows:
        return
    name = language.encode()
    told = example_bytes.entry(LANGUAGE, example_bytes.BYTES_LIST, name)
    lengths = np.array([len(row) for row in rows])
    kind = example_bytes.INT64_LIST
    packed = zip(
        example_bytes.varints(np.concatenate(rows).astype(np.int32), lengths),
        example_bytes.varints(starts, np.ones_like(lengths)),
        strict=True,
    )
    for ids, start in packed:
        yield example_bytes.example(
            example_bytes.entry("input_ids", kind, ids)
            + told
            + example_bytes.entry(SECOND_START, kind, start)
        )
