"""Which record of which file is wrong: looked for afterwards, or in all at once.

Records are parsed and checked many at a time, inside graphs and in another order than
that of the files: an error there cannot say which one it met.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf
from absl import logging

from data_pipeline.corpora.progress_log import ProgressLog
from data_pipeline.feature_spec import FeatureSpec
from errors import UserError

_CHUNK_RECORDS = 1024
_FRAME_BYTES = 16  # around a record in its file
# What becomes of a bad record; the last one where Python code between meets it.
_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnknownError,
)


class Search:
    """Finds, when iterated over, what is wrong in TFRecord files: a text a record.

    What lies behind a record that cannot be read at all is not looked at.

    Attributes:
      num_records: looked at so far.
    """

    def __init__(self, files: Sequence[str], spec: FeatureSpec, limit: int = -1):
        """Says what to look at.

        Args:
          files: TFRecord files.
          spec: what they must hold.
          limit: records of each file, from the first on; -1: all.
        """
        self.num_records = 0
        self._files, self._spec, self._limit = files, spec, limit

    def __iter__(self) -> Iterator[str]:
        exists, stat = tf.io.gfile.exists, tf.io.gfile.stat
        sizes = [stat(path).length if exists(path) else 0 for path in self._files]
        log = ProgressLog(f"checking {len(sizes)} files")
        before, total = 0, max(1, sum(sizes))
        for path, size in zip(self._files, sizes, strict=True):
            done = before
            for chunk, faults in self._of_file(path):
                yield from faults
                self.num_records += len(chunk)
                done += sum(map(len, chunk)) + _FRAME_BYTES * len(chunk)
                log.at(done / total)
            before += size

    def _of_file(self, path: str) -> Iterator[tuple[list[bytes], list[str]]]:
        """Yields records with what is wrong of them."""
        first = 0
        for chunk, damage in _chunks(path, self._limit):
            good, faults, unread = self._checked(chunk)
            said = [f"{path}: record {first + i} {faults[i]}" for i in sorted(faults)]
            first += len(good)
            if unread:
                said.append(
                    f"{path}: no examples of {self._spec.source}: record {first}: "
                    f"{_plain(unread)}"
                )
            elif damage:
                what = f"record {first} is damaged" if first else "no TFRecord file"
                said.append(f"{path}: {what}: {_plain(damage)}")
            elif not first:
                said.append(f"{path} holds no examples")
            yield good, said
            if unread:
                return

    def _checked(self, chunk):
        """Returns the records before one that cannot be read, their faults, its error.

        Parsing says that one of many cannot be read, and not which.
        """
        if not chunk:
            return [], {}, None
        try:
            return chunk, self._spec.faults(tf.constant(chunk)), None
        except tf.errors.InvalidArgumentError as error:
            if len(chunk) == 1:
                return [], {}, error
        half = len(chunk) // 2
        good, faults, unread = self._checked(chunk[:half])
        if unread:
            return good, faults, unread
        more, more_faults, unread = self._checked(chunk[half:])
        faults |= {half + row: fault for row, fault in more_faults.items()}
        return good + more, faults, unread


def _plain(error):
    """The text of TensorFlow's error without the names of nodes and operations."""
    return re.sub(r"\{\{.*?\}\} | \[Op:.*", "", error.message, flags=re.DOTALL)


def _chunks(path, limit):
    """Yields a file's records in portions, with the error that ends the last one."""
    chunk = []
    try:
        for record in tf.data.TFRecordDataset(path).take(limit).as_numpy_iterator():
            chunk.append(record)
            if len(chunk) == _CHUNK_RECORDS:
                yield chunk, None
                chunk = []
    except tf.errors.OpError as error:
        yield chunk, error
    else:
        yield chunk, None


@contextlib.contextmanager
def named(sources: Sequence[tuple[Sequence[str], FeatureSpec]]) -> Iterator[None]:
    """Says of an error of reading records which one is wrong, if one is.

    Args:
      sources: files, and what they must hold.

    Raises:
      UserError: instead of TensorFlow's error; names file and record.
    """
    try:
        yield
    except _ERRORS as error:
        logging.info("reading failed: looking for the record that is wrong")
        for files, spec in sources:
            for fault in Search(files, spec):
                raise UserError(fault) from error
        raise
