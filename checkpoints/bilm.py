"""ELMo's files (allenai/bilm-tf): options.json with weights in HDF5, or TF1's `lm/`.

A training run leaves a TF1 checkpoint, whose names are ours. The releases, and what
dump_weights.py makes of a run, are HDF5 for inference: other names, and no softmax.
"""

import contextlib
import dataclasses
import io
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import tensorflow as tf
from absl import logging

import lexicon
from checkpoints import files, tensorflow_files
from checkpoints.foreign import Format
from checkpoints.mapping import (
    Checkpoint,
    CheckpointError,
    Field,
    Rule,
    Table,
    check_shape,
    choose_sources,
    find_reason,
    raise_problems,
)
from checkpoints.word_tables import WordTable
from modeling.elmo import SCOPE
from modeling.elmo_config import NUM_CHARACTERS, ElmoConfig

CONFIG = "options.json"
WEIGHTS = "lm_weights.hdf5"
MAGIC = b"\x89HDF\r\n\x1a\n"  # the first bytes of every HDF5 file
# Tensors with one row a word.
VOCAB_TENSORS = frozenset({"lm/embedding", "lm/softmax/W", "lm/softmax/b"})
CHARACTERS = f"{SCOPE}/char_embed"
# What reading a damaged file ends in; the last two where it points behind its end.
_DAMAGE = (
    *(OSError, KeyError, RuntimeError, TypeError, ValueError),
    *(SystemError, tf.errors.OutOfRangeError),
)
_MOST_DEFLATED = 1032  # bytes that one of deflate's stands for, at most
_IGNORED = {
    r".*/Adagrad(_\d+)?": "optimizer slot",
    r"train_perplexity": "perplexity of the training that wrote the file",
}


def _table(num_layers: int) -> Table:
    """The names in HDF5 and ours; TF1 leaves out the stack's scopes of one layer."""
    theirs = "RNN_{d}/RNN/MultiRNNCell/Cell{n}/LSTMCell/"
    if num_layers == 1:
        theirs = theirs.replace("{n}", "0")
    ours = cell_scope("{d}", "{n}", num_layers)
    cell = [
        Rule(theirs + "W_0", ours + "kernel"),
        Rule(theirs + "B", ours + "bias"),
        Rule(theirs + "W_P_0", ours + "projection/kernel"),
    ]
    same = ["char_embed", "embedding", "CNN/{part}_cnn_{n}", "CNN_proj/{part}_proj"]
    same += ["CNN_high_{n}/{part}_{kind}"]
    return Table(
        rules=[*cell, *(Rule(name, f"{SCOPE}/{name}") for name in same)],
        fields={
            "d": Field("[01]"),
            "n": Field(r"\d+"),
            "part": Field("[Wb]"),
            "kind": Field("carry|transform"),
        },
        ignored={},
    )


def cell_scope(direction: int | str, layer: int | str, num_layers: int) -> str:
    """Returns what our names of a layer's tensors begin with."""
    stack = f"multi_rnn_cell/cell_{layer}/" if num_layers > 1 else ""
    return f"{SCOPE}/RNN_{direction}/rnn/{stack}lstm_cell/"


def open_checkpoint(path: str) -> Checkpoint:
    """Opens weights in HDF5; nothing in the file is executed.

    Args:
      path: the file. options.json is sought beside it, or `<name>_options.json` for
        `<name>_weights.hdf5`, the releases' naming; so is vocab.txt.

    Returns:
      The checkpoint; no tensor has been read.

    Raises:
      CheckpointError: damaged, or `char_embed` has not 261 rows; names the file.
    """
    shapes = _list_datasets(path)
    num_layers = 2 if any("/Cell1/" in name for name in shapes) else 1
    matched = _table(num_layers).match(shapes)
    sources, ignored = choose_sources(matched, lambda name: _read(path, name), path)
    checkpoint = Checkpoint(
        format=FORMAT.name,
        path=path,
        shapes={ours: shapes[source.name] for ours, source in sources.items()},
        ignored=matched.ignored | ignored,
        unknown={name: shapes[name] for name in matched.unknown},
        outputs=None,
        reader=lambda ours: _read(path, sources[ours].name),
        **beside(*os.path.split(path)),
    )
    _check_characters(checkpoint)
    return checkpoint


