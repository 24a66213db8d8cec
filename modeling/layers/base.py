"""The base of all layers: variables named and seeded by their released names."""

import contextlib
import contextvars
import functools
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from modeling.layers import graphs

# Task models carry this name; released names start below it.
ROOT_NAME = "model"
_SHARED: contextvars.ContextVar[Mapping[str, keras.Variable] | None] = (
    contextvars.ContextVar("shared", default=None)
)
_LATER: contextvars.ContextVar[bool] = contextvars.ContextVar("later", default=False)


def released_name(path: str) -> str:
    """Returns a Keras path as released checkpoints spell it: without the root model."""
    return path.removeprefix(f"{ROOT_NAME}/")


def named_variables(model: keras.Layer) -> dict[str, keras.Variable]:
    """Lists the variables of a model by the names in the released checkpoints.

    Args:
      model: a built layer: a root task model or a bare one (`BertModel`).

    Returns:
      Released name -> variable, in the order of creation.

    Raises:
      ValueError: two variables would get one name.
    """
    variables = {}
    for variable in model.variables:
        name = released_name(variable.path)
        if name in variables:
            raise ValueError(f"{model.name}: two variables are named {name}")
        variables[name] = variable
    return variables


@contextlib.contextmanager
def sharing(variables: Mapping[str, keras.Variable]) -> Iterator[None]:
    """Lets models made inside take variables of others, instead of copies.

    Args:
      variables: released name -> variable; one of another shape is not taken.
    """
    token = _SHARED.set(variables)
    try:
        yield
    finally:
        _SHARED.reset(token)


@contextlib.contextmanager
def drawn_later() -> Iterator[None]:
    """Makes layers whose random weights are NaN until they are set, or drawn by `draw`.

    To draw those of BERT-base takes three seconds, after which a checkpoint replaces
    all but the head's.
    """
    token = _LATER.set(True)
    try:
        yield
    finally:
        _LATER.reset(token)


def draw(variables: Iterable[keras.Variable]) -> None:
    """Draws the weights that `drawn_later` put off, and that nobody has set."""
    for variable in variables:
        make = getattr(variable, "put_off", None)
        if make is not None and np.isnan(tf.reshape(variable.value, [-1])[0]):
            variable.assign(make())


def shape_list(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns the dimensions: ints where they are known when tracing, else scalars."""
    static = tensor.shape.as_list()
    if None not in static:
        return static
    dynamic = tf.shape(tensor)
    return [dynamic[i] if size is None else size for i, size in enumerate(static)]


class Layer(keras.layers.Layer):
    """A Keras layer with reproducible initial weights and no implicit casts.

    Variables are float32 under the mixed policies; a layer casts where it computes.

    Args:
      initializer_range: float, standard deviation of the normal distribution.
      seed: int; with a variable's released name it decides the initial weights.
      fused: bool; True = compiled clusters between the matrix products (`fused.py`)
        and no rows for padding (`packing.py`), for training and predicting on a CPU;
        False = plain operations in static shapes, for exports and where the whole step
        is compiled. Both compute the same to rounding.
      **kwargs: `name` and `dtype`, a Keras dtype policy.
    """

    def __init__(
        self,
        *,
        initializer_range: float = 0.02,
        seed: int = 0,
        fused: bool = False,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.initializer_range = initializer_range
        self.seed = seed
        self.fused = fused

    def inherit(self, name: str) -> dict:
        """Returns the keyword arguments of a sublayer of that name."""
        return {
            "initializer_range": self.initializer_range,
            "seed": self.seed,
            "fused": self.fused,
            "dtype": self.dtype_policy,
            "name": name,
        }

    def add_normal(
        self,
        name: str,
        shape: Sequence[int],
        draw: Callable[..., tf.Tensor] = tf.random.stateless_truncated_normal,
    ) -> keras.Variable:
        """Adds a random weight; `draw`: the parent's distribution, or another one."""
        key = zlib.crc32(released_name(f"{self.path}/{name}").encode())

        def initializer(shape, dtype):
            return draw(
                shape,
                seed=tf.constant([self.seed, key], tf.int64),
                stddev=self.initializer_range,
                dtype=dtype,
                alg="philox",
            )

        if not _LATER.get():
            return self._add(name, shape, initializer)
        variable = self.add_constant(name, shape, float("nan"))
        variable.put_off = functools.partial(initializer, variable.shape, "float32")
        return variable

    def add_constant(
        self, name: str, shape: Sequence[int], value: float
    ) -> keras.Variable:
        """Adds a weight with one initial value: biases 0, layer-norm scales 1."""
        return self._add(name, shape, keras.initializers.Constant(value))

    def add_statistic(
        self, name: str, shape: Sequence[int], value: float
    ) -> keras.Variable:
        """Adds what a training step sets itself, to one value on all replicas."""
        initializer = keras.initializers.Constant(value)
        one = "only_first_replica"
        return self._add(name, shape, initializer, trainable=False, aggregation=one)

    def matrix(self, *layers: "Layer") -> tf.Tensor:
        """Returns the kernels of layers side by side, in the compute dtype."""

        def make():
            kernels = [tf.cast(layer.kernel, self.compute_dtype) for layer in layers]
            return kernels[0] if len(kernels) == 1 else tf.concat(kernels, axis=1)

        return graphs.of_weights(make, *layers)

    def _add(self, name, shape, initializer, **kwargs):
        known = (_SHARED.get() or {}).get(released_name(f"{self.path}/{name}"))
        if known is not None and known.shape == tuple(shape):
            return known
        return self.add_weight(
            name=name,
            shape=tuple(shape),
            initializer=initializer,
            autocast=False,
            **kwargs,
        )


class Model(Layer):
    """A layer that its architecture's config makes; Keras can make it again.

    Args:
      config: the architecture.
      **kwargs: see `Layer`.

    Attributes:
      config_class: the config's class; has to_dict() and from_dict().
    """

    config_class: ClassVar[type]

    def __init__(self, config: Any, **kwargs):
        super().__init__(**kwargs)
        self.config = config

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, in types that JSON has."""
        return {
            "config": self.config.to_dict(),
            "dtype": self.dtype_policy.name,
            "seed": self.seed,
            "fused": self.fused,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Model":
        """Makes a model from what `get_config` returned; its weights are new."""
        architecture = cls.config_class.from_dict(config["config"])
        return cls(**(config | {"config": architecture}))
