"""A corpus: text files, one sentence a line, blank lines between documents.

Read in chunks of whole lines, so that memory does not grow with a file, and every
fault is named by file and line.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import tensorflow as tf

import streams
from data_pipeline.corpora import progress_log
from errors import UserError

_CHUNK_BYTES = 1 << 19
Portion = TypeVar("Portion")


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
