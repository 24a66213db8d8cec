"""Where rows that are sorted by length are cut into batches of different sizes."""

import itertools

import tensorflow as tf

# Batches by positions have so many, padding included, but no more rows than that.
_POSITIONS, _MOST_ROWS = 8192, 256
# Numbers of rows, where there is a choice: XLA compiles for each one anew.
_ROWS = (1, 2, 3, *(rows << k for k in range(20) for rows in (4, 5, 6, 7)))
_BETWEEN = [(less + more) / 2 for less, more in itertools.pairwise(_ROWS)]


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


def by_pieces(lengths: tf.Tensor, batches: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts rows into a number of batches of about equally many pieces.

    Each ends as near to where equal shares would have it as one of a few numbers of
    rows allows, which the next one makes up for; the last has the rows that are left.

    Args:
      lengths: int32 [n] of the rows, in pieces.
      batches: at most n.

    Returns:
      Where batches begin and where they end, both int32 [batches].
    """
    number = tf.size(lengths)
    lengths = tf.cast(lengths, tf.int64)
    sums = tf.cumsum(lengths)
    # A row belongs to the share in which its middle lies; twice and `batches` times
    # all, these are integers.
    middles = (2 * sums - lengths) * batches
    shares = tf.range(1, batches, dtype=tf.int64) * 2 * sums[-1]
    wanted = tf.searchsorted(middles, shares, side="right")

    def cut(batch, start, ends):
        rows = tf.cast(wanted[batch] - start, tf.float32)
        rows = tf.gather(_ROWS, tf.searchsorted(_BETWEEN, rows[None]))[0]
        # At least one row is left to each of the others.
        end = tf.minimum(start + rows, number - (batches - 1 - batch))
        return batch + 1, end, ends.write(batch, end)

    ends = tf.TensorArray(tf.int32, batches - 1, element_shape=[])
    *_, ends = tf.while_loop(lambda batch, *_: batch < batches - 1, cut, (0, 0, ends))
    ends = tf.concat([ends.stack(), [number]], axis=0)
    return tf.concat([[0], ends[:-1]], axis=0), ends
