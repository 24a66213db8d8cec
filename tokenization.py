"""BERT's text to word pieces (Devlin et al. 2018, section 3): the parent's API.

Basic tokenization (clean, split, optionally lower-case and strip accents) followed by
WordPiece, greedy longest match first. Pure Python: importing this module does not
import TensorFlow, and it is the reference the tokenizers of `tokenization_tf` are
measured against. Names and results are those of google-research/bert's
`tokenization.py`.
"""

import collections
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from errors import MissingFile, UserError

UNK_TOKEN = "[UNK]"
# Longer words become [UNK] whole; characters after normalization, not bytes.
MAX_CHARS_PER_WORD = 200

# Inclusive code point ranges that are split character by character. Hangul and kana
# are absent on purpose: the released vocabularies hold them as words.
CJK_RANGES = (
    (0x4E00, 0x9FFF),  # Unified Ideographs
    (0x3400, 0x4DBF),  # Extension A
    (0x20000, 0x2A6DF),  # Extension B
    (0x2A700, 0x2B73F),  # Extension C
    (0x2B740, 0x2B81F),  # Extension D
    (0x2B820, 0x2CEAF),  # Extension E
    (0xF900, 0xFAFF),  # Compatibility Ideographs
    (0x2F800, 0x2FA1F),  # Compatibility Ideographs Supplement
)

# The released checkpoints the parent knows by the name of their folder.
_LOWER_CASE_MODELS = frozenset(
    [
        "uncased_L-24_H-1024_A-16",
        "uncased_L-12_H-768_A-12",
        "multilingual_L-12_H-768_A-12",
        "chinese_L-12_H-768_A-12",
    ]
)
_CASED_MODELS = frozenset(
    [
        "cased_L-12_H-768_A-12",
        "cased_L-24_H-1024_A-16",
        "multi_cased_L-12_H-768_A-12",
    ]
)


def validate_case_matches_checkpoint(
    do_lower_case: bool, init_checkpoint: str | None
) -> None:
    """Refuses a casing that contradicts a released checkpoint's folder name.

    Google's checkpoints do not record their casing, so their names must do.

    Args:
      do_lower_case: the casing the caller asked for.
      init_checkpoint: path such as ".../uncased_L-12_H-768_A-12/bert_model.ckpt";
        None, "" and any path with an unknown folder name are accepted.

    Raises:
      UserError: the folder is a released model of the other casing.
    """
    folder = re.match(r".*?([A-Za-z0-9_-]+)/bert_model.ckpt", init_checkpoint or "")
    if folder is None:
        return
    name = folder.group(1)
    if name in (_CASED_MODELS if do_lower_case else _LOWER_CASE_MODELS):
        kind = "cased" if do_lower_case else "lower-cased"
        raise UserError(
            f"--do_lower_case={do_lower_case} does not fit "
            f"--init_checkpoint={init_checkpoint}: {name} was pre-trained on {kind} "
            f"text. Pass --do_lower_case={not do_lower_case}, or rename the folder if "
            "it holds another model."
        )


def convert_to_unicode(text: str | bytes) -> str:
    """Returns `text` as str; bytes are read as UTF-8, invalid ones are dropped.

    Raises:
      UserError: `text` is neither str nor bytes.
    """
    if isinstance(text, str):
        return text
    if isinstance(text, bytes):
        return text.decode("utf-8", errors="ignore")
    raise UserError(f"text must be str or bytes, got {type(text).__name__}: {text!r}")


def printable_text(text: str | bytes) -> str:
    """Returns `text` in the form that print and logging want: str."""
    return convert_to_unicode(text)


