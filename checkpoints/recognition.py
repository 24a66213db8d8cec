"""Which format a path holds, told by its contents; and from any format to any."""

import os
from collections.abc import Iterator
from typing import Any, NoReturn

import tensorflow as tf
from absl import logging

import json_files
import registry
from atomic_files import atomic_path
from checkpoints import (
    files,
    safetensors_files,
    state_dicts,
    tensorflow_files,
    torch_files,
    vectors,
    word_vectors,
)
from checkpoints.foreign import Format
from checkpoints.mapping import Checkpoint, CheckpointError, raise_problems


def formats() -> list[str]:
    """Returns the names of the foreign formats that models can be written in."""
    savers = (name for entry in registry.entries() for name in _savers(entry))
    return list(dict.fromkeys(savers))


def open_checkpoint(path: str) -> Checkpoint:
    """Opens a checkpoint of any format.

    Args:
      path: a TF prefix (`.index` or not), a folder with a TF checkpoint (Google's
        archive, or a training folder: its newest), a folder of several seeds' trainings
        (the best of them), a Hugging Face folder, a
        .safetensors file or one of torch.save, or the index file of sharded ones,
        OpenAI's folder of GPT, or its params_shapes.json, bilm-tf's HDF5 file, or the
        folder with it, a folder of ELMoForManyLangs; word vectors in a file or a
        folder, which have no tensors of a model.

    Returns:
      The checkpoint; no tensor has been read.

    Raises:
      CheckpointError: nothing there, nothing known, or damaged; names the file.
      ValueError: its config has an unknown, missing or impossible key.
    """
    path = os.fspath(path)
    prefix = tensorflow_files.prefix_of(path)
    if prefix is not None:
        checkpoint = _open_tensorflow(prefix)
    elif tf.io.gfile.isdir(path):
        checkpoint = _open_folder(path)
    elif tf.io.gfile.exists(path):
        checkpoint = _open_file(path)
    else:
        raise CheckpointError(
            f"{path}: no such file, folder or checkpoint prefix (models are not "
            "downloaded by name: docs/install.md says where released weights are)"
        )
    check_sizes(checkpoint)
    return checkpoint


def _asked() -> list[registry.Entry]:
    """Returns all systems in the order in which they are asked what is theirs.

    The first that was registered, BERT, comes last: files of the parent's have no mark,
    so that what is nobody else's is read as BERT's.
    """
    first, *others = registry.entries()
    return [*others, first]


def _foreign() -> Iterator[Format]:
    """Yields the formats of others that systems can have, as they are asked."""
    for entry in _asked():
        yield from entry.load("formats")


def find_weights(folder: str) -> list[str]:
    """Returns the files of weights that a folder holds, of any format.

    Of TensorFlow's, the index of the newest; torch.save's only where there are no
    others: they often stand beside another form of the same weights.
    """
    prefix = tensorflow_files.find_prefix(folder)
    found = [prefix and f"{prefix}.index", safetensors_files.find_weights(folder)]
    found += [form.find(folder) for form in _foreign()]
    found = [path for path in found if path] or [torch_files.find_weights(folder)]
    return [path for path in found if path]


def _open_folder(folder: str) -> Checkpoint:
    found = find_weights(folder)
    best = None if found else files.best_seed(folder)
    if best:
        logging.info("%s: the best of its seeds is %s", folder, best)
        return _open_folder(best)
    # Beside word vectors may be the state of the training that learnt them.
    is_state = all(path.endswith(".index") for path in found)
    if is_state and vectors.are_in(folder):
        return vectors.open_vectors(folder)
    if len(found) > 1:
        raise CheckpointError(f"{folder}: holds {' and '.join(found)}; name one")
    if not found:
        names = sorted(tf.io.gfile.listdir(folder))
        _refuse(folder, f"a folder with {', '.join(names[:10]) or 'nothing in it'}")
    prefix = tensorflow_files.prefix_of(found[0])
    return _open_tensorflow(prefix) if prefix else _open_file(found[0])


def _open_tensorflow(prefix: str) -> Checkpoint:
    """Opens tensors that are stored by our names, as the config beside them says."""
    return _files_of(os.path.dirname(prefix)).open_trained(prefix)


def read_beside(folder: str) -> dict[str, Any]:
    """Returns what a training folder has beside weights, whether these are there.

    Returns:
      The fields of Checkpoint that it tells, `config` and `vocab_file` among them.
    """
    return _files_of(folder).beside(folder)


def _files_of(folder: str) -> Any:
    """Returns the `files` of the system whose config is in a folder."""
    known = [entry.load("files") for entry in _asked()]
    beside = (ours for ours in known if files.find(folder, ours.CONFIG))
    # Without a config, which a flag may give, it is the last one's: BERT's.
    return next(beside, known[-1])


