"""ELMo (Peters et al. 2018, section 3): vectors from a bidirectional language model.

Two stacks of projected LSTMs, one a direction, over words that are read character by
character; what a task uses is a weighted sum of all layers (`layers.scalar_mix`). New
against TagLM: characters only, skip connections, and all layers instead of the top.

One graph trains and infers, so ids have one meaning: 0 is padding, and every id of
bilm-tf's training is moved up by one. The zeros of the padding are no variable.
"""

# B batch, T tokens, C characters, P width of a direction, L LSTM layers.

from collections.abc import Sequence

import keras
import tensorflow as tf

from errors import UserError
from modeling.elmo_config import ElmoConfig
from modeling.layers import (
    base,
    char_cnn,
    dropout,
    embeddings,
    initial,
    recurrent,
    softmax,
)

# TF1 checkpoints of bilm-tf begin every name with it.
SCOPE = "lm"
States = Sequence[Sequence[recurrent.State]]  # of two directions and L layers


class ElmoModel(base.Model):
    """The language model without its softmax: the released scope `lm`.

    Args:
      config: the architecture.
      dtype: a Keras dtype policy: `float32`, or `mixed_bfloat16` or `mixed_float16`,
        where variables, states and everything between the products stay float32.
      seed: int, of the initial weights.
      fused: bool, see `base.Layer`.
      name: str.
    """

    config_class = ElmoConfig

    def __init__(self, config: ElmoConfig, *, name: str = SCOPE, **kwargs):
        super().__init__(config, name=name, **kwargs)
        cnn, lstm = config.char_cnn, config.lstm
        if cnn is not None:
            self.filters = char_cnn.Filters(
                cnn.filters, cnn.activation, **self.inherit("CNN")
            )
            self.highways = [
                char_cnn.Highway(**self.inherit(f"CNN_high_{i}"))
                for i in range(cnn.n_highway)
            ]
        self.projection = None
        if config.is_projected:
            self.projection = char_cnn.Projection(
                lstm.projection_dim, **self.inherit("CNN_proj")
            )
        self.directions = [
            recurrent.LstmStack(
                lstm.n_layers,
                lstm.dim,
                lstm.projection_dim,
                lstm.cell_clip,
                lstm.proj_clip,
                lstm.use_skip_connections,
                config.dropout,
                **self.inherit(f"RNN_{i}"),
            )
            for i in range(2)
        ]
        self.build()

    def build(self, input_shape=None):
        """Makes `char_embed` [261, E] or `embedding` [V, P], or both, and all below."""
        config = self.config
        if config.word_table is not None:
            draw = initial.glorot_uniform(*config.word_table)
            self.embedding = self.add_normal("embedding", config.word_table, draw)
        if config.char_cnn is not None:
            table, draw = config.character_table, initial.uniform(1.0)
            self.char_embed = self.add_normal("char_embed", table, draw)
            self.filters.build([None, None, config.char_cnn.embedding_dim])
            for layer in self.highways:
                layer.build([None, config.char_cnn.n_filters])
        if self.projection is not None:
            self.projection.build([None, config.token_width])
        width = config.lstm.projection_dim
        for direction in self.directions:
            direction.build([None, None, width])

    def zero_states(self, rows: int | tf.Tensor) -> States:
        """Returns the states of so many rows that have seen nothing."""
        return [
            [cell.zero_state(rows) for cell in direction.cells]
            for direction in self.directions
        ]

    def embed(self, ids: tf.Tensor) -> tf.Tensor:
        """Reads words without their context.

        Args:
          ids: int [B, T, C] of characters, or [B, T] of words where the config has no
            characters, or [B, T, 1 + C] of both; 0 = padding.

        Returns:
          float32 [B, T, P].
        """
        width = self.config.ids_per_word
        if width is None:
            return self._project(embeddings.look_up(self.embedding, ids))
        ids = tf.ensure_shape(ids, [None, None, width])
        shape = base.shape_list(ids)
        # Most words are there several times, and padding is: each is read once.
        ids, places = tf.raw_ops.UniqueV2(x=tf.reshape(ids, [-1, width]), axis=[0])
        x = tf.gather(self._read(tf.ensure_shape(ids, [None, width])), places)
        return tf.reshape(x, [*shape[:2], self.config.lstm.projection_dim])

    def _read(self, ids):
        """Reads int [N, C] or [N, 1 + C]; returns float32 [N, P]."""
        own = []
        if self.config.word_table is not None:
            own.append(embeddings.look_up(self.embedding, ids[:, 0]))
            ids = ids[:, 1:]
        x = self.filters(embeddings.look_up(self.char_embed, ids))
        for layer in self.highways:
            x = layer(x)
        return self._project(tf.concat([*own, x], -1))

    def _project(self, x):
        return x if self.projection is None else self.projection(x)

    def call(
        self,
        ids: tf.Tensor,
        states: States | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor | States]:
        """Runs both directions over sentences.

        Without `states` the same sentence always gives the same vectors; bilm-tf
        always goes on from the batch before (`recurrent.CarriedStates`).

        Args:
          ids: int [B, T, ids a word] or [B, T], see `embed`: `<S>`, the tokens, `</S>`,
            and padding after them.
          states: of both directions before the batch; None = zeros.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `lm_embeddings` float32 [B, L + 1, T - 2, 2P]: the token, twice, and the LSTM
          layers, forward then backward, without `<S>` and `</S>`; `mask` int32
          [B, T - 2], 1 = real; `token_embeddings` float32 [B, T, P]; `states`, after
          the batch.
        """
        real = tf.cast(ids > 0, tf.int32)
        if self.config.ids_per_word is not None:
            real = tf.reduce_max(real, axis=2)
        lengths = tf.reduce_sum(real, axis=1)
        x = self.embed(ids)
        ahead, back = states or (None, None)
        forward, ahead = self.directions[0](x, lengths, ahead, dropout_seed)
        reversed_x = tf.reverse_sequence(x, lengths, seq_axis=1)
        backward, back = self.directions[1](reversed_x, lengths, back, dropout_seed)
        layers = [tf.concat([x, x], -1)]
        for one, other in zip(forward, backward, strict=True):
            other = tf.reverse_sequence(other, lengths, seq_axis=1)
            layers.append(tf.concat([one, other], -1))
        return {
            "lm_embeddings": tf.stack(layers, axis=1)[:, :, 1:-1],
            "mask": tf.sequence_mask(lengths - 2, tf.shape(x)[1] - 2, tf.int32),
            "token_embeddings": x,
            "states": [ahead, back],
        }


