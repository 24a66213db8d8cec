"""A corpus as BERT's word pieces: what it takes, and the store of its tokens."""

import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Sequence

import numpy as np

import tokenization
from data_pipeline.corpora import corpus, parallel, segmentation, token_store
from data_pipeline.corpora.bert_instances import InstanceConfig
from data_pipeline.corpora.report import PairReport
from data_pipeline.corpora.segmentation import Part
from data_pipeline.corpora.token_store import TokenStoreWriter
from errors import UserError
from tokenization_tf import FastTokenizer

_SPECIAL_TOKENS = ("[UNK]", "[CLS]", "[SEP]", "[MASK]")


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

        lines = corpus.watched(files, corpus.portions)
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
