"""Small files beside the weights: read strictly, written aside and then renamed."""

import json
import os
import re
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

import json_files
import tokenization_unigram
from atomic_files import atomic_path
from checkpoints.mapping import CheckpointError, Outputs

TASK = "task.json"  # in a training folder: names its labels, among others
BEST_SEED = "best_seed.json"  # in a folder of several seeds' trainings
TOKENIZER_CONFIG = "tokenizer_config.json"
VOCAB = "vocab.txt"


def write_text(path: str, text: str) -> None:
    """Writes `text` as UTF-8; `path` never holds a part of it."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str, value: dict[str, Any]) -> None:
    """Writes an object as Hugging Face does: sorted keys, two spaces."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_bytes(path: str, data: bytes) -> None:
    """Writes `data`; `path` never holds a part of it."""
    with atomic_path(path) as aside, tf.io.gfile.GFile(aside, "wb") as writer:
        writer.write(data)


def copy(source: str, path: str) -> None:
    """Copies a file; `path` never holds a part of it."""
    with atomic_path(path) as aside:
        tf.io.gfile.copy(source, aside, overwrite=True)


def write_tokenizer(
    folder: str, vocab_file: str | None, do_lower_case: bool | None, max_length: int
) -> None:
    """Writes vocab.txt and tokenizer_config.json, as far as they are known."""
    target = os.path.join(folder, VOCAB)
    if vocab_file is not None and tokenization_unigram.is_packed(vocab_file):
        pieces = tokenization_unigram.read(vocab_file)
        write_text(target, tokenization_unigram.file_text(pieces))
    elif vocab_file is not None:
        copy(vocab_file, target)
    if do_lower_case is not None:
        tokenizer = {
            "do_lower_case": do_lower_case,
            "model_max_length": max_length,
            "tokenizer_class": "BertTokenizer",
        }
        write_json(os.path.join(folder, TOKENIZER_CONFIG), tokenizer)


def find(folder: str, name: str) -> str | None:
    """Returns the path of file `name` in `folder`, or None when there is none."""
    path = os.path.join(folder, name)
    return path if tf.io.gfile.exists(path) else None


def list_names(folder: str) -> list[str]:
    """Returns the names of what is in a folder; "" is the current one."""
    return sorted(tf.io.gfile.listdir(folder or "."))


def find_one(folder: str, names: Sequence[str]) -> str | None:
    """Returns the path of the one of `names` that is in `folder`, or None.

    Raises:
      CheckpointError: there are several.
    """
    found = [name for name in names if find(folder, name)]
    if len(found) > 1:
        raise CheckpointError(
            f"{folder}: holds {' and '.join(found)}; name one of them"
        )
    return os.path.join(folder, found[0]) if found else None


def read_head(path: str, size: int) -> bytes:
    """Returns the first bytes of a file, which tell its format.

    Raises:
      CheckpointError: it is not there, or cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as reader:
            return reader.read(size)
    except tf.errors.OpError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.message}") from None


def read_do_lower_case(folder: str) -> bool | None:
    """Returns what tokenizer_config.json says of lower-casing; None if nothing."""
    path = find(folder, TOKENIZER_CONFIG)
    if path is None:
        return None
    value = json_files.read_object(path).get("do_lower_case")
    if value is not None and not isinstance(value, bool):
        raise CheckpointError(f"{path}: do_lower_case is {value!r}, wanted a boolean")
    return value


def read_outputs(folder: str) -> Outputs | None:
    """Returns what a training folder's task.json says of its head; None without one."""
    path = find(folder, TASK)
    return path and _outputs(json_files.read_object(path), path)


def read_parts(folder: str) -> dict[str, Outputs]:
    """Returns what a training folder's task.json says of the heads of several tasks."""
    path = find(folder, TASK)
    parts = json_files.read_object(path).get("parts", []) if path else []
    if not isinstance(parts, list) or not all(isinstance(p, dict) for p in parts):
        raise CheckpointError(f"{path}: parts is {parts!r}, wanted a list of objects")
    return {str(part.get("task_name")): _outputs(part, path) for part in parts}


def trained_language(path: str | None) -> str | None:
    """Returns what a training's task.json says that its texts were in; None of others.

    Args:
      path: the training's folder, or weights in it; None: there is none.
    """
    if path is None:
        return None
    folder = path if tf.io.gfile.isdir(path) else os.path.dirname(path)
    task = find(best_seed(folder) or folder, TASK)
    return task and json_files.read_object(task).get("language")


def best_seed(folder: str) -> str | None:
    """Returns the folder of the best of several seeds' trainings; None of others.

    Raises:
      CheckpointError: it is not there.
    """
    path = find(folder, BEST_SEED)
    if path is None:
        return None
    name = json_files.read_object(path).get("folder")
    best = os.path.join(folder, str(name))
    if not re.fullmatch(r"seed_\d+(/best)?", str(name)) or not tf.io.gfile.isdir(best):
        raise CheckpointError(f"{path}: folder is {name!r}, which is not there")
    return best


def _outputs(values, path):
    kind, labels = values.get("output_kind", values.get("task_name")), ()
    if "labels" in values:
        labels = values["labels"]
    if not isinstance(kind, str):
        raise CheckpointError(f"{path}: task_name is {kind!r}, wanted a text")
    if not isinstance(labels, list | tuple) or not all(
        isinstance(label, str) for label in labels
    ):
        raise CheckpointError(f"{path}: labels is {labels!r}, wanted a list of texts")
    return Outputs(kind, tuple(labels))
