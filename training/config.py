"""How a run trains: what the flags say, for the loop that makes the updates."""

import dataclasses
from typing import Any

from errors import UserError
from optimization.optimizers import OptimizerConfig

KEEP_OPTIMIZER = ("last", "all")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a run trains.

    Attributes:
      output_dir: where everything is written.
      num_train_steps: updates in the whole run.
      train_batch_size: examples in an update, over all replicas and micro-batches; by
        pieces, on average.
      train_batch_pieces: pieces in an update, about; None: it has a fixed number of
        examples. Either way the loss is a mean over its examples.
      eval_batch_size: examples in an evaluation batch, over all replicas; 0: by
        pieces, see batching.eval_batches.
      optimizer: see OptimizerConfig.
      gradient_accumulation_steps: micro-batches an update is computed in.
      save_checkpoints_steps: updates between checkpoints.
      eval_steps: updates between evaluations; 0 evaluates at the end only.
      keep_checkpoint_max: newest checkpoints kept; 0 keeps all.
      keep_optimizer: "last": only the two newest checkpoints keep the optimizer's
        moments, and of a complete training the last but one; "all": all keep them.
      early_stopping_patience: evaluations without a better score before the run
        ends; 0 never ends early.
      learning_rate_drops: how often the run then goes on instead, from its best
        checkpoint and at a tenth of the rate.
      mixed_precision: "off", "bfloat16" or "float16" (with dynamic loss scaling).
      jit_compile: compiles forward and backward pass with XLA as a whole; otherwise
        XLA compiles only the elementwise work between matrix products.
      seed: of initial weights, data order and dropout.
      iterations_per_loop: the most updates made in one call to the device.
      profile_steps: first and last update to profile for TensorBoard, or None.
      flags: the command's flags, one a line, kept in the folder as flags.txt.
    """

    output_dir: str
    num_train_steps: int
    train_batch_size: float = 32
    train_batch_pieces: int | None = None
    eval_batch_size: int = 8
    optimizer: OptimizerConfig = OptimizerConfig()
    gradient_accumulation_steps: int = 1
    save_checkpoints_steps: int = 1000
    eval_steps: int = 1000
    keep_checkpoint_max: int = 5
    keep_optimizer: str = "last"
    early_stopping_patience: int = 0
    learning_rate_drops: int = 0
    mixed_precision: str = "off"
    jit_compile: bool = False
    seed: int = 0
    iterations_per_loop: int = 1000
    profile_steps: tuple[int, int] | None = None
    flags: str = ""

    def settings(self) -> dict[str, Any]:
        """Returns the fields that shape the weights, as JSON values."""
        values = dataclasses.asdict(self)
        for name in (
            "output_dir",
            "eval_batch_size",
            "save_checkpoints_steps",
            "eval_steps",
            "keep_checkpoint_max",
            "keep_optimizer",
            "early_stopping_patience",
            "iterations_per_loop",
            "profile_steps",
            "flags",
        ):
            del values[name]
        # Younger than many folders.
        if not self.optimizer.unfreeze_steps:
            del values["optimizer"]["unfreeze_steps"]
        if self.train_batch_pieces is None:
            del values["train_batch_pieces"]
        return values

    def check_batch(self, replicas: int, asks_replicas: bool) -> None:
        """Checks that a batch can be divided.

        Args:
          replicas: in all.
          asks_replicas: see Task.

        Raises:
          UserError: it cannot, over replicas and micro-batches; or one of these may
            have a single row, of which there are no moments.
        """
        parts = self.gradient_accumulation_steps
        accumulation = f"--gradient_accumulation_steps={parts}"
        if self.train_batch_pieces:
            if asks_replicas and parts > 1:
                raise UserError(
                    f"--train_batch_pieces={self.train_batch_pieces} in {accumulation} "
                    "parts may leave one example to one: the model's batch "
                    "normalization needs two"
                )
            return
        size = f"--train_batch_size={self.train_batch_size}"
        if self.train_batch_size % (replicas * parts):
            raise UserError(
                f"{size} cannot be divided over {replicas} replicas x {accumulation}"
            )
        if asks_replicas and self.train_batch_size // parts < 2:
            raise UserError(
                f"{size} in {accumulation} parts is one example at a time: the model's "
                "batch normalization needs two"
            )
