"""Word vectors as what a system begins with, and the folders that it leaves."""

import os

import tensorflow as tf

from checkpoints import files, word_vectors
from checkpoints.foreign import Format
from checkpoints.mapping import Checkpoint
from checkpoints.own_folders import OwnFolders
from checkpoints.word_tables import WordTable
from modeling.vectors import NUM_MARKS, SCOPE, VectorsConfig

_TABLES = ("words", "frozen_words", "others")


class _Folders(OwnFolders):
    """The vocabulary's entries are shared out among the tables."""

    def tables(self, config: VectorsConfig) -> dict[str, WordTable]:
        of_text = slice(NUM_MARKS, config.text_words)
        entries = {
            "marks": slice(NUM_MARKS),
            "words": of_text,
            "frozen_words": of_text,
            "others": slice(config.text_words, None),
        }
        tables = {f"{SCOPE}/{name}": some for name, some in entries.items()}
        return {name: WordTable(name, some) for name, some in tables.items()}


FILES = _Folders(
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
