"""The temperature of a classifier's probabilities, kept beside its checkpoint."""

import hashlib
import os

import tensorflow as tf
from absl import logging

import json_files
from checkpoints import files
from errors import UserError

FILE = "calibration.json"
_KEYS = {"temperature", "checkpoint", "index_sha256", "examples"}


def write(checkpoint: str, temperature: float, num_examples: int) -> None:
    """Keeps a temperature.

    Args:
      checkpoint: the prefix of the TensorFlow checkpoint that it is of.
      temperature: by which logits are divided.
      num_examples: how many it was fitted on.
    """
    values = {
        "temperature": temperature,
        "checkpoint": os.path.basename(checkpoint),
        "index_sha256": _digest(checkpoint),
        "examples": num_examples,
    }
    files.write_json(_path(checkpoint), values)


def read(checkpoint: str) -> float:
    """Returns the temperature that was fitted for a checkpoint; 1 where none was.

    One of other weights, because training has gone on, is told in the log and left out.

    Args:
      checkpoint: the prefix or the file of a checkpoint, of any format.

    Raises:
      UserError: the file is not what `write` writes.
    """
    path = _path(checkpoint)
    if not tf.io.gfile.exists(path):
        return 1.0
    values = json_files.read_object(path)
    if values.keys() != _KEYS:
        raise UserError(f"{path}: keys {sorted(values)}, wanted {sorted(_KEYS)}")
    temperature = values["temperature"]
    if type(temperature) not in (int, float) or not temperature > 0:
        raise UserError(f"{path}: temperature is {temperature!r}, wanted above 0")
    if values["index_sha256"] != _digest(checkpoint):
        logging.warning(
            "%s was fitted for %s as it was then, not for the weights of %s: its "
            "temperature is left out; --calibrate fits it anew",
            path,
            values["checkpoint"],
            os.path.basename(checkpoint),
        )
        return 1.0
    logging.info("probabilities have the temperature %.4f of %s", temperature, path)
    return float(temperature)


def _path(checkpoint):
    return os.path.join(os.path.dirname(checkpoint), FILE)


def _digest(checkpoint):
    """The index of a TensorFlow checkpoint has sums of all its tensors."""
    path = checkpoint.removesuffix(".index") + ".index"
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
