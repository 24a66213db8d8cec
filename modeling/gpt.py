"""GPT (Radford et al. 2018, section 3.1): a causal Transformer decoder.

Post-norm blocks, layer-norm epsilon 1e-5, GELU in its tanh form; one matrix holds the
embeddings of tokens, special tokens and positions, and is the softmax as well. New
against ELMo: attention instead of recurrence, and tasks fine-tune the whole model.
"""

from typing import Any

import tensorflow as tf

from errors import UserError
from modeling.gpt_config import GptConfig
from modeling.layers import (
    attention,
    base,
    decoder,
    dropout,
    fused,
    masking,
    packing,
)

# B batch, R sequences of an example, S length, E width, V rows of the embedding matrix.
# train.py fixes both.
_INITIALIZER_RANGE = 0.02
_EPSILON = 1e-5
# How a classifier puts the sequences of an example together (section 3.3).
COMBINATIONS = ("single", "sum", "choice")


class GptModel(base.Model):
    """The decoder; models of tasks are decoders with an output layer more.

    Args:
      config: the architecture.
      dtype: a Keras dtype policy: `float32`, or `mixed_bfloat16` or `mixed_float16`,
        where variables, statistics and softmax stay float32.
      seed: int, of the initial weights.
      fused: bool, see `base.Layer`: True trains and predicts faster on a CPU.
      name: str; the root's own name is no part of released names.
    """

    config_class = GptConfig

    def __init__(self, config: GptConfig, *, name: str = base.ROOT_NAME, **kwargs):
        kwargs["initializer_range"] = _INITIALIZER_RANGE
        super().__init__(config, name=name, **kwargs)
        self.blocks = [
            decoder.DecoderBlock(
                config.n_embd,
                config.n_head,
                config.activation,
                config.resid_pdrop,
                config.attn_pdrop,
                _EPSILON,
                **self.inherit(f"h{i}"),
            )
            for i in range(config.n_layer)
        ]
        self.build()

    def build(self, input_shape=None):
        """Makes `we` [V, E] and the variables of the blocks."""
        width = self.config.n_embd
        self.we = self.add_normal(
            "we", [self.config.num_rows, width], tf.random.stateless_normal
        )
        self.site = dropout.site_id("we")
        for block in self.blocks:
            block.build([None, width])

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor | list[tf.Tensor]]:
        """Reads from left to right.

        Args:
          input_ids: int [B, S].
          input_mask: int [B, S], 1 = real, 0 = padding, which nothing then attends to;
            None = all real, which is the same to real positions before the padding.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `sequence_output`, `embedding_output` and the list `all_encoder_layers`,
          compute dtype [B, S, E], where padding may be anything.

        Raises:
          UserError: a static S is longer than `n_ctx`.
        """
        table = self._table(dropout_seed)
        hidden = 0.0 if input_mask is None else masking.padding_bias(input_mask)
        return self._encode(input_ids, input_mask, table, dropout_seed, hidden)

    def _encode(self, input_ids, input_mask, table, dropout_seed, hidden=0.0):
        """Reads; `hidden` is a bias of attention, where padding is not at the end."""
        length = base.shape_list(input_ids)[1]
        if isinstance(length, int) and length > self.config.n_ctx:
            raise UserError(
                f"input_ids have sequence length {length}, but the position table "
                f"ends at n_ctx {self.config.n_ctx}"
            )
        mask = tf.ones_like(input_ids) if input_mask is None else input_mask
        rows = packing.rows_of(mask, packed=self.fused)
        positions = tf.range(length)[None]  # [1, S]
        bias = masking.causal_bias(positions, length) + hidden
        x = self._embed(table, input_ids, positions, rows)
        outputs = [tf.reshape(x, [-1, self.config.n_embd])]
        for block in self.blocks:
            x = block(outputs[-1], bias, dropout_seed=dropout_seed, rows=rows)
            outputs.append(x)
        shape = [*base.shape_list(input_ids), self.config.n_embd]
        embedded, *layers = (tf.reshape(rows.pad(x), shape) for x in outputs)
        return {
            "sequence_output": layers[-1],
            "all_encoder_layers": layers,
            "embedding_output": embedded,
        }

    def attentions(self, input_ids: tf.Tensor, **others: tf.Tensor) -> tf.Tensor:
        """Computes what each position attends to; for the arguments see `call`.

        Returns:
          float32 [B, layers, heads, S, S]: of each query, the last axis adding up to 1.
        """
        outputs = self(input_ids, **others)
        inputs = [outputs["embedding_output"], *outputs["all_encoder_layers"][:-1]]
        bias = self._bias(others.get("input_mask"), base.shape_list(input_ids)[1])
        return attention.attentions((b.attn for b in self.blocks), inputs, bias)

    def _bias(self, input_mask, length):
        """Hides later positions and padding: float32 [1 or B, 1, S, S]."""
        bias = masking.causal_bias(tf.range(length)[None], length)
        return bias if input_mask is None else bias + masking.padding_bias(input_mask)

    def _table(self, dropout_seed):
        """The embedding matrix; train.py drops elements of it, before all its uses."""
        drop = fused.dropped if self.fused else dropout.dropout
        table = tf.convert_to_tensor(self.we)
        return drop(table, self.config.embd_pdrop, dropout_seed, self.site)

    def _embed(self, table, input_ids, positions, rows=packing.PADDED):
        """Sums what the table has of tokens [B, S] and of positions [1 or B, S]."""
        first = self.config.n_vocab + self.config.n_special
        places = first + tf.cast(positions, input_ids.dtype) + tf.zeros_like(input_ids)
        x = decoder.embed(table, rows.take(input_ids), rows.take(places))
        return tf.cast(x, self.compute_dtype)  # [M, E] or [B, S, E]

    def lm_logits(self, hidden: tf.Tensor, table: tf.Tensor | None = None) -> tf.Tensor:
        """Scores what comes next.

        Args:
          hidden: float [M, E], of chosen positions.
          table: float32 [V, E], the embedding matrix as this step of training drops it;
            None = `we`.

        Returns:
          float32 [M, V]; of special tokens and positions too, as in the original.
        """
        table = tf.cast(self.we if table is None else table, self.compute_dtype)
        hidden = tf.cast(hidden, self.compute_dtype)
        return tf.cast(tf.matmul(hidden, table, transpose_b=True), tf.float32)

    def _lm_losses(self, hidden, input_ids, mask, table):
        """Cross entropy of each token given those before it: float32 [B, S - 1]."""
        return decoder.next_token_losses(
            hidden,
            input_ids,
            mask,
            lambda hidden: self.lm_logits(hidden, table),
            gather=self.fused,
        )

    def initial_cache(self, batch_size: int, length: int) -> tuple[decoder.Cache, ...]:
        """Makes room for keys and values.

        Args:
          batch_size: int, B.
          length: int, positions of the longest sequence, at most `n_ctx`.

        Returns:
          For each block keys and values, compute dtype [B, heads, length, head size].
        """
        config = self.config
        size = config.n_embd // config.n_head
        shape = [batch_size, config.n_head, length, size]
        zeros = tf.zeros(shape, self.compute_dtype)
        return ((zeros, zeros),) * config.n_layer

    @property
    def max_length(self) -> tuple[str, int]:
        """The longest sequence, after its name in the config."""
        return "n_ctx", self.config.n_ctx

    @property
    def num_tokens(self) -> int:
        """Rows of the softmax that are text: not special tokens, nor positions."""
        return self.config.n_vocab

    def cache_spec(self) -> tuple[decoder.Cache, ...]:
        """Returns the tf.TensorSpecs of a cache of any batch size and length."""
        return tf.nest.map_structure(
            lambda x: tf.TensorSpec([None, x.shape[1], None, x.shape[3]], x.dtype),
            self.initial_cache(1, 1),
        )

    def step(
        self,
        input_ids: tf.Tensor,
        cache: tuple[decoder.Cache, ...],
        position: tf.Tensor,
        lengths: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tuple[decoder.Cache, ...]]:
        """Reads on: T more tokens of each sequence, at a cost that T decides.

        Rows of a batch may stand at different positions. What a row reads beyond its
        own end (padding of a shorter prompt) is seen by nothing before it, and is
        overwritten when the row reads on from there.

        Args:
          input_ids: int [B, T]: a prompt, or the token that was chosen last.
          cache: from `initial_cache`, or from the step before.
          position: int [B], of the first of these tokens in its sequence.
          lengths: int [B], a row's own tokens; nothing here needs to know them.

        Returns:
          compute dtype [B, T, E], the last block's output; and the cache.
        """
        del lengths
        batch, new = base.shape_list(input_ids)
        length = base.shape_list(cache[0][0])[2]
        positions = position[:, None] + tf.range(new)  # [B, T]
        bias = masking.causal_bias(positions, length)
        places = decoder.cache_places(positions, self.config.n_head)
        x = self._embed(self._table(None), input_ids, positions)
        x = tf.reshape(x, [-1, self.config.n_embd])
        kept = []
        for block, old in zip(self.blocks, cache, strict=True):
            x, seen = block.step(x, bias, old, places)
            kept.append(seen)
        return tf.reshape(x, [batch, new, self.config.n_embd]), tuple(kept)


