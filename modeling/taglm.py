"""TagLM (Peters et al. 2017): a sequence tagger that reads a language model's states.

    a word        its characters, by a CNN or RNN, beside its vector   section 2.1
    BiRNN-1       both directions, side by side
    + biLM        the top layers of a frozen language model of each direction, beside
                  what BiRNN-1 made of the word                        section 2.4
    BiRNN-2       both directions; then a score for each tag, and a CRF (`tagger`)

Without a biLM it is the paper's baseline, of which there are two (section 3): CNN and
LSTMs after Ma and Hovy (2016) for chunking, the default; for CoNLL-2003 GRUs in both
places after Yang et al. (2017), configs/models/taglm_conll2003.json. The paper does not
say how the characters' last GRU becomes a vector; here it is the final state of each
direction.
"""

# B batch, T words, S = T + 2 with <S> and </S>, C characters, D units.

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

import word_rules
from errors import UserError
from modeling import config_files
from modeling.elmo import ElmoModel
from modeling.elmo_config import NUM_CHARACTERS, ElmoConfig
from modeling.layers import base, char_cnn, dropout, embeddings, initial, recurrent

_CHOICES = {"rnn_cell": ("lstm", "gru"), "char_encoder": ("cnn", "rnn")}
# What a word's characters are followed by, up to their number; moved up by one.
_FILLING = NUM_CHARACTERS


