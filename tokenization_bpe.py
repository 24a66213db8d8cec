r"""GPT's text to byte pairs (Radford et al. 2018, section 4.1): OpenAI's TextEncoder.

Text is repaired (ftfy), standardized, split into words by spaCy's English rules and
lower-cased; each word is spelt in characters, the last one with "</w>", and merged by
the learnt pairs (Sennrich et al. 2016). Names and results are those of
openai/finetune-transformer-lm's `text_utils.py`; a newline is a token, "\n</w>".

A word between two spaces always gives the same ids, so that all of the work is done
once for each distinct one.
"""

import functools
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import ftfy
import numpy as np

import json_files
import tokenization
import tokenization_english
from errors import UserError

UNK_TOKEN, NEWLINE_TOKEN, END_OF_WORD = "<unk>", "\n</w>", "</w>"
VOCAB, MERGES = "vocab.json", "merges.txt"
# What OpenAI's release, its folders and Hugging Face's call the pair of files.
_FILE_NAMES = (
    ("vocab.json", "merges.txt"),
    ("encoder_bpe_40000.json", "vocab_40000.bpe"),
)
_VERSION = "#version: 0.2"
# Pieces that no pair needs to make: <unk>, [PAD], _start_.
_SPECIAL = re.compile(r"<.+>|\[.+\]|_.+_")

_STANDARD = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})
_APART = re.compile(r'([-~!";?+,)(/*\[\]}{|_])\1*')
# ftfy changes nothing in text of these but the quotes: no entity, no control
# character, and no character that wrongly decoded text shows.
_MAYBE_BROKEN = re.compile(r"[^\t\n -%'-~“”‘’–—…]")
# As in ftfy of 2018, control characters beside letters of other alphabets are not taken
# for Windows-1252's (with `explain=False` it forgets that), and U+02BC is no quote.
_REPAIRS = ftfy.TextFixerConfig(fix_c1_controls=False)
_LETTER_APOSTROPHE = "\u02bc"
_STRAIGHT_QUOTES = str.maketrans("“”„‟‘’‚‛", '"' * 4 + "'" * 4)
# Distinct words remembered: about 300 MB of them.
_MEMORY = 1 << 20


def text_standardize(text: str) -> str:
    r"""Sets marks apart by spaces and makes white space one space, or " \n "."""
    text = _APART.sub(r" \g<0> ", text.translate(_STANDARD))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return " \n ".join(line for line in lines if line)


def fix_text(text: str | bytes) -> str:
    """Returns what ftfy.fix_text does, at once where nothing can be broken."""
    text = tokenization.convert_to_unicode(text)
    if _MAYBE_BROKEN.search(text):
        uncurl = _LETTER_APOSTROPHE not in text
        text = ftfy.fix_text(text, _REPAIRS._replace(uncurl_quotes=uncurl))
    return text if text.isascii() else text.translate(_STRAIGHT_QUOTES)


def split_words(text: str) -> list[str]:
    r"""Splits repaired text at white space; "\n" stands between lines that hold any."""
    if "\n" not in text:
        return text.split()
    lines = [words for line in text.split("\n") if (words := line.split())]
    for words in lines[:-1]:
        words.append("\n")
    return list(itertools.chain.from_iterable(lines))


def word_tokens(word: str) -> list[str]:
    """Splits one of `split_words` into the lower-case tokens that are merged."""
    if word == "\n":
        return [word]
    chunks = text_standardize(word).split()
    return [token.lower() for chunk in chunks for token in _split_by_rules(chunk)]


