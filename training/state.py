"""Saves and resumes a run; every checkpoint is a name-based TensorFlow checkpoint.

`model.ckpt-<step>` holds the model under the released names, Adam's moments under the
parent's (`<variable>/adam_m`), `global_step`, and the loop's own state under
`trainer/`; so the parent's scripts read what this one writes.
"""

import json
import os
from collections.abc import Collection, Mapping, Set
from typing import Any

import tensorflow as tf
from absl import logging

import json_files
from checkpoints import tensorflow_files
from checkpoints.files import write_text
from checkpoints.mapping import CheckpointError
from checkpoints.tensorflow_files import step_of
from errors import UserError

BEST = "best"  # the folder, inside the output folder, of the best checkpoint
_SETTINGS_FILE = "training_settings.json"
_NOTHING_SAVED = "nothing_saved_yet"  # there until the first checkpoint is complete


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
    # What is listed from this step on was damaged or given up: it is made again.
    earlier = tensorflow_files.listed(output_dir)
    known = [path for path in earlier if step_of(path) < step]
    known.append(prefix)
    kept = known[-keep:] if keep else known
    _write_listed(output_dir, prefix, kept)
    settings = _read_settings(output_dir)
    if settings and settings.pop(_NOTHING_SAVED, False):
        _write_settings(output_dir, settings)
    for path in known[: len(known) - len(kept)]:
        tensorflow_files.remove(path)
    return prefix


def thin_out(output_dir: str, names: Collection[str], spared: int) -> None:
    """Takes tensors out of a folder's checkpoints; a damaged one stays as it is.

    Args:
      output_dir: the run's folder.
      names: of the tensors, such as an optimizer's moments.
      spared: so many of the newest keep them.
    """
    newest_last = tensorflow_files.listed(output_dir)
    for prefix in newest_last[: max(0, len(newest_last) - spared)]:
        if tensorflow_files.problem_of(prefix) is None:
            tensorflow_files.take_out(prefix, names)


def latest(output_dir: str) -> str | None:
    """Returns the prefix of the newest complete checkpoint of a folder.

    Raises:
      UserError: there was a training, but none of its checkpoints is complete.
    """
    newest = next(tensorflow_files.newest_first(output_dir), None)
    if newest is None:
        _check_nothing_lost(output_dir)
    return newest


def restore_newest(
    output_dir: str,
    variables: Mapping[str, tf.Variable],
    optimizer: Set[str] = frozenset(),
    last_step: int | None = None,
) -> str | None:
    """Sets every variable from the newest checkpoint of a folder that can be read.

    Args:
      output_dir: the run's folder.
      variables: name -> variable.
      optimizer: names of those that only further updates read: from a checkpoint of
        `last_step`, after which there is none, they are not set.
      last_step: of the training.

    Returns:
      Its prefix; None, and nothing is set, where nothing was trained.

    Raises:
      UserError: see `restore` and `latest`.
    """
    damage = []
    for prefix in tensorflow_files.newest_first(output_dir):
        wanted = variables
        if step_of(prefix) == last_step:
            wanted = {n: v for n, v in variables.items() if n not in optimizer}
        elif optimizer and optimizer.isdisjoint(tensorflow_files.Reader(prefix).shapes):
            damage.append(f"{prefix} does not keep its optimizer's state")
            continue
        try:
            restore(prefix, wanted)
        except CheckpointError as error:  # a checksum is wrong
            logging.warning("%s is damaged and left out: %s", prefix, error)
            damage.append(str(error))
        else:
            return prefix
    _check_nothing_lost(output_dir, damage)
    return None


def restore(prefix: str, variables: Mapping[str, tf.Variable]) -> None:
    """Sets every variable from a checkpoint that `save` wrote.

    Raises:
      CheckpointError: the file is damaged.
      UserError: a variable is missing from the file or has another shape.
    """
    reader = tensorflow_files.Reader(prefix)
    shapes = reader.shapes
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
        variable.assign(reader.read(name))
    logging.info("weights of %s", prefix)


def check_settings(output_dir: str, settings: Mapping[str, Any]) -> None:
    """Refuses a folder that holds a training with other settings; else records them.

    What was recorded and is no setting any more, since it has no effect, is left out.

    Args:
      output_dir: the run's folder.
      settings: all that shapes the weights, as JSON values.

    Raises:
      UserError: names every setting that differs and both values.
    """
    path = os.path.join(output_dir, _SETTINGS_FILE)
    wanted = json.loads(json.dumps(settings))
    found = _read_settings(output_dir)
    trained = latest(output_dir)
    if found is None and trained:
        raise UserError(
            f"--output_dir={output_dir} holds checkpoints but no {_SETTINGS_FILE}; "
            "they are not of this program: give another --output_dir"
        )
    found = found or {}
    found.pop(_NOTHING_SAVED, None)
    differences = [
        f"{key}: there {found.get(key)!r}, now {wanted.get(key)!r}"
        for key in sorted(wanted)
        if found.get(key) != wanted.get(key)
    ]
    # A run that had saved nothing yet may still have a best model.
    if differences and (trained or latest(os.path.join(output_dir, BEST))):
        raise UserError(
            f"--output_dir={output_dir} holds another training ({path}):\n  "
            + "\n  ".join(differences)
            + "\nGive another --output_dir, or remove that one to start afresh."
        )
    if differences:
        _write_settings(output_dir, wanted | {_NOTHING_SAVED: True})


def is_begun(output_dir: str) -> bool:
    """Whether a folder holds a training, of which nothing may be saved yet."""
    return _read_settings(output_dir) is not None


def _check_nothing_lost(folder, damage=()):
    """Refuses a folder without a usable checkpoint where one has been.

    A run that was killed while it wrote its first checkpoint has lost nothing: there
    may be data without an index, and a best model.
    """
    if not tf.io.gfile.isdir(folder):
        return
    names = {name.rstrip("/") for name in tf.io.gfile.listdir(folder)}
    found = tensorflow_files.trained_files(folder)
    files = [os.path.basename(path) for paths in found.values() for path in paths]
    settings = _read_settings(folder)
    if settings and settings.get(_NOTHING_SAVED):
        signs = [name for name in files if name.endswith(".index")]
        signs += sorted(names & {"checkpoint"})
    else:
        signs = files + sorted(names & {"checkpoint", _SETTINGS_FILE, BEST})
    if not signs:
        return
    problems = [*damage, *filter(None, map(tensorflow_files.problem_of, found))]
    problems = "; ".join(problems) or "there is no model.ckpt-*.index"
    raise UserError(
        f"{folder} holds a training ({', '.join(signs)}), but no complete checkpoint: "
        f"{problems}. Put back what is missing, or give another folder"
    )


def _read_settings(output_dir):
    path = os.path.join(output_dir, _SETTINGS_FILE)
    return json_files.read_object(path) if tf.io.gfile.exists(path) else None


def _write_settings(output_dir, settings):
    path = os.path.join(output_dir, _SETTINGS_FILE)
    write_text(path, json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _write_listed(output_dir, newest, kept):
    """Writes TensorFlow's `checkpoint` file, with relative paths: folders move."""
    lines = [f'model_checkpoint_path: "{os.path.basename(newest)}"']
    lines += [
        f'all_model_checkpoint_paths: "{os.path.basename(path)}"' for path in kept
    ]
    write_text(os.path.join(output_dir, "checkpoint"), "\n".join(lines) + "\n")