@dataclasses.dataclass(frozen=True)
class TaglmConfig(config_files.OwnConfig):
    """The architecture, read from and written to taglm_config.json.

    Attributes:
      vocab_size: int, words that have a vector, `<S>`, `</S>` and `<UNK>` among them.
      word_dim: int, width of a word's vector.
      char_dim: int, width of a character.
      char_filters: int, convolutions over a word's characters, with "cnn".
      char_filter_width: int, characters that one of them sees.
      max_characters_per_token: int, begin and end of the word included; with `lm`,
        its own.
      rnn_units: int, D, of each direction.
      dropout: float in [0, 1), on characters and on the input of each RNN; see
        `output_dropout`.
      do_lower_case: bool, whether words are lower-cased to find their vectors.
      rnn_cell: "lstm" or "gru", of all RNNs.
      char_encoder: "cnn" or "rnn".
      char_rnn_layers: int, over a word's characters, with "rnn".
      char_rnn_units: int, of each direction.
      lm: the language model's options; None = without one.
      tokenizer: what finds the words of a text, see word_rules.
      segmenter: what finds them in Chinese.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "TagLM's"
    model_type = "taglm"
    # Files from before these keys are read, too.
    optional_keys = frozenset(
        {*_CHOICES, "char_rnn_layers", "char_rnn_units", "lm", *word_rules.NAMES}
    )

    vocab_size: int
    word_dim: int = 100
    char_dim: int = 30
    char_filters: int = 30
    char_filter_width: int = 3
    max_characters_per_token: int = 30
    rnn_units: int = 200
    dropout: float = 0.5
    do_lower_case: bool = True
    rnn_cell: str = "lstm"
    char_encoder: str = "cnn"
    char_rnn_layers: int = 2
    char_rnn_units: int = 80
    lm: ElmoConfig | None = None
    tokenizer: str | None = None
    segmenter: str | None = None

    def __post_init__(self):
        word_rules.of(self)
        config_files.check_value("dropout", self.dropout, config_files.SHARE)
        if not isinstance(self.do_lower_case, bool):
            raise UserError(f"do_lower_case is {self.do_lower_case!r}, wanted a bool")
        for key, wanted in _CHOICES.items():
            if getattr(self, key) not in wanted:
                raise UserError(
                    f"{key} is {getattr(self, key)!r}, wanted {' or '.join(wanted)}"
                )
        for field in dataclasses.fields(self):
            if field.type is int:
                value = getattr(self, field.name)
                config_files.check_value(field.name, value, config_files.COUNT)
        longest = self.max_characters_per_token
        if self.char_filter_width > longest:
            raise UserError(
                f"char_filter_width {self.char_filter_width} is more than "
                f"max_characters_per_token {longest}"
            )
        config_files.check_layers(self, "char_rnn_layers")
        config_files.check_tables(
            self,
            ("vocab_size", "word_dim"),
            ("word_dim", "rnn_units"),
            ("rnn_units", "rnn_units"),
            ("char_dim", "max_characters_per_token", "char_filters"),
            ("char_filters", "rnn_units"),
            ("char_dim", "char_rnn_units"),
            ("char_rnn_units", "char_rnn_units"),
            ("char_rnn_units", "rnn_units"),
        )
        if self.lm is None:
            return
        if self.lm.char_cnn is None:
            raise UserError("lm reads words by a table; wanted one with char_cnn")
        if self.lm.lexicon is not None:
            raise UserError(
                "lm is one of ELMoForManyLangs, which reads words by its own lexicon; "
                "wanted bilm-tf's"
            )
        if self.lm.char_cnn.max_characters_per_token != longest:
            raise UserError(
                f"max_characters_per_token is {longest}, but lm's is "
                f"{self.lm.char_cnn.max_characters_per_token}"
            )

    @property
    def char_units(self) -> int:
        """The width of a word that its characters give."""
        if self.char_encoder == "cnn":
            return self.char_filters
        return 2 * self.char_rnn_units

    @property
    def output_dropout(self) -> float:
        """That of the last RNN's output, where the paper has none with GRUs."""
        return self.dropout if self.rnn_cell == "lstm" else 0.0

    def with_lm(self, lm: ElmoConfig) -> "TaglmConfig":
        """Returns the same with a language model, which decides how words are spelled.

        Raises:
          UserError: the language model reads no characters.
        """
        characters = self.max_characters_per_token
        if lm.char_cnn is not None:
            characters = lm.char_cnn.max_characters_per_token
        return dataclasses.replace(self, lm=lm, max_characters_per_token=characters)

    @classmethod
    def from_dict(
        cls, json_object: Mapping[str, Any], source: str = "TaglmConfig.from_dict"
    ) -> "TaglmConfig":
        """As OwnConfig's; `lm` is left out, or ELMo's options."""
        values = dict(json_object)
        if "lm" in values:
            if not isinstance(values["lm"], Mapping):
                raise UserError(f"{source}: lm is {values['lm']!r}, wanted an object")
            values["lm"] = ElmoConfig.from_dict(values["lm"], f"{source}: lm")
        return super().from_dict(values, source)

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys of the file, without `lm` where there is none."""
        values = super().to_dict()
        del values["lm"]
        return values if self.lm is None else values | {"lm": self.lm.to_dict()}


class TaglmModel(base.Model):
    """The tagger below its scores: the scope `taglm`, and `lm` for the language model.

    Args:
      config: the architecture.
      dtype: a Keras dtype policy, see `ElmoModel`.
      seed: int, of the initial weights.
      fused: bool, see `base.Layer`.
      name: str.
    """

    config_class = TaglmConfig

    def __init__(self, config: TaglmConfig, *, name: str = "taglm", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.cnn = self.char_rnn = None
        if config.char_encoder == "cnn":
            filters = [(config.char_filter_width, config.char_filters)]
            self.cnn = char_cnn.Filters(filters, "tanh", **self.inherit("CNN"))
        else:
            self.char_rnn = recurrent.FinalStates(
                config.rnn_cell,
                config.char_rnn_layers,
                config.char_rnn_units,
                config.dropout,
                **self.inherit("char_rnn"),
            )
        self.rnn_1, self.rnn_2 = (
            recurrent.Bidirectional(
                config.rnn_cell,
                config.rnn_units,
                config.dropout,
                **self.inherit(f"rnn_{i}"),
            )
            for i in (1, 2)
        )
        self.lm = None
        if config.lm is not None:
            self.lm = ElmoModel(
                config.lm, dtype=self.dtype_policy, seed=self.seed, fused=self.fused
            )
        self.build()
        self.site = dropout.site_id(self.char_embed.path)

    def build(self, input_shape=None):
        """Makes `char_embed` [261, E], `word_embeddings` [V, W] and the layers'."""
        config = self.config
        # Both tables as Ma and Hovy (2016), section 3.1.
        self.char_embed = self.add_normal(
            "char_embed",
            [NUM_CHARACTERS, config.char_dim],
            initial.uniform((3 / config.char_dim) ** 0.5),
        )
        self.word_embeddings = self.add_normal(
            "word_embeddings",
            [config.vocab_size, config.word_dim],
            initial.uniform((3 / config.word_dim) ** 0.5),
        )
        (self.cnn or self.char_rnn).build([None, None, config.char_dim])
        self.rnn_1.build([None, None, config.char_units + config.word_dim])
        width = 2 * config.rnn_units
        if config.lm is not None:
            width += 2 * config.lm.lstm.projection_dim
        self.rnn_2.build([None, None, width])

    def call(
        self,
        input_ids: tf.Tensor,
        characters: tf.Tensor,
        input_mask: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Reads sentences.

        Args:
          input_ids: int [B, S] of words: `<S>`, the words, `</S>`, and padding.
          characters: int [B, S, C], their spellings; 0 = padding.
          input_mask: int [B, S], 1 = real.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `sequence_output` float32 [B, S, 2D], zero at `<S>`, `</S>` and padding.
        """
        lengths = tf.maximum(tf.reduce_sum(input_mask, axis=1) - 2, 0)
        vectors = tf.gather(
            tf.convert_to_tensor(self.word_embeddings), input_ids[:, 1:-1]
        )
        spelled = self._spell(characters[:, 1:-1], dropout_seed)
        x = tf.concat([spelled, vectors], axis=-1)
        x = self.rnn_1(x, lengths, dropout_seed)  # [B, T, 2D]
        if self.lm is not None:
            # Never trained, and so without dropout and without a gradient.
            top = self.lm(characters)["lm_embeddings"][:, -1]
            x = tf.concat([x, tf.stop_gradient(top)], axis=-1)
        x = self.rnn_2(x, lengths, dropout_seed)
        return {"sequence_output": tf.pad(x, [[0, 0], [1, 1], [0, 0]])}

    def _spell(self, characters, dropout_seed):
        """Reads words by their characters: int [B, T, C] -> float32 [B, T, .]."""
        rows, words, length = base.shape_list(characters)
        characters = tf.reshape(characters, [rows * words, length])
        x = embeddings.look_up(self.char_embed, characters)
        if self.cnn is not None:
            x = dropout.dropout(x, self.config.dropout, dropout_seed, self.site)
            x = self.cnn(x)
        else:
            real = (characters > 0) & (characters < _FILLING)
            lengths = tf.reduce_sum(tf.cast(real, tf.int32), axis=1)
            x = self.char_rnn(x, lengths, dropout_seed)
        return tf.reshape(x, [rows, words, self.config.char_units])
