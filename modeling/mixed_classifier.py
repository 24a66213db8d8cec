"""A classifier on a learnt mixture of an encoder's layers.

What ELMo does with the layers of its language model (Peters et al. 2018, equation 1),
over any encoder, usually a frozen one: the mean over a text's pieces of the mixture is
classified. Layer 0 are the embeddings.
"""

from collections.abc import Mapping

import keras
import tensorflow as tf

from modeling.layers import base, dropout, heads, pooling, scalar_mix

# B rows, S pieces, H width of the encoder, L layers.
_DROPOUT_RATE = 0.1  # as BERT's classifier


class _Head(base.Layer):
    """The mixture and the output layer: the scope `classifier`."""

    def __init__(self, hidden_size: int, num_layers: int, num_outputs: int, **kwargs):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.mix = scalar_mix.ScalarMix(num_layers, **self.inherit("scalar_mix"))
        self.outputs = heads.OutputProjection(num_outputs, **self.inherit("output"))
        self.site = dropout.site_id("classifier")

    def build(self, input_shape=None):
        """Makes the variables of `scalar_mix` and `output`."""
        self.mix.build()
        self.outputs.build([None, self.hidden_size])

    def call(
        self,
        layers: tf.Tensor,
        input_mask: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Mixes float [B, L, S, H], and scores: float32 [B, num_outputs]."""
        x = pooling.pool(self.mix(layers), input_mask, "mean")
        x = dropout.dropout(x, _DROPOUT_RATE, dropout_seed, self.site)
        return self.outputs(x)


class MixedClassifier(base.Layer):
    """An encoder under the head `classifier`.

    Args:
      encoder: called with its inputs by name, and dropout_seed; returns a dict with
        `embedding_output` and the list `all_encoder_layers`, [B, S, H] each.
      hidden_size: int, H.
      num_layers: int, L, the embeddings among them.
      num_outputs: int.
      frozen_encoder: bool; True uses the encoder for features only: no dropout in it.
      name: str; the root's own name is no part of released names.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        hidden_size: int,
        num_layers: int,
        num_outputs: int,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.encoder, self.frozen_encoder = encoder, frozen_encoder
        self.classifier = _Head(
            hidden_size, num_layers, num_outputs, **self.inherit("classifier")
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `classifier`."""
        self.classifier.build()

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Classifies.

        Args:
          inputs: what the encoder reads: input_ids and input_mask, int [B, S], 1 =
            real, and others.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          float32 [B, num_outputs], logits.
        """
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        outputs = self.encoder(**inputs, dropout_seed=seed)
        layers = scalar_mix.all_layers(outputs, self.frozen_encoder)
        return self.classifier(layers, inputs["input_mask"], dropout_seed)
