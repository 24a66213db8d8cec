"""TagLM's folders: our own, for the paper released no code."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import vocabulary
from checkpoints import files, tensorflow_files
from checkpoints.mapping import Checkpoint
from modeling.taglm import TaglmConfig

CONFIG = "taglm_config.json"
WORDS = "taglm/word_embeddings"


def open_trained(prefix: str) -> Checkpoint:
    """Opens a checkpoint of a training folder; see tensorflow_files.open_checkpoint.

    Args:
      prefix: path without `.index`; config and vocabulary are beside it.
    """
    folder = os.path.dirname(prefix)
    config = TaglmConfig.from_json_file(os.path.join(folder, CONFIG))
    return tensorflow_files.open_checkpoint(
        prefix,
        format="tensorflow",
        vocab_tensors=frozenset({WORDS}),
        config=config,
        vocab_file=files.find(folder, files.VOCAB),
        do_lower_case=config.do_lower_case,
    )


def check(checkpoint: Checkpoint) -> None:
    """Has nothing to add to what is checked when the weights are loaded."""
    del checkpoint


def needs_vocab(config: TaglmConfig) -> bool:
    """Tells whether a model is of no use without its vocabulary."""
    del config
    return True


def claims(values: Mapping[str, Any]) -> bool:
    """Tells whether a config is of TagLM."""
    return values.get("model_type") == "taglm"


def save_beside(folder: str, config: TaglmConfig, words: Sequence[str]) -> None:
    """Writes what stands beside a checkpoint.

    Args:
      folder: gets taglm_config.json and vocab.txt.
      config: the model's.
      words: its vocabulary.
    """
    files.write_text(os.path.join(folder, CONFIG), config.to_json_string())
    path = os.path.join(folder, files.VOCAB)
    files.write_text(path, vocabulary.file_text(words))
