"""One declaration of a task's features, for every place that needs their shapes.

The same `FeatureSpec` drives the TFRecord writer (`to_example`), the vectorised
parser (`parse`), the padded batch (`to_batch`) and the SavedModel signature
(`signature`). Records hold real lengths; padding is decided when batching.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from data_pipeline.record_rules import Parsed, Rules
from errors import UserError

REAL = "is_real_example"
INDEX = "example_index"

Batch = Mapping[str, tf.Tensor]  # the features of some examples


@dataclasses.dataclass(frozen=True)
class Feature:
    """One named feature of an example.

    Attributes:
      name: its name in the TFRecord and in the batch.
      dtype: its type in a batch: tf.int32, tf.float32 or tf.string. Integers are
        stored as int64, the only integer type of tf.train.Example.
      shape: shape for one example; None as the first dimension means that the
        real length varies from example to example.
      pad_to: pad a varying dimension to this fixed length; None pads it to the
        bucket chosen for the whole batch.
      is_input: whether the model reads it when serving (labels are not inputs).
      default: value where a record lacks the feature; None makes it required.
        For scalars only.
    """

    name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] = ()
    pad_to: int | None = None
    is_input: bool = True
    default: int | float | None = None

    def __post_init__(self):
        """Rejects a declaration that no batch could follow."""
        if self.dtype not in (tf.int32, tf.float32, tf.string):
            raise UserError(
                f"Feature {self.name}: dtype must be int32, float32 or string, "
                f"got {self.dtype}"
            )
        if None in self.shape[1:]:
            raise UserError(
                f"Feature {self.name}: only the first dimension may vary, "
                f"got shape {self.shape}"
            )
        if self.pad_to is not None and not self.varies:
            raise UserError(f"Feature {self.name}: pad_to needs a varying shape")
        if self.default is not None and self.shape:
            raise UserError(f"Feature {self.name}: only a scalar may have a default")

    @property
    def varies(self) -> bool:
        """Whether the first dimension differs from example to example."""
        return bool(self.shape) and self.shape[0] is None

    @property
    def stored_dtype(self) -> tf.DType:
        """The type in the TFRecord."""
        return tf.int64 if self.dtype == tf.int32 else self.dtype


class FeatureSpec:
    """The features of a task; one of them tells each example's length.

    Beside the declared features every batch has `mask_feature` (int32 [B, S], 1 at
    real positions, computed from real lengths), `example_index` and
    `is_real_example` (int32 [B]).
    """

    def __init__(
        self,
        features: tuple[Feature, ...] | list[Feature],
        length_feature: str = "input_ids",
        mask_feature: str = "input_mask",
        *,
        rules: Rules = lambda parsed, lengths: [],
        source: str = "this task",
    ):
        """Declares the features.

        Args:
          features: all that a record holds; `example_index` and `is_real_example`
            are added and must not be given.
          length_feature: name of the varying feature whose length is the
            example's; it chooses the bucket.
          mask_feature: name of the mask made when batching. Where a record holds
            a feature of this name (the parent's padded TFRecords do), its sum is
            the real length.
          rules: what is checked of every record besides.
          source: what makes such records, for messages.

        Raises:
          UserError: a name is declared twice or reserved, or `length_feature` is
            not a varying feature padded to the bucket.
        """
        self.features = tuple(features)
        self.length_feature = length_feature
        self.mask_feature = mask_feature
        self.source = source
        self._rules = rules
        names = [f.name for f in self.features]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"Feature {name} is declared twice")
            if name in (REAL, INDEX, mask_feature):
                raise UserError(f"Feature name {name} is reserved for batching")
        by_name = {f.name: f for f in self.features}
        length = by_name.get(length_feature)
        if length is None or not length.varies or length.pad_to is not None:
            raise UserError(
                f"length_feature {length_feature!r} must be one of the features "
                f"that vary with the bucket; got {names}"
            )

    def describe(self) -> list[list]:
        """The declaration as plain JSON values, for a cache's key."""
        return [
            [f.name, f.dtype.name, list(f.shape), f.pad_to, f.default]
            for f in self.features
        ]

    def to_example(
        self, values: Mapping[str, object], example_index: int | None = None
    ) -> bytes:
        """Serialises one example.

        Args:
          values: name -> array or scalar of the declared shape, at its real
            length; features with a default may be left out.
          example_index: the example's position in its data set.

        Returns:
          A serialised tf.train.Example.

        Raises:
          UserError: a feature is missing, undeclared or of the wrong shape.
        """
        unknown = sorted(set(values) - {f.name for f in self.features})
        if unknown:
            raise UserError(f"Features {unknown} are not declared in the spec")
        stored = {}
        for feature in self.features:
            if feature.name in values:
                stored[feature.name] = _to_proto(feature, values[feature.name])
            elif feature.default is None:
                raise UserError(f"Feature {feature.name} is missing")
        if example_index is not None:
            stored[INDEX] = _int64_list([example_index])
        example = tf.train.Example(features=tf.train.Features(feature=stored))
        # In one order: bytes must not tell which process wrote them.
        return example.SerializeToString(deterministic=True)

    def parse(
        self, serialized: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor | tf.RaggedTensor], tf.Tensor]:
        """Parses many records at once.

        Args:
          serialized: string [N], serialised tf.train.Example.

        Returns:
          (columns, lengths): columns maps each feature to a dense tensor [N, ...]
          or, if it varies, a ragged one [N, (T), ...]; `example_index` is -1 where
          the record has none. lengths: int32 [N], the real lengths.
        """
        parsed, lengths, checks = self._parsed(serialized)
        columns = {f.name: _to_column(f, parsed[f.name]) for f in self.features}
        for name in (INDEX, REAL):
            columns[name] = tf.cast(parsed[name], tf.int32)
        rules = self._rules(parsed, lengths)
        if rules:
            broken = tf.reduce_any([rule.is_broken() for rule in rules])
            fault = "a record " + ", or ".join(rule.fault for rule in rules)
            checks += [assertion(~broken, fault)]
        with tf.control_dependencies(checks):
            return columns, tf.cast(lengths, tf.int32)

    def faults(self, serialized: tf.Tensor) -> dict[int, str]:
        """Says of the records that break a rule what is wrong, outside of graphs.

        Args:
          serialized: string [N], serialised tf.train.Example.

        Returns:
          The record's place -> what it has or has not.

        Raises:
          tf.errors.InvalidArgumentError: one is no example of these features.
        """
        parsed, lengths, _ = self._parsed(serialized)
        found = {}
        for rule in reversed(self._rules(parsed, lengths)):
            found |= rule.faults()
        return found

    def _parsed(
        self, serialized: tf.Tensor
    ) -> tuple[Parsed, tf.Tensor, list[tf.Operation]]:
        """What records hold, their real lengths (int64 [N]), and an assertion."""
        parsed = tf.io.parse_example(serialized, self._parsers())
        mask = parsed[self.mask_feature]
        (length,) = (f for f in self.features if f.name == self.length_feature)
        stored = parsed[length.name].row_lengths() // math.prod(length.shape[1:])
        # A ragged sum, of which TensorFlow makes ten times as many operations.
        ones = tf.gather(tf.pad(tf.cumsum(mask.values), [[1, 0]]), mask.row_splits)
        masked = ones[1:] - ones[:-1]
        lengths = tf.where(mask.row_lengths() > 0, masked, stored)
        whole = (tf.minimum(lengths, stored) > 0) | (parsed[REAL] == 0)
        fault = f"a record has no {self.length_feature}, or an empty one"
        return parsed, lengths, [assertion(tf.reduce_all(whole), fault)]

    def _parsers(self) -> dict[str, object]:
        """The parsing rules of tf.io.parse_example."""
        ragged = {
            f.name: tf.io.RaggedFeature(f.stored_dtype, row_splits_dtype=tf.int64)
            for f in self.features
            if f.varies
        }
        dense = {
            f.name: tf.io.FixedLenFeature(f.shape, f.stored_dtype, f.default)
            for f in self.features
            if not f.varies
        }
        mask = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
        return {
            **ragged,
            **dense,
            self.mask_feature: mask,
            INDEX: tf.io.FixedLenFeature([], tf.int64, -1),
            REAL: tf.io.FixedLenFeature([], tf.int64, 1),
        }

    def to_batch(
        self,
        columns: Mapping[str, tf.Tensor | tf.RaggedTensor],
        lengths: tf.Tensor,
        rows: int | tf.Tensor,
        length: int | tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Pads parsed columns into one rectangular batch.

        Args:
          columns: as `parse` returns them, `rows` rows.
          lengths: int32 [rows].
          rows: number of rows B; an int gives a static shape.
          length: S to pad the sequence features to; an int gives a static shape.

        Returns:
          name -> dense tensor: [B, S, ...], [B, pad_to, ...] or [B, ...].
        """
        batch = {name: columns[name] for name in (INDEX, REAL)}
        static = [x if isinstance(x, int) else None for x in (rows, length)]
        for feature in self.features:
            column = columns[feature.name]
            if feature.varies:
                column = _pad(feature, column, rows, feature.pad_to or length)
            batch[feature.name] = column
        batch[self.mask_feature] = tf.sequence_mask(lengths, length, dtype=tf.int32)
        for name, spec in self.batch_signature(*static).items():
            batch[name] = tf.ensure_shape(batch[name], spec.shape)
        return batch

    def batch_signature(
        self, batch_size: int | None = None, length: int | None = None
    ) -> dict[str, tf.TensorSpec]:
        """Type and shape of everything in a batch.

        Args:
          batch_size: B, or None where it is not fixed.
          length: S, or None where it is chosen batch by batch.
        """
        shapes = {f.name: (f.dtype, self._shape(f, length)) for f in self.features}
        shapes[self.mask_feature] = (tf.int32, (length,))
        shapes[INDEX] = shapes[REAL] = (tf.int32, ())
        return {
            name: tf.TensorSpec((batch_size, *shape), dtype, name)
            for name, (dtype, shape) in shapes.items()
        }

    def signature(
        self, batch_size: int | None = None, length: int | None = None
    ) -> dict[str, tf.TensorSpec]:
        """Type and shape of what the model reads when serving, mask included."""
        inputs = {f.name for f in self.features if f.is_input} | {self.mask_feature}
        every = self.batch_signature(batch_size, length)
        return {name: spec for name, spec in every.items() if name in inputs}

    @staticmethod
    def _shape(feature: Feature, length: int | None) -> tuple[int | None, ...]:
        """Shape of one row of a padded batch."""
        if not feature.varies:
            return feature.shape
        return (feature.pad_to or length, *feature.shape[1:])


def _to_proto(feature: Feature, value: object) -> tf.train.Feature:
    """Checks one value against its declaration and wraps it."""
    if feature.dtype == tf.string:
        flat = np.asarray(value, dtype=object)
    else:
        flat = np.asarray(value)
        if feature.dtype == tf.int32 and flat.size and flat.dtype.kind not in "iub":
            raise UserError(
                f"Feature {feature.name}: wanted integers, got {flat.dtype}"
            )
    matches = flat.ndim == len(feature.shape) and all(
        want in (None, got) for want, got in zip(feature.shape, flat.shape, strict=True)
    )
    if not matches:
        raise UserError(
            f"Feature {feature.name}: wanted shape {feature.shape}, got {flat.shape}"
        )
    items = flat.ravel().tolist()
    if feature.dtype == tf.int32:
        return _int64_list(items)
    if feature.dtype == tf.float32:
        return tf.train.Feature(float_list=tf.train.FloatList(value=items))
    encoded = [item.encode() if isinstance(item, str) else item for item in items]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=encoded))


def _int64_list(items: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=items))


def _to_column(
    feature: Feature, parsed: tf.Tensor | tf.RaggedTensor
) -> tf.Tensor | tf.RaggedTensor:
    """Casts a parsed feature to its batch type and gives it its inner shape."""
    column = tf.cast(parsed, feature.dtype)
    if not feature.varies or len(feature.shape) == 1:
        return column
    inner = feature.shape[1:]
    return tf.RaggedTensor.from_row_splits(
        tf.reshape(column.values, [-1, *inner]),
        column.row_splits // int(np.prod(inner)),
    )


def _pad(
    feature: Feature,
    column: tf.RaggedTensor,
    rows: int | tf.Tensor,
    length: int | tf.Tensor,
) -> tf.Tensor:
    """Pads [B, (T), ...] with zeros (empty strings) to [B, length, ...].

    Rows padded by their writer, as the parent's are, may be longer than `length`:
    what is cut off then lies beyond the masked length. A feature padded to a fixed
    length has no mask, so there a longer row is an error.
    """
    checks = []
    if feature.pad_to is not None:
        longest = column.bounding_shape(axis=1)
        fault = f"a record has more {feature.name} than {feature.pad_to}:"
        checks = [assertion(longest <= feature.pad_to, fault, longest)]
    with tf.control_dependencies(checks):
        shape = tf.stack([rows, length, *feature.shape[1:]])
        return column.to_tensor(shape=shape)


def assertion(holds: tf.Tensor, *shown: str | tf.Tensor) -> tf.Operation | None:
    """One operation that fails where something does not hold.

    tf.debugging's make thirty, which takes long where pipelines are made often.

    Args:
      holds: bool [].
      *shown: what the error tells.

    Returns:
      The operation; outside of graphs None, once it has run.

    Raises:
      tf.errors.InvalidArgumentError: it does not hold.
    """
    return tf.raw_ops.Assert(condition=holds, data=shown)
