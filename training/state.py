"""Saves and resumes a run; every checkpoint is a name-based TensorFlow checkpoint.

`model.ckpt-<step>` holds the model under the released names, Adam's moments under the
parent's (`<variable>/adam_m`), `global_step`, and the loop's own state under
`trainer/`; so the parent's scripts read what this one writes.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from checkpoints import tensorflow_files
from checkpoints.files import write_text
from errors import UserError

_SETTINGS_FILE = "training_settings.json"


def save(output_dir: str, variables: Mapping[str, tf.Variable], keep: int) -> str:
    """Writes `model.ckpt-<step>` and removes the oldest ones.

    Args:
      output_dir: the run's folder.
      variables: name -> variable, `global_step` among them.
      keep: checkpoints to keep, 0 for all.

    Returns:
      The prefix of the new checkpoint.
    """
    step = int(variables["global_step"].numpy())
    prefix = os.path.join(output_dir, f"model.ckpt-{step}")
    tensorflow_files.save(prefix, {name: v.numpy() for name, v in variables.items()})
    known = [path for path in _listed(output_dir) if path != prefix] + [prefix]
    kept = known[-keep:] if keep else known
    _write_listed(output_dir, prefix, kept)
    for path in known[: len(known) - len(kept)]:
        for file in tf.io.gfile.glob(f"{path}.*"):
            tf.io.gfile.remove(file)
    return prefix


def latest(output_dir: str) -> str | None:
    """Returns the prefix of the newest complete checkpoint of a folder."""
    return tf.train.latest_checkpoint(output_dir)


def restore(prefix: str, variables: Mapping[str, tf.Variable]) -> None:
    """Sets every variable from a checkpoint that `save` wrote.

    Raises:
      UserError: a variable is missing from the file or has another shape.
    """
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    problems = [
        f"{name}: wanted {variable.shape.as_list()}, got {shapes.get(name, 'nothing')}"
        for name, variable in variables.items()
        if shapes.get(name) != variable.shape.as_list()
    ]
    if problems:
        raise UserError(
            f"{prefix} is not a checkpoint of this run:\n  " + "\n  ".join(problems)
        )
    for name, variable in variables.items():
        variable.assign(reader.get_tensor(name))
    logging.info("resumed from %s", prefix)


def check_settings(output_dir: str, settings: Mapping[str, Any]) -> None:
    """Refuses a folder that holds a training with other settings; else records them.

    Args:
      output_dir: the run's folder.
      settings: all that shapes the weights, as JSON values.

    Raises:
      UserError: names every setting that differs and both values.
    """
    path = os.path.join(output_dir, _SETTINGS_FILE)
    wanted = json.loads(json.dumps(settings))
    if not tf.io.gfile.exists(path):
        if latest(output_dir):
            raise UserError(
                f"--output_dir={output_dir} holds checkpoints but no {_SETTINGS_FILE}; "
                "they are not of this program: give another --output_dir"
            )
        write_text(path, json.dumps(wanted, indent=2, sort_keys=True) + "\n")
        return
    with tf.io.gfile.GFile(path) as file:
        found = json.load(file)
    differences = [
        f"{key}: there {found.get(key)!r}, now {wanted.get(key)!r}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    if differences and latest(output_dir):
        raise UserError(
            f"--output_dir={output_dir} holds another training ({path}):\n  "
            + "\n  ".join(differences)
            + "\nGive another --output_dir, or remove that one to start afresh."
        )
    if differences:  # nothing was trained there yet
        write_text(path, json.dumps(wanted, indent=2, sort_keys=True) + "\n")


def _listed(output_dir):
    state = tf.train.get_checkpoint_state(output_dir)
    return list(state.all_model_checkpoint_paths) if state else []


def _write_listed(output_dir, newest, kept):
    """Writes TensorFlow's `checkpoint` file, with relative paths: folders move."""
    lines = [f'model_checkpoint_path: "{os.path.basename(newest)}"']
    lines += [
        f'all_model_checkpoint_paths: "{os.path.basename(path)}"' for path in kept
    ]
    write_text(os.path.join(output_dir, "checkpoint"), "\n".join(lines) + "\n")
