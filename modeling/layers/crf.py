"""The linear-chain conditional random field (Lafferty et al. 2001) over tag sequences.

A path y_1 ... y_n through emissions e_1 ... e_n scores

    start[y_1] + sum_t e_t[y_t] + sum_t transitions[y_(t-1), y_t] + end[y_n]

and its probability is exp(score) / Z, Z the sum of exp(score) over all paths. All is
computed in float32 and in logarithms, so that a forbidden transition may score -1e4.
"""

import tensorflow as tf

from modeling.layers import base, graphs

# B rows, T positions, K tags. The real positions of a row come first.


def log_likelihood(
    emissions: tf.Tensor,
    tags: tf.Tensor,
    mask: tf.Tensor,
    start: tf.Tensor,
    transitions: tf.Tensor,
    end: tf.Tensor,
) -> tf.Tensor:
    """The logarithm of the given paths' probabilities.

    Args:
      emissions: float32 [B, T, K].
      tags: int [B, T], each below K; those of padding do not matter.
      mask: int [B, T], 1 = real, and so is the first position of every row.
      start: float32 [K], of a path that starts with the tag.
      transitions: float32 [K, K], from the tag of the row to that of the column.
      end: float32 [K], of a path that ends with the tag.

    Returns:
      float32 [B].
    """
    score = path_score(emissions, tags, mask, start, transitions, end)
    return score - log_partition(emissions, mask, start, transitions, end)


def path_score(
    emissions: tf.Tensor,
    tags: tf.Tensor,
    mask: tf.Tensor,
    start: tf.Tensor,
    transitions: tf.Tensor,
    end: tf.Tensor,
) -> tf.Tensor:
    """The scores of the given paths; see `log_likelihood`.

    Returns:
      float32 [B].
    """
    real = tf.cast(mask, tf.float32)
    last = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1) - 1
    emitted = tf.gather(emissions, tags, batch_dims=2)  # [B, T]
    pairs = tf.stack([tags[:, :-1], tags[:, 1:]], axis=-1)  # [B, T-1, 2]
    passed = tf.gather_nd(transitions, pairs)  # [B, T-1]
    return (
        tf.gather(start, tags[:, 0])
        + tf.reduce_sum(emitted * real, axis=1)
        + tf.reduce_sum(passed * real[:, 1:], axis=1)
        + tf.gather(end, tf.gather(tags, last, batch_dims=1))
    )


@graphs.loop
def log_partition(
    emissions: tf.Tensor,
    mask: tf.Tensor,
    start: tf.Tensor,
    transitions: tf.Tensor,
    end: tf.Tensor,
) -> tf.Tensor:
    """Log Z by the forward algorithm (Rabiner 1989, III.A); see `log_likelihood`.

    Returns:
      float32 [B].
    """

    def step(alpha, inputs):
        emission, moves = inputs
        scores = alpha[:, :, None] + transitions  # [B, from, to]
        following = tf.reduce_logsumexp(scores, axis=1) + emission
        return tf.where(moves, following, alpha)

    alpha = tf.foldl(step, _steps(emissions, mask), start + emissions[:, 0])
    return tf.reduce_logsumexp(alpha + end, axis=1)


@graphs.loop
def viterbi(
    emissions: tf.Tensor,
    mask: tf.Tensor,
    start: tf.Tensor,
    transitions: tf.Tensor,
    end: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the best path of each row (Viterbi 1967); see `log_likelihood`.

    Returns:
      The paths, int32 [B, T], -1 on padding; their scores, float32 [B]. Of paths with
      one score, that with the lower tags at the end.
    """
    inputs = _steps(emissions, mask)
    stay = tf.range(tf.shape(transitions)[0])[None, :]  # [1, K]

    def step(state, inputs):
        (delta, _), (emission, moves) = state, inputs
        scores = delta[:, :, None] + transitions  # [B, from, to]
        best = tf.where(moves, tf.argmax(scores, 1, tf.int32), stay)
        delta = tf.where(moves, tf.reduce_max(scores, axis=1) + emission, delta)
        return delta, best

    first = start + emissions[:, 0]
    initial = (first, tf.zeros_like(first, tf.int32))
    deltas, origins = tf.scan(step, inputs, initial)  # [T, B, K]
    finals = deltas[-1] + end
    last = tf.argmax(finals, 1, tf.int32)
    # From the last position to the second: which tag came before?
    before = tf.scan(
        lambda tag, origin: tf.gather(origin, tag, batch_dims=1),
        origins,
        last,
        reverse=True,
    )
    # The first step is from the first position to itself.
    paths = tf.transpose(tf.concat([before[1:], last[None]], axis=0))  # [B, T]
    return tf.where(mask > 0, paths, -1), tf.reduce_max(finals, axis=1)


def _steps(emissions, mask):
    """What each position adds, position first: emissions, and whether there is a move.

    The first position makes none: its scores are the loop's initial state. So a loop
    over all positions does for sequences of length 1, too.
    """
    moves = tf.concat([tf.zeros_like(mask[:, :1]), mask[:, 1:]], axis=1) > 0
    return tf.transpose(emissions, [1, 0, 2]), tf.transpose(moves)[:, :, None]


class LinearChain(base.Layer):
    """The scores `start`, `transitions` and `end` of a conditional random field.

    They begin at 0: an untrained one decides word by word.

    Args:
      num_tags: int, K.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, num_tags: int, **kwargs):
        super().__init__(**kwargs)
        self.num_tags = num_tags

    def build(self, input_shape=None):
        """Makes `start` [K], `transitions` [K, K] (from, to) and `end` [K]."""
        tags = self.num_tags
        self.start = self.add_constant("start", [tags], 0.0)
        self.transitions = self.add_constant("transitions", [tags, tags], 0.0)
        self.end = self.add_constant("end", [tags], 0.0)

    def log_likelihood(
        self, emissions: tf.Tensor, tags: tf.Tensor, mask: tf.Tensor
    ) -> tf.Tensor:
        """See the function of this name; float32 [B]."""
        return log_likelihood(emissions, tags, mask, *self._scores())

    def call(self, emissions: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Decodes.

        Args:
          emissions: float32 [B, T, K].
          mask: int [B, T], 1 = real.

        Returns:
          The best paths, int32 [B, T], -1 on padding.
        """
        return viterbi(emissions, mask, *self._scores())[0]

    def _scores(self):
        found = (self.start, self.transitions, self.end)
        return [tf.convert_to_tensor(variable) for variable in found]
