"""In which order a corpus is worked on, and in what portions.

A unit is one pass over one document: `dupe_factor` times as many as documents. A
seeded permutation puts them into an order that mixes the whole corpus, and blocks of
neighbours in that order are made independently, each from the seed and its own
number: by any worker, at any time, the same.
"""

import dataclasses

import numpy as np

# A block holds about so many pieces: enough to hide its overhead, little in memory.
_BLOCK_TOKENS = 1 << 18
# But at least so many units, for a choice of random next sentences.
_MIN_UNITS, _MAX_UNITS = 64, 1024
_ROUNDS = 6


class Permutation:
    """A bijection of range(size), computed instead of stored.

    A Feistel network over the next even number of bits; values outside the range are
    sent through again until they fall into it.
    """

    def __init__(self, size: int, seed: int):
        """Draws the keys of the rounds from `seed`."""
        self._size = size
        self._half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
        self._mask = (np.uint64(1) << self._half) - np.uint64(1)
        rng = np.random.default_rng([seed % 2**64, 0x5EED])
        self._keys = rng.integers(0, 2**64, size=(_ROUNDS, 1), dtype=np.uint64)

    def __call__(self, values: np.ndarray, inverse: bool = False) -> np.ndarray:
        """Where `values` go, or with `inverse`, come from; int64 [N] -> int64 [N]."""
        found = self._network(np.asarray(values, np.uint64), inverse)
        while (outside := found >= self._size).any():
            found[outside] = self._network(found[outside], inverse)
        return found.astype(np.int64)

    def _network(self, values: np.ndarray, inverse: bool) -> np.ndarray:
        left, right = values >> self._half, values & self._mask
        if inverse:
            left, right = right, left
        for key in self._keys[::-1] if inverse else self._keys:
            left, right = right, left ^ (_mixed(right, key) & self._mask)
        if inverse:
            left, right = right, left
        return (left << self._half) | right


def _mixed(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    """64 well-mixed bits of every value (the finalizer of splitmix64)."""
    mixed = values + key
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The portions of a corpus.

    Attributes:
      num_documents: N.
      num_tokens: of the whole corpus, which with N decides on the size of a block.
      dupe_factor: passes over every document.
      seed: of the order.
    """

    num_documents: int
    num_tokens: int
    dupe_factor: int
    seed: int

    @property
    def num_units(self) -> int:
        """Passes over documents in all."""
        return self.num_documents * self.dupe_factor

    @property
    def num_blocks(self) -> int:
        """How many blocks the units are divided into, their sizes differing by one."""
        wanted = _BLOCK_TOKENS * self.num_documents // max(1, self.num_tokens)
        wanted = min(max(wanted, _MIN_UNITS), _MAX_UNITS)
        return max(1, self.num_units // wanted)

    def documents_of(self, block: int) -> np.ndarray:
        """The documents of a block in their order, int64; one may occur twice.

        Raises:
          IndexError: there is no such block.
        """
        if not 0 <= block < self.num_blocks:
            raise IndexError(f"block {block} of {self.num_blocks}")
        first, last = (
            (block + i) * self.num_units // self.num_blocks for i in range(2)
        )
        order = Permutation(self.num_units, self.seed)
        return order(np.arange(first, last)) % self.num_documents

    def places_of(self, document: int) -> list[tuple[int, int]]:
        """The blocks that a document belongs to, each with its place in the order."""
        units = document + self.num_documents * np.arange(self.dupe_factor)
        order = Permutation(self.num_units, self.seed)
        return [
            # The block whose range, as in `documents_of`, holds the position.
            (((p + 1) * self.num_blocks - 1) // self.num_units, p)
            for p in order(units, inverse=True).tolist()
        ]
