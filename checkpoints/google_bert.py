"""Google's BERT folders (google-research/bert), and our training folders of BERT.

Tensors are stored by name, and our names are these names: there is no table, only
names that are not the model's.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from checkpoints import files, tensorflow_files
from checkpoints.files import TASK
from checkpoints.foreign import Format
from checkpoints.mapping import Checkpoint, check_shape
from checkpoints.tensorflow_files import find_prefix, prefix_of, save
from checkpoints.word_tables import WordTable
from modeling.bert_config import BertConfig
from modeling.mt_dnn import SCOPE

__all__ = [
    "CONFIG",
    "TASK",
    "VOCAB_TENSORS",
    "find_prefix",
    "of_part",
    "open_checkpoint",
    "prefix_of",
    "save",
    "save_beside",
    "save_folder",
]

CONFIG = "bert_config.json"
# Tensors with one row a vocabulary entry.
VOCAB_TENSORS = frozenset(
    {"bert/embeddings/word_embeddings", "cls/predictions/output_bias"}
)
_WORDS = "bert/embeddings/word_embeddings"
_NUMBERED = (
    "bert/embeddings/token_type_embeddings",
    "bert/embeddings/position_embeddings",
)
_PREFIX = "bert_model.ckpt"  # of the released archives


def open_checkpoint(prefix: str) -> Checkpoint:
    """Opens a checkpoint of BERT; see tensorflow_files.open_checkpoint.

    Args:
      prefix: path without `.index`; config and vocabulary are sought beside it.
    """
    return tensorflow_files.open_checkpoint(
        prefix, format=FORMAT.name, **beside(os.path.dirname(prefix))
    )


open_trained = open_checkpoint  # a training folder is one of Google's archives


def beside(folder: str) -> dict[str, Any]:
    """Returns what a folder has beside the weights, as fields of Checkpoint."""
    config_file = files.find(folder, CONFIG)
    return {
        "vocab_tensors": VOCAB_TENSORS,
        "config": config_file and BertConfig.from_json_file(config_file),
        "vocab_file": files.find(folder, files.VOCAB),
        "do_lower_case": files.read_do_lower_case(folder),
    }


def of_part(checkpoint: Checkpoint, task_name: str) -> Checkpoint:
    """Returns a checkpoint of several tasks as one of a single task, by its names.

    Args:
      checkpoint: with the head of the task, `scoring_list/<task>/...`; one that is
        more than an output layer keeps its name.
      task_name: one of its `parts`.
    """
    of_head = re.compile(rf"{SCOPE}/{re.escape(task_name)}/(?=output_(weights|bias)$)")
    theirs = {of_head.sub("", name): name for name in checkpoint.shapes}
    return dataclasses.replace(
        checkpoint,
        shapes={ours: checkpoint.shapes[name] for ours, name in theirs.items()},
        outputs=checkpoint.parts[task_name],
        reader=lambda name: checkpoint.reader(theirs[name]),
    )


def check(checkpoint: Checkpoint) -> None:
    """Checks that the config is of these weights; see mapping.check_shape."""
    config = checkpoint.config
    wanted = (config.vocab_size, config.hidden_size)
    check_shape(checkpoint, _WORDS, wanted, "vocab_size and hidden_size")


def needs_vocab(config: BertConfig) -> bool:
    """Tells whether a model is of no use without its vocabulary."""
    del config
    return True


def tables(config: BertConfig) -> dict[str, WordTable]:
    """Returns the tables of vectors that a model has, by the variables' names."""
    del config
    numbered = {name: WordTable(name, entries=None) for name in _NUMBERED}
    return {_WORDS: WordTable(_WORDS), **numbered}


def save_folder(
    folder: str,
    tensors: Mapping[str, np.ndarray],
    config: BertConfig,
    vocab_file: str | None,
    do_lower_case: bool | None,
) -> None:
    """Writes a folder in the layout of Google's archives.

    Args:
      folder: gets bert_model.ckpt.*, bert_config.json, vocab.txt and, when it is known
        how to tokenize, tokenizer_config.json.
      tensors: Google's name -> float32 array.
      config: the model's.
      vocab_file: to copy; None for none.
      do_lower_case: what the tokenizer must do; None if not known.
    """
    save_beside(folder, config, vocab_file, do_lower_case)
    save(os.path.join(folder, _PREFIX), tensors)


def save_beside(
    folder: str,
    config: BertConfig,
    vocab_file: str | None,
    do_lower_case: bool | None,
) -> None:
    """Writes what stands beside a checkpoint; see `save_folder`."""
    files.write_text(os.path.join(folder, CONFIG), config.to_json_string())
    files.write_tokenizer(
        folder, vocab_file, do_lower_case, config.max_position_embeddings
    )


def save_as(
    folder: str, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Writes tensors, and what `checkpoint` has beside them; see `save_folder`."""
    beside = (checkpoint.config, checkpoint.vocab_file, checkpoint.do_lower_case)
    save_folder(folder, tensors, *beside)


FORMAT = Format("google_bert", save=save_as)
