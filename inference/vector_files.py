"""Files of feature vectors: JSON lines, NumPy, TFRecords, HDF5; written row by row.

A file appears under its name when it is complete.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence

import h5py
import numpy as np
import tensorflow as tf

from atomic_files import atomic_path, temporary_folder
from data_pipeline.tfrecord import write

_ENDINGS = {
    ".npy": "npy",
    ".tfrecord": "tfrecord",
    ".tfrecords": "tfrecord",
    ".hdf5": "hdf5",
    ".h5": "hdf5",
}
_DECIMALS = 6  # in JSON, as the parent rounds


@dataclasses.dataclass(frozen=True)
class Vectors:
    """What was computed for one line of the input.

    Attributes:
      line: the line's number, from 0.
      tokens: its pieces; None where they were pooled.
      values: float32 [tokens, (layers,) width], pooled [(layers,) width].
    """

    line: int
    tokens: tuple[str, ...] | None
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Table:
    """What a writer must know before the first row.

    Attributes:
      num_lines: rows to come.
      row_shape: shape of a row; of tokens, with the most that a row can have.
      layers: the layers' numbers, where they are an axis of the values; else None.
    """

    num_lines: int
    row_shape: tuple[int, ...]
    layers: tuple[int, ...] | None


def format_of(path: str) -> str:
    """Tells the format by a file's ending; JSON lines unless it says otherwise."""
    for ending, name in _ENDINGS.items():
        if path.endswith(ending):
            return name
    return "jsonl"


def write_jsonl(path: str, rows: Iterable[Vectors], table: Table) -> None:
    """Writes an object a line, of tokens in separate layers exactly as the parent's.

    {"linex_index": 0, "features": [{"token": "[CLS]", "layers": [{"index": -1,
    "values": [...]}]}]}; pooled, what is in a token's object stands at the top; layers
    that were combined leave `values` alone of it.
    """
    with atomic_path(path) as temporary, tf.io.gfile.GFile(temporary, "w") as file:
        for row in rows:
            values = np.round(row.values.astype(np.float64), _DECIMALS).tolist()
            content = {"linex_index": row.line}
            if row.tokens is None:
                content |= _json_values(values, table.layers)
            else:
                content["features"] = [
                    {"token": token, **_json_values(vector, table.layers)}
                    for token, vector in zip(row.tokens, values, strict=True)
                ]
            file.write(json.dumps(content) + "\n")


def _json_values(values: list, layers: Sequence[int] | None) -> dict[str, list]:
    if layers is None:
        return {"values": values}
    pairs = zip(layers, values, strict=True)
    return {"layers": [{"index": index, "values": vector} for index, vector in pairs]}


def write_npy(path: str, rows: Iterable[Vectors], table: Table) -> None:
    """Writes one float32 array [lines, *row_shape], rows of tokens filled up with 0."""
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)),
        "fortran_order": False,
        "shape": (table.num_lines, *table.row_shape),
    }
    with atomic_path(path) as temporary, tf.io.gfile.GFile(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for row in rows:
            values = row.values
            if row.tokens is not None:
                values = np.zeros(table.row_shape, np.float32)
                values[: len(row.values)] = row.values
            file.write(np.ascontiguousarray(values, np.float32).tobytes())


def write_tfrecord(path: str, rows: Iterable[Vectors], table: Table) -> None:
    """Writes an Example a line.

    `linex_index` int64 [1]; `values` float [all of them]; `shape` int64, theirs;
    `tokens` bytes [T], where they were not pooled.
    """
    del table  # the records say it themselves
    write(path, map(_example, rows))


def write_hdf5(path: str, rows: Iterable[Vectors], table: Table) -> None:
    """Writes a dataset a line, named after its number, as bilm-tf's dump has it.

    Layers that are an axis come first: float32 [layers, tokens, width]. HDF5 is not
    written in one go: the file is made here and then copied to where it belongs.
    """
    with atomic_path(path) as temporary, temporary_folder(path) as folder:
        local = os.path.join(folder, "vectors.hdf5")
        with h5py.File(local, "w") as file:
            for row in rows:
                values = row.values
                if row.tokens is not None and table.layers is not None:
                    values = values.transpose(1, 0, 2)
                # No time stamps: the same vectors are the same bytes.
                file.create_dataset(
                    str(row.line), data=values.astype(np.float32), track_times=False
                )
        tf.io.gfile.copy(local, temporary, overwrite=True)


def _example(row: Vectors) -> bytes:
    features = {
        "linex_index": _int64_list([row.line]),
        "shape": _int64_list(row.values.shape),
        "values": tf.train.Feature(
            float_list=tf.train.FloatList(value=row.values.ravel())
        ),
    }
    if row.tokens is not None:
        tokens = [token.encode() for token in row.tokens]
        features["tokens"] = tf.train.Feature(
            bytes_list=tf.train.BytesList(value=tokens)
        )
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # A map's order is another in every process, if it is not told to be the keys'.
    return example.SerializeToString(deterministic=True)


def _int64_list(values: Sequence[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


WRITERS: dict[str, Callable[[str, Iterable[Vectors], Table], None]] = {
    "jsonl": write_jsonl,
    "npy": write_npy,
    "tfrecord": write_tfrecord,
    "hdf5": write_hdf5,
}
