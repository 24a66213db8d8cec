"""Name-based TensorFlow checkpoints: what `tf.compat.v1.train.Saver` reads and writes.

Google released BERT so (google-research/bert), and so our training folders are kept.
"""

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import tensorflow as tf
from absl import logging

from atomic_files import atomic_path, is_aside
from checkpoints import files
from checkpoints.mapping import Checkpoint, CheckpointError, find_reason
from paths import glob_escape

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # only in tf.train.Checkpoint's files

_TRAINED = re.compile(r"model\.ckpt-\d+")
_ENDING = r"\.(index|meta|data-\d+-of-\d+)$"

# What the reader raises for damaged or missing files, according to the damage.
_DAMAGE = (tf.errors.OpError, IndexError, RuntimeError, ValueError)

_IGNORED = {
    r"(.*/)?global_step": "step counter of the training that wrote the file",
    r".*/(adam|lamb|adamax)_[mvu]": "optimizer slot",
    r".*/(Adam|AdamWeightDecayOptimizer|LAMBOptimizer)(_\d+)?": "optimizer slot",
    r".*/Momentum(_\d+)?": "optimizer slot",
    r"(.*/)?beta[12]_power(_\d+)?": "optimizer state",
    r"trainer/.*": "state of the training that wrote the file",
}


def prefix_of(path: str) -> str | None:
    """Returns the TF prefix that `path` is, or is a file of; None if it is neither."""
    prefix = re.sub(_ENDING, "", path)
    return prefix if tf.io.gfile.exists(prefix + ".index") else None


def find_prefix(folder: str) -> str | None:
    """Finds a folder's checkpoint: its newest complete one, or the only one.

    Args:
      folder: Google's unpacked archive, or a training folder.

    Returns:
      The prefix, or None when the folder holds no TF checkpoint.

    Raises:
      CheckpointError: none of a training folder is complete, or there are several of
        which none is called newest.
    """
    named = _named(folder)
    if named is not None and problem_of(named) is None:
        return named
    newest = next(newest_first(folder), None)
    if newest is not None:
        return newest
    paths = tf.io.gfile.glob(os.path.join(glob_escape(folder), "*.index"))
    prefixes = sorted(p[: -len(".index")] for p in paths if not is_aside(p))
    lost = [prefix for prefix in prefixes if prefix in trained_files(folder)]
    lost = lost or ([named] if named else [])
    if lost:
        problems = "; ".join(map(problem_of, lost))
        raise CheckpointError(f"{folder} has no complete checkpoint: {problems}")
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{folder}: several checkpoints and no `checkpoint` state file; name one: "
            + ", ".join(prefixes)
        )
    return prefixes[0] if prefixes else None


def newest_first(folder: str) -> Iterator[str]:
    """Yields the complete checkpoints `model.ckpt-<step>` of a training folder.

    The one that its `checkpoint` file calls the newest comes first, then the others
    by their steps. What is left out, and why, is logged.
    """
    named, found = _named(folder), trained_files(folder)
    if named not in found and (named or len(found) > 1):
        logging.warning(
            "%s/checkpoint, which should name the newest, names none that is there",
            folder,
        )
    for prefix in sorted(found, key=lambda p: (p == named, step_of(p)), reverse=True):
        problem = problem_of(prefix)
        if problem is None:
            yield prefix
        else:
            logging.warning("%s is not complete and left out: %s", prefix, problem)


def trained_files(folder: str) -> dict[str, list[str]]:
    """Returns prefix -> files of all checkpoints `model.ckpt-<step>` in a folder."""
    found = {}
    if not tf.io.gfile.isdir(folder):
        return found
    for name in sorted(tf.io.gfile.listdir(folder)):
        stem = re.sub(_ENDING, "", name)
        if stem != name and _TRAINED.fullmatch(stem):
            prefix = os.path.join(folder, stem)
            found.setdefault(prefix, []).append(os.path.join(folder, name))
    return found


def step_of(prefix: str) -> int:
    """Returns the step in the name of a checkpoint `model.ckpt-<step>`."""
    return int(prefix.rpartition("-")[2])


def listed(folder: str) -> list[str]:
    """Lists what a folder's `checkpoint` file says was kept, as prefixes.

    Only names `model.ckpt-<step>` count, in that folder: who removes what the file
    says must not be led out of it.
    """
    state = _state(folder)
    named = state.all_model_checkpoint_paths if state else []
    paths = [path for path in named if _TRAINED.fullmatch(os.path.basename(path))]
    return [p for p in paths if os.path.join(folder, os.path.basename(p)) == p]


def problem_of(prefix: str) -> str | None:
    """Says why a checkpoint is not complete; None if it is.

    The index is read; of the data, whose checksums are verified when they are read,
    only the size is looked at.
    """
    if not tf.io.gfile.exists(prefix + ".index"):
        return f"{prefix}.index does not exist"
    try:
        wanted = Reader(prefix).num_bytes
    except CheckpointError as error:
        return str(error)
    found = sum(
        tf.io.gfile.stat(path).length for path in _files(prefix) if ".data-" in path
    )
    if wanted not in (found, None):
        return f"{prefix}.data-* have {found:,} bytes, wanted {wanted:,}"
    return None


def remove(prefix: str) -> None:
    """Removes a checkpoint's files; without the index, which goes first, it is none."""
    for path in sorted(_files(prefix), key=lambda path: not path.endswith(".index")):
        tf.io.gfile.remove(path)


