"""Lines of a text file, `a ||| b` for a pair, as the windows that a model can read.

    BERT    [CLS] a ... [SEP]    or    [CLS] a ... [SEP] b ... [SEP]
    GPT     a ...                or    a ... b ...

A line that is too long is cut by the parent's rule, or read in several windows.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

import streams
from data_pipeline.features.tokens import Tokenizer, special_id, truncated_lengths
from errors import MissingFile, UserError

_EMPTY = np.zeros(0, np.int32)
SEPARATOR = " ||| "


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a model reads around texts.

    Attributes:
      before: ids before the first text.
      after: ids after each text.
      empty: ids that stand for a line which would have none.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()

    @property
    def num_special(self) -> tuple[int, int]:
        """Special ids beside a text, and beside two."""
        alone = len(self.before) + len(self.after)
        return alone, alone + len(self.after)


def bert_layout(tokenizer: Tokenizer) -> Layout:
    """Returns BERT's; raises ValueError if the vocabulary has no [CLS] or [SEP]."""
    before, after = (special_id(tokenizer, piece) for piece in ("[CLS]", "[SEP]"))
    return Layout((before,), (after,))


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A line in pieces.

    Attributes:
      input_ids: int32 [T], the whole line with the special ids.
      segment_ids: int32 [T].
      content: bool [T], False at special ids.
      windows: int [S] each, ascending places in [0, T) that are read together; every
        place is in one window at least.
      dropped_tokens: pieces that were cut off.
    """

    input_ids: np.ndarray
    segment_ids: np.ndarray
    content: np.ndarray
    windows: tuple[np.ndarray, ...]
    dropped_tokens: int


def read_lines(path: str, name: str | None = None) -> Iterator[str]:
    """Yields the lines of a UTF-8 file one by one, however large it is.

    Lines end at LF; white space around them is stripped, as in the parent.

    Args:
      path: a file or a pipe.
      name: of what the file is a copy of, for the message.

    Raises:
      UserError: bytes that are not UTF-8; names file and line.
    """
    with streams.open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode("utf-8").strip()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{name or path}, line {number}: not UTF-8, byte "
                    f"0x{line[error.start]:02x} at offset {error.start} of the line "
                    f"({error.reason})"
                ) from error


def count_lines(path: str, name: str | None = None) -> int:
    """Counts the lines, and reads them all once: what is wrong is known before work.

    Args:
      path: a file.
      name: as of `read_lines`.

    Raises:
      MissingFile: there is no such file.
      UserError: a folder, a file without any text, or as `read_lines`.
    """
    if not tf.io.gfile.exists(path):
        raise MissingFile(f"{path}: no such file")
    if tf.io.gfile.isdir(path):
        raise UserError(f"{path}: a folder; wanted a text file, one text a line")
    lines, texts = 0, 0
    for line in read_lines(path, name):
        lines += 1
        texts += bool(line)
    if not texts:
        raise UserError(f"{name or path}: the file is empty")
    return lines


def split_pair(line: str) -> tuple[str, str]:
    """Splits `a ||| b` at its last separator; ("a", "") where there is none."""
    first, separator, second = line.rpartition(SEPARATOR)
    return (first, second) if separator else (line, "")


def to_sentences(
    lines: Sequence[str],
    tokenizer: Tokenizer,
    max_seq_length: int,
    in_windows: bool,
    layout: Layout,
) -> list[Sentence]:
    """Tokenizes lines and lays them out.

    Args:
      lines: texts, or pairs as `a ||| b`.
      tokenizer: gives the ids.
      max_seq_length: most pieces of a window, the special ones included.
      in_windows: what becomes of a longer line. False: it is cut, as in the parent.
        True: the longer of its texts is dealt out to as few windows as can be, all of
        one length or one piece shorter; the other text stands in every window.
      layout: what the model reads around texts.

    Returns:
      As many sentences.
    """
    first, second = zip(*map(split_pair, lines), strict=True)
    sides = [
        _rows(*tokenizer.ids(texts)) if any(texts) else [_EMPTY] * len(texts)
        for texts in (first, second)
    ]
    return _sentences(*sides, max_seq_length, in_windows, layout)


def of_pieces(
    lines: Sequence[Sequence[str]],
    vocab: Mapping[str, int],
    unknown: int,
    max_seq_length: int,
    layout: Layout,
) -> list[Sentence]:
    """Lays lines out that are in pieces already; they are cut, as `to_sentences` does.

    Args:
      lines: pieces, `|||` among them between the texts of a pair.
      vocab: piece -> id.
      unknown: id of a piece that is not in `vocab`.
      max_seq_length: most pieces, the special ones included.
      layout: what the model reads around texts.

    Returns:
      As many sentences.
    """
    sides = [], []
    for pieces in lines:
        pieces, mark = list(pieces), SEPARATOR.strip()
        at = len(pieces)
        if mark in pieces:
            at -= 1 + pieces[::-1].index(mark)
        for side, part in zip(sides, (pieces[:at], pieces[at + 1 :]), strict=True):
            ids = [vocab.get(piece, unknown) for piece in part]
            side.append(np.array(ids, np.int32))
    return _sentences(*sides, max_seq_length, False, layout)


def _sentences(first, second, max_seq_length, in_windows, layout):
    """Lays out lines of which both sides are ids."""
    limits = max_seq_length, layout.num_special
    found = []
    for a, b in zip(first, second, strict=True):
        sizes = np.array([len(a)]), np.array([len(b)])
        kept_a, kept_b = (int(n[0]) for n in truncated_lengths(*sizes, *limits))
        dealt = None
        if in_windows and (kept_a < len(a) or kept_b < len(b)):
            # The longer text stays whole; the other is cut only beyond half a window.
            dealt = 0 if len(a) >= len(b) else 1
            room = (kept_a, kept_b)[dealt]
            kept_a, kept_b = (len(a), kept_b) if dealt == 0 else (kept_a, len(b))
        dropped = len(a) - kept_a + len(b) - kept_b
        sentence = _lay_out(a[:kept_a], b[:kept_b], layout, dropped)
        if dealt is not None:
            start = len(layout.before)
            if dealt == 1:
                start += kept_a + len(layout.after)
            stop = start + (kept_a, kept_b)[dealt]
            windows = _deal(start, stop, len(sentence.input_ids), room)
            sentence = dataclasses.replace(sentence, windows=windows)
        found.append(sentence)
    return found


def _rows(flat: np.ndarray, offsets: np.ndarray) -> Iterable[np.ndarray]:
    bounds = offsets.tolist()
    return (flat[i:j] for i, j in zip(bounds, bounds[1:], strict=False))


def _lay_out(a: np.ndarray, b: np.ndarray, layout: Layout, dropped: int) -> Sentence:
    """Puts the special ids around one text or two; one window over all."""
    parts = [layout.before, a, layout.after]
    parts += [b, layout.after] if len(b) else []
    if not any(map(len, parts)):
        parts[0] = layout.empty
    sizes = [len(part) for part in parts]
    # Texts are every other part; the second with what is behind it is a segment.
    content, segment = [0, 1, 0, 1, 0], [0, 0, 0, 1, 1]
    input_ids = np.concatenate(parts).astype(np.int32)
    return Sentence(
        input_ids,
        np.repeat(segment[: len(parts)], sizes).astype(np.int32),
        np.repeat(content[: len(parts)], sizes).astype(bool),
        (np.arange(len(input_ids)),),
        dropped,
    )


def _deal(start: int, stop: int, size: int, room: int) -> tuple[np.ndarray, ...]:
    """Windows with every `room` places from `start` to `stop`, and all around them."""
    before, after = np.arange(start), np.arange(stop, size)
    parts = np.array_split(np.arange(start, stop), -(-(stop - start) // room))
    return tuple(np.concatenate([before, part, after]) for part in parts)