class ElmoLanguageModel(base.Model):
    """ELMo's two language models with their shared softmax (section 3.1).

    Args:
      config: the architecture, with `n_tokens_vocab`.
      frozen_encoder: bool; True trains the softmax alone: no dropout below it.
      name: str; the root's own name is no part of released names.
      **kwargs: `dtype`, `seed` and `fused`, see `ElmoModel`.

    Raises:
      UserError: no `n_tokens_vocab`, or fewer words than the sample has.
    """

    config_class = ElmoConfig

    def __init__(
        self,
        config: ElmoConfig,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.frozen_encoder = frozen_encoder
        words, sample = config.n_tokens_vocab, config.n_negative_samples_batch
        if config.lexicon is not None:
            raise UserError(
                "a model of ELMoForManyLangs gives features and is fine-tuned; it is "
                "not pre-trained here"
            )
        if words is None:
            raise UserError("the config has no n_tokens_vocab, which a softmax needs")
        if config.sample_softmax and sample > words:
            raise UserError(
                f"n_negative_samples_batch is {sample}, but n_tokens_vocab is {words}: "
                "sample fewer words, or set sample_softmax to false"
            )
        self.lm = ElmoModel(
            config, dtype=self.dtype_policy, seed=self.seed, fused=self.fused
        )
        self.softmax = softmax.WordSoftmax(
            words, not config.share_embedding_softmax, **self.inherit("softmax")
        )
        self.build()
        self.sites = [
            dropout.site_id(f"{SCOPE}/RNN_{i}/softmax_input") for i in range(2)
        ]

    def build(self, input_shape=None):
        """Makes `lm/softmax/W` [V, P], if the table is not shared, and `.../b` [V]."""
        with keras.name_scope(SCOPE):
            self.softmax.build([None, self.config.lstm.projection_dim])

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {"frozen_encoder": self.frozen_encoder}

    def call(
        self,
        ids: tf.Tensor,
        ids_reverse: tf.Tensor,
        states: States | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor | States]:
        """Runs each direction over its own stream of full rows, without padding.

        Args:
          ids: int [B, T, C] or [B, T], the forward stream; see `ElmoModel.embed`.
          ids_reverse: the same of the backward stream, whose sentences are reversed.
          states: of both directions before the batch; None = zeros.
          dropout_seed: int32 [2]; None = evaluation.

        Returns:
          `forward` and `backward`, float32 [B, T, P]: what the softmax takes; `states`,
          after the batch.
        """
        states = states or (None, None)
        tops, after = [], []
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        streams = tf.split(self.lm.embed(tf.concat([ids, ids_reverse], 0)), 2)
        for i, stream in enumerate(streams):
            outputs, state = self.lm.directions[i](stream, None, states[i], seed)
            rate, site = self.config.dropout, self.sites[i]
            tops.append(dropout.dropout(outputs[-1], rate, dropout_seed, site))
            after.append(state)
        return {"forward": tops[0], "backward": tops[1], "states": after}

    def losses(
        self,
        hidden: tf.Tensor,
        next_ids: tf.Tensor,
        sampling_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the loss of every token of one direction.

        Args:
          hidden: float [B, T, P], `forward` or `backward` of `call`.
          next_ids: int [B, T], the next words, lines of the vocabulary from 0 on.
          sampling_seed: int32 [2], in training, for the words that a sampled softmax
            draws; None = the full softmax.

        Returns:
          float32 [B, T], in nats.
        """
        labels = tf.reshape(next_ids, [-1])
        sample = None
        if sampling_seed is not None and self.config.sample_softmax:
            sample = softmax.log_uniform_sample(
                labels,
                self.config.n_negative_samples_batch,
                self.config.n_tokens_vocab,
                sampling_seed,
            )
        shared = self.config.share_embedding_softmax
        flat = self.softmax(
            tf.reshape(hidden, [-1, hidden.shape[-1]]),
            labels,
            tf.convert_to_tensor(self.lm.embedding) if shared else None,
            sample,
        )
        return tf.reshape(flat, tf.shape(next_ids))