def load_vocab(vocab_file: str) -> collections.OrderedDict[str, int]:
    r"""Reads a vocabulary: one piece a line, its id is the line's number from 0.

    Lines end at "\n" only: the released Chinese vocabulary has a piece that is a
    Unicode line separator. Surrounding white space is stripped.

    Args:
      vocab_file: path; anything with a scheme (gs://...) is read by tf.io.gfile.

    Returns:
      piece -> id, in the file's order.

    Raises:
      MissingFile: there is no such file.
      UserError: not UTF-8, a piece stands on two lines, or there is no [UNK].
    """
    vocab = collections.OrderedDict()
    lines = read_bytes(vocab_file).split(b"\n")
    if not lines[-1]:
        lines.pop()  # what follows the last line's end is no line
    for index, line in enumerate(lines):
        try:
            token = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{vocab_file}, line {index + 1}: a vocabulary must be UTF-8 text, "
                f"got {line[:40]!r} ({error.reason} at byte {error.start})."
            ) from error
        if token in vocab:
            raise UserError(
                f"{vocab_file}, line {index + 1}: {token!r} is already on line "
                f"{vocab[token] + 1}; every piece must have one id."
            )
        vocab[token] = index
    if UNK_TOKEN not in vocab:
        raise UserError(
            f"{vocab_file} has no line {UNK_TOKEN} among its {len(vocab)} lines; is it "
            "a BERT vocabulary (one piece a line)?"
        )
    return vocab


def read_bytes(path: str, size: int = -1) -> bytes:
    """Returns a local or remote file's contents, or its first `size` bytes."""
    path = str(path)
    if "://" in path:
        import tensorflow as tf  # here, so that local vocabularies need no TensorFlow

        if not tf.io.gfile.exists(path):
            raise MissingFile(f"There is no vocabulary file {path}.")
        with tf.io.gfile.GFile(path, "rb") as reader:
            return reader.read(size)
    try:
        with open(path, "rb") as reader:
            return reader.read(size)
    except FileNotFoundError as error:
        raise MissingFile(f"There is no vocabulary file {path}.") from error


def convert_by_vocab(vocab: Mapping, items: Iterable) -> list:
    """Looks every item up: tokens -> ids, or ids -> tokens with an inverse vocabulary.

    Raises:
      KeyError: an item is not in `vocab`.
    """
    try:
        return [vocab[item] for item in items]
    except KeyError as error:
        raise KeyError(
            f"{error.args[0]!r} is not in the vocabulary of {len(vocab)} entries."
        ) from None


def convert_tokens_to_ids(vocab: Mapping[str, int], tokens: Iterable[str]) -> list[int]:
    """Returns the id of every token."""
    return convert_by_vocab(vocab, tokens)


def convert_ids_to_tokens(
    inv_vocab: Mapping[int, str], ids: Iterable[int]
) -> list[str]:
    """Returns the token of every id."""
    return convert_by_vocab(inv_vocab, ids)


def whitespace_tokenize(text: str) -> list[str]:
    """Returns the words between white space; none for an empty text."""
    return text.split()


class FullTokenizer:
    """Text to word pieces: BasicTokenizer, then WordpieceTokenizer.

    Attributes:
      vocab: piece -> id, in the file's order.
      inv_vocab: id -> piece.
    """

    def __init__(self, vocab_file: str, do_lower_case: bool = True):
        """Reads the vocabulary.

        Args:
          vocab_file: one piece a line, see `load_vocab`.
          do_lower_case: True for uncased (and the Chinese) models: lower-cases and
            strips accents.
        """
        self.vocab = load_vocab(vocab_file)
        self.inv_vocab = {index: token for token, index in self.vocab.items()}
        self.basic_tokenizer = BasicTokenizer(do_lower_case=do_lower_case)
        self.wordpiece_tokenizer = WordpieceTokenizer(vocab=self.vocab)

    def tokenize(self, text: str | bytes) -> list[str]:
        """Returns the word pieces of `text`."""
        pieces = []
        for word in self.basic_tokenizer.tokenize(text):
            pieces.extend(self.wordpiece_tokenizer.tokenize(word))
        return pieces

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Returns the id of every token."""
        return convert_by_vocab(self.vocab, tokens)

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Returns the token of every id."""
        return convert_by_vocab(self.inv_vocab, ids)


