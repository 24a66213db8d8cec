"""Safetensors files, one or in shards: listed, read by tensor, written.

Only safetensors files are read: pytorch_model.bin is a pickle, that is, a program.
"""

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
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Table,
    choose_sources,
    mapped_shape,
    raise_problems,
)

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_FLOATS = ("F16", "BF16", "F32", "F64")


def find_weights(folder: str) -> str | None:
    """Finds the weights of a folder.

    Returns:
      The path of model.safetensors or of the shards' index; None when there is none.

    Raises:
      CheckpointError: there are both, or there is nothing but a pickle.
    """
    found = [p for p in (files.find(folder, WEIGHTS), files.find(folder, INDEX)) if p]
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: holds {WEIGHTS} and {INDEX}; name one of them"
        )
    return found[0] if found else None


def refuse_pickle(path: str) -> None:
    """Raises the CheckpointError that tells how to convert a pickle."""
    raise CheckpointError(
        f"{path}: a PyTorch pickle is a program, and is never run here. Where torch "
        "and transformers are installed, and you trust the file, "
        "`AutoModel.from_pretrained(folder).save_pretrained(new_folder)` (of "
        "AutoModelForPreTraining for one with its heads) writes model.safetensors"
    )


@dataclasses.dataclass(frozen=True)
class Stored:
    """One tensor of a safetensors file."""

    file: str
    shape: tuple[int, ...]
    dtype: str


def open_checkpoint(path: str, table: Table, **kwargs) -> Checkpoint:
    """Opens weights in one file or in shards.

    Args:
      path: a .safetensors file, or the index file of shards.
      table: how its names become ours.
      **kwargs: the fields of Checkpoint that are not read from the weights.

    Returns:
      The checkpoint; its names are ours.

    Raises:
      CheckpointError: a damaged file, shards that are not what the index says, tied
        tensors that differ.
    """
    stored = list_tensors(path)
    matched = table.match(stored)
    sources, duplicates = choose_sources(
        matched, lambda name: read(stored[name], name), path
    )

    def reader(name: str) -> np.ndarray:
        source = sources[name]
        return source.rule.read(read(stored[source.name], source.name))

    return Checkpoint(
        format="huggingface",
        path=path,
        shapes={
            name: mapped_shape(stored[source.name].shape, source.rule)
            for name, source in sources.items()
        },
        ignored={**matched.ignored, **duplicates},
        unknown={name: stored[name].shape for name in matched.unknown},
        reader=reader,
        **kwargs,
    )


def list_tensors(path: str) -> dict[str, Stored]:
    """Lists the tensors of a .safetensors file, or of the shards of an index file.

    Returns:
      Name in the file -> where it is; no tensor has been read.

    Raises:
      CheckpointError: a damaged file, or shards that are not what the index says.
    """
    return _list_shards(path) if path.endswith(".json") else _list_file(path)


def _open(path: str) -> Any:
    try:
        return safetensors.safe_open(path, framework="np")
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from None


def _list_file(path: str) -> dict[str, Stored]:
    stored = {}
    with _open(path) as reader:
        for name in reader.keys():  # noqa: SIM118  (not a dict)
            part = reader.get_slice(name)
            stored[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())
    return stored


def _list_shards(index: str) -> dict[str, Stored]:
    weight_map = json_files.read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map")
    stored, problems = {}, []
    for shard in sorted(set(weight_map.values())):
        if os.path.basename(shard) != shard:
            raise CheckpointError(f"{index}: {shard!r} is not the name of a file here")
        found = _list_file(os.path.join(os.path.dirname(index), shard))
        wanted = {name for name, file in weight_map.items() if file == shard}
        problems += [
            f"missing: {n} is not in {shard}" for n in sorted(wanted - set(found))
        ]
        problems += [
            f"extra: {n} of {shard} is not listed" for n in sorted(set(found) - wanted)
        ]
        stored.update(found)
    raise_problems(problems, index)
    return stored


def read(stored: Stored, name: str) -> np.ndarray:
    """Reads one tensor as float32.

    Raises:
      CheckpointError: it is not of a float type, or the file is damaged.
    """
    if stored.dtype not in _FLOATS:
        raise CheckpointError(
            f"{stored.file}: {name} is {stored.dtype}, wanted one of {_FLOATS}"
        )
    with _open(stored.file) as reader:
        return reader.get_tensor(name).astype(np.float32)


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
