"""Name-based TensorFlow checkpoints: what `tf.compat.v1.train.Saver` reads and writes.

Google released BERT so (google-research/bert), and so our training folders are kept.
"""

import os
import re
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from atomic_files import atomic_path, is_aside
from checkpoints import files
from checkpoints.mapping import Checkpoint, CheckpointError, find_reason
from paths import glob_escape

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # only in tf.train.Checkpoint's files

# What the reader raises for damaged or missing files, according to the damage.
_DAMAGE = (tf.errors.OpError, IndexError, RuntimeError, ValueError)

_IGNORED = {
    r"(.*/)?global_step": "step counter of the training that wrote the file",
    r".*/(adam|lamb)_[mv]": "optimizer slot",
    r".*/(Adam|AdamWeightDecayOptimizer|LAMBOptimizer)(_\d+)?": "optimizer slot",
    r".*/Momentum(_\d+)?": "optimizer slot",
    r"(.*/)?beta[12]_power(_\d+)?": "optimizer state",
    r"trainer/.*": "state of the training that wrote the file",
}


def prefix_of(path: str) -> str | None:
    """Returns the TF prefix that `path` is, or is a file of; None if it is neither."""
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", path)
    return prefix if tf.io.gfile.exists(prefix + ".index") else None


def find_prefix(folder: str) -> str | None:
    """Finds a folder's checkpoint: the newest of its state file, or the only one.

    Args:
      folder: Google's unpacked archive, or a training folder.

    Returns:
      The prefix, or None when the folder holds no TF checkpoint.

    Raises:
      CheckpointError: the state file names one that is not there, or there are
        several and no state file.
    """
    state = tf.train.get_checkpoint_state(folder)
    if state is not None and state.model_checkpoint_path:
        named = state.model_checkpoint_path
        # The folder may have been moved since an absolute path was written.
        here = os.path.join(folder, os.path.basename(named))
        prefix = prefix_of(here) or prefix_of(named)
        if prefix is None:
            raise CheckpointError(
                f"{folder}/checkpoint: the newest checkpoint is {named!r}, "
                f"but {here}.index does not exist"
            )
        return prefix
    paths = tf.io.gfile.glob(os.path.join(glob_escape(folder), "*.index"))
    prefixes = sorted(p[: -len(".index")] for p in paths if not is_aside(p))
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{folder}: several checkpoints and no `checkpoint` state file; name one: "
            + ", ".join(prefixes)
        )
    return prefixes[0] if prefixes else None


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
    try:
        reader = tf.train.load_checkpoint(prefix)
    except _DAMAGE as error:
        raise CheckpointError(f"{prefix}: not a readable checkpoint: {error}") from None
    found = reader.get_variable_to_shape_map()
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
        labels=files.read_labels(os.path.dirname(prefix)),
        reader=lambda name: _read(reader, prefix, name),
        **kwargs,
    )


def _read(
    reader: tf.compat.v1.train.NewCheckpointReader, prefix: str, name: str
) -> np.ndarray:
    dtype = reader.get_variable_to_dtype_map()[name]
    if not dtype.is_floating:
        raise CheckpointError(f"{prefix}: {name} is {dtype.name}, wanted a float type")
    try:
        return np.asarray(reader.get_tensor(name), np.float32)
    except _DAMAGE as error:
        raise CheckpointError(f"{prefix}: cannot read {name}: {error}") from None


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
