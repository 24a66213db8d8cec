"""What simple classifiers reach on the same texts: the scores that a model has to beat.

A bag of words under a logistic regression knows no language before its labels; the
encoder's mean vectors, as they are before any training, know no labels.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

import metrics
from data_pipeline.readers.examples import InputExample
from errors import UserError
from inference.extraction import FeatureExtractor
from inference.extraction_config import ExtractionConfig
from metrics import bag_of_words
from systems.classification_config import ClassificationConfig
from systems.system import System

_MAX_ITERATIONS = 1000


def check(config: ClassificationConfig) -> None:
    """Refuses a task that is not of single texts with one label each.

    Raises:
      UserError: says what the task is of.
    """
    if config.output_kind != "single_label" or config.text_pair:
        kind = "pairs of texts" if config.text_pair else config.output_kind
        raise UserError(f"--baselines is of single texts with one label, not {kind}")


def scores(
    config: ClassificationConfig,
    system: System,
    train: Sequence[InputExample],
    dev: Sequence[InputExample],
) -> dict[str, dict[str, float]]:
    """Learns from labelled texts by simple means, and scores others.

    Args:
      config: labels, metrics, length.
      system: the encoder, as it was before the training.
      train: what to learn from.
      dev: what to score.

    Returns:
      Name of a baseline -> metric -> value; one that cannot be computed is left out,
      and the reason logged.
    """
    texts, held_out = ([e.text_a for e in examples] for examples in (train, dev))
    ids = {label: i for i, label in enumerate(config.labels)}
    labels, targets = ([ids[e.label] for e in examples] for examples in (train, dev))
    ways = {"bag_of_words": _bag_of_words, "mean_vectors": _mean_vectors}
    found = {}
    for name, predict in ways.items():
        try:
            predicted = predict(config, system, texts, labels, held_out)
        except ValueError as error:
            logging.warning("no baseline %s: %s", name, error)
            continue
        found[name] = metrics.compute(config.metrics, targets, predicted)
    return found


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Returns results as lines of text: a row each, a column for each metric."""
    names = list(next(iter(results.values())))
    rows = [["", *names]]
    rows += [[k, *(f"{found[n]:.3f}" for n in names)] for k, found in results.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _bag_of_words(config, system, texts, labels, others):
    del config, system
    return bag_of_words.predict(texts, labels, others)


def _mean_vectors(config, system, texts, labels, others):
    from sklearn.linear_model import LogisticRegression

    if system.init_checkpoint is None:
        raise UserError("there is no --init_checkpoint, whose vectors would be taken")
    pooled = ExtractionConfig("mean", max_seq_length=config.max_seq_length)
    rows = FeatureExtractor(pooled, system).extract([*texts, *others])
    vectors = np.stack([row.values for row in rows])
    regression = LogisticRegression(max_iter=_MAX_ITERATIONS)
    model = regression.fit(vectors[: len(texts)], labels)
    return model.predict(vectors[len(texts) :])