class Reader:
    """Reads a name-based checkpoint whose path may have any characters.

    TensorFlow takes the path for a pattern when it looks whether it is there, so it
    is given a link whose name has no such characters.

    Attributes:
      dtypes: name -> its DType.
      shapes: name -> its dimensions.
    """

    def __init__(self, prefix: str):
        """Opens it.

        Args:
          prefix: path without `.index`.

        Raises:
          CheckpointError: there is none, or its index is damaged.
        """
        self._prefix = prefix
        try:
            path = prefix
            if glob_escape(prefix) != prefix and "://" not in prefix:
                path = self._linked()
            self._reader = tf.compat.v1.train.NewCheckpointReader(path)
            self.dtypes = self._reader.get_variable_to_dtype_map()
            self.shapes = self._reader.get_variable_to_shape_map()
        except _DAMAGE as error:
            raise CheckpointError(
                f"{prefix}: not a readable checkpoint: {error}"
            ) from None

    @property
    def num_bytes(self) -> int | None:
        """Bytes of all tensors; None if one is of strings."""
        if tf.string in self.dtypes.values():
            return None
        return sum(
            self.dtypes[name].size * int(np.prod(shape, dtype=np.int64))
            for name, shape in self.shapes.items()
        )

    def read(self, name: str) -> np.ndarray:
        """Reads a tensor.

        Raises:
          CheckpointError: it is damaged or missing.
        """
        try:
            return self._reader.get_tensor(name)
        except _DAMAGE as error:
            raise CheckpointError(
                f"{self._prefix}: cannot read {name}: {error}"
            ) from None

    def _linked(self):
        folder = tempfile.mkdtemp(prefix="checkpoint-")
        weakref.finalize(self, shutil.rmtree, folder)  # data are opened when read
        link = os.path.join(folder, "model")
        for path in _files(self._prefix):
            os.symlink(os.path.abspath(path), link + path[len(self._prefix) :])
        return link


def open_checkpoint(prefix: str, **kwargs) -> Checkpoint:
    """Opens a name-based checkpoint; needs its .index and .data files, no .meta.

    Args:
      prefix: path without `.index`.
      **kwargs: what the model's kind decides: the fields of Checkpoint from `format`
        to `do_lower_case` that are not read from the file.

    Returns:
      The checkpoint; its names are the file's.

    Raises:
      CheckpointError: damaged, or written by tf.train.Checkpoint (TF2, by object).
    """
    reader = Reader(prefix)
    found = reader.shapes
    if _OBJECT_GRAPH in found:
        raise CheckpointError(
            f"{prefix}: got an object-based TF2 checkpoint (tf.train.Checkpoint), "
            "wanted a name-based one, as released by google-research/bert"
        )
    shapes, ignored = {}, {}
    for name in sorted(found):
        reason = find_reason(_IGNORED, name)
        if reason is None:
            shapes[name] = tuple(found[name])
        else:
            ignored[name] = reason
    return Checkpoint(
        path=prefix,
        shapes=shapes,
        ignored=ignored,
        unknown={},
        outputs=files.read_outputs(os.path.dirname(prefix)),
        parts=files.read_parts(os.path.dirname(prefix)),
        reader=lambda name: _read(reader, prefix, name),
        **kwargs,
    )


def _read(reader: Reader, prefix: str, name: str) -> np.ndarray:
    dtype = reader.dtypes[name]
    if not dtype.is_floating:
        raise CheckpointError(f"{prefix}: {name} is {dtype.name}, wanted a float type")
    return np.asarray(reader.read(name), np.float32)


def save(prefix: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a name-based checkpoint, loadable by TensorFlow 1.15's Saver.

    Args:
      prefix: where to; an older checkpoint of that prefix is replaced.
      tensors: name -> array of any dtype; at least one.
    """
    names = sorted(tensors)
    # In this order: without the index nothing is found.
    with atomic_path(prefix, (".data-00000-of-00001", ".index")) as aside:
        tf.raw_ops.SaveV2(
            prefix=aside,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.constant(tensors[name]) for name in names],
        )


def take_out(prefix: str, names: Collection[str]) -> None:
    """Writes a checkpoint anew without some tensors; a damaged one stays as it is."""
    reader = Reader(prefix)
    left = reader.shapes.keys() - set(names)
    if len(left) == len(reader.shapes):
        return
    try:
        tensors = {name: reader.read(name) for name in left}
    except CheckpointError as error:  # a checksum is wrong
        logging.warning("%s is damaged: %s", prefix, error)
        return
    save(prefix, tensors)


def _named(folder):
    """The prefix that `checkpoint` calls the newest: in its folder, wherever it was."""
    state = _state(folder)
    name = os.path.basename(state.model_checkpoint_path) if state else ""
    return os.path.join(folder, name) if name else None


def _state(folder):
    """What a folder's `checkpoint` file says; None if it is missing or damaged."""
    try:
        return tf.train.get_checkpoint_state(folder)
    except ValueError as error:  # not UTF-8, or without what it should say
        logging.warning("%s/checkpoint is damaged: %s", folder, error)
        return None


def _files(prefix):
    """The files of a checkpoint that are there."""
    folder, name = os.path.split(prefix)
    names = tf.io.gfile.listdir(folder or ".")
    ours = re.compile(re.escape(name) + _ENDING)
    return [os.path.join(folder, found) for found in names if ours.fullmatch(found)]
