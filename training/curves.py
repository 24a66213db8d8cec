"""Curves of runs: what their TensorBoard events hold, drawn over the updates."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

import pictures
from errors import UserError

_EVENTS = "events"
_SIZE = 5.0, 3.4  # inches of a panel
_ACROSS = 3  # panels beside each other
_DASHES = ("-", "--", ":", "-.")


@dataclasses.dataclass(frozen=True)
class Curve:
    """A scalar over the updates of a run, or of its seeds.

    Attributes:
      steps: int [N], ascending; those that all seeds have.
      values: float [seeds, N].
    """

    steps: np.ndarray
    values: np.ndarray


def read(folder: str) -> dict[str, Curve]:
    """Reads the curves of a run.

    Args:
      folder: an output folder of a training script; one of --seeds has a folder for
        each of them.

    Returns:
      By their tags, as `train/loss` and `eval/eval_accuracy`.

    Raises:
      UserError: there are no events.
    """
    seeds = sorted(tf.io.gfile.glob(os.path.join(folder, "seed_*", _EVENTS)))
    runs = [_read(path) for path in seeds or [os.path.join(folder, _EVENTS)]]
    if not all(runs):
        raise UserError(
            f"{folder}: no TensorBoard events in {os.path.join(folder, _EVENTS)}; "
            "wanted the --output_dir of a training"
        )
    tags = [tag for tag in runs[0] if all(tag in run for run in runs)]
    return {tag: _joined([run[tag] for run in runs]) for tag in tags}


def _read(path: str) -> dict[str, dict[int, float]]:
    """Returns tag -> update -> value; of a training that went on, what came last."""
    if not tf.io.gfile.isdir(path):
        return {}
    # TensorBoard's own reader; its packages take a second to load.
    from tensorboard.backend.event_processing import event_accumulator

    everything = {event_accumulator.TENSORS: 0}
    events = event_accumulator.EventAccumulator(path, everything).Reload()
    return {
        tag: {
            event.step: float(tf.make_ndarray(event.tensor_proto))
            for event in events.Tensors(tag)
        }
        for tag in events.Tags()[event_accumulator.TENSORS]
    }


def _joined(runs: Sequence[Mapping[int, float]]) -> Curve:
    steps = sorted(set(runs[0]).intersection(*runs[1:]))
    values = [[run[step] for step in steps] for run in runs]
    return Curve(np.array(steps, int), np.array(values, float))


def shown(
    runs: Mapping[str, Mapping[str, Curve]], tags: Sequence[str] | None
) -> list[str]:
    """Chooses what is drawn.

    Args:
      runs: name -> what `read` returned.
      tags: what is asked for; None: the loss in training, and every score.

    Raises:
      UserError: no run has a tag; names those that there are.
    """
    known = list(dict.fromkeys(tag for curves in runs.values() for tag in curves))
    if tags is None:
        return [t for t in known if t == "train/loss" or t.startswith("eval/")]
    for tag in tags:
        if tag not in known:
            raise UserError(f"--tags: no run has {tag}; there are {', '.join(known)}")
    return list(tags)


def draw(
    path: str, runs: Mapping[str, Mapping[str, Curve]], tags: Sequence[str]
) -> None:
    """Draws a panel for each tag, with a line for each run that has it.

    The line of several seeds is their mean, in a band of a standard deviation to both
    sides. A run's name stands at the end of its line.

    Args:
      path: the picture, which ends in one of pictures.ENDINGS.
      runs: name -> what `read` returned.
      tags: of the panels.

    Raises:
      MissingExtra: matplotlib is not installed.
    """
    across = min(len(tags), _ACROSS)
    down = -(-len(tags) // across)
    with pictures.figure(_SIZE[0] * across, _SIZE[1] * down) as figure:
        grid = figure.subplots(down, across, squeeze=False).ravel()
        for axes, tag in zip(grid, tags, strict=False):
            curves = [(i, name, runs[name].get(tag)) for i, name in enumerate(runs)]
            _panel(axes, tag, [curve for curve in curves if curve[2] is not None])
        for axes in grid[len(tags) :]:
            axes.set_axis_off()
        pictures.save(path, figure)


def _panel(axes, tag, curves):
    ends = []
    for number, name, curve in curves:
        colour = pictures.COLOURS[number % len(pictures.COLOURS)]
        dashes = _DASHES[number // len(pictures.COLOURS) % len(_DASHES)]
        mean, std = curve.values.mean(axis=0), curve.values.std(axis=0)
        marker = "o" if len(curve.steps) == 1 else None
        axes.plot(curve.steps, mean, dashes, color=colour, marker=marker, lw=1.5)
        if len(curve.values) > 1:
            std *= (len(curve.values) / (len(curve.values) - 1)) ** 0.5  # of a sample
            band = curve.steps, mean - std, mean + std
            axes.fill_between(*band, color=colour, alpha=0.2, lw=0)
        ends.append((curve.steps[-1], mean[-1], name, colour))
    axes.set_title(tag, fontsize=10, loc="left")
    axes.set_xlabel("updates", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3, lw=0.5)
    pictures.name_lines(axes, ends)
