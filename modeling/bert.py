"""BERT (Devlin et al. 2018, section 3): a Transformer encoder that sees both sides.

Post-norm blocks, pre-trained by masked language modelling and next sentence prediction;
layer-norm epsilon 1e-12. New against GPT: no causal mask, segments, a pooled first
position.
"""

import tensorflow as tf

from modeling.bert_config import BertConfig
from modeling.layers import (
    base,
    dropout,
    embeddings,
    heads,
    masking,
    packing,
)


class _Model(base.Model):
    """What the models share: variables that exist once they are made."""

    config_class = BertConfig

    def __init__(self, config: BertConfig, **kwargs):
        kwargs["initializer_range"] = config.initializer_range
        super().__init__(config, **kwargs)


class BertModel(_Model):
    """The encoder: the released scope `bert`.

    Args:
      config: the architecture.
      dtype: a Keras dtype policy: `float32`, or `mixed_bfloat16` or `mixed_float16`,
        where variables, statistics and softmax stay float32.
      seed: int, of the initial weights.
      fused: bool, see `base.Layer`: True trains and predicts faster on a CPU.
      name: str.
    """

    def __init__(self, config: BertConfig, *, name: str = "bert", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.embeddings = embeddings.Embeddings(
            config.vocab_size,
            config.hidden_size,
            config.type_vocab_size,
            config.max_position_embeddings,
            config.hidden_dropout_prob,
            config.layer_norm_eps,
            **self.inherit("embeddings"),
        )
        self.encoder = config.encoder_class(
            config.num_hidden_layers,
            config.hidden_size,
            config.num_attention_heads,
            config.intermediate_size,
            config.hidden_act,
            config.hidden_dropout_prob,
            config.attention_probs_dropout_prob,
            config.layer_norm_eps,
            **self.inherit("encoder"),
        )
        self.pooler = heads.Pooler(config.hidden_size, **self.inherit("pooler"))
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `embeddings`, `encoder` and `pooler`."""
        width = self.config.hidden_size
        self.embeddings.build([None, None])
        self.encoder.build([None, width])
        self.pooler.build([None, None, width])

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        segment_ids: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor | list[tf.Tensor]]:
        """Encodes.

        Args:
          input_ids: int [B, S].
          input_mask: int [B, S], 1 = real, 0 = padding; None = all real.
          segment_ids: int [B, S]; None = all 0.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `pooled_output` float32 [B, H]; `sequence_output`, `embedding_output` and the
          list `all_encoder_layers`, compute dtype [B, S, H], where padding may be
          anything.
        """
        input_mask = tf.ones_like(input_ids) if input_mask is None else input_mask
        segment_ids = tf.zeros_like(input_ids) if segment_ids is None else segment_ids
        shape = [*base.shape_list(input_ids), self.config.hidden_size]
        rows = packing.rows_of(input_mask, packed=self.fused)
        shared = {"dropout_seed": dropout_seed, "rows": rows}
        x = self.embeddings(input_ids, segment_ids, **shared)
        bias = masking.padding_bias(input_mask)
        outputs = self.encoder(x, bias, **shared)
        layers = [tf.reshape(rows.pad(output), shape) for output in outputs]
        return {
            "pooled_output": self.pooler(layers[-1]),
            "sequence_output": layers[-1],
            "all_encoder_layers": layers,
            "embedding_output": tf.reshape(rows.pad(x), shape),
        }

    def attentions(self, input_ids: tf.Tensor, **others: tf.Tensor) -> tf.Tensor:
        """Computes what each position attends to; for the arguments see `call`.

        Returns:
          float32 [B, layers, heads, S, S]: of each query, the last axis adding up to 1.
        """
        outputs = self(input_ids, **others)
        inputs = [outputs["embedding_output"], *outputs["all_encoder_layers"][:-1]]
        mask = others.get("input_mask")
        mask = tf.ones_like(input_ids) if mask is None else mask
        return self.encoder.attentions(inputs, masking.padding_bias(mask))


class BertClassifier(_Model):
    """The encoder with one output layer on the pooled first position (section 4.1).

    Args:
      config: the architecture.
      num_outputs: int, classes, or 1 for a regression.
      frozen_encoder: bool; True uses the encoder for features only: no dropout in it.
      name: str; the root's own name is no part of released names.
      **kwargs: `dtype`, `seed` and `fused`, see `BertModel`.
    """

    # The parent's run_classifier.py fixes both, whatever the config says.
    _DROPOUT_RATE = 0.1
    _INITIALIZER_RANGE = 0.02

    def __init__(
        self,
        config: BertConfig,
        num_outputs: int,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.initializer_range = self._INITIALIZER_RANGE
        self.num_outputs = num_outputs
        self.frozen_encoder = frozen_encoder
        self.bert = BertModel(
            config, dtype=self.dtype_policy, seed=self.seed, fused=self.fused
        )
        self.site = dropout.site_id("pooled_output")
        self.build()

    def build(self, input_shape=None):
        """Makes `output_weights` [num_outputs, H] and `output_bias` [num_outputs]."""
        self.output_weights = self.add_normal(
            "output_weights", [self.num_outputs, self.config.hidden_size]
        )
        self.output_bias = self.add_constant("output_bias", [self.num_outputs], 0.0)

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {
            "num_outputs": self.num_outputs,
            "frozen_encoder": self.frozen_encoder,
        }

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        segment_ids: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Classifies.

        For the arguments see `BertModel.call`.

        Returns:
          float32 [B, num_outputs], logits.
        """
        pooled = self.bert(
            input_ids,
            input_mask,
            segment_ids,
            dropout_seed=dropout.encoder_seed(dropout_seed, self.frozen_encoder),
        )["pooled_output"]
        pooled = dropout.dropout(pooled, self._DROPOUT_RATE, dropout_seed, self.site)
        return tf.matmul(pooled, self.output_weights, transpose_b=True) + (
            self.output_bias
        )


class BertSpanExtractor(_Model):
    """The encoder with SQuAD's output layer on every position (section 4.2).

    Args:
      config: the architecture.
      frozen_encoder: bool; see `BertClassifier`.
      name: str; the root's own name is no part of released names.
      **kwargs: `dtype`, `seed` and `fused`, see `BertModel`.
    """

    _INITIALIZER_RANGE = 0.02  # the parent's run_squad.py fixes it

    def __init__(
        self,
        config: BertConfig,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.initializer_range = self._INITIALIZER_RANGE
        self.frozen_encoder = frozen_encoder
        self.bert = BertModel(
            config, dtype=self.dtype_policy, seed=self.seed, fused=self.fused
        )
        self.cls = heads.SpanHead(config.hidden_size, **self.inherit("cls"))
        self.build()

    def build(self, input_shape=None):
        """Makes `cls/squad/output_weights` [2, H] and `cls/squad/output_bias` [2]."""
        self.cls.build([None, None, self.config.hidden_size])

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"frozen_encoder": self.frozen_encoder}

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        segment_ids: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores every position, padding too; for the arguments see `BertModel.call`.

        Returns:
          Logits of the starts and of the ends, float32 [B, S] each.
        """
        outputs = self.bert(
            input_ids,
            input_mask,
            segment_ids,
            dropout_seed=dropout.encoder_seed(dropout_seed, self.frozen_encoder),
        )
        return self.cls(outputs["sequence_output"])


class BertPreTrainingModel(_Model):
    """The encoder with both pre-training heads (section 3.1).

    Args:
      config: the architecture.
      frozen_encoder: bool; see `BertClassifier`.
      name: str; the root's own name is no part of released names.
      **kwargs: `dtype`, `seed` and `fused`, see `BertModel`.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.frozen_encoder = frozen_encoder
        self.bert = BertModel(
            config, dtype=self.dtype_policy, seed=self.seed, fused=self.fused
        )
        self.cls = heads.PreTrainingHeads(
            config.vocab_size,
            config.hidden_size,
            config.hidden_act,
            config.layer_norm_eps,
            **self.inherit("cls"),
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `cls`."""
        self.cls.build([None, None, self.config.hidden_size])

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"frozen_encoder": self.frozen_encoder}

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        segment_ids: tf.Tensor | None = None,
        *,
        masked_lm_positions: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Scores the masked words and the sentence order.

        `masked_lm_positions` is int [B, P]; for the others see `BertModel.call`.

        Returns:
          `masked_lm_logits` float32 [B, P, V]; `next_sentence_logits` float32 [B, 2].
        """
        outputs = self.bert(
            input_ids,
            input_mask,
            segment_ids,
            dropout_seed=dropout.encoder_seed(dropout_seed, self.frozen_encoder),
        )
        return self.cls(
            outputs["sequence_output"],
            outputs["pooled_output"],
            masked_lm_positions,
            self.bert.embeddings.word_embeddings,
        )