class GptLanguageModel(GptModel):
    """The decoder that predicts every next token (section 3.1); see `GptModel`."""

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Reads and predicts.

        Args:
          input_ids: int [B, S].
          input_mask: int [B, S], 1 = real, 0 = padding at the end; None = all real.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `lm_losses` float32 [B, S - 1], the cross entropy of the second to the last
          token, 0 = padding; `sequence_output` compute dtype [B, S, E].
        """
        table = self._table(dropout_seed)
        mask = tf.ones_like(input_ids) if input_mask is None else input_mask
        outputs = self._encode(input_ids, mask, table, dropout_seed)["sequence_output"]
        return {
            "lm_losses": self._lm_losses(outputs, input_ids, mask, table),
            "sequence_output": outputs,
        }


class GptClassifier(GptModel):
    """The decoder with one output layer where `_classify_` stands (section 3.2).

    Args:
      config: the architecture; has three special tokens.
      num_outputs: int, classes, or 1 for a regression; for "choice" 1.
      combine: how the R sequences of an example become logits (section 3.3). "single":
        R is 1. "sum": their features are added, as for the two orders of a pair whose
        similarity is asked for. "choice": each sequence gets a logit of its own, as
        for the answers to a question.
      frozen_encoder: bool; True uses the decoder for features only: no dropout in it.
      name: str; the root's own name is no part of released names.
      **kwargs: `dtype`, `seed` and `fused`, see `GptModel`.

    Raises:
      UserError: no row for `_classify_`, or an unknown way to combine.
    """

    def __init__(
        self,
        config: GptConfig,
        num_outputs: int,
        *,
        combine: str = "single",
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        if combine not in COMBINATIONS:
            raise UserError(
                f"combine is {combine!r}, wanted one of {', '.join(COMBINATIONS)}"
            )
        if combine == "choice" and num_outputs != 1:
            raise UserError(f"num_outputs is {num_outputs}; a choice has 1 a sequence")
        self._classify_id = config.special_id("_classify_")
        self.num_outputs = num_outputs
        self.combine = combine
        self.frozen_encoder = frozen_encoder
        super().__init__(config, name=name, **kwargs)

    def build(self, input_shape=None):
        """Makes `clf/w` [E, num_outputs] and `clf/b` [num_outputs] as well."""
        super().build()
        self.clf = _float32_head(self, self.num_outputs, "clf")
        self.clf_site = dropout.site_id("clf")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {
            "num_outputs": self.num_outputs,
            "combine": self.combine,
            "frozen_encoder": self.frozen_encoder,
        }

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Classifies, and predicts the tokens of all sequences.

        Args:
          input_ids: int [B, R, S], or [B, S] for R = 1.
          input_mask: int, as `input_ids`, 1 = real, 0 = padding at the end; None = real
            up to `_classify_`.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `logits` float32 [B, num_outputs], for "choice" [B, R]; `lm_losses` float32
          [B, R], the mean cross entropy of each sequence's real tokens.
        """
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        table = self._table(seed)
        *lead, length = base.shape_list(input_ids)
        batch, sequences = lead if len(lead) == 2 else (lead[0], 1)
        ids = tf.reshape(input_ids, [-1, length])  # [B*R, S]
        # The first one. A padding example has none: its first position serves.
        ends = tf.argmax(ids == self._classify_id, axis=1, output_type=tf.int32)
        if input_mask is None:
            mask = tf.sequence_mask(ends + 1, length, dtype=tf.int32)
        else:
            mask = tf.reshape(input_mask, [-1, length])
        hidden = self._encode(ids, mask, table, seed)["sequence_output"]
        losses = self._lm_losses(hidden, ids, mask, table)
        count = tf.cast(tf.reduce_sum(mask[:, 1:], axis=1), tf.float32)
        losses = tf.math.divide_no_nan(tf.reduce_sum(losses, axis=1), count)

        features = tf.gather(hidden, ends, batch_dims=1)
        features = tf.reshape(features, [batch, sequences, self.config.n_embd])
        return {
            "logits": self._logits(tf.cast(features, tf.float32), dropout_seed),
            "lm_losses": tf.reshape(losses, [batch, sequences]),
        }

    def _logits(self, features, dropout_seed):
        """Combines features float32 [B, R, E]; the R of an example share a mask."""
        kept = dropout.dropout(
            tf.ones_like(features[:, :1]),
            self.config.clf_pdrop,
            dropout_seed,
            self.clf_site,
        )
        features *= kept
        if self.combine == "choice":
            return tf.squeeze(self.clf(features), axis=-1)
        return self.clf(tf.reduce_sum(features, axis=1))


