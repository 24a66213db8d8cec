"""Classification by a learnt mixture of a system's layers, instead of by its own way.

Records are the system's; the rest of its classification, what is read of them, is not.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.readers.examples import InputExample
from errors import UserError
from modeling.mixed_classifier import MixedClassifier
from systems.capabilities import Classifies, Columns
from systems.classification_config import ClassificationConfig


class MixesLayers(Classifies):
    """A system's Classifies under another model."""

    def __init__(self, own: Classifies):
        """Takes what the system does by itself."""
        super().__init__(own.system)
        self._own = own

    def check(self, config: ClassificationConfig) -> None:
        self._own.check(config)
        if config.output_kind == "multiple_choice" or config.symmetric:
            raise UserError(
                "--layer_mix reads an example as one sequence: wanted no multiple "
                "choice, and no --symmetric"
            )

    def buckets(self, max_seq_length: int, static_shapes: bool) -> tuple[int, ...]:
        return self._own.buckets(max_seq_length, static_shapes)

    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        return self._own.spec(config)

    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> Columns:
        return self._own.columns(examples, config)

    def build(
        self, config: ClassificationConfig, *, frozen_encoder: bool, **kwargs
    ) -> keras.layers.Layer:
        return MixedClassifier(
            self.system.build_encoder(**kwargs),
            self.system.hidden_size,
            self.system.num_layers + 1,
            config.num_outputs,
            frozen_encoder=frozen_encoder,
            **kwargs,
        )

    def run(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        inputs = self.system.encoder_inputs(batch)
        return {"logits": model(inputs, dropout_seed=dropout_seed)}
