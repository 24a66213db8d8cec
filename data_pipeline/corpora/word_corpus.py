"""A text as numbered words, read once: what word vectors are learnt from.

    files -> the words of every line -> each word's number, in the order of first
    appearance, in a file -> blocks of ids, once it is known which words are kept

Memory grows with the different words of a text, not with its length.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

import streams
from data_pipeline.corpora import parallel, progress_log
from data_pipeline.corpora.word_counts import WordCounts
from data_pipeline.corpora.word_splitter import Words, WordSplitter
from errors import UserError

_PORTION_BYTES = 1 << 20
# Training goes block by block: another size is another order of the updates.
BLOCK_WORDS = 1 << 20
_MOST_WORDS = np.iinfo(np.int32).max


class Block(NamedTuple):
    """A stretch of a text.

    Attributes:
      ids: int32 [N], of the words of its lines, one line after the other; -1: a word
        that is not kept.
      offsets: int64 [lines + 1]: line i is ids[offsets[i] : offsets[i + 1]].
      goes_on: whether its first line is the rest of the last one of the block before.
    """

    ids: np.ndarray
    offsets: np.ndarray
    goes_on: bool = False


class _Extent(NamedTuple):
    """Where a block lies in the files of a WordCorpus."""

    first_word: int
    num_words: int
    first_line: int
    num_lines: int
    goes_on: bool = False


@dataclasses.dataclass(frozen=True)
class WordCorpus:
    """A text whose words are numbered in a file; `read` makes it.

    Attributes:
      counts: the different words, in the order of their first appearance.
      num_lines: ends of lines in the text.
      num_words: of the whole text.
    """

    counts: WordCounts
    num_lines: int
    num_words: int
    _folder: str
    _extents: Sequence[_Extent]

    @property
    def num_blocks(self) -> int:
        """How many blocks the text is read in."""
        return len(self._extents)

    @property
    def block_ends(self) -> np.ndarray:
        """How many words of the text there are to the end of each block, int64."""
        return np.cumsum([extent.num_words for extent in self._extents])

    def blocks(
        self, words: Sequence[str], *, keep_unknown: bool = False, first: int = 0
    ) -> Iterator[Block]:
        """Yields the text as ids of chosen words.

        A block is whole lines of about BLOCK_WORDS words, or such a part of a longer
        line: the same at every call.

        Args:
          words: whose place is their id.
          keep_unknown: whether any other word is -1, or left out.
          first: blocks to leave out.
        """
        numbers = {word: i for i, word in enumerate(words)}
        new = np.fromiter(
            (numbers.get(word, -1) for word in self.counts.words),
            np.int32,
            len(self.counts),
        )
        del numbers
        for extent in self._extents[first:]:
            ids = new[self._read(_WORDS, extent.first_word, extent.num_words)]
            lengths = self._read(_LINES, extent.first_line, extent.num_lines)
            offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
            if not keep_unknown:
                known = ids >= 0
                before = np.concatenate([[0], np.cumsum(known, dtype=np.int64)])
                ids, offsets = ids[known], before[offsets]
            yield Block(ids, offsets, extent.goes_on)

    def _read(self, name, first, number):
        path = os.path.join(self._folder, name)
        return np.fromfile(path, np.int32, number, offset=4 * first)


_WORDS, _LINES = "words.int32", "line_lengths.int32"


def read(
    files: Sequence[str], splitter: WordSplitter, folder: str, num_workers: int = 1
) -> WordCorpus:
    """Reads a text, and writes the numbers of its words.

    Args:
      files: UTF-8; those that end in .gz are unpacked. A file's end ends its line.
      splitter: of its lines.
      folder: there, and empty: 4 bytes for every word of the text are kept in it as
        long as the corpus is used.
      num_workers: processes, where splitting is slow.

    Raises:
      UserError: not UTF-8, or damaged; names file and line. Or there is no word, or
        more different ones than 32 bits can number.
    """
    numbers = collections.defaultdict(itertools.count().__next__)
    counts, num_lines = np.zeros(0, np.int64), 0
    with _Writer(folder) as writer, contextlib.ExitStack() as stack:
        for lines, ends_line in _split(_texts(files), splitter, num_workers, stack):
            lengths = np.fromiter(map(len, lines), np.int32, len(lines))
            ids = np.fromiter(
                map(numbers.__getitem__, itertools.chain.from_iterable(lines)),
                np.int64,
                lengths.sum(),
            )
            if len(numbers) > _MOST_WORDS:
                raise UserError(
                    f"more than {_MOST_WORDS} different words in {_names(files)}: ids "
                    "are of 32 bits"
                )
            counts = _added(counts, np.bincount(ids, minlength=len(numbers)))
            num_lines += len(lines) - 1 + ends_line
            writer.add(ids.astype(np.int32), lengths, ends_line)
    if not numbers:
        raise UserError(f"no word in {_names(files)}")
    found = WordCounts(list(numbers), counts)
    return WordCorpus(found, num_lines, int(counts.sum()), folder, writer.extents)


def _names(files):
    return ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")


def _added(counts, more):
    """Adds counts of the same words, and of more."""
    more[: len(counts)] += counts
    return more


class _Text(NamedTuple):
    """Lines, of which the last one may go on in the next text; then it has no end."""

    text: str
    ends_line: bool


def _texts(files: Sequence[str]) -> Iterator[_Text]:
    """Yields files in portions that end with a line, or else with a space."""
    log = progress_log.ProgressLog(f"reading {len(files)} files")
    for number, path in enumerate(files):
        line = 1
        with streams.open_bytes(path) as file:
            for data, ends_line in _portions(file):
                text = streams.decode(path, line, data)
                yield _Text(text, ends_line)
                line += data.count(b"\n") + ends_line
                log.at((number + streams.share_read(file)) / len(files))


def _portions(file) -> Iterator[tuple[bytes, bool]]:
    """Yields bytes without the end of line or the space that they are cut at."""
    rest, ends_line = b"", True
    while data := file.read(_PORTION_BYTES):
        data = data.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
        end = data.rfind(b"\n")
        ends_line = end >= 0
        if not ends_line:
            end = max(data.rfind(b" "), data.rfind(b"\t"))
        if end < 0:
            rest += data
            continue
        yield rest + data[:end], ends_line
        rest = data[end + 1 :]
    if rest or not ends_line:
        yield rest, True


def _split(
    texts: Iterator[_Text],
    splitter: WordSplitter,
    num_workers: int,
    stack: contextlib.ExitStack,
) -> Iterator[tuple[Words, bool]]:
    """Yields the words of each text, and whether its last line ends there."""
    if num_workers == 1 or not splitter.is_slow:
        for text, ends_line in texts:
            yield splitter(text), ends_line
        return
    pool = stack.enter_context(parallel.worker_processes(num_workers))
    work = functools.partial(_split_one, splitter)
    yield from parallel.in_order(pool, work, texts, num_workers)


def _split_one(splitter, text):
    return splitter(text.text), text.ends_line


class _Writer:
    """Writes numbers and lengths of lines.

    Attributes:
      extents: of the blocks.
    """

    def __init__(self, folder: str):
        self.extents: list[_Extent] = []
        self._folder = folder
        self._block = _Extent(0, 0, 0, 0)
        self._open = 0  # words of the last line, which goes on

    def __enter__(self) -> "_Writer":
        self._words, self._lines = map(self._open_file, (_WORDS, _LINES))
        return self

    def __exit__(self, *_) -> None:
        self._end_block()
        self._words.close()
        self._lines.close()

    def add(self, ids: np.ndarray, lengths: np.ndarray, ends_line: bool) -> None:
        """Appends the words of some lines.

        Args:
          ids: int32 [N].
          lengths: int32 [lines], words of each; of the first, those that follow on what
            it has already, if the last line of the call before was not ended.
          ends_line: whether the last line is ended.
        """
        first, words, first_line, lines, goes_on = self._block
        words += len(ids)
        lengths[0] += self._open
        self._open = 0
        is_full = words >= BLOCK_WORDS
        if not ends_line and not is_full:
            self._open, lengths = lengths[-1], lengths[:-1]
        self._words.write(ids)
        self._lines.write(lengths)
        lines += len(lengths)
        self._block = _Extent(first, words, first_line, lines, goes_on)
        if is_full:
            self._end_block(not ends_line)

    def _open_file(self, name):
        return open(os.path.join(self._folder, name), "xb")

    def _end_block(self, goes_on=False):
        first, words, first_line, lines, _ = self._block
        if lines:
            self.extents.append(self._block)
        self._block = _Extent(first + words, 0, first_line + lines, 0, goes_on)
