"""What a classifier is: its labels, its metrics, the form of its inputs."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import ClassVar

import metrics
from checkpoints import Outputs
from errors import UserError
from systems.task_config import TaskConfig


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
      do_lower_case: whether the tokenizer lower-cases; None where there is none.
      text_pair: whether the inputs are pairs of texts; None: not known, of models that
        were trained elsewhere.
      symmetric: whether the order of a pair's texts means nothing.
      language: see TaskConfig.
      layer_mix: whether a mixture of all layers is classified, see MixesLayers.
      text_a_column: of the files that were trained on, where they were one's own; so
        are the other columns.
      text_b_column: of a pair's second text.
      label_column: of the label.
      language_column: of what the texts are in.
    """

    script: ClassVar[str] = "run_classifier.py"
    of_files: ClassVar[frozenset[str]] = frozenset(
        {"text_a_column", "text_b_column", "label_column", "language_column"}
    )
    optional_keys: ClassVar[frozenset[str]] = of_files | {
        "text_pair",
        "symmetric",
        "language",
        "layer_mix",
    }
    choices: ClassVar[Mapping[str, Collection[str]]] = {
        "output_kind": ("single_label", "multi_label", "regression", "multiple_choice"),
        "metrics": tuple(metrics.METRICS),
    }

    task_name: str
    output_kind: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    main_metric: str
    max_seq_length: int
    do_lower_case: bool | None
    text_pair: bool | None = False
    symmetric: bool = False
    language: str | None = None
    layer_mix: bool = False
    text_a_column: str | None = None
    text_b_column: str | None = None
    label_column: str | None = None
    language_column: str | None = None

    @property
    def outputs(self) -> Outputs:
        """See TaskConfig."""
        return Outputs(self.output_kind, self.labels)

    def check(self) -> None:
        """See TaskConfig."""
        super().check()
        if bool(self.labels) == (self.output_kind == "regression"):
            raise UserError(
                f"labels is {list(self.labels)}, which no {self.output_kind} has"
            )

    @property
    def num_outputs(self) -> int:
        """Width of the output layer; a choice has one score an ending."""
        single = self.output_kind in ("regression", "multiple_choice")
        return 1 if single else len(self.labels)
