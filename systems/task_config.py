"""What the configs of all tasks share: task.json, by which a trained folder is used."""

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any, ClassVar, TypeVar

import tensorflow as tf

import json_files
from checkpoints import Outputs
from errors import UserError

Config = TypeVar("Config", bound="TaskConfig")
_LONGEST = 1_000_000  # pieces
# Task names that are one script's alone; run_classifier.py's have many.
_SCRIPTS = {
    "squad": "run_squad.py",
    "tagging": "run_tagger.py",
    "multitask": "run_multitask.py",
}

# Types of fields -> what of JSON is one, and how it is called.
_TYPES = {
    str: (lambda x: isinstance(x, str), "a text"),
    str | None: (lambda x: x is None or isinstance(x, str), "a text or null"),
    bool: (lambda x: isinstance(x, bool), "true or false"),
    bool | None: (lambda x: x is None or isinstance(x, bool), "true, false or null"),
    int: (lambda x: type(x) is int, "a whole number"),
    float: (lambda x: type(x) in (int, float), "a number"),
    tuple[str, ...]: (
        lambda x: isinstance(x, tuple) and all(isinstance(y, str) for y in x),
        "a list of texts",
    ),
}


class TaskConfig:
    """What a trained model must remember of its task; a base of frozen dataclasses.

    Attributes:
      task_name: tells the file from other tasks'.
      max_seq_length: pieces of the longest input.
      language: of texts of which no other is told; None: not told.
      script: the script that trains such models.
      optional_keys: fields that a file may lack: older than the others.
      of_files: fields that say how files are read, and shape no weights.
      choices: fields -> the names that may stand there.
    """

    task_name: str
    max_seq_length: int
    language: str | None = None
    script: ClassVar[str]
    optional_keys: ClassVar[frozenset[str]] = frozenset()
    of_files: ClassVar[frozenset[str]] = frozenset()
    choices: ClassVar[Mapping[str, Collection[str]]] = {}

    @property
    def outputs(self) -> Outputs | None:
        """What the head decides; None where its outputs are no labels."""
        return None

    def training_values(self) -> dict[str, Any]:
        """Returns what shapes the weights: a run that goes on must have the same."""
        values = dataclasses.asdict(self)
        return {key: values[key] for key in values.keys() - self.of_files}

    def to_json_string(self) -> str:
        """Returns the fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json_file(cls: type[Config], path: str) -> Config:
        """Reads what `to_json_string` wrote.

        Args:
          path: of a task.json.

        Returns:
          The config; JSON's lists are tuples.

        Raises:
          UserError: the file is missing or no JSON object; and as `from_values`.
        """
        if not tf.io.gfile.exists(path):
            raise UserError(
                f"{path} does not exist; it is written by {cls.script} --do_train"
            )
        return cls.from_values(json_files.read_object(path), path)

    @classmethod
    def from_values(
        cls: type[Config], values: Mapping[str, Any], source: str
    ) -> Config:
        """Reads the fields as JSON has them.

        Args:
          values: field -> value.
          source: where they are from, for messages.

        Raises:
          UserError: keys are missing or unknown, it is another task's, or a value is
            impossible.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        missing = sorted(names - cls.optional_keys - values.keys())
        unknown = sorted(values.keys() - names)
        task_name = values.get("task_name")
        # A class of one task has its name as the default.
        if missing or unknown or task_name != getattr(cls, "task_name", task_name):
            script = _SCRIPTS.get(str(task_name), cls.script)
            if script != cls.script:
                raise UserError(
                    f"{source} is not of a model that {cls.script} trained, but "
                    f"{script}, which evaluates it and predicts with it; {cls.script} "
                    "--do_train goes on from there"
                )
            raise UserError(
                f"{source} is not of a model that {cls.script} trained: task_name "
                f"{task_name!r}, missing keys {missing}, unknown keys {unknown}"
            )
        values = {k: tuple(v) if type(v) is list else v for k, v in values.items()}
        try:
            _check_types(cls, values)
            config = cls(**values)
            config.check()
        except UserError as error:
            raise UserError(f"{source}: {error}") from None
        return config

    def check(self) -> None:
        """Refuses values that no training has written.

        Raises:
          UserError: names the key.
        """
        if not 0 < self.max_seq_length <= _LONGEST:
            raise UserError(
                f"max_seq_length is {self.max_seq_length}, wanted 1 to {_LONGEST}"
            )
        for key, known in self.choices.items():
            value = getattr(self, key)
            for name in value if isinstance(value, tuple) else (value,):
                if name not in known:
                    raise UserError(
                        f"{key} has {name!r}, wanted one of {', '.join(known)}"
                    )
        labels = self.outputs.labels if self.outputs else ()
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise UserError(f"labels has {twice!r} more than once")


def _check_types(cls: type, values: Mapping[str, Any]) -> None:
    """Raises UserError for a value that is not of its field's type, if JSON has it."""
    for field in dataclasses.fields(cls):
        is_one, wanted = _TYPES.get(field.type, (lambda _: True, ""))
        if field.name in values and not is_one(values[field.name]):
            raise UserError(f"{field.name} is {values[field.name]!r}, wanted {wanted}")