class BasicTokenizer:
    """Text to words: cleans, splits on white space, punctuation and CJK characters."""

    def __init__(self, do_lower_case: bool = True):
        """Chooses whether words are lower-cased and stripped of their accents."""
        self.do_lower_case = do_lower_case

    def tokenize(self, text: str | bytes) -> list[str]:
        """Returns the words of `text`; a punctuation mark is a word of its own."""
        text = self._clean_text(convert_to_unicode(text))
        text = self._tokenize_chinese_chars(text)
        words = []
        for word in whitespace_tokenize(text):
            if self.do_lower_case:
                word = self._run_strip_accents(word.lower())
            words.extend(self._run_split_on_punc(word))
        # Stripping accents can leave an empty word, which this drops.
        return whitespace_tokenize(" ".join(words))

    def _clean_text(self, text: str) -> str:
        """Deletes control characters and U+FFFD; all white space becomes " "."""
        kept = []
        for char in text:
            if char in "\0\ufffd" or _is_control(char):
                continue
            kept.append(" " if _is_whitespace(char) else char)
        return "".join(kept)

    def _tokenize_chinese_chars(self, text: str) -> str:
        """Puts a space on both sides of every CJK character."""
        spaced = []
        for char in text:
            spaced.append(f" {char} " if self._is_chinese_char(ord(char)) else char)
        return "".join(spaced)

    def _is_chinese_char(self, cp: int) -> bool:
        """Says whether the code point lies in a CJK ideograph block."""
        # Everything below the first block: spares most text the loop.
        return cp >= 0x3400 and any(low <= cp <= high for low, high in CJK_RANGES)

    def _run_strip_accents(self, text: str) -> str:
        """Decomposes (NFD) and deletes the combining marks (Mn)."""
        kept = []
        for char in unicodedata.normalize("NFD", text):
            if unicodedata.category(char) != "Mn":
                kept.append(char)
        return "".join(kept)

    def _run_split_on_punc(self, text: str) -> list[str]:
        """Splits a word so that every punctuation mark stands alone."""
        words = []
        start_new_word = True
        for char in text:
            if _is_punctuation(char):
                words.append(char)
                start_new_word = True
            elif start_new_word:
                words.append(char)
                start_new_word = False
            else:
                words[-1] += char
        return words


class WordpieceTokenizer:
    """Words to pieces of a vocabulary, the longest match first, from the left."""

    def __init__(
        self,
        vocab: Mapping[str, int],
        unk_token: str = UNK_TOKEN,
        max_input_chars_per_word: int = MAX_CHARS_PER_WORD,
    ):
        """Keeps the vocabulary.

        Args:
          vocab: the pieces; one that continues a word starts with "##".
          unk_token: stands for a word that the vocabulary cannot spell.
          max_input_chars_per_word: longer words are `unk_token` unseen.
        """
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word

    def tokenize(self, text: str | bytes) -> list[str]:
        """Splits every word of `text` into pieces.

        Args:
          text: words separated by white space, as BasicTokenizer leaves them.

        Returns:
          The pieces, e.g. "unaffable" -> ["un", "##aff", "##able"].
        """
        pieces = []
        for word in whitespace_tokenize(convert_to_unicode(text)):
            pieces.extend(self._split_word(word))
        return pieces

    def _split_word(self, word: str) -> Sequence[str]:
        """Returns one word's pieces, or the unknown token alone."""
        if len(word) > self.max_input_chars_per_word:
            return [self.unk_token]
        pieces = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                piece = prefix + word[start:end]
                if piece in self.vocab:
                    break
            else:
                return [self.unk_token]
            pieces.append(piece)
            start = end
        return pieces


def _is_whitespace(char: str) -> bool:
    """Says whether `char` separates words: space, tab, line ends, category Zs."""
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def _is_control(char: str) -> bool:
    """Says whether `char` is deleted: Cc and Cf but for tab and line ends."""
    return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf")


def _is_punctuation(char: str) -> bool:
    r"""Says whether `char` is a word of its own: category P*, or ASCII "$", "^" ...

    All printable ASCII that is neither letter, digit nor space counts, though Unicode
    calls some of it symbols.
    """
    cp = ord(char)
    if 33 <= cp <= 47 or 58 <= cp <= 64 or 91 <= cp <= 96 or 123 <= cp <= 126:
        return True
    return unicodedata.category(char).startswith("P")
