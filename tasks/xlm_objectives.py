"""XLM's objectives on one language or a pair: CLM, MLM and TLM.

Lample and Conneau 2019, section 3. Words are masked anew whenever a record is read
(data_pipeline/dynamic_masking.py).
"""

import abc
import dataclasses
import math
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

import tokenization_xlm
from data_pipeline import batching, dynamic_masking
from data_pipeline.corpora import language_streams
from data_pipeline.corpora.language_streams import LANGUAGE, SECOND_START
from data_pipeline.record_rules import Parsed, Rule
from modeling.layers import dropout
from modeling.xlm import XlmLanguageModel
from optimization.schedules import Coefficient
from systems.system import PRE_TRAINING, System
from tasks.pretraining import PretrainingTask
from tasks.task import Batch, Records

LOSS, RIGHT, WORDS = "lm_loss", "lm_right", "lm_words"
_TARGETS, _WEIGHTS = "masked_lm_ids", "masked_lm_weights"
_EVALUATION_SEED = 0


@dataclasses.dataclass(frozen=True)
class _Read:
    """What the model has read of a batch; T positions.

    Attributes:
      hidden: compute dtype [B, T, H].
      targets: int32 [B, T], what is to be predicted there.
      weights: int32 [B, T], 1 where something is.
    """

    hidden: tf.Tensor
    targets: tf.Tensor
    weights: tf.Tensor


