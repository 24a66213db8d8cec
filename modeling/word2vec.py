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

# V words, T rows of the output table, D values of a vector, L nodes on the longest way,
# B examples, N words around one, P rows that a word is predicted by.

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from errors import UserError
from modeling import config_files
from modeling.layers import base, initial

NOISE_POWER = 0.75  # Mikolov et al. 2013b, section 2.2
NOISE_TABLE = 10**8  # slots of the original's table
SCOPE = "word2vec"
INPUTS, OUTPUTS = f"{SCOPE}/input_embeddings", f"{SCOPE}/output_embeddings"


@dataclasses.dataclass(frozen=True)
class Word2vecConfig(config_files.FieldsConfig):
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
        for key in ("cbow", "hs"):
            if not isinstance(getattr(self, key), bool):
                raise UserError(f"{key} is {getattr(self, key)!r}, wanted a bool")
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
        return self.first_node + (self.vocab_size - 1) * self.hs, self.vector_size

    @property
    def first_node(self) -> int:
        """The output table's row of the tree's node 0."""
        return self.vocab_size * (self.negative > 0)


class Word2vecModel(base.Model):
    """The two tables and the objective, one example at a time.

    How they are trained is an engine's affair: it may make the steps of many examples
    at once.

    Args:
      config: Word2vecConfig.
      name: of the layer, which decides the initial values, too.
      **kwargs: see `base.Layer`.
    """

    config_class: ClassVar[type] = Word2vecConfig

    def __init__(self, config: Word2vecConfig, name: str = SCOPE, **kwargs):
        super().__init__(config, name=name, **kwargs)

    def build(self, input_shape=None):
        """Makes the tables as the program: values in [-0.5 / D, 0.5 / D), and zeros."""
        config = self.config
        draw = initial.uniform(0.5 / config.vector_size)
        self.input_embeddings = self.add_normal(
            "input_embeddings", config.input_shape, draw
        )
        self.output_embeddings = self.add_constant(
            "output_embeddings", config.output_shape, 0.0
        )

    def call(self, contexts: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        """Computes logits.

        Args:
          contexts: int [B, N], the words whose vectors' mean predicts; -1: none. For
            skip-gram N is 1.
          rows: int [B, R], of the output table; -1: none.

        Returns:
          float [B, R].
        """
        real = tf.cast(contexts >= 0, self.compute_dtype)[..., None]
        found = tf.gather(self.input_embeddings.value, tf.maximum(contexts, 0)) * real
        total = tf.reduce_sum(found, 1)
        mean = total / tf.maximum(tf.reduce_sum(real, 1), 1.0)
        # As in the program, every word gets the mean's whole gradient.
        hidden = total + tf.stop_gradient(mean - total)
        outputs = tf.gather(self.output_embeddings.value, tf.maximum(rows, 0))
        return tf.linalg.matvec(outputs, hidden)

    def losses(
        self, contexts: tf.Tensor, rows: tf.Tensor, labels: tf.Tensor
    ) -> tf.Tensor:
        """Returns the objective: - log p of every label, summed up.

        Args:
          contexts: see `call`.
          rows: see `call`.
          labels: int [B, R], 1 for the true word, 0 for the noise; see `targets` for a
            node's; -1: none.

        Returns:
          float [B].
        """
        logits = self(contexts, rows)
        signs = tf.cast(1 - 2 * labels, logits.dtype)
        losses = tf.math.softplus(signs * logits)
        return tf.reduce_sum(tf.where(labels >= 0, losses, 0.0), -1)


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


class Targets(NamedTuple):
    """What each word is predicted by, but for the noise.

    Attributes:
      rows: int32 [V, P], of the output table; -1: none.
      labels: int8 [V, P]: 1 for the word itself, 1 - its code for a node; -1: none.
    """

    rows: np.ndarray
    labels: np.ndarray


def targets(config: Word2vecConfig, counts: np.ndarray) -> Targets:
    """Returns the rows of every word, and what they should say.

    Args:
      config: the model.
      counts: int64 [V]; see `huffman_code`.
    """
    words = np.arange(config.vocab_size, dtype=np.int32)[:, None]
    rows, labels = [words], [np.ones_like(words, np.int8)]
    if not config.negative:
        rows, labels = [], []
    if config.hs:
        code = huffman_code(counts)
        nodes, codes = code.padded(code.nodes), code.padded(code.codes)
        rows.append(np.where(nodes >= 0, nodes + np.int32(config.first_node), -1))
        labels.append(np.where(nodes >= 0, 1 - codes, -1))
    return Targets(*(np.concatenate(parts, 1) for parts in (rows, labels)))


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
