"""NNLM as tasks see it: whole words, and no other encoder than its table of vectors."""

from collections.abc import Mapping
from typing import ClassVar

import vocabulary
from modeling.nnlm import NnlmModel
from optimization.groups import ParameterGroup, depth_groups
from optimization.optimizers import OptimizerConfig
from systems.system import System


class NnlmSystem(System):
    """Bengio et al. 2003; its `config` is an NnlmConfig."""

    model_type = "nnlm"
    heads: ClassVar[Mapping[str, str]] = {}

    @property
    def num_layers(self) -> int:
        return 1

    @property
    def hidden_size(self) -> int:
        """Of a word's vector."""
        return self.config.embedding_size

    def tokenizer(self) -> vocabulary.Vocabulary:
        """Words are what white space separates, as they are."""
        return vocabulary.Vocabulary.from_file(self.vocab_file)

    def entries(self) -> list[str]:
        return list(self.tokenizer().words)

    def build_encoder(self, **kwargs) -> NnlmModel:
        return NnlmModel(self.config, **kwargs)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """All weights decay, the table too; biases do not, as no vectors do."""
        return depth_groups([("", 1.0)], config.weight_decay)
