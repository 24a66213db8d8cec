"""JSON from files of others: read in one way, whose errors name the file."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from errors import MissingFile, UserError

MAX_DEPTH = 64
# Hugging Face's "no limit" is 10^30, and an id of 128 bits has 39 digits.
MAX_DIGITS = 40

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_SHOWN = 40  # characters of a value that is refused


def read(path: str) -> Any:
    """Reads a file of JSON; see `parse`.

    Args:
      path: local or remote (`gs://`).

    Raises:
      MissingFile: there is no such file.
      UserError: see `parse`, or it cannot be read.
    """
    import tensorflow as tf  # here, so that local vocabularies need no TensorFlow

    try:
        with tf.io.gfile.GFile(path, "rb") as reader:
            data = reader.read()
    except tf.errors.NotFoundError:
        raise MissingFile(f"{path}: no such file") from None
    except tf.errors.OpError as error:
        raise UserError(f"{path}: cannot be read: {error.message}") from None
    return parse(data, path)


def read_object(path: str, wanted: str = "an object") -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Args:
      path: local or remote (`gs://`).
      wanted: what the object should be, for the message.

    Raises:
      UserError: see `read`, or it is no object.
    """
    return check_object(read(path), path, wanted)


def check_object(value: Any, source: str, wanted: str = "an object") -> dict[str, Any]:
    """Returns `value`, which must be an object; else raises UserError."""
    if not isinstance(value, dict):
        raise UserError(f"{source}: got a JSON {type(value).__name__}, wanted {wanted}")
    return value


def parse(text: str | bytes, source: str) -> Any:
    """Parses JSON of unknown origin; what it returns can be shown, kept and written.

    Python alone takes duplicate keys (the last one counts), NaN, numbers beyond every
    type, and fails without a cause at deep nesting.

    Args:
      text: str, or bytes in UTF-8 with or without a byte order mark.
      source: where it comes from, for messages.

    Returns:
      Python's value.

    Raises:
      UserError: not JSON, not UTF-8, a key that occurs twice in an object, NaN or an
        infinity, an integer of more than MAX_DIGITS digits, nested deeper than
        MAX_DEPTH, half of a surrogate pair; names the source.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        if _HALF_PAIR.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (json.JSONDecodeError, UnicodeError) as error:
        raise UserError(f"{source}: not JSON: {error}") from None
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None
    except RecursionError:
        raise _too_deep(source) from None
    _check_depth(value, source)
    return value


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:_SHOWN]!r} occurs more than once in an object")
    return made


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > MAX_DIGITS:
        raise ValueError(
            f"the number {digits[:_SHOWN]}... has {len(digits)} digits, wanted at most "
            f"{MAX_DIGITS}"
        )
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:_SHOWN]} is beyond 64-bit floats")
    return value


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _check_depth(value: Any, source: str) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        nodes = [node for node in level if isinstance(node, dict | list)]
        if not nodes:
            return
        level = []
        for node in nodes:
            level += node.values() if isinstance(node, dict) else node
    raise _too_deep(source)


def _too_deep(source: str) -> UserError:
    return UserError(f"{source}: nested deeper than {MAX_DEPTH} levels")