class Objective(PretrainingTask):
    """One objective on the records of one language, or of a pair.

    `main_metric` is `log_likelihood`, the loss with its sign changed: the mean over
    languages is that of their perplexities' logarithms.
    """

    main_metric = "log_likelihood"
    vocab_size_key = "n_words"

    def __init__(
        self,
        system: System,
        max_seq_length: int,
        language: str,
        factor: Coefficient,
        **kwargs: bool,
    ):
        """Chooses a language.

        Args:
          system: of the model.
          max_seq_length: pieces of the longest record.
          language: `en`, or of pairs `en-de`.
          factor: on the loss.
          **kwargs: see PretrainingTask.

        Raises:
          UserError: the model does not know the language.
        """
        declared = language_streams.features()
        # Files are chosen by it; a model on a device knows numbers only.
        read = [feature for feature in declared if feature.name != LANGUAGE]
        super().__init__(system, read, max_seq_length, **kwargs)
        self.language, self.factor = language, factor
        self._language_ids = [system.language_id(name) for name in language.split("-")]

    def rules(self, parsed: Parsed, lengths: tf.Tensor) -> list[Rule]:
        """As PretrainingTask's; a second sentence begins inside the record."""
        starts = parsed[SECOND_START]
        beyond = (starts < 0) | (starts >= lengths)
        fault = f"has {SECOND_START} {{}}, outside its real length"
        return [*super().rules(parsed, lengths), Rule(fault, starts, beyond)]

    @abc.abstractmethod
    def read(
        self, model: XlmLanguageModel, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> _Read:
        """Runs the encoder, and says what is to be predicted where."""

    def languages(self, batch: Batch) -> tf.Tensor:
        """Ids of the languages of all positions, int32 [B, S] or [B, 1]."""
        first, *second = self._language_ids
        starts = batch[SECOND_START][:, None]
        if not second:
            return tf.fill(tf.shape(starts), first)
        places = tf.range(tf.shape(batch["input_ids"])[1])[None]
        return tf.where(places < starts, first, second[0])

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the model that all objectives share."""
        return XlmLanguageModel(
            self.system.config,
            frozen_encoder=self.frozen_encoder,
            dtype=dtype,
            seed=seed,
            fused=fused,
        )

    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Fills the model from the initial checkpoint; an output it lacks is new."""
        self.system.initialize(variables, PRE_TRAINING)

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the predicted words."""
        rows = tf.reduce_sum(self.weights(batch), axis=1) * batch["is_real_example"]
        return {LOSS: tf.cast(tf.reduce_sum(rows), tf.float32)}

    @abc.abstractmethod
    def weights(self, batch: Batch) -> tf.Tensor:
        """Tells which words are predicted, int32 [B, T], 1 = yes."""

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the losses of the predicted words."""
        losses, *_ = self._by_row(model, batch, dropout_seed)
        real = tf.cast(batch["is_real_example"], tf.float32)
        return {LOSS: tf.reduce_sum(losses * real)}

    def total_loss(
        self, sums: Mapping[str, tf.Tensor], denominators: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The mean over predicted words; 0 where a batch has none."""
        words = {LOSS: tf.maximum(denominators[LOSS], 1)}
        return super().total_loss(sums, words)

    def loss_factor(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the value of `factor` at an update."""
        return self.factor(step)

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Adds up, row by row, what the metrics are made of; float32 [B] each."""
        return dict(zip((LOSS, RIGHT, WORDS), self._by_row(model, batch), strict=True))

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`loss` (nats a predicted word), `perplexity`, `accuracy`."""
        sums = {k: float(v.sum(dtype=np.float64)) for k, v in predictions.items()}
        words = max(sums[WORDS], 1)
        loss = sums[LOSS] / words
        return {
            "loss": loss,
            "log_likelihood": -loss,
            "perplexity": float(np.exp(loss)),
            "accuracy": sums[RIGHT] / words,
        }

    def _by_row(self, model, batch, dropout_seed=None):
        """Losses, hits and numbers of the predicted words of each row, float32 [B]."""
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        read = self.read(model, batch, seed)
        places, weights = self._places(read.weights)
        targets = tf.gather_nd(read.targets, places)
        logits = model.lm_logits(tf.gather_nd(read.hidden, places))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        found = tf.argmax(logits, axis=-1, output_type=tf.int32)
        right = tf.cast(found == targets, tf.float32)
        rows = tf.shape(read.targets, tf.int64)[0]
        return [
            tf.math.unsorted_segment_sum(value * weights, places[:, 0], rows)
            for value in (losses, right, tf.ones_like(weights))
        ]

    def _places(self, weights):
        """Places [M, 2] to predict, int64, and float32 [M], 0 where one only fills up.

        A row of logits is long; with static shapes every row has as many of them.
        """
        if not self._static_shapes:
            places = tf.where(weights > 0)
            return places, tf.ones_like(places[:, 0], tf.float32)
        number = self._most_predicted(weights.shape[1])
        values, columns = tf.math.top_k(weights, number)
        rows = tf.repeat(tf.range(tf.shape(weights)[0]), number)
        places = tf.stack([rows, tf.reshape(columns, [-1])], axis=1)
        return tf.cast(places, tf.int64), tf.cast(tf.reshape(values, [-1]), tf.float32)

    @abc.abstractmethod
    def _most_predicted(self, length):
        """How many words of so many may be predicted, where shapes are static."""


class Causal(Objective):
    """CLM: every next word. In a pair, positions go on in the second sentence."""

    def weights(self, batch: Batch) -> tf.Tensor:
        return batch["input_mask"][:, 1:]

    def read(
        self, model: XlmLanguageModel, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> _Read:
        found = model.xlm(
            batch["input_ids"],
            batch["input_mask"],
            self.languages(batch),
            causal=True,
            dropout_seed=dropout_seed,
        )
        hidden = found["sequence_output"][:, :-1]
        return _Read(hidden, batch["input_ids"][:, 1:], self.weights(batch))

    def _most_predicted(self, length):
        return length


class Masked(Objective):
    """MLM, and on pairs TLM: masked words.

    Attributes:
      scores: float32 [V], see dynamic_masking.mask; None: all words alike.
    """

    def __init__(self, *args, scores: np.ndarray | None, **kwargs):
        """Keeps the scores; the other arguments are Objective's."""
        super().__init__(*args, **kwargs)
        self.scores = scores

    def train_batches(
        self,
        records: Records,
        *,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        **shard: int,
    ) -> tf.data.Dataset:
        """Masked batches; see Task.

        Whole ones are masked before replicas get their rows, for the words are chosen
        among all of a batch where they have scores.
        """
        whole = super().train_batches(
            records, batch_size=batch_size, seed=seed, start_step=start_step
        )

        @batching.as_it_is
        def mask(step: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
            keys = dynamic_masking.row_keys(seed, (step, tf.range(batch_size)))
            masked = dynamic_masking.mask(
                batch["input_ids"],
                tf.reduce_sum(batch["input_mask"], axis=1),
                keys,
                tokenization_xlm.MASK,
                self.vocab_size,
                self.scores,
            )
            return _with_targets(batch, masked)

        masked = whole.enumerate(start_step).map(mask)
        return batching.to_replicas(masked, batch_size, **shard)

    def eval_batches(self, records: Records, **kwargs) -> tf.data.Dataset:
        """Every record once, always with the same words masked; see Task."""

        @batching.as_it_is
        def mask(batch: Batch) -> dict[str, tf.Tensor]:
            keys = dynamic_masking.row_keys(_EVALUATION_SEED, (batch["example_index"],))
            masked = dynamic_masking.mask_for_evaluation(
                batch["input_ids"],
                tf.reduce_sum(batch["input_mask"], axis=1),
                keys,
                tokenization_xlm.MASK,
            )
            return _with_targets(batch, masked)

        return super().eval_batches(records, **kwargs).map(mask)

    def weights(self, batch: Batch) -> tf.Tensor:
        return batch[_WEIGHTS]

    def read(
        self, model: XlmLanguageModel, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> _Read:
        found = model.xlm(
            batch["input_ids"],
            batch["input_mask"],
            self.languages(batch),
            _positions(batch),
            dropout_seed=dropout_seed,
        )
        return _Read(found["sequence_output"], batch[_TARGETS], batch[_WEIGHTS])

    def _most_predicted(self, length):
        """Five deviations above the mean: of two million rows, one loses a word."""
        share = dynamic_masking.WORD_PRED
        most = share * length + 5 * math.sqrt(share * (1 - share) * length)
        return min(length, math.ceil(most))


def _positions(batch: Batch) -> tf.Tensor:
    """Positions, which begin again with the second sentence, int32 [B, S]."""
    starts = batch[SECOND_START][:, None]
    places = tf.range(tf.shape(batch["input_ids"])[1])[None]
    return tf.where(places < starts, places, places - starts)


def _with_targets(batch: Batch, masked: dynamic_masking.Masked):
    ids, weights = masked
    return {
        **batch,
        "input_ids": ids,
        _TARGETS: batch["input_ids"],
        _WEIGHTS: weights,
    }
