"""A pre-trained system as tasks use it: its files, its inputs, its models."""

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
from data_pipeline import tfrecord
from data_pipeline.feature_spec import FeatureSpec
from data_pipeline.features.lines import Layout
from data_pipeline.features.tagging import (
    TAGGING_SPEC,
    SpecialIds,
    TaggingColumns,
    tagging_columns,
)
from data_pipeline.features.tagging_graph import WordReader
from data_pipeline.readers.conll import TaggedText
from data_pipeline.readers.examples import InputExample
from data_pipeline.squad.pieces import SquadTokenizer
from errors import UserError
from modeling.tagger import Tagger
from optimization.optimizers import OptimizerConfig, ParameterGroup
from systems.classification_config import ClassificationConfig
from tasks.task import Batch

CLASSIFIER, SPAN, PRE_TRAINING = "classifier", "span", "pre-training"
TAGGER = "tagger"

# What systems do or do not do, as messages say it, and the script that asks for it.
CLASSIFY, ANSWER, TAG = "classify", "answer questions", "tag"
PRE_TRAIN, EXTRACT, GENERATE = "pre-train", "give features", "generate"
CONVERT = "have another format"
SCRIPTS = {
    CLASSIFY: "run_classifier.py",
    ANSWER: "run_squad.py",
    TAG: "run_tagger.py",
    PRE_TRAIN: "run_pretraining.py",
    EXTRACT: "extract_features.py",
    GENERATE: "generate.py",
    CONVERT: "convert_checkpoint.py",
}


# Where a tagger has a value for each tag; see System.label_axes.
_TAGS = {
    r"tagger/emissions/output_(weights|bias)": (0,),
    r"tagger/crf/(start|end)": (0,),
    r"tagger/crf/transitions": (0, 1),
}


