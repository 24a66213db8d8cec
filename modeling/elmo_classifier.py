"""A classifier on ELMo's vectors (Peters et al. 2018, sections 3.2 and 3.3).

The layers, weighted as the task learns, are what an ordinary model of the task reads in
place of word vectors: here one bidirectional LSTM, whose largest value over the words,
feature by feature, is classified. The language model itself is usually left as it is.
"""

import tensorflow as tf

from modeling.elmo import SCOPE, ElmoModel
from modeling.elmo_config import ElmoConfig
from modeling.layers import base, dropout, heads, pooling, recurrent, scalar_mix

# B batch, T words, L layers, H width of a layer, D cells a direction.


class ClassificationHead(base.Layer):
    """The layers' weights, a bidirectional LSTM, and the output.

    Args:
      num_layers: int, L.
      num_outputs: int.
      **kwargs: see `base.Layer`.
    """

    _UNITS = 128  # D
    _DROPOUT_RATE = 0.5  # the paper's, on ELMo's vectors

    def __init__(self, num_layers: int, num_outputs: int, **kwargs):
        super().__init__(**kwargs)
        self.mix = scalar_mix.ScalarMix(num_layers, **self.inherit("scalar_mix"))
        self.directions = [
            recurrent.LstmStack(1, self._UNITS, self._UNITS, **self.inherit(f"RNN_{i}"))
            for i in range(2)
        ]
        self.outputs = heads.OutputProjection(num_outputs, **self.inherit("output"))

    def build(self, input_shape):
        """Makes the variables, for layers [B, L, T, H]."""
        self.mix.build()
        for direction in self.directions:
            direction.build([None, None, input_shape[-1]])
        self.outputs.build([None, 2 * self._UNITS])
        self.sites = [dropout.site_id(f"{self.path}/{i}") for i in range(2)]

    def call(
        self, layers: tf.Tensor, mask: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Scores.

        Args:
          layers: float32 [B, L, T, H].
          mask: int32 [B, T], 1 = real.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          float32 [B, num_outputs].
        """
        lengths = tf.reduce_sum(mask, axis=1)
        rate = self._DROPOUT_RATE
        x = dropout.dropout(self.mix(layers, mask), rate, dropout_seed, self.sites[0])
        (ahead,), _ = self.directions[0](x, lengths)
        (back,), _ = self.directions[1](tf.reverse_sequence(x, lengths, 1), lengths)
        x = tf.concat([ahead, tf.reverse_sequence(back, lengths, 1)], -1)  # [B, T, 2D]
        x = pooling.pool(x, mask, "max")
        return self.outputs(dropout.dropout(x, rate, dropout_seed, self.sites[1]))


class ElmoClassifier(base.Layer):
    """ELMo under the head `classifier`.

    Args:
      config: the language model's architecture.
      num_outputs: int.
      frozen_encoder: bool; True uses ELMo's vectors as features: no dropout in it.
      name: str; the root's own name is no part of released names.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        config: ElmoConfig,
        num_outputs: int,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.config, self.num_outputs = config, num_outputs
        self.frozen_encoder = frozen_encoder
        inherited = self.inherit(SCOPE)
        inherited.pop("initializer_range")  # ELMo has its own distributions
        self.lm = ElmoModel(config, **inherited)
        self.classifier = ClassificationHead(
            config.lstm.n_layers + 1, num_outputs, **self.inherit("classifier")
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `classifier`."""
        width = 2 * self.config.lstm.projection_dim
        self.classifier.build([None, None, None, width])

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return {
            "config": self.config.to_dict(),
            "num_outputs": self.num_outputs,
            "frozen_encoder": self.frozen_encoder,
            "dtype": self.dtype_policy.name,
            "seed": self.seed,
            "fused": self.fused,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        """Makes a model from what `get_config` returned; its weights are new."""
        return cls(**(config | {"config": ElmoConfig.from_dict(config["config"])}))

    def call(
        self, ids: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Classifies.

        Args:
          ids: int [B, T, C] or [B, T], see `ElmoModel.embed`.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `logits` float32 [B, num_outputs].
        """
        seed = None if self.frozen_encoder else dropout_seed
        found = self.lm(ids, dropout_seed=seed)
        layers = found["lm_embeddings"]
        if self.frozen_encoder:
            layers = tf.stop_gradient(layers)
        return {"logits": self.classifier(layers, found["mask"], dropout_seed)}
