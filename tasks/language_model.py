"""BERT's pre-training: masked words and sentence order (Devlin et al. 2018, 3.1)."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
from data_pipeline.corpora.makers import Pairs
from data_pipeline.record_rules import Parsed, Rule, as_many_as, at_most, in_range
from modeling import BertPreTrainingModel
from systems.bert import BertSystem
from systems.system import CLASSIFIER, PRE_TRAINING
from tasks.pretraining import PretrainingTask
from tasks.task import Batch

MASKED_LM, NEXT_SENTENCE = "masked_lm_loss", "next_sentence_loss"
# The parent's: a batch without a single masked word has the loss 0, not 0 / 0.
_EPSILON = 1e-5
# What the file of a model that was not pre-trained here may lack.
_HEADS = {
    "bert/pooler/": "the file has no pooler",
    "cls/predictions/": "the file has no masked language model head",
    "cls/seq_relationship/": "the file has no next sentence head",
}


@dataclasses.dataclass(frozen=True)
class _Scores:
    """What the model says of a batch; M masked words, of all rows together.

    Attributes:
      word_logits: float32 [M, V].
      word_ids: int32 [M].
      word_weights: float32 [M], 1 = real.
      word_rows: int32 [M], the row of the batch that each word is of.
      order_logits: float32 [B, 2].
    """

    word_logits: tf.Tensor
    word_ids: tf.Tensor
    word_weights: tf.Tensor
    word_rows: tf.Tensor
    order_logits: tf.Tensor

    def word_losses(self) -> tf.Tensor:
        """Cross entropy of each word, weighted; float32 [M]."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            self.word_ids, self.word_logits
        )
        return losses * self.word_weights


