"""Several tasks learnt together by one model, every batch being of one of them."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from data_pipeline import turns
from tasks.task import Batch, Records, Task


class SeveralTasks(Task):
    """Tasks whose batches take turns; their features, lengths and losses may differ.

    An epoch is every task's batches once, in an order that is drawn anew (Liu et al.
    2019, algorithm 1). Whose turn it is, is a pure function of (seed, step), and each
    task's own batches are those that it would have alone: so a run goes on exactly
    where it ended.

    A part's `loss_sums` and `predict` are given the whole model. What makes the model,
    fills it and says how it is trained is up to the class that inherits this one.

    Attributes:
      parts: name -> task.
    """

    main_metric = "eval_mean"

    def __init__(self, parts: Mapping[str, Task]):
        """Keeps the tasks, in this order."""
        self.parts = dict(parts)

    def batches(self, records: Mapping[str, Records], batch_size: int) -> list[int]:
        """Says how many batches of each task are learnt in an epoch.

        Args:
          records: name -> training examples, counted.
          batch_size: rows of a batch.

        Returns:
          As many numbers as there are tasks, in their order.
        """
        return [-(-records[name].num_examples // batch_size) for name in self.parts]

    def extra_batches(self, batches: Sequence[int]) -> int | None:
        """Says how many of an epoch's batches are not of the first task; None: all."""
        del batches

    def turns(
        self, records: Mapping[str, Records], *, batch_size: int, seed: int, step: int
    ) -> tuple[tf.data.Dataset, dict[str, int]]:
        """Says which task has which turn, from a step on.

        Args:
          records: name -> training examples, counted.
          batch_size: rows of a batch.
          seed: of the order.
          step: updates made before.

        Returns:
          The place in `parts` of each batch, int32 [], without end; and name -> how
          many batches each task has had before `step`.
        """
        batches = self.batches(records, batch_size)
        order, past = turns.by_epoch(batches, seed, step, self.extra_batches(batches))
        return order, dict(zip(self.parts, past, strict=True))

    def scores(self, scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Puts the tasks' scores together.

        Args:
          scores: name of a part -> what its `metrics` returned.

        Returns:
          `<name>/<score>` -> value, and `eval_mean`, the mean of the main scores.
        """
        found = {
            f"{name}/{key}": value
            for name, values in scores.items()
            for key, value in values.items()
        }
        main = [scores[name][self.parts[name].main_metric] for name in scores]
        return {**found, self.main_metric: float(np.mean(main))}

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Is asked of the parts."""
        raise NotImplementedError("a batch is of one of the parts")

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Is asked of the parts."""
        raise NotImplementedError("a batch is of one of the parts")

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Is asked of the parts."""
        raise NotImplementedError("a batch is of one of the parts")

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores the predictions of parts, which are by their names; see `scores`."""
        parts = {name: self.parts[name] for name in self.parts if name in predictions}
        return self.scores(
            {name: part.metrics(predictions[name]) for name, part in parts.items()}
        )
