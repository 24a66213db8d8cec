"""NNLM's training: a word from the n - 1 before it (Bengio et al. 2003).

The paper's point is that network and n-grams err on different words: an equal mixture
of the two predicts better than either. `compare_with_ngrams` lets `metrics` show that.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from metrics.ngram import KneserNey
from modeling.nnlm import NnlmModel
from tasks.causal_language_model import LOSS, CausalLanguageModelTask
from tasks.task import Batch, Records

_PROBABILITIES, _TOKENS, _RIGHT = "probabilities", "lm_tokens", "lm_right"


class NnlmTask(CausalLanguageModelTask):
    """Learns the next word; records are those of `sentence_streams`."""

    vocab_size_key = "vocab_size"

    def __init__(self, *args, **kwargs):
        """Begins without n-grams; the arguments are CausalLanguageModelTask's."""
        super().__init__(*args, **kwargs)
        self._ngram_probabilities: np.ndarray | None = None

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the network."""
        return NnlmModel(self.system.config, dtype=dtype, seed=seed, fused=fused)

    def compare_with_ngrams(
        self, order: int, train_files: Sequence[str], dev: Records
    ) -> None:
        """As NextTokenTask's; keeps each word's probability, for the mixture."""
        ngrams = KneserNey(*self.tokens(train_files), self.vocab_size, order)
        found = ngrams.probabilities(*self.tokens(dev.files, dev.num_examples))
        self._ngram_probabilities = found
        self.baselines = {"ngram_perplexity": _perplexity(found)}

    def predict(self, model: keras.layers.Layer, batch: Batch) -> dict[str, tf.Tensor]:
        """Scores each word.

        Returns:
          `probabilities` float32 [B, max_seq_length - 1], those of the right words, 0
          on padding; and by row, float32 [B], `lm_loss`, `lm_right` and `lm_tokens`.
        """
        ids, real = batch["input_ids"], batch["input_mask"][:, 1:]
        places = tf.where(real > 0)
        logits = model.lm_logits(tf.gather_nd(model.contexts(ids), places))
        targets = tf.gather_nd(ids[:, 1:], places)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        right = tf.argmax(logits, axis=-1, output_type=tf.int32) == targets
        rows = tf.shape(real, tf.int64)[0]
        shape = tf.stack([rows, tf.constant(self._max_seq_length - 1, tf.int64)])
        values = {LOSS: losses, _RIGHT: tf.cast(right, tf.float32)}
        return {
            _PROBABILITIES: tf.scatter_nd(places, tf.exp(-losses), shape),
            _TOKENS: tf.cast(tf.reduce_sum(real, axis=1), tf.float32),
            **{
                name: tf.math.unsorted_segment_sum(value, places[:, 0], rows)
                for name, value in values.items()
            },
        }

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """As CausalLanguageModelTask's; beside n-grams, that of the mixture."""
        sums = dict(predictions)
        found = sums.pop(_PROBABILITIES)
        scores = super().metrics(sums)
        if self._ngram_probabilities is None:
            return scores
        tokens = predictions[_TOKENS].astype(np.int64)
        own = found[np.arange(found.shape[1]) < tokens[:, None]].astype(np.float64)
        mixed = (own + self._ngram_probabilities) / 2
        return scores | {"mixture_perplexity": _perplexity(mixed)}


def _perplexity(probabilities):
    return float(np.exp(-np.log(probabilities).mean()))
