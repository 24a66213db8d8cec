"""A corpus: text files, one sentence a line, blank lines between documents.

Read in chunks of whole lines, so that memory does not grow with a file, and every
fault is named by file and line.
"""

import concurrent.futures
import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf

import streams
import tokenization
from data_pipeline.corpora import parallel, progress_log, segmentation, token_store
from data_pipeline.corpora.instances import InstanceConfig
from data_pipeline.corpora.report import PairReport
from data_pipeline.corpora.segmentation import Part
from data_pipeline.corpora.token_store import TokenStoreWriter
from errors import UserError
from tokenization_tf import FastTokenizer

_CHUNK_BYTES = 1 << 19
Portion = TypeVar("Portion")
_SPECIAL_TOKENS = ("[UNK]", "[CLS]", "[SEP]", "[MASK]")


def chunks(path: str) -> Iterator[tuple[int, list[str]]]:
    r"""Yields a file's lines in portions: (number of the first line, lines).

    Lines end at "\n" only, as in the parent, and come without surrounding white space.

    Raises:
      UserError: a line is not UTF-8; names it.
    """
    first, rest = 1, b""
    with streams.open_bytes(path) as file:
        while True:
            data = file.read(_CHUNK_BYTES)
            head, line_end, tail = data.rpartition(b"\n")
            if data and not line_end:
                rest += data
                continue
            # Without data: the last line, if nothing ended it.
            text = streams.decode(path, first, rest + head)
            if data or text:
                lines = [line.strip() for line in text.split("\n")]
                yield first, lines
                first += len(lines)
            rest = tail
            if not data:
                return


def watched(
    files: Sequence[str], read: Callable[[str], Iterable[Portion]]
) -> Iterator[Portion]:
    """Passes on what `read`, chunks or portions, makes of files; logs how far it is."""
    sizes = [tf.io.gfile.stat(path).length for path in files]
    log = progress_log.ProgressLog(f"reading {len(files)} files")
    # Nobody knows how much a pipe or a packed file will give: then nothing is told.
    unknown = any(streams.is_stream(path) or path.endswith(".gz") for path in files)
    total = math.inf if unknown else max(1, sum(sizes))
    before = 0
    for path, size in zip(files, sizes, strict=True):
        for number, portion in enumerate(read(path), 1):
            yield portion
            # As good as exact: only a line that is longer than a chunk is told late.
            done = before + min(number * _CHUNK_BYTES, size)
            log.at(done / total)
        before += size


