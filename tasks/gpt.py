"""GPT as tasks use it: byte pair encoding, one decoder, a head for each kind of task."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import keras

import tokenization_bpe
from modeling import GptModel, GptSpanExtractor
from optimization import OptimizerConfig, ParameterGroup, gpt_groups
from tasks.system import CLASSIFIER, SPAN, System


class GptSystem(System):
    """Radford et al. 2018; its `config` is a GptConfig."""

    model_type = "gpt"
    heads: ClassVar[Mapping[str, str]] = {CLASSIFIER: r"clf/.*", SPAN: r"squad/.*"}

    @property
    def max_length(self) -> tuple[str, int]:
        """See System."""
        return "n_ctx", self.config.n_ctx

    @property
    def num_layers(self) -> int:
        """See System."""
        return self.config.n_layer

    @property
    def hidden_size(self) -> int:
        """See System."""
        return self.config.n_embd

    def match_vocabulary(self) -> "GptSystem":
        """See System."""
        rows = len(self.tokenizer().vocab)
        known = self.config.n_vocab
        if rows == known:
            return self
        if self.resize_vocab and rows > known:
            config = dataclasses.replace(self.config, n_vocab=rows)
            return dataclasses.replace(self, config=config)
        raise ValueError(
            f"{self.vocab_file} has {rows} pieces, but the model's configuration says "
            f"n_vocab={known}: they do not belong together"
        )

    def tokenizer(self) -> tokenization_bpe.TextEncoder:
        """See System."""
        merges = tokenization_bpe.merges_beside(self.vocab_file)
        return tokenization_bpe.TextEncoder(self.vocab_file, merges)

    def build_span_extractor(self, **kwargs) -> keras.layers.Layer:
        """See System."""
        return GptSpanExtractor(self.config, **kwargs)

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        """See System."""
        return GptModel(self.config, **kwargs)

    def build_classifier(
        self, num_outputs: int, *, frozen_encoder: bool = False, **kwargs
    ) -> keras.layers.Layer:
        """See System."""
        raise NotImplementedError

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """No decay of vectors; see optimization.gpt_groups."""
        return gpt_groups(self.config.n_layer, config)
