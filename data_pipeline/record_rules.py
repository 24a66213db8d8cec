"""What must be true of records: seen of many at once, said of each that breaks it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Rule:
    """Something that is true of no record; one that breaks it is an error.

    Attributes:
      fault: says what a record that breaks it has or has not, {} being what was found.
      found: numbers, one a record, [N], or as many as it has, ragged [N, (T)].
      broken: bool, of the same shape: which of them are wrong.
    """

    fault: str
    found: tf.Tensor | tf.RaggedTensor
    broken: tf.Tensor | tf.RaggedTensor

    def is_broken(self) -> tf.Tensor:
        """Tells whether any record breaks it; bool []."""
        flat = self.broken
        return tf.reduce_any(flat.values if isinstance(flat, tf.RaggedTensor) else flat)

    def faults(self) -> dict[int, str]:
        """Says of each record that breaks it what is wrong, outside of graphs."""
        found, broken = self.found, self.broken
        if not isinstance(broken, tf.RaggedTensor):
            rows = np.flatnonzero(broken)
            values = found.numpy()[rows]
        else:
            wrong = broken.values.numpy()
            rows, first = np.unique(broken.value_rowids()[wrong], return_index=True)
            values = found.values[wrong].numpy()[first]
        pairs = zip(rows.tolist(), values.tolist(), strict=True)
        return {row: self.fault.format(value) for row, value in pairs}


# What records hold, by name, as it is stored.
Parsed = Mapping[str, tf.Tensor | tf.RaggedTensor]
# From that and the real lengths, int64 [N].
Rules = Callable[[Parsed, tf.Tensor], Sequence[Rule]]


def at_most(flag: str, sizes: tf.Tensor, limit: int) -> Rule:
    """Says that a record's size, int [N], is within what a flag allows."""
    fault = (
        f"has length {{}}, but --{flag}={limit}: give what the records were made with"
    )
    return Rule(fault, sizes, sizes > limit)


def has_next(sizes: tf.Tensor) -> Rule:
    """Says that a record of words, int [N], has one that is predicted.

    A stream of others would never fill a window.
    """
    fault = "has length {}; wanted 2 or more, a word and the one after it"
    return Rule(fault, sizes, sizes < 2)


def in_range(
    name: str, values: tf.Tensor | tf.RaggedTensor, limit: int, why: str = ""
) -> Rule:
    """Says that a feature's values, int64 [N] or ragged, are 0 or more, and below."""
    flat = values.values if isinstance(values, tf.RaggedTensor) else values
    # As a number without a sign, a negative one is larger than any limit.
    wrong = tf.bitcast(flat, tf.uint64) >= tf.constant(limit, tf.uint64)
    if isinstance(values, tf.RaggedTensor):
        wrong = values.with_values(wrong)
    return Rule(f"has {name} {{}}; wanted 0 to {limit - 1}{why}", values, wrong)


def as_many_as(other: str, name: str, parsed: Parsed) -> Rule:
    """Says that a record has as many values of one feature as of another."""
    sizes, wanted = (parsed[key].row_lengths() for key in (name, other))
    fault = f"has {{}} {name}, not one for each of its {other}"
    return Rule(fault, sizes, sizes != wanted)
