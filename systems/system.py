"""A pre-trained system as tasks use it: its files, its inputs, its models."""

import abc
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
import registry
import word_rules
from data_pipeline import tfrecord
from data_pipeline.corpora.word_splitter import WordSplitter
from data_pipeline.feature_spec import Batch
from data_pipeline.features.tagging_graph import WordReader
from data_pipeline.readers.examples import InputExample
from errors import UserError
from modeling.layers import base
from optimization.groups import ParameterGroup
from optimization.optimizers import OptimizerConfig

CLASSIFIER, SPAN, PRE_TRAINING = "classifier", "span", "pre-training"
TAGGER, SHARED = "tagger", "shared"

# Where heads that any system may have a value for each label; see System.label_axes.
_LABEL_AXES = {
    r"classifier/output/output_(weights|bias)": (0,),
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
      heads: kind of head -> regular expression over the names of its variables.
      label_axes: regular expression over the names of a classifier's variables that
        have a value for each label -> which axes the labels lie along.
      finetunes_by_default: whether a classifier's or a tagger's training changes the
        encoder unless it is told not to.
      tells_languages: whether it reads texts as `in_language` says.
      packs: whether its models leave padding out; see modeling.layers.packing.
    """

    config: Any
    vocab_file: str | None = None
    do_lower_case: bool | None = True
    init_checkpoint: str | None = None
    resize_vocab: bool | None = False
    new_head: bool = True

    model_type: ClassVar[str]
    heads: ClassVar[Mapping[str, str]]
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {}
    finetunes_by_default: ClassVar[bool] = True
    tells_languages: ClassVar[bool] = False
    packs: ClassVar[bool] = False

    def need(self, ability: str) -> Any:
        """Returns the system's capability of a kind; see `capabilities`.

        Args:
          ability: a key of registry.ABILITIES.

        Raises:
          UserError: it has none; names the systems that have.
        """
        return registry.need(self.model_type, ability)(self)

    @property
    def max_length(self) -> tuple[str, int] | None:
        """The longest sequence, after the name that the config has for it.

        None where no table of positions ends: every length will do.
        """
        return None

    @property
    def needs_vocabulary(self) -> bool:
        """Whether texts cannot be read without `vocab_file`."""
        return True

    def in_language(self, language: str | None) -> Self:
        """Returns the system as it reads texts of a language; None: it is not told.

        Raises:
          UserError: the system does not know that language.
        """
        del language  # most read all alike
        return self

    def check_languages(self, examples: Sequence[InputExample]) -> None:
        """Refuses examples in languages that the model does not know.

        Raises:
          UserError: names the example, and the languages that it knows.
        """
        del examples

    @functools.cached_property
    def splitter(self) -> WordSplitter:
        """Finds a text's words, where the system reads words, by its config's rules."""
        return WordSplitter.of(word_rules.of(self.config))

    @property
    def sentence_splitter(self) -> WordSplitter:
        """Finds the words to tag in a raw sentence, whatever the system reads.

        They are those of tagged files, where nothing is attached to a word: English's
        rules find them, and of Chinese what the config says, or every character.
        """
        return WordSplitter("english", self.splitter.segmenter or "characters")

    @property
    @abc.abstractmethod
    def num_layers(self) -> int:
        """Layers of the encoder, embeddings not counted."""

    @property
    @abc.abstractmethod
    def hidden_size(self) -> int:
        """Width of the encoder's outputs."""

    def match_vocabulary(self) -> Self:
        """Returns the system, with as many rows as its vocabulary has.

        Raises:
          UserError: vocabulary and config disagree, and `resize_vocab` is not set.
        """
        rows, known = len(self.entries()), self.config.vocab_size
        if known not in (None, rows):
            raise UserError(
                f"{self.vocab_file} has {rows} words, but the model's configuration "
                f"says vocab_size={known}: they do not belong together"
            )
        config = dataclasses.replace(self.config, vocab_size=rows)
        return dataclasses.replace(self, config=config)

    @abc.abstractmethod
    def tokenizer(self) -> Tokenizer:
        """Loads the vocabulary."""

    @abc.abstractmethod
    def entries(self) -> list[str]:
        """Returns the vocabulary's entries, in the order of their ids."""

    def loaded_once(self) -> Self:
        """Returns the system as one that keeps what reads its texts.

        For many small requests: else a vocabulary is read for each of them.
        """
        kept = dataclasses.replace(self)
        for name in {"tokenizer", "speller"} & set(dir(self)):
            object.__setattr__(kept, name, functools.cache(getattr(self, name)))
        return kept

    def text_encoder(self, max_seq_length: int) -> tf.Module | None:
        """Returns what lays texts out in a graph as Classifies.columns does.

        Args:
          max_seq_length: pieces of the longest input.

        Returns:
          A function of text_a, and text_b of pairs, string [B], to the inputs of the
          classifier; None where it cannot be done there.
        """
        del max_seq_length
        return None

    def word_reader(self, max_seq_length: int) -> WordReader | None:
        """Returns what reads words in a graph as Tags.columns reads a text.

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

    def encoder_inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Returns what encoder and span extractor are called with."""
        return {name: batch[name] for name in ("input_ids", "input_mask")}

    @abc.abstractmethod
    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        """Makes the encoder alone; see Task.build_model."""

    def load_encoder(
        self, shared: Mapping[str, keras.Variable] | None = None, **kwargs
    ) -> keras.layers.Layer:
        """Makes the encoder alone, with the weights of the initial checkpoint.

        Args:
          shared: variables that have been filled from it, by released names, which the
            encoder takes instead of own ones; None: of nothing.
          **kwargs: of `build_encoder`.

        Raises:
          checkpoints.CheckpointError: see `initialize`.
        """
        shared = shared or {}
        with base.sharing(shared), base.drawn_later():
            model = self.build_encoder(**kwargs)
        variables = base.named_variables(model)
        if any(shared.get(name) is not value for name, value in variables.items()):
            self.initialize(variables, None)
            base.draw(variables.values())
        return model

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
        outputs: checkpoints.Outputs | Mapping[str, checkpoints.Outputs] | None = None,
        task_name: str | None = None,
    ) -> None:
        """Fills the encoder, and the head if the initial checkpoint has one.

        Args:
          variables: name -> variable.
          head: which of `heads` the model has; None for the encoder alone.
          outputs: what the head decides, where its outputs are the task's labels; of
            the heads of several tasks, by the tasks' names.
          task_name: of the one task; of several that the file is of, its head is taken.

        Raises:
          checkpoints.CheckpointError: see checkpoints.initialize, and checkpoints'
            `fit_new` and `fit_trained`.
        """
        if self.init_checkpoint is None:
            logging.info("no --init_checkpoint: training starts from random weights")
            return
        checkpoint = checkpoints.open_checkpoint(self.init_checkpoint)
        if task_name in checkpoint.parts and head != SHARED:
            checkpoint = self.of_part(checkpoint, task_name)
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
        for line in fit.line.splitlines():
            logging.info("head: %s", line)

    def of_part(
        self, checkpoint: checkpoints.Checkpoint, task_name: str
    ) -> checkpoints.Checkpoint:
        """Returns a checkpoint of several tasks as if it were of one of them.

        Args:
          checkpoint: of a system that has the ability "shares".
          task_name: one of its `parts`.
        """
        raise NotImplementedError(f"{self.model_type} has no such checkpoints")

    def part_pattern(self, task_name: str) -> str:
        """Returns a regular expression over the names of one of several heads.

        Args:
          task_name: whose head it is.
        """
        raise NotImplementedError(f"{self.model_type} has one head")

    def _fit_head(self, checkpoint, variables, head, outputs):
        """Says how a head is filled; a new one only where it is to be trained."""
        pattern = self.heads.get(head)
        if outputs is None:
            may_lack = head and self.new_head
            new = {pattern: "the head of this task"} if may_lack else {}
            return checkpoints.Fit("", new)
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        axes = {**self.label_axes, **_LABEL_AXES}
        fit = checkpoints.fit_new if self.new_head else checkpoints.fit_trained
        if not isinstance(outputs, Mapping):
            return fit(checkpoint, checkpoints.Head(pattern, axes, shapes, outputs))
        own = {name: self.part_pattern(name) for name in outputs}
        fits = {
            name: fit(
                dataclasses.replace(checkpoint, outputs=checkpoint.parts.get(name)),
                checkpoints.Head(own[name], axes, shapes, decided),
            )
            for name, decided in outputs.items()
        }
        return checkpoints.Fit.of_several(fits, list(own.values()), pattern)

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
        """Raises UserError where --max_seq_length is beyond the position table."""
        if self.max_length is None:
            return
        name, longest = self.max_length
        if max_seq_length > longest:
            raise UserError(
                f"--max_seq_length={max_seq_length}, but the model has only "
                f"{name}={longest}"
            )

    def describe(self) -> dict[str, Any]:
        """What a run's settings keep of the system."""
        return {"model_type": self.model_type, **self.config.to_dict()}


