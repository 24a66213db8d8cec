"""Dropout whose mask is a function of (element, seed, call site) and is never stored.

A hash of integers is several times cheaper than a random generator, gives the same bits
with and without XLA, on one replica or after a restart, and can be recomputed in the
backward pass.
"""

import zlib

import tensorflow as tf

_UINT32 = tf.uint32


def site_id(path: str) -> int:
    """Returns the id of a dropout call site, made from its layer's path."""
    return zlib.crc32(path.encode())


def encoder_seed(
    dropout_seed: tf.Tensor | None, frozen_encoder: bool
) -> tf.Tensor | None:
    """What a frozen encoder is in every task: one without dropout in it.

    Its variables are frozen by their parameter groups; the head on top of it keeps its
    own dropout.

    Args:
      dropout_seed: int32 [2], of the whole model; None = inference.
      frozen_encoder: whether the encoder gives features only.

    Returns:
      The encoder's seed.
    """
    return None if frozen_encoder else dropout_seed


def _mix(x: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Hashes 32 bits with a key between two rounds of multiply and xor-shift.

    The multipliers are Wellons's `lowbias32` (github.com/skeeto/hash-prospector). His
    last xor-shift is left out: it would change the low bits only, which nobody reads.
    """
    x ^= tf.bitwise.right_shift(x, tf.constant(16, _UINT32))
    x *= tf.constant(0x7FEB352D, _UINT32)
    x ^= key ^ tf.bitwise.right_shift(x, tf.constant(15, _UINT32))
    return x * tf.constant(0x846CA68B, _UINT32)


def random_bits(
    shape: tf.Tensor,
    seed: tf.Tensor,
    site: int | tf.Tensor,
    places: tf.Tensor | None = None,
) -> tf.Tensor:
    """Draws bits for every element; only the high ones are random.

    Args:
      shape: int32 [rank], the shape of the result, of fewer than 2^31 elements.
      seed: int32 [2]: the step, and the run's seed with the replica's number.
      site: uint32 scalar, the call site's id.
      places: int32 [M], where the rows of a matrix [M, n] stand in a larger one, whose
        bits they get; None: where they are.

    Returns:
      uint32, of that shape; a pure function of the arguments.
    """
    seed = tf.bitcast(seed, _UINT32)
    site = tf.cast(site, _UINT32)
    # Two keys, so that the masks of two steps are not one sequence at two offsets.
    # Rounds on scalars cost nothing; the golden ratio keeps 0 from being fixed.
    golden = tf.constant(0x9E3779B9, _UINT32)
    first = _avalanche(_avalanche(_avalanche(seed[0] + golden) + seed[1]) ^ site)
    second = _avalanche(first + golden)
    if places is None:
        index = tf.reshape(tf.range(tf.reduce_prod(shape)), shape)
    else:
        index = places[:, None] * shape[1] + tf.range(shape[1])
    return _mix(tf.bitcast(index, _UINT32) + first, second)


def keep_mask(
    shape: tf.Tensor,
    rate: float,
    seed: tf.Tensor,
    site: int | tf.Tensor,
    places: tf.Tensor | None = None,
) -> tf.Tensor:
    """Says which elements survive: a pure function of its arguments.

    Args:
      shape: see `random_bits`.
      rate: float in [0, 1), the probability of dropping.
      seed: int32 [2].
      site: uint32 scalar.
      places: int32 [M], see `random_bits`.

    Returns:
      bool, of that shape; True = keep.
    """
    bits = random_bits(shape, seed, site, places)
    return bits >= tf.constant(round(rate * 2**32), _UINT32)


def _avalanche(x: tf.Tensor) -> tf.Tensor:
    """One whole round of hashing, for scalars."""
    x = _mix(x, tf.constant(0, _UINT32))
    return x ^ tf.bitwise.right_shift(x, tf.constant(16, _UINT32))


def drop(
    x: tf.Tensor,
    rate: float,
    seed: tf.Tensor,
    site: int | tf.Tensor,
    places: tf.Tensor | None = None,
) -> tf.Tensor:
    """Zeroes dropped elements and scales the others by 1 / (1 - rate).

    The function is linear in `x` and its own gradient with respect to it.

    Args:
      x: float, any shape.
      rate: float in [0, 1).
      seed: int32 [2].
      site: uint32 scalar.
      places: int32 [M], see `random_bits`.

    Returns:
      As `x`.
    """
    keep = keep_mask(tf.shape(x), rate, seed, site, places)
    return tf.where(keep, x * tf.cast(1 / (1 - rate), x.dtype), tf.zeros([], x.dtype))


def dropout(
    x: tf.Tensor,
    rate: float,
    seed: tf.Tensor | None,
    site: int,
    places: tf.Tensor | None = None,
) -> tf.Tensor:
    """Dropout (Srivastava et al. 2014), with the mask recomputed in the backward pass.

    Args:
      x: float, any shape.
      rate: float in [0, 1), the probability of dropping.
      seed: int32 [2]; None = inference, which drops nothing.
      site: the call site's id, from `site_id`.
      places: int32 [M], see `random_bits`.

    Returns:
      As `x`.
    """
    if seed is None or rate == 0:
        return x

    @tf.custom_gradient
    def dropped(x):
        def gradient(dy):
            return drop(dy, rate, seed, site, places)

        return drop(x, rate, seed, site, places), gradient

    return dropped(x)
