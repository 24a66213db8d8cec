"""What the configs of all models share: strict reading of their JSON."""

import dataclasses
import json
import math
import operator
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import json_files
from errors import UserError

Config = TypeVar("Config", bound="ModelConfig")


def check_keys(
    values: Mapping[str, Any],
    required: Collection[str],
    optional: Collection[str],
    source: str,
) -> None:
    """Refuses unknown and missing keys.

    Args:
      values: what was read.
      required: keys that must be there.
      optional: keys that may be there.
      source: where the keys come from, for error messages.

    Raises:
      UserError: names `source` and the keys.
    """
    unknown = sorted(set(values) - set(required) - set(optional))
    if unknown:
        raise UserError(f"{source}: unknown key(s) {', '.join(unknown)}")
    missing = sorted(set(required) - set(values))
    if missing:
        raise UserError(f"{source}: missing key(s) {', '.join(missing)}")


def check_value(key: str, value: Any, wanted: str) -> None:
    """Refuses a value of the wrong kind.

    Args:
      key: the config's key.
      value: what it is.
      wanted: a key of the table below, for messages as it stands there.

    Raises:
      UserError: names the key.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and _KINDS[wanted](value)):
        raise UserError(f"{key} is {value!r}, wanted {wanted}")


def check_tables(config: Any, *tables: Sequence[str]) -> None:
    """Refuses sizes for which there is no memory, before any of it is asked for.

    Args:
      config: has the keys, `a.b` in its section a.
      *tables: of each the keys whose values, multiplied, are its size.

    Raises:
      UserError: names the keys and their values.
    """
    for keys in tables:
        sizes = [operator.attrgetter(key)(config) for key in keys]
        if math.prod(sizes) > MOST_VALUES:
            raise UserError(
                f"{' x '.join(keys)} is {' x '.join(map(str, sizes))}, wanted at most "
                f"{MOST_VALUES:,}, the values of the largest table that can be"
            )


def check_layers(config: Any, *keys: str) -> None:
    """Refuses more layers than any model has; `keys` are the config's counts."""
    for key in keys:
        value = getattr(config, key)
        if value > MOST_LAYERS:
            raise UserError(f"{key} is {value}, wanted at most {MOST_LAYERS}")


MOST_VALUES = 2**31  # 8 GiB; XLM-R's table of words, a large one, has 2**28
MOST_LAYERS = 1000
SHARE = "a number in [0, 1)"
POSITIVE = "a positive number"
NOT_NEGATIVE = "a number, 0 or more"
COUNT = "a positive whole number"
COUNT_OR_NONE = "a whole number, 0 or more"

_KINDS = {
    SHARE: lambda x: 0 <= x < 1,
    POSITIVE: lambda x: 0 < x < 3.4e38,  # float32
    NOT_NEGATIVE: lambda x: 0 <= x < 3.4e38,
    COUNT: lambda x: isinstance(x, int) and x > 0,
    COUNT_OR_NONE: lambda x: isinstance(x, int) and x >= 0,
}


class ModelConfig:
    """How all configs are read from their files; a base of frozen dataclasses.

    Attributes:
      owner: whose keys a file should have, for error messages.
    """

    owner: ClassVar[str]

    @classmethod
    def from_json_file(cls: type[Config], json_file: str) -> Config:
        """Reads what `to_json_string` wrote.

        Args:
          json_file: local or remote (`gs://`) path.

        Returns:
          The config.

        Raises:
          UserError: not a JSON object, or see `from_dict`; names the file.
        """
        source = str(json_file)
        wanted = f"an object with {cls.owner} config keys"
        return cls.from_dict(json_files.read_object(source, wanted), source)

    @classmethod
    def _make(cls: type[Config], values: Mapping[str, Any], source: str) -> Config:
        """Makes a config whose errors name `source` as well."""
        try:
            return cls(**values)
        except ValueError as error:
            raise UserError(f"{source}: {error}") from None


class FieldsConfig(ModelConfig):
    """A config whose keys are its fields; those that have a default may be left out."""

    @classmethod
    def from_dict(
        cls: type[Config], json_object: Mapping[str, Any], source: str | None = None
    ) -> Config:
        """Builds a config from its keys.

        Args:
          json_object: the keys.
          source: where they come from, for error messages.

        Raises:
          UserError: an unknown or missing key or an impossible value; names `source`
            and the key.
        """
        source = source or f"{cls.__name__}.from_dict"
        names = {field.name for field in dataclasses.fields(cls)}
        optional = _with_default(cls)
        check_keys(json_object, names - optional, optional, source)
        return cls._make(dict(json_object), source)

    def to_dict(self) -> dict[str, Any]:
        """Returns all keys."""
        return dataclasses.asdict(self)


def _with_default(config_class):
    return {
        field.name
        for field in dataclasses.fields(config_class)
        if field.default is not dataclasses.MISSING
    }


class OwnConfig(ModelConfig):
    """A config whose file is this project's own: its fields, and whose it is.

    Attributes:
      model_type: the system's name, which stands in the file.
      optional_keys: those that a file may lack; None: all that have a default.
    """

    model_type: ClassVar[str]
    optional_keys: ClassVar[frozenset[str] | None] = None

    @classmethod
    def from_dict(
        cls: type[Config], json_object: Mapping[str, Any], source: str | None = None
    ) -> Config:
        """Builds a config from its keys and `model_type`.

        Args:
          json_object: the keys.
          source: where they come from, for error messages.

        Raises:
          UserError: an unknown or missing key, an impossible value, or another system's
            `model_type`; names `source` and the key.
        """
        source = source or f"{cls.__name__}.from_dict"
        names = {field.name for field in dataclasses.fields(cls)}
        optional = cls.optional_keys
        if optional is None:
            optional = _with_default(cls)
        required = {"model_type"} | names - optional
        check_keys(json_object, required, optional, source)
        values = dict(json_object)
        found = values.pop("model_type")
        if found != cls.model_type:
            raise UserError(
                f"{source}: model_type is {found!r}, wanted {cls.model_type!r}"
            )
        return cls._make(values, source)

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys of the file."""
        return {"model_type": self.model_type, **dataclasses.asdict(self)}

    def to_json_string(self) -> str:
        """Returns `to_dict` as the text of a file."""
        return json.dumps(self.to_dict(), indent=2) + "\n"