def open_system(
    checkpoint: checkpoints.Checkpoint, do_lower_case: bool | None = None
) -> System:
    """Returns the system of a model that is used as it is, not trained.

    Args:
      checkpoint: its weights, with what lies beside them.
      do_lower_case: of a tokenizer of which the folder does not tell it; None: yes.

    Raises:
      UserError: there is no config, or no vocabulary, which the system needs; or they
        do not belong together; or the folder says otherwise of the case.
    """
    config, vocab_file = checkpoint.config, checkpoint.vocab_file
    if config is None:
        raise UserError(f"{checkpoint.path}: there is no config beside the weights")
    known = checkpoint.do_lower_case
    if None not in (known, do_lower_case) and known != do_lower_case:
        raise UserError(
            f"do_lower_case={do_lower_case}, but {checkpoint.path} was trained with "
            f"do_lower_case={known}"
        )
    told = [value for value in (known, do_lower_case, True) if value is not None]
    lower = told[0] if vocab_file else None
    path = checkpoint.path
    found = make_system(config, vocab_file, lower, path, None, new_head=False)
    if vocab_file:
        return found.match_vocabulary()
    if found.needs_vocabulary:
        raise UserError(f"{checkpoint.path}: there is no vocabulary beside it")
    return found


def make_system(config: Any, *args, **kwargs) -> System:
    """Returns the system of an architecture; the other arguments are System's."""
    return registry.of_config(config).load("system")(config, *args, **kwargs)
