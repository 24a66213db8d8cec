"""NNLM as tasks see it: whole words, and no other encoder than its table of vectors."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import vocabulary
from errors import UserError
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

    def match_vocabulary(self) -> "NnlmSystem":
        """A config without vocab_size gets the vocabulary's."""
        rows, known = len(self.tokenizer()), self.config.vocab_size
        if known not in (None, rows):
            raise UserError(
                f"{self.vocab_file} has {rows} words, but the model's configuration "
                f"says vocab_size={known}: they do not belong together"
            )
        config = dataclasses.replace(self.config, vocab_size=rows)
        return dataclasses.replace(self, config=config)

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
