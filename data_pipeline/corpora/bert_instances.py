"""Pre-training instances of a block of documents (Devlin et al. 2018, appendix A.2).

The distributions are those of google-research/bert's create_pretraining_data.py; the
work is cut differently. A sentence pair is two ranges of one array of pieces: Python
walks over documents to find the ranges, numpy cuts, masks and fills many pairs at once.

numpy only: worker processes need no TensorFlow.
"""

import bisect
import dataclasses
import math
import random
from collections.abc import Iterator

import numpy as np

from data_pipeline.corpora.token_store import Documents
from errors import UserError

# Pieces in one batch of array work: fits the processor's cache.
_BATCH_TOKENS = 1 << 16
# Of the chosen pieces, what becomes [MASK], any piece, and stays.
_SHARES = ("mask_probability", "random_probability", "keep_probability")


@dataclasses.dataclass(frozen=True)
class InstanceConfig:
    """How instances are made: the parent's flags, and the ids it takes.

    Attributes:
      max_seq_length: pieces of a pair with [CLS] and both [SEP].
      max_predictions_per_seq: the most masked pieces of a pair.
      masked_lm_prob: share of a pair's pieces that is masked.
      mask_probability: of the chosen pieces, the share that becomes [MASK]; 0.8 in
        Devlin et al. 2018, section 3.1.
      random_probability: the share that becomes any piece; 0.1 there.
      keep_probability: the share that stays; 0.1 there. All three are 1 together.
      short_seq_prob: share of documents that are cut into shorter pairs.
      do_whole_word_mask: whether a word's pieces are masked together.
      dupe_factor: passes over every document.
      random_seed: of everything drawn.
      vocab_size: random pieces are drawn from so many.
      cls_id: the id of [CLS].
      sep_id: the id of [SEP].
      mask_id: the id of [MASK].
      padded_records: whether records are filled up to the parent's shapes.
    """

    max_seq_length: int
    max_predictions_per_seq: int
    masked_lm_prob: float
    mask_probability: float
    random_probability: float
    keep_probability: float
    short_seq_prob: float
    do_whole_word_mask: bool
    dupe_factor: int
    random_seed: int
    vocab_size: int
    cls_id: int
    sep_id: int
    mask_id: int
    padded_records: bool = False

    def __post_init__(self):
        """Refuses settings from which no sensible instance can be made."""
        for name, smallest in (
            ("max_seq_length", 5),
            ("max_predictions_per_seq", 1),
            ("dupe_factor", 1),
        ):
            if getattr(self, name) < smallest:
                raise UserError(
                    f"--{name}={getattr(self, name)}; wanted at least {smallest}"
                )
        for name in ("masked_lm_prob", "short_seq_prob", *_SHARES):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(
                    f"--{name}={getattr(self, name)}; wanted a number from 0 to 1"
                )
        shares = [getattr(self, name) for name in _SHARES]
        if not math.isclose(sum(shares), 1):
            given = " ".join(
                f"--{name}={share:g}"
                for name, share in zip(_SHARES, shares, strict=True)
            )
            raise UserError(f"{given}: got a sum of {sum(shares):g}, wanted 1")
        wanted = round(self.max_seq_length * self.masked_lm_prob)
        if wanted > self.max_predictions_per_seq:
            raise UserError(
                f"--max_predictions_per_seq={self.max_predictions_per_seq} is too "
                f"small: --masked_lm_prob={self.masked_lm_prob} of --max_seq_length="
                f"{self.max_seq_length} is {wanted} pieces, and the rest would never "
                "be masked"
            )


@dataclasses.dataclass(frozen=True)
class Instances:
    """K sentence pairs, masked.

    Attributes:
      tokens: int32 [K, S], [CLS] A [SEP] B [SEP], then zeros.
      length_a: int64 [K], pieces of A without [CLS] and [SEP].
      length_b: int64 [K], pieces of B without [SEP].
      is_random_next: bool [K].
      counts: int64 [K], masked positions of each.
      positions: int64 [sum of counts], ascending within each pair.
      labels: int32 [sum of counts], the pieces that stood there.
    """

    tokens: np.ndarray
    length_a: np.ndarray
    length_b: np.ndarray
    is_random_next: np.ndarray
    counts: np.ndarray
    positions: np.ndarray
    labels: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """int64 [K], pieces of each with [CLS] and both [SEP]."""
        return self.length_a + self.length_b + 3


