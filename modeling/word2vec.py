"""word2vec (Mikolov et al. 2013a, 2013b): words that predict their neighbours.

    skip-gram    the word in the middle is predicted from each word around it alone
    CBOW         ... from the mean of all words around it
    negative     the logit of the true word against those of a few words of the noise
    hs           the word is a leaf of a Huffman tree; at each node on the way to it a
                 logit says left or right

New against the language models before it (Bengio et al. 2003): no hidden layer, and no
softmax over the vocabulary; what is left are two tables, so that billions of words can
be read. Skip-gram is written here as its program has it: the roles of the two words of
a pair are exchanged against the paper, which is the same over a whole text.
"""

# V words, T rows of the output table, D values of a vector, L nodes on the longest way.

import dataclasses
from typing import NamedTuple

import numpy as np

from errors import UserError
from modeling import config_files

NOISE_POWER = 0.75  # Mikolov et al. 2013b, section 2.2
NOISE_TABLE = 10**8  # slots of the original's table
INPUTS, OUTPUTS = "word2vec/input_embeddings", "word2vec/output_embeddings"


@dataclasses.dataclass(frozen=True)
class Word2vecConfig(config_files.ModelConfig):
    """The two tables, and what they predict.

    Attributes:
      vocab_size: int, V, of at least 2.
      vector_size: int, D.
      cbow: bool, whether a word is predicted from all around it, or from each.
      negative: int, words of the noise for each true one; 0: no negative sampling.
      hs: bool, whether by the Huffman tree; may be beside `negative`.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "word2vec's"

    vocab_size: int
    vector_size: int = 100
    cbow: bool = True
    negative: int = 5
    hs: bool = False

    def __post_init__(self):
        """Checks the values."""
        for key in ("vocab_size", "vector_size"):
            config_files.check_value(key, getattr(self, key), config_files.COUNT)
        config_files.check_value("negative", self.negative, config_files.COUNT_OR_NONE)
        config_files.check_tables(self, ("vocab_size", "vector_size"))
        if not (self.negative or self.hs):
            raise UserError("negative is 0 and hs is false: nothing would be learnt")

    @property
    def input_shape(self) -> tuple[int, int]:
        """That of the words' vectors, [V, D]."""
        return self.vocab_size, self.vector_size

    @property
    def output_shape(self) -> tuple[int, int]:
        """That of the other table, [T, D].

        With negative sampling its first V rows are of the words as what is predicted;
        with the tree its last V - 1 are of the inner nodes.
        """
        rows = self.vocab_size * (self.negative > 0) + (self.vocab_size - 1) * self.hs
        return rows, self.vector_size


def keep_probabilities(counts: np.ndarray, sample: float) -> np.ndarray:
    """Returns how likely each occurrence of a word is read at all.

    Args:
      counts: int64 [V].
      sample: the share of a text above which a word is left out at times; 0: none is.

    Returns:
      float32 [V]; above 1: always. With z = count / (sample x words), it is
      (sqrt(z) + 1) / z as in the program, where the article has 1 / sqrt(z).
    """
    if not sample:
        return np.full(len(counts), 2, np.float32)
    # In the program's types: a comparison with 16 random bits may hang on the last one.
    threshold = np.float32(sample) * np.float32(counts.sum())
    ratio = np.sqrt((counts.astype(np.float32) / threshold).astype(np.float64))
    return ((ratio + 1) * threshold / counts).astype(np.float32)


def noise_distribution(counts: np.ndarray) -> np.ndarray:
    """Returns how likely each word is drawn as a negative one; float64 [V], sum 1."""
    weights = counts.astype(np.float64) ** NOISE_POWER
    return weights / weights.sum()


def noise_slots(counts: np.ndarray, size: int = NOISE_TABLE) -> np.ndarray:
    """Returns how many slots each word has in the program's table of the noise.

    Args:
      counts: int64 [V].
      size: slots of the table.

    Returns:
      int64 [V]; word i has those from the sum of the ones before it.
    """
    # A word's slots go on to the first that lies above the sum of probabilities, that
    # one included; so every word has one, as long as there are any.
    ends = np.floor(np.cumsum(noise_distribution(counts)) * size).astype(np.int64) + 2
    places = np.arange(len(counts))
    ends = np.maximum.accumulate(ends - places) + places
    ends = np.minimum(ends, size)
    ends[-1] = size
    return np.diff(ends, prepend=0)


class HuffmanCode(NamedTuple):
    """The ways from the root to every word, one after the other.

    Attributes:
      starts: int64 [V + 1]; word i's way is from starts[i] to starts[i + 1].
      nodes: int32 [sum], inner nodes of 0 to V - 2, the root V - 2 first.
      codes: int8 [sum], where to go there: 1 or 0.
    """

    starts: np.ndarray
    nodes: np.ndarray
    codes: np.ndarray

    def padded(self, values: np.ndarray) -> np.ndarray:
        """Returns `nodes` or `codes` as a table [V, L], -1 behind each way's end."""
        lengths = np.diff(self.starts)
        table = np.full([len(lengths), lengths.max()], -1, values.dtype)
        table[np.arange(lengths.max()) < lengths[:, None]] = values
        return table


NO_CODE = HuffmanCode(*(np.zeros(0, kind) for kind in (np.int64, np.int32, np.int8)))


def huffman_code(counts: np.ndarray) -> HuffmanCode:
    """Builds the tree in which frequent words have short ways, as word2vec.c does.

    Args:
      counts: int64 [V], V of at least 2, falling. The first one, that of `</s>`, may
        be any: the program takes it for the largest, whatever it is.

    Returns:
      The code of every word.
    """
    parent, bit = _huffman_tree(counts)
    number, root = len(counts), 2 * len(counts) - 2
    at, ways = np.arange(number), []
    while (climbing := at != root).any():  # as often as the tree is deep
        up = parent[at]
        ways.append((np.where(climbing, up - number, -1), bit[at]))
        at = np.where(climbing, up, root)
    nodes, codes = (np.stack(rows[::-1], 1) for rows in zip(*ways, strict=True))
    real = nodes >= 0  # of [V, L], the root at a shorter way's first real place
    starts = np.concatenate([[0], np.cumsum(real.sum(1))])
    return HuffmanCode(starts, nodes[real].astype(np.int32), codes[real])


def _huffman_tree(counts):
    """Joins the two rarest nodes until one is left.

    Returns:
      For each of the words 0 to V - 1 and of the nodes V to 2 V - 2, in which the words
      and nodes are joined: its parent, int64, and whether it is the second, int8.
    """
    number, counts = len(counts), counts.tolist()
    sums = []  # of the nodes, which rise
    parent, bit = np.zeros(2 * number - 1, np.int64), np.zeros(2 * number - 1, np.int8)
    word, node = number - 1, 0  # the rarest that are not yet joined
    for new in range(number - 1):
        total = 0
        for second in (0, 1):
            if word >= 0 and (node == new or counts[word] < sums[node]):
                child, count = word, counts[word]
                word -= 1
            else:
                child, count = number + node, sums[node]
                node += 1
            parent[child], bit[child] = number + new, second
            total += count
        sums.append(total)
    return parent, bit
