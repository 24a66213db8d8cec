"""MT-DNN (Liu et al. 2019, section 3): one BERT for several tasks, a head for each.

New against BERT: the heads (section 3.1) stand on one encoder, which all tasks train.

    classification   softmax(W x), x the pooled [CLS]                            eq. 1
                     or, of a pair, what a stochastic answer network says   eq. 3 to 4
    regression       w x                                                         eq. 2
    ranking          w x of each candidate; softmax over those of a question  eq. 5, 9
"""

# B batch, S places, H width.

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from errors import UserError
from modeling import config_files
from modeling.bert import BertModel
from modeling.bert_config import BertConfig
from modeling.layers import base, dropout
from modeling.layers.heads import OutputProjection
from modeling.san import SanClassifier, SanConfig

SCOPE = "scoring_list"
CLASSIFICATION, REGRESSION, RANKING = "classification", "regression", "ranking"
KINDS = (CLASSIFICATION, REGRESSION, RANKING)


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """What a task's head gives, by the keys of the parent's tasks file.

    Attributes:
      kind: one of KINDS.
      n_class: classes; 1 where the outputs are no classes.
      enable_san: whether pairs are classified by a stochastic answer network.
      dropout_p: on what the head reads.
      san: how that network reads.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    kind: str
    n_class: int = 1
    enable_san: bool = False
    dropout_p: float = 0.1
    san: SanConfig = SanConfig()

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UserError(f"kind is {self.kind!r}, wanted {', '.join(KINDS)}")
        config_files.check_value("n_class", self.n_class, config_files.COUNT)
        config_files.check_value("dropout_p", self.dropout_p, config_files.SHARE)
        if (self.n_class == 1) == (self.kind == CLASSIFICATION):
            wanted = "2 or more" if self.kind == CLASSIFICATION else "1"
            raise UserError(
                f"n_class of a {self.kind} is {self.n_class}: wanted {wanted}"
            )
        if self.enable_san and self.kind != CLASSIFICATION:
            raise UserError(f"enable_san is for classification, not for {self.kind}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HeadConfig":
        """The inverse of dataclasses.asdict."""
        return cls(**{**values, "san": SanConfig(**values["san"])})


class LinearHead(OutputProjection):
    """An affine map of the pooled first position: `output_weights`, `output_bias`.

    Args:
      num_outputs: int.
      dropout_p: float, on the pooled vector.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, num_outputs: int, dropout_p: float, **kwargs):
        super().__init__(num_outputs, **kwargs)
        self.dropout_p = dropout_p

    def call(self, encoded, input_mask, segment_ids, dropout_seed=None):
        """See `make_head`."""
        del input_mask, segment_ids
        site = dropout.site_id(base.released_name(self.output_bias.path))
        pooled = encoded["pooled_output"]
        return super().call(dropout.dropout(pooled, self.dropout_p, dropout_seed, site))


class SanHead(SanClassifier):
    """A stochastic answer network on all positions: it reads the first text.

    What it looks for is in the second, as the hypothesis of a pair stands there. (So it
    is in the paper. The parent takes whichever stands first; in its first release that
    was the hypothesis.) The pooler is no part of it.
    """

    def call(self, encoded, input_mask, segment_ids, dropout_seed=None):
        """See `make_head`."""
        real, second = tf.cast(input_mask, tf.bool), tf.cast(segment_ids, tf.bool)
        x = encoded["sequence_output"]
        return super().call(x, real & ~second, real & second, dropout_seed)


def make_head(config: HeadConfig, **kwargs) -> LinearHead | SanHead:
    """Makes a task's head, to be built with the shape [None, None, H].

    Args:
      config: the task's.
      **kwargs: see `base.Layer`.

    Returns:
      A layer, to be called with
        encoded: what BertModel returns,
        input_mask: int [B, S], 1 = real,
        segment_ids: int [B, S], 1 = second text,
        dropout_seed: int32 [2]; None = inference;
      it returns logits, float32 [B, n_class].
    """
    if config.enable_san:
        return SanHead(config.n_class, config.san, config.dropout_p, **kwargs)
    return LinearHead(config.n_class, config.dropout_p, **kwargs)


class Heads(base.Layer):
    """The heads by the names of their tasks: the released scope `scoring_list`."""

    def __init__(self, configs: Mapping[str, HeadConfig], **kwargs):
        super().__init__(**kwargs)
        self.by_task = {
            name: make_head(config, **self.inherit(name))
            for name, config in configs.items()
        }

    def build(self, input_shape):
        """Makes the variables of all heads."""
        for head in self.by_task.values():
            head.build(input_shape)


class MtDnnModel(base.Model):
    """The encoder under the heads of several tasks.

    Variables are `bert/...`, and `scoring_list/<task>/...`: `output_weights` and
    `output_bias`, or those of `SanClassifier`.

    Args:
      config: the encoder's architecture.
      heads: name of a task, without "/" -> its head.
      frozen_encoder: bool; True uses the encoder for features only: no dropout in it.
      name: str; the root's own name is no part of released names.
      **kwargs: `dtype`, `seed` and `fused`, see `BertModel`.
    """

    config_class = BertConfig

    def __init__(
        self,
        config: BertConfig,
        heads: Mapping[str, HeadConfig],
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        kwargs["initializer_range"] = config.initializer_range
        super().__init__(config, name=name, **kwargs)
        self.heads = dict(heads)
        self.frozen_encoder = frozen_encoder
        self.bert = BertModel(
            config, dtype=self.dtype_policy, seed=self.seed, fused=self.fused
        )
        self.scoring_list = Heads(heads, **self.inherit(SCOPE))
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of the heads."""
        self.scoring_list.build([None, None, self.config.hidden_size])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, in types that JSON has."""
        heads = {name: dataclasses.asdict(head) for name, head in self.heads.items()}
        return super().get_config() | {
            "heads": heads,
            "frozen_encoder": self.frozen_encoder,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.Layer:
        """Makes a model from what `get_config` returned; its weights are new."""
        heads = {k: HeadConfig.from_dict(v) for k, v in config["heads"].items()}
        return super().from_config({**config, "heads": heads})

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        segment_ids: tf.Tensor | None = None,
        *,
        task: str | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor | dict[str, tf.Tensor]:
        """Encodes once, and asks a head, or all of them.

        `task` is whose head is asked, None: those of all; for the other arguments see
        `BertModel.call`.

        Returns:
          float32 [B, n_class], logits; of all tasks name -> logits.
        """
        input_mask = tf.ones_like(input_ids) if input_mask is None else input_mask
        segment_ids = tf.zeros_like(input_ids) if segment_ids is None else segment_ids
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        encoded = self.bert(input_ids, input_mask, segment_ids, dropout_seed=seed)
        given = (encoded, input_mask, segment_ids, dropout_seed)
        heads = self.scoring_list.by_task
        if task is not None:
            return heads[task](*given)
        return {name: head(*given) for name, head in heads.items()}


def ranking_losses(
    scores: tf.Tensor, right: tf.Tensor, candidates: tf.Tensor
) -> tf.Tensor:
    """-log of the softmax over a question's candidates, at the right one (eq. 9).

    Args:
      scores: float32 [Q, C], of the candidates of Q questions.
      right: int [Q], which of them is right.
      candidates: bool [Q, C], which are there: a question may have fewer than C.

    Returns:
      float32 [Q].
    """
    scores = tf.where(candidates, scores, tf.float32.min)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(right, scores)
