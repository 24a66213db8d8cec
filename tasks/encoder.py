"""What tasks over rows of text share: one encoder, filled from a checkpoint, a head."""

import os
from collections.abc import Mapping
from typing import ClassVar

import keras
import tensorflow as tf

from checkpoints import files, google_bert
from data_pipeline import batching
from optimization.groups import ParameterGroup
from optimization.optimizers import OptimizerConfig
from systems.system import System
from systems.task_config import TaskConfig
from tasks.task import Batch, Task

TASK_FILE = google_bert.TASK


def find_task_file(output_dir: str, init_checkpoint: str | None) -> str | None:
    """Finds what a model that is used without training says of its task.

    Args:
      output_dir: the run's folder, where it may have been trained.
      init_checkpoint: else, a folder or a checkpoint in one.

    Returns:
      The path of a task.json, or None.
    """
    folders = [output_dir]
    if init_checkpoint:
        folders += [init_checkpoint, os.path.dirname(init_checkpoint)]
        found = files.best_seed(init_checkpoint) or init_checkpoint
        folders += [found, os.path.dirname(found)]
    paths = (os.path.join(folder, TASK_FILE) for folder in folders)
    return next((path for path in paths if tf.io.gfile.exists(path)), None)


class EncoderTask(Task):
    """A task over rows of text, with a pre-trained encoder under its head.

    Attributes:
      config: what task.json keeps; has max_seq_length.
      system: the encoder's.
      needs: what the system must be able to do; a key of registry.ABILITIES.
      can: what the system has for it.
      head: kind of head; see System.heads.
      frozen_encoder: whether the encoder gives features only; it is for the optimizer's
        config to keep its variables as they are.
    """

    needs: ClassVar[str]
    head: ClassVar[str]

    def __init__(
        self,
        config: TaskConfig,
        system: System,
        *,
        static_shapes: bool = False,
        frozen_encoder: bool = False,
    ):
        """Chooses lengths.

        Args:
          config: what task.json keeps.
          system: the encoder's.
          static_shapes: pads every batch to `max_seq_length`, as a TPU needs.
          frozen_encoder: turns dropout off in the encoder, which is not trained.

        Raises:
          ValueError: `max_seq_length` is beyond the position table.
        """
        length = config.max_seq_length
        system = system.with_special_tokens().in_language(config.language)
        self.config, self.system = config, system
        self.can = self.system.need(self.needs)
        system.check_length(length)
        self.frozen_encoder = frozen_encoder
        self.buckets = (length,) if static_shapes else batching.default_buckets(length)

    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Fills the encoder, and the head if the initial checkpoint has one."""
        self.system.initialize(
            variables, self.head, self.config.outputs, self.config.task_name
        )

    def save_beside(self, folder: str) -> None:
        """Writes the system's files, and task.json."""
        self.system.save_beside(folder)
        path = os.path.join(folder, TASK_FILE)
        files.write_text(path, self.config.to_json_string())

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """The system's."""
        return self.system.parameter_groups(config)

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the real rows."""
        return {"loss": tf.reduce_sum(tf.cast(batch["is_real_example"], tf.float32))}