def block_instances(
    documents: Documents, block: int, config: InstanceConfig
) -> Iterator[Instances]:
    """Makes the instances of a block, in a shuffled order.

    Random next sentences come from the block's other documents: neighbours in the
    permuted order, that is, random ones of the whole corpus.

    Args:
      documents: the block's.
      block: its number, which with the seed decides everything drawn.
      config: how.

    Yields:
      Batches of instances.
    """
    rng = np.random.default_rng([config.random_seed % 2**64, block])
    spans = np.array(
        _pair_spans(documents, config, random.Random(int(rng.integers(2**63)))),
        np.int64,
    )
    rng.shuffle(spans)
    size = max(16, _BATCH_TOKENS // config.max_seq_length)
    for start in range(0, len(spans), size):
        yield _make(documents, spans[start : start + size], config, rng)


def _pair_spans(
    documents: Documents, config: InstanceConfig, rng: random.Random
) -> list[tuple[int, int, int, int, bool]]:
    """Finds the pairs: start and end of A, start and end of B, and if B is random."""
    spans = []
    everything = documents.bounds
    alone = len(set(documents.numbers)) == 1
    longest = config.max_seq_length - 3
    draw = rng.random
    for number, bounds in zip(documents.numbers, everything, strict=True):
        target = longest
        if draw() < config.short_seq_prob:
            target = rng.randint(2, longest)
        first, last = 0, len(bounds) - 1
        while first < last:
            # As many sentences as it takes to reach the target; see the original.
            start = bounds[first]
            end = bisect.bisect_left(bounds, start + target, first + 1)
            end = min(end, last)
            middle = first + 1 + int(draw() * (end - first - 1))
            if end - first > 1 and draw() >= 0.5:
                spans.append((start, bounds[middle], bounds[middle], bounds[end], 0))
                first = end
                continue
            other = int(draw() * len(everything))
            while documents.numbers[other] == number and not alone:
                other = int(draw() * len(everything))
            others = everything[other]
            from_ = int(draw() * (len(others) - 1))
            wanted = others[from_] + target - (bounds[middle] - start)
            to = bisect.bisect_left(others, wanted, from_ + 1)
            to = min(to, len(others) - 1)
            spans.append((start, bounds[middle], others[from_], others[to], 1))
            # What would have been B is not lost: the next pair begins with it.
            first = middle
    return spans


def _make(
    documents: Documents,
    spans: np.ndarray,
    config: InstanceConfig,
    rng: np.random.Generator,
) -> Instances:
    """Cuts, lays out and masks the pairs of int64 [K, 5] `spans`."""
    start_a, length_a, start_b, length_b = _truncated(
        spans, config.max_seq_length - 3, rng
    )
    # K pairs, S positions. j is the position; the source is where its piece comes from.
    width = int((length_a + length_b).max()) + 3
    j = np.arange(width)
    in_a = (j > 0) & (j <= length_a[:, None])
    in_b = (j > length_a[:, None] + 1) & (j < (length_a + length_b)[:, None] + 2)
    source = np.where(in_b, (start_b - length_a - 2)[:, None], (start_a - 1)[:, None])
    real = in_a | in_b
    source = np.where(real, source + j, 0)  # [K, S]
    tokens = np.where(real, documents.tokens[source], 0)
    tokens[:, 0] = config.cls_id
    rows = np.arange(len(spans))
    tokens[rows, length_a + 1] = config.sep_id
    tokens[rows, length_a + length_b + 2] = config.sep_id

    begins = real
    if config.do_whole_word_mask:
        begins = real & ~documents.continues[source]
        begins[:, 1] = True  # a word cut at its front counts from the cut
    lengths = length_a + length_b + 3
    wanted = np.rint(lengths * config.masked_lm_prob).astype(np.int64)
    wanted = np.clip(wanted, 1, config.max_predictions_per_seq)
    chosen = _choose(real, begins, wanted, rng)
    where = np.nonzero(chosen)
    labels = tokens[where]
    luck = rng.random(labels.size)
    words = rng.integers(0, config.vocab_size, labels.size, dtype=np.int32)
    masked = config.mask_probability
    words = np.where(luck < masked + config.keep_probability, labels, words)
    tokens[where] = np.where(luck < masked, config.mask_id, words)
    return Instances(
        tokens=tokens,
        length_a=length_a,
        length_b=length_b,
        is_random_next=spans[:, 4].astype(bool),
        counts=chosen.sum(axis=1),
        positions=where[1],
        labels=labels,
    )


def _truncated(
    spans: np.ndarray, longest: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Start and length of A and of B, together at most `longest` pieces.

    The original takes one piece after the other from the longer side (from B if they
    are equal), each from the front or the back with equal chance. What that leaves of
    either side is certain, and how much went from the front is binomial.
    """
    length_a, length_b = spans[:, 1] - spans[:, 0], spans[:, 3] - spans[:, 2]
    half = longest // 2
    kept_a = np.where(length_b <= half, longest - length_b, longest - half)
    kept_a = np.where(length_a <= half, length_a, kept_a)
    kept_a = np.where(length_a + length_b <= longest, length_a, kept_a)
    kept_b = np.minimum(length_b, longest - kept_a)
    front_a = rng.binomial(length_a - kept_a, 0.5)
    front_b = rng.binomial(length_b - kept_b, 0.5)
    return spans[:, 0] + front_a, kept_a, spans[:, 2] + front_b, kept_b


def _choose(
    real: np.ndarray, begins: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Chooses random words up to a number of pieces in each row.

    Words come in a random order; one that would exceed the number is passed over.

    Args:
      real: bool [K, S], where pieces of A and B are.
      begins: bool [K, S], where words begin; the first real piece of a row does. A
        piece that continues a word belongs to the nearest one before it, across [SEP]
        too, as in the original.
      wanted: int64 [K], pieces to choose.
      rng: source of the order.

    Returns:
      bool [K, S], the pieces chosen.
    """
    rows = np.arange(len(real))[:, None]
    word = np.cumsum(begins, axis=1) - 1  # [K, S], the word each piece belongs to
    num_words = word[:, -1] + 1
    slots = int(num_words.max())
    flat = (rows * slots + word)[real]
    sizes = np.bincount(flat, minlength=len(real) * slots).reshape(len(real), slots)
    # Random bits above, the slot's number below: as no two keys are equal, the order
    # does not depend on the processor's way of sorting.
    keys = rng.integers(0, 2**32, size=sizes.shape, dtype=np.int64) << 16
    keys = np.where(sizes > 0, keys + np.arange(slots), np.iinfo(np.int64).max)
    order = np.argsort(keys, axis=1)
    taken = np.zeros(sizes.shape, bool)
    left = wanted.copy()
    row = rows[:, 0]
    for slot in order.T:
        size = sizes[row, slot]
        fits = (size <= left) & (size > 0)
        taken[row, slot] = fits
        left -= np.where(fits, size, 0)
        if not left.any():
            break
    return taken[rows, np.maximum(word, 0)] & real
