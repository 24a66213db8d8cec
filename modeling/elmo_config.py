"""The architecture of ELMo's language model, as bilm-tf's options.json describes it."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import word_rules
from errors import UserError
from modeling import config_files

# 256 bytes; begin and end of sentence and of word; the filling of short words.
NUM_CHARACTERS = 261
# The training run's, in the options.json of a run; here they are flags.
_RUN_KEYS = frozenset(
    ["all_clip_norm_val", "batch_size", "learning_rate", "n_epochs"]
    + ["n_train_tokens", "unroll_steps"]
)
# Keys that some releases have, with the only value that this model is.
_GIVEN = {"bidirectional": True, "reverse": False}
_GIVEN_CNN = {"projection_after_highway": True}


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


_WANTED = {_is_count: "a positive whole number", _is_bool: "true or false"}


def _check(options: Any, keys: Sequence[str], is_valid: Callable[[Any], bool]) -> None:
    """Raises ValueError, naming the key, for the first value that is not valid."""
    for key in keys:
        value = getattr(options, key)
        if not is_valid(value):
            raise UserError(f"{key} is {value!r}, wanted {_WANTED[is_valid]}")


@dataclasses.dataclass(frozen=True)
class LstmOptions:
    """The section `lstm` of options.json.

    Attributes:
      dim: int, cells a layer and direction.
      projection_dim: int, width of a token and of each direction's output; equal to
        `dim` for no projection.
      n_layers: int.
      cell_clip: float, limit of the cells' absolute values; None = none.
      proj_clip: float, the same of the projected outputs.
      use_skip_connections: bool; True adds every layer's input to its output, from
        the second layer on.
    """

    dim: int
    projection_dim: int
    n_layers: int = 1
    cell_clip: float | None = None
    proj_clip: float | None = None
    use_skip_connections: bool = False

    def __post_init__(self):
        _check(self, ["dim", "projection_dim", "n_layers"], _is_count)
        for key in ("cell_clip", "proj_clip"):
            value = getattr(self, key)
            if value is not None:
                config_files.check_value(key, value, config_files.POSITIVE)
        _check(self, ["use_skip_connections"], _is_bool)
        if self.projection_dim > self.dim:
            raise UserError(
                f"projection_dim {self.projection_dim} is more than dim {self.dim}"
            )
        config_files.check_layers(self, "n_layers")
        config_files.check_tables(self, ("dim", "dim"))


@dataclasses.dataclass(frozen=True)
class CharCnnOptions:
    """The section `char_cnn` of options.json.

    Attributes:
      filters: (width in characters, number) of every convolution.
      embedding_dim: int, width of a character; `{"embedding": {"dim": ...}}`.
      max_characters_per_token: int, begin and end of the word included.
      activation: `relu` or `tanh`.
      n_highway: int, highway layers.
      n_characters: int, 261 or 262; bilm-tf wants 261 for training, and 262 for
        inference, where it counts the padding. The weights have 261 rows either way.
    """

    filters: tuple[tuple[int, int], ...]
    embedding_dim: int
    max_characters_per_token: int = 50
    activation: str = "relu"
    n_highway: int = 0
    n_characters: int = NUM_CHARACTERS + 1

    def __post_init__(self):
        keys = ["embedding_dim", "max_characters_per_token"]
        _check(self, keys, _is_count)
        if not (type(self.n_highway) is int and self.n_highway >= 0):
            raise UserError(f"n_highway is {self.n_highway!r}, wanted 0 or more")
        if self.activation not in ("relu", "tanh"):
            raise UserError(f"activation is {self.activation!r}, wanted relu or tanh")
        if self.n_characters not in (NUM_CHARACTERS, NUM_CHARACTERS + 1):
            raise UserError(
                f"n_characters is {self.n_characters!r}, wanted 261 (256 bytes and 5 "
                "marks, as bilm-tf trains) or 262 (with the padding, id 0, as it "
                "infers); the weights are the same"
            )
        for pair in self.filters:
            if len(pair) != 2 or not all(map(_is_count, pair)):
                raise UserError(f"filters has {pair!r}, wanted [width, number]")
            if pair[0] > self.max_characters_per_token:
                raise UserError(
                    f"filters has width {pair[0]}, but max_characters_per_token is "
                    f"{self.max_characters_per_token}"
                )
        if not self.filters:
            raise UserError("filters is empty")
        config_files.check_layers(self, "n_highway")
        config_files.check_tables(
            self,
            ("embedding_dim", "max_characters_per_token", "n_filters"),
            ("n_filters", "n_filters"),
        )

    @property
    def n_filters(self) -> int:
        """The width of a word before it is projected."""
        return sum(number for _, number in self.filters)


@dataclasses.dataclass(frozen=True)
class LexiconOptions:
    """The section `lexicon`: words are read as ELMoForManyLangs (HIT-SCIR) does.

    bilm-tf has no such section. See lexicon.py for the files that number words and
    characters.

    Attributes:
      max_characters_per_token: int, begin and end of the word included.
      word_dim: int, width of a word's own vector; 0 = words have none.
      n_words: int, numbered words; None = not known yet.
      n_characters: int, numbered characters; None = not known yet.
    """

    max_characters_per_token: int
    word_dim: int
    n_words: int | None = None
    n_characters: int | None = None

    def __post_init__(self):
        _check(self, ["max_characters_per_token"], _is_count)
        if not (type(self.word_dim) is int and self.word_dim >= 0):
            raise UserError(f"word_dim is {self.word_dim!r}, wanted 0 or more")
        known = [k for k in ("n_words", "n_characters") if getattr(self, k) is not None]
        _check(self, known, _is_count)


@dataclasses.dataclass(frozen=True)
class ElmoConfig(config_files.ModelConfig):
    """A biLM's architecture, read from and written to bilm-tf's options.json.

    Attributes:
      lstm: both directions.
      char_cnn: how words are read; None = a table of words instead.
      n_tokens_vocab: int, words of the output layer (and of the table); None in files
        for inference.
      dropout: float in [0, 1), on the inputs of every LSTM layer and of the softmax.
      sample_softmax: bool; True trains with a sampled softmax.
      n_negative_samples_batch: int, words in the sample.
      share_embedding_softmax: bool; True = the table is the softmax's `W`.
      lexicon: how words are read, if not as bilm-tf does.
      tokenizer: what finds the words of a text, see word_rules.
      segmenter: what finds them in Chinese.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "ELMo's"

    lstm: LstmOptions
    char_cnn: CharCnnOptions | None = None
    n_tokens_vocab: int | None = None
    dropout: float = 0.0
    sample_softmax: bool = True
    n_negative_samples_batch: int = 8192
    share_embedding_softmax: bool = False
    lexicon: LexiconOptions | None = None
    tokenizer: str | None = None
    segmenter: str | None = None

    def __post_init__(self):
        word_rules.of(self)
        _check(self, ["sample_softmax", "share_embedding_softmax"], _is_bool)
        _check(self, ["n_negative_samples_batch"], _is_count)
        words = self.n_tokens_vocab
        if words is not None and not _is_count(words):
            raise UserError(f"n_tokens_vocab is {words!r}, wanted a positive int")
        if not (_is_number(self.dropout) and 0 <= self.dropout < 1):
            raise UserError(f"dropout is {self.dropout!r}, wanted a number in [0, 1)")
        counts = ["n_negative_samples_batch"] + ["n_tokens_vocab"] * (words is not None)
        tables = ((count, "lstm.projection_dim") for count in counts)
        config_files.check_tables(self, *tables)
        if self.lexicon is not None:
            self._check_lexicon()
        elif self.char_cnn is None:
            if words is None:
                raise UserError("neither char_cnn nor n_tokens_vocab is given")
        elif self.share_embedding_softmax:
            raise UserError("share_embedding_softmax needs words as input: no char_cnn")
        elif self.char_cnn.n_filters < self.lstm.projection_dim:
            raise UserError(
                f"filters add up to {self.char_cnn.n_filters}, fewer than "
                f"projection_dim {self.lstm.projection_dim}"
            )

    def _check_lexicon(self) -> None:
        cnn, lexicon = self.char_cnn, self.lexicon
        tables = [("lexicon.word_dim", "lstm.projection_dim")]
        if lexicon.n_words is not None:
            tables.append(("lexicon.n_words", "lexicon.word_dim"))
        if lexicon.n_characters is not None and cnn is not None:
            tables.append(("lexicon.n_characters", "char_cnn.embedding_dim"))
        config_files.check_tables(self, *tables)
        if cnn is None and not lexicon.word_dim:
            raise UserError("neither char_cnn nor the lexicon's word_dim is given")
        longest = lexicon.max_characters_per_token
        if cnn is not None and cnn.max_characters_per_token != longest:
            raise UserError(
                f"max_characters_per_token is {longest} in lexicon, but "
                f"{cnn.max_characters_per_token} in char_cnn"
            )
        if self.lstm.dim == self.lstm.projection_dim:
            raise UserError(
                f"dim and projection_dim are both {self.lstm.dim}: ELMoForManyLangs "
                "projects then, too, which is not done here"
            )
        if self.share_embedding_softmax:
            raise UserError("share_embedding_softmax goes with no lexicon")

    @property
    def word_table(self) -> tuple[int, int] | None:
        """Rows and width of the table of words; None where words have no vectors."""
        if self.lexicon is None:
            has_words = self.char_cnn is None
            return (
                (self.n_tokens_vocab, self.lstm.projection_dim) if has_words else None
            )
        width = self.lexicon.word_dim
        return (self.lexicon.n_words, width) if width else None

    @property
    def character_table(self) -> tuple[int, int] | None:
        """Rows and width of the table of characters; None where words have none."""
        if self.char_cnn is None:
            return None
        rows = self.lexicon.n_characters if self.lexicon else NUM_CHARACTERS
        return rows, self.char_cnn.embedding_dim

    @property
    def token_width(self) -> int:
        """What is read of a word, side by side, before it is projected."""
        words = self.word_table[1] if self.word_table else 0
        return words + (self.char_cnn.n_filters if self.char_cnn else 0)

    @property
    def is_projected(self) -> bool:
        """Whether what is read of a word goes through a projection."""
        return bool(self.lexicon) or self.token_width != self.lstm.projection_dim

    @property
    def ids_per_word(self) -> int | None:
        """Numbers that a word is read by; None = one, without an axis of its own."""
        if self.char_cnn is None:
            return None
        own = 1 if self.word_table else 0
        return own + self.char_cnn.max_characters_per_token

    @classmethod
    def from_dict(
        cls, json_object: Mapping[str, Any], source: str = "ElmoConfig.from_dict"
    ) -> "ElmoConfig":
        """Builds a config from the keys of options.json.

        Args:
          json_object: the architecture's keys; those of a training run (`batch_size`,
            `unroll_steps` ...) are allowed and not kept.
          source: where the keys come from, for error messages.

        Returns:
          The config.

        Raises:
          UserError: an unknown or missing key or an impossible value; the message
            names `source` and the key.
        """
        values = {k: v for k, v in json_object.items() if k not in _RUN_KEYS}
        try:
            values = _without_given(values, _GIVEN)
            values["lstm"] = _section(LstmOptions, values.get("lstm"), "lstm")
            if values.get("char_cnn") is not None:
                values["char_cnn"] = _char_cnn(values["char_cnn"])
            if values.get("lexicon") is not None:
                found = _section(LexiconOptions, values["lexicon"], "lexicon")
                values["lexicon"] = found
            return _section(cls, values, "the options")
        except ValueError as error:
            raise UserError(f"{source}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys and values of options.json."""
        values = {"bidirectional": True, **dataclasses.asdict(self)}
        if self.char_cnn is not None:
            cnn = values["char_cnn"]
            cnn["embedding"] = {"dim": cnn.pop("embedding_dim")}
            cnn["filters"] = [list(pair) for pair in cnn["filters"]]
        return {k: v for k, v in values.items() if v is not None}

    def to_json_string(self) -> str:
        """Returns `to_dict` as JSON, with sorted keys."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def _section(kind: type, values: Any, title: str) -> Any:
    """Makes a dataclass of a JSON object, whose keys must be the fields."""
    if not isinstance(values, Mapping):
        raise UserError(f"{title} is {values!r}, wanted a JSON object")
    fields = dataclasses.fields(kind)
    unknown = sorted(set(values) - {field.name for field in fields})
    if unknown:
        raise UserError(f"unknown key(s) {', '.join(unknown)} in {title}")
    needed = {f.name for f in fields if f.default is dataclasses.MISSING}
    missing = sorted(needed - set(values))
    if missing:
        raise UserError(f"missing key(s) {', '.join(missing)} in {title}")
    return kind(**values)


def _without_given(values: Mapping[str, Any], given: Mapping[str, bool]) -> dict:
    """Leaves out keys whose value must be the one given, and checks that it is."""
    for key, wanted in given.items():
        if values.get(key, wanted) is not wanted:
            raise UserError(
                f"{key} is not {json.dumps(wanted)}, but {values[key]!r}: no ELMo model"
            )
    return {key: value for key, value in values.items() if key not in given}


def _char_cnn(values: Any) -> CharCnnOptions:
    """Reads the section `char_cnn`, whose JSON differs a little from the fields."""
    if not isinstance(values, Mapping):
        raise UserError(f"char_cnn is {values!r}, wanted a JSON object")
    values = _without_given(values, _GIVEN_CNN)
    embedding, filters = values.pop("embedding", None), values.get("filters")
    if not isinstance(embedding, Mapping) or set(embedding) != {"dim"}:
        raise UserError(f'embedding is {embedding!r}, wanted {{"dim": number}}')
    if not isinstance(filters, list) or not all(isinstance(f, list) for f in filters):
        raise UserError(f"filters is {filters!r}, wanted [[width, number], ...]")
    values["filters"] = tuple(tuple(pair) for pair in filters)
    if values.get("n_highway") is None:
        values["n_highway"] = 0  # bilm-tf: absent, null or 0
    return _section(
        CharCnnOptions, values | {"embedding_dim": embedding["dim"]}, "char_cnn"
    )
