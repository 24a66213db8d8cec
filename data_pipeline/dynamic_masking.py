"""Words to predict, drawn anew whenever a row is read (facebookresearch/XLM, mask_out).

Of the chosen positions 80 % become the mask, 10 % any word, and 10 % stay as they are.
What is drawn is a hash of a row's key and the position: no generator, so that neither
batches nor replicas nor where a run began change it.
"""

# B rows, S positions, V words.

import math

import numpy as np
import tensorflow as tf

WORD_PRED = 0.15  # the original's --word_pred
_MASKED, _KEPT = 0.8, 0.1  # of the chosen ones; the rest is any word
_GOLDEN = 0x9E3779B97F4A7C15
_FACTORS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
# What is drawn for a position.
_CHOICE, _KIND, _WORD = range(3)

Masked = tuple[tf.Tensor, tf.Tensor]


def row_keys(seed: int, numbers: tuple[tf.Tensor | int, ...]) -> tf.Tensor:
    """Returns a key for each row, from a seed and what tells the row from others.

    Args:
      seed: of the run.
      numbers: int [] or [B] each, as the update and the row.

    Returns:
      uint64 [B], or [] if all numbers are.
    """
    key = _mixed(tf.constant(seed % 2**64, tf.uint64))
    for number in numbers:
        key = _mixed(key + _mixed(tf.cast(number, tf.uint64)))
    return key


def mask(
    ids: tf.Tensor,
    lengths: tf.Tensor,
    keys: tf.Tensor,
    mask_id: int,
    vocab_size: int,
    scores: np.ndarray | None = None,
) -> Masked:
    """Masks a training batch.

    Args:
      ids: int32 [B, S].
      lengths: int32 [B], real positions of each row.
      keys: uint64 [B], see `row_keys`.
      mask_id: the word that stands for a masked one.
      vocab_size: V; any word is one of them, special ones too.
      scores: float32 [V], how likely a word is chosen against others, 0 for never:
        15 % of all positions are, padding counted. None: every position is chosen in
        15 % of all cases, by itself.

    Returns:
      ids int32 [B, S] and int32 [B, S], 1 where the word is to be predicted: never at a
      row's first position, nor at padding.
    """
    chosen = _uniform(keys, ids, _CHOICE)
    if scores is None:
        chosen = chosen < WORD_PRED
    else:
        chosen = _most_likely(
            chosen, tf.gather(tf.convert_to_tensor(scores), ids), lengths
        )
    chosen &= _between(ids, 1, lengths)
    kind = _uniform(keys, ids, _KIND)
    bits = tf.bitwise.right_shift(_bits(keys, ids, _WORD), _const(33))
    drawn = tf.cast(tf.cast(bits, tf.int64) % vocab_size, tf.int32)
    instead = tf.where(kind < _MASKED + _KEPT, ids, drawn)
    instead = tf.where(kind < _MASKED, mask_id, instead)
    return tf.where(chosen, instead, ids), tf.cast(chosen, tf.int32)


def mask_for_evaluation(
    ids: tf.Tensor, lengths: tf.Tensor, keys: tf.Tensor, mask_id: int
) -> Masked:
    """Masks rows as the original's evaluation: at least one word, and always by a mask.

    The last position, which ends a sentence, is not predicted either. The arguments and
    what is returned are those of `mask`.
    """
    inside = _between(ids, 1, lengths - 1)
    drawn = tf.where(inside, _uniform(keys, ids, _CHOICE), 1.0)
    first = tf.reduce_min(drawn, axis=1, keepdims=True)
    chosen = inside & ((drawn < WORD_PRED) | (drawn == first))
    return tf.where(chosen, mask_id, ids), tf.cast(chosen, tf.int32)


def _most_likely(uniform, scores, lengths):
    """Draws 15 % of all positions without replacement, in proportion to their scores.

    The largest log(score) + Gumbel noise are such a draw.
    """
    real = tf.cast(_between(scores, 0, lengths), scores.dtype)
    noise = -tf.math.log(-tf.math.log(uniform))
    ranks = tf.reshape(tf.math.log(scores * real) + noise, [-1])
    longest = tf.cast(tf.reduce_max(lengths), tf.float64)
    rows = tf.cast(tf.shape(scores)[0], tf.float64)
    number = tf.cast(tf.math.ceil(WORD_PRED * longest * rows), tf.int32)
    values, places = tf.math.top_k(ranks, number)
    chosen = tf.scatter_nd(
        places[:, None], tf.cast(values > -math.inf, tf.int32), tf.shape(ranks)
    )
    return tf.reshape(chosen, tf.shape(scores)) > 0


def _between(values, first, ends):
    """Tells which positions of [B, S] are `first` or later, and before `ends` [B]."""
    places = tf.range(tf.shape(values)[1])[None]
    return (places >= first) & (places < ends[:, None])


def _uniform(keys, ids, purpose):
    """Numbers in (0, 1), float32 [B, S]."""
    bits = tf.bitwise.right_shift(_bits(keys, ids, purpose), _const(40))
    return (tf.cast(bits, tf.float32) + 0.5) * 2.0**-24


def _bits(keys, ids, purpose):
    """64 random bits for every position, uint64 [B, S]."""
    places = tf.range(tf.shape(ids)[1]) * 4 + purpose
    return _mixed(keys[:, None] + _mixed(tf.cast(places, tf.uint64))[None])


def _mixed(values):
    """64 well-mixed bits of each value (a step of splitmix64)."""
    mixed = values + _const(_GOLDEN)
    for shift, factor in _FACTORS:
        shifted = tf.bitwise.right_shift(mixed, _const(shift))
        mixed = tf.bitwise.bitwise_xor(mixed, shifted) * _const(factor)
    return tf.bitwise.bitwise_xor(mixed, tf.bitwise.right_shift(mixed, _const(31)))


def _const(value):
    return tf.constant(value, tf.uint64)
