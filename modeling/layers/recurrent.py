"""Recurrent layers with named variables, dropout, skip connections and lengths."""

# B batch, T steps, I input width, D cells, P width of the output.

import contextlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from modeling.layers import base, dropout, fused, initial
from modeling.layers.gru import gru
from modeling.layers.lstm import FORGET_BIAS, State, lstm


class _Kernel(base.Layer):
    """A matrix in a scope of its own."""

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        """Makes `kernel` [in, units]."""
        shape = [input_shape[-1], self.units]
        self.kernel = self.add_normal("kernel", shape, initial.glorot_uniform(*shape))


class Lstm(base.Layer):
    """One layer in one direction: the released scope `lstm_cell`.

    Args:
      units: int, D.
      projection_dim: int, P; equal to `units` for no projection.
      cell_clip: float or None, see `lstm`.
      proj_clip: float or None.
      forget_bias: float, see `lstm`.
      weight_dropout: float, DropConnect on the weights between two steps (Merity et al.
        2018, section 2): drawn once a batch, the same for all its steps and rows.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        units: int,
        projection_dim: int,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        forget_bias: float = FORGET_BIAS,
        weight_dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.projection_dim = projection_dim
        self.constants = {
            "cell_clip": cell_clip,
            "proj_clip": proj_clip,
            "forget_bias": forget_bias,
        }
        self.weight_dropout = weight_dropout
        self.projection = None
        if projection_dim != units:
            self.projection = _Kernel(projection_dim, **self.inherit("projection"))

    def build(self, input_shape):
        """Makes `kernel` [I + P, 4D], `bias` [4D] and `projection/kernel` [D, P]."""
        rows, columns = input_shape[-1] + self.projection_dim, 4 * self.units
        self.kernel = self.add_normal(
            "kernel", [rows, columns], initial.glorot_uniform(rows, columns)
        )
        self.bias = self.add_constant("bias", [columns], 0.0)
        if self.projection is not None:
            self.projection.build([None, self.units])
        self.site = dropout.site_id(self.bias.path)

    def zero_state(self, rows: int | tf.Tensor) -> State:
        """Returns the state of so many rows that have seen nothing."""
        return State(
            tf.zeros([rows, self.units]), tf.zeros([rows, self.projection_dim])
        )

    def call(
        self, x: tf.Tensor, state: State, dropout_seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs over all steps of x, float [T, B, I]; see `lstm`."""
        projection = self.projection and self.matrix(self.projection)
        return lstm(
            tf.cast(x, tf.float32),
            self._dropped(self.matrix(self), dropout_seed),
            tf.convert_to_tensor(self.bias),
            projection,
            state,
            compiled=self.fused,
            **self.constants,
        )

    def _dropped(self, kernel, dropout_seed):
        if dropout_seed is None or not self.weight_dropout:
            return kernel
        above, below = tf.split(kernel, [-1, self.projection_dim])
        drop = fused.dropped if self.fused else dropout.dropout
        below = drop(below, self.weight_dropout, dropout_seed, self.site)
        return tf.concat([above, below], 0)