def merge(token: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Spells a token in characters and merges pairs, the first learnt first.

    Args:
      token: at least one character.
      ranks: pair of pieces -> its place among the merges.

    Returns:
      The pieces, the last one with "</w>".
    """
    pieces = [*token[:-1], token[-1] + END_OF_WORD]
    never = len(ranks)
    while len(pieces) > 1:
        pairs = list(itertools.pairwise(pieces))
        best = min(pairs, key=lambda pair: ranks.get(pair, never))
        if best not in ranks:
            break
        merged, end = [], 0
        for place, pair in enumerate(pairs):
            if place >= end:
                found = pair == best
                merged.append("".join(pair) if found else pair[0])
                end = place + 1 + found
        pieces = merged + pieces[end:]
    return pieces


@functools.cache
def _spacy() -> Callable | None:
    """The tokenizer of spaCy itself, where the extra `gpt` is installed."""
    try:
        import spacy
    except ImportError:
        return None
    return spacy.blank("en").tokenizer


def _split_by_rules(chunk: str) -> list[str]:
    tokenizer = _spacy()
    if tokenizer is None:
        return tokenization_english.split(chunk)
    return [token.text for token in tokenizer(chunk)]


class Memo(dict):
    """Word -> result, computed at first use; emptied when full."""

    def __init__(self, function: Callable):
        super().__init__()
        self._function = function

    def __missing__(self, key):
        value = self._function(key)
        if len(self) >= _MEMORY:
            self.clear()
        self[key] = value
        return value


class TextEncoder:
    """Text to ids and back.

    Attributes:
      encoder, vocab: piece -> id.
      decoder: id -> piece.
      unknown_id: of <unk>, for pieces outside the vocabulary; 0 in the release.
      bpe_ranks: pair of pieces -> its place among the merges.
      cache: token -> its pieces, joined by spaces.
    """

    def __init__(self, encoder_path: str, bpe_path: str):
        """Reads the two files, OpenAI's or Hugging Face's.

        Args:
          encoder_path: JSON, piece -> id.
          bpe_path: a pair of pieces a line, in the order they were learnt.

        Raises:
          MissingFile: there is no such file.
          UserError: a file is not of its format, or of another encoding, or the two do
            not belong together.
        """
        self.encoder = self.vocab = _read_encoder(encoder_path)
        _check_encoding(encoder_path, self.encoder)
        self.unknown_id = self.encoder[UNK_TOKEN]
        self.decoder = {i: piece for piece, i in self.encoder.items()}
        self.bpe_ranks = read_merges(bpe_path)
        _check_pair(encoder_path, self.encoder, bpe_path, self.bpe_ranks)
        self.cache = Memo(self._bpe)
        self._word_ids = Memo(self._ids_of_word)

    def bpe(self, token: str) -> str:
        """Returns a lower-case token's pieces, joined by spaces."""
        return self.cache[token]

    def _bpe(self, token: str) -> str:
        # spaCy gives a newline the space behind it.
        return (
            NEWLINE_TOKEN if token == "\n " else " ".join(merge(token, self.bpe_ranks))
        )

    def tokenize(self, text: str | bytes) -> list[str]:
        """Returns a text's pieces, those outside the vocabulary too."""
        words = split_words(fix_text(text))
        return [piece for word in words for piece in self._pieces(word)]

    def encode(self, texts: Iterable[str | bytes]) -> list[list[int]]:
        """Returns each text's ids; a piece outside the vocabulary is <unk>."""
        return [list(self._ids(text)) for text in texts]

    def ids(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes many texts, as `tokenization_tf.FastTokenizer.ids`.

        Args:
          texts: N texts.

        Returns:
          The ids of all texts, one after the other, int32 [sum of lengths], and the
          place where each text starts and the last one ends, int64 [N + 1].
        """
        offsets = np.zeros(len(texts) + 1, np.int64)

        def all_ids() -> Iterator[Iterable[int]]:
            count = 0
            for index, text in enumerate(texts, 1):
                row = tuple(self._ids(text))
                count += len(row)
                offsets[index] = count
                yield row

        flat = np.fromiter(itertools.chain.from_iterable(all_ids()), np.int32)
        return flat, offsets

    def decode(self, ids: Iterable[int]) -> str:
        """Joins pieces: a space after every word, a newline where the text had one.

        Raises:
          UserError: an id is not in the vocabulary.
        """
        try:
            text = "".join(self.decoder[int(i)] for i in ids)
        except KeyError as error:
            raise UserError(
                f"id {error.args[0]} is not in the vocabulary of {len(self.decoder)}"
            ) from None
        text = text.replace(NEWLINE_TOKEN, "\n").replace(END_OF_WORD, " ")
        return text.rstrip(" ")

    def _ids(self, text: str | bytes) -> Iterable[int]:
        words = split_words(fix_text(text))
        return itertools.chain.from_iterable(map(self._word_ids.__getitem__, words))

    def _ids_of_word(self, word: str) -> tuple[int, ...]:
        return tuple(
            self.encoder.get(piece, self.unknown_id) for piece in self._pieces(word)
        )

    def _pieces(self, word: str) -> list[str]:
        return " ".join(map(self.bpe, word_tokens(word))).split(" ")


def merges_beside(vocab_file: str) -> str:
    """Returns the path of the merges that belong to a vocabulary file.

    Args:
      vocab_file: ".../vocab.json" (or "...-vocab.json", as Hugging Face serves it) or
        OpenAI's ".../encoder_bpe_40000.json".

    Raises:
      UserError: the file has another name.
    """
    folder, name = os.path.split(str(vocab_file))
    for vocab, merges in _FILE_NAMES:
        if name.endswith(vocab):
            return os.path.join(folder, name.removesuffix(vocab) + merges)
    names = " or ".join(vocab for vocab, _ in _FILE_NAMES)
    raise UserError(f"{vocab_file}: a byte pair vocabulary must be named {names}")


def load(vocab_file: str) -> TextEncoder:
    """Returns the encoder of a vocabulary and the merges beside it."""
    return TextEncoder(vocab_file, merges_beside(vocab_file))


def _read_encoder(path: str) -> dict[str, int]:
    encoder = json_files.parse(tokenization.read_bytes(path), path)
    json_files.check_object(encoder, path, "an object of piece: id")
    free = set(range(len(encoder)))
    for piece, i in encoder.items():
        if type(i) is not int or i not in free:
            raise UserError(
                f"{path}: {len(encoder)} pieces must have the ids 0 to "
                f"{len(encoder) - 1}, each one once; got {i!r} for {piece!r}"
            )
        free.remove(i)
    return encoder


def _check_encoding(path: str, encoder: Mapping[str, int]) -> None:
    """Refuses pieces of other encodings, in which ends of words are not marked."""
    if not any(piece.endswith(END_OF_WORD) for piece in encoder):
        raise UserError(
            f"{path}: none of {len(encoder)} pieces ends in {END_OF_WORD!r}, as GPT's "
            "byte pairs mark the end of a word; is it a vocabulary of bytes, as "
            "GPT-2's? Such models are not read here"
        )
    if UNK_TOKEN not in encoder:
        raise UserError(
            f"{path}: no piece {UNK_TOKEN!r} among {len(encoder)}, which characters "
            "outside the vocabulary would become"
        )


def read_merges(path: str, counted: bool = False) -> dict[tuple[str, str], int]:
    """Reads the pairs of a file, in the order in which they were learnt.

    Args:
      path: a pair of pieces a line, the first of which may tell a version.
      counted: whether a line may go on with the pair's count, as fastBPE's.

    Returns:
      Pair -> its place.

    Raises:
      UserError: a line is of another form; names it.
    """
    try:
        text = tokenization.read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from None
    ranks = {}
    lines = text.removesuffix("\n").split("\n") if text else ()
    for number, line in enumerate(lines, 1):
        if number == 1 and line.startswith("#version"):
            continue
        fields = line.removesuffix("\r").split(" ")
        pair = tuple(fields[:2])
        more = counted and len(fields) == 3 and fields[2].isdecimal()
        if len(fields) != 2 + more or not all(fields):
            raise UserError(f"{path}, line {number}: wanted two pieces, got {line!r}")
        ranks[pair] = len(ranks)
    return ranks


def _check_pair(
    encoder_path: str,
    encoder: Mapping[str, int],
    bpe_path: str,
    ranks: Mapping[tuple[str, str], int],
) -> None:
    """Refuses merges that make what the encoder lacks, or do not make what it has."""
    made = {"".join(pair) for pair in ranks}
    absent = sorted(made - encoder.keys())
    orphans = sorted(
        piece
        for piece in encoder.keys() - made
        if len(piece.removesuffix(END_OF_WORD)) > 1 and not _SPECIAL.fullmatch(piece)
    )
    if absent or orphans:
        raise UserError(
            f"{encoder_path} ({len(encoder)} pieces) and {bpe_path} ({len(ranks)} "
            f"merges) do not belong together: {len(absent)} merges make a piece that "
            f"has no id {absent[:3]}, {len(orphans)} pieces are made by no merge "
            f"{orphans[:3]}"
        )


def file_texts(
    pieces: Iterable[str], merges: Iterable[tuple[str, str]]
) -> tuple[str, str]:
    """Returns what TextEncoder's two files hold.

    Args:
      pieces: in the order of their ids.
      merges: in the order they were learnt.
    """
    encoder = {piece: i for i, piece in enumerate(pieces)}
    lines = [_VERSION, *map(" ".join, merges)]
    return json.dumps(encoder, ensure_ascii=False), "\n".join(lines) + "\n"
