"""Parts of a training set that are held out: one, or each in its turn.

scikit-learn draws them, and is imported on first use. Labels are spread evenly where
every example has one of several.
"""

import collections
import warnings
from collections.abc import Sequence

import numpy as np
from absl import logging

from data_pipeline.readers.examples import InputExample
from errors import UserError

Split = tuple[list[int], list[int]]  # rows to train on, rows that are held out


def hold_out(examples: Sequence[InputExample], share: float, seed: int) -> Split:
    """Draws a part of a training set.

    Args:
      examples: the set.
      share: of it that is held out; above 0 and below 1.
      seed: the same one draws the same rows.

    Returns:
      Rows to train on and rows held out, ascending. A label of one row is trained on.

    Raises:
      UserError: there are fewer rows than labels on one of the two sides.
    """
    from sklearn import model_selection

    labels = _labels(examples)
    counts = collections.Counter(labels)
    single = [i for i, label in enumerate(labels) if counts[label] == 1]
    if single and len(counts) > 1:
        names = ", ".join(repr(labels[i]) for i in single)
        logging.warning("labels of one row, which cannot be held out: %s", names)
        drawn = sorted(set(range(len(labels))) - set(single))
    else:
        single, drawn = [], list(range(len(labels)))
    splitter = model_selection.StratifiedShuffleSplit(
        1, test_size=share, random_state=seed
    )
    strata = [labels[i] for i in drawn]
    try:
        ((train, held_out),) = splitter.split(np.zeros(len(drawn)), strata)
    except ValueError as error:
        raise UserError(
            f"--holdout={share} of {len(drawn)} rows with {len(set(strata))} labels: "
            f"{error}"
        ) from None
    rows = np.asarray(drawn)
    return sorted([*rows[train].tolist(), *single]), sorted(rows[held_out].tolist())


def folds(examples: Sequence[InputExample], number: int, seed: int) -> list[Split]:
    """Draws parts of about the same size, each to be held out once.

    Args:
      examples: the set.
      number: of parts.
      seed: the same one draws the same rows.

    Returns:
      As many splits, rows ascending; every row is held out in one of them.

    Raises:
      UserError: there are fewer rows than parts.
    """
    from sklearn import model_selection

    labels = _labels(examples)
    if len(labels) < number:
        raise UserError(
            f"--cross_validation={number}: the training set has {len(labels)} rows"
        )
    counts = collections.Counter(labels)
    rare = [str(label) for label in counts if counts[label] < number]
    if rare:
        logging.warning(
            "labels of fewer rows than --cross_validation=%d, which some parts lack: "
            "%s",
            number,
            ", ".join(sorted(rare)),
        )
    kind = model_selection.StratifiedKFold
    if len(rare) == len(counts):  # nothing to spread
        kind = model_selection.KFold
    splitter = kind(number, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is said above
        found = list(splitter.split(np.zeros(len(labels)), labels))
    return [(train.tolist(), held_out.tolist()) for train, held_out in found]


def _labels(examples):
    """What is spread evenly: a label each; nothing of numbers and of several labels."""
    labels = [example.label for example in examples]
    alike = all(isinstance(label, str) for label in labels)
    return labels if alike else [""] * len(labels)
