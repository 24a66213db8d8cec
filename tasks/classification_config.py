"""What a classifier is: its labels, its metrics, the form of its inputs."""

import dataclasses
import json

import tensorflow as tf

from checkpoints import files


@dataclasses.dataclass(frozen=True)
class ClassificationConfig:
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
    def num_outputs(self) -> int:
        """Width of the output layer; a choice has one score an ending."""
        single = self.output_kind in ("regression", "multiple_choice")
        return 1 if single else len(self.labels)

    def to_json_string(self) -> str:
        """Returns the fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json_file(cls, path: str) -> "ClassificationConfig":
        """Reads what `to_json_string` wrote.

        Raises:
          ValueError: the file is missing or no JSON object, or keys are missing or
            unknown.
        """
        if not tf.io.gfile.exists(path):
            raise ValueError(
                f"{path} does not exist; it is written by run_classifier.py --do_train"
            )
        values = files.read_json(path)
        fields = dataclasses.fields(cls)
        required = {f.name for f in fields if f.default is dataclasses.MISSING}
        wrong = (required - values.keys()) | (values.keys() - {f.name for f in fields})
        if wrong:
            raise ValueError(f"{path}: keys {sorted(wrong)} are missing or unknown")
        lists = {key: tuple(values[key]) for key in ("labels", "metrics")}
        return cls(**(values | lists))
