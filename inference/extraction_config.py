"""Which feature vectors are wanted: of which layers, how combined, how pooled."""

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from errors import UserError, check_count
from modeling.layers import pooling
from systems.system import System

COMBINATIONS = ("separate", "mean", "concat")
LONG = ("truncate", "window")
WEIGHTINGS = ("idf", "sif")
PRECISIONS = ("off", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class ExtractionConfig:
    """Which vectors, and how they are computed.

    Attributes:
      pooling: one of pooling.STRATEGIES, also by bert-as-service's name; "none" gives
        a vector for every unit, piece or word.
      word_weighting: None; or "idf" or "sif", weights of words by their counts in the
        whole text, with pooling "mean"; "sif" then removes the first principal
        component of all lines' vectors.
      layers: of the encoder, as Python indexes a list: 0 is the first, -1 the last.
        None: the system's default, BERT's being -1 to -4; with pooling the last.
      layer_combination: "separate", or one vector of all layers, their "mean" or the
        vectors one after the other ("concat"); layers are combined before pooling.
        None: separate, as the parent's, or with pooling concat.
      mask_cls_sep: leaves [CLS] and [SEP] out of the pool, or of the pieces; GPT reads
        nothing of the kind here.
      hide_cls_sep: with `mask_cls_sep`, attention does not see them either, as in
        bert-as-service.
      normalize: divides each vector by its Euclidean length.
      max_seq_length: units of the longest input; of pieces, the special ones included.
      long: what becomes of a longer line; "truncate": it is cut; "window": it is read
        in several windows and their vectors are averaged.
      batch_size: windows in a batch, over all replicas.
      stateful: reads one line after the other, each from the states in which the one
        before left the encoder, as bilm-tf writes its files.
      mixed_precision: "off", "bfloat16" or "float16", of the matrix products.
      static_shapes: pads every batch to `max_seq_length`, as a TPU needs.

    Raises:
      UserError: an unknown choice.
    """

    pooling: str = "none"
    word_weighting: str | None = None
    layers: tuple[int, ...] | None = None
    layer_combination: str | None = None
    mask_cls_sep: bool = False
    hide_cls_sep: bool = False
    normalize: bool = False
    max_seq_length: int = 128
    long: str = "truncate"
    batch_size: int = 32
    stateful: bool = False
    mixed_precision: str = "off"
    static_shapes: bool = False

    def __post_init__(self):
        given, pooled = self.pooling, pooling.strategy_name(self.pooling)
        object.__setattr__(self, "pooling", pooled)
        if pooled == "cls_pooled" and (self.layers or self.layer_combination):
            raise UserError(
                f"--pooling={given}: the pooler reads the last layer; wanted no "
                "--layers, and no --layer_combination"
            )
        how = self.layer_combination or ("separate" if pooled == "none" else "concat")
        object.__setattr__(self, "layer_combination", how)
        if self.word_weighting and pooled != "mean":
            raise UserError(
                f"--word_weighting={self.word_weighting} needs --pooling=mean, not "
                f"{pooled}"
            )
        for name in ("batch_size", "max_seq_length"):
            check_count(f"--{name}", getattr(self, name))
        if self.layers is not None and not (
            self.layers and all(isinstance(layer, int) for layer in self.layers)
        ):
            raise UserError(f"--layers={self.layers}; wanted whole numbers, not none")
        for name, known in (
            ("layer_combination", COMBINATIONS),
            ("long", LONG),
            ("mixed_precision", PRECISIONS),
            ("word_weighting", (None, *WEIGHTINGS)),
        ):
            if getattr(self, name) not in known:
                raise UserError(
                    f"--{name}={getattr(self, name)}; wanted one of "
                    f"{', '.join(filter(None, known))}"
                )


def choose_layers(config: ExtractionConfig, system: System) -> tuple[int, ...]:
    """Returns the layers whose vectors are wanted.

    Raises:
      UserError: the model has no such layer, or no [CLS] to pool, or cannot read such a
        length.
    """
    source = system.need("extracts")
    layers = config.layers or source.default_layers
    if not config.layers and config.pooling != "none":
        layers = (-1,)
    depth = source.depth
    for layer in layers:
        if not -depth <= layer < depth:
            raise UserError(
                f"--layers has {layer}, but the model has {depth} layers: wanted "
                f"{-depth} (the first) to -1 (the last), or 0 to {depth - 1}"
            )
    if config.pooling == "cls" and not source.has_cls:
        raise UserError(
            f"--pooling=cls: {system.model_type} reads no [CLS]; wanted first, for "
            f"the first of a line's {source.units}, or another one"
        )
    if config.pooling == "cls_pooled":
        source.check_pooler()
    source.check_length(config.max_seq_length, config.long == "window")
    return layers


def row_shape(
    config: ExtractionConfig, layers: Sequence[int], hidden_size: int
) -> tuple[int, ...]:
    """Returns the shape of a line's values: [max_seq_length unless pooled, (L,) width].

    Args:
      config: which vectors.
      layers: L of them, as `choose_layers` has them.
      hidden_size: of the encoder.
    """
    width = hidden_size * (2 if config.pooling == "mean_max" else 1)
    if config.layer_combination == "concat":
        width *= len(layers)
    axis = (len(layers),) if config.layer_combination == "separate" else ()
    tokens = (config.max_seq_length,) if config.pooling == "none" else ()
    return (*tokens, *axis, width)


def pooled(
    layers: Sequence[tf.Tensor], counts: tf.Tensor, config: ExtractionConfig
) -> tf.Tensor:
    """Combines layers, and pools.

    Args:
      layers: L, float [B, S, width] each.
      counts: int [B, S], 1 = the unit is pooled.
      config: how.

    Returns:
      float32 [B, (S,) (L,) width], as of `row_shape`.
    """
    layers = [tf.cast(layer, tf.float32) for layer in layers]
    if config.layer_combination == "mean":
        values = tf.add_n(layers) / len(layers)
    elif config.layer_combination == "concat":
        values = tf.concat(layers, axis=-1)
    else:
        values = tf.stack(layers, axis=2)
    return pooling.pool(values, counts, config.pooling)
