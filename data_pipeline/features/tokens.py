"""Token ids of many texts in flat arrays with row offsets, as features are made of."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from errors import UserError


class Tokenizer(Protocol):
    """What is needed of a tokenizer."""

    vocab: Mapping[str, int]

    def ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, int32 [tokens], and row offsets, int64 [N + 1]."""
        ...


def truncated_lengths(
    tokens_a: np.ndarray,
    tokens_b: np.ndarray,
    max_seq_length: int,
    num_special: tuple[int, int] = (2, 3),
) -> tuple[np.ndarray, np.ndarray]:
    """How many tokens of each text stay, by the parent's rule in closed form.

    The parent takes one token at a time from the end of the longer text, of the
    second if they are equally long, until both fit beside [CLS] and two [SEP]. A
    text alone fits beside [CLS] and one [SEP]; a pair whose second text has no
    tokens counts as one.

    Args:
      tokens_a: int [N], tokens of the first texts.
      tokens_b: int [N], tokens of the second texts, 0 where there is none.
      max_seq_length: most tokens of an example.
      num_special: special tokens beside a text, and beside two.

    Returns:
      (kept_a, kept_b): int64 [N] each.
    """
    tokens_a, tokens_b = tokens_a.astype(np.int64), tokens_b.astype(np.int64)
    alone = np.minimum(tokens_a, max_seq_length - num_special[0])
    room = max_seq_length - num_special[1]
    half = (room + 1) // 2  # the first text keeps the odd token
    shared_a = np.minimum(tokens_a, np.maximum(room - tokens_b, half))
    fits = tokens_a + tokens_b <= room
    kept_a = np.where(tokens_b == 0, alone, np.where(fits, tokens_a, shared_a))
    kept_b = np.where((tokens_b == 0) | fits, tokens_b, room - shared_a)
    return kept_a, kept_b


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns starts[0], starts[0] + 1, ... counts[0] of them, then the next row's."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def special_id(tokenizer: Tokenizer, token: str) -> int:
    """Returns a special piece's id; raises ValueError if the vocabulary has none."""
    if token not in tokenizer.vocab:
        raise UserError(f"the vocabulary has no {token}")
    return tokenizer.vocab[token]
