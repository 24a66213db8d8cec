"""TFRecord files: written whole or not at all, and cached by what shaped them."""

import dataclasses
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import tensorflow as tf

import json_files
from atomic_files import atomic_path
from errors import UserError

# Part of every cache's key: raise it when the meaning of cached records changes.
FORMAT_VERSION = 1

_CHUNK_BYTES = 8 << 20
_END_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class CachedRecords:
    """A TFRecord file and what its builder said about it.

    Attributes:
      path: the TFRecord file.
      num_records: how many records it holds.
      info: the builder's own account of them (for example, examples truncated).
    """

    path: str
    num_records: int
    info: Mapping[str, object]

    def counted(self, name: str) -> int:
        """Returns a number of the builder's account.

        Raises:
          UserError: it is not there; names the file.
        """
        value = self.info.get(name)
        if type(value) is not int:
            raise _damaged(self.path, f"info's {name} is {value!r}, wanted a number")
        return value


def write(path: str, records: Iterable[bytes]) -> int:
    """Writes serialised records to `path`, atomically.

    Returns:
      The number of records.
    """
    with atomic_path(path) as temporary:
        return _write(temporary, records)


def count(files: Sequence[str], limit: int | None = None) -> int:
    """Number of records in `files`, no further than `limit`.

    Only the length before each record is looked at: tens of times faster than a
    pass through tf.data.

    Raises:
      UserError: a file ends in the middle of a record, or is no TFRecord file.
    """
    found = 0
    for path in files:
        with tf.io.gfile.GFile(path, "rb") as file:
            for records in _count_chunks(file, path):
                found += records
                if limit is not None and found >= limit:
                    return limit
    return found


def _count_chunks(file: tf.io.gfile.GFile, path: str) -> Iterator[int]:
    """Yields, chunk by chunk, how many records begin there."""
    header = struct.Struct("<Q")  # then 4 bytes CRC, the record, 4 bytes CRC
    size = file.size()
    rest, read = b"", 0
    position = 0  # of the next record, in `rest`
    while read < size:
        chunk = file.read(_CHUNK_BYTES)
        if not chunk:
            break
        buffer, begin = rest + chunk, read - len(rest)
        read += len(chunk)
        records = 0
        while position + header.size <= len(buffer):
            length = header.unpack_from(buffer, position)[0]
            if begin + position + length + 16 > size:
                raise UserError(
                    f"{path}: the record at byte {begin + position} goes beyond the "
                    "end of the file: cut short, or not a TFRecord file"
                )
            position += length + 16
            records += 1
        # Keep an incomplete header; a record may end far behind this chunk.
        kept = min(position, len(buffer))
        rest, position = buffer[kept:], position - kept
        yield records
    if rest:
        raise UserError(f"{path}: cut short, or not a TFRecord file")


def fingerprint(path: str) -> str:
    """SHA-256 of a file's contents, for a cache's key."""
    digest = hashlib.sha256()
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def identity(path: str) -> str:
    """Tells a file from others of its name, without reading terabytes.

    Returns:
      Its base name, its size, and a hash of its first and its last bytes.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        size = file.size()
        digest = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(0, size - _END_BYTES))
        digest.update(file.read(_END_BYTES))
    return f"{os.path.basename(path)}, {size} bytes, {digest.hexdigest()[:16]}"


def cached(
    prefix: str,
    key: Mapping[str, object],
    build: Callable[[], tuple[Iterable[bytes], Mapping[str, object]]],
) -> CachedRecords:
    """Returns the records that `key` describes, building them only once.

    The file is `<prefix>-<hash of key>.tfrecord`; beside it, `.json` repeats the
    key for the reader and keeps the count and the builder's info.

    Args:
      prefix: folder and beginning of the file's name.
      key: everything that shaped the records, as JSON values: fingerprints of the
        raw files, sequence length, vocabulary, labels, `FeatureSpec.describe()`.
      build: called on a miss; returns (records, info), info as JSON values. The
        records may be a generator, which may fill info while it runs.

    Returns:
      The file, found or built.

    Raises:
      UserError: a cache file is there without the JSON written before it, or that is
        damaged or another's.
    """
    digest = _key_digest(key)
    path = f"{prefix}-{digest}.tfrecord"
    if not tf.io.gfile.exists(path):
        records, info = build()
        with atomic_path(path) as temporary:
            num_records = _write(temporary, records)
            # Before the records' own rename: records found are records described.
            _write_json(
                _sidecar(path), {"key": key, "num_records": num_records, "info": info}
            )
    return _described(path, key)


def _described(path: str, key: Mapping[str, object]) -> CachedRecords:
    """Reads the account of a cache file."""
    sidecar = _sidecar(path)
    if not tf.io.gfile.exists(sidecar):
        raise UserError(f"{path} lacks its description {sidecar}; remove both")
    content = json_files.read_object(sidecar)
    num_records, info = content.get("num_records"), content.get("info")
    if content.get("key") != json.loads(json.dumps(key)):
        raise _damaged(path, "its key is another file's")
    if type(num_records) is not int or num_records < 0:
        raise _damaged(path, f"num_records is {num_records!r}, wanted a number")
    found = count([path], num_records + 1)
    if found != num_records:
        held = "more" if found > num_records else found
        raise _damaged(path, f"num_records is {num_records}, but {path} holds {held}")
    if not isinstance(info, dict):
        raise _damaged(path, f"info is {info!r}, wanted an object")
    return CachedRecords(path, num_records, info)


def _sidecar(path: str) -> str:
    return path + ".json"


def _damaged(path: str, why: str) -> UserError:
    return UserError(
        f"{_sidecar(path)}: {why}; remove it and {path}, and they are made again"
    )


def _key_digest(key: Mapping[str, object]) -> str:
    text = json.dumps([FORMAT_VERSION, key], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(path: str, records: Iterable[bytes]) -> int:
    written = 0
    with tf.io.TFRecordWriter(path) as writer:
        for record in records:
            writer.write(record)
            written += 1
    return written


def _write_json(path: str, content: Mapping[str, object]) -> None:
    with atomic_path(path) as temporary, tf.io.gfile.GFile(temporary, "w") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.write("\n")
