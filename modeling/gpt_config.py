"""The architecture of a GPT model, in the names of OpenAI's train.py."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from errors import UserError
from modeling import config_files

# train.py's act_fns, as modeling.layers.activations names them.
_ACTIVATIONS = {"gelu": "gelu_tanh", "relu": "relu", "swish": "swish"}
# Behind the tokens, in the order in which train.py adds them to its encoder.
_SPECIAL_TOKENS = ("_start_", "_delimiter_", "_classify_")


@dataclasses.dataclass(frozen=True)
class GptConfig(config_files.ModelConfig):
    """The architecture, read from and written to JSON with train.py's names.

    Attributes:
      n_vocab: int, tokens of the byte pair encoding.
      n_special: int, further tokens behind them: 0 after pre-training, 3 for tasks.
      n_ctx: int, the longest sequence in tokens.
      n_embd: int, width of the decoder; its wide layers are 4 times as wide.
      n_layer: int, Transformer blocks.
      n_head: int, a divisor of `n_embd`.
      afn: str, `gelu` (the tanh form), `relu` or `swish`.
      embd_pdrop: float in [0, 1), on the embedding matrix.
      attn_pdrop: float in [0, 1), on attention probabilities.
      resid_pdrop: float in [0, 1), on sublayer outputs.
      clf_pdrop: float in [0, 1), on what a classifier sees.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "GPT's"

    n_vocab: int
    n_special: int = 0
    n_ctx: int = 512
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    afn: str = "gelu"
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    resid_pdrop: float = 0.1
    clf_pdrop: float = 0.1

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "afn":
                if value not in tuple(_ACTIVATIONS):
                    raise UserError(
                        f"afn is {value!r}, wanted one of {', '.join(_ACTIVATIONS)}"
                    )
                continue
            wanted = config_files.COUNT
            if field.name == "n_special":
                wanted = config_files.COUNT_OR_NONE
            elif field.name.endswith("_pdrop"):
                wanted = config_files.SHARE
            config_files.check_value(field.name, value, wanted)
        if self.n_embd % self.n_head:
            raise UserError(
                f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}"
            )
        config_files.check_layers(self, "n_layer")
        config_files.check_tables(
            self,
            ("n_embd", "n_embd"),
            *((rows, "n_embd") for rows in ("n_vocab", "n_special", "n_ctx")),
        )

    @property
    def activation(self) -> str:
        """`afn` as `layers.activations` names it."""
        return _ACTIVATIONS[self.afn]

    @property
    def num_rows(self) -> int:
        """Rows of the one embedding matrix: tokens, special tokens, positions."""
        return self.n_vocab + self.n_special + self.n_ctx

    def special_id(self, token: str) -> int:
        """Returns the id of a special token.

        Args:
          token: `_start_`, `_delimiter_` or `_classify_`.

        Raises:
          UserError: there is no such token, or the model has no row for it.
        """
        if token not in _SPECIAL_TOKENS[: self.n_special]:
            raise UserError(
                f"unknown special token {token!r}: the model has n_special="
                f"{self.n_special} of {', '.join(_SPECIAL_TOKENS)}"
            )
        return self.n_vocab + _SPECIAL_TOKENS.index(token)

    @classmethod
    def from_dict(
        cls, json_object: Mapping[str, Any], source: str = "GptConfig.from_dict"
    ) -> "GptConfig":
        """Builds a config from train.py's names, all of which must be there.

        Args:
          json_object: the eleven keys; optionally `model_type`, which must be "gpt".
          source: where the keys come from, for error messages.

        Returns:
          The config.

        Raises:
          UserError: an unknown or missing key or an impossible value; the message
            names `source` and the key.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        config_files.check_keys(json_object, names, ["model_type"], source)
        values = dict(json_object)
        model_type = values.pop("model_type", "gpt")
        if model_type != "gpt":
            raise UserError(f"{source}: model_type is {model_type!r}, wanted 'gpt'")
        return cls._make(values, source)

    def to_dict(self) -> dict[str, Any]:
        """Returns train.py's names and our `model_type`."""
        return {"model_type": "gpt", **dataclasses.asdict(self)}

    def to_json_string(self) -> str:
        """Returns `to_dict` as the text of a file."""
        return json.dumps(self.to_dict(), indent=2) + "\n"
