"""Several trained classifiers as one: the mean of what they say, whatever they are."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

import checkpoints
from data_pipeline.readers.examples import InputExample
from errors import UserError
from systems.classification_config import ClassificationConfig
from systems.system import make_system
from tasks.classification import ClassificationTask
from tasks.encoder import find_task_file
from training import state
from training.config import TrainingConfig
from training.trainer import Trainer

_SMALLEST = 1e-30  # of a probability, for its logarithm


@dataclasses.dataclass(frozen=True)
class Member:
    """A classifier of an ensemble.

    Attributes:
      folder: of its training.
      task: as it was trained.
    """

    folder: str
    task: ClassificationTask


def open_members(folders: Sequence[str], static_shapes: bool = False) -> list[Member]:
    """Opens the folders of trainings.

    Args:
      folders: of run_classifier.py, of any systems.
      static_shapes: see EncoderTask.

    Raises:
      UserError: a folder holds no trained classifier, or not one of the same kind and
        the same labels as the first; names both.
    """
    members: list[Member] = []
    for folder in folders:
        path, newest = find_task_file(folder, None), state.latest(folder)
        if path is None or newest is None:
            raise UserError(f"--ensemble: {folder} holds no trained classifier")
        config = ClassificationConfig.from_json_file(path)
        source = checkpoints.open_checkpoint(newest)
        system = make_system(
            source.config,
            source.vocab_file,
            config.do_lower_case,
            newest,
            None,
            new_head=False,
        )
        members.append(
            Member(
                folder, ClassificationTask(config, system, static_shapes=static_shapes)
            )
        )
        _check_alike(members[0], members[-1])
    return members


def _check_alike(first, other):
    for name in ("output_kind", "labels"):
        wanted, found = (getattr(m.task.config, name) for m in (first, other))
        if sorted(wanted) != sorted(found):
            raise UserError(
                f"--ensemble: {first.folder} was trained for {name} {wanted!r}, but "
                f"{other.folder} for {found!r}"
            )


class Ensemble:
    """Predicts with all members, one after the other.

    Args:
      members: see `open_members`.
      strategy: where to compute.
      config: how; its output_dir is where records are kept.
      use_checkpoint: "last" or "best" of each folder.
    """

    def __init__(
        self,
        members: Sequence[Member],
        strategy: tf.distribute.Strategy,
        config: TrainingConfig,
        use_checkpoint: str = "last",
    ):
        self._members, self._output_dir = members, config.output_dir
        self._trainers = [Trainer(m.task, strategy, config) for m in members]
        for member, trainer in zip(members, self._trainers, strict=True):
            folder = member.folder
            if use_checkpoint == "best":
                folder = os.path.join(folder, state.BEST)
            prefix = trainer.restore_newest(folder)
            if prefix is None:
                raise UserError(f"--ensemble: {folder} holds no trained checkpoint")
            member.task.restored(prefix)

    def predict(
        self, split: str, examples: Sequence[InputExample], batch_size: int
    ) -> dict[str, np.ndarray]:
        """Returns the mean of the members' outputs for every example.

        Args:
          split: see ClassificationTask.records.
          examples: of the task.
          batch_size: see Trainer.predict.

        Returns:
          As Trainer.predict, with the labels of the first member.
        """
        found = []
        for member, trainer in zip(self._members, self._trainers, strict=True):
            records = member.task.records(split, examples, self._output_dir)
            predictions = trainer.predict(records, batch_size)
            found.append(member.task.calibrated(predictions))
        outputs = [
            self._aligned(m, f) for m, f in zip(self._members, found, strict=True)
        ]
        mean = np.mean(outputs, axis=0)
        config, labels = self._members[0].task.config, found[0]["label_ids"]
        losses = _losses(config.output_kind, mean, labels)
        return found[0] | {"probabilities": mean, "loss": losses}

    def _aligned(self, member, predictions):
        """Puts the outputs in the order of the first member's labels."""
        outputs, wanted = (
            predictions["probabilities"],
            self._members[0].task.config.labels,
        )
        labels = member.task.config.labels
        if labels == wanted or outputs.shape[1] != len(labels):
            return outputs
        return outputs[:, [labels.index(label) for label in wanted]]

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores predictions as the first member's task does."""
        return self._members[0].task.metrics(predictions)


def _losses(kind, outputs, labels):
    """As ClassificationTask's, of probabilities instead of scores; float [N]."""
    if kind == "regression":
        return np.square(outputs[:, 0] - labels)
    if kind == "multi_label":
        right = np.where(labels, outputs, 1 - outputs)
        return -np.log(np.maximum(right, _SMALLEST)).mean(axis=1)
    right = np.take_along_axis(outputs, labels[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(right, _SMALLEST))
