"""GPT's pre-training: the next token, from those before it (Radford et al. 2018, 3.1).

    L1(U) = sum_i log P(u_i | u_i-k, ..., u_i-1)

A record is a context: its first token is only read, every other one is predicted. As in
the original, the softmax runs over all rows of the embedding matrix: special tokens and
positions too, which training soon makes improbable.
"""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.corpora.makers import TokenStreams
from modeling import GptLanguageModel
from systems.system import System
from tasks.pretraining import NextTokenTask
from tasks.task import Batch

LOSS, TOKENS = "lm_loss", "lm_tokens"


class CausalLanguageModelTask(NextTokenTask):
    """Learns what comes next; `main_metric` is `log_likelihood`."""

    vocab_size_key = "n_vocab"  # without special tokens and positions

    def __init__(self, system: System, max_seq_length: int, **kwargs: bool):
        """Declares the one feature; the arguments are PretrainingTask's."""
        super().__init__(system, TokenStreams.features({}), max_seq_length, **kwargs)

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the decoder, whose embeddings are its softmax."""
        return GptLanguageModel(self.system.config, dtype=dtype, seed=seed, fused=fused)

    def initialize(self, variables: Mapping[str, keras.Variable]) -> None:
        """Fills the model from the initial checkpoint, if there is one."""
        self.system.initialize(variables, None)

    def loss_denominators(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Counts the predicted tokens."""
        rows = tf.reduce_sum(batch["input_mask"][:, 1:], axis=1)
        predicted = tf.reduce_sum(rows * batch["is_real_example"])
        return {LOSS: tf.cast(predicted, tf.float32)}

    def loss_sums(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """Adds up the losses of the predicted tokens.

        A row of logits is as long as the vocabulary; how many there are at once is
        bounded by --gradient_accumulation_steps.
        """
        losses = model(
            batch["input_ids"], batch["input_mask"], dropout_seed=dropout_seed
        )["lm_losses"]
        real = tf.cast(batch["is_real_example"], tf.float32)
        return {LOSS: tf.reduce_sum(losses * real[:, None])}

    def total_loss(
        self, sums: Mapping[str, tf.Tensor], denominators: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """The mean over predicted tokens; 0 where a batch has none."""
        return super().total_loss(sums, {LOSS: tf.maximum(denominators[LOSS], 1)})

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Adds up, row by row, what the metrics are made of; float32 [B] each."""
        targets, real = batch["input_ids"][:, 1:], batch["input_mask"][:, 1:]
        wanted = tf.ones_like(real) if self._static_shapes else real
        places = tf.where(wanted > 0)  # [M, 2]
        logits = self._logits(model, batch, places)
        targets = tf.gather_nd(targets, places)
        weights = tf.cast(tf.gather_nd(real, places), tf.float32)
        found = tf.argmax(logits, axis=-1, output_type=tf.int32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        values = {
            LOSS: losses * weights,
            "lm_right": tf.cast(found == targets, tf.float32) * weights,
            TOKENS: weights,
        }
        rows = tf.shape(real, tf.int64)[0]
        sums = {
            name: tf.math.unsorted_segment_sum(value, places[:, 0], rows)
            for name, value in values.items()
        }
        return sums | self._by_token(losses, weights, places, rows)

    def _logits(self, model, batch, places):
        """Scores the tokens behind places [M, 2] of the batch: float32 [M, V]."""
        outputs = model(batch["input_ids"], batch["input_mask"])
        # The same logits as those of the loss, which the graph then leaves out.
        return model.lm_logits(tf.gather_nd(outputs["sequence_output"], places))

    def _by_token(self, losses, weights, places, rows):
        """Returns what is predicted of single tokens, a row of the batch each."""
        del losses, weights, places, rows
        return {}

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`loss` (nats a predicted token), its exponential `perplexity`, and accuracy.

        With them what `compare_with_ngrams` found.
        """
        sums = {k: float(v.sum(dtype=np.float64)) for k, v in predictions.items()}
        tokens = max(sums[TOKENS], 1)
        loss = sums[LOSS] / tokens
        return {
            "loss": loss,
            "lm_accuracy": sums["lm_right"] / tokens,
            "log_likelihood": -loss,
            "perplexity": float(np.exp(loss)),
            **self.baselines,
        }
