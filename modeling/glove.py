"""GloVe (Pennington, Socher and Manning 2014): vectors from global counts of pairs.

    J = sum over X_ij > 0 of  f(X_ij) (w_i . w~_j + b_i + b~_j - log X_ij)^2      eq. 8
    f(x) = min(1, x / x_max)^alpha                                                eq. 9

X_ij is how often word j stands near word i in the whole corpus. New against word2vec,
which sees one pair of a text after the other: counting comes first, and then each pair
that occurs is one term, however often it does. Like the original program, not the
paper, costs here are half of eq. 8's terms.
"""

# B batch, V words, D values of a vector.

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf

from modeling import config_files
from modeling.layers import base, initial

# Of the original program.
RARE_WORDS = 100  # whose mean unknown words get
CLIP = 100.0  # the largest size of a value of a vector's gradient


@dataclasses.dataclass(frozen=True)
class GloveConfig(config_files.FieldsConfig):
    """The architecture and its objective; defaults are the original program's.

    Attributes:
      vocab_size: int, V.
      vector_size: int, D.
      x_max: float, the count from which on all pairs weigh the same.
      alpha: float, the exponent of the weights of smaller counts.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "GloVe's"

    vocab_size: int
    vector_size: int = 50
    x_max: float = 100.0
    alpha: float = 0.75

    def __post_init__(self):
        """Checks the values."""
        for key in ("vocab_size", "vector_size"):
            config_files.check_value(key, getattr(self, key), config_files.COUNT)
        for key in ("x_max", "alpha"):
            config_files.check_value(key, getattr(self, key), config_files.POSITIVE)
        config_files.check_tables(self, ("vocab_size", "vector_size"))


class GloveModel(base.Model):
    """The two tables: a row is a word's vector and, as the last value, its bias.

    That is the layout of the original's files. A word is looked up in `words` where it
    is i, and in `contexts` where it is j.

    Args:
      config: GloveConfig.
      name: of the layer, which decides the initial values, too.
      **kwargs: see `base.Layer`.
    """

    config_class: ClassVar[type] = GloveConfig

    def __init__(self, config: GloveConfig, name: str = "glove", **kwargs):
        super().__init__(config, name=name, **kwargs)

    def build(self, input_shape=None):
        """Makes the tables; as in the original, values in [-0.5 / D, 0.5 / D)."""
        shape = [self.config.vocab_size, self.config.vector_size + 1]
        draw = initial.uniform(0.5 / self.config.vector_size)
        self.words = self.add_normal("words", shape, draw)
        self.contexts = self.add_normal("contexts", shape, draw)

    def call(self, word: tf.Tensor, context: tf.Tensor) -> tf.Tensor:
        """Predicts the logarithms of counts.

        Args:
          word: int [B], i.
          context: int [B], j.

        Returns:
          float [B].
        """
        return predict(
            tf.gather(self.words.value, word), tf.gather(self.contexts.value, context)
        )

    def costs(self, word: tf.Tensor, context: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Returns half of each pair's term of eq. 8.

        Args:
          word: int [B], i.
          context: int [B], j.
          count: float [B], X_ij.

        Returns:
          float [B].
        """
        error = self(word, context) - tf.math.log(count)
        return 0.5 * weigh(count, self.config.x_max, self.config.alpha) * error**2


def predict(word_rows: tf.Tensor, context_rows: tf.Tensor) -> tf.Tensor:
    """W . w~ + b + b~ of rows of the tables, float [B, D + 1] each; float [B]."""
    products = tf.reduce_sum(word_rows[:, :-1] * context_rows[:, :-1], -1)
    return products + word_rows[:, -1] + context_rows[:, -1]


def weigh(count: tf.Tensor, x_max: float, alpha: float) -> tf.Tensor:
    """f, eq. 9."""
    return tf.minimum(count / x_max, 1.0) ** alpha


def vectors(words: np.ndarray, contexts: np.ndarray, kind: str) -> np.ndarray:
    """Makes word vectors of the two tables.

    Args:
      words: float [V, D + 1], the model's.
      contexts: float [V, D + 1], the model's.
      kind: "input": w; "output": w~; "sum": w + w~, as the paper evaluates; "both": w,
        then w~; "all": w, b, w~, b~. The original's -model 1, (none), 2, 3 and 0.

    Returns:
      float [V, D], [V, 2 D] with "both", or [V, 2 (D + 1)] with "all".
    """
    w, context = words[:, :-1], contexts[:, :-1]
    if kind == "all":
        return np.concatenate([words, contexts], 1)
    if kind == "both":
        return np.concatenate([w, context], 1)
    return {"input": w, "output": context, "sum": w + context}[kind]


def unknown_vector(found: np.ndarray) -> np.ndarray:
    """Returns the original's vector of unknown words: the mean of the 100 rarest.

    Args:
      found: float [V, ...], of the words by falling count.

    Returns:
      float [...], of all V where there are fewer.
    """
    return found[-RARE_WORDS:].mean(0)
