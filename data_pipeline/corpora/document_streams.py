"""Streams of documents for ULMFiT's language model, after fastai's data loaders.

    files -> processes find words -> a record a document -> shards

A record is a document between two `xxbos`, the second of which begins the next one: a
stream reads it there, and predicts it here. So read from its end a record is of the
same form, which is all that the other direction needs. What is made of records in
training is in `document_windows`.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

import tokenization_ulmfit
from data_pipeline.corpora import parallel, segmentation, token_streams
from data_pipeline.corpora.report import WordReport
from data_pipeline.corpora.shards import write_shards
from errors import UserError
from tokenization_ulmfit import UlmfitTokenizer
from word_rules import WordsSeen


@dataclasses.dataclass
class DocumentReport(WordReport):
    """The report on documents.

    Attributes:
      cut_documents: were too long for a record, and became several.
    """

    cut_documents: int = 0

    def _shares(self) -> list[str]:
        return [f"cut_documents = {self.cut_documents}"]


def create(
    files: Sequence[str],
    vocab_file: str,
    max_seq_length: int,
    output_files: Sequence[str],
    num_workers: int,
    segmenter: str | None = None,
) -> DocumentReport:
    """Reads text and writes TFRecord files, in the order of the text.

    Args:
      files: the corpus, blank lines between documents, whose lines are joined.
      vocab_file: one word a line, see `tokenization_ulmfit`.
      max_seq_length: words of the longest record, marks included; longer documents are
        cut.
      output_files: records are dealt out to them one by one.
      num_workers: processes.
      segmenter: finds the words in stretches of Chinese, see word_rules; None: white
        space and English's rules do.

    Returns:
      The counts of everything.

    Raises:
      UserError: the vocabulary has no marks, or the files no document.
    """
    from data_pipeline.corpora import corpus  # loads TensorFlow, which processes do not

    if max_seq_length < 3:
        raise UserError(
            f"--max_seq_length={max_seq_length}, but a word between two marks needs 3"
        )
    start = (vocab_file, segmenter)
    tokenizer = _start(*start)
    report = DocumentReport()
    with contextlib.ExitStack() as stack:
        portions = corpus.watched(files, corpus.portions)
        if num_workers == 1:
            made = map(_find_words, portions)
        else:
            processes = parallel.worker_processes(num_workers, _start, start)
            pool = stack.enter_context(processes)
            made = parallel.in_order(pool, _find_words, portions, num_workers)
        counted = _counted(made, report)
        records = _records(_documents(counted), tokenizer, max_seq_length)
        write_shards(output_files, records, report)
    if not report.documents:
        raise UserError(f"no text in {', '.join(files)}")
    return report


# What a worker process works with; set once, when it starts.
_work: dict[str, UlmfitTokenizer] = {}


def _start(vocab_file: str, segmenter: str | None) -> UlmfitTokenizer:
    words = tokenization_ulmfit.read_words(vocab_file)
    segment = segmentation.spacer(segmenter)
    _work["tokenizer"] = UlmfitTokenizer(words, vocab_file, segment)
    return _work["tokenizer"]


def _find_words(lines: list[str]) -> tuple[np.ndarray, np.ndarray, WordsSeen]:
    """Ids of all lines, how many each line has (-1: a blank line), what was seen."""
    tokenizer = _work["tokenizer"]
    tokenizer.seen = WordsSeen()
    ids, offsets = tokenizer.ids(lines)
    lengths = np.diff(offsets)
    lengths[[not line for line in lines]] = -1
    return ids, lengths, tokenizer.seen


def _counted(made, report):
    """Passes portions on, and counts what was seen in them."""
    for ids, lengths, seen in made:
        report.notice(seen)
        yield ids, lengths


def _documents(
    portions: Iterable[tuple[np.ndarray, np.ndarray]],
) -> Iterator[list[np.ndarray]]:
    """Yields the ids of each document's lines; every file ends with a blank line."""
    lines = []
    for ids, lengths in portions:
        ends = np.cumsum(np.maximum(lengths, 0))
        for length, end in zip(lengths.tolist(), ends.tolist(), strict=True):
            if length > 0:
                lines.append(ids[end - length : end])
            elif length < 0 and lines:
                yield lines
                lines = []


def _records(
    documents: Iterable[list[np.ndarray]], tokenizer: UlmfitTokenizer, longest: int
) -> Iterator[tuple[list[bytes], DocumentReport]]:
    """Yields the records of a document, and their counts."""
    for lines in documents:
        ids = np.concatenate([tokenizer.start, *lines, [tokenizer.bos]])
        # The last word of a piece is the first of the next: each is predicted once.
        starts = range(0, len(ids) - 1, longest - 1)
        pieces = [ids[start : start + longest] for start in starts]
        words = sum(map(len, lines))
        yield (
            list(token_streams.encode_rows(pieces)),
            DocumentReport(
                documents=1,
                sentences=len(lines),
                tokens=words,
                unknown=sum(int((line == tokenizer.unk).sum()) for line in lines),
                instances=len(pieces),
                instance_tokens=sum(map(len, pieces)),
                cut_documents=int(len(pieces) > 1),
            ),
        )
