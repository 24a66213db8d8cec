"""NNLM's folders: our own, for the paper's code is not public."""

import os
from collections.abc import Mapping
from typing import Any

from checkpoints import files, tensorflow_files
from checkpoints.mapping import Checkpoint
from modeling.nnlm import SCOPE, NnlmConfig

CONFIG = "nnlm_config.json"
WORDS = f"{SCOPE}/C"
_VOCAB_TENSORS = frozenset({WORDS, f"{SCOPE}/softmax/W", f"{SCOPE}/softmax/b"})


def open_trained(prefix: str) -> Checkpoint:
    """Opens a checkpoint of a training folder; see tensorflow_files.open_checkpoint.

    Args:
      prefix: path without `.index`; config and vocabulary are beside it.
    """
    folder = os.path.dirname(prefix)
    return tensorflow_files.open_checkpoint(
        prefix,
        format="tensorflow",
        vocab_tensors=_VOCAB_TENSORS,
        config=NnlmConfig.from_json_file(os.path.join(folder, CONFIG)),
        vocab_file=files.find(folder, files.VOCAB),
        do_lower_case=None,
    )


def check(checkpoint: Checkpoint) -> None:
    """Has nothing to add to what is checked when the weights are loaded."""
    del checkpoint


def needs_vocab(config: NnlmConfig) -> bool:
    """Tells whether a model is of no use without its vocabulary."""
    del config
    return True


def claims(values: Mapping[str, Any]) -> bool:
    """Tells whether a config is of NNLM."""
    return values.get("model_type") == "nnlm"


def save_beside(
    folder: str,
    config: NnlmConfig,
    vocab_file: str | None,
    do_lower_case: bool | None = None,
) -> None:
    """Writes what stands beside a checkpoint.

    Args:
      folder: gets nnlm_config.json and vocab.txt.
      config: the model's.
      vocab_file: its vocabulary, if it is known.
      do_lower_case: no matter here: words are as they are.
    """
    del do_lower_case
    files.write_text(os.path.join(folder, CONFIG), config.to_json_string())
    if vocab_file is not None:
        files.copy(vocab_file, os.path.join(folder, files.VOCAB))
