"""ULMFiT (Howard and Ruder 2018): one language model, of which all is fine-tuned.

The AWD-LSTM of Merity et al. (2018): embeddings, three LSTMs, and the embeddings again
as the softmax. What is dropped stays dropped for a whole window:

    rows of the embedding table          a word is left out wherever it stands
    x = drop(e), h = drop(lstm(x)) ...   the same features at all steps of a row
    DropConnect on h_{t-1} W_h           the same weights at all steps of all rows

What classifies is in `ulmfit_classifier`. New against TagLM: what was learnt from plain
text is no feature of another network, but is trained on, in three stages.
"""

# B batch, T steps, E embedding size, D hidden size, V words, L layers.

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

import word_rules
from errors import UserError
from modeling import config_files
from modeling.layers import base, dropout, initial
from modeling.layers.lstm import State
from modeling.layers.recurrent import Lstm, last_states

SCOPE = "ulmfit"
_EMBEDDING_RANGE = 0.1  # of the initial values, as in the original
States = Sequence[State]  # of L layers


class Dropouts(NamedTuple):
    """What an AWD-LSTM drops; shares in [0, 1).

    Attributes:
      embedding: of the words.
      input: of the features of the embeddings.
      weight: of the weights from a step to the next.
      hidden: of the features between two layers.
      output: of the features of the last layer.
    """

    embedding: float
    input: float
    weight: float
    hidden: float
    output: float


