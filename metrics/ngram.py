"""Interpolated Kneser-Ney n-grams: the perplexity a neural language model must beat.

Kneser and Ney 1995; in the interpolated form of Chen and Goodman 1999, section 4.1.2:

    p_k(w | h) = (max(c(hw) - D_k, 0) + D_k N(h) p_k-1(w | h')) / sum_w c(hw)

h the k - 1 tokens before w, h' the same without its first, N(h) how many different
tokens follow h. c counts occurrences at the highest order, below it the different
tokens seen before hw. Below p_1 is the uniform distribution over the vocabulary, so
that nothing is impossible.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from errors import UserError

# Where no count is 1, the estimate of a discount would be 0 and leave nothing to
# what was never seen.
_DISCOUNT_WITHOUT_SINGLETONS = 0.5
_UNSEEN = -1


@dataclasses.dataclass(frozen=True)
class _Order:
    """The n-grams of one length, K of them; an n-gram's number is its place in `keys`.

    Attributes:
      keys: int64 [K], ascending: number of the context * vocabulary + last token.
      discounted: float64 [K], max(c - D, 0).
      totals: float64 [contexts], sum of c.
      reserved: float64 [contexts], D N(h): what goes to the lower order.
    """

    keys: np.ndarray
    discounted: np.ndarray
    totals: np.ndarray
    reserved: np.ndarray

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The numbers of the n-grams with these keys; _UNSEEN where there is none."""
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, _UNSEEN)


class KneserNey:
    """An n-gram model of records of token ids; contexts end where a record begins."""

    def __init__(
        self,
        ids: np.ndarray,
        lengths: np.ndarray,
        vocab_size: int,
        order: int = 3,
        discounts: Sequence[float] | None = None,
    ):
        """Counts.

        Args:
          ids: int [sum of lengths], the training records one after the other.
          lengths: int [N], tokens of each record.
          vocab_size: V; ids are below it.
          order: tokens of the longest n-gram, 1 or more.
          discounts: float [order], from single tokens on; None: n1 / (n1 + 2 n2) of
            each order, n1 and n2 being how many n-grams have the count 1 and 2 (Ney,
            Essen and Kneser 1994).

        Raises:
          UserError: there is no token, or one is not in the vocabulary.
        """
        if not len(ids) or ids.min() < 0 or ids.max() >= vocab_size:
            found = f"{ids.min()} to {ids.max()}" if len(ids) else "none"
            raise UserError(f"wanted token ids from 0 to {vocab_size - 1}, got {found}")
        places = _places(lengths)
        grams = np.zeros(len(ids), np.int64)  # the empty context has the number 0
        keys, counts, sizes = [], [], [1]
        for k in range(1, order + 1):
            ends = np.flatnonzero(places >= k - 1)
            found, first, inverse, occurrences = np.unique(
                _before(grams, k)[ends] * vocab_size + ids[ends],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            if k > 1:  # how many different tokens stand before each shorter n-gram
                counts[-1] = np.bincount(grams[ends[first]], minlength=sizes[-1])
            keys.append(found)
            counts.append(occurrences)
            sizes.append(len(found))
            grams = np.full(len(ids), _UNSEEN)
            grams[ends] = inverse
        if discounts is None:
            discounts = [_discount(number) for number in counts]
        self._vocab_size = vocab_size
        self._orders = [
            _make_order(*table, vocab_size)
            for table in zip(keys, counts, discounts, sizes[:-1], strict=True)
        ]

    def probabilities(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Of every token but the first of each record, given those before it in there.

        Args:
          ids: int [sum of lengths], records one after the other.
          lengths: int [N], tokens of each.

        Returns:
          float64 [sum of lengths - N].
        """
        places = _places(lengths)
        found = np.full(len(ids), 1 / self._vocab_size)
        grams = np.zeros(len(ids), np.int64)
        for k, order in enumerate(self._orders, 1):
            contexts = _before(grams, k)
            grams = np.full(len(ids), _UNSEEN)
            known = np.flatnonzero((places >= k - 1) & (contexts != _UNSEEN))
            # A context may have been seen at the end of records only.
            known = known[order.totals[contexts[known]] > 0]
            contexts = contexts[known]
            here = order.find(contexts * self._vocab_size + ids[known])
            grams[known] = here
            seen = np.where(here == _UNSEEN, 0, order.discounted[here])
            lower = order.reserved[contexts] * found[known]
            found[known] = (seen + lower) / order.totals[contexts]
        return found[places > 0]

    def perplexity(self, ids: np.ndarray, lengths: np.ndarray) -> float:
        """The exponential of the mean -log of `probabilities`; arguments as there."""
        return perplexity(self.probabilities(ids, lengths))


def perplexity(probabilities: np.ndarray) -> float:
    """Returns the exponential of the mean -log of the tokens' probabilities."""
    return float(np.exp(-np.log(probabilities).mean()))


def _places(lengths: np.ndarray) -> np.ndarray:
    """Where each token stands in its record, from 0 on."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)


def _before(grams: np.ndarray, k: int) -> np.ndarray:
    """The context of each token: the n-gram that ends before it; at order 1, none."""
    return grams if k == 1 else np.concatenate([[_UNSEEN], grams[:-1]])


def _discount(counts: np.ndarray) -> float:
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    return float(once / (once + 2 * twice)) if once else _DISCOUNT_WITHOUT_SINGLETONS


def _make_order(
    keys: np.ndarray,
    counts: np.ndarray,
    discount: float,
    contexts: int,
    vocab_size: int,
) -> _Order:
    context = keys // vocab_size
    followers = np.bincount(context, counts > 0, minlength=contexts)
    return _Order(
        keys=keys,
        discounted=np.maximum(counts - discount, 0),
        totals=np.bincount(context, counts, minlength=contexts),
        reserved=discount * followers,
    )
