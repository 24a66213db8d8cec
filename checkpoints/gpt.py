"""GPT's folders: what stands beside the weights, and the one embedding matrix.

`we` holds tokens, special tokens and positions, one block above the other. Foreign
files keep positions apart, and may have fewer special tokens than a task needs.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

import json_files
import tokenization_bpe
from checkpoints import files, tensorflow_files
from checkpoints.loading import Rows
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    check_shape,
    raise_problems,
)
from checkpoints.word_tables import WordTable
from modeling.gpt_config import GptConfig

CONFIG = "gpt_config.json"
VOCAB = "vocab.json"  # Hugging Face's name, and ours
OPENAI_VOCAB = "encoder_bpe_40000.json"
EMBEDDINGS = "we"
# The blocks of `we` that foreign files have as tensors; special tokens end the first.
TOKENS, POSITIONS = "we/tokens", "we/positions"


def open_trained(prefix: str) -> Checkpoint:
    """Opens a checkpoint of a training folder; see tensorflow_files.open_checkpoint.

    Args:
      prefix: path without `.index`; config and vocabulary are sought beside it.
    """
    folder = os.path.dirname(prefix)
    return tensorflow_files.open_checkpoint(
        prefix, format="tensorflow", **beside(folder)
    )


def beside(folder: str) -> dict[str, Any]:
    """Returns what a folder has beside the weights, as fields of Checkpoint."""
    config_file = files.find(folder, CONFIG)
    return {
        "vocab_tensors": frozenset(),
        "config": config_file and GptConfig.from_json_file(config_file),
        "vocab_file": files.find(folder, VOCAB) or files.find(folder, OPENAI_VOCAB),
        "do_lower_case": None,  # the encoding has lower-case pieces only
    }


def save_beside(
    folder: str, config: GptConfig, vocab_file: str | None, do_lower_case: bool | None
) -> None:
    """Writes what stands beside a checkpoint.

    Args:
      folder: gets gpt_config.json, and vocab.json with merges.txt.
      config: the model's.
      vocab_file: to copy, with the merges beside it; None for none.
      do_lower_case: of no meaning: the encoding has lower-case pieces only.
    """
    del do_lower_case
    files.write_text(os.path.join(folder, CONFIG), config.to_json_string())
    copy_vocab(vocab_file, folder, VOCAB)


def copy_vocab(vocab_file: str | None, folder: str, name: str) -> None:
    """Copies a vocabulary and the merges beside it.

    Args:
      vocab_file: None copies nothing.
      folder: where to.
      name: VOCAB or OPENAI_VOCAB, which decides the name of the merges too.
    """
    if vocab_file is not None:
        target = os.path.join(folder, name)
        files.copy(
            tokenization_bpe.merges_beside(vocab_file),
            tokenization_bpe.merges_beside(target),
        )
        files.copy(vocab_file, target)


def check(checkpoint: Checkpoint) -> None:
    """Checks that config and vocabulary are of these weights; see `check_vocab`."""
    config = checkpoint.config
    keys = "n_vocab + n_special + n_ctx and n_embd"
    check_shape(checkpoint, EMBEDDINGS, (config.num_rows, config.n_embd), keys)
    if checkpoint.vocab_file:
        check_vocab(checkpoint.path, config, checkpoint.vocab_file)


def needs_vocab(config: GptConfig) -> bool:
    """Tells whether a model is of no use without its vocabulary."""
    del config
    return True


def tables(config: GptConfig) -> dict[str, WordTable]:
    """Returns the tables of vectors that a model has: the blocks of `we`."""
    start = config.num_rows - config.n_ctx
    return {
        TOKENS: WordTable(EMBEDDINGS, rows=slice(start)),
        POSITIONS: WordTable(EMBEDDINGS, entries=None, rows=slice(start, None)),
    }


def check_vocab(path: str, config: GptConfig, vocab_file: str) -> None:
    """Checks that a vocabulary is of these weights.

    Raises:
      CheckpointError: another number of entries than the model has tokens, or no
        merges beside it.
    """
    entries = len(json_files.read_object(vocab_file))
    if entries != config.n_vocab:
        raise CheckpointError(
            f"{vocab_file} has {entries} entries, but {path} has n_vocab="
            f"{config.n_vocab} tokens: they do not belong together"
        )
    merges = tokenization_bpe.merges_beside(vocab_file)
    if not tf.io.gfile.exists(merges):
        raise CheckpointError(f"{vocab_file}: the merges, {merges}, are missing")


def join(checkpoint: Checkpoint) -> Checkpoint:
    """Returns a checkpoint with one `we`, of one with tokens and positions apart.

    Raises:
      CheckpointError: the two are not of the same width.
    """
    shapes = dict(checkpoint.shapes)
    if not {TOKENS, POSITIONS} <= set(shapes):
        return checkpoint  # and who loads it learns what is missing
    (tokens, width), (positions, other) = shapes.pop(TOKENS), shapes.pop(POSITIONS)
    if width != other:
        raise CheckpointError(
            f"{checkpoint.path}: embeddings of tokens are {width} wide, of positions "
            f"{other}"
        )

    def read(name: str) -> np.ndarray:
        if name != EMBEDDINGS:
            return checkpoint.reader(name)
        return np.concatenate([checkpoint.reader(TOKENS), checkpoint.reader(POSITIONS)])

    shapes = {EMBEDDINGS: (tokens + positions, width), **shapes}
    return dataclasses.replace(checkpoint, shapes=shapes, reader=read)


def split(
    tensors: Mapping[str, np.ndarray], config: GptConfig
) -> dict[str, np.ndarray]:
    """The inverse of `join`: returns tensors with tokens and positions apart."""
    parts = dict(tensors)
    tokens, positions = np.split(parts.pop(EMBEDDINGS), [-config.n_ctx])
    return {TOKENS: tokens, POSITIONS: positions, **parts}


def embedding_rows(
    checkpoint: Checkpoint, config: Any, *, resize_vocab: bool = False
) -> dict[str, Rows]:
    """Says which row of the file's `we` each row of a model's is.

    Special tokens that the file lacks keep their initial values, as in the original;
    of the positions, a model with a shorter context takes the first.

    Args:
      checkpoint: to be loaded.
      config: the model's.
      resize_vocab: whether the model may have more tokens than the file.

    Returns:
      The `rows` of `checkpoints.initialize`; none for other kinds of models, and for
      weights without a config, where the shapes have to tell.

    Raises:
      CheckpointError: the file has fewer positions, more special tokens, or (unless
        `resize_vocab`) another number of tokens.
    """
    found = checkpoint.config
    if not (isinstance(found, GptConfig) and isinstance(config, GptConfig)):
        return {}
    problems = []
    if found.n_ctx < config.n_ctx:
        problems.append(_disagreement("n_ctx", found, config, "at most"))
    if found.n_special > config.n_special:
        problems.append(_disagreement("n_special", found, config, "at least"))
    longer = resize_vocab and found.n_vocab < config.n_vocab
    if found.n_vocab != config.n_vocab and not longer:
        problems.append(_disagreement("n_vocab", found, config, "exactly"))
    raise_problems(problems, checkpoint.path)
    source, start = [], 0
    for block in ("n_vocab", "n_special", "n_ctx"):
        rows = np.arange(getattr(config, block))
        source.append(np.where(rows < getattr(found, block), start + rows, -1))
        start += getattr(found, block)
    reason = "tokens that the file has no rows for"
    return {EMBEDDINGS: Rows(np.concatenate(source), reason)}


def _disagreement(key: str, found: GptConfig, config: GptConfig, bound: str) -> str:
    there = getattr(found, key)
    return (
        f"{key} is {there} in the file, {getattr(config, key)} in the model, which "
        f"can have {bound} {there}"
    )