class LstmStack(base.Layer):
    """The layers of one direction: a released scope `RNN_0` or `RNN_1`.

    Args:
      num_layers: int, L.
      units: int, D.
      projection_dim: int, P.
      cell_clip: float or None, see `lstm`.
      proj_clip: float or None.
      skip: bool; True = from the second layer on, the output is added to the input.
        What the layer itself sees of its past is without that sum.
      dropout_rate: float, on the input of every layer, before the sum branches off.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self,
        num_layers: int,
        units: int,
        projection_dim: int,
        cell_clip: float | None = None,
        proj_clip: float | None = None,
        skip: bool = False,
        dropout_rate: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.skip = skip
        self.dropout_rate = dropout_rate
        self.cells = [
            Lstm(
                units,
                projection_dim,
                cell_clip,
                proj_clip,
                **self.inherit("lstm_cell"),
            )
            for _ in range(num_layers)
        ]

    def build(self, input_shape):
        """Makes the variables of the layers, in the scopes of TF1's cells."""
        width = input_shape[-1]
        for i, cell in enumerate(self.cells):
            scopes = ["rnn"]
            if len(self.cells) > 1:
                scopes += ["multi_rnn_cell", f"cell_{i}"]
            with contextlib.ExitStack() as entered:
                for scope in scopes:
                    entered.enter_context(keras.name_scope(scope))
                cell.build([None, None, width])
            width = cell.projection_dim
        self.sites = [dropout.site_id(cell.kernel.path) for cell in self.cells]

    def call(
        self,
        x: tf.Tensor,
        lengths: tf.Tensor | None = None,
        states: Sequence[State] | None = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[list[tf.Tensor], list[State]]:
        """Runs all layers over a batch.

        Args:
          x: float [B, T, I].
          lengths: int32 [B], real steps a row, which come first; None = T.
          states: before the first step, one a layer; None = zeros.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          The outputs of every layer, float32 [B, T, P], zero after a row's length; and
          the layers' states after each row's last real step, which pass no gradient.
        """
        rows = base.shape_list(x)[0]
        states = states or [cell.zero_state(rows) for cell in self.cells]
        mask = None
        if lengths is not None:
            mask = tf.sequence_mask(lengths, tf.shape(x)[1], tf.float32)[..., None]
        x = tf.transpose(x, [1, 0, 2])  # [T, B, I]
        outputs, after = [], []
        for i, (cell, state) in enumerate(zip(self.cells, states, strict=True)):
            x = dropout.dropout(x, self.dropout_rate, dropout_seed, self.sites[i])
            h, c = cell(x, state)
            after.append(last_states(State(c, h), state, lengths))
            x = h + x if self.skip and i > 0 else h
            y = tf.transpose(x, [1, 0, 2])
            outputs.append(y if mask is None else y * mask)
        return outputs, after


class _OneLstm(LstmStack):
    """A single layer without projection, and its outputs alone."""

    def __init__(self, units: int, dropout_rate: float, **kwargs):
        super().__init__(1, units, units, dropout_rate=dropout_rate, **kwargs)

    def call(self, x, lengths, dropout_seed):
        """As `Gru`."""
        return super().call(x, lengths, dropout_seed=dropout_seed)[0][0]


class Gru(base.Layer):
    """One layer in one direction.

    Args:
      units: int, D.
      dropout_rate: float, on the input.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, units: int, dropout_rate: float, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dropout_rate = dropout_rate

    def build(self, input_shape):
        """Makes `kernel` [I + D, 3D] and `bias` [3D]."""
        shape = [input_shape[-1] + self.units, 3 * self.units]
        self.kernel = self.add_normal("kernel", shape, initial.glorot_uniform(*shape))
        self.bias = self.add_constant("bias", shape[1:], 0.0)
        self.site = dropout.site_id(self.kernel.path)

    def call(
        self, x: tf.Tensor, lengths: tf.Tensor, dropout_seed: tf.Tensor | None
    ) -> tf.Tensor:
        """Maps float [B, T, I] to float32 [B, T, D], zero after a row's length."""
        x = dropout.dropout(x, self.dropout_rate, dropout_seed, self.site)
        y = gru(
            tf.cast(tf.transpose(x, [1, 0, 2]), tf.float32),
            self.matrix(self),
            tf.convert_to_tensor(self.bias),
            tf.maximum(tf.reduce_max(lengths), 1),  # words are shorter than their room
            compiled=self.fused,
        )
        mask = tf.sequence_mask(lengths, tf.shape(x)[1], tf.float32)
        return tf.transpose(y, [1, 0, 2]) * mask[..., None]


class Bidirectional(base.Layer):
    """One layer in each direction, side by side.

    Args:
      cell: "lstm" or "gru".
      units: int, D, of each direction.
      dropout_rate: float, on what each direction reads.
      **kwargs: see `base.Layer`.
    """

    def __init__(self, cell: str, units: int, dropout_rate: float, **kwargs):
        super().__init__(**kwargs)
        layer = {"lstm": _OneLstm, "gru": Gru}[cell]
        self.forward, self.backward = (
            layer(units, dropout_rate, **self.inherit(name))
            for name in ("forward", "backward")
        )

    def build(self, input_shape):
        """Makes the variables of `forward` and `backward`."""
        self.forward.build(input_shape)
        self.backward.build(input_shape)

    def call(
        self, x: tf.Tensor, lengths: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Reads rows both ways.

        Args:
          x: float [B, T, I].
          lengths: int32 [B], real steps a row, which come first.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          float32 [B, T, 2D], forward then backward, zero after a row's length.
        """
        ahead = self.forward(x, lengths, dropout_seed)
        x = tf.reverse_sequence(x, lengths, seq_axis=1)
        back = self.backward(x, lengths, dropout_seed)
        return tf.concat([ahead, tf.reverse_sequence(back, lengths, seq_axis=1)], -1)


class FinalStates(base.Layer):
    """A row as the last of some bidirectional layers leaves it (Ling et al. 2015).

    Args:
      cell: see `Bidirectional`.
      num_layers: int.
      units: int, D, of each direction.
      dropout_rate: float, on the input of every layer.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self, cell: str, num_layers: int, units: int, dropout_rate: float, **kwargs
    ):
        super().__init__(**kwargs)
        self.units = units
        self.layers = [
            Bidirectional(cell, units, dropout_rate, **self.inherit(f"rnn_{i + 1}"))
            for i in range(num_layers)
        ]

    def build(self, input_shape):
        """Makes the layers' variables."""
        width = input_shape[-1]
        for layer in self.layers:
            layer.build([None, None, width])
            width = 2 * self.units

    def call(
        self, x: tf.Tensor, lengths: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Maps float [B, T, I] to float32 [B, 2D], zero for a row of length 0."""
        for layer in self.layers:
            x = layer(x, lengths, dropout_seed)
        ahead, back = tf.split(x, 2, axis=-1)
        last = tf.maximum(lengths - 1, 0)
        return tf.concat([tf.gather(ahead, last, batch_dims=1), back[:, 0]], -1)


def last_states(steps: State, before: State, lengths: tf.Tensor | None) -> State:
    """Picks each row's state after its last real step, from those of all steps.

    Args:
      steps: the states after every step, [T, B, .] each.
      before: the states before the first step.
      lengths: int32 [B], real steps a row, which come first; None = T.

    Returns:
      The states, which pass no gradient.
    """
    if lengths is None:
        return State(*(tf.stop_gradient(x[-1]) for x in steps))
    picked = []
    for x, start in zip(steps, before, strict=True):
        last = tf.stack([tf.maximum(lengths - 1, 0), tf.range(tf.shape(x)[1])], 1)
        x = tf.where(lengths[:, None] > 0, tf.gather_nd(x, last), start)
        picked.append(tf.stop_gradient(x))
    return State(*picked)


class CarriedStates:
    """States of rows that go on from batch to batch, as bilm-tf keeps them.

    Args:
      states: the zero states of as many rows as a batch may have: any nesting of
        `State`s.
    """

    def __init__(self, states: Sequence):
        self.variables = tf.nest.map_structure(
            lambda x: tf.Variable(x, trainable=False), states
        )

    def read(self, rows: int | tf.Tensor) -> Sequence:
        """Returns the states of the first `rows` rows."""
        return tf.nest.map_structure(lambda v: v[:rows], self.variables)

    def write(self, states: Sequence) -> None:
        """Keeps the states of the first rows; the rows after them stay as they are."""
        tf.nest.map_structure(
            lambda v, x: v[: base.shape_list(x)[0]].assign(x), self.variables, states
        )
