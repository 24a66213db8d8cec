"""A model's own tables, as word vectors: of words, of positions, of segments."""

from collections.abc import Mapping

from absl import logging

import checkpoints
import registry
from checkpoints import Checkpoint, CheckpointError
from checkpoints.word_tables import WordTable
from checkpoints.word_vectors import WordVectors
from systems.system import make_system


def find(checkpoint: Checkpoint) -> Mapping[str, WordTable]:
    """Returns the tables that a checkpoint has: name -> table.

    Raises:
      CheckpointError: it has no config, which says what its tensors are.
    """
    if checkpoint.config is None:
        raise CheckpointError(
            f"{checkpoint.path}: none is beside the weights: give --bert_config_file"
        )
    checkpoints.check_sizes(checkpoint)
    files = registry.of_config(checkpoint.config).load("files")
    return {
        name: table
        for name, table in files.tables(checkpoint.config).items()
        if len(checkpoint.shapes.get(table.tensor, ())) == 2
    }


def read(checkpoint: Checkpoint, name: str) -> WordVectors:
    """Reads a table.

    Args:
      checkpoint: with config and (but for tables of other things than words)
        vocabulary; `dataclasses.replace` supplies them.
      name: which table; one of `find`.

    Returns:
      The vocabulary's entries and their rows. A row that belongs to no entry is left
      out, which the log says. Rows of other things have their numbers, from 0, for
      words.

    Raises:
      CheckpointError: no such table (the message has those that there are), no
        vocabulary, or what is said of `Checkpoint.read`.
      UserError: a vocabulary that is not the model's.
    """
    tables = find(checkpoint)
    if not tables:
        raise CheckpointError(
            f"{checkpoint.path}: has no table of words; extract_features.py gives the "
            "vectors that its model makes of them"
        )
    if name not in tables:
        raise CheckpointError(
            f"{checkpoint.path}: no table {name}; there are {', '.join(tables)}"
        )
    table = tables[name]
    words = table.entries and _entries(checkpoint)[table.entries]
    vectors = checkpoint.read(table.tensor)[table.rows]
    if words is None:
        words = [str(i) for i in range(len(vectors))]
    if len(words) > len(vectors):
        raise CheckpointError(
            f"{checkpoint.vocab_file} has {len(words)} entries, but {name} of "
            f"{checkpoint.path} {len(vectors)} rows: they do not belong together"
        )
    if len(words) < len(vectors):
        logging.warning(
            "%s: the last %d of %d rows of %s are of no entry of %s, and left out",
            checkpoint.path,
            len(vectors) - len(words),
            len(vectors),
            name,
            checkpoint.vocab_file,
        )
    return WordVectors(words, vectors[: len(words)])


def _entries(checkpoint):
    """Returns the vocabulary's entries in the order of their rows."""
    if checkpoint.vocab_file is None:
        raise CheckpointError(
            f"{checkpoint.path}: no vocabulary is beside the weights: give --vocab_file"
        )
    system = make_system(
        checkpoint.config,
        checkpoint.vocab_file,
        checkpoint.do_lower_case,
        resize_vocab=None,
    )
    return system.match_vocabulary().entries()
