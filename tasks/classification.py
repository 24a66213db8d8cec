"""Classification of texts and of pairs, several labels, regression, multiple choice."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
import metrics
from data_pipeline import tfrecord
from data_pipeline.readers.examples import InputExample
from errors import UserError
from metrics.calibration import fit_temperature, log_loss, scaled
from reports.label_sets import LabelSets
from reports.labels import Labels
from reports.results import Results
from reports.scores import Scores
from systems.classification_config import ClassificationConfig
from systems.layer_mix import MixesLayers
from systems.system import CLASSIFIER, System
from tasks import calibration
from tasks.encoder import EncoderTask
from tasks.task import Batch, Records

_ONE_OF_SEVERAL = ("single_label", "multiple_choice")


class ClassificationTask(EncoderTask):
    """Fine-tunes an encoder, or a head on a frozen one, to label texts and pairs.

    Attributes:
      temperature: by which the logits of what is told to users are divided.
    """

    needs = "classifies"
    head = CLASSIFIER

    def __init__(
        self,
        config: ClassificationConfig,
        system: System,
        *,
        lm_coef: float = 0.0,
        class_weights: Sequence[float] | None = None,
        static_shapes: bool = False,
        **kwargs: bool,
    ):
        """Declares features and lengths.

        Args:
          config: labels, metrics, lengths.
          system: the encoder's.
          lm_coef: weight of the language model's loss in training, where the system
            has one (Radford et al. 2018, eq. 5); a frozen encoder has none.
          class_weights: what the loss of an example counts in training, by the id of
            its label; see `balanced_weights`. None: all count the same.
          static_shapes: see EncoderTask.
          **kwargs: see EncoderTask.

        Raises:
          UserError: `max_seq_length` is beyond the position table, or the system
            cannot do such a task.
        """
        super().__init__(config, system, static_shapes=static_shapes, **kwargs)
        if config.layer_mix:
            self.can = MixesLayers(self.can)
        self.buckets = self.can.buckets(config.max_seq_length, static_shapes)
        self.main_metric = f"eval_{config.main_metric}"
        self.can.check(config)
        self.asks_replicas = self.can.asks_replicas
        self.feature_spec = self.can.spec(config)
        predicts_tokens = self.can.has_lm_losses and not self.frozen_encoder
        self._lm_coef = lm_coef if predicts_tokens else 0.0
        self._class_weights = class_weights
        self._train_examples: Sequence[InputExample] = ()
        self.temperature = 1.0
        self._checkpoint: str | None = None

    def records(
        self, split: str, examples: Sequence[InputExample], folder: str
    ) -> Records:
        """Turns examples into features, once: the file's name holds a hash of them.

        Args:
          split: "train", "eval" or "predict", the start of the file's name.
          examples: what to convert.
          folder: where the TFRecord file is kept.

        Raises:
          UserError: there are no examples, or one has an unknown label.
        """
        if not examples:
            raise UserError(f"the {split} set has no examples")
        if split == "train":
            self._train_examples = examples
        digest = hashlib.sha256()
        for example in examples:
            digest.update(repr(dataclasses.astuple(example)).encode())
        key = {
            "examples": digest.hexdigest(),
            "vocabulary": self.system.fingerprint(),
            "do_lower_case": self.config.do_lower_case,
            "max_seq_length": self.config.max_seq_length,
            "labels": self.config.labels,
            "features": self.feature_spec.describe(),
        }
        cached = tfrecord.cached(
            os.path.join(folder, split), key, lambda: self._convert(examples)
        )
        logging.info(
            "%s: %d examples; %d too long for --max_seq_length=%d were truncated, "
            "by %d pieces in all",
            split,
            cached.num_records,
            cached.counted("truncated_examples"),
            self.config.max_seq_length,
            cached.counted("dropped_tokens"),
        )
        records = Records((cached.path,), cached.num_records)
        if split == "train":
            self._tell_lengths(records)
        return records

    def _tell_lengths(self, records):
        """Logs how long the examples are, as they were cut."""
        shares = np.percentile(self.lengths(records), (0, 50, 95, 100))
        logging.info(
            "train: lengths %d to %d, half up to %d, 95 %% up to %d; "
            "--max_seq_length=%d",
            *shares[[0, 3, 1, 2]],
            self.config.max_seq_length,
        )

    def _convert(self, examples):
        columns = self.can.columns(examples, self.config)
        info = {
            "truncated_examples": columns.truncated_examples,
            "dropped_tokens": columns.dropped_tokens,
        }
        return columns.records(self.feature_spec), info

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the encoder and its head."""
        return self.can.build(
            self.config,
            dtype=dtype,
            seed=seed,
            fused=fused,
            frozen_encoder=self.frozen_encoder,
        )

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the examples' losses, and those of the language model.

        Each sequence counts once there, however long it is, as in the original.
        """
        outputs = self.can.run(model, batch, dropout_seed)
        losses = self._losses(outputs["logits"], batch)
        if self._class_weights is not None:
            losses *= tf.gather(self._class_weights, batch["label_ids"])
        terms = {"loss": losses}
        if self._lm_coef:
            lm_losses = tf.reduce_mean(outputs["lm_losses"], axis=1)
            terms["lm_loss"] = self._lm_coef * lm_losses
        real = tf.cast(batch["is_real_example"], tf.float32)
        return {name: tf.reduce_sum(term * real) for name, term in terms.items()}

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the real examples."""
        (count,) = super().loss_denominators(batch).values()
        return dict.fromkeys(["loss", "lm_loss"] if self._lm_coef else ["loss"], count)

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Computes the loss and `probabilities` [B, labels] (regression: [B, 1])."""
        logits = self.can.run(model, batch, None)["logits"]
        return {
            "probabilities": self._activated(logits),
            "loss": self._losses(logits, batch),
        }

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Turns logits [B, outputs] into what is told to users."""
        return self._activated(logits / self.temperature)

    def calibrated(self, predictions: Mapping[str, np.ndarray]) -> dict:
        """Returns predictions with the probabilities that are told to users."""
        found = scaled(predictions["probabilities"], self.temperature)
        return {**predictions, "probabilities": found}

    def restored(self, checkpoint: str | None) -> None:
        """See Task; takes the temperature that was fitted for the checkpoint."""
        if checkpoint is None:
            initial = self.system.init_checkpoint
            checkpoint = checkpoints.open_checkpoint(initial).path
        self._checkpoint = checkpoint
        self.temperature = 1.0
        if self.has_temperature:
            self.temperature = calibration.read(checkpoint)

    @property
    def has_temperature(self) -> bool:
        """Whether a temperature can be fitted: one label is chosen of several."""
        return self.config.output_kind in _ONE_OF_SEVERAL

    def calibrate(self, predictions: Mapping[str, np.ndarray]) -> None:
        """Fits the temperature, and keeps it beside the checkpoint.

        Args:
          predictions: as of `metrics`, of a set that training has not seen.
        """
        probabilities = predictions["probabilities"]
        labels = predictions["label_ids"]
        self.temperature = fit_temperature(probabilities, labels)
        logging.info(
            "calibrated on %d examples: temperature %.4f, negative log likelihood "
            "%.4f instead of %.4f",
            len(labels),
            self.temperature,
            log_loss(scaled(probabilities, self.temperature), labels),
            log_loss(probabilities, labels),
        )
        calibration.write(self._checkpoint, self.temperature, len(labels))

    def results(
        self,
        predictions: Mapping[str, np.ndarray],
        examples: Sequence[InputExample],
        unsure_below: float | None = None,
        temperature: float = 1.0,
    ) -> Results:
        """See Task.

        Args:
          predictions: as of `calibrated`.
          examples: what they are of.
          unsure_below: the confidence below which a prediction is called "unsure".
          temperature: that they have, which is told.
        """
        rows = [e.guid for e in examples], _texts(examples, self.config.labels)
        probabilities = predictions["probabilities"]
        labels = [example.label for example in examples]
        known = all(label is not None for label in labels)
        if self.config.output_kind == "regression":
            gold = np.array([np.nan if x is None else x for x in labels], float)
            return Scores(*rows, gold, probabilities[:, 0])
        names = self.config.labels
        if self.config.output_kind == "multi_label":
            gold = None
            if known:
                gold = np.array([[int(n in label) for n in names] for label in labels])
            return LabelSets(*rows, names, gold, probabilities, unsure_below)
        places = {name: i for i, name in enumerate(names)} | {None: -1}
        gold = np.array([places[label] for label in labels])
        return Labels(*rows, names, gold, probabilities, temperature, unsure_below)

    def _activated(self, logits):
        if self.config.output_kind in _ONE_OF_SEVERAL:
            return tf.nn.softmax(logits)
        if self.config.output_kind == "multi_label":
            return tf.sigmoid(logits)
        return logits

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores, under the parent's names: `eval_loss`, `eval_accuracy` ..."""
        outputs = predictions["probabilities"]
        if self.config.output_kind in _ONE_OF_SEVERAL:
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

    def _losses(self, logits, batch):
        """Cross entropy, or squared error; float32 [B]."""
        labels = batch["label_ids"]
        if self.config.output_kind in _ONE_OF_SEVERAL:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        if self.config.output_kind == "multi_label":
            losses = tf.nn.sigmoid_cross_entropy_with_logits(
                tf.cast(labels, tf.float32), logits
            )
            return tf.reduce_mean(losses, axis=-1)
        return tf.square(logits[:, 0] - labels)


def balanced_weights(
    examples: Sequence[InputExample], labels: Sequence[str]
) -> tuple[float, ...]:
    """Returns weights by which every label counts the same in all, on average 1.

    They are scikit-learn's "balanced": examples / (labels x examples of the label).

    Args:
      examples: the training set, with one label each.
      labels: in the order of their ids; one without an example weighs 1.
    """
    from sklearn.utils.class_weight import compute_class_weight

    found = [example.label for example in examples]
    present = sorted(set(found))
    weights = compute_class_weight("balanced", classes=np.array(present), y=found)
    weights = dict(zip(present, weights.tolist(), strict=True))
    return tuple(weights.get(label, 1.0) for label in labels)


def _texts(examples, labels):
    """Returns column -> texts, of all parts that the examples have."""
    columns = {"text_a": [example.text_a for example in examples]}
    if any(example.text_b is not None for example in examples):
        columns["text_b"] = [example.text_b or "" for example in examples]
    if any(getattr(example, "endings", ()) for example in examples):
        endings = zip(*(example.endings for example in examples), strict=True)
        columns |= {f"ending:{x}": t for x, t in zip(labels, endings, strict=True)}
    return columns
