"""The labels of examples, as records hold them for every system."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Feature
from data_pipeline.readers.examples import InputExample
from errors import UserError


def label_feature(output_kind: str, num_labels: int = 0) -> Feature:
    """Declares what holds an example's label, `label_ids`.

    Args:
      output_kind: "single_label", "multi_label", "regression" or "multiple_choice".
      num_labels: number of labels L, which multi-label needs.

    Returns:
      int32 [], int32 [L] or float32 [].
    """
    dtype = tf.float32 if output_kind == "regression" else tf.int32
    shape = (num_labels,) if output_kind == "multi_label" else ()
    return Feature("label_ids", dtype, shape, is_input=False)


def label_ids(
    examples: Sequence[InputExample], labels: Sequence[str], output_kind: str
) -> np.ndarray:
    """Returns labels as the loss wants them; 0 where an example has none.

    Args:
      examples: the examples.
      labels: the labels in the order of their ids; unused for regression.
      output_kind: see `label_feature`.

    Returns:
      int32 [N], int32 [N, L] of 0 and 1 (multi-label) or float32 [N].

    Raises:
      UserError: an unknown label.
    """
    if output_kind == "regression":
        return np.array([e.label or 0.0 for e in examples], np.float32)
    ids = {label: i for i, label in enumerate(labels)}
    shape = (len(examples),) + ((len(labels),) if output_kind == "multi_label" else ())
    result = np.zeros(shape, np.int32)
    for row, example in enumerate(examples):
        if example.label is None:
            continue
        names = (example.label,) if isinstance(example.label, str) else example.label
        for name in names:
            if name not in ids:
                raise UserError(
                    f"{example.guid}: unknown label {name!r}; known: {list(labels)}"
                )
            if output_kind == "multi_label":
                result[row, ids[name]] = 1
            else:
                result[row] = ids[name]
    return result