def open_trained(prefix: str) -> Checkpoint:
    """Opens a TF1 checkpoint of bilm-tf, or of a training folder.

    Args:
      prefix: path without `.index`; options.json and vocab.txt are sought beside it.

    Raises:
      CheckpointError: see `tensorflow_files.open_checkpoint` and `open_checkpoint`.
    """
    checkpoint = tensorflow_files.open_checkpoint(
        prefix, format="tensorflow", **beside(*os.path.split(prefix))
    )
    reasons = {name: find_reason(_IGNORED, name) for name in checkpoint.shapes}
    ignored = {name: reason for name, reason in reasons.items() if reason}
    checkpoint = dataclasses.replace(
        checkpoint,
        shapes={k: v for k, v in checkpoint.shapes.items() if k not in ignored},
        ignored={**checkpoint.ignored, **ignored},
    )
    _check_characters(checkpoint)
    return checkpoint


def check(checkpoint: Checkpoint) -> None:
    """Checks that the options are of these weights; see mapping.check_shape."""
    config = checkpoint.config
    if config.char_cnn:
        keys = "the characters and char_cnn's embedding"
        check_shape(checkpoint, CHARACTERS, config.character_table, keys)


def needs_vocab(config: ElmoConfig) -> bool:
    """Tells whether a model is of no use without its vocabulary: it may read bytes."""
    return not config.char_cnn


def tables(config: ElmoConfig) -> dict[str, WordTable]:
    """Returns the tables of vectors that a model may have; see `WordTable`."""
    del config
    return {name: WordTable(name) for name in sorted(VOCAB_TENSORS)}


def find_weights(folder: str) -> str | None:
    """Returns the HDF5 file of weights in a folder; None if there is none.

    It is named `*weights.hdf5`, or is the one with LSTMs in it beside options.json:
    vectors are kept in HDF5, too.

    Raises:
      CheckpointError: there are several, or one that is damaged.
    """
    present = [n for n in tf.io.gfile.listdir(folder) if n.endswith(".hdf5")]
    names = [n for n in present if n.endswith("weights.hdf5")]
    if not names and files.find(folder, CONFIG):
        names = [n for n in present if _has_lstms(os.path.join(folder, n))]
    if len(names) > 1:
        raise CheckpointError(f"{folder}: holds {', '.join(sorted(names))}; name one")
    return os.path.join(folder, names[0]) if names else None


def beside(folder: str, name: str = "") -> dict[str, Any]:
    """Returns what a folder has beside weights of a name, as fields of Checkpoint."""
    released = f"{name.removesuffix('weights.hdf5')}{CONFIG}"
    config_file = files.find(folder, released) or files.find(folder, CONFIG)
    config = config_file and ElmoConfig.from_json_file(config_file)
    vocab_file = files.find(folder, files.VOCAB)
    if config and config.lexicon:
        vocab_file = next(iter(lexicon.beside(config_file)), None)
    return {
        "vocab_tensors": VOCAB_TENSORS,
        "config": config,
        "vocab_file": vocab_file,
        "do_lower_case": False,  # bilm-tf never lower-cases
    }


def _check_characters(checkpoint: Checkpoint) -> None:
    if checkpoint.config and checkpoint.config.lexicon:
        return  # as many as its file has
    rows = checkpoint.shapes.get(CHARACTERS, (NUM_CHARACTERS,))[0]
    if rows != NUM_CHARACTERS:
        raise CheckpointError(
            f"{checkpoint.path}: char_embed has {rows} rows, wanted {NUM_CHARACTERS}: "
            "256 bytes and 5 marks. n_characters is 261 in bilm-tf's training and 262 "
            "in its inference, which puts a row of zeros for the padding, id 0, in "
            "front; that row is made when running, and no file has it"
        )


@contextlib.contextmanager
def _open(path: str) -> Iterator[h5py.File]:
    """Opens a file; what h5py raises of its contents names the file."""
    try:
        with h5py.File(tf.io.gfile.GFile(path, "rb"), "r") as file:
            yield file
    except _DAMAGE as error:
        raise CheckpointError(f"{path}: not a readable HDF5 file: {error}") from None


def _has_lstms(path: str) -> bool:
    with _open(path) as file:
        return "RNN_0" in file


