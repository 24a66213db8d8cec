"""ULMFiT's classifier (Howard and Ruder 2018, section 3.3): a whole document is read.

Its end is pooled: [the last output; the largest ones; their mean]. Then batch
normalization, dropout and an affine map, twice, with a ReLU between.
"""

# B batch, S words of a document, T pooled places, E embedding size.

import tensorflow as tf

from modeling.layers import base, batch_norm, dropout, heads, pooling
from modeling.ulmfit import SCOPE, UlmfitConfig, UlmfitModel


class PoolingHead(base.Layer):
    """[last; largest; mean], and two layers: the scope `classifier`.

    Args:
      width: int, E.
      config: of the model.
      num_outputs: int.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, width: int, config: UlmfitConfig, num_outputs: int, **kwargs):
        super().__init__(**kwargs)
        self.width, self.units = width, config.classifier_size
        self.rates = (
            config.dropouts("classifier_").output,
            config.classifier_dropout * config.drop_mult,
        )
        self.norms = [batch_norm.BatchNorm(**self.inherit(f"norm_{i}")) for i in (1, 2)]
        self.hidden, self.outputs = (
            heads.OutputProjection(units, **self.inherit(name))
            for name, units in (("hidden", self.units), ("output", num_outputs))
        )

    def build(self, input_shape=None):
        """Makes the variables of `norm_1`, `hidden`, `norm_2` and `output`."""
        for width, norm, layer in (
            (3 * self.width, self.norms[0], self.hidden),
            (self.units, self.norms[1], self.outputs),
        ):
            norm.build([None, width])
            layer.build([None, width])
        self.sites = [dropout.site_id(f"classifier/{i}") for i in (1, 2)]

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        real: tf.Tensor | None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Scores.

        Args:
          x: float32 [B, T, E].
          mask: int [B, T], 1 = the place counts; one at least in each row.
          real: int [B], see `BatchNorm`.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          float32 [B, num_outputs].
        """
        x = concat_pool(x, mask)
        x = self._normalized(x, 0, real, dropout_seed)
        x = self._normalized(tf.nn.relu(self.hidden(x)), 1, real, dropout_seed)
        return self.outputs(x)

    def _normalized(self, x, i, real, dropout_seed):
        x = self.norms[i](x, None if dropout_seed is None else real)
        return dropout.dropout(x, self.rates[i], dropout_seed, self.sites[i])


class UlmfitClassifier(base.Model):
    """The language model under the head `classifier`.

    Args:
      config: the architecture.
      num_outputs: int.
      longest: int, places at the end of a document that are pooled, and that gradients
        go through.
      frozen_encoder: bool; True: no dropout in the language model.
      name: str; the root's own name is no part of released names.
      **kwargs: see `base.Layer`.
    """

    config_class = UlmfitConfig

    def __init__(
        self,
        config: UlmfitConfig,
        num_outputs: int,
        longest: int,
        *,
        frozen_encoder: bool = False,
        name: str = base.ROOT_NAME,
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.num_outputs, self.longest = num_outputs, longest
        self.frozen_encoder = frozen_encoder
        self.encoder = UlmfitModel(
            config, dropouts="classifier_", **self.inherit(SCOPE)
        )
        self.head = PoolingHead(
            config.embedding_size, config, num_outputs, **self.inherit("classifier")
        )
        self.build()

    def build(self, input_shape=None):
        """Makes the variables of the head."""
        self.head.build()

    def get_config(self):
        """Returns the constructor's arguments, in types that JSON has."""
        return super().get_config() | {
            "num_outputs": self.num_outputs,
            "longest": self.longest,
            "frozen_encoder": self.frozen_encoder,
        }

    def call(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor,
        real: tf.Tensor | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Classifies documents.

        All of a document but its last `longest` words is read for the states that it
        leaves, in windows of `bptt`: memory does not grow with it. The original cuts
        the gradient between two windows of the rest, too; here it goes through.

        Args:
          input_ids: int [B, S].
          input_mask: int [B, S], 1 = real, which come first.
          real: int [B], 1 = a row that batch normalization counts; None: all are.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          `logits` float32 [B, num_outputs].
        """
        seed = dropout.encoder_seed(dropout_seed, self.frozen_encoder)
        lengths = tf.reduce_sum(input_mask, axis=1)
        before = tf.maximum(lengths - self.longest, 0)
        states = self._read(input_ids, before, seed)
        size = tf.minimum(tf.shape(input_ids)[1], self.longest)
        ids, mask = _window(input_ids, lengths, before, size)
        found = self.encoder(ids, mask, states, seed)["sequence_output"]
        if real is None:
            real = tf.ones_like(lengths)
        return {"logits": self.head(found, mask, real, dropout_seed)}

    def _read(self, input_ids, lengths, seed):
        """Returns the states after the first `lengths` words of each row, int [B]."""
        size = self.config.bptt
        zeros = self.encoder.zero_states(base.shape_list(input_ids)[0])
        last = tf.reduce_max(lengths)

        def read(start, states):
            starts = tf.fill(tf.shape(lengths), start)
            ids, mask = _window(input_ids, lengths, starts, size)
            window_seed = None
            if seed is not None:  # other masks in each window, as in the original
                window_seed = tf.random.experimental.stateless_fold_in(seed, start + 1)
            return start + size, self.encoder(ids, mask, states, window_seed)["states"]

        _, states = tf.while_loop(
            lambda start, _: start < last, read, (0, zeros), parallel_iterations=1
        )
        return tf.nest.map_structure(tf.stop_gradient, states)


def concat_pool(x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """[h_T, maxpool(H), meanpool(H)] (section 3.3).

    Args:
      x: float32 [B, T, E].
      mask: int [B, T], 1 = the place counts.

    Returns:
      float32 [B, 3E].
    """
    found = (pooling.pool(x, mask, name) for name in ("last", "max", "mean"))
    return tf.concat(list(found), axis=-1)


def _window(input_ids, lengths, starts, size):
    """Returns `size` words of each row from `starts` on, and which are real.

    Args:
      input_ids: int [B, S].
      lengths: int [B], real words of a row.
      starts: int [B].
      size: int, of the window.

    Returns:
      ids and mask, int [B, size].
    """
    places = starts[:, None] + tf.range(size)
    mask = tf.cast(places < lengths[:, None], tf.int32)
    places = tf.minimum(places, tf.shape(input_ids)[1] - 1)
    return tf.gather(input_ids, places, batch_dims=1) * mask, mask
