"""Rows of tokens inside a graph, whatever the tokens are."""

import abc

import tensorflow as tf


class PairEncoder(tf.Module, abc.ABC):
    """Texts, or pairs of texts, to a batch of a model's inputs; of each pair a row."""

    def __init__(self, max_seq_length: int, num_special: tuple[int, int]):
        """Keeps how.

        Args:
          max_seq_length: most tokens of an input, special ones included.
          num_special: special tokens beside a text, and beside two.
        """
        super().__init__()
        self._max_seq_length, self._num_special = max_seq_length, num_special

    def __call__(
        self, text_a: tf.Tensor, text_b: tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Splits, truncates, lays out, and pads to the longest of the batch.

        Args:
          text_a: string [B], UTF-8.
          text_b: string [B]; None, or "" in one row, where there is no second text.

        Returns:
          What the model reads, int32 [B, S] each, by name.
        """
        if text_b is None:
            text_b = tf.zeros_like(text_a)
        check = tf.debugging.assert_equal(
            tf.size(text_a), tf.size(text_b), "text_a and text_b differ in number"
        )
        # In eager mode the assertion has run and is None.
        with tf.control_dependencies([check] if check is not None else []):
            a, b = self._split(text_a), self._split(text_b)
        kept_a, kept_b = kept_lengths(
            a.row_lengths(), b.row_lengths(), self._max_seq_length, self._num_special
        )
        has_b = tf.cast(kept_b > 0, tf.int64)
        return self._lay_out(head(a, kept_a), head(b, kept_b), has_b)

    @abc.abstractmethod
    def _split(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the tokens of texts, string [B]: int32 [B, (T)]."""

    @abc.abstractmethod
    def _lay_out(
        self, a: tf.RaggedTensor, b: tf.RaggedTensor, has_b: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Puts special tokens around texts.

        Args:
          a: int32 [B, (T)], what is kept of the first texts.
          b: int32 [B, (T)], what is kept of the second ones.
          has_b: int64 [B], 1 where there is a second one, else 0.
        """


def once(token: int, times: tf.Tensor) -> tf.RaggedTensor:
    """Returns a token, 0 or 1 `times` [B], in each row; int32 [B, (times)]."""
    tokens = tf.fill([tf.reduce_sum(times)], tf.constant(token, tf.int32))
    return tf.RaggedTensor.from_row_lengths(tokens, times, validate=False)


def padded(rows: tf.RaggedTensor) -> tf.Tensor:
    """Returns rows with 0 behind them, [B, S]; S is 2 at least.

    An empty batch has no longest row, but models read the first position, or leave out
    two marks.
    """
    longest = tf.maximum(tf.reduce_max(rows.row_lengths()), 2)
    return rows.to_tensor(shape=tf.stack([rows.nrows(), longest]))


def kept_lengths(
    tokens_a: tf.Tensor,
    tokens_b: tf.Tensor,
    max_seq_length: int,
    num_special: tuple[int, int] = (2, 3),
) -> tuple[tf.Tensor, tf.Tensor]:
    """`data_pipeline.features.tokens.truncated_lengths` in a graph.

    Args:
      tokens_a: int64 [B], tokens of the first texts.
      tokens_b: int64 [B], tokens of the second texts, 0 where there is none.
      max_seq_length: most tokens of an input.
      num_special: special tokens beside a text, and beside two.

    Returns:
      (kept_a, kept_b): int64 [B] each.
    """
    alone = tf.minimum(tokens_a, max_seq_length - num_special[0])
    room = max_seq_length - num_special[1]
    half = tf.constant((room + 1) // 2, tf.int64)  # the first keeps the odd token
    shared_a = tf.minimum(tokens_a, tf.maximum(room - tokens_b, half))
    fits = tokens_a + tokens_b <= room
    kept_a = tf.where(tokens_b == 0, alone, tf.where(fits, tokens_a, shared_a))
    kept_b = tf.where((tokens_b == 0) | fits, tokens_b, room - shared_a)
    return kept_a, kept_b


def head(rows: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Returns the first items of each row.

    Args:
      rows: [B, (T)].
      lengths: int64 [B], how many; no more than there are.
    """
    # A comparison of ragged tensors is ten times as many operations.
    places = tf.ragged.range(rows.row_starts(), rows.row_starts() + lengths)
    return places.with_values(tf.gather(rows.values, places.values))
