"""A stochastic answer network: a pair is read over and over before it is classified.

Liu, Duh and Gao 2018, "Stochastic Answer Networks for Natural Language Inference", as
MT-DNN (Liu et al. 2019, eq. 3 and 4) has it on top of its encoder:

    s_0     = sum_j a_j h_j,  a = softmax(w h_j)            of the hypothesis
    x_k     = sum_j b_j p_j,  b = softmax(score(p_j, s_k))  of the premise
    P_k     = softmax(W [x_k; s_k; |x_k - s_k|; x_k s_k])
    s_{k+1} = GRU(x_k, s_k)
    P       = mean_k P_k, where in training whole turns are dropped

Everything is float32 under every policy: two rows a sequence cost little.
"""

# B batch, T places, H width, K turns, C classes.

import dataclasses

import tensorflow as tf

from errors import UserError
from modeling import config_files
from modeling.layers import base, dropout, initial, masking
from modeling.layers.heads import OutputProjection

_ATTENTION = ("none", "simple", "bilinear")
_CELLS = {"gru": 3, "lstm": 4}  # the gates of each


@dataclasses.dataclass(frozen=True)
class SanConfig:
    """How the answer is found; names and defaults are the parent's.

    Attributes:
      answer_num_turn: K.
      answer_att_type: how a place x is compared with the state s: "bilinear"
        x (W s + b), "simple" w [x; s] + b, or "none" w [x; s; x s; |x - s|] + b.
      answer_rnn_type: "gru" or "lstm".
      answer_merge_opt: 1 classifies by [x_k; s_k; |x_k - s_k|; x_k s_k], 0 by the first
        two alone.
      answer_mem_type: 1 takes the mean of all turns' probabilities, 0 the last turn.
      answer_mem_drop_p: the probability of dropping a turn in training; one of each
        row's stays.

    Raises:
      UserError: a value is impossible; the message names the key.
    """

    answer_num_turn: int = 5
    answer_att_type: str = "bilinear"
    answer_rnn_type: str = "gru"
    answer_merge_opt: int = 1
    answer_mem_type: int = 1
    answer_mem_drop_p: float = 0.1

    def __post_init__(self):
        config_files.check_value(
            "answer_num_turn", self.answer_num_turn, config_files.COUNT
        )
        config_files.check_value(
            "answer_mem_drop_p", self.answer_mem_drop_p, config_files.SHARE
        )
        for key, known in (
            ("answer_att_type", _ATTENTION),
            ("answer_rnn_type", tuple(_CELLS)),
            ("answer_merge_opt", (0, 1)),
            ("answer_mem_type", (0, 1)),
        ):
            if getattr(self, key) not in known:
                wanted = ", ".join(map(str, known))
                raise UserError(f"{key} is {getattr(self, key)!r}, wanted {wanted}")


