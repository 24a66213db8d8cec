"""XLM (Lample and Conneau 2019): one Transformer encoder for many languages.

It is BERT's, block for block; a language takes the place of the segment:

    x = LayerNorm(word + position + language), with padding set to zero

Three objectives share it. CLM predicts each next token, and sees none after it; MLM
predicts masked ones, as BERT; TLM is MLM on a sentence and its translation, where the
language changes with the second sentence and positions begin again. New against BERT:
languages, no pooler, no next sentence, and an output that is the words' embeddings
with nothing in between.
"""

# B batch, S positions, P predicted positions, H width, V words.

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from errors import UserError
from modeling import config_files
from modeling.layers import (
    base,
    decoder,
    dropout,
    embeddings,
    heads,
    initial,
    masking,
    packing,
    softmax,
    transformer,
)

SCOPE = "xlm"
_EPSILON = 1e-12  # of all layer normalizations
_WIDENING = 4  # of the feed-forward layers


@dataclasses.dataclass(frozen=True)
class XlmConfig(config_files.OwnConfig):
    """The architecture, read from and written to xlm_config.json, in XLM's names.

    Attributes:
      languages: their names, in the order of their ids.
      n_words: int, V; None: as many as the vocabulary has.
      emb_dim: int, H; the feed-forward layers are 4 times as wide.
      n_layers: int, Transformer blocks.
      n_heads: int, a divisor of `emb_dim`.
      dropout: float in [0, 1), on embeddings and sublayer outputs.
      attention_dropout: float in [0, 1), on attention probabilities.
      gelu_activation: bool; True: GELU, in the erf form; False: ReLU.
      sinusoidal_embeddings: bool; True: positions are sines and cosines, which are not
        trained.
      share_inout_emb: bool; True: the output's weights are the embeddings of the words.
      use_lang_emb: bool; False: the model is not told the language, as those of 17 and
        of 100 languages. One of a single language never is.
      max_position_embeddings: int, the longest sequence.
      do_lower_case: bool, whether texts are lower-cased, and lose their accents.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    owner = "XLM's"
    model_type = "xlm"

    languages: tuple[str, ...]
    n_words: int | None = None
    emb_dim: int = 1024
    n_layers: int = 12
    n_heads: int = 8
    dropout: float = 0.1
    attention_dropout: float = 0.1
    gelu_activation: bool = True
    sinusoidal_embeddings: bool = False
    share_inout_emb: bool = True
    use_lang_emb: bool = True
    max_position_embeddings: int = 512
    do_lower_case: bool = True

    def __post_init__(self):
        counts = ["emb_dim", "n_layers", "n_heads", "max_position_embeddings"]
        if self.n_words is not None:
            counts.append("n_words")
        for key in counts:
            config_files.check_value(key, getattr(self, key), config_files.COUNT)
        for key in ("dropout", "attention_dropout"):
            config_files.check_value(key, getattr(self, key), config_files.SHARE)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is bool and not isinstance(value, bool):
                raise UserError(f"{field.name} is {value!r}, wanted true or false")
        self._set_languages()
        if self.emb_dim % self.n_heads:
            raise UserError(
                f"emb_dim {self.emb_dim} is not a multiple of n_heads {self.n_heads}"
            )
        config_files.check_layers(self, "n_layers")
        rows = {"emb_dim", "max_position_embeddings", "n_words"} & set(counts)
        config_files.check_tables(self, *((key, "emb_dim") for key in sorted(rows)))

    def _set_languages(self):
        names = self.languages
        is_list = isinstance(names, (list, tuple)) and bool(names)
        if not is_list or not all(isinstance(x, str) and x for x in names):
            raise UserError(f"languages is {names!r}, wanted a list of their names")
        if len(set(names)) < len(names):
            raise UserError(f"languages is {names!r}: a name is there twice")
        object.__setattr__(self, "languages", tuple(names))

    @property
    def vocab_size(self) -> int | None:
        """`n_words`, as all systems call it."""
        return self.n_words

    @property
    def has_languages(self) -> bool:
        """Whether there are embeddings of languages."""
        return self.use_lang_emb and len(self.languages) > 1

    @property
    def activation(self) -> str:
        """What the feed-forward layers compute, as `layers.activations` names it."""
        return "gelu_erf" if self.gelu_activation else "relu"

    def language_id(self, name: str) -> int:
        """Returns the id of a language.

        Raises:
          UserError: the model does not know it; names those that it does.
        """
        if name not in self.languages:
            raise UserError(
                f"language {name!r}: the model knows {', '.join(self.languages)}"
            )
        return self.languages.index(name)


def sinusoids(length: int, width: int) -> np.ndarray:
    """Positions as Vaswani et al. (2017, section 3.5) have them.

    Args:
      length: number of positions.
      width: H.

    Returns:
      float32 [length, H]: sines in the even columns j, cosines in the odd ones, of
      position / 10000^(2 (j // 2) / H).
    """
    columns = np.arange(width)
    angles = np.arange(length)[:, None] / 10000 ** (2 * (columns // 2) / width)
    return np.where(columns % 2, np.cos(angles), np.sin(angles)).astype(np.float32)


class Embeddings(embeddings.SummedEmbeddings):
    """Words, positions and languages: the scope `xlm/embeddings`.

    Args:
      config: the architecture.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, config: XlmConfig, **kwargs):
        super().__init__(
            config.emb_dim,
            config.max_position_embeddings,
            config.dropout,
            _EPSILON,
            **kwargs,
        )
        self.config = config

    def build(self, input_shape):
        """Makes the tables and the variables of `LayerNorm`; sinusoids are none."""
        config = self.config
        draw = initial.normal(config.emb_dim**-0.5)
        positions = [config.max_position_embeddings, config.emb_dim]
        self.word_embeddings = self.add_normal(
            "word_embeddings", [config.n_words, config.emb_dim], draw
        )
        if config.sinusoidal_embeddings:
            self.position_embeddings = tf.constant(sinusoids(*positions))
        else:
            self.position_embeddings = self.add_normal(
                "position_embeddings", positions, draw
            )
        if config.has_languages:
            self.language_embeddings = self.add_normal(
                "language_embeddings", [len(config.languages), config.emb_dim], draw
            )
        super().build(input_shape)

    def call(
        self,
        input_ids: tf.Tensor,
        language_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
        rows: packing.Rows = packing.PADDED,
    ) -> tf.Tensor:
        """Looks up; for the arguments see `XlmModel.call` and `packing`.

        Returns:
          compute dtype [M, H].
        """
        length = self.checked_length(input_ids)
        parts = [tf.gather(self.word_embeddings, rows.take(input_ids))]
        if position_ids is None:
            parts.append(rows.take_positions(self.position_embeddings, length))
        else:
            ids = rows.take(position_ids)
            parts.append(tf.gather(self.position_embeddings, ids))
        if language_ids is not None and self.config.has_languages:
            if language_ids.shape.rank == 1:
                language_ids = language_ids[:, None]
            ids = tf.broadcast_to(language_ids, tf.shape(input_ids))
            parts.append(tf.gather(self.language_embeddings, rows.take(ids)))
        return self.normalize(parts, dropout_seed, rows)


class _Model(base.Model):
    """What the models share: variables that exist once they are made."""

    config_class = XlmConfig

    def __init__(self, config: XlmConfig, *, language: str | None = None, **kwargs):
        # The deviation of the original's uniform numbers, +-1 / sqrt(inputs), of all
        # matrices but the one with 4 H inputs, where theirs is half of it.
        kwargs["initializer_range"] = (3 * config.emb_dim) ** -0.5
        super().__init__(config, **kwargs)
        self.language = language

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"language": self.language}


