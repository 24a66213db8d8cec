"""Word vectors as what a system begins with, and the folders that it leaves."""

import os

import tensorflow as tf

from checkpoints import files, word_vectors
from checkpoints.foreign import Format
from checkpoints.mapping import Checkpoint
from checkpoints.own_folders import OwnFolders
from modeling.vectors import SCOPE, VectorsConfig

_TABLES = ("words", "frozen_words", "others")
FILES = OwnFolders(
    "vectors", VectorsConfig, frozenset(f"{SCOPE}/{table}" for table in _TABLES)
)


def open_vectors(path: str) -> Checkpoint:
    """Opens word vectors: a checkpoint without any tensor of a model.

    Args:
      path: whatever word_vectors.read takes, which reads them when a system begins.
    """
    return Checkpoint(
        format="word_vectors",
        path=path,
        shapes={},
        ignored={},
        unknown={},
        vocab_tensors=frozenset(),
        config=VectorsConfig(),
        vocab_file=None,
        do_lower_case=None,
        outputs=None,
        reader=lambda name: None,
    )


def are_in(folder: str) -> bool:
    """Tells whether a folder holds word vectors, and no model's configuration."""
    names = tf.io.gfile.listdir(folder)
    if any(name.endswith(("config.json", "options.json")) for name in names):
        return False
    return bool(word_vectors.names(folder))


# Recognised last of all by `recognition`, which opens them: text may be anything.
FORMAT = Format("word_vectors", wanted="word vectors")


def save_beside(folder: str, config: VectorsConfig, text: str) -> None:
    """Writes what stands beside a checkpoint.

    Args:
      folder: gets vectors_config.json and vocab.txt.
      config: the model's.
      text: its vocabulary, as vocabulary.file_text writes it.
    """
    FILES.save_config(folder, config)
    files.write_text(os.path.join(folder, files.VOCAB), text)
