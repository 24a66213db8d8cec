"""Word vectors as text: word2vec's, GloVe's, fastText's; SENNA's once in one file.

A word and its numbers a line, between single spaces. word2vec and fastText put the
number of words and the width on a line before them; GloVe does not, unless it is told.
A word may have spaces in it (some of GloVe's do): the numbers are counted from the
right.
"""

import collections
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from checkpoints import decimals
from checkpoints.mapping import CheckpointError
from checkpoints.word_vector_streams import Block, ByteReader

_BLOCK = 1 << 19  # bytes that are read at once: they fit into a cache with all results
_LONGEST = 1 << 24  # no line is longer
_SPACE, _RETURN, _NEWLINE = b" \r\n"
_HEADER = re.compile(rb"(\d+) (\d+)[ \r]*(\n|$)")


def header(head: bytes) -> tuple[int, int] | None:
    """Returns the number of words and the width that a file says first, if it does."""
    found = _HEADER.match(head)
    return found and (int(found[1]), int(found[2]))


def read(reader: ByteReader) -> Iterator[Block]:
    """Reads text in blocks of lines.

    Raises:
      CheckpointError: a line without the width of the others, what is no number, or a
        header that says otherwise; names file and line.
    """
    said = header(reader.peek(64))
    blocks = whole_lines(reader)
    if not said:
        yield from parse(blocks, reader.path)
        return
    blocks = itertools.chain([next(blocks).split(b"\n", 1)[1]], blocks)
    rows, last = 0, b""
    for block in parse(blocks, reader.path, width=said[1], first=2):
        yield block
        rows += len(block.words)
        last = block.words[-1]
    # GloVe does not count the vector for unknown words that it writes last.
    if rows and rows not in (said[0], said[0] + (last == b"<unk>")):
        raise CheckpointError(
            f"{reader.path}, line 1 says that there are {said[0]} vectors, but {rows} "
            "follow" + (": is the file cut short?" if rows < said[0] else "")
        )


def parse(
    blocks: Iterable[bytes],
    path: str,
    width: int | None = None,
    first: int = 1,
    *,
    has_words: bool = True,
) -> Iterator[Block]:
    """Reads words and numbers.

    Args:
      blocks: whole lines, as of `whole_lines`.
      path: the file, for messages.
      width: numbers a line, as a header says; None: as most lines have.
      first: the number of the first line.
      has_words: whether the file has words; if not, messages do not show what stands
        for them here.

    Raises:
      CheckpointError: see `read`.
    """
    known = width is not None
    for block in filter(None, blocks):
        if width is None:
            width = _width(block, path)
        found = _read_block(block, width, path, first, known, has_words)
        yield found
        first += len(found.words)


def whole_lines(reader: ByteReader) -> Iterator[bytes]:
    """Yields blocks of whole lines, each with its end."""
    rest = b""
    while chunk := reader.read(_BLOCK):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
            rest = chunk[end:]
        else:
            rest += chunk
        if len(rest) > _LONGEST:
            raise CheckpointError(
                f"{reader.path}: no end of line in {len(rest)} bytes; wanted a word "
                "and its vector a line"
            )
    if rest:
        yield rest + b"\n"


def _width(block, path):
    """Returns how many numbers most lines end with, of the first ones of a file."""
    counts = collections.Counter()
    for number, line in enumerate(block.split(b"\n", 20)[:20], 1):
        fields = line.rstrip(b"\r ").split(b" ")
        if number == 1 and len(fields) < 3:  # nobody's vectors have one number
            raise CheckpointError(
                f"{path}, line 1: got {_shown(line)}, wanted a word and its vector, or "
                "the number of words and the width"
            )
        numbers = itertools.takewhile(_is_number, reversed(fields[1:]))
        counts[sum(1 for _ in numbers)] += 1
    return counts.most_common(1)[0][0] or len(block.split(b"\n", 1)[0].split(b" ")) - 1


def _is_number(field):
    return decimals.is_number(field, finite=False)


def _read_block(block, width, path, number, has_header, has_words):
    """Reads lines; `number` is that of the first one."""
    block = bytes(decimals.PADDING) + block
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(text == _NEWLINE)
    starts = np.concatenate([[decimals.PADDING], ends[:-1] + 1])
    while (blank := np.isin(text[ends - 1], (_SPACE, _RETURN))).any():
        ends = ends - blank
    spaces = np.flatnonzero(text == _SPACE)
    last = np.searchsorted(spaces, ends)
    fields = last - np.searchsorted(spaces, starts)
    for i in np.flatnonzero(fields != width):
        line = block[starts[i] : ends[i]].split(b" ")
        # More are spaces in a word, unless they are numbers, too.
        if fields[i] < width or all(map(decimals.is_number, line[1:-width])):
            if has_header and number + i == 2:
                raise CheckpointError(
                    f"{path}, line 1 says that vectors have {width} numbers, but that "
                    f"of line 2 has {fields[i]}"
                )
            wanted = f"a word and {width} numbers" if has_words else f"{width} numbers"
            got = _shown(b" ".join(line if has_words else line[1:]))
            raise CheckpointError(
                f"{path}, line {number + i}: wanted {wanted}, got {got}"
            )
    places = (last - width)[:, None] + np.arange(width)
    begins = spaces[places]
    stops = np.concatenate([begins[:, 1:], ends[:, None]], axis=1)
    vectors = decimals.parse(block, begins.ravel() + 1, stops.ravel())
    limits = zip(starts.tolist(), begins[:, 0].tolist(), strict=True)
    words = [block[start:end] for start, end in limits]
    vectors = vectors.reshape(-1, width)
    _check_numbers(block, begins, stops, vectors, path, number)
    return Block(words, vectors, "line", number)


def _check_numbers(block, begins, stops, vectors, path, number):
    """Names what is no number at all; NaN and infinity, written so, are for others."""
    for row, column in np.argwhere(np.isnan(vectors)):
        field = block[begins[row, column] + 1 : stops[row, column]]
        if not _is_number(field):
            raise CheckpointError(
                f"{path}, line {number + row}: got {_shown(field)}, wanted "
                f"{vectors.shape[1]} numbers behind a word"
            )
        vectors[row, column] = float(field)


def _shown(text):
    text = text.decode("utf-8", "backslashreplace")
    return repr(text if len(text) < 50 else text[:50] + "...")


def write(
    file: BinaryIO,
    words: Sequence[bytes],
    vectors: np.ndarray,
    *,
    numbers: str,
    has_header: bool,
) -> None:
    """Writes text.

    Args:
      file: to write to.
      words: V words, as they are to stand there.
      vectors: float32 [V, D].
      numbers: how a number is written, with what stands around it: "%.6f " as in
        word2vec.c, " %.6f" as in GloVe, "%.5g " as in fastText.
      has_header: whether V and D stand on a line before all.
    """
    if has_header:
        file.write(b"%d %d\n" % vectors.shape)
    line = numbers * vectors.shape[1] + "\n"
    between = b" " if numbers[0] != " " else b""
    for start in range(0, len(words), 1000):
        rows = vectors[start : start + 1000].tolist()
        lines = [(line % tuple(row)).encode() for row in rows]
        some = zip(words[start : start + 1000], lines, strict=True)
        file.write(b"".join(word + between + numbers for word, numbers in some))


def refusal(word: bytes) -> str | None:
    """Returns why a word cannot stand before its numbers; None if it can."""
    first, *others = word.split(b" ")
    if others and all(map(decimals.is_number, others)):
        return "what is behind its first space would be read as numbers of its vector"
    return None