class XlmModel(_Model):
    """The encoder.

    Args:
      config: the architecture.
      language: str, of texts of which no other is told; None: these get no embedding
        of a language.
      dtype: a Keras dtype policy: `float32`, or `mixed_bfloat16` or `mixed_float16`,
        where variables, statistics and softmax stay float32.
      seed: int, of the initial weights.
      fused: bool, see `base.Layer`: True trains and predicts faster on a CPU.
      name: str.
    """

    def __init__(self, config: XlmConfig, *, name: str = SCOPE, **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.embeddings = Embeddings(config, **self.inherit("embeddings"))
        self.encoder = transformer.Encoder(
            config.n_layers,
            config.emb_dim,
            config.n_heads,
            _WIDENING * config.emb_dim,
            config.activation,
            config.dropout,
            config.attention_dropout,
            _EPSILON,
            **self.inherit("encoder"),
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `embeddings` and `encoder`."""
        self.embeddings.build([None, None])
        self.encoder.build([None, self.config.emb_dim])

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        language_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        causal: bool = False,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor | list[tf.Tensor]]:
        """Encodes.

        Args:
          input_ids: int [B, S].
          input_mask: int [B, S], 1 = real, 0 = padding at the end; None = all real.
          language_ids: int [B, S], or [B] where a row is of one language; None = all
            are of `language`.
          position_ids: int [B, S]; None = 0, 1, 2 ...
          causal: whether a position sees no later one.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `sequence_output`, `embedding_output` and the list `all_encoder_layers`,
          compute dtype [B, S, H], 0 at padding.
        """
        shape = [*base.shape_list(input_ids), self.config.emb_dim]
        if language_ids is None and self.language is not None:
            language_ids = tf.constant([self.config.language_id(self.language)])
        mask = tf.ones_like(input_ids) if input_mask is None else input_mask
        rows = packing.rows_of(mask, packed=self.fused)
        shared = {"dropout_seed": dropout_seed, "rows": rows}
        x = self.embeddings(input_ids, language_ids, position_ids, **shared)
        if causal:  # padding stands behind all that is read
            bias = masking.causal_bias(tf.range(shape[1])[None], shape[1])
        else:
            bias = masking.padding_bias(mask)
        outputs = self.encoder(x, bias, **shared)
        real = tf.cast(mask[:, :, None], x.dtype)
        # The original zeroes padding in every layer; no real position sees it there.
        embedded, *layers = (
            tf.reshape(rows.pad(y), shape) * real for y in (x, *outputs)
        )
        return {
            "sequence_output": layers[-1],
            "all_encoder_layers": layers,
            "embedding_output": embedded,
        }

    def attentions(self, input_ids: tf.Tensor, **others: tf.Tensor) -> tf.Tensor:
        """Computes what each position attends to; but causal, as `call`.

        Returns:
          float32 [B, layers, heads, S, S]: of each query, the last axis adding up to 1.
        """
        outputs = self(input_ids, **others)
        inputs = [outputs["embedding_output"], *outputs["all_encoder_layers"][:-1]]
        mask = others.get("input_mask")
        mask = tf.ones_like(input_ids) if mask is None else mask
        return self.encoder.attentions(inputs, masking.padding_bias(mask))


class _HeadModel(_Model):
    """The encoder under a head: what the models with heads share.

    Args:
      config: the architecture.
      frozen_encoder: bool; True uses the encoder for features only: no dropout in it.
      name: str; the root's own name is no part of released names.
      **kwargs: `language`, `dtype`, `seed` and `fused`, see `XlmModel`.
    """

    def __init__(
        self,
        config: XlmConfig,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.frozen_encoder = frozen_encoder
        self.xlm = XlmModel(
            config,
            language=self.language,
            dtype=self.dtype_policy,
            seed=self.seed,
            fused=self.fused,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"frozen_encoder": self.frozen_encoder}

    def encode(self, *args, dropout_seed: tf.Tensor | None = None, **kwargs):
        """Returns the encoder's `sequence_output`; for the arguments see `XlmModel`."""
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        return self.xlm(*args, dropout_seed=seed, **kwargs)["sequence_output"]


class XlmLanguageModel(_HeadModel):
    """The encoder that predicts words (section 3): the scope `pred_layer`.

    Args:
      config: the architecture.
      **kwargs: see `_HeadModel`.
    """

    def __init__(self, config: XlmConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.pred_layer = softmax.WordSoftmax(
            config.n_words,
            own_weight=not config.share_inout_emb,
            **self.inherit("pred_layer"),
        )
        self.build()

    def build(self, input_shape=None):
        """Makes `pred_layer/b` [V], and `pred_layer/W` [V, H] if it is not shared."""
        self.pred_layer.build([None, self.config.emb_dim])

    def lm_logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """Scores all words: float [M, H] -> float32 [M, V]."""
        shared = self.xlm.embeddings.word_embeddings
        weight = shared if self.config.share_inout_emb else None
        return self.pred_layer.logits(hidden, weight)

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        language_ids: tf.Tensor | None = None,
        position_ids: tf.Tensor | None = None,
        masked_lm_positions: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Reads and predicts: CLM where no positions are named, else MLM or TLM.

        `masked_lm_positions` is int [B, P], whose words are predicted; None = every
        next word is, from those before it. For the others see `XlmModel.call`.

        Returns:
          `masked_lm_logits` float32 [B, P, V]; of CLM `lm_losses` float32 [B, S - 1],
          the cross entropy of the second to the last word, 0 = padding. And
          `sequence_output`, compute dtype [B, S, H].
        """
        causal = masked_lm_positions is None
        hidden = self.encode(
            input_ids,
            input_mask,
            language_ids,
            position_ids,
            causal=causal,
            dropout_seed=dropout_seed,
        )
        if causal:
            mask = tf.ones_like(input_ids) if input_mask is None else input_mask
            losses = decoder.next_token_losses(
                hidden, input_ids, mask, self.lm_logits, gather=self.fused
            )
            return {"lm_losses": losses, "sequence_output": hidden}
        shape = [*base.shape_list(masked_lm_positions), self.config.n_words]
        chosen = tf.gather(hidden, masked_lm_positions, batch_dims=1)  # [B, P, H]
        logits = self.lm_logits(tf.reshape(chosen, [-1, self.config.emb_dim]))
        return {
            "masked_lm_logits": tf.reshape(logits, shape),
            "sequence_output": hidden,
        }


class XlmClassifier(_HeadModel):
    """The encoder with one output layer on the first position (section 5.1).

    Args:
      config: the architecture.
      num_outputs: int, classes, or 1 for a regression.
      **kwargs: see `_HeadModel`.
    """

    def __init__(self, config: XlmConfig, num_outputs: int, **kwargs):
        super().__init__(config, **kwargs)
        self.num_outputs = num_outputs
        self.classifier = heads.OutputProjection(
            num_outputs, **self.inherit("classifier")
        )
        self.site = dropout.site_id("classifier")
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of `classifier`."""
        self.classifier.build([None, self.config.emb_dim])

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"num_outputs": self.num_outputs}

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        language_ids: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Classifies; for the arguments see `XlmModel.call`.

        Returns:
          float32 [B, num_outputs], logits.
        """
        hidden = self.encode(
            input_ids,
            input_mask,
            language_ids,
            dropout_seed=dropout_seed,
        )
        first = tf.cast(hidden[:, 0], tf.float32)
        rate = self.config.dropout
        return self.classifier(dropout.dropout(first, rate, dropout_seed, self.site))


class XlmSpanExtractor(_HeadModel):
    """The encoder with BERT's output layer for SQuAD on every position.

    Args:
      config: the architecture.
      **kwargs: see `_HeadModel`.
    """

    def __init__(self, config: XlmConfig, **kwargs):
        super().__init__(config, **kwargs)
        self.cls = heads.SpanHead(config.emb_dim, **self.inherit("cls"))
        self.build()

    def build(self, input_shape=None):
        """Makes `cls/squad/output_weights` [2, H] and `cls/squad/output_bias` [2]."""
        self.cls.build([None, None, self.config.emb_dim])

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        language_ids: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores every position, padding too; for the arguments see `XlmModel.call`.

        Returns:
          Logits of the starts and of the ends, float32 [B, S] each.
        """
        hidden = self.encode(
            input_ids,
            input_mask,
            language_ids,
            dropout_seed=dropout_seed,
        )
        return self.cls(hidden)
