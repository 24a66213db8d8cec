"""A pre-trained system as tasks use it: its files, its inputs, its models."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from absl import logging

import checkpoints
from checkpoints import google_bert
from data_pipeline.tagging_features import SpecialIds
from optimization import OptimizerConfig, ParameterGroup

CLASSIFIER, SPAN, PRE_TRAINING = "classifier", "span", "pre-training"
TAGGER = "tagger"


class Tokenizer(abc.ABC):
    """What is needed of a system's tokenizer."""

    vocab: Mapping[str, int]

    @abc.abstractmethod
    def ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, int32 [tokens], and row offsets, int64 [N + 1]."""


@dataclasses.dataclass(frozen=True)
class System(abc.ABC):
    """An architecture, its vocabulary, and the weights to start from.

    Attributes:
      config: the architecture; has to_dict() and to_json_string().
      vocab_file: path of the vocabulary; None if the run needs none and none is known.
      do_lower_case: whether the tokenizer lower-cases; None if not known.
      init_checkpoint: any format that `checkpoints` reads; None starts from random
        weights.
      resize_vocab: whether the vocabulary may have more rows than the checkpoint.
      model_type: the system's name, as --model_type takes it.
      heads: kind of head -> regular expression over the names of its variables.
    """

    config: Any
    vocab_file: str | None = None
    do_lower_case: bool | None = True
    init_checkpoint: str | None = None
    resize_vocab: bool = False

    model_type: ClassVar[str]
    heads: ClassVar[Mapping[str, str]]

    @property
    @abc.abstractmethod
    def max_length(self) -> tuple[str, int]:
        """The longest sequence, after the name that the config has for it."""

    @property
    @abc.abstractmethod
    def num_layers(self) -> int:
        """Layers of the encoder, embeddings not counted."""

    @property
    @abc.abstractmethod
    def hidden_size(self) -> int:
        """Width of the encoder's outputs."""

    @abc.abstractmethod
    def match_vocabulary(self) -> "System":
        """Returns the system, with as many rows as its vocabulary has.

        Raises:
          ValueError: vocabulary and config disagree, and `resize_vocab` is not set.
        """

    @abc.abstractmethod
    def tokenizer(self) -> Tokenizer:
        """Loads the vocabulary."""

    @abc.abstractmethod
    def special_ids(self, tokenizer: Tokenizer) -> SpecialIds:
        """Returns what stands around a sentence of words, and for unknown words."""

    @abc.abstractmethod
    def build_classifier(
        self, num_outputs: int, *, frozen_encoder: bool, **kwargs
    ) -> keras.layers.Layer:
        """Makes the encoder with a classifier's head; see Task.build_model."""

    @abc.abstractmethod
    def build_span_extractor(self, **kwargs) -> keras.layers.Layer:
        """Makes the encoder with a head for starts and ends; likewise."""

    @abc.abstractmethod
    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        """Makes the encoder alone; likewise."""

    @abc.abstractmethod
    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """Says how each variable is trained."""

    def optional(self, head: str | None) -> Mapping[str, str]:
        """Variables that a checkpoint need not have, besides those of the head.

        Args:
          head: the kind of head on the encoder; None for the encoder alone.

        Returns:
          Regular expression -> reason.
        """
        del head
        return {}

    def initialize(
        self, variables: Mapping[str, keras.Variable], head: str | None
    ) -> None:
        """Fills the encoder, and the head if the initial checkpoint has one.

        Args:
          variables: name -> variable.
          head: which of `heads` the model has; None for the encoder alone.

        Raises:
          checkpoints.CheckpointError: see checkpoints.initialize.
        """
        if self.init_checkpoint is None:
            logging.info("no --init_checkpoint: training starts from random weights")
            return
        new = {self.heads[head]: "the head of this task"} if head else {}
        checkpoints.initialize(
            variables,
            checkpoints.open_checkpoint(self.init_checkpoint),
            new=new | self.optional(head),
            unused={
                pattern: f"a {kind} head; not used here"
                for kind, pattern in self.heads.items()
                if kind != head
            },
            resize_vocab=self.resize_vocab,
        )

    def save_beside(self, folder: str) -> None:
        """Writes the config and, as far as known, what tokenizes."""
        google_bert.save_beside(
            folder, self.config, self.vocab_file, self.do_lower_case
        )

    def check_length(self, max_seq_length: int) -> None:
        """Raises ValueError where --max_seq_length is beyond the position table."""
        name, longest = self.max_length
        if max_seq_length > longest:
            raise ValueError(
                f"--max_seq_length={max_seq_length}, but the model has only "
                f"{name}={longest}"
            )

    def describe(self) -> dict[str, Any]:
        """What a run's settings keep of the system."""
        return {"model_type": self.model_type, **self.config.to_dict()}
