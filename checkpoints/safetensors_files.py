"""Safetensors files: listed, read by tensor, written, in shards where large."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes  # noqa: F401  (teaches numpy bfloat16, for safetensors)
import numpy as np
import safetensors
import safetensors.numpy

import json_files
from checkpoints import files
from checkpoints.mapping import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_FLOATS = ("F16", "BF16", "F32", "F64")
_LENGTH = 8  # bytes in front of the header, which tell its length


def find_weights(folder: str) -> str | None:
    """Returns model.safetensors of a folder, or its shards' index; None: neither.

    Raises:
      CheckpointError: there are both.
    """
    return files.find_one(folder, (WEIGHTS, INDEX))


@dataclasses.dataclass(frozen=True)
class Stored:
    """One tensor of a safetensors file."""

    file: str
    shape: tuple[int, ...]
    dtype: str

    def read(self, name: str) -> np.ndarray:
        """Reads it as float32.

        Args:
          name: its name in the file.

        Raises:
          CheckpointError: it is not of a float type, or the file is damaged.
        """
        if self.dtype not in _FLOATS:
            raise CheckpointError(
                f"{self.file}: {name} is {self.dtype}, wanted one of {_FLOATS}"
            )
        with _open(self.file) as reader:
            return reader.get_tensor(name).astype(np.float32)


def _open(path: str) -> Any:
    try:
        return safetensors.safe_open(path, framework="np")
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from None


def list_tensors(path: str) -> dict[str, Stored]:
    """Lists the tensors of one file.

    Returns:
      Name in the file -> where it is; no tensor has been read.

    Raises:
      CheckpointError: a damaged file, or a name that stands in it twice.
    """
    stored = {}
    with _open(path) as reader:
        _check_header(path)
        for name in reader.keys():  # noqa: SIM118  (not a dict)
            part = reader.get_slice(name)
            stored[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())
    return stored


def _check_header(path: str) -> None:
    """Refuses JSON in which the library would not see a fault: a name twice."""
    size = int.from_bytes(files.read_head(path, _LENGTH), "little")
    header = files.read_head(path, _LENGTH + size)[_LENGTH:]
    json_files.parse(header, f"{path}, its header")


def save(folder: str, tensors: Mapping[str, np.ndarray], max_shard_bytes: int) -> None:
    """Writes weights as transformers does; the index of shards after its shards.

    Args:
      folder: exists, and holds no weights yet.
      tensors: name in the file -> array.
      max_shard_bytes: weights beyond that are split, whole tensors to a file.
    """
    shards = _plan_shards(tensors, max_shard_bytes)
    if len(shards) == 1:
        _write(os.path.join(folder, WEIGHTS), shards[0], tensors)
        return
    weight_map = {}
    for i, names in enumerate(shards, start=1):
        shard = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        _write(os.path.join(folder, shard), names, tensors)
        weight_map.update(dict.fromkeys(names, shard))
    size = sum(4 * tensors[name].size for name in tensors)
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    files.write_json(os.path.join(folder, INDEX), index)


def refuse_existing(folder: str) -> None:
    """Raises CheckpointError if `folder` has weights already."""
    for name in (WEIGHTS, INDEX):
        if files.find(folder, name):
            raise CheckpointError(f"{folder}: already holds {name}; not replaced")


def _plan_shards(
    tensors: Mapping[str, np.ndarray], max_shard_bytes: int
) -> list[list[str]]:
    shards, size = [[]], 0
    for name in sorted(tensors):
        size += 4 * tensors[name].size
        if shards[-1] and size > max_shard_bytes:
            shards.append([])
            size = 4 * tensors[name].size
        shards[-1].append(name)
    return shards


def _write(path: str, names: Sequence[str], tensors: Mapping[str, np.ndarray]) -> None:
    # safetensors writes the buffer as it lies: a transposed view would be wrong.
    values = {n: np.ascontiguousarray(tensors[n], np.float32) for n in names}
    # transformers refuses a file that does not say "pt".
    files.write_bytes(path, safetensors.numpy.save(values, metadata={"format": "pt"}))
