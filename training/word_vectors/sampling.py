"""What word2vec's engines draw from a text: the words that are read, and their windows.

Everything drawn is a function of the seed and of a block's number, so that a run that
is killed goes on to the same end, on whichever engine.
"""

from typing import NamedTuple

import numpy as np

from data_pipeline.corpora.word_corpus import Block
from modeling import word2vec

END_OF_SENTENCE = 0  # the id of </s>, which ends a sentence inside a line, too


class Windows(NamedTuple):
    """The words of a block that are read, and how far each looks around.

    A word's neighbours are words[i - left[i] : i + right[i] + 1] without itself; none
    lies in another sentence.

    Attributes:
      words: int32 [N], ids.
      left: int32 [N], neighbours before each word, at most the window.
      right: int32 [N], neighbours after it.
    """

    words: np.ndarray
    left: np.ndarray
    right: np.ndarray


class Sampler:
    """Leaves out words that are frequent, and draws the width of each one's window.

    As in the original, what is left out makes room in the windows of others; each width
    from 1 to the window is as likely. Sentences are as long as they are, where the
    original cuts them after 1,000 words.
    """

    def __init__(self, counts: np.ndarray, sample: float, window: int, seed: int):
        """Takes what shapes the draws.

        Args:
          counts: int64 [V], of the words of the vocabulary, `</s>` first.
          sample: see word2vec.keep_probabilities.
          window: the most words on each side.
          seed: of the draws.
        """
        self._keep = word2vec.keep_probabilities(counts, sample)
        self._window, self._seed = window, seed

    def draw(self, block: Block, number: int) -> Windows:
        """Draws from a block.

        Args:
          block: of ids of the vocabulary.
          number: the block's, from 0, over all times that the text is read.
        """
        random = np.random.default_rng([self._seed, number])
        kept = random.random(len(block.ids), np.float32) < self._keep[block.ids]
        ends = block.ids == END_OF_SENTENCE
        sentences = np.cumsum(ends, dtype=np.int32)
        # One that begins a line; an empty line's is that of the next one.
        begins = np.zeros(len(ends) + 1, np.int32)
        begins[block.offsets[:-1]] = 1
        sentences += np.cumsum(begins[:-1], dtype=np.int32)
        kept &= ~ends
        words, sentences = block.ids[kept], sentences[kept]
        widths = random.integers(1, self._window + 1, len(words), np.int32)
        firsts = np.flatnonzero(np.diff(sentences, prepend=-1))
        lengths = np.diff(firsts, append=len(words))
        places = np.arange(len(words)) - np.repeat(firsts, lengths)
        rest = np.repeat(lengths, lengths) - 1 - places
        left, right = (np.minimum(widths, n).astype(np.int32) for n in (places, rest))
        return Windows(words, left, right)


def noise_distribution(counts: np.ndarray) -> np.ndarray:
    """Returns how likely each word is drawn as a negative one; float64 [V], sum 1.

    Args:
      counts: int64 [V], `</s>` first: where it is drawn, the original takes any other
        word instead, each as likely.
    """
    shares = word2vec.noise_distribution(counts)
    shares[1:] += shares[END_OF_SENTENCE] / (len(shares) - 1)
    shares[END_OF_SENTENCE] = 0
    return shares
