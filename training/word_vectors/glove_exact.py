"""What the original GloVe programs draw, replayed: glibc's rand, and how it is used."""

import math

import numpy as np

import atomic_files
from data_pipeline.corpora import cooccurrences
from data_pipeline.corpora.cooccurrences import RECORD
from errors import UserError
from training.word_vectors import compiled

_MOST = 2**31 - 1  # RAND_MAX
# Of what `shuffle` draws, two numbers at a time.
_MOST_TWO = (_MOST + 2) * _MOST


def seeded(seed: int) -> np.ndarray:
    """Returns the state of glibc's rand after srand; int64 [32], the last a place."""
    state = np.zeros(32, np.int64)
    state[0] = seed or 1
    for i in range(1, 31):
        state[i] = int(state[i - 1]) * 16807 % _MOST
    state[31] = 3
    draw(state, 310)
    return state


@compiled.jit
def _next(state):
    """Draws by x_n = x_(n-3) + x_(n-31), without its lowest bit."""
    place = state[31]
    state[place] = (state[place] + state[(place + 28) % 31]) & 0xFFFFFFFF
    state[31] = (place + 1) % 31
    return state[place] >> 1


@compiled.jit
def draw(state, number):
    """Returns as many numbers of rand, int64 [number]; `state` is changed."""
    numbers = np.empty(number, np.int64)
    for i in range(number):
        numbers[i] = _next(state)
    return numbers


@compiled.jit
def _shuffle(order, state):
    """Fisher and Yates' shuffle, from the end."""
    for i in range(len(order) - 1, 0, -1):
        size = i + 1
        drawn = _MOST_TWO
        while drawn >= _MOST_TWO - _MOST_TWO % size:
            drawn = (_MOST + 1) * _next(state)
            drawn += _next(state)
        j = drawn % size
        order[i], order[j] = order[j], order[i]


def initial_parameters(seed: int, vocab_size: int, width: int) -> np.ndarray:
    """Returns the program's initial tables.

    Args:
      seed: as of `glove -seed`.
      vocab_size: V.
      width: D + 1.

    Returns:
      float64 [2, V, D + 1], of words and contexts.
    """
    numbers = draw(seeded(seed), 2 * vocab_size * width)
    return ((numbers / _MOST - 0.5) / (width - 1)).reshape(2, vocab_size, width)


def shuffle(source: str, path: str, seed: int, memory: float) -> None:
    """Writes a file's records as `shuffle -seed` does, if all of them fit in memory.

    The program shuffles what it holds at once, then merges its parts and shuffles them
    again, even where there is only one.

    Args:
      source: a file of records, sorted.
      path: the file to write.
      seed: of the order.
      memory: as of `cooccur -memory`, gigabytes.

    Raises:
      UserError: there are more than the program holds by default.
    """
    size, most = cooccurrences.check_size(source), int(0.95 * 2**31 / RECORD.itemsize)
    if size > most:
        raise UserError(
            f"--exact takes at most {most} pairs, which the original holds at once; "
            f"there are {size}"
        )
    records = cooccurrences.read_part(source, 0, size)
    # `cooccur` merges a table of frequent pairs with files of the others. Where there
    # are none, it takes the table's first record for one of the empty file, too.
    if (records["word1"] < _table_limit(memory) // records["word2"]).all():
        records["value"][0] *= 2
    order, state = np.arange(size), seeded(seed)
    _shuffle(order, state)
    _shuffle(order, state)
    with atomic_files.atomic_path(path) as aside:
        records[order].tofile(aside)


def _table_limit(memory):
    """Pairs whose product of ranks is below it are in the table."""
    records = 0.85 * memory * 2**30 / RECORD.itemsize
    limit, before = 1e5, 0.0
    while abs(limit - before) > 1e-3:
        before, limit = limit, records / (math.log(limit) + 0.1544313298)
    return int(limit)
