"""Draws the next token: temperature, top-k, top-p; a function of scores and seeds."""

import tensorflow as tf

# B rows, V tokens.
_NEVER = -1e9


def sample(
    logits: tf.Tensor,
    seeds: tf.Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> tf.Tensor:
    """Chooses a token for each row, which no other row has an influence on.

    The largest of scores to which Gumbel noise is added is a draw from their softmax
    (Maddison et al. 2014, section 2).

    Args:
      logits: float32 [B, V].
      seeds: int64 [B, 2], of each row's noise.
      temperature: float, divides the scores; 0 = always the best token.
      top_k: int, tokens that may be chosen; 0 = all.
      top_p: float in (0, 1], the share of the probability that the tokens which may be
        chosen have to cover (Holtzman et al. 2020, section 3.1).

    Returns:
      int32 [B].
    """
    if temperature == 0:
        return tf.argmax(logits, axis=-1, output_type=tf.int32)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        logits = _keep(logits, tf.math.top_k(logits, top_k)[0][:, -1:])
    if top_p < 1:
        best = tf.sort(logits, direction="DESCENDING")
        before = tf.cumsum(tf.nn.softmax(best), axis=-1, exclusive=True)
        worst = tf.reduce_min(tf.where(before < top_p, best, best[:, :1]), axis=-1)
        logits = _keep(logits, worst[:, None])
    noise = tf.map_fn(
        lambda seed: _gumbel(logits.shape[-1], seed),
        seeds,
        fn_output_signature=tf.float32,
    )
    return tf.argmax(logits + noise, axis=-1, output_type=tf.int32)


def _keep(logits, worst):
    return tf.where(logits >= worst, logits, _NEVER)


def _gumbel(size, seed):
    smallest = 2.0**-126  # 0 would have no logarithm
    uniform = tf.random.stateless_uniform([size], seed, smallest, alg="philox")
    return -tf.math.log(-tf.math.log(uniform))
