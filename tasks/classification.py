"""Sentence and sentence-pair classification, multi-label classification, regression."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import metrics
from data_pipeline import features, tfrecord
from data_pipeline.examples import InputExample
from tasks.encoder import EncoderTask
from tasks.system import CLASSIFIER, System
from tasks.task import Batch, Records


@dataclasses.dataclass(frozen=True)
class ClassificationConfig:
    """What a trained classifier must remember to be used again.

    Attributes:
      task_name: as given by --task_name.
      output_kind: "single_label", "multi_label" or "regression".
      labels: the classes in the order of the outputs; empty for regression.
      metrics: names known to the metrics package.
      main_metric: the one of them by which checkpoints are compared.
      max_seq_length: pieces of the longest input, [CLS] and [SEP] included.
      do_lower_case: whether the tokenizer lower-cases.
      text_pair: whether the inputs are pairs of texts.
    """

    task_name: str
    output_kind: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    main_metric: str
    max_seq_length: int
    do_lower_case: bool
    text_pair: bool = False

    @property
    def num_outputs(self) -> int:
        """Width of the output layer."""
        return 1 if self.output_kind == "regression" else len(self.labels)

    def to_json_string(self) -> str:
        """Returns the fields as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json_file(cls, path: str) -> "ClassificationConfig":
        """Reads what `to_json_string` wrote.

        Raises:
          ValueError: the file is missing, or keys are missing or unknown.
        """
        if not tf.io.gfile.exists(path):
            raise ValueError(
                f"{path} does not exist; it is written by run_classifier.py --do_train"
            )
        with tf.io.gfile.GFile(path) as file:
            values = json.load(file)
        wanted = {field.name for field in dataclasses.fields(cls)}
        if values.keys() != wanted:
            raise ValueError(
                f"{path}: keys {sorted(values.keys() ^ wanted)} are missing or unknown"
            )
        lists = {key: tuple(values[key]) for key in ("labels", "metrics")}
        return cls(**(values | lists))


class ClassificationTask(EncoderTask):
    """Fine-tunes an encoder, or a head on a frozen one, to label texts and pairs."""

    head = CLASSIFIER

    def __init__(
        self,
        config: ClassificationConfig,
        system: System,
        *,
        static_shapes: bool = False,
        frozen_encoder: bool = False,
    ):
        """Declares features and lengths.

        Args:
          config: labels, metrics, lengths.
          system: the encoder's.
          static_shapes: pads every batch to `max_seq_length`, as a TPU needs.
          frozen_encoder: turns dropout off in the encoder, which is not trained.

        Raises:
          ValueError: `max_seq_length` is beyond the position table.
        """
        super().__init__(config, system, static_shapes=static_shapes)
        self.main_metric = f"eval_{config.main_metric}"
        self.feature_spec = features.classification_spec(
            config.output_kind, len(config.labels)
        )
        self._frozen_encoder = frozen_encoder
        self._train_examples: Sequence[InputExample] = ()

    def records(
        self, split: str, examples: Sequence[InputExample], folder: str
    ) -> Records:
        """Turns examples into features, once: the file's name holds a hash of them.

        Args:
          split: "train", "eval" or "predict", the start of the file's name.
          examples: what to convert.
          folder: where the TFRecord file is kept.

        Raises:
          ValueError: there are no examples, or one has an unknown label.
        """
        if not examples:
            raise ValueError(f"the {split} set has no examples")
        if split == "train":
            self._train_examples = examples
        digest = hashlib.sha256()
        for example in examples:
            digest.update(repr(dataclasses.astuple(example)).encode())
        key = {
            "examples": digest.hexdigest(),
            "vocabulary": tfrecord.fingerprint(self.system.vocab_file),
            "do_lower_case": self.config.do_lower_case,
            "max_seq_length": self.config.max_seq_length,
            "labels": self.config.labels,
            "features": self.feature_spec.describe(),
        }
        cached = tfrecord.cached(
            os.path.join(folder, split), key, lambda: self._convert(examples)
        )
        logging.info(
            "%s: %d examples; %d longer than --max_seq_length=%d were truncated, "
            "by %d pieces in all",
            split,
            cached.num_records,
            cached.info["truncated_examples"],
            self.config.max_seq_length,
            cached.info["dropped_tokens"],
        )
        return Records((cached.path,), cached.num_records)

    def _convert(self, examples):
        config = self.config
        columns = features.classification_columns(
            examples,
            self.system.tokenizer(),
            config.max_seq_length,
            config.labels,
            config.output_kind,
        )
        info = {
            "truncated_examples": columns.truncated_examples,
            "dropped_tokens": columns.dropped_tokens,
        }
        return columns.records(self.feature_spec), info

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the encoder and its head."""
        return self.system.build_classifier(
            self.config.num_outputs,
            dtype=dtype,
            seed=seed,
            fused=fused,
            frozen_encoder=self._frozen_encoder,
        )

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the examples' losses."""
        losses = self._losses(self._logits(model, batch, dropout_seed), batch)
        real = tf.cast(batch["is_real_example"], tf.float32)
        return {"loss": tf.reduce_sum(losses * real)}

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Computes the loss and `probabilities` [B, labels] (regression: [B, 1])."""
        logits = self._logits(model, batch, None)
        return {
            "probabilities": self.probabilities(logits),
            "loss": self._losses(logits, batch),
        }

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Turns logits [B, outputs] into what is reported for them."""
        if self.config.output_kind == "single_label":
            return tf.nn.softmax(logits)
        if self.config.output_kind == "multi_label":
            return tf.sigmoid(logits)
        return logits

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores, under the parent's names: `eval_loss`, `eval_accuracy` ..."""
        outputs = predictions["probabilities"]
        if self.config.output_kind == "single_label":
            predicted = outputs.argmax(axis=-1)
        elif self.config.output_kind == "multi_label":
            predicted = (outputs > 0.5).astype(np.int32)
        else:
            predicted = outputs[:, 0]
        scores = metrics.compute(
            self.config.metrics, predictions["label_ids"], predicted
        )
        scores = {f"eval_{name}": float(value) for name, value in scores.items()}
        return {"eval_loss": float(predictions["loss"].mean()), **scores}

    def describe_examples(self, rows: Sequence[int]) -> list[str]:
        """Gives guid and text of training examples."""
        found = (self._train_examples[row] for row in rows)
        return [f"{e.guid}: {e.text_a!r} {e.text_b or ''!r}" for e in found]

    def _logits(self, model, batch, dropout_seed):
        return model(
            batch["input_ids"],
            batch["input_mask"],
            batch["segment_ids"],
            dropout_seed=dropout_seed,
        )

    def _losses(self, logits, batch):
        """Cross entropy, or squared error; float32 [B]."""
        labels = batch["label_ids"]
        if self.config.output_kind == "single_label":
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if self.config.output_kind == "multi_label":
            losses = tf.nn.sigmoid_cross_entropy_with_logits(
                tf.cast(labels, tf.float32), logits
            )
            return tf.reduce_mean(losses, axis=-1)
        return tf.square(logits[:, 0] - labels)
