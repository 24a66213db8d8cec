"""The architecture of a BERT model, in the names of Google's bert_config.json."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from errors import UserError
from modeling import config_files
from modeling.layers import transformer

_ACTIVATIONS = ("gelu_tanh", "gelu_erf", "relu", "tanh", "linear")
# In Google's released Chinese and multilingual configs; nothing ever read them.
_IGNORED_KEYS = frozenset(
    ["directionality", "pooler_fc_size", "pooler_num_attention_heads"]
    + ["pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"]
)
# Ours, for models that were not trained by Google's code.
_EXTRA_KEYS = frozenset({"gelu_approximate", "layer_norm_eps"})


@dataclasses.dataclass(frozen=True)
class BertConfig(config_files.ModelConfig):
    """The architecture of a BERT model, read from and written to Google's JSON.

    Attributes:
      vocab_size: int, rows of the word embedding table.
      hidden_size: int, width of the encoder and of the pooler.
      num_hidden_layers: int, Transformer blocks.
      num_attention_heads: int, a divisor of `hidden_size`.
      intermediate_size: int, width of the feed-forward layer.
      hidden_act: str, `gelu_tanh`, `gelu_erf`, `relu`, `tanh` or `linear`. Google's
        name `gelu` means, and becomes, `gelu_tanh`.
      hidden_dropout_prob: float in [0, 1), on embeddings and sublayer outputs.
      attention_probs_dropout_prob: float in [0, 1), on attention probabilities.
      max_position_embeddings: int, the longest sequence in tokens.
      type_vocab_size: int, number of segment ids.
      initializer_range: float, standard deviation of the truncated normal.
      layer_norm_eps: float, added to the variance; 1e-12 in all of Google's models.
      encoder_class: the blocks of all models of this architecture; a variant of BERT
        is a subclass with others (docs/adding_a_variant.md).

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "BERT's"
    encoder_class: ClassVar[type[transformer.Encoder]] = transformer.Encoder

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 16
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_value(field.name, getattr(self, field.name))
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        config_files.check_layers(self, "num_hidden_layers")
        config_files.check_tables(
            self,
            ("hidden_size", "hidden_size"),
            ("hidden_size", "intermediate_size"),
            ("vocab_size", "hidden_size"),
            ("max_position_embeddings", "hidden_size"),
            ("type_vocab_size", "hidden_size"),
        )
        act = self.hidden_act.lower()
        object.__setattr__(self, "hidden_act", "gelu_tanh" if act == "gelu" else act)

    @classmethod
    def from_dict(
        cls, json_object: Mapping[str, Any], source: str = "BertConfig.from_dict"
    ) -> "BertConfig":
        """Builds a config from Google's keys, all of which must be there.

        Args:
          json_object: Google's eleven keys; optionally `layer_norm_eps`, and
            `gelu_approximate` (bool), which tells the two forms of `gelu` apart.
          source: where the keys come from, for error messages.

        Returns:
          The config.

        Raises:
          UserError: an unknown or missing key or an impossible value; the message
            names `source` and the key.
        """
        values = {k: v for k, v in json_object.items() if k not in _IGNORED_KEYS}
        names = {field.name for field in dataclasses.fields(cls)}
        config_files.check_keys(values, names - _EXTRA_KEYS, _EXTRA_KEYS, source)
        if "gelu_approximate" in values:
            approximate = values.pop("gelu_approximate")
            if values["hidden_act"] != "gelu" or not isinstance(approximate, bool):
                raise UserError(
                    f"{source}: gelu_approximate is {approximate!r} with hidden_act "
                    f"{values['hidden_act']!r}; it must be true or false, and goes "
                    'with "gelu" only'
                )
            values["hidden_act"] = "gelu_tanh" if approximate else "gelu_erf"
        return cls._make(values, source)

    def to_dict(self) -> dict[str, Any]:
        """Returns Google's keys and values, our extra keys only where they say more."""
        values = dataclasses.asdict(self)
        if self.hidden_act.startswith("gelu_"):
            values["hidden_act"] = "gelu"
        if self.hidden_act == "gelu_erf":
            values["gelu_approximate"] = False
        if self.layer_norm_eps == 1e-12:
            del values["layer_norm_eps"]
        return values

    def to_json_string(self) -> str:
        """Returns `to_dict` in the layout of Google's files."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def _check_value(key: str, value: Any) -> None:
    """Raises ValueError, naming the key, for a value no BERT model can have."""
    if key == "hidden_act":
        if not isinstance(value, str) or value.lower() not in ("gelu", *_ACTIVATIONS):
            raise UserError(
                f"{key} is {value!r}, wanted one of gelu, {', '.join(_ACTIVATIONS)}"
            )
    elif key.endswith("_prob"):
        config_files.check_value(key, value, config_files.SHARE)
    elif key in ("initializer_range", "layer_norm_eps"):
        config_files.check_value(key, value, config_files.POSITIVE)
    else:
        config_files.check_value(key, value, config_files.COUNT)