class _Cell(base.Layer):
    """One step of torch's GRUCell or LSTMCell, whose weights it has as they are.

        r, z, n    r = sigmoid(x W_r + h U_r)    n = tanh(x W_n + r (h U_n))
                   h = (1 - z) n + z h
        i, f, g, o c = sigmoid(f) c + sigmoid(i) tanh(g)    h = sigmoid(o) tanh(c)

    Both products have a bias of their own, and the reset gate acts after the product:
    TF1's cell, `gru`, is another one.
    """

    def __init__(self, kind: str, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def build(self, input_shape):
        """Makes `weight_ih`, `weight_hh` [gates H, H], `bias_ih`, `bias_hh`."""
        width = input_shape[-1]
        rows, draw = _CELLS[self.kind] * width, initial.uniform(width**-0.5)
        self.weight_ih = self.add_normal("weight_ih", [rows, width], draw)
        self.weight_hh = self.add_normal("weight_hh", [rows, width], draw)
        self.bias_ih = self.add_normal("bias_ih", [rows], draw)
        self.bias_hh = self.add_normal("bias_hh", [rows], draw)

    def call(self, x: tf.Tensor, h: tf.Tensor, c: tf.Tensor):
        """Returns the next h and c, [B, H] each; a GRU leaves c as it is."""
        z_x = tf.matmul(x, self.weight_ih, transpose_b=True) + self.bias_ih
        z_h = tf.matmul(h, self.weight_hh, transpose_b=True) + self.bias_hh
        if self.kind == "gru":
            (r_x, z_x, n_x), (r_h, z_h, n_h) = (tf.split(z, 3, -1) for z in (z_x, z_h))
            update = tf.sigmoid(z_x + z_h)
            new = tf.tanh(n_x + tf.sigmoid(r_x + r_h) * n_h)
            return (1 - update) * new + update * h, c
        i, f, g, o = tf.split(z_x + z_h, 4, -1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c


class SanClassifier(base.Layer):
    """Reads a premise several times over, beginning with what the hypothesis asks.

    Args:
      num_outputs: int, C.
      config: see `SanConfig`.
      dropout_p: float, of features: the same ones at all places of a row.
      **kwargs: see `base.Layer`.
    """

    def __init__(
        self, num_outputs: int, config: SanConfig, dropout_p: float = 0.1, **kwargs
    ):
        super().__init__(**kwargs)
        self.config, self.dropout_p = config, dropout_p
        self.query_wsum = OutputProjection(1, **self.inherit("query_wsum"))
        self.rnn = _Cell(config.answer_rnn_type, **self.inherit("rnn"))
        self.classifier = OutputProjection(num_outputs, **self.inherit("classifier"))

    def build(self, input_shape):
        """Makes the variables of `query_wsum`, `attn`, `rnn` and `classifier`."""
        width = input_shape[-1]
        bilinear = self.config.answer_att_type == "bilinear"
        compared = {"bilinear": 1, "simple": 2, "none": 4}[self.config.answer_att_type]
        merged = 4 if self.config.answer_merge_opt else 2
        self.attn = OutputProjection(width if bilinear else 1, **self.inherit("attn"))
        self.query_wsum.build([None, width])
        self.attn.build([None, compared * width])
        self.rnn.build([None, width])
        self.classifier.build([None, merged * width])
        self.scope = base.released_name(self.query_wsum.output_bias.path)

    def call(
        self,
        x: tf.Tensor,
        premise: tf.Tensor,
        hypothesis: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Classifies pairs.

        Args:
          x: float [B, T, H], the encoder's output.
          premise: bool [B, T], which places are read; where none is, nothing is.
          hypothesis: bool [B, T], which places say what to look for.
          dropout_seed: int32 [2]; None = inference.

        Returns:
          float32 [B, C]: logits.
        """
        scores = self.turns(x, premise, hypothesis, dropout_seed)
        if not self.config.answer_mem_type:
            return scores[:, -1]
        rate, turns = self.config.answer_mem_drop_p, scores.shape[1]
        kept = tf.ones(tf.shape(scores)[:2])
        if dropout_seed is not None and rate:
            kept = kept_turns(
                tf.shape(scores)[0], turns, rate, dropout_seed, self.scope
            )
        return mean_of_turns(scores, kept)

    def turns(
        self,
        x: tf.Tensor,
        premise: tf.Tensor,
        hypothesis: tf.Tensor,
        dropout_seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Scores the classes at every turn; arguments as of `call`.

        Returns:
          float32 [B, K, C].
        """

        def drop(x, site):
            return self._drop(x, site, dropout_seed)

        x = tf.cast(x, tf.float32)
        memory = drop(x, "query")
        state = _weighted_sum(_scores(self.query_wsum, memory), hypothesis, memory)
        cell, seen, found = tf.zeros_like(state), None, []
        for turn in range(self.config.answer_num_turn):
            if turn:
                state, cell = self.rnn(seen, drop(state, f"state_{turn}"), cell)
            compared = self._compare(drop(x, f"x_{turn}"), drop(state, f"s_{turn}"))
            seen = _weighted_sum(compared, premise, x)
            merged = [seen, state]
            if self.config.answer_merge_opt:
                merged += [tf.abs(seen - state), seen * state]
            merged = drop(tf.concat(merged, -1), f"merged_{turn}")
            found.append(self.classifier(merged))
        return tf.stack(found, 1)

    def _compare(self, x, state):
        """Scores the places of x [B, T, H] by a state [B, H]: [B, T]."""
        if self.config.answer_att_type == "bilinear":
            return tf.linalg.matvec(x, self.attn(state))
        state = tf.broadcast_to(state[:, None], tf.shape(x))
        parts = [x, state]
        if self.config.answer_att_type == "none":
            parts += [x * state, tf.abs(x - state)]
        return _scores(self.attn, tf.concat(parts, -1))

    def _drop(self, x, site, dropout_seed):
        """Drops features [B, H], or [B, T, H] the same at all places of a row."""
        if dropout_seed is None or not self.dropout_p:
            return x
        rows, *_, width = base.shape_list(x)
        site = dropout.site_id(f"{self.scope}/{site}")
        ones = tf.ones([rows, *[1] * (x.shape.rank - 2), width])
        return x * dropout.dropout(ones, self.dropout_p, dropout_seed, site)


def _scores(layer, x):
    """One score for each place: [B, T, H] -> [B, T]."""
    rows, places, width = base.shape_list(x)
    return tf.reshape(layer(tf.reshape(x, [-1, width])), [rows, places])


def _weighted_sum(scores, mask, x):
    """The mean of x [B, T, H] by the softmax of scores [B, T]: [B, H]."""
    weights = masking.masked_softmax(scores, mask)
    return tf.linalg.matvec(x, weights, transpose_a=True)


def kept_turns(
    rows: int | tf.Tensor, turns: int, rate: float, seed: tf.Tensor, site: str
) -> tf.Tensor:
    """Says which turns count: each with 1 - rate, and one of each row's always.

    As in the parent, the one that is forced is scaled like the others, so that the
    turns of a row sum up to more than they would without any dropped.

    Args:
      rows: int, B.
      turns: int, K.
      rate: float in (0, 1).
      seed: int32 [2].
      site: the call site's name.

    Returns:
      float32 [B, K]: 0 or 1 / (1 - rate).
    """
    shape = tf.stack([rows, turns])
    keep = dropout.keep_mask(shape, rate, seed, dropout.site_id(f"{site}/turns"))
    draws = dropout.random_bits(shape, seed, dropout.site_id(f"{site}/forced"))
    # Of as many equal draws each is the largest as often as any other.
    draws = tf.bitcast(
        tf.bitwise.right_shift(draws, tf.constant(1, tf.uint32)), tf.int32
    )
    forced = tf.one_hot(tf.argmax(draws, 1), turns, True, False, dtype=tf.bool)
    return tf.cast(keep | forced, tf.float32) / (1 - rate)


def mean_of_turns(scores: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Log of the mean over all turns of kept softmax(scores).

    Args:
      scores: float32 [B, K, C].
      kept: float32 [B, K], with a positive number in each row.

    Returns:
      float32 [B, C]; where turns are dropped, no logarithms of what sums up to 1.
    """
    logs = tf.nn.log_softmax(scores) + tf.math.log(kept)[..., None]
    return tf.reduce_logsumexp(logs, 1) - tf.math.log(float(scores.shape[1]))
