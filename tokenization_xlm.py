r"""XLM's text to byte pairs (Lample and Conneau 2019, sections 3.1 and 5.1).

    Moses' punctuation -> words -> lower case without accents -> byte pairs

The steps are those of facebookresearch/XLM's `tools/tokenize.sh` and
`lowercase_and_remove_accent.py`; Moses' rules come from the package sacremoses (the
extra `xlm`). Chinese is cut into words first, by jieba (the extra `segment`) where the
original has Stanford's segmenter, whose words differ.

Byte pairs are fastBPE's: a piece that its word goes on behind ends in "@@". They are
read from fastBPE's files (`codes`: `a b</w> count` a line; `vocab`: `piece count`), or
from Hugging Face's vocab.json and merges.txt.
"""

import functools
import itertools
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import json_files
import tokenization
import tokenization_bpe
from errors import MissingExtra, UserError
from tokenization_bpe import END_OF_WORD, Memo

# What every vocabulary begins with. The original calls <special0> the separator and
# <special1> the mask.
SPECIAL = ("<s>", "</s>", "<pad>", "<unk>", *(f"<special{i}>" for i in range(10)))
BOS, EOS, PAD, UNK, MASK = 0, 1, 2, 3, 5
GOES_ON = "@@"
VOCAB, CODES = "vocab", "codes"
# Written without spaces, by the original with a segmenter that is not at hand here.
_UNSEGMENTED = ("ja", "th")
# The share of unknown pieces from which on vocabulary and text hardly belong together.
MOST_UNKNOWN = 0.05


def prepare(text: str, language: str, do_lower_case: bool = True) -> str:
    """Returns the words of a text, between spaces.

    Args:
      text: a line.
      language: two letters, as Moses and the original name it.
      do_lower_case: whether to lower-case and take off accents, as of all released
        models but those of 17 and 100 languages.

    Raises:
      UserError: the language is written without spaces and nothing here finds words.
      MissingExtra: a package is not installed.
    """
    if language == "zh":
        text = " ".join(_jieba()(text))
    text = _cleaner(language)(text)
    return lower_without_accents(text) if do_lower_case else text


def lower_without_accents(text: str) -> str:
    """Lower-cases and drops combining marks, as the original's script."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFD", text.lower())
    kept = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    return kept.lower()


@functools.cache
def _cleaner(language: str) -> Callable[[str], str]:
    """Returns Moses' normalization and, but for Chinese, tokenization."""
    if language in _UNSEGMENTED:
        raise UserError(
            f"language {language}: its words are not written apart, and only those of "
            "zh are found here"
        )
    try:
        import sacremoses
    except ImportError as error:
        raise MissingExtra(
            "XLM's text is cut into words by the package sacremoses: "
            'pip install "word2bert[xlm]"'
        ) from error
    punctuation = _punctuation(sacremoses.MosesPunctNormalizer, language)

    def normalized(text: str) -> str:
        return _without_controls(punctuation.normalize(text))

    if language == "zh":
        return normalized
    words = sacremoses.MosesTokenizer(language)

    def tokenized(text: str) -> str:
        return words.tokenize(normalized(text), return_str=True, escape=False)

    return tokenized


def _punctuation(kind: type, language: str) -> Any:
    """Makes sacremoses' normalizer do as the Perl script does, in every language."""
    # Only en, cs and cz have quotation marks and commas in another order than de.
    quotes = language if language in ("en", "cs", "cz") else "de"
    made = kind(
        quotes, norm_numbers=False, pre_replace_unicode_punct=True, perl_parity=True
    )
    comma = language in ("de", "es", "cz", "cs", "fr")
    made.substitutions += kind.DE_ES_CZ_CS_FR if comma else kind.OTHER
    return made


