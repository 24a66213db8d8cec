"""Activations without padding: which positions of a batch have a row, and back.

A batch of texts is a rectangle of ids, [B, S], and of real text much of it is padding.
All of a Transformer but attention looks at one position at a time: there activations
are a matrix with a row for each position, [M, H], in which padding need not be.

    ids [B, S] -take-> [M] -> embeddings -> products, norms, activations [M, H]
    attention:  [M, 3H] -pad-> [B*S, 3H] -> mixes -> [B*S, H] -unpad-> [M, H]
    outputs:    [M, H] -pad-> [B*S, H] -> heads and losses, of real positions only

A model makes the rows of its batch with `rows_of`, hands them to its layers, and never
asks which kind they are. `Rows` are all B*S positions, and nothing moves: so XLA and a
TPU want it, whose shapes are static. `PackedRows` are the real positions, and a few
more. Both compute the same at real positions, to rounding, with the same dropout masks:
an element's is drawn by its place in the rectangle.
"""

import tensorflow as tf

# B sequences, S positions of the longest, M rows, of which T are packed.

# T is one of these, so that what is compiled for a number of rows is used again: a
# quarter of an octave apart, which adds a tenth of rows on average.
_SIZES = (1, 2, 3, *(n << k for k in range(28) for n in (4, 5, 6, 7)))
# A rectangle of no more positions stays as it is, and T is at least that: to compile
# for every small number would cost more than it saves. Tests, whose batches are small,
# have another one.
LEAST = 256


class Rows:
    """Every position of the rectangle has a row, in its order: M = B*S.

    Attributes:
      places: int32 [M], the flat position of each row in the rectangle; None: row i is
        position i.
    """

    places: tf.Tensor | None = None

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """Takes what each row has of values [B, S]: [M], or here the whole [B, S]."""
        return values

    def take_positions(self, table: tf.Tensor, length: int | tf.Tensor) -> tf.Tensor:
        """Takes what each row has of a table of positions.

        Args:
          table: [S or more, H].
          length: S.

        Returns:
          [M, H], or here [S, H], which all sequences share.
        """
        return tf.slice(table, [0, 0], [length, -1])

    def pad(self, x: tf.Tensor) -> tf.Tensor:
        """Lays rows [M, n] out as the rectangle, [B*S, n]; padding is any finite row.

        Nothing that a gradient comes from may read what stands at padding.
        """
        return x

    def unpad(self, x: tf.Tensor) -> tf.Tensor:
        """Takes the rows [M, n] out of a rectangle [B*S, n]."""
        return x


class PackedRows(Rows):
    """The positions up to each sequence's last real one have rows: M = T <= B*S.

    Behind them come rows of the first padding, to make T one of a few numbers and at
    least one more than is real. The last of these stands for all padding without a row
    of its own. So each way is one gather and its gradient another: no loss reads
    padding, hence a row of padding has no gradient, and may be given to many. Where T
    is all of B*S, the rows are the rectangle as it is, and nothing is gathered.
    """

    def __init__(self, input_mask: tf.Tensor):
        """Finds the rows.

        Args:
          input_mask: int [B, S], 1 = real, 0 = padding. What is masked before a
            sequence's last real position keeps its row, and so does the first position.
        """
        length, total = tf.shape(input_mask)[1], tf.size(input_mask)
        ends = tf.reduce_max(tf.range(1, length + 1) * tf.cast(input_mask, tf.int32), 1)
        real = tf.sequence_mask(tf.maximum(ends, 1), length)
        kinds = tf.reshape(tf.cast(~real, tf.int32), [-1])
        first, then = tf.dynamic_partition(tf.range(total), kinds, 2)
        order = tf.concat([first, then], axis=0)
        number = numbers_of_rows(tf.size(first)[None], total)[0]
        self._full = number == total
        order = tf.where(self._full, tf.range(total), order)
        self.places = order[:number]
        self._slots = tf.minimum(tf.math.invert_permutation(order), number - 1)  # [B*S]
        self._positions = self.places % length

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """Takes what each row has of values [B, S]: [M]."""
        return tf.gather(tf.reshape(values, [-1]), self.places)

    def take_positions(self, table: tf.Tensor, length: int | tf.Tensor) -> tf.Tensor:
        """Takes what each row has of a table of positions: [M, H]."""
        return tf.gather(table, self._positions)

    def pad(self, x: tf.Tensor) -> tf.Tensor:
        """Lays rows [M, n] out as the rectangle; see `Rows.pad`."""
        return self._moved(x, self._slots, self.places)

    def unpad(self, x: tf.Tensor) -> tf.Tensor:
        """Takes the rows [M, n] out of a rectangle [B*S, n]."""
        return self._moved(x, self.places, self._slots)

    def _moved(self, x, to, back):
        def gather(x, rows):
            return tf.cond(self._full, lambda: x, lambda: tf.gather(x, rows))

        @tf.custom_gradient
        def op(x):
            return gather(x, to), lambda dy: gather(dy, back)

        return op(x)


PADDED = Rows()


def numbers_of_rows(real: tf.Tensor, total: int | tf.Tensor) -> tf.Tensor:
    """Returns T of batches of B*S positions in all, of which so many are real.

    Args:
      real: int32 [n], of n batches.
      total: B*S.

    Returns:
      int32 [n].
    """
    size = tf.gather(_SIZES, tf.searchsorted(_SIZES, real, side="right"))
    return tf.minimum(tf.maximum(size, LEAST), total)


def rows_of(input_mask: tf.Tensor, packed: bool) -> Rows:
    """Makes the rows of a batch.

    Args:
      input_mask: int [B, S], 1 = real, 0 = padding.
      packed: whether padding is left out, in shapes that are known when running.
    """
    return PackedRows(input_mask) if packed else PADDED
