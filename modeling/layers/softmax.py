"""A softmax over many words, in full or over a sample of them (Jean et al. 2015)."""

import math

import tensorflow as tf

from modeling.layers import base, initial


class WordSoftmax(base.Layer):
    """The output layer of a word language model: the released scope `softmax`.

    Args:
      vocab_size: int, V.
      own_weight: bool; False = `W` is another layer's table, given to the methods.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, vocab_size: int, own_weight: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.own_weight = own_weight

    def build(self, input_shape):
        """Makes `W` [V, P], if it is this layer's own, and `b` [V]."""
        width = input_shape[-1]
        self.weight = None
        if self.own_weight:
            self.weight = self.add_normal(
                "W", [self.vocab_size, width], initial.normal(width**-0.5)
            )
        self.bias = self.add_constant("b", [self.vocab_size], 0.0)

    def logits(self, x: tf.Tensor, weight: tf.Tensor | None = None) -> tf.Tensor:
        """Scores all words: float [N, P] -> float32 [N, V]."""
        weight = self.weight if weight is None else weight
        x, weight = (tf.cast(v, self.compute_dtype) for v in (x, weight))
        return tf.cast(tf.matmul(x, weight, transpose_b=True), tf.float32) + self.bias

    def call(
        self,
        x: tf.Tensor,
        labels: tf.Tensor,
        weight: tf.Tensor | None = None,
        sample: tuple[tf.Tensor, tf.Tensor, tf.Tensor] | None = None,
    ) -> tf.Tensor:
        """Computes the loss of every row.

        Args:
          x: float [N, P].
          labels: int [N].
          weight: [V, P], where `W` is not this layer's own.
          sample: from `log_uniform_sample`: the loss over the labels and the sampled
            words only, for training; None = over all words.

        Returns:
          float32 [N], in nats.
        """
        if sample is None:
            return tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels, logits=self.logits(x, weight)
            )
        return tf.nn.sampled_softmax_loss(
            weights=tf.convert_to_tensor(self.weight if weight is None else weight),
            biases=tf.convert_to_tensor(self.bias),
            labels=tf.cast(labels, tf.int64)[:, None],
            inputs=tf.cast(x, tf.float32),
            num_sampled=sample[0].shape[0],
            num_classes=self.vocab_size,
            sampled_values=sample,
        )


def log_uniform_sample(
    labels: tf.Tensor, num_sampled: int, vocab_size: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draws distinct words: P(k) = log((k + 2) / (k + 1)) / log(V + 1).

    The distribution of TF's log-uniform sampler, for a vocabulary sorted by falling
    frequency; but a pure function of the seed, so that a run can be resumed.

    Args:
      labels: int [N], whose expected counts are wanted.
      num_sampled: int, at most V.
      vocab_size: int, V.
      seed: int32 [2].

    Returns:
      What `tf.nn.sampled_softmax_loss` takes as `sampled_values`: words int64 [S];
      expected counts of the labels, float32 [N, 1], and of the words, float32 [S].
    """
    words, tries = _draw_distinct(num_sampled, vocab_size, seed)

    def expected_count(ids):
        ids = tf.cast(ids, tf.float32)
        probability = tf.math.log1p(1 / (ids + 1)) / math.log(vocab_size + 1)
        # Of at least one hit in so many tries.
        return -tf.math.expm1(tries * tf.math.log1p(-probability))

    return words, expected_count(labels[:, None]), expected_count(words)


def _draw_distinct(
    num_sampled: int, vocab_size: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws until there are enough distinct words; returns them and float32 tries."""
    chunk = 2 * num_sampled

    def draw(turn):
        key = tf.random.experimental.stateless_fold_in(seed, turn)
        u = tf.random.stateless_uniform([chunk], key)
        k = tf.exp(u * math.log(vocab_size + 1)) - 1
        return tf.minimum(tf.cast(k, tf.int64), vocab_size - 1)

    def missing(turn, drawn):
        del turn
        return tf.size(tf.unique(drawn)[0]) < num_sampled

    def more(turn, drawn):
        return turn + 1, tf.concat([drawn, draw(turn)], 0)

    start = (tf.constant(0), tf.zeros([0], tf.int64))
    shapes = (tf.TensorShape([]), tf.TensorShape([None]))
    _, drawn = tf.while_loop(missing, more, start, shape_invariants=shapes)
    words, index = tf.unique(drawn)
    tries = tf.argmax(tf.cast(index == num_sampled - 1, tf.int32)) + 1
    return tf.reshape(words[:num_sampled], [num_sampled]), tf.cast(tries, tf.float32)