@dataclasses.dataclass(frozen=True)
class UlmfitConfig(config_files.OwnConfig):
    """The architecture, read from and written to ulmfit_config.json.

    Attributes:
      vocab_size: int, V; None: as many as the vocabulary has.
      embedding_size: int, E; the last layer is as wide.
      hidden_size: int, D, of the other layers; 1152 in later files of fastai's.
      num_layers: int, L.
      backward: bool, whether texts are read from their end; None: as --backward says
        when the model is pre-trained, else not.
      bptt: int, steps of a window. That of a language model's training is drawn around
        it.
      segmenter: what finds words in Chinese, see word_rules.
      embedding_dropout, input_dropout, weight_dropout, hidden_dropout, output_dropout:
        of the language model, see `Dropouts`.
      classifier_embedding_dropout and so on: of a task on top of it; the last one is on
        what is pooled.
      classifier_size: int, units of the layer above.
      classifier_dropout: float, on what that layer gives.
      drop_mult: float, a factor on all of these.
      alpha: float, of AR: what the square of the outputs adds to the loss.
      beta: float, of TAR: the same of the steps between them.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "ULMFiT's"
    model_type = "ulmfit"

    vocab_size: int | None = None
    embedding_size: int = 400
    hidden_size: int = 1150
    num_layers: int = 3
    backward: bool | None = None
    bptt: int = 70
    segmenter: str | None = None
    embedding_dropout: float = 0.02
    input_dropout: float = 0.25
    weight_dropout: float = 0.2
    hidden_dropout: float = 0.15
    output_dropout: float = 0.1
    classifier_embedding_dropout: float = 0.05
    classifier_input_dropout: float = 0.4
    classifier_weight_dropout: float = 0.5
    classifier_hidden_dropout: float = 0.3
    classifier_output_dropout: float = 0.4
    classifier_size: int = 50
    classifier_dropout: float = 0.1
    drop_mult: float = 1.0
    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self):
        counts = ["embedding_size", "hidden_size", "num_layers", "bptt"]
        counts += ["classifier_size"]
        if self.vocab_size is not None:
            counts.append("vocab_size")
        for key in counts:
            config_files.check_value(key, getattr(self, key), config_files.COUNT)
        if self.backward is not None and not isinstance(self.backward, bool):
            raise UserError(f"backward is {self.backward!r}, wanted a bool")
        word_rules.of(self)
        for key in ("drop_mult", "alpha", "beta"):
            wanted = config_files.NOT_NEGATIVE
            config_files.check_value(key, getattr(self, key), wanted)
        for field in dataclasses.fields(self):
            if field.name.endswith("_dropout"):
                value = getattr(self, field.name)
                config_files.check_value(field.name, value, config_files.SHARE)
                if value * self.drop_mult >= 1:
                    raise UserError(
                        f"{field.name} x drop_mult is {value} x {self.drop_mult}, "
                        f"wanted {config_files.SHARE}"
                    )
        config_files.check_layers(self, "num_layers")
        config_files.check_tables(
            self, ("embedding_size", "hidden_size"), ("hidden_size", "hidden_size")
        )
        if self.vocab_size is not None:
            config_files.check_tables(self, ("vocab_size", "embedding_size"))

    def dropouts(self, start: str = "") -> Dropouts:
        """Returns those of the keys that begin so: "", or "classifier_"."""
        found = (getattr(self, f"{start}{name}_dropout") for name in Dropouts._fields)
        return Dropouts(*(value * self.drop_mult for value in found))

    @property
    def units(self) -> list[int]:
        """The widths of the layers."""
        return [*[self.hidden_size] * (self.num_layers - 1), self.embedding_size]


class UlmfitModel(base.Model):
    """The language model: the scope `ulmfit`.

    Args:
      config: the architecture, with `vocab_size`.
      dropouts: which of the config's, see `UlmfitConfig.dropouts`.
      name: str.
      **kwargs: `dtype`, `seed` and `fused`, see `base.Layer`.

    Raises:
      UserError: the config has no `vocab_size`.

    Attributes:
      max_length: any length can be read.
    """

    config_class = UlmfitConfig
    max_length = None

    def __init__(
        self, config: UlmfitConfig, *, dropouts: str = "", name: str = SCOPE, **kwargs
    ):
        super().__init__(config, name=name, **kwargs)
        if config.vocab_size is None:
            raise UserError("the config has no vocab_size: give --vocab_file")
        self.kind, self.dropouts = dropouts, config.dropouts(dropouts)
        self.rnns = [
            Lstm(
                units,
                units,
                forget_bias=0.0,
                weight_dropout=self.dropouts.weight,
                **self.inherit(f"rnn_{i}"),
            )
            for i, units in enumerate(config.units)
        ]
        self.build()

    def build(self, input_shape=None):
        """Makes `embedding` [V, E], `decoder_bias` [V] and the variables of `rnn_i`."""
        config = self.config
        self.embedding = self.add_normal(
            "embedding",
            [config.vocab_size, config.embedding_size],
            initial.uniform(_EMBEDDING_RANGE),
        )
        self.decoder_bias = self.add_constant("decoder_bias", [config.vocab_size], 0.0)
        width = config.embedding_size
        for rnn in self.rnns:
            rnn.build([None, None, width])
            width = rnn.units
        names = ("embedding", "input", *(f"rnn_{i}" for i in range(len(self.rnns))))
        self.sites = {name: dropout.site_id(f"{SCOPE}/{name}") for name in names}

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"dropouts": self.kind}

    def zero_states(self, rows: int | tf.Tensor) -> States:
        """Returns the states of so many rows that have seen nothing."""
        return [rnn.zero_state(rows) for rnn in self.rnns]

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        states: States | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor | list[tf.Tensor] | States]:
        """Reads a window of each row.

        Args:
          input_ids: int [B, T].
          input_mask: int [B, T], 1 = real, which come first; None: all are.
          states: of the rows before it; None = zeros.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `sequence_output` float32 [B, T, E], zero at padding; `dropped_output`, the
          same with dropout, for `lm_logits`; `all_encoder_layers`, float32 [B, T, .] of
          each layer; `states`, after each row's last word, which pass no gradient.
        """
        rows = base.shape_list(input_ids)[0]
        states = states or self.zero_states(rows)
        mask = lengths = None
        if input_mask is not None:
            lengths = tf.reduce_sum(input_mask, axis=1)
            mask = tf.cast(input_mask, tf.float32)[..., None]
        x = tf.transpose(self._embed(input_ids, dropout_seed), [1, 0, 2])  # [T, B, E]
        x = self._drop(x, self.dropouts.input, "input", dropout_seed)
        outputs, after = [], []
        for i, (rnn, state) in enumerate(zip(self.rnns, states, strict=True)):
            h, c = rnn(x, state, dropout_seed)
            after.append(last_states(State(c, h), state, lengths))
            is_last = i + 1 == len(self.rnns)
            rate = self.dropouts.output if is_last else self.dropouts.hidden
            x = self._drop(h, rate, f"rnn_{i}", dropout_seed)
            outputs.append(_rows_first(h, mask))
        return {
            "sequence_output": outputs[-1],
            "dropped_output": _rows_first(x, mask),
            "all_encoder_layers": outputs,
            "states": after,
        }

    def _embed(self, input_ids, dropout_seed):
        x = _look_up(tf.convert_to_tensor(self.embedding), input_ids)
        rate, site = self.dropouts.embedding, self.sites["embedding"]
        if dropout_seed is None or not rate:
            return x
        words = tf.ones([self.config.vocab_size])
        kept = dropout.dropout(words, rate, dropout_seed, site)
        return x * tf.gather(kept, input_ids)[..., None]

    def _drop(self, x, rate, name, dropout_seed):
        """Drops the same features of a row at all steps: float32 [T, B, .]."""
        if dropout_seed is None or not rate:
            return x
        ones = tf.ones([1, *base.shape_list(x)[1:]])
        return x * dropout.dropout(ones, rate, dropout_seed, self.sites[name])

    def lm_logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """Scores what comes next: float [M, E] -> float32 [M, V]."""
        table = tf.cast(self.embedding, self.compute_dtype)
        hidden = tf.cast(hidden, self.compute_dtype)
        logits = tf.matmul(hidden, table, transpose_b=True)
        return tf.cast(logits, tf.float32) + self.decoder_bias

    @property
    def num_tokens(self) -> int:
        """V."""
        return self.config.vocab_size

    def initial_cache(self, batch_size: int, length: int) -> States:
        """Returns the states before the first word."""
        del length
        return self.zero_states(batch_size)

    def cache_spec(self) -> States:
        """Returns the tf.TensorSpecs of the states of any batch."""
        return tf.nest.map_structure(
            lambda x: tf.TensorSpec([None, *x.shape[1:]]), self.zero_states(1)
        )

    def step(
        self, input_ids: tf.Tensor, cache: States, position: tf.Tensor, lengths
    ) -> tuple[tf.Tensor, States]:
        """Reads on; see inference.generation.LanguageModel."""
        del position
        mask = tf.sequence_mask(lengths, tf.shape(input_ids)[1], tf.int32)
        found = self(input_ids, mask, cache)
        return found["sequence_output"], found["states"]


def _rows_first(x, mask):
    """Puts rows before steps, and zeros where the mask, [B, T, 1], has them."""
    x = tf.transpose(x, [1, 0, 2])
    return x if mask is None else x * mask


def _look_up(table: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Gathers rows; the gradient is dense, as that of the table's use as softmax is."""
    words, width = base.shape_list(table)

    @tf.custom_gradient
    def op(table):
        def gradient(dy):
            dy = tf.reshape(dy, [-1, width])
            return tf.math.unsorted_segment_sum(dy, tf.reshape(ids, [-1]), words)

        return tf.gather(table, ids), gradient

    return op(table)


def regularization(
    dropped: tf.Tensor, raw: tf.Tensor, config: UlmfitConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Sums what AR and TAR are the means of (Merity et al. 2018, section 4.6).

    Args:
      dropped: float32 [B, T, E], the outputs after dropout.
      raw: float32 [B, T, E], the same before it.
      config: has `alpha` and `beta`.

    Returns:
      float32 [] each: alpha h^2, and beta (h_t+1 - h_t)^2, over all elements.
    """
    steps = raw[:, 1:] - raw[:, :-1]
    squares = (tf.reduce_sum(tf.square(x)) for x in (dropped, steps))
    ar, tar = squares
    return config.alpha * ar, config.beta * tar
