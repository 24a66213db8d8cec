"""A classifier on ELMo's vectors (Peters et al. 2018, section 3.2).

The largest value over the words, feature by feature, of what `elmo_reader` makes of
them is classified.
"""

import keras
import tensorflow as tf

from modeling.elmo_config import ElmoConfig
from modeling.elmo_reader import DROPOUT_RATE, ElmoReader
from modeling.layers import base, dropout, heads, pooling

# B batch, S words with <S> and </S>, C characters.


class ElmoClassifier(base.Model):
    """ELMo under the head `classifier`.

    Args:
      config: the language model's architecture.
      num_outputs: int.
      frozen_encoder: bool; see `ElmoReader`.
      name: str; the root's own name is no part of released names.
      **kwargs: see `base.Layer`.
    """

    config_class = ElmoConfig

    def __init__(
        self,
        config: ElmoConfig,
        num_outputs: int,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.num_outputs = num_outputs
        self.frozen_encoder = frozen_encoder
        self.reader = ElmoReader(
            config, frozen=frozen_encoder, **self.inherit("classifier")
        )
        self.outputs = heads.OutputProjection(num_outputs, **self.inherit("output"))
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `classifier/output`."""
        with keras.name_scope("classifier"):
            self.outputs.build([None, self.reader.width])
        self.site = dropout.site_id("classifier")

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {
            "num_outputs": self.num_outputs,
            "frozen_encoder": self.frozen_encoder,
        }

    def call(
        self, ids: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Classifies.

        Args:
          ids: int [B, S, C] or [B, S], see `ElmoModel.call`.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `logits` float32 [B, num_outputs].
        """
        found = self.reader(ids, dropout_seed=dropout_seed)
        x = pooling.pool(found["sequence_output"], found["word_mask"], "max")
        x = dropout.dropout(x, DROPOUT_RATE, dropout_seed, self.site)
        return {"logits": self.outputs(x)}