def instance_config(
    vocab_file: str, vocab: dict[str, int], **flags: int | float | bool
) -> InstanceConfig:
    """The settings for making instances with a vocabulary.

    Args:
      vocab_file: for the message.
      vocab: piece -> id.
      **flags: InstanceConfig's other attributes.

    Raises:
      UserError: the vocabulary lacks a special token, or a setting is impossible.
    """
    missing = [token for token in _SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise UserError(
            f"{vocab_file} has no line {', '.join(missing)} among its {len(vocab)} "
            "lines; is it a BERT vocabulary?"
        )
    ids = {f"{token.strip('[]').lower()}_id": vocab[token] for token in _SPECIAL_TOKENS}
    ids.pop("unk_id")
    return InstanceConfig(vocab_size=len(vocab), **ids, **flags)


def check_next_sentences(
    files: Sequence[str], num_documents: int, longest_document: int
) -> None:
    """Refuses a corpus that next sentence prediction cannot learn from.

    Args:
      files: for the message.
      num_documents: with at least one sentence.
      longest_document: sentences of the longest.

    Raises:
      UserError: fewer than two documents, or none of two sentences.
    """
    names = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    if num_documents < 2:
        where = f"{files[0]}, line 1, begins the only one" if num_documents else names
        raise UserError(
            f"wanted at least two documents, separated by a blank line, got "
            f"{num_documents} ({where}): random next sentences come from another "
            f"document. Input: {names}"
        )
    if longest_document < 2:
        raise UserError(
            f"wanted documents of at least two sentences, one a line, got "
            f"{num_documents} documents of one (the first: {files[0]}, line 1): there "
            f"is no next sentence to predict. Is there a blank line after every "
            f"sentence? Input: {names}"
        )


def check_blank_lines(path: str, num_lines: int, blank_lines: int) -> None:
    """Refuses a file without a blank line.

    Raises:
      UserError: all its lines would be one document.
    """
    if num_lines and not blank_lines:
        raise UserError(
            f"{path}, lines 1 to {num_lines}: no blank line in the whole file, which "
            "would make it one document; documents are separated by blank lines. (If "
            "it is one, end it with a blank line.)"
        )


@dataclasses.dataclass(frozen=True)
class TokenizedLines:
    """Lines as word pieces.

    Attributes:
      packed: the pieces of all lines, as `token_store.pack` returns them.
      lengths: int64 [lines], pieces of each; -1: a blank line.
      unknown: how many of the pieces are [UNK].
    """

    packed: np.ndarray
    lengths: np.ndarray
    unknown: int


class LineTokenizer:
    """Lines to pieces that know where words begin; threads may share it."""

    def __init__(self, vocab_file: str, do_lower_case: bool):
        """Reads the vocabulary; the arguments are FullTokenizer's."""
        self._tokenizer = FastTokenizer(vocab_file, do_lower_case)
        self.vocab = self._tokenizer.vocab
        self.dtype = token_store.storage_dtype(len(self.vocab))
        self._continues = np.array([piece.startswith("##") for piece in self.vocab])
        self._unknown = self.vocab[tokenization.UNK_TOKEN]

    def __call__(
        self, lines: Sequence[str], parts: Sequence[list[Part]] | None = None
    ) -> TokenizedLines:
        """Tokenizes lines.

        Args:
          lines: without surrounding white space.
          parts: what `segmentation.parts` made of each line; None: Chinese characters
            are words of their own.
        """
        if parts is not None:
            ids, lengths, continues = self._by_words(parts)
        else:
            ids, offsets = self._tokenizer.ids(lines)
            lengths, continues = np.diff(offsets), self._continues[ids]
        lengths[[not line for line in lines]] = -1
        packed = token_store.pack(ids, continues, self.dtype)
        return TokenizedLines(packed, lengths, int((ids == self._unknown).sum()))

    def _by_words(
        self, parts: Sequence[list[Part]]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids, pieces a line, and which pieces continue a Chinese or other word."""
        flat = [text for line in parts for text, _ in line]
        is_word = np.array([word for line in parts for _, word in line], bool)
        ids, offsets = self._tokenizer.ids(flat)
        continues = self._continues[ids]
        sizes = np.diff(offsets)
        # In a word of Chinese characters every piece but the first continues it.
        continues |= np.repeat(is_word, sizes)
        continues[offsets[:-1][is_word & (sizes > 0)]] = False
        ends = np.cumsum([0, *map(len, parts)])
        return ids, np.diff(offsets[ends]), continues


def tokenize(
    files: Sequence[str],
    tokenizer: LineTokenizer,
    folder: str,
    num_workers: int,
    segment: bool,
) -> PairReport:
    """Writes the token store of a corpus.

    Args:
      files: the corpus; a file's end ends a document.
      tokenizer: of its lines.
      folder: of the store.
      num_workers: threads.
      segment: whether jieba finds the words of Chinese text, in as many processes.

    Returns:
      The counts of what was read.

    Raises:
      UserError: the corpus cannot be used; says why and where.
    """
    unknown = 0
    with contextlib.ExitStack() as stack:
        threads = stack.enter_context(
            concurrent.futures.ThreadPoolExecutor(num_workers)
        )
        processes = segment and stack.enter_context(
            parallel.worker_processes(num_workers)
        )
        store = stack.enter_context(TokenStoreWriter(folder, tokenizer.dtype))

        def work(lines: list[str]) -> TokenizedLines:
            if not processes:
                return tokenizer(lines)
            parts = processes.submit(segmentation.parts, lines).result()
            return tokenizer(lines, parts)

        lines = watched(files, portions)
        for tokenized in parallel.in_order(threads, work, lines, num_workers):
            store.add(tokenized.packed, tokenized.lengths)
            unknown += tokenized.unknown
    check_next_sentences(files, store.num_documents, store.longest_document)
    return PairReport(
        documents=store.num_documents,
        sentences=store.num_sentences,
        tokens=store.num_tokens,
        unknown=unknown,
    )


def portions(path: str) -> Iterator[list[str]]:
    """Yields a file's lines in portions, and one blank line more at its end.

    Raises:
      UserError: no blank line in the file, or not UTF-8; names the line.
    """
    num_lines = blank = 0
    for _, lines in chunks(path):
        num_lines += len(lines)
        blank += lines.count("")
        yield lines
    check_blank_lines(path, num_lines, blank)
    yield [""]
