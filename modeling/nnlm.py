"""NNLM (Bengio et al. 2003): the first language model that learns vectors of words.

    x = C(w_t-1), ..., C(w_t-n+1)       the vectors of the n - 1 words before, in order
    y = b + W x + U tanh(d + H x)       a score for every word of the vocabulary
    p(w_t | those before) = softmax(y)

W, the direct connections, may be left out. Words before the first of a sentence are
read as its first token, `<S>`.
"""

# B batch, S tokens of a row, M positions, n order, m embedding size, h hidden size.

import dataclasses

import tensorflow as tf

import word_rules
from errors import UserError
from modeling import config_files
from modeling.layers import base, initial, softmax

SCOPE = "nnlm"
_FLAGS = ("direct_connections", "sample_softmax")


@dataclasses.dataclass(frozen=True)
class NnlmConfig(config_files.OwnConfig):
    """The architecture, read from and written to nnlm_config.json.

    Attributes:
      vocab_size: int, words, `<S>`, `</S>` and `<UNK>` among them; None: as many as the
        vocabulary has.
      order: int, n: a word is predicted from the n - 1 before it.
      embedding_size: int, m, width of a word's vector.
      hidden_size: int, h, units of the hidden layer; 0: none, with direct connections.
      direct_connections: bool, whether the vectors reach the scores directly, too: W.
      sample_softmax: bool; True trains with a sampled softmax.
      n_negative_samples_batch: int, words that it draws for a batch.
      tokenizer: what finds the words of a text, see word_rules.
      segmenter: what finds them in Chinese.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "NNLM's"
    model_type = "nnlm"

    vocab_size: int | None = None
    order: int = 5
    embedding_size: int = 100
    hidden_size: int = 100
    direct_connections: bool = False
    sample_softmax: bool = False
    n_negative_samples_batch: int = 1024
    tokenizer: str | None = None
    segmenter: str | None = None

    def __post_init__(self):
        word_rules.of(self)
        for key in _FLAGS:
            if not isinstance(getattr(self, key), bool):
                raise UserError(f"{key} is {getattr(self, key)!r}, wanted a bool")
        for key in ("order", "embedding_size", "n_negative_samples_batch"):
            config_files.check_value(key, getattr(self, key), config_files.COUNT)
        size = self.hidden_size
        config_files.check_value("hidden_size", size, config_files.COUNT_OR_NONE)
        if self.order < 2:
            raise UserError("order is 1, wanted 2 or more: one word before, at least")
        if not size and not self.direct_connections:
            raise UserError("hidden_size is 0, which needs direct_connections")
        if self.vocab_size is None:
            return
        config_files.check_value("vocab_size", self.vocab_size, config_files.COUNT)
        config_files.check_tables(
            self,
            ("vocab_size", "embedding_size"),
            ("vocab_size", "hidden_size"),
            ("vocab_size", "order", "embedding_size"),
            ("order", "embedding_size", "hidden_size"),
        )
        if self.sample_softmax and self.n_negative_samples_batch > self.vocab_size:
            raise UserError(
                f"n_negative_samples_batch is {self.n_negative_samples_batch}, but "
                f"vocab_size is {self.vocab_size}: sample fewer words, or set "
                "sample_softmax to false"
            )

    @property
    def context_size(self) -> int:
        """Width of the vectors of all words before: (n - 1) m."""
        return (self.order - 1) * self.embedding_size


class NnlmModel(base.Model):
    """The language model: the scope `nnlm`, and `nnlm/softmax` for its scores.

    `softmax/W` holds the rows of U, and beside them those of W where there are any.

    Args:
      config: the architecture, with `vocab_size`.
      name: str.
      **kwargs: `dtype`, `seed` and `fused`, see `base.Layer`.

    Raises:
      UserError: the config has no `vocab_size`.
    """

    config_class = NnlmConfig

    def __init__(self, config: NnlmConfig, *, name: str = SCOPE, **kwargs):
        super().__init__(config, name=name, **kwargs)
        if config.vocab_size is None:
            raise UserError("the config has no vocab_size: give --vocab_file")
        self.softmax = softmax.WordSoftmax(config.vocab_size, **self.inherit("softmax"))
        self.build()

    def build(self, input_shape=None):
        """Makes `nnlm/C` [V, m], `H` [(n - 1) m, h], `d` [h] and the softmax."""
        config = self.config
        width, size = config.context_size, config.hidden_size
        self.embedding = self.add_normal(
            "C",
            [config.vocab_size, config.embedding_size],
            initial.normal(config.embedding_size**-0.5),
        )
        if size:
            self.hidden_weight = self.add_normal(
                "H", [width, size], initial.glorot_uniform(width, size)
            )
            self.hidden_bias = self.add_constant("d", [size], 0.0)
        self.softmax.build([None, size + width * config.direct_connections])

    def contexts(self, input_ids: tf.Tensor) -> tf.Tensor:
        """Returns the words before each token but the first.

        Args:
          input_ids: int [B, S]; a row's first token stands for those before it.

        Returns:
          int [B, S - 1, n - 1], the farthest first.
        """
        before = self.config.order - 1
        first = tf.repeat(input_ids[:, :1], before - 1, axis=1)
        padded = tf.concat([first, input_ids], axis=1)
        length = base.shape_list(input_ids)[1] - 1
        return tf.stack([padded[:, i : i + length] for i in range(before)], axis=2)

    def hidden(self, contexts: tf.Tensor) -> tf.Tensor:
        """Computes what the scores are made of.

        Args:
          contexts: int [M, n - 1], as of `contexts`.

        Returns:
          compute dtype [M, h], or [M, h + (n - 1) m] with direct connections.
        """
        config = self.config
        table = tf.convert_to_tensor(self.embedding)
        x = tf.cast(tf.gather(table, contexts), self.compute_dtype)
        x = tf.reshape(x, [-1, config.context_size])
        if not config.hidden_size:
            return x
        weight = tf.cast(self.hidden_weight, self.compute_dtype)
        bias = tf.cast(self.hidden_bias, self.compute_dtype)
        hidden = tf.tanh(tf.matmul(x, weight) + bias)
        return tf.concat([hidden, x], -1) if config.direct_connections else hidden

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Predicts every token of each row but the first.

        Args:
          input_ids: int [B, S], `<S>`, words, `</S>`, padding.
          input_mask: int [B, S], 1 = real.
          dropout_seed: int32 [2]; in training a sampled softmax draws by it; None: the
            softmax is over all words.

        Returns:
          `lm_losses` float32 [B, S - 1], in nats, 0 on padding.
        """
        places = tf.where(input_mask[:, 1:] > 0)
        hidden = self.hidden(tf.gather_nd(self.contexts(input_ids), places))
        labels, sample = tf.gather_nd(input_ids[:, 1:], places), None
        if dropout_seed is not None and self.config.sample_softmax:
            sample = softmax.log_uniform_sample(
                labels,
                self.config.n_negative_samples_batch,
                self.config.vocab_size,
                dropout_seed,
            )
        losses = self.softmax(hidden, labels, sample=sample)
        shape = tf.shape(input_mask, tf.int64) - [0, 1]
        return {"lm_losses": tf.scatter_nd(places, losses, shape)}

    def lm_logits(self, contexts: tf.Tensor) -> tf.Tensor:
        """Scores what comes next: int [M, n - 1] -> float32 [M, V]."""
        return self.softmax.logits(self.hidden(contexts))
