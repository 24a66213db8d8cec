"""What a classifier is: its labels, its metrics, the form of its inputs."""

import dataclasses
from typing import ClassVar

from checkpoints import Outputs
from tasks.task_config import TaskConfig


@dataclasses.dataclass(frozen=True)
class ClassificationConfig(TaskConfig):
    """What a trained classifier must remember to be used again.

    Attributes:
      task_name: as given by --task_name.
      output_kind: "single_label", "multi_label", "regression" or "multiple_choice".
      labels: the classes in the order of the outputs, or of the endings to choose from;
        empty for regression.
      metrics: names known to the metrics package.
      main_metric: the one of them by which checkpoints are compared.
      max_seq_length: pieces of the longest input, [CLS] and [SEP] included.
      do_lower_case: whether the tokenizer lower-cases.
      text_pair: whether the inputs are pairs of texts.
      symmetric: whether the order of a pair's texts means nothing.
    """

    script: ClassVar[str] = "run_classifier.py"
    optional_keys: ClassVar[frozenset[str]] = frozenset({"text_pair", "symmetric"})

    task_name: str
    output_kind: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    main_metric: str
    max_seq_length: int
    do_lower_case: bool
    text_pair: bool = False
    symmetric: bool = False

    @property
    def outputs(self) -> Outputs:
        """See TaskConfig."""
        return Outputs(self.output_kind, self.labels)

    @property
    def num_outputs(self) -> int:
        """Width of the output layer; a choice has one score an ending."""
        single = self.output_kind in ("regression", "multiple_choice")
        return 1 if single else len(self.labels)
