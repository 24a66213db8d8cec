"""The loop of all that learns word vectors: steps, progress, saving, going on."""

import abc
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from absl import logging

from training import state
from training.progress import Progress
from training.signals import TERMINATED, StopSignal
from training.word_vectors.learner import RunConfig


class Array:
    """A numpy array where `state` expects a variable.

    Attributes:
      value: the array, which `assign` writes to.
    """

    def __init__(self, value: np.ndarray):
        self.value = np.array(value)

    @property
    def shape(self) -> tf.TensorShape:
        """The array's shape, as a variable has it."""
        return tf.TensorShape(self.value.shape)

    def numpy(self) -> np.ndarray:
        """Returns the array itself."""
        return self.value

    def assign(self, value: np.ndarray) -> None:
        """Writes all values."""
        self.value[...] = value


class Training(abc.ABC):
    """A training as the loop sees it: a number of steps, each of some units of work.

    A step is a function of the variables and its number, so that a run that is killed
    goes on to the same end.

    Attributes:
      unit: what a step goes through, in messages.
    """

    unit: ClassVar[str] = "word"

    @property
    @abc.abstractmethod
    def variables(self) -> Mapping[str, Any]:
        """What a checkpoint holds: name -> variable, or Array."""

    @property
    @abc.abstractmethod
    def ends(self) -> np.ndarray:
        """The units done after each step, of all steps; int64 [steps]."""

    @abc.abstractmethod
    def initialize(self) -> None:
        """Sets the variables where nothing is to be gone on from."""

    @abc.abstractmethod
    def steps(self, first: int) -> Iterator[Mapping[str, float]]:
        """Makes steps, from number `first` to the last one.

        Yields:
          After each one what is known of it; `loss` at least. The variables are then
          as they should be saved.
        """


def train(training: Training, run: RunConfig) -> None:
    """Trains to the last step, from the newest checkpoint if there is one.

    Args:
      training: what to do.
      run: where; what the folder holds is of the same training.

    Raises:
      FloatingPointError: the loss is not finite.
      SystemExit: the process was terminated; the state is saved.
    """
    folder, ends = run.output_dir, training.ends.tolist()
    step = Array(np.int64(0))
    variables = {**training.variables, "global_step": step}
    newest = state.restore_newest(folder, variables)
    if newest is None:
        training.initialize()
    first = int(step.value)
    if first == len(ends):
        logging.info("training is complete: %s", newest)
        return
    if newest:
        logging.info("resumed from %s", newest)
    done = ends[first - 1] if first else 0
    saved = before = time.monotonic()
    with (
        StopSignal() as signals,
        Progress(done, ends[-1], os.path.join(folder, "events"), training.unit) as told,
    ):
        for number, scalars in enumerate(training.steps(first), first + 1):
            now, end = time.monotonic(), ends[number - 1]
            _check_finite(scalars, end, training.unit)
            speed = {f"{training.unit}s_per_second": (end - done) / (now - before)}
            told.steps(end, {**scalars, **speed})
            done, before = end, now
            stopping = signals.received
            due = now - saved >= run.save_checkpoints_secs
            if due or stopping or number == len(ends):
                step.assign(number)
                state.save(folder, variables, keep=1)
                saved = time.monotonic()
            if stopping:
                logging.info("terminated after %d of %d; saved", done, ends[-1])
                sys.exit(TERMINATED)


def _check_finite(scalars, done, unit):
    if not math.isfinite(scalars["loss"]):
        raise FloatingPointError(
            f"the loss is {scalars['loss']} after {done} {unit}s: try a smaller "
            "learning rate; the last checkpoint is kept"
        )
