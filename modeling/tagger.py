"""A tag for each word, from any encoder of pieces (Devlin et al. 2018, section 5.3).

A word is represented by its first piece; by its last one, where the encoder reads from
left to right. New against that paper: the tags may be chosen together, by a conditional
random field over the words, as in TagLM (Peters et al. 2017, section 2.1); the other
pieces of a word are no part of its chain.
"""

from collections.abc import Mapping

import keras
import tensorflow as tf

from modeling.layers import base, crf, dropout, heads, scalar_mix

# B rows, S pieces, W words, H width of the encoder, K tags.


class TaggingHead(base.Layer):
    """Scores of the tags of words, their losses, and the tags chosen.

    Args:
      hidden_size: int, H.
      num_tags: int, K.
      use_crf: bool; False decides word by word.
      dropout_rate: float in [0, 1), on what represents a word.
      mixed_layers: int, layers of the encoder of which a mixture is learnt, the
        embeddings among them; 0: none is, the last layer is read.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_tags: int,
        use_crf: bool,
        dropout_rate: float = 0.1,
        mixed_layers: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dropout_rate = dropout_rate
        self.mix = None
        if mixed_layers:
            self.mix = scalar_mix.ScalarMix(mixed_layers, **self.inherit("scalar_mix"))
        self.hidden_size = hidden_size
        self.emissions = heads.OutputProjection(num_tags, **self.inherit("emissions"))
        self.crf = crf.LinearChain(num_tags, **self.inherit("crf")) if use_crf else None
        self.site = dropout.site_id("tagger")

    def build(self, input_shape=None):
        """Makes the variables of `emissions`, `crf` and `scalar_mix`."""
        if self.mix:
            self.mix.build()
        self.emissions.build([None, self.hidden_size])
        if self.crf:
            self.crf.build()

    def call(
        self,
        sequence_output: tf.Tensor,
        word_positions: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Scores.

        Args:
          sequence_output: float [B, S, H].
          word_positions: int [B, W], each word's place; 0 = padding.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          float32 [B, W, K].
        """
        batch, words = base.shape_list(word_positions)
        x = tf.gather(sequence_output, word_positions, batch_dims=1)  # [B, W, H]
        x = dropout.dropout(x, self.dropout_rate, dropout_seed, self.site)
        scores = self.emissions(tf.reshape(x, [-1, self.hidden_size]))
        return tf.reshape(scores, [batch, words, self.emissions.num_outputs])

    def losses(
        self, scores: tf.Tensor, tag_ids: tf.Tensor, word_positions: tf.Tensor
    ) -> tf.Tensor:
        """Minus the log likelihood of the tags.

        Args:
          scores: float32 [B, W, K].
          tag_ids: int [B, W].
          word_positions: int [B, W], 0 = padding.

        Returns:
          float32 [B], the sum over a row's words.
        """
        mask = tf.cast(word_positions > 0, tf.int32)
        if self.crf:
            return -self.crf.log_likelihood(scores, tag_ids, mask)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tag_ids, scores)
        return tf.reduce_sum(losses * tf.cast(mask, tf.float32), axis=1)

    def decode(self, scores: tf.Tensor, word_positions: tf.Tensor) -> tf.Tensor:
        """Chooses.

        Args:
          scores: float32 [B, W, K].
          word_positions: int [B, W], 0 = padding.

        Returns:
          int32 [B, W], -1 on padding.
        """
        if self.crf:
            return self.crf(scores, tf.cast(word_positions > 0, tf.int32))
        return tf.where(word_positions > 0, tf.argmax(scores, -1, tf.int32), -1)


class Tagger(base.Layer):
    """An encoder with the head `tagger`.

    Args:
      encoder: called with its inputs by name, and dropout_seed; returns a dict with
        `sequence_output` [B, S, H].
      hidden_size: int, H.
      num_tags: int, K.
      use_crf: bool; see `TaggingHead`.
      dropout_rate: float; see `TaggingHead`.
      mixed_layers: int; see `TaggingHead`.
      frozen_encoder: bool; True uses the encoder for features only: no dropout in it.
      name: str; the root's own name is no part of released names.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        hidden_size: int,
        num_tags: int,
        *,
        use_crf: bool,
        dropout_rate: float = 0.1,
        mixed_layers: int = 0,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.encoder = encoder
        self.frozen_encoder = frozen_encoder
        self.tagger = TaggingHead(
            hidden_size,
            num_tags,
            use_crf,
            dropout_rate,
            mixed_layers,
            **self.inherit("tagger"),
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `tagger`."""
        self.tagger.build()

    def call(
        self,
        inputs: Mapping[str, tf.Tensor],
        word_positions: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Scores the tags of words.

        Args:
          inputs: what the encoder reads: input_ids and input_mask, int [B, S], 1 =
            real, and others.
          word_positions: int [B, W], each word's place; 0 = padding.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          float32 [B, W, K]; `tagger` turns them into losses and tags.
        """
        outputs = self.encoder(
            **inputs,
            dropout_seed=dropout.encoder_seed(dropout_seed, self.frozen_encoder),
        )
        x = outputs["sequence_output"]
        if self.tagger.mix:
            layers = scalar_mix.all_layers(outputs, self.frozen_encoder)
            x = self.tagger.mix(layers)
        return self.tagger(x, word_positions, dropout_seed)
