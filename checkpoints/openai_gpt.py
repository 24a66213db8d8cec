"""OpenAI's released GPT (openai/finetune-transformer-lm, folder `model`).

params_shapes.json lists the shapes; params_0.npy to params_9.npy hold all parameters,
flattened, one after the other, in ten almost equal parts. Positions come first, then
tokens, then the blocks. Names are nowhere: the order is the name.
"""

import contextlib
import dataclasses
import io
import json
import math
import operator
import os
import tokenize
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

import json_files
from checkpoints import files, gpt
from checkpoints.foreign import Format
from checkpoints.mapping import Checkpoint, CheckpointError, raise_problems
from errors import UserError
from modeling.gpt_config import GptConfig

SHAPES = "params_shapes.json"
_PARTS = 10
# What numpy's reader of headers ends in, according to the damage.
_DAMAGE = (ValueError, tokenize.TokenError, tf.errors.OpError)
_HEAD_SIZE = 64  # of the release; no shape tells it


def _block_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """The parameters of a block in the order of the files."""
    return {
        "attn/c_attn/w": (1, width, 3 * width),
        "attn/c_attn/b": (3 * width,),
        "attn/c_proj/w": (1, width, width),
        "attn/c_proj/b": (width,),
        "ln_1/g": (width,),
        "ln_1/b": (width,),
        "mlp/c_fc/w": (1, width, 4 * width),
        "mlp/c_fc/b": (4 * width,),
        "mlp/c_proj/w": (1, 4 * width, width),
        "mlp/c_proj/b": (width,),
        "ln_2/g": (width,),
        "ln_2/b": (width,),
    }


@dataclasses.dataclass(frozen=True)
class _Part:
    """One of the ten files: float values at `offset`, the first is number `start`."""

    path: str
    start: int
    size: int
    offset: int
    dtype: np.dtype

    def read(self, start: int, stop: int) -> np.ndarray:
        """Reads what this file has of the values from `start` to `stop`."""
        first = max(start - self.start, 0)
        count = min(stop - self.start, self.size) - first
        if count <= 0:
            return np.zeros(0, np.float32)
        data = b""
        with (
            contextlib.suppress(tf.errors.OutOfRangeError),  # the start is not there
            tf.io.gfile.GFile(self.path, "rb") as reader,
        ):
            reader.seek(self.offset + first * self.dtype.itemsize)
            data = reader.read(count * self.dtype.itemsize)
        if len(data) != count * self.dtype.itemsize:
            raise CheckpointError(
                f"{self.path}: ends too early: its header says {self.size} values"
            )
        return np.frombuffer(data, self.dtype).astype(np.float32)


def open_checkpoint(path: str) -> Checkpoint:
    """Opens OpenAI's files.

    The files do not say how many heads there are: unless gpt_config.json lies beside
    them, heads are taken to have 64 units, as in the release (12 for a width of 768).
    Where the width is no multiple of that, the checkpoint has no config.

    Args:
      path: params_shapes.json; parameters and vocabulary are sought beside it.

    Returns:
      The checkpoint; no tensor has been read.

    Raises:
      CheckpointError: not the shapes of a GPT, a file is missing or damaged, or the
        sizes do not add up; names the file and the sizes.
    """
    shapes = _read_shapes(path)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    stops = dict(zip(sizes, np.cumsum(list(sizes.values())), strict=True))
    parts = _open_parts(os.path.dirname(path), sum(sizes.values()))

    def read(name: str) -> np.ndarray:
        stop = int(stops[name])
        values = [part.read(stop - sizes[name], stop) for part in parts]
        return np.concatenate(values).reshape(shapes[name])

    beside = gpt.beside(os.path.dirname(path))
    beside["config"] = beside["config"] or _config(shapes, path)
    return gpt.join(
        Checkpoint(
            format=FORMAT.name,
            path=path,
            shapes=shapes,
            ignored={},
            unknown={},
            outputs=None,
            reader=read,
            **beside,
        )
    )