class GptSpanExtractor(GptModel):
    """The decoder with an output layer on every position.

    Not in the paper: BERT's output layer for SQuAD, under the scope `squad`.

    Args:
      config: the architecture.
      frozen_encoder: bool; see `GptClassifier`.
      **kwargs: see `GptModel`.
    """

    def __init__(self, config: GptConfig, *, frozen_encoder: bool = False, **kwargs):
        self.frozen_encoder = frozen_encoder
        super().__init__(config, **kwargs)

    def build(self, input_shape=None):
        """Makes `squad/w` [E, 2] and `squad/b` [2] as well."""
        super().build()
        self.squad = _float32_head(self, 2, "squad")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"frozen_encoder": self.frozen_encoder}

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores every position, padding too; for the arguments see `GptModel.call`.

        Returns:
          Logits of the starts and of the ends, float32 [B, S] each.
        """
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        outputs = super().call(input_ids, input_mask, seed)
        logits = self.squad(outputs["sequence_output"])
        return logits[:, :, 0], logits[:, :, 1]


def _float32_head(model, units, name):
    """Makes and builds an output layer, which costs nothing in float32."""
    head = decoder.Linear(units, **(model.inherit(name) | {"dtype": "float32"}))
    head.build([None, model.config.n_embd])
    return head