class MaskedLanguageModelTask(PretrainingTask):
    """Learns to tell masked words, and whether a sentence follows another.

    `main_metric` is `masked_lm_accuracy`: the parent reports it, more of it is better,
    and unlike the total loss it does not mix two scales.
    """

    main_metric = "masked_lm_accuracy"
    options = ("max_predictions_per_seq",)
    vocab_size_key = "vocab_size"

    def __init__(
        self,
        system: BertSystem,
        max_seq_length: int,
        max_predictions_per_seq: int,
        **kwargs: bool,
    ):
        """Declares features and lengths.

        Args:
          system: the encoder's; its vocabulary, if known, is kept beside the model.
          max_seq_length: pieces of the longest record.
          max_predictions_per_seq: the most masked words of a record.
          **kwargs: see PretrainingTask; static shapes pad every row to
            `max_predictions_per_seq`, too.

        Raises:
          ValueError: `max_seq_length` is beyond the position table.
        """
        options = {"max_predictions_per_seq": max_predictions_per_seq}
        features = Pairs.features(options)
        super().__init__(system, features, max_seq_length, **kwargs)
        self._max_predictions_per_seq = max_predictions_per_seq

    def rules(self, parsed: Parsed, lengths: tf.Tensor) -> list[Rule]:
        """As PretrainingTask's; every feature is there, and means something."""
        positions, weights = (
            parsed[f"masked_lm_{name}"] for name in ("positions", "weights")
        )
        words = positions.row_lengths()
        last = tf.gather(lengths, positions.value_rowids())
        beyond = (positions.values < 0) | (positions.values >= last)
        no_weight = ~((weights.values >= 0) & (weights.values <= 1))  # NaN is none
        types = self.system.config.type_vocab_size
        return [
            *super().rules(parsed, lengths),
            at_most("max_predictions_per_seq", words, self._max_predictions_per_seq),
            Rule("has no masked_lm_positions", words, words == 0),
            *(
                as_many_as("input_ids", name, parsed)
                for name in ("input_mask", "segment_ids")
            ),
            *(
                as_many_as("masked_lm_positions", f"masked_lm_{name}", parsed)
                for name in ("ids", "weights")
            ),
            in_range("input_mask", parsed["input_mask"], 2),
            in_range(
                "segment_ids",
                parsed["segment_ids"],
                types,
                f", as the model's type_vocab_size is {types}",
            ),
            self.in_vocabulary("masked_lm_ids", parsed),
            Rule(
                "has masked_lm_positions {}, outside its real length",
                positions,
                positions.with_values(beyond),
            ),
            Rule(
                "has masked_lm_weights {}; wanted 0 to 1",
                weights,
                weights.with_values(no_weight),
            ),
            in_range("next_sentence_labels", parsed["next_sentence_labels"][:, 0], 2),
        ]

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the encoder and both heads."""
        return BertPreTrainingModel(
            self.system.config,
            frozen_encoder=self.frozen_encoder,
            dtype=dtype,
            seed=seed,
            fused=fused,
        )

    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Fills the model from the initial checkpoint; heads it lacks are new."""
        if self.system.init_checkpoint is None:
            logging.info("no --init_checkpoint: training starts from random weights")
            return
        checkpoint = checkpoints.open_checkpoint(self.system.init_checkpoint)
        # A head is there as a whole or not at all: a part of one is an error.
        new = {
            f"{head}.*": reason
            for head, reason in _HEADS.items()
            if not any(name.startswith(head) for name in checkpoint.shapes)
        }
        checkpoints.initialize(
            variables,
            checkpoint,
            new={**new, **self.system.optional(CLASSIFIER, checkpoint)},
            unused={
                pattern: f"a {kind} head; not used here"
                for kind, pattern in self.system.heads.items()
                if kind != PRE_TRAINING
            },
            resize_vocab=self.system.resize_vocab,
        )

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the masked words, and the examples."""
        real = tf.cast(batch["is_real_example"], tf.float32)
        weights = batch["masked_lm_weights"] * real[:, None]
        return {
            MASKED_LM: tf.reduce_sum(weights),
            NEXT_SENTENCE: tf.reduce_sum(real),
        }

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the losses of words and of examples."""
        scores = self._scores(model, batch, dropout_seed)
        real = tf.cast(batch["is_real_example"], tf.float32)
        words = scores.word_losses() * tf.gather(real, scores.word_rows)
        return {
            MASKED_LM: tf.reduce_sum(words),
            NEXT_SENTENCE: tf.reduce_sum(_order_losses(scores, batch) * real),
        }

    def total_loss(
        self, sums: Mapping[str, tf.Tensor], denominators: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The parent's: mean over words (its denominator + 1e-5) + mean over rows."""
        words = denominators[MASKED_LM] + _EPSILON
        return super().total_loss(sums, {**denominators, MASKED_LM: words})

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Adds up, row by row, what the metrics are made of; [B] each.

        The masked words themselves, [B, P], come along for their entropy.
        """
        scores = self._scores(model, batch, None)
        found = tf.argmax(scores.word_logits, axis=-1, output_type=tf.int32)
        right = tf.cast(tf.equal(found, scores.word_ids), tf.float32)
        order = tf.argmax(scores.order_logits, axis=-1, output_type=tf.int32)
        rows = tf.shape(order)[0]

        def by_row(values: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(values, scores.word_rows, rows)

        return {
            "masked_lm_loss": by_row(scores.word_losses()),
            "masked_lm_right": by_row(right * scores.word_weights),
            "masked_lm_ids": batch["masked_lm_ids"],
            "masked_lm_weights": batch["masked_lm_weights"],
            "next_sentence_loss": _order_losses(scores, batch),
            "next_sentence_right": tf.equal(order, _order_labels(batch)),
        }

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Scores under the parent's names, and the entropy of the masked words.

        `unigram_entropy` (nats) is the loss of the best guess that does not look at
        the text: what the model knows of language shows below it. The parent averages
        `loss` over batches; here it is the sum of both means over all examples.
        """
        weights = predictions["masked_lm_weights"]
        words = max(float(weights.sum()), _EPSILON)
        masked_lm_loss = float(predictions["masked_lm_loss"].sum()) / words
        next_sentence_loss = float(predictions["next_sentence_loss"].mean())
        ids = predictions["masked_lm_ids"][weights > 0]
        return {
            "loss": masked_lm_loss + next_sentence_loss,
            "masked_lm_accuracy": float(predictions["masked_lm_right"].sum()) / words,
            "masked_lm_loss": masked_lm_loss,
            "next_sentence_accuracy": float(predictions["next_sentence_right"].mean()),
            "next_sentence_loss": next_sentence_loss,
            "unigram_entropy": _entropy(np.unique(ids, return_counts=True)[1]),
        }

    def _scores(self, model, batch, dropout_seed):
        """Runs the encoder, and the vocabulary over real masked words only."""
        encoded = model.bert(
            batch["input_ids"],
            batch["input_mask"],
            batch["segment_ids"],
            dropout_seed=dropout_seed,
        )
        sequence = encoded["sequence_output"]  # [B, S, H]
        rows = tf.range(tf.shape(sequence)[0])
        word_rows = tf.repeat(rows, self._max_predictions_per_seq)  # [B * P]
        flat = {
            name: tf.reshape(batch[f"masked_lm_{name}"], [-1])
            for name in ("positions", "ids", "weights")
        }
        flat["rows"] = word_rows
        flat["positions"] += word_rows * tf.shape(sequence)[1]
        if not self._static_shapes:
            real = tf.where(flat["weights"] > 0)[:, 0]
            flat = {name: tf.gather(values, real) for name, values in flat.items()}
        # To the head, all rows are one long one.
        logits = model.cls.predictions(
            tf.reshape(sequence, [1, -1, sequence.shape[-1]]),
            flat["positions"][None],
            model.bert.embeddings.word_embeddings,
        )
        return _Scores(
            word_logits=logits[0],
            word_ids=flat["ids"],
            word_weights=flat["weights"],
            word_rows=flat["rows"],
            order_logits=model.cls.seq_relationship(encoded["pooled_output"]),
        )


def _order_labels(batch):
    return batch["next_sentence_labels"][:, 0]


def _order_losses(scores, batch):
    """Cross entropy of the sentence order, float32 [B]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        _order_labels(batch), scores.order_logits
    )


def _entropy(counts: np.ndarray) -> float:
    """-sum p log p, in nats, of the distribution with these counts."""
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())