def _read_shapes(path: str) -> dict[str, tuple[int, ...]]:
    """Returns name -> shape in the order of the files."""
    with tf.io.gfile.GFile(path, "rb") as reader:
        data = reader.read()
    value = json_files.parse(data, path)
    try:
        found = [tuple(map(operator.index, shape)) for shape in value]
        (positions, width), (tokens, _), *_ = found
        wanted = _layout(positions, tokens, width, (len(found) - 2) // 12)
    except (ValueError, TypeError):
        raise CheckpointError(
            f"{path}: got {data[:40]!r}, wanted a list of shapes, 2 tables first"
        ) from None
    if len(found) != len(wanted):
        raise CheckpointError(
            f"{path}: got {len(found)} shapes, wanted 2 tables and 12 a block"
        )
    problems = [
        f"shape {i} is {list(shape)}, wanted {list(wanted[name])} of {name}"
        for i, (name, shape) in enumerate(zip(wanted, found, strict=True))
        if shape != wanted[name]
    ]
    raise_problems(problems, path)
    return wanted


def _layout(
    positions: int, tokens: int, width: int, n_layer: int
) -> dict[str, tuple[int, ...]]:
    blocks = {
        f"h{layer}/{name}": shape
        for layer in range(n_layer)
        for name, shape in _block_shapes(width).items()
    }
    return {gpt.POSITIONS: (positions, width), gpt.TOKENS: (tokens, width), **blocks}


def _config(shapes: Mapping[str, Sequence[int]], path: str) -> GptConfig | None:
    n_ctx, width = shapes[gpt.POSITIONS]
    if width % _HEAD_SIZE:
        logging.warning(
            "%s: no %s beside it, and a width of %d is no multiple of the release's %d "
            "for a head: how many heads there are is not known",
            path,
            gpt.CONFIG,
            width,
            _HEAD_SIZE,
        )
        return None
    return GptConfig(
        n_vocab=shapes[gpt.TOKENS][0],
        n_ctx=n_ctx,
        n_embd=width,
        n_layer=(len(shapes) - 2) // 12,
        n_head=width // _HEAD_SIZE,
    )


def _part_path(folder: str, number: int) -> str:
    return os.path.join(folder, f"params_{number}.npy")


def _open_parts(folder: str, total: int) -> list[_Part]:
    """Finds the ten files and checks their sizes against those of np.array_split."""
    parts, problems, start = [], [], 0
    for number in range(_PARTS):
        path = _part_path(folder, number)
        size = total // _PARTS + (number < total % _PARTS)
        if not tf.io.gfile.exists(path):
            problems.append(f"{path} is missing: {size} of {total} values")
            continue
        found, offset, dtype = _read_header(path)
        if found != size:
            problems.append(f"{path} has {found} values, wanted {size} of {total}")
        parts.append(_Part(path, start, size, offset, dtype))
        start += size
    raise_problems(problems, os.path.join(folder, SHAPES))
    return parts


def _read_header(path: str) -> tuple[int, int, np.dtype]:
    """Returns how many values there are, where they start, and their type."""
    with tf.io.gfile.GFile(path, "rb") as reader:
        try:
            version = np.lib.format.read_magic(reader)
            if version != (1, 0):
                raise UserError(f"version {version} of numpy's format")
            shape, _, dtype = np.lib.format.read_array_header_1_0(reader)
        except _DAMAGE as error:
            raise CheckpointError(f"{path}: not a readable .npy: {error}") from None
        offset = reader.tell()
    if len(shape) != 1 or dtype.kind != "f":
        raise CheckpointError(
            f"{path}: got {dtype} {list(shape)}, wanted floats in one dimension"
        )
    return shape[0], offset, dtype


def save(
    folder: str,
    tensors: Mapping[str, np.ndarray],
    config: GptConfig,
    vocab_file: str | None,
    do_lower_case: bool | None,
) -> None:
    """Writes a folder that the original's train.py loads.

    params_shapes.json comes last: a folder that was not finished is not taken for a
    model.

    Args:
      folder: new or empty.
      tensors: our name -> float32 array.
      config: the model's; kept in gpt_config.json, for the files do not tell it all.
      vocab_file: to copy, with the merges beside it; None for none.
      do_lower_case: of no meaning: the encoding has lower-case pieces only.

    Raises:
      CheckpointError: special tokens or tensors that the files have no place for.
    """
    del do_lower_case
    wanted = _layout(config.n_ctx, config.n_vocab, config.n_embd, config.n_layer)
    parts = gpt.split(tensors, config)
    problems = [
        f"{name} {list(parts[name].shape)}: OpenAI's files have no place for it"
        for name in parts
        if name not in wanted
    ]
    if config.n_special:
        problems.append(
            f"n_special is {config.n_special}: OpenAI's files have no place for "
            "special tokens; Hugging Face's have"
        )
    raise_problems(problems, folder)
    tf.io.gfile.makedirs(folder)
    files.write_text(os.path.join(folder, gpt.CONFIG), config.to_json_string())
    gpt.copy_vocab(vocab_file, folder, gpt.OPENAI_VOCAB)
    flat = np.concatenate([np.ravel(parts[name]) for name in wanted])
    for number, values in enumerate(np.array_split(flat, _PARTS)):
        buffer = io.BytesIO()
        np.save(buffer, values.astype(np.float32, copy=False), allow_pickle=False)
        files.write_bytes(_part_path(folder, number), buffer.getvalue())
    shapes = json.dumps([list(shape) for shape in wanted.values()])
    files.write_text(os.path.join(folder, SHAPES), shapes)


def save_as(
    folder: str, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Writes tensors, and what `checkpoint` has beside them; see `save`."""
    beside = (checkpoint.config, checkpoint.vocab_file, checkpoint.do_lower_case)
    save(folder, tensors, *beside)


FORMAT = Format(
    "openai_gpt",
    wanted=f"OpenAI's GPT ({SHAPES})",
    open=open_checkpoint,
    find=lambda folder: files.find(folder, SHAPES),
    is_file=lambda head: head[:1] == b"[",  # a JSON list
    save=save_as,
)
