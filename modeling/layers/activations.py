"""Activation functions by name; the two forms of GELU are two names."""

import math
from collections.abc import Callable

import tensorflow as tf

from errors import UserError

_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """Google's GELU: the tanh approximation (Hendrycks and Gimpel 2016, section 2).

    Args:
      x: float, any shape.

    Returns:
      As `x`.
    """
    return 0.5 * x * (1 + tf.tanh(_SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))


def gelu_erf(x: tf.Tensor) -> tf.Tensor:
    """Hugging Face's GELU: x times the normal distribution function, exactly.

    Args:
      x: float, any shape.

    Returns:
      As `x`.
    """
    return 0.5 * x * (1 + tf.math.erf(x * math.sqrt(0.5)))


_ACTIVATIONS = {
    "gelu_tanh": gelu_tanh,
    "gelu_erf": gelu_erf,
    "relu": tf.nn.relu,
    "swish": tf.nn.silu,
    "tanh": tf.tanh,
    "linear": tf.identity,
}


def get_activation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the activation function of that name.

    Args:
      name: one of `BertConfig.hidden_act`'s names, or `swish`.

    Returns:
      A function from tensor to tensor.

    Raises:
      UserError: no such activation.
    """
    if name not in _ACTIVATIONS:
        raise UserError(
            f"no activation {name!r}; there are {', '.join(sorted(_ACTIVATIONS))}"
        )
    return _ACTIVATIONS[name]
