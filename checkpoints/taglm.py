"""TagLM's folders: our own, for the paper released no code."""

import os
from collections.abc import Sequence

import vocabulary
from checkpoints import files
from checkpoints.own_folders import OwnFolders
from modeling.taglm import TaglmConfig

WORDS = "taglm/word_embeddings"
FILES = OwnFolders("taglm", TaglmConfig, frozenset({WORDS}))


def save_beside(folder: str, config: TaglmConfig, words: Sequence[str]) -> None:
    """Writes what stands beside a checkpoint; a new model's words have no file.

    Args:
      folder: gets taglm_config.json and vocab.txt.
      config: the model's.
      words: its vocabulary.
    """
    FILES.save_config(folder, config)
    path = os.path.join(folder, files.VOCAB)
    files.write_text(path, vocabulary.file_text(words))
