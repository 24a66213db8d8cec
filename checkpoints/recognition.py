"""Which format a path holds, told by its contents; and from any format to any."""

import os
from typing import NoReturn

import tensorflow as tf

from checkpoints import (
    files,
    google_bert,
    huggingface,
    huggingface_config,
    safetensors_files,
)
from checkpoints.mapping import Checkpoint, CheckpointError, raise_problems
from modeling.bert import BertConfig

FORMATS = ("google_bert", "huggingface")
_WORDS = "bert/embeddings/word_embeddings"


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a checkpoint of any format.

    Args:
      path: a TF prefix (`.index` or not), a folder with a TF checkpoint (Google's
        archive, or a training folder: its newest), a Hugging Face folder, a
        .safetensors file, or the index file of sharded ones.

    Returns:
      The checkpoint; no tensor has been read.

    Raises:
      CheckpointError: nothing there, nothing known, or damaged; names the file.
      ValueError: its config has an unknown, missing or impossible key.
    """
    path = os.fspath(path)
    prefix = google_bert.prefix_of(path)
    if prefix is not None:
        checkpoint = google_bert.open_checkpoint(prefix)
    elif tf.io.gfile.isdir(path):
        checkpoint = _open_folder(path)
    elif tf.io.gfile.exists(path):
        checkpoint = _open_file(path)
    else:
        raise CheckpointError(f"{path}: no such file, folder or checkpoint prefix")
    check_sizes(checkpoint)
    return checkpoint


def _open_folder(folder: str) -> Checkpoint:
    prefix = google_bert.find_prefix(folder)
    weights = safetensors_files.find_weights(folder)
    if prefix and weights:
        raise CheckpointError(f"{folder}: holds {prefix}.index and {weights}; name one")
    if prefix:
        return google_bert.open_checkpoint(prefix)
    if weights:
        return huggingface.open_checkpoint(weights)
    names = sorted(tf.io.gfile.listdir(folder))
    for name in names:
        if name.startswith("pytorch_model"):
            safetensors_files.refuse_pickle(os.path.join(folder, name))
    _refuse(folder, f"a folder with {', '.join(names[:10]) or 'nothing in it'}")


def _open_file(path: str) -> Checkpoint:
    with tf.io.gfile.GFile(path, "rb") as reader:
        head = reader.read(9)
    if head[:1] == b"{" or head[8:] == b"{":  # JSON; its length, then JSON
        return huggingface.open_checkpoint(path)
    if head.startswith((b"PK\x03\x04", b"\x80")):  # torch.save's archive; a bare pickle
        safetensors_files.refuse_pickle(path)
    _refuse(path, f"a file that starts with {head!r}")


def _refuse(path: str, got: str) -> NoReturn:
    raise CheckpointError(
        f"{path}: got {got}; wanted a TensorFlow checkpoint (prefix, or folder with "
        f"*.index) or Hugging Face weights ({safetensors_files.WEIGHTS}, "
        f"{safetensors_files.INDEX})"
    )


def check_sizes(checkpoint: Checkpoint) -> None:
    """Checks that the config is of these weights, where both are known.

    Raises:
      CheckpointError: the word embeddings have another shape than the config says.
    """
    config, found = checkpoint.config, checkpoint.shapes.get(_WORDS)
    if config is None or found is None:
        return
    wanted = (config.vocab_size, config.hidden_size)
    if found != wanted:
        raise CheckpointError(
            f"{checkpoint.path}: {_WORDS} is {list(found)}, but vocab_size and "
            f"hidden_size of the config are {list(wanted)}; is --bert_config_file "
            "another model's?"
        )


def read_config(path: str) -> BertConfig:
    """Reads Google's bert_config.json or Hugging Face's config.json.

    Args:
      path: either; Hugging Face's has `model_type`, `architectures` or
        `transformers_version`.

    Returns:
      The config; `gelu` is the tanh form in Google's, the erf form in Hugging Face's.

    Raises:
      ValueError: an unknown, missing or impossible key; names the file and the key.
    """
    values = files.read_json(path)
    if huggingface_config.MARKS & set(values):
        return huggingface_config.from_dict(values, path)
    return BertConfig.from_dict(values, source=path)


def save_as(checkpoint: Checkpoint, folder: str, output_format: str) -> None:
    """Writes the model of an opened checkpoint as a folder that stands alone.

    Args:
      checkpoint: with config and vocabulary; `dataclasses.replace` supplies them.
      folder: new or empty.
      output_format: one of FORMATS.

    Raises:
      CheckpointError: the folder has files; no config or vocabulary; tensors that are
        not known to one of the two formats.
    """
    if tf.io.gfile.exists(folder) and tf.io.gfile.listdir(folder):
        raise CheckpointError(f"{folder}: not empty; nothing was written")
    beside = {
        "bert_config_file": checkpoint.config,
        "vocab_file": checkpoint.vocab_file,
    }
    problems = [
        f"none is beside the weights: give --{flag}"
        for flag, value in beside.items()
        if value is None
    ]
    problems += [
        f"extra: {name} {list(shape)}: not a tensor of BERT that is known here"
        for name, shape in checkpoint.unknown.items()
    ]
    raise_problems(problems, checkpoint.path)
    check_sizes(checkpoint)
    tensors = {name: checkpoint.read(name) for name in checkpoint.shapes}
    found = (checkpoint.config, checkpoint.vocab_file, checkpoint.do_lower_case)
    if output_format == "huggingface":
        labels = checkpoint.labels if "output_bias" in tensors else None
        huggingface.save(folder, tensors, *found, labels=labels)
    else:
        google_bert.save_folder(folder, tensors, *found)