class Tokenizer(abc.ABC):
    """What is needed of a system's tokenizer."""

    vocab: Mapping[str, int]

    @abc.abstractmethod
    def ids(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of all texts, int32 [tokens], and row offsets, int64 [N + 1]."""


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


@dataclasses.dataclass(frozen=True)
class System(abc.ABC):
    """An architecture, its vocabulary, and the weights to start from.

    Attributes:
      config: the architecture; has to_dict() and to_json_string().
      vocab_file: path of the vocabulary; None if the run needs none and none is known.
      do_lower_case: whether the tokenizer lower-cases; None if not known.
      init_checkpoint: any format that `checkpoints` reads; None starts from random
        weights.
      resize_vocab: whether the vocabulary may have more rows than the checkpoint; None
        where no run can have them.
      new_head: whether the checkpoint may lack the head: not where it is only used.
      model_type: the system's name, as --model_type takes it.
      does: what it can be used for, of SCRIPTS; the methods of the rest are not called.
      reads: the flags that it reads, of those that not every system does.
      heads: kind of head -> regular expression over the names of its variables.
      label_axes: regular expression over the names of a classifier's variables that
        have a value for each label -> which axes the labels lie along.
      tokenizes_in_graph: whether a SavedModel can read texts.
      tagger_dropout: on what a tagger's head reads of a word.
      reads_left_to_right: whether a piece's output has seen none of those after it.
      has_lm_losses: whether its classifier predicts the tokens of its inputs as well.
      finetunes_by_default: whether a classifier's or a tagger's training changes the
        encoder unless it is told not to.
    """

    config: Any
    vocab_file: str | None = None
    do_lower_case: bool | None = True
    init_checkpoint: str | None = None
    resize_vocab: bool | None = False
    new_head: bool = True

    model_type: ClassVar[str]
    does: ClassVar[frozenset[str]]
    reads: ClassVar[frozenset[str]] = frozenset()
    heads: ClassVar[Mapping[str, str]]
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {}
    tokenizes_in_graph: ClassVar[bool] = False
    tagger_dropout: ClassVar[float] = 0.1
    reads_left_to_right: ClassVar[bool] = False
    has_lm_losses: ClassVar[bool] = False
    finetunes_by_default: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def max_length(self) -> tuple[str, int]:
        """The longest sequence, after the name that the config has for it."""

    @property
    def needs_vocabulary(self) -> bool:
        """Whether texts cannot be read without `vocab_file`."""
        return True

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
          UserError: vocabulary and config disagree, and `resize_vocab` is not set.
        """

    @abc.abstractmethod
    def tokenizer(self) -> Tokenizer:
        """Loads the vocabulary."""

    def squad_tokenizer(self) -> SquadTokenizer:
        """Loads the vocabulary, for questions and their contexts."""
        raise NotImplementedError

    def special_ids(self, tokenizer: Tokenizer) -> SpecialIds:
        """Returns what stands around a sentence of words, and for unknown words.

        Only `tagging_columns` below calls it: a system that has one of its own needs
        none.
        """
        raise NotImplementedError

    @property
    def tagging_spec(self) -> FeatureSpec:
        """What a record of a tagging task has: `word_positions` and the inputs."""
        return TAGGING_SPEC

    def tagging_columns(
        self, text: TaggedText, tag_ids: np.ndarray, max_seq_length: int
    ) -> TaggingColumns:
        """Tokenizes words, cuts long sentences and lays out a data set."""
        tokenizer = self.tokenizer()
        special = self.special_ids(tokenizer)
        return tagging_columns(
            text, tag_ids, tokenizer, special, max_seq_length, self.reads_left_to_right
        )

    def word_reader(self, max_seq_length: int) -> WordReader | None:
        """Returns what reads words in a graph as `tagging_columns` reads a text.

        None where it cannot be done there.
        """
        del max_seq_length
        return None

    def with_special_tokens(self) -> "System":
        """Returns the system with rows for the tokens that tasks put around texts."""
        return self

    def fingerprint(self) -> Any:
        """Returns JSON values that tell the vocabulary from others, for caches."""
        return tfrecord.fingerprint(self.vocab_file)

    def classification_spec(self, config: ClassificationConfig) -> FeatureSpec:
        """Declares what a record of a classification task has.

        Raises:
          UserError: the system cannot do such a task.
        """
        raise NotImplementedError

    def classification_columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> Columns:
        """Tokenizes, truncates and lays out a data set of a classification task."""
        raise NotImplementedError

    def build_classifier(
        self, config: ClassificationConfig, *, frozen_encoder: bool, **kwargs
    ) -> keras.layers.Layer:
        """Makes the encoder with a classifier's head; see Task.build_model."""
        raise NotImplementedError

    def classify(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> Mapping[str, tf.Tensor]:
        """Runs what `build_classifier` made.

        Args:
          model: the classifier.
          batch: the features of some examples.
          dropout_seed: int32 [2]; None turns dropout off.

        Returns:
          `logits` float32 [B, outputs]; where the system has them, `lm_losses` float32
          [B, R], the mean over the tokens of each of an example's R sequences.
        """
        raise NotImplementedError

    def sentence_layout(self, tokenizer: Tokenizer) -> Layout:
        """Returns what the encoder alone reads around texts."""
        raise NotImplementedError

    def encoder_inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns what encoder and span extractor are called with."""
        return {name: batch[name] for name in ("input_ids", "input_mask")}

    def build_span_extractor(
        self, *, frozen_encoder: bool, **kwargs
    ) -> keras.layers.Layer:
        """Makes the encoder with a head for starts and ends; see Task.build_model."""
        raise NotImplementedError

    @abc.abstractmethod
    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        """Makes the encoder alone; see Task.build_model."""

    def build_tagger(
        self, num_tags: int, *, use_crf: bool, frozen_encoder: bool, **kwargs
    ) -> Tagger:
        """Makes the encoder with a tagger's head; see Task.build_model."""
        return Tagger(
            self.build_encoder(**kwargs),
            self.hidden_size,
            num_tags,
            use_crf=use_crf,
            dropout_rate=self.tagger_dropout,
            frozen_encoder=frozen_encoder,
            **kwargs,
        )

    @abc.abstractmethod
    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """Says how each variable is trained."""

    def optional(
        self, head: str | None, checkpoint: checkpoints.Checkpoint
    ) -> Mapping[str, str]:
        """Variables that a checkpoint need not have, besides those of the head.

        Args:
          head: the kind of head on the encoder; None for the encoder alone.
          checkpoint: what is loaded.

        Returns:
          Regular expression -> reason.
        """
        del head, checkpoint
        return {}

    def initialize(
        self,
        variables: Mapping[str, keras.Variable],
        head: str | None,
        outputs: checkpoints.Outputs | None = None,
    ) -> None:
        """Fills the encoder, and the head if the initial checkpoint has one.

        Args:
          variables: name -> variable.
          head: which of `heads` the model has; None for the encoder alone.
          outputs: what the head decides, where its outputs are the task's labels.

        Raises:
          checkpoints.CheckpointError: see checkpoints.initialize, and checkpoints'
            `fit_new` and `fit_trained`.
        """
        if self.init_checkpoint is None:
            logging.info("no --init_checkpoint: training starts from random weights")
            return
        checkpoint = checkpoints.open_checkpoint(self.init_checkpoint)
        fit = self._fit_head(checkpoint, variables, head, outputs)
        unused = {
            pattern: f"a {kind} head; not used here"
            for kind, pattern in self.heads.items()
            if kind != head
        }
        checkpoints.initialize(
            variables,
            checkpoint,
            new={**fit.new, **self.optional(head, checkpoint)},
            unused={**fit.unused, **unused},
            resize_vocab=self.resize_vocab,
            rows={**self.rows(checkpoint), **fit.rows},
        )
        if fit.line:
            logging.info("head: %s", fit.line)

    def _fit_head(self, checkpoint, variables, head, outputs):
        """Says how a head is filled; a new one only where it is to be trained."""
        pattern = self.heads.get(head)
        if outputs is None:
            may_lack = head and self.new_head
            new = {pattern: "the head of this task"} if may_lack else {}
            return checkpoints.Fit("", new)
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        axes = {**self.label_axes, **_TAGS}
        fit = checkpoints.fit_new if self.new_head else checkpoints.fit_trained
        return fit(checkpoint, checkpoints.Head(pattern, axes, shapes, outputs))

    def rows(
        self, checkpoint: checkpoints.Checkpoint
    ) -> Mapping[str, checkpoints.Rows]:
        """Says where rows of variables are in a file, if not one for one.

        Args:
          checkpoint: what the variables are filled from.

        Returns:
          The `rows` of checkpoints.initialize.
        """
        del checkpoint
        return {}

    def save_beside(self, folder: str) -> None:
        """Writes the config and, as far as known, what tokenizes."""
        checkpoints.save_beside(
            folder, self.config, self.vocab_file, self.do_lower_case
        )

    def check_length(self, max_seq_length: int) -> None:
        """Raises ValueError where --max_seq_length is beyond the position table."""
        name, longest = self.max_length
        if max_seq_length > longest:
            raise UserError(
                f"--max_seq_length={max_seq_length}, but the model has only "
                f"{name}={longest}"
            )

    def describe(self) -> dict[str, Any]:
        """What a run's settings keep of the system."""
        return {"model_type": self.model_type, **self.config.to_dict()}
