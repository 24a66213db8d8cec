"""Token, segment and position embeddings, summed, normalized and dropped."""

from collections.abc import Sequence

import tensorflow as tf

from errors import UserError
from modeling.layers import base, dense, dropout, fused, packing


class SummedEmbeddings(base.Layer):
    """How a sum of embeddings becomes the input of the first block.

    Args:
      hidden_size: int, H.
      max_position_embeddings: int, the longest sequence.
      dropout_rate: float.
      epsilon: float, of the layer normalization.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        hidden_size: int,
        max_position_embeddings: int,
        dropout_rate: float = 0.0,
        epsilon: float = 1e-12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.max_position_embeddings = max_position_embeddings
        self.dropout_rate = dropout_rate
        self.norm = dense.LayerNorm(epsilon, **self.inherit("LayerNorm"))

    def build(self, input_shape):
        """Makes the variables of `LayerNorm`."""
        self.norm.build([None, self.hidden_size])
        self.site = dropout.site_id(base.released_name(self.path))

    def checked_length(self, input_ids: tf.Tensor) -> int | tf.Tensor:
        """Returns S of int [B, S].

        Raises:
          UserError: a static S is longer than the position table; an S that is only
            known when running fails in the slice instead.
        """
        length = base.shape_list(input_ids)[1]
        if isinstance(length, int) and length > self.max_position_embeddings:
            raise UserError(
                f"input_ids have sequence length {length}, but the position table "
                f"ends at max_position_embeddings {self.max_position_embeddings}"
            )
        return length

    def normalize(
        self,
        parts: Sequence[tf.Tensor],
        dropout_seed: tf.Tensor | None,
        rows: packing.Rows,
    ) -> tf.Tensor:
        """Dropout(LayerNorm(the sum of the parts)).

        Args:
          parts: float32, as `rows` take them of rectangles and of positions; the first
            is of a rectangle.
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that the result has.

        Returns:
          compute dtype [M, H].
        """
        rate, site = self.dropout_rate, self.site
        if self.fused:
            x = fused.sum_norm_dropout(
                parts,
                self.norm.gamma,
                self.norm.beta,
                self.norm.epsilon,
                rate,
                fused.draw(rate, dropout_seed, site, rows.places),
                self.compute_dtype,
            )
        else:
            x = self.norm(sum(parts[1:], parts[0]))
            x = dropout.dropout(x, rate, dropout_seed, site, rows.places)
        return tf.reshape(x, [-1, self.hidden_size])


class Embeddings(SummedEmbeddings):
    """BERT's input (Devlin et al. 2018, figure 2): the released scope `embeddings`.

    Args:
      vocab_size: int.
      hidden_size: int, H.
      type_vocab_size: int, number of segments.
      max_position_embeddings: int, the longest sequence.
      dropout_rate: float.
      epsilon: float, of the layer normalization.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        type_vocab_size: int,
        max_position_embeddings: int,
        dropout_rate: float = 0.0,
        epsilon: float = 1e-12,
        **kwargs,
    ):
        super().__init__(
            hidden_size, max_position_embeddings, dropout_rate, epsilon, **kwargs
        )
        self.vocab_size = vocab_size
        self.type_vocab_size = type_vocab_size

    def build(self, input_shape):
        """Makes the three tables and the variables of `LayerNorm`."""
        width = self.hidden_size
        self.word_embeddings = self.add_normal(
            "word_embeddings", [self.vocab_size, width]
        )
        self.token_type_embeddings = self.add_normal(
            "token_type_embeddings", [self.type_vocab_size, width]
        )
        self.position_embeddings = self.add_normal(
            "position_embeddings", [self.max_position_embeddings, width]
        )
        super().build(input_shape)

    def call(
        self,
        input_ids: tf.Tensor,
        segment_ids: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
        rows: packing.Rows = packing.PADDED,
    ) -> tf.Tensor:
        """Looks up.

        Args:
          input_ids: int [B, S].
          segment_ids: int [B, S].
          dropout_seed: int32 [2]; None = inference.
          rows: the positions that the result has.

        Returns:
          compute dtype [M, H].

        Raises:
          UserError: see `checked_length`.
        """
        length = self.checked_length(input_ids)
        words = tf.gather(self.word_embeddings, rows.take(input_ids))
        types = tf.gather(self.token_type_embeddings, rows.take(segment_ids))
        positions = rows.take_positions(self.position_embeddings, length)
        return self.normalize((words, types, positions), dropout_seed, rows)


def look_up(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Looks up ids that were moved up by one, so that 0 is padding.

    Args:
      table: float [V, E].
      ids: int, any shape, at most V.

    Returns:
      float [..., E]: row id - 1 of the table, and zeros for id 0.
    """
    rows = tf.gather(tf.convert_to_tensor(table), tf.maximum(ids - 1, 0))
    return rows * tf.cast(ids > 0, rows.dtype)[..., None]
