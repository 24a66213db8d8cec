"""What the configs of all tasks share: task.json, by which a trained folder is used."""

import dataclasses
import json
from typing import ClassVar, TypeVar

import tensorflow as tf

import json_files
from checkpoints import Outputs
from errors import UserError

Config = TypeVar("Config", bound="TaskConfig")


class TaskConfig:
    """What a trained model must remember of its task; a base of frozen dataclasses.

    Attributes:
      task_name: tells the file from other tasks'.
      max_seq_length: pieces of the longest input.
      script: the script that trains such models.
      optional_keys: fields that a file may lack: older than the others.
    """

    task_name: str
    max_seq_length: int
    script: ClassVar[str]
    optional_keys: ClassVar[frozenset[str]] = frozenset()

    @property
    def outputs(self) -> Outputs | None:
        """What the head decides; None where its outputs are no labels."""
        return None

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
          UserError: the file is missing or no JSON object, keys are missing or
            unknown, or it is another task's.
        """
        if not tf.io.gfile.exists(path):
            raise UserError(
                f"{path} does not exist; it is written by {cls.script} --do_train"
            )
        values = json_files.read_object(path)
        names = {field.name for field in dataclasses.fields(cls)}
        missing = sorted(names - cls.optional_keys - values.keys())
        unknown = sorted(values.keys() - names)
        task_name = values.get("task_name")
        # A class of one task has its name as the default.
        if missing or unknown or task_name != getattr(cls, "task_name", task_name):
            raise UserError(
                f"{path} is not of a model that {cls.script} trained: task_name "
                f"{task_name!r}, missing keys {missing}, unknown keys {unknown}"
            )
        return cls(**{k: tuple(v) if type(v) is list else v for k, v in values.items()})
