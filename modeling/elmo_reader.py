"""ELMo's vectors under a task's own model (Peters et al. 2018, sections 3.2 and 3.3).

The layers, weighted as the task learns, are what an ordinary model of the task reads in
place of word vectors: here one bidirectional LSTM, under a classifier and under a
tagger. The language model itself is usually left as it is.
"""

import tensorflow as tf

from modeling.elmo import SCOPE, ElmoModel
from modeling.elmo_config import ElmoConfig
from modeling.layers import base, dropout, recurrent, scalar_mix

# B rows, S = T + 2 words with <S> and </S>, C characters, D cells a direction.

DROPOUT_RATE = 0.5  # the paper's, on ELMo's vectors and on what is read of them


class ElmoReader(base.Layer):
    """ELMo: the scope `lm`; the weights of its layers and the LSTM: the reader's own.

    Args:
      config: the language model's architecture.
      frozen: bool; True uses ELMo's vectors as features: no dropout in it.
      **kwargs: see `base.Layer`; `name` is that of the head which reads the words.
    """

    _UNITS = 128  # D
    width = 2 * _UNITS

    def __init__(self, config: ElmoConfig, *, frozen: bool, **kwargs):
        super().__init__(**kwargs)
        self.config, self.frozen = config, frozen
        self.lm = ElmoModel(config, **self.inherit(SCOPE))
        self.mix = scalar_mix.ScalarMix(
            config.lstm.n_layers + 1, **self.inherit("scalar_mix")
        )
        self.rnn = recurrent.Bidirectional(
            "lstm", self._UNITS, DROPOUT_RATE, **self.inherit("rnn")
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `scalar_mix` and `rnn`."""
        self.mix.build()
        self.rnn.build([None, None, 2 * self.config.lstm.projection_dim])

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Reads sentences.

        Args:
          input_ids: int [B, S, C] or [B, S], see `ElmoModel.call`.
          input_mask: int [B, S]; not read, since padding has the id 0.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `sequence_output` float32 [B, S, 2D], zero at the first `<S>`, the last `</S>`
          and padding; `word_mask` int32 [B, S], 0 there and 1 elsewhere.
        """
        del input_mask
        seed = dropout.encoder_seed(dropout_seed, self.frozen)
        found = self.lm(input_ids, dropout_seed=seed)
        layers, mask = found["lm_embeddings"], found["mask"]
        if self.frozen:
            layers = tf.stop_gradient(layers)
        x = self.mix(layers)  # [B, T, 2P]
        x = self.rnn(x, tf.reduce_sum(mask, axis=1), dropout_seed)
        return {
            "sequence_output": tf.pad(x, [[0, 0], [1, 1], [0, 0]]),
            "word_mask": tf.pad(mask, [[0, 0], [1, 1]]),
        }