def _without_controls(text: str) -> str:
    """Makes spaces of control characters: remove-non-printing-char.perl."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text)


@functools.cache
def _jieba() -> Callable[[str], Iterable[str]]:
    try:
        import jieba
    except ImportError as error:
        raise MissingExtra(
            "language zh: its words are found by the package jieba: "
            'pip install "word2bert[segment]"'
        ) from error
    jieba.setLogLevel("ERROR")
    jieba.initialize()
    return jieba.cut


class BytePairs:
    """Words to pieces and ids: what two files say.

    Attributes:
      vocab: piece -> id, those of SPECIAL first.
      counts: int64 [pieces], how often each occurs in the text that the vocabulary is
        of, 0 for those of SPECIAL; None where the file does not say.
      ranks: pair of pieces, the last one of a word with "</w>" -> its place.
      vocab_file: where they are from.
    """

    def __init__(self, vocab_file: str, max_vocab: int | None = None):
        """Reads a vocabulary, and the codes beside it.

        Args:
          vocab_file: fastBPE's, with "vocab" in its name, or Hugging Face's vocab.json.
          max_vocab: pieces that are known; the file may have more.

        Raises:
          MissingFile: there is no such file.
          UserError: a file is not of its format.
        """
        self.vocab_file = str(vocab_file)
        read = _read_json if self.vocab_file.endswith(".json") else _read_fast_bpe
        pieces, counts = read(self.vocab_file)
        self.vocab = {p: i for i, p in enumerate(itertools.islice(pieces, max_vocab))}
        self.counts = None if counts is None else counts[: len(self.vocab)]
        self.ranks = tokenization_bpe.read_merges(
            codes_beside(self.vocab_file), counted=True
        )
        self.ids_of = Memo(self._ids)

    def pieces(self, word: str) -> list[str]:
        """Returns a word's pieces, those outside the vocabulary too."""
        *first, last = tokenization_bpe.merge(word, self.ranks)
        return [*(p + GOES_ON for p in first), last.removesuffix(END_OF_WORD)]

    def _ids(self, word: str) -> tuple[int, ...]:
        ids = [self.vocab.get(piece, UNK) for piece in self.pieces(word)]
        # What text writes as a special piece is none.
        return tuple(i if i >= len(SPECIAL) else UNK for i in ids)

    def doubt(self, unknown: int, total: int) -> str | None:
        """Says why vocabulary and text seem not to belong together; None: they do.

        Args:
          unknown: pieces of the text that are not in the vocabulary.
          total: pieces of the text.
        """
        share = unknown / max(1, total)
        if share <= MOST_UNKNOWN:
            return None
        reason = "was it learnt with other codes, or on text of another case?"
        if not any(piece.endswith(GOES_ON) for piece in self.vocab):
            reason = (
                f"no piece ends in {GOES_ON!r}: it was counted before the codes were "
                "applied"
            )
        return (
            f"{self.vocab_file}: {share:.0%} of the text's {total} pieces are not "
            f"among its {len(self.vocab)}; {reason}"
        )


