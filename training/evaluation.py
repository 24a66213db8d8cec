"""Runs a model over all examples of a data set, on every replica."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from data_pipeline import record_faults
from modeling.layers import graphs
from tasks.task import Records, Task
from training.strategy import num_workers


class Evaluator:
    """Predicts with one model, over and over; build it inside the strategy's scope."""

    def __init__(self, task: Task, model: keras.layers.Layer):
        """Keeps the task and the model.

        Args:
          task: gives `predict`.
          model: what `task.build_model` made.
        """
        self._task, self._model = task, model
        self._strategy = tf.distribute.get_strategy()
        self._predict_batch = graphs.step(
            self._predict_batch_eager, reduce_retracing=True
        )

    def predict(self, records: Records, batch_size: int) -> dict[str, np.ndarray]:
        """Computes the task's predictions for every example.

        Args:
          records: the examples, counted.
          batch_size: examples in a batch, over all replicas; rounded up to a
            multiple of the replicas. 0: by pieces, see batching.eval_batches.

        Returns:
          name -> array [num_examples, ...] in the order of the records: the task's
          predictions, and the scalar features (labels) under their own names.
        """
        replicas = self._strategy.num_replicas_in_sync
        batch_size += -batch_size % replicas
        rows: list[Mapping[str, np.ndarray]] = []
        batches = distribute(
            self._strategy,
            lambda **shard: self._task.eval_batches(
                records, batch_size=batch_size, **shard
            ),
        )
        graphs.trace(self._predict_batch, batches.element_spec)
        with record_faults.named([(records.files, self._task.feature_spec)]):
            for batch in batches:
                found = self._predict_batch(batch)
                rows.append({name: value.numpy() for name, value in found.items()})
        outputs = {
            name: np.concatenate([row[name] for row in rows]) for name in rows[0]
        }
        real = outputs.pop("is_real_example") == 1
        order = np.argsort(outputs["example_index"][real], kind="stable")
        outputs = {name: values[real][order] for name, values in outputs.items()}
        found = len(order)
        if found != records.num_examples:
            raise RuntimeError(
                f"{found} of {records.num_examples} examples came back from "
                f"{', '.join(records.files)}"
            )
        return outputs

    def _predict_batch_eager(self, batch):
        outputs = self._strategy.run(self._predict_replica, args=(batch,))
        return {name: self._together(value) for name, value in outputs.items()}

    def _together(self, value):
        """Concatenates the replicas' rows; over the network only where need be."""
        if num_workers(self._strategy) > 1:
            return self._strategy.gather(value, axis=0)
        return tf.concat(self._strategy.experimental_local_results(value), axis=0)

    def _predict_replica(self, batch):
        outputs = dict(self._task.predict(self._model, batch))
        scalars = [f.name for f in self._task.feature_spec.features if not f.varies]
        for name in ("example_index", "is_real_example", *scalars):
            outputs[name] = batch[name]
        return outputs


def distribute(strategy: tf.distribute.Strategy, make_dataset):
    """Gives every replica its rows of every batch.

    Args:
      strategy: the run's strategy.
      make_dataset: called with num_replicas, replica_offset and local_replicas;
        returns a data set of per-replica batches.

    Returns:
      An iterable of distributed batches.
    """

    def build(context: tf.distribute.InputContext):
        replicas = context.num_replicas_in_sync
        local = replicas // context.num_input_pipelines
        return make_dataset(
            num_replicas=replicas,
            replica_offset=context.input_pipeline_id * local,
            local_replicas=local,
        )

    return strategy.distribute_datasets_from_function(build)
