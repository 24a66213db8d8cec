"""What a training loop needs to know about the thing being learnt."""

import abc
import dataclasses
import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from data_pipeline import batching
from data_pipeline.feature_spec import Batch, FeatureSpec
from optimization.groups import ParameterGroup
from optimization.optimizers import OptimizerConfig
from reports.results import Results

__all__ = ["Batch", "Records", "Task"]

_PARSED_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class Records:
    """Examples turned into features and stored.

    Attributes:
      files: TFRecord files, read in this order.
      num_examples: how many of their records are used, from the first on; None: all,
        and nobody counted them.
    """

    files: tuple[str, ...]
    num_examples: int | None


class Task(abc.ABC):
    """Owns examples, features, head, loss and metrics; the loop knows none of them.

    Attributes:
      feature_spec: the features of a record, for parsing and batching.
      buckets: the lengths batches are padded to, ascending.
      main_metric: the key of `metrics` by which checkpoints are compared; more of it
        is better.
      shuffle_records: records shuffled at once, in memory, while training; up to so
        many are shuffled completely.
      parts: of a task of several tasks, these by name, see tasks/several.py; a
        training batch is of one of them alone.
      sparse_tables: regular expression, searched for in the names of the variables
        whose gradients are kept as the rows that a batch has read, for tables much
        larger than a batch; None: every gradient is as large as its variable.
      asks_replicas: whether the forward pass of a batch needs values of the other
        replicas', as batch normalization does; it can then not be done in pieces.
    """

    feature_spec: FeatureSpec
    buckets: tuple[int, ...]
    main_metric: str
    shuffle_records: int = 1_000_000
    parts: Mapping[str, "Task"] = types.MappingProxyType({})
    sparse_tables: str | None = None
    asks_replicas: bool = False

    @abc.abstractmethod
    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the model with all its variables; called in the strategy's scope.

        Args:
          dtype: a Keras policy: "float32", "mixed_bfloat16" or "mixed_float16".
          fused: whether elementwise work runs in small XLA clusters.
          seed: of the initial weights.
        """

    @abc.abstractmethod
    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Sets the variables of a new model from the task's initial checkpoint."""

    @abc.abstractmethod
    def save_beside(self, folder: str) -> None:
        """Writes what a checkpoint in that folder needs to be used on its own."""

    @abc.abstractmethod
    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """Says how each variable is trained."""

    def lengths(self, records: Records) -> np.ndarray:
        """Reads how long each record is, without padding: int32 [N]."""
        batches = tf.data.TFRecordDataset(list(records.files)).batch(_PARSED_AT_ONCE)
        found = [self.feature_spec.parse(batch)[1].numpy() for batch in batches]
        return np.concatenate(found)

    def train_batches(
        self,
        records: Records,
        *,
        batch_size: int | batching.ByPieces,
        seed: int,
        **kwargs,
    ) -> tf.data.Dataset:
        """Makes the endless stream of training batches.

        Args:
          records: training examples.
          batch_size: rows of a global batch; of tasks that carry no states from batch
            to batch it may be by pieces.
          seed: of the order.
          **kwargs: `start_step` and a replica's share, see batching.train_batches.
        """
        return batching.train_batches(
            list(records.files),
            self.feature_spec,
            batch_size=batch_size,
            seed=seed,
            buckets=self.buckets,
            shuffle_records=self.shuffle_records,
            **kwargs,
        )

    def eval_batches(
        self, records: Records, *, batch_size: int, **kwargs
    ) -> tf.data.Dataset:
        """Makes batches with every record once; arguments as of `train_batches`."""
        return batching.eval_batches(
            list(records.files),
            self.feature_spec,
            batch_size=batch_size,
            buckets=self.buckets,
            num_records=records.num_examples,
            **kwargs,
        )

    def carried_states(
        self, model: keras.layers.Layer, rows: int
    ) -> dict[str, tf.Tensor]:
        """What a row of a training batch passes on to the same row of the next.

        Args:
          model: what `build_model` made.
          rows: of a global batch.

        Returns:
          name -> [rows, ...], as it is before the first batch. `loss_sums` finds its
          rows in the batch, and returns under the same names what they become.
        """
        del model, rows
        return {}

    @abc.abstractmethod
    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts what each term of the loss is averaged over.

        Args:
          batch: the features of some rows.

        Returns:
          term -> float32 []. The loop adds these up over replicas and
          micro-batches, so they must not depend on the model.
        """

    @abc.abstractmethod
    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Sums each term of the loss over the real elements of a batch.

        Args:
          model: what `build_model` made.
          batch: the features of some rows.
          dropout_seed: int32 [2]; None turns dropout off.

        Returns:
          term -> float32 [].
        """

    def total_loss(
        self, sums: Mapping[str, tf.Tensor], denominators: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Puts the loss together: the sum over terms of sum / denominator.

        Args:
          sums: what `loss_sums` returned for a part of the batch.
          denominators: those of the whole batch, over all replicas and micro-batches.

        Returns:
          float32 [], the part's share of the loss.
        """
        return tf.add_n([sums[term] / denominators[term] for term in sums])

    def loss_factor(self, step: tf.Tensor) -> tf.Tensor | float:
        """Returns by what the loss is multiplied at an update.

        Args:
          step: int32 [], updates made before.
        """
        del step
        return 1.0

    @abc.abstractmethod
    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Computes what evaluation and prediction need of each row.

        Returns:
          name -> tensor [B, ...], equal trailing shape in every batch.
        """

    @abc.abstractmethod
    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores predictions.

        Args:
          predictions: `predict`'s outputs for every example, in order, and the
            labels under the names of their features.

        Returns:
          name -> value, with the names that `eval_results.txt` shows.
        """

    def restored(self, checkpoint: str | None) -> None:
        """Is told of what weights the model now is, before it predicts.

        Args:
          checkpoint: the prefix of its checkpoint; None: the task's initial one.
        """
        del checkpoint

    def results(self, predictions: Mapping[str, np.ndarray], examples: Any) -> Results:
        """Puts predictions beside the examples that they are of, for a report.

        Args:
          predictions: as of `metrics`; their labels need not be the right ones.
          examples: of one set, as the task's `records` takes them.
        """
        raise NotImplementedError("nothing is told of each of its examples")

    @abc.abstractmethod
    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Names training examples, by their index, for an error message."""