class XlmTokenizer:
    """A language's text to ids.

    Attributes:
      bpe: the pieces; languages share them.
      language: whose rules find words.
      do_lower_case: see `prepare`.
    """

    unknown_id = UNK

    def __init__(self, bpe: BytePairs, language: str, do_lower_case: bool = True):
        """Keeps the arguments; see the class."""
        self.bpe, self.language, self.do_lower_case = bpe, language, do_lower_case

    def of(self, language: str) -> "XlmTokenizer":
        """Returns the tokenizer of another language, with the same pieces."""
        return XlmTokenizer(self.bpe, language, self.do_lower_case)

    @property
    def vocab(self) -> Mapping[str, int]:
        """Piece -> id."""
        return self.bpe.vocab

    def words(self, text: str | bytes) -> list[str]:
        """Returns the words that are cut into pieces."""
        text = tokenization.convert_to_unicode(text)
        return prepare(text, self.language, self.do_lower_case).split()

    def tokenize(self, text: str | bytes) -> list[str]:
        """Returns a text's pieces, those outside the vocabulary too."""
        return [piece for word in self.words(text) for piece in self.bpe.pieces(word)]

    def encode(self, texts: Iterable[str | bytes]) -> list[list[int]]:
        """Returns each text's ids, without any special piece around them."""
        return [list(self._ids(text)) for text in texts]

    def ids(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes many texts, as `tokenization_tf.FastTokenizer.ids`.

        Returns:
          The ids of all texts, one after the other, int32 [sum of lengths], and the
          place where each text starts and the last one ends, int64 [N + 1].
        """
        rows = self.encode(texts)
        offsets = np.cumsum([0, *map(len, rows)])
        flat = np.fromiter(itertools.chain.from_iterable(rows), np.int32, offsets[-1])
        return flat, offsets

    def _ids(self, text: str | bytes) -> Iterator[int]:
        words = map(self.bpe.ids_of.__getitem__, self.words(text))
        return itertools.chain.from_iterable(words)


def load(
    vocab_file: str,
    language: str,
    do_lower_case: bool = True,
    max_vocab: int | None = None,
) -> XlmTokenizer:
    """Returns a language's tokenizer; see BytePairs and XlmTokenizer."""
    return XlmTokenizer(BytePairs(vocab_file, max_vocab), language, do_lower_case)


def codes_beside(vocab_file: str) -> str:
    """Returns the path of the codes that belong to a vocabulary file.

    Args:
      vocab_file: ".../vocab", ".../vocab_xnli_15" and the like, whose codes have
        "codes" in their name instead; or Hugging Face's ".../vocab.json".

    Raises:
      UserError: the file has another name.
    """
    if str(vocab_file).endswith(".json"):
        return tokenization_bpe.merges_beside(vocab_file)
    folder, name = os.path.split(str(vocab_file))
    before, found, after = name.rpartition(VOCAB)
    if not found:
        raise UserError(
            f"{vocab_file}: XLM's vocabulary must have {VOCAB!r} in its name, as "
            f"vocab_xnli_15: its codes are looked for beside it, as codes_xnli_15"
        )
    return os.path.join(folder, before + CODES + after)


def _read_fast_bpe(path: str) -> tuple[list[str], np.ndarray]:
    """Reads `piece count` lines; ids go on from line to line that is of that form."""
    try:
        text = tokenization.read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from None
    counts = dict.fromkeys(SPECIAL, 0)
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        # The original passes over such lines, and over pieces that it has already.
        if "\u2028" in line or len(fields) != 2 or fields[0] in counts:
            continue
        piece, count = fields
        if not (count.isascii() and count.isdecimal()):
            raise UserError(
                f"{path}, line {number}: wanted a piece and its count, got {line!r}"
            )
        counts[piece] = int(count)
    if len(counts) == len(SPECIAL):
        raise UserError(f"{path}: no line is a piece and its count")
    return list(counts), np.array(list(counts.values()), np.int64)


def _read_json(path: str) -> tuple[list[str], None]:
    """Reads Hugging Face's, whose pieces have "</w>" at the end of a word instead."""
    ids = json_files.parse(tokenization.read_bytes(path), path)
    json_files.check_object(ids, path, "an object of piece: id")
    found = {i: piece for piece, i in ids.items()}
    pieces = [found.get(i) for i in range(len(ids))]
    if None in pieces:
        raise UserError(
            f"{path}: {len(ids)} pieces must have the ids 0 to {len(ids) - 1}, each "
            f"one once; none has {pieces.index(None)}"
        )
    if tuple(pieces[: len(SPECIAL)]) != SPECIAL:
        raise UserError(
            f"{path}: an XLM vocabulary begins with {' '.join(SPECIAL)}, got "
            f"{' '.join(pieces[: len(SPECIAL)])}"
        )
    return [*SPECIAL, *map(_fast_bpe_form, pieces[len(SPECIAL) :])], None


def file_texts(
    pieces: Iterable[tuple[str, int]], codes: Mapping[tuple[str, str], int]
) -> tuple[str, str]:
    """Returns what fastBPE's vocabulary and codes hold.

    Args:
      pieces: each with its occurrences, the most frequent first; "</w>" ends a word.
      codes: pair of pieces -> its occurrences, in the order in which they were learnt.
    """
    lines = [f"{_fast_bpe_form(piece)} {count}\n" for piece, count in pieces]
    pairs = [f"{' '.join(pair)} {count}\n" for pair, count in codes.items()]
    return "".join(lines), "".join(pairs)


def json_form(piece: str) -> str:
    """Returns a piece as Hugging Face's vocab.json has it; the inverse of the next."""
    if piece in SPECIAL:
        return piece
    goes_on = piece.endswith(GOES_ON)
    return piece.removesuffix(GOES_ON) if goes_on else piece + END_OF_WORD


def _fast_bpe_form(piece: str) -> str:
    """Returns "low" of "low</w>", and "lo@@" of "lo"."""
    ends = piece.endswith(END_OF_WORD)
    return piece.removesuffix(END_OF_WORD) if ends else piece + GOES_ON
