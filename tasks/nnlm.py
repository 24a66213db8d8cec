"""NNLM's training: a word from the n - 1 before it (Bengio et al. 2003).

The paper's point is that network and n-grams err on different words: an equal mixture
of the two predicts better than either. `compare_with_ngrams` lets `metrics` show that.
"""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from metrics.ngram import perplexity
from modeling.nnlm import NnlmModel
from tasks.causal_language_model import TOKENS, CausalLanguageModelTask

_PROBABILITIES = "probabilities"


class NnlmTask(CausalLanguageModelTask):
    """Learns the next word; records are those of `sentence_streams`.

    It predicts, beside sums, `probabilities` of the right words, float32
    [B, max_seq_length - 1], 0 on padding.
    """

    vocab_size_key = "vocab_size"

    def build_model(self, *, dtype: str, fused: bool, seed: int) -> keras.layers.Layer:
        """Makes the network."""
        return NnlmModel(self.system.config, dtype=dtype, seed=seed, fused=fused)

    def _logits(self, model, batch, places):
        contexts = model.contexts(batch["input_ids"])
        return model.lm_logits(tf.gather_nd(contexts, places))

    def _by_token(self, losses, weights, places, rows):
        shape = tf.stack([rows, tf.constant(self._max_seq_length - 1, tf.int64)])
        found = tf.exp(-losses) * weights
        return {_PROBABILITIES: tf.scatter_nd(places, found, shape)}

    def metrics(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """As CausalLanguageModelTask's; beside n-grams, that of the mixture."""
        sums = dict(predictions)
        found = sums.pop(_PROBABILITIES)
        scores = super().metrics(sums)
        if self.ngram_probabilities is None:
            return scores
        tokens = predictions[TOKENS].astype(np.int64)
        own = found[np.arange(found.shape[1]) < tokens[:, None]].astype(np.float64)
        mixed = (own + self.ngram_probabilities) / 2
        return scores | {"mixture_perplexity": perplexity(mixed)}
