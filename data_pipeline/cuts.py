"""Where rows that are sorted by length are cut into batches of different sizes."""

import tensorflow as tf

# Batches by positions have so many, padding included, but no more rows than that.
_POSITIONS, _MOST_ROWS = 8192, 256
# Numbers of rows, where there is a choice: XLA compiles for each one anew.
_ROWS = (1, 2, 3, *(rows << k for k in range(7) for rows in (4, 5, 6, 7)))


def rows_by_positions(buckets: tuple[int, ...], replicas: int) -> list[int]:
    """Rows of global batches padded to each bucket, a multiple of the replicas."""
    rows = (min(_MOST_ROWS, max(1, _POSITIONS // bucket)) for bucket in buckets)
    return [number + -number % replicas for number in rows]


def by_positions(most: tf.Tensor, replicas: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts rows into batches that are as large as the first row of each allows.

    Args:
      most: int32 [n], rows of a batch that begins with that one; none smaller than the
        one before, all multiples of the replicas.
      replicas: that share a batch.

    Returns:
      Where batches begin, and where they end once they are filled up: the last may do
      so behind the last row. Both are int32.
    """
    number = tf.size(most)
    starts = tf.TensorArray(tf.int32, 0, dynamic_size=True)
    _, starts = tf.while_loop(
        lambda start, _: start < number,
        lambda start, found: (start + most[start], found.write(found.size(), start)),
        (0, starts),
    )
    starts = starts.stack()
    left = number - starts[-1]
    left = tf.gather(tf.constant(_ROWS), tf.searchsorted(_ROWS, left[None]))[0]
    left = tf.minimum(left + -left % replicas, most[starts[-1]])
    return starts, tf.concat([starts[1:], [starts[-1] + left]], axis=0)