def _open_file(path: str) -> Checkpoint:
    head = files.read_head(path, torch_files.HEAD)
    for form in _foreign():
        if form.is_file(head):
            return form.open(path)
    # JSON; its length, then JSON; torch's archive or pickle
    if head[:1] != b"{" and head[8:] != b"{" and not torch_files.is_torch(head):
        if word_vectors.is_file(path):
            return vectors.open_vectors(path)
        _refuse(path, f"a file that starts with {head!r}")
    names = {name for found in state_dicts.list_tensors(path) for name in found}
    return next(form for form in _foreign() if form.is_tensors(names)).open(path)


def _refuse(path: str, got: str) -> NoReturn:
    others = ", ".join(form.wanted for form in _foreign() if form.wanted)
    others = " or ".join(others.rsplit(", ", 1))
    raise CheckpointError(
        f"{path}: got {got}; wanted a TensorFlow checkpoint (prefix, or folder with "
        f"*.index), Hugging Face weights ({safetensors_files.WEIGHTS}, "
        f"{safetensors_files.INDEX}, {torch_files.WEIGHTS}, {torch_files.INDEX}, or "
        f"another file of torch.save), {others}"
    )


def check_sizes(checkpoint: Checkpoint) -> None:
    """Checks that config and vocabulary are of these weights, where they are known.

    Raises:
      CheckpointError: the embeddings have another shape than the config says; GPT's
        vocabulary has another size.
    """
    if checkpoint.config is not None:
        registry.of_config(checkpoint.config).load("files").check(checkpoint)


def read_config(path: str, weights: Checkpoint | None = None) -> Any:
    """Reads a config: Google's, Hugging Face's, train.py's of GPT, bilm-tf's, TagLM's.

    Args:
      path: bert_config.json, gpt_config.json, options.json, taglm_config.json, or a
        config.json of Hugging Face, which has `architectures`, `transformers_version`
        or its `model_type`.
      weights: those of the model, if there are any.

    Returns:
      The config; BERT's `gelu` is the tanh form in Google's, the erf form in Hugging
      Face's, and in Google's for Hugging Face's weights. GPT's is the tanh form in all.

    Raises:
      ValueError: an unknown, missing or impossible key; names the file and the key.
    """
    values = json_files.read_object(path)
    entry = registry.of_values(values)
    for form in entry.load("formats"):
        if form.is_config(values, weights):
            return form.read_config(values, path)
    return entry.load("config").from_dict(values, source=path)


def save_beside(
    folder: str,
    config: Any,
    vocab_file: str | None,
    do_lower_case: bool | None,
) -> None:
    """Writes what stands beside the weights in a training folder.

    Args:
      folder: is made.
      config: the model's.
      vocab_file: to copy, GPT's with its merges; None for none.
      do_lower_case: what the tokenizer must do; None if not known.
    """
    ours = registry.of_config(config).load("files")
    ours.save_beside(folder, config, vocab_file, do_lower_case)


def save_as(checkpoint: Checkpoint, folder: str, output_format: str) -> None:
    """Writes the model of an opened checkpoint as a folder that stands alone.

    The folder appears when it is complete.

    Args:
      checkpoint: with config and (but for an ELMo that reads characters) vocabulary;
        `dataclasses.replace` supplies them.
      folder: new or empty.
      output_format: one of `formats`.

    Raises:
      CheckpointError: the folder has files; no config or vocabulary; tensors that are
        not known to one of the two formats; a format of another kind of model.
    """
    if tf.io.gfile.exists(folder) and tf.io.gfile.listdir(folder):
        raise CheckpointError(f"{folder}: not empty; nothing was written")
    config = checkpoint.config
    wanted = {"bert_config_file": config}
    if config is None or registry.of_config(config).load("files").needs_vocab(config):
        wanted["vocab_file"] = checkpoint.vocab_file
    problems = [
        f"none is beside the weights: give --{flag}"
        for flag, value in wanted.items()
        if value is None
    ]
    savers = {} if config is None else _savers(registry.of_config(config))
    if config is not None and output_format not in savers:
        problems.append(
            f"a {type(config).__name__} model cannot be written as {output_format}, "
            f"only as {' or '.join(savers)}"
        )
    problems += [
        f"extra: {name} {list(shape)}: not a tensor that is known here"
        for name, shape in checkpoint.unknown.items()
    ]
    raise_problems(problems, checkpoint.path)
    check_sizes(checkpoint)
    tensors = {name: checkpoint.read(name) for name in checkpoint.shapes}
    with atomic_path(folder.rstrip("/")) as aside:
        savers[output_format](aside, tensors, checkpoint)


def _savers(entry):
    """Returns the formats that models can be written in: name -> what writes them."""
    return {form.name: form.save for form in entry.load("formats") if form.save}