def _list_datasets(path: str) -> dict[str, tuple[int, ...]]:
    """Returns name -> shape of every dataset.

    All of them must be floats, and in the file: HDF5 can also point to other places
    and other files.
    """
    shapes, problems = {}, []

    def see_link(name: str, link: h5py.HardLink | h5py.SoftLink | h5py.ExternalLink):
        if not isinstance(link, h5py.HardLink):
            problems.append(f"{name} is a link, wanted the tensor itself")

    def see_node(name: str, node: h5py.Group | h5py.Dataset):
        if isinstance(node, h5py.Group):
            return
        shapes[name] = node.shape
        if node.external or node.is_virtual:
            problems.append(f"{name} is stored in another file")
        elif node.dtype.kind != "f" or node.shape is None:
            problems.append(f"{name} is {node.dtype}, wanted a float type")
        elif not _is_whole(node):
            problems.append(f"{name} {list(node.shape)} is not wholly in the file")

    with _open(path) as file:
        file.visititems_links(see_link)
        file.visititems(see_node)
    raise_problems(problems, path)
    return shapes


def _is_whole(node: h5py.Dataset) -> bool:
    """Tells whether a tensor's values are stored; HDF5 makes up what is not."""
    filters = node.id.get_create_plist().get_nfilters()
    most = node.id.get_storage_size() * (_MOST_DEFLATED if filters else 1)
    return math.prod(node.shape) * node.dtype.itemsize <= most


def _read(path: str, name: str) -> np.ndarray:
    with _open(path) as file:
        return np.asarray(file[name][...], np.float32)


def save_beside(
    folder: str,
    config: ElmoConfig,
    vocab_file: str | None,
    do_lower_case: bool | None,
) -> None:
    """Writes what stands beside a checkpoint.

    Args:
      folder: gets options.json and vocab.txt, or the files of the model's lexicon.
      config: the model's.
      vocab_file: to copy; None for none.
      do_lower_case: of no meaning: ELMo reads words as they are.
    """
    del do_lower_case
    files.write_text(os.path.join(folder, CONFIG), config.to_json_string())
    if config.lexicon is not None:
        for path in lexicon.beside(vocab_file):
            files.copy(path, os.path.join(folder, os.path.basename(path)))
    elif vocab_file is not None:
        files.copy(vocab_file, os.path.join(folder, files.VOCAB))


def save(
    folder: str,
    tensors: Mapping[str, np.ndarray],
    config: ElmoConfig,
    vocab_file: str | None,
    do_lower_case: bool | None,
) -> None:
    """Writes a folder for bilm-tf's inference: n_characters is 262, the softmax stays.

    Args:
      folder: new or empty; gets lm_weights.hdf5, options.json and vocab.txt.
      tensors: our name -> float32 array.
      config: the model's.
      vocab_file: to copy; None for none.
      do_lower_case: of no meaning.

    Raises:
      CheckpointError: tensors that bilm-tf has no place for.
    """
    if config.lexicon is not None:
        raise CheckpointError(
            f"{folder}: bilm-tf reads words by their bytes, and has no place for the "
            "lexicon of a model of ELMoForManyLangs"
        )
    table, targets, problems = _table(config.lstm.n_layers), {}, []
    for name in tensors:
        source = table.target(name)
        if source is not None:
            targets[source.name] = tensors[name]
        elif name.startswith(f"{SCOPE}/softmax/"):
            logging.info("%s: %s left out: HDF5 is for inference", folder, name)
        else:
            problems.append(f"{name}: bilm-tf's HDF5 files have no place for it")
    raise_problems(problems, folder)
    if config.char_cnn is not None:
        cnn = dataclasses.replace(config.char_cnn, n_characters=NUM_CHARACTERS + 1)
        config = dataclasses.replace(config, char_cnn=cnn)
    save_beside(folder, config, vocab_file, do_lower_case)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, value in sorted(targets.items()):
            # No time stamps: the same weights are the same bytes.
            file.create_dataset(
                name, data=np.asarray(value, np.float32), track_times=False
            )
    files.write_bytes(os.path.join(folder, WEIGHTS), buffer.getvalue())


def save_as(
    folder: str, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Writes tensors, and what `checkpoint` has beside them; see `save`."""
    beside = (checkpoint.config, checkpoint.vocab_file, checkpoint.do_lower_case)
    save(folder, tensors, *beside)


FORMAT = Format(
    "bilm",
    wanted=f"bilm-tf's ELMo ({WEIGHTS})",
    open=open_checkpoint,
    find=find_weights,
    is_file=lambda head: head.startswith(MAGIC),
    save=save_as,
)
