"""What systems can do, as tasks and scripts use it: each a class of a few methods.

Those that a system has stand in its entry (registry.py); `System.need` finds one, or
refuses what the system does not do.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import keras
import numpy as np
import tensorflow as tf

from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.features.lines import Layout
from data_pipeline.features.tagging import (
    TAGGING_SPEC,
    SpecialIds,
    TaggingColumns,
    tagging_columns,
)
from data_pipeline.readers.conll import TaggedText
from data_pipeline.readers.examples import InputExample
from data_pipeline.squad.pieces import SquadTokenizer
from modeling.tagger import Tagger
from systems.classification_config import ClassificationConfig


class Capability:
    """Something that some systems can do.

    Attributes:
      system: whose capability it is.
    """

    def __init__(self, system: Any):
        """Binds the capability to a system."""
        self.system = system


class Columns(Protocol):
    """A data set of a classification task in tokens, as a system lays it out.

    Attributes:
      truncated_examples: how many examples were too long.
      dropped_tokens: how many tokens they lost together.
    """

    truncated_examples: int
    dropped_tokens: int

    def records(self, spec: FeatureSpec) -> Iterator[bytes]:
        """Yields the examples serialised as `spec` says, numbered from 0."""
        ...


class Classifies(Capability, abc.ABC):
    """Classifies texts and pairs, scores them, or chooses among several.

    Attributes:
      has_lm_losses: whether the model predicts the tokens of its inputs as well.
    """

    has_lm_losses: ClassVar[bool] = False

    @abc.abstractmethod
    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        """Declares what a record of a task has.

        Raises:
          UserError: the system cannot do such a task.
        """

    @abc.abstractmethod
    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> Columns:
        """Tokenizes, truncates and lays out a data set of a task."""

    @abc.abstractmethod
    def build(
        self, config: ClassificationConfig, *, frozen_encoder: bool, **kwargs
    ) -> keras.layers.Layer:
        """Makes the encoder with a head.

        Args:
          config: what is to be told.
          frozen_encoder: turns dropout off in the encoder, which is not trained.
          **kwargs: as of Task.build_model.
        """

    @abc.abstractmethod
    def run(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> Mapping[str, tf.Tensor]:
        """Runs what `build` made.

        Args:
          model: the classifier.
          batch: the features of some examples.
          dropout_seed: int32 [2]; None turns dropout off.

        Returns:
          `logits` float32 [B, outputs]; with `has_lm_losses`, `lm_losses` float32
          [B, R], the mean over the tokens of each of an example's R sequences.
        """


class Tags(Capability, abc.ABC):
    """Tags words.

    Attributes:
      dropout_rate: on what the head reads of a word.
    """

    dropout_rate: float = 0.1

    @property
    @abc.abstractmethod
    def spec(self) -> FeatureSpec:
        """What a record has: `word_positions` and the encoder's inputs."""

    @abc.abstractmethod
    def columns(
        self, text: TaggedText, tag_ids: np.ndarray, max_seq_length: int
    ) -> TaggingColumns:
        """Tokenizes words, cuts long sentences and lays out a data set."""

    def build(
        self, num_tags: int, *, use_crf: bool, frozen_encoder: bool, **kwargs
    ) -> Tagger:
        """Makes the encoder with a head.

        Args:
          num_tags: outputs of the head.
          use_crf: whether a sentence's tags are chosen together.
          frozen_encoder: turns dropout off in the encoder, which is not trained.
          **kwargs: as of Task.build_model.
        """
        return Tagger(
            self.system.build_encoder(**kwargs),
            self.system.hidden_size,
            num_tags,
            use_crf=use_crf,
            dropout_rate=self.dropout_rate,
            frozen_encoder=frozen_encoder,
            **kwargs,
        )


class TagsPieces(Tags):
    """Tags words by one of the pieces that each is cut into.

    Attributes:
      reads_left_to_right: whether a piece's output has seen none of those after it: a
        word's is then its last piece's, else its first one's.
    """

    spec = TAGGING_SPEC
    reads_left_to_right: ClassVar[bool] = False

    @abc.abstractmethod
    def special_ids(self, tokenizer) -> SpecialIds:
        """Returns what stands around a sentence of words, and for unknown words."""

    def columns(
        self, text: TaggedText, tag_ids: np.ndarray, max_seq_length: int
    ) -> TaggingColumns:
        """Tokenizes words, cuts long sentences and lays out a data set."""
        tokenizer = self.system.tokenizer()
        return tagging_columns(
            text,
            tag_ids,
            tokenizer,
            self.special_ids(tokenizer),
            max_seq_length,
            self.reads_left_to_right,
        )


class Answers(Capability, abc.ABC):
    """Answers questions by a span of a text."""

    @abc.abstractmethod
    def tokenizer(self) -> SquadTokenizer:
        """Loads the vocabulary, for questions and their contexts."""

    @abc.abstractmethod
    def build(self, *, frozen_encoder: bool, **kwargs) -> keras.layers.Layer:
        """Makes the encoder with a head for starts and ends; see Classifies.build."""


class ReadsLines(Capability, abc.ABC):
    """Gives the vectors of lines of text and of their pieces."""

    @abc.abstractmethod
    def layout(self, tokenizer) -> Layout:
        """Returns what the encoder alone reads around texts."""


class ReadsWords(Capability):
    """Gives the vectors of words, which white space separates."""


class Generates(Capability):
    """Continues texts."""
