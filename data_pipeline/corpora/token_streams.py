"""Records for left-to-right language models: documents joined to one stream, and cut.

    files -> processes tokenize lines -> one stream on disk
          -> runs of n tokens, in an order that mixes the corpus -> shards

A document's lines are joined by a space and documents by a boundary token (Radford et
al. 2018, section 3.1: contiguous text of n tokens; a run may begin and end anywhere).
Results come back in a fixed order and few at a time: bytes do not depend on the number
of workers, memory not on the corpus.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import tokenization_bpe
from data_pipeline.corpora import example_bytes, parallel, progress_log, token_store
from data_pipeline.corpora.blocks import Permutation
from data_pipeline.corpora.report import Report
from data_pipeline.corpora.shards import write_shards
from errors import UserError

_BLOCK_RECORDS = 1024


@dataclasses.dataclass(frozen=True)
class StreamConfig:
    """How a stream is made and cut.

    Attributes:
      vocab_size: ids are below it.
      boundary_id: of the token between two documents.
      max_seq_length: tokens of a record; the stream's last may be shorter.
      random_seed: of the records' order.
    """

    vocab_size: int
    boundary_id: int
    max_seq_length: int
    random_seed: int

    def __post_init__(self):
        """Checks the length."""
        if self.max_seq_length < 2:
            raise UserError(
                f"--max_seq_length={self.max_seq_length}, but the shortest record that "
                "predicts anything has 2 tokens"
            )

    @property
    def dtype(self) -> np.dtype:
        """Of the tokens on disk."""
        return token_store.storage_dtype(self.vocab_size)


def stream_config(
    vocab_file: str, *, max_seq_length: int, random_seed: int
) -> StreamConfig:
    """The settings for streams with a GPT vocabulary.

    Raises:
      UserError: the vocabulary has no boundary, or a setting is impossible.
    """
    vocab = tokenization_bpe.load(vocab_file).vocab
    # No line of text contains it.
    boundary = tokenization_bpe.NEWLINE_TOKEN
    if boundary not in vocab:
        raise UserError(
            f"{vocab_file} has no piece {boundary!r} among its {len(vocab)}: it is to "
            "stand between documents"
        )
    return StreamConfig(len(vocab), vocab[boundary], max_seq_length, random_seed)


def create(
    files: Sequence[str],
    vocab_file: str,
    config: StreamConfig,
    output_files: Sequence[str],
    num_workers: int,
) -> Report:
    """Reads text files and writes TFRecord files, which appear when all are complete.

    The stream, 2 or 4 bytes a token, is kept beside the first output file (if that is
    remote, in the folder for temporary files) and removed at the end.

    Args:
      files: the corpus, one sentence a line, blank lines between documents.
      vocab_file: GPT's vocabulary; its merges are beside it.
      config: how the stream is made and cut.
      output_files: records are dealt out to them one by one.
      num_workers: processes.

    Returns:
      The counts of everything.

    Raises:
      UserError: the corpus cannot be used; says why and where.
    """
    with token_store.temporary_folder(output_files[0]) as folder:
        path = os.path.join(folder, "stream")
        with StreamWriter(path, config) as stream:
            report = _tokenize(files, vocab_file, stream, num_workers)
        if not stream.num_tokens:
            raise UserError(f"no text in {', '.join(files)}")
        made = (
            (list(encode_rows(rows)), counts)
            for rows, counts in blocks(path, stream.num_tokens, config)
        )
        write_shards(output_files, made, report)
    return report


class StreamWriter:
    """Joins lines to documents and documents to one stream; a context manager.

    Attributes:
      num_tokens: written, boundaries included.
      num_documents: with at least one token.
    """

    def __init__(self, path: str, config: StreamConfig):
        """Creates the file."""
        self._file = open(path, "wb")  # noqa: SIM115
        self._config = config
        self._blank_lines = 0
        self._last = -1  # blank lines before the last line that had a token
        self.num_tokens = self.num_documents = 0

    def add(self, ids: np.ndarray, lengths: np.ndarray) -> None:
        """Appends lines.

        Args:
          ids: int, the tokens of all lines.
          lengths: int64 [lines], tokens of each; -1 ends the document.
        """
        real = lengths > 0
        blank_lines = self._blank_lines + np.cumsum(lengths < 0)
        before = blank_lines[real]
        begins = np.diff(before, prepend=self._last) > 0
        starts = (np.cumsum(lengths[real]) - lengths[real])[begins]
        between = starts if self.num_documents else starts[1:]
        stream = np.insert(ids, between, self._config.boundary_id)
        self._file.write(stream.astype(self._config.dtype).tobytes())
        self.num_tokens += stream.size
        self.num_documents += starts.size
        self._blank_lines = int(blank_lines[-1])
        if before.size:
            self._last = int(before[-1])

    def __enter__(self) -> "StreamWriter":
        return self

    def __exit__(self, *unused) -> None:
        self._file.close()


def _tokenize(
    files: Sequence[str], vocab_file: str, stream: StreamWriter, num_workers: int
) -> Report:
    """Fills the stream with the corpus and counts it."""
    from data_pipeline.corpora import corpus

    report, unknown = Report(), tokenization_bpe.load(vocab_file).unknown_id
    with parallel.worker_processes(num_workers, _start, (vocab_file,)) as pool:
        portions = corpus.watched(files, corpus.portions)
        made = parallel.in_order(pool, _tokenize_lines, portions, num_workers)
        for ids, lengths in made:
            stream.add(ids, lengths)
            report.sentences += int((lengths > 0).sum())
            report.tokens += ids.size
            report.unknown += int((ids == unknown).sum())
    report.documents = stream.num_documents
    return report


def blocks(
    path: str, num_tokens: int, config: StreamConfig
) -> Iterator[tuple[list[np.ndarray], Report]]:
    """Yields the runs of a stream in their order, a block of them at a time.

    Args:
      path: of a file of tokens.
      num_tokens: how many there are.
      config: how they are stored and cut.

    Returns:
      Some runs of token ids, and their counts.
    """
    length = config.max_seq_length
    number = -(-num_tokens // length)
    order = Permutation(number, config.random_seed)
    with open(path, "rb") as file:
        starts = range(0, number, _BLOCK_RECORDS)
        for first in progress_log.watch(starts, "writing records"):
            block = order(np.arange(first, min(first + _BLOCK_RECORDS, number)))
            rows = [
                token_store.pread(
                    file.fileno(),
                    config.dtype,
                    start,
                    min(length, num_tokens - start),
                )
                for start in (block * length).tolist()
            ]
            counts = Report(instances=len(rows), instance_tokens=sum(map(len, rows)))
            yield rows, counts


def features() -> list[Any]:
    """Declares what records hold: the one Feature input_ids, int32 [S]."""
    import tensorflow as tf

    from data_pipeline.feature_spec import Feature

    return [Feature("input_ids", tf.int32, (None,))]


def encode_rows(rows: Sequence[np.ndarray]) -> Iterator[bytes]:
    """Yields rows of token ids, int [length] each, as records; see `features`."""
    lengths = np.array([len(row) for row in rows])
    kind = example_bytes.INT64_LIST
    for ids in example_bytes.varints(np.concatenate(rows).astype(np.int32), lengths):
        yield example_bytes.example(example_bytes.entry("input_ids", kind, ids))


# What a worker process works with; set once, when it starts.
_work: dict[str, tokenization_bpe.TextEncoder] = {}


def _start(vocab_file: str) -> None:
    _work["tokenizer"] = tokenization_bpe.load(vocab_file)


def _tokenize_lines(lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ids of all lines, and how many each line has; -1: a blank line."""
    ids, offsets = _work["tokenizer"].ids(lines)
    lengths = np.diff(offsets)
    lengths[[not line for line in lines]] = -1
    return ids, lengths
