"""Output layers on top of an encoder."""

import tensorflow as tf

from modeling.layers import activations, base, dense


class Pooler(base.Layer):
    """tanh(Dense(first position)): the released scope `pooler`.

    It computes in float32 under every policy: one row a sequence costs nothing.

    Args:
      units: int, H.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense.Dense(
            units, **(self.inherit("dense") | {"dtype": "float32"})
        )

    def build(self, input_shape):
        """Makes the variables of `dense`."""
        self.dense.build([None, input_shape[-1]])

    def call(self, sequence_output: tf.Tensor) -> tf.Tensor:
        """Pools.

        Args:
          sequence_output: float [B, S, H].

        Returns:
          float32 [B, H].
        """
        return tf.tanh(self.dense(sequence_output[:, 0]))


class OutputProjection(base.Layer):
    """x W^T + b in float32, with the transposed kernel of the parent's output layers.

    Args:
      num_outputs: int.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, num_outputs: int, **kwargs):
        super().__init__(**kwargs)
        self.num_outputs = num_outputs

    def build(self, input_shape):
        """Makes `output_weights` [num_outputs, H] and `output_bias` [num_outputs]."""
        self.output_weights = self.add_normal(
            "output_weights", [self.num_outputs, input_shape[-1]]
        )
        self.output_bias = self.add_constant("output_bias", [self.num_outputs], 0.0)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Projects.

        Args:
          x: float [M, H].

        Returns:
          float32 [M, num_outputs].
        """
        x = tf.cast(x, tf.float32)
        return tf.matmul(x, self.output_weights, transpose_b=True) + self.output_bias


class Transform(base.Layer):
    """LayerNorm(activation(Dense(x))): the scope `cls/predictions/transform`.

    Args:
      units: int, H.
      activation: str, see `activations.get_activation`.
      epsilon: float, of the layer normalization.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, units: int, activation: str, epsilon: float = 1e-12, **kwargs):
        super().__init__(**kwargs)
        self.activation = activations.get_activation(activation)
        self.dense = dense.Dense(units, **self.inherit("dense"))
        self.norm = dense.LayerNorm(epsilon, **self.inherit("LayerNorm"))

    def build(self, input_shape):
        """Makes the variables of `dense` and `LayerNorm`."""
        self.dense.build(input_shape)
        self.norm.build([None, self.dense.units])

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Transforms.

        Args:
          x: float [M, H].

        Returns:
          compute dtype [M, H].
        """
        return self.norm(self.activation(self.dense(x)))


class MaskedLanguageModel(base.Layer):
    """Scores of the vocabulary at chosen positions: the scope `cls/predictions`.

    Args:
      vocab_size: int, V.
      hidden_size: int, H.
      activation: str, see `activations.get_activation`.
      epsilon: float, of the layer normalization.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        activation: str,
        epsilon: float = 1e-12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.transform = Transform(
            hidden_size, activation, epsilon, **self.inherit("transform")
        )

    def build(self, input_shape):
        """Makes the variables of `transform`, and `output_bias` [V]."""
        self.transform.build([None, input_shape[-1]])
        self.output_bias = self.add_constant("output_bias", [self.vocab_size], 0.0)

    def call(
        self,
        sequence_output: tf.Tensor,
        masked_lm_positions: tf.Tensor,
        embedding_table: tf.Tensor,
    ) -> tf.Tensor:
        """Gathers the positions first, then scores only them.

        Args:
          sequence_output: float [B, S, H].
          masked_lm_positions: int [B, P].
          embedding_table: float32 [V, H], the word embeddings, which are the output
            weights as well.

        Returns:
          float32 [B, P, V], logits.
        """
        batch, positions = base.shape_list(masked_lm_positions)
        x = tf.gather(sequence_output, masked_lm_positions, batch_dims=1)  # [B, P, H]
        x = self.transform(tf.reshape(x, [-1, x.shape[-1]]))
        table = tf.cast(embedding_table, x.dtype)
        logits = tf.cast(tf.matmul(x, table, transpose_b=True), tf.float32)
        return tf.reshape(logits + self.output_bias, [batch, positions, -1])


class PreTrainingHeads(base.Layer):
    """BERT's two pre-training tasks (section 3.1): the released scope `cls`.

    Args:
      vocab_size: int, V.
      hidden_size: int, H.
      activation: str, see `activations.get_activation`.
      epsilon: float, of the layer normalization.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        activation: str,
        epsilon: float = 1e-12,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.predictions = MaskedLanguageModel(
            vocab_size, hidden_size, activation, epsilon, **self.inherit("predictions")
        )
        self.seq_relationship = OutputProjection(2, **self.inherit("seq_relationship"))

    def build(self, input_shape):
        """Makes the variables of `predictions` and `seq_relationship`."""
        self.predictions.build(input_shape)
        self.seq_relationship.build([None, input_shape[-1]])

    def call(
        self,
        sequence_output: tf.Tensor,
        pooled_output: tf.Tensor,
        masked_lm_positions: tf.Tensor,
        embedding_table: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Scores words and sentence order.

        Args:
          sequence_output: float [B, S, H].
          pooled_output: float [B, H].
          masked_lm_positions: int [B, P].
          embedding_table: float32 [V, H].

        Returns:
          `masked_lm_logits` float32 [B, P, V]; `next_sentence_logits` float32 [B, 2],
          where 0 is "the next sentence" and 1 "a random sentence".
        """
        return {
            "masked_lm_logits": self.predictions(
                sequence_output, masked_lm_positions, embedding_table
            ),
            "next_sentence_logits": self.seq_relationship(pooled_output),
        }


class SpanHead(base.Layer):
    """Scores of every position to begin and to end an answer: the released scope `cls`.

    Args:
      hidden_size: int, H.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, hidden_size: int, **kwargs):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.squad = OutputProjection(2, **self.inherit("squad"))

    def build(self, input_shape):
        """Makes the variables of `squad`."""
        self.squad.build([None, self.hidden_size])

    def call(self, sequence_output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores.

        Args:
          sequence_output: float [B, S, H].

        Returns:
          Logits of the starts and of the ends, float32 [B, S] each.
        """
        batch, length, width = base.shape_list(sequence_output)
        logits = self.squad(tf.reshape(sequence_output, [-1, width]))
        logits = tf.reshape(logits, [batch, length, 2])
        return logits[:, :, 0], logits[:, :, 1]
