"""A vector for a sequence from the vectors of its pieces: bert-as-service's strategies.

Xiao 2018, https://github.com/hanxiao/bert-as-service; `mean` is also the pooling of
Sentence-BERT (Reimers and Gurevych 2019, section 3).
"""

import tensorflow as tf

from errors import UserError

STRATEGIES = ("none", "cls", "cls_pooled", "mean", "max", "mean_max", "first", "last")
_BERT_AS_SERVICE = {
    "reduce_mean": "mean",
    "reduce_max": "max",
    "reduce_mean_max": "mean_max",
    "cls_token": "cls",
    "cls_pooled": "cls_pooled",
    "first_token": "first",
    "last_token": "last",
    "sep_token": "last",
}


def strategy_name(name: str) -> str:
    """Returns a strategy by our name or bert-as-service's (`REDUCE_MEAN` ...).

    Args:
      name: in any case.

    Returns:
      One of STRATEGIES.

    Raises:
      UserError: neither knows it.
    """
    found = _BERT_AS_SERVICE.get(name.lower(), name.lower())
    if found not in STRATEGIES:
        theirs = ", ".join(key.upper() for key in _BERT_AS_SERVICE)
        raise UserError(
            f"unknown pooling {name!r}; wanted one of {', '.join(STRATEGIES)}, "
            f"or of bert-as-service's names {theirs}"
        )
    return found


def pool(x: tf.Tensor, mask: tf.Tensor, strategy: str) -> tf.Tensor:
    """Pools over the pieces that count.

    Args:
      x: float32 [B, S, ..., H].
      mask: int [B, S], 1 = the piece counts; where none does, the result is 0.
      strategy: one of STRATEGIES but `cls_pooled`, which a model's pooler computes.
        `cls` takes the first position, whatever the mask
        says; `first` and `last` take the first and last piece that counts.

    Returns:
      float32 [B, ..., H]; of `mean_max` [B, ..., 2H], the mean first; of `none` `x`
      itself with 0 where the mask is 0.

    Raises:
      UserError: an unknown strategy.
    """
    if strategy == "cls":
        return x[:, 0]
    if strategy == "mean_max":
        both = [pool(x, mask, "mean"), pool(x, mask, "max")]
        return tf.concat(both, axis=-1)
    counts = tf.cast(mask, tf.bool)
    some = tf.reduce_any(counts, axis=1)  # [B]
    if strategy in ("first", "last"):
        positions = tf.range(tf.shape(mask)[1])
        at = positions * tf.cast(mask, tf.int32)  # [B, S]
        if strategy == "first":
            at = tf.where(counts, positions, tf.int32.max)
            chosen = tf.reduce_min(at, axis=1)
        else:
            chosen = tf.reduce_max(at, axis=1)
        chosen = tf.where(some, chosen, 0)
        return _zero_unless(some, tf.gather(x, chosen, batch_dims=1))
    if strategy == "none":
        return _zero_unless(counts, x)
    if strategy == "mean":
        total = tf.reduce_sum(_zero_unless(counts, x), axis=1)
        number = tf.maximum(tf.reduce_sum(tf.cast(mask, x.dtype), axis=1), 1.0)
        return total / _like(number, total)
    if strategy == "max":
        highest = tf.reduce_max(tf.where(_like(counts, x), x, x.dtype.min), axis=1)
        return _zero_unless(some, highest)
    raise UserError(f"unknown pooling {strategy!r}; known: {', '.join(STRATEGIES)}")


def _like(values: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Gives values [B] or [B, S] as many axes as x has, of size 1 at the end."""
    missing = x.shape.rank - values.shape.rank
    return tf.reshape(values, tf.concat([tf.shape(values), [1] * missing], axis=0))


def _zero_unless(condition: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    return tf.where(_like(condition, x), x, tf.zeros([], x.dtype))
