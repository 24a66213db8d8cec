"""Tensors by the names that torch models give them, in one file or in shards.

As Hugging Face stores them: safetensors, or torch's own files; told by their contents.
"""

import os
from collections.abc import Mapping
from typing import Protocol

import numpy as np

import json_files
from checkpoints import files, safetensors_files, torch_files
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Table,
    choose_sources,
    mapped_shape,
    raise_problems,
)


class Stored(Protocol):
    """A tensor in a file.

    Attributes:
      shape: of ints.
    """

    shape: tuple[int, ...]

    def read(self, name: str) -> np.ndarray:
        """Reads it as float32; `name` is for messages."""


def open_checkpoint(path: str, table: Table, **kwargs) -> Checkpoint:
    """Opens weights in one file or in shards.

    Args:
      path: a file of safetensors or of torch, or the index file of shards.
      table: how its names become ours.
      **kwargs: the fields of Checkpoint that are not read from the weights.

    Returns:
      The checkpoint; its names are ours.

    Raises:
      CheckpointError: a damaged file, shards that are not what the index says, tied
        tensors that differ.
    """
    stored, ignored = list_tensors(path)
    matched = table.match(stored)
    sources, duplicates = choose_sources(
        matched, lambda name: stored[name].read(name), path
    )

    def reader(name: str) -> np.ndarray:
        source = sources[name]
        return source.rule.read(stored[source.name].read(source.name))

    return Checkpoint(
        format="huggingface",
        path=path,
        shapes={
            name: mapped_shape(stored[source.name].shape, source.rule)
            for name, source in sources.items()
        },
        ignored={**ignored, **matched.ignored, **duplicates},
        unknown={name: stored[name].shape for name in matched.unknown},
        reader=reader,
        **kwargs,
    )


def list_tensors(path: str) -> tuple[Mapping[str, Stored], dict[str, str]]:
    """Lists the tensors of a file, or of the shards of an index file.

    Returns:
      Name in the file -> tensor, none of which has been read; name of anything else in
      the file -> reason to ignore it.

    Raises:
      CheckpointError: a damaged file, or shards that are not what the index says.
    """
    return _list_shards(path) if path.endswith(".json") else _list_file(path)


def _list_file(path: str) -> tuple[Mapping[str, Stored], dict[str, str]]:
    if torch_files.is_torch(files.read_head(path, torch_files.HEAD)):
        return torch_files.list_tensors(path)
    return safetensors_files.list_tensors(path), {}


def _list_shards(index: str) -> tuple[Mapping[str, Stored], dict[str, str]]:
    weight_map = json_files.read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: has no weight_map")
    stored, ignored, problems = {}, {}, []
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            raise CheckpointError(f"{index}: the file of {name} is {shard!r}")
    for shard in sorted(set(weight_map.values())):
        if os.path.basename(shard) != shard or shard in ("", ".", ".."):
            raise CheckpointError(f"{index}: {shard!r} is not the name of a file here")
        found, others = _list_file(os.path.join(os.path.dirname(index), shard))
        ignored |= others
        wanted = {name for name, file in weight_map.items() if file == shard}
        problems += [
            f"missing: {n} is not in {shard}" for n in sorted(wanted - set(found))
        ]
        problems += [
            f"extra: {n} of {shard} is not listed" for n in sorted(set(found) - wanted)
        ]
        stored.update(found)
    raise_problems(problems, index)
    return stored, ignored
