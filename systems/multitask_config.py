"""What a model of several tasks is: of each, its labels, its metrics, its head."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import metrics
from checkpoints import Outputs
from errors import UserError
from metrics import ranking
from systems.classification_config import ClassificationConfig
from systems.task_config import TaskConfig

RANKING = "ranking"


@dataclasses.dataclass(frozen=True)
class PartConfig(ClassificationConfig):
    """What must be remembered of one of several tasks.

    Attributes:
      task_name: by which files, scores and variables go.
      output_kind: "single_label", "regression" or "ranking".
      enable_san: whether its head is a stochastic answer network.
      dropout_p: before the head.
      pairwise_size: ranking: candidates that are compared at once in training.
    """

    script: ClassVar[str] = "run_multitask.py"
    choices: ClassVar[Mapping[str, Collection[str]]] = {
        "output_kind": ("single_label", "regression", RANKING),
        "metrics": (*metrics.METRICS, *ranking.METRICS),
    }

    enable_san: bool = False
    dropout_p: float = 0.1
    pairwise_size: int = 0

    def check(self) -> None:
        """See TaskConfig."""
        TaskConfig.check(self)
        if bool(self.labels) != (self.output_kind == "single_label"):
            raise UserError(
                f"labels is {list(self.labels)}, which no {self.output_kind} has"
            )

    @property
    def num_outputs(self) -> int:
        """Width of the output layer; a candidate has one score."""
        return len(self.labels) or 1


@dataclasses.dataclass(frozen=True)
class MultitaskConfig(TaskConfig):
    """What a trained model of several tasks must remember to be used again.

    Attributes:
      max_seq_length: pieces of the longest input, [CLS] and [SEP] included.
      do_lower_case: whether the tokenizer lower-cases.
      parts: the tasks, in the order of their turns.
      task_name: tells this file from another task's.
    """

    script: ClassVar[str] = "run_multitask.py"

    max_seq_length: int
    do_lower_case: bool | None
    parts: tuple[PartConfig, ...]
    task_name: str = "multitask"

    @property
    def outputs_by_task(self) -> dict[str, Outputs]:
        """What each head decides, by the names of the tasks."""
        return {part.task_name: part.outputs for part in self.parts}

    def check(self) -> None:
        """See TaskConfig."""
        super().check()
        names = [part.task_name for part in self.parts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None or not names:
            raise UserError(
                f"parts has the task {twice} twice" if names else "parts has no task"
            )

    def training_values(self) -> dict[str, Any]:
        """See TaskConfig."""
        parts = tuple(part.training_values() for part in self.parts)
        return {**super().training_values(), "parts": parts}

    @classmethod
    def from_values(cls, values: Mapping[str, Any], source: str) -> "MultitaskConfig":
        """See TaskConfig."""
        parts = values.get("parts")
        if isinstance(parts, list):
            found = []
            for place, part in enumerate(parts):
                if not isinstance(part, dict):
                    raise UserError(f"{source}: parts has {part!r}, wanted an object")
                found.append(PartConfig.from_values(part, f"{source}: part {place}"))
            values = {**values, "parts": tuple(found)}
        elif parts is not None:
            raise UserError(f"{source}: parts is {parts!r}, wanted a list")
        return super().from_values(values, source)
