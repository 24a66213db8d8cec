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

import registry
from data_pipeline import batching
from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.features.tagging import TaggingColumns
from data_pipeline.readers.conll import TaggedText
from data_pipeline.readers.examples import InputExample
from data_pipeline.squad.answers import AnswerConfig
from data_pipeline.squad.features import WindowConfig
from data_pipeline.squad.pieces import SquadTokenizer
from errors import UserError
from modeling.tagger import Tagger
from systems.classification_config import ClassificationConfig
from systems.multitask_config import PartConfig


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
      chooses: whether it can choose among several texts: output_kind multiple_choice.
      asks_replicas: see Task.
      classifier: the model, of the system's config, outputs and `frozen_encoder`; a
        system whose model wants more writes `build` itself.
    """

    has_lm_losses: ClassVar[bool] = False
    chooses: ClassVar[bool] = False
    asks_replicas: ClassVar[bool] = False
    classifier: ClassVar[type[keras.layers.Layer]]

    def check(self, config: ClassificationConfig) -> None:
        """Refuses a task that the system cannot do.

        Raises:
          UserError: it is a multiple choice; names the systems that can choose.
        """
        if config.output_kind != "multiple_choice" or self.chooses:
            return
        names = registry.model_types("classifies")
        able = [n for n in names if registry.need(n, "classifies").chooses]
        raise UserError(
            f"--task_name={config.task_name} is a multiple choice, which "
            f"{self.system.model_type} does not do: {config.script} takes "
            f"{', '.join(sorted(able))} for it"
        )

    def buckets(self, max_seq_length: int, static_shapes: bool) -> tuple[int, ...]:
        """Returns the lengths, ascending, to which batches are padded.

        Args:
          max_seq_length: of the task.
          static_shapes: whether there may be one length only.

        Raises:
          UserError: there may, and the system cannot do with one.
        """
        if static_shapes:
            return (max_seq_length,)
        return batching.default_buckets(max_seq_length)

    @abc.abstractmethod
    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        """Declares what a record of a task has."""

    @abc.abstractmethod
    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> Columns:
        """Tokenizes, truncates and lays out a data set of a task."""

    def build(
        self, config: ClassificationConfig, *, frozen_encoder: bool = False, **kwargs
    ) -> keras.layers.Layer:
        """Makes the encoder with a head.

        Args:
          config: what is to be told.
          frozen_encoder: turns dropout off in the encoder, which is not trained.
          **kwargs: as of Task.build_model.
        """
        return self.classifier(
            self.system.config,
            config.num_outputs,
            frozen_encoder=frozen_encoder,
            **kwargs,
        )

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
        inputs = self.system.encoder_inputs(batch)
        return {"logits": model(**inputs, dropout_seed=dropout_seed)}


class Shares(Capability, abc.ABC):
    """Learns several tasks on one encoder; each is laid out as `Classifies` does."""

    @abc.abstractmethod
    def build(
        self, parts: Sequence[PartConfig], *, frozen_encoder: bool, **kwargs
    ) -> keras.layers.Layer:
        """Makes the encoder with a head for each task.

        Args:
          parts: the tasks.
          frozen_encoder: turns dropout off in the encoder, which is not trained.
          **kwargs: as of Task.build_model.

        Returns:
          A layer, to be called with `task`, the name of one, beside what
          System.encoder_inputs returns and `dropout_seed`; it returns that head's
          float32 [B, outputs]. Without `task` it returns those of all heads, by the
          names of the tasks, from one pass of the encoder.
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
        self,
        num_tags: int,
        *,
        use_crf: bool,
        frozen_encoder: bool,
        layer_mix: bool = False,
        **kwargs,
    ) -> Tagger:
        """Makes the encoder with a head.

        Args:
          num_tags: outputs of the head.
          use_crf: whether a sentence's tags are chosen together.
          frozen_encoder: turns dropout off in the encoder, which is not trained.
          layer_mix: whether a mixture of all layers is read instead of the last one.
          **kwargs: as of Task.build_model.
        """
        return Tagger(
            self.system.build_encoder(**kwargs),
            self.system.hidden_size,
            num_tags,
            use_crf=use_crf,
            dropout_rate=self.dropout_rate,
            mixed_layers=self.system.num_layers + 1 if layer_mix else 0,
            frozen_encoder=frozen_encoder,
            **kwargs,
        )


class Answers(Capability, abc.ABC):
    """Answers questions by a span of a text."""

    @abc.abstractmethod
    def tokenizer(self) -> SquadTokenizer:
        """Loads the vocabulary, for questions and their contexts."""

    @abc.abstractmethod
    def build(self, *, frozen_encoder: bool, **kwargs) -> keras.layers.Layer:
        """Makes the encoder with a head for starts and ends; see Classifies.build."""

    def graph(
        self, windows: WindowConfig, answers: AnswerConfig, language: str
    ) -> tf.Module | None:
        """Returns what cuts windows and chooses answers in a graph, as SquadGraph.

        None where it cannot be done there.
        """
        del windows, answers, language
        return None


class Line(Protocol):
    """A line of text, cut into the units that a system reads.

    Attributes:
      content: bool [T], whether a unit is of the text: False at [CLS] and its like.
      windows: int [S] each, the ascending places in [0, T) that are read together;
        every place is in one window at least.
      dropped_tokens: units that were cut off.
    """

    content: np.ndarray
    windows: tuple[np.ndarray, ...]
    dropped_tokens: int


class TextReader(Protocol):
    """Lines of text as an encoder reads them, inside a graph."""

    def __call__(self, texts: tf.Tensor) -> tuple[Batch, tf.Tensor]:
        """Takes string [B]; returns inputs of B rows, and int [B, S], 1 = a unit."""
        ...


class Extracts(Capability, abc.ABC):
    """Gives the vectors of lines of text and of the units that they are cut into.

    Attributes:
      units: what the units are, in messages.
      depth: how many layers there are, numbered from 0.
      default_layers: those of every unit's vectors, where none are asked for.
      many_devices: whether a batch may be split over several.
      has_cls: whether [CLS] stands before a line, whose output pooling "cls" takes.
      words_in_graph: whether units are words, which System.word_reader reads: a
        SavedModel gives their vectors.
      compiles: whether something is compiled for each length and number of rows.
    """

    units: ClassVar[str] = "pieces"
    many_devices: ClassVar[bool] = True
    has_cls: ClassVar[bool] = False
    words_in_graph: ClassVar[bool] = False
    compiles: ClassVar[bool] = True

    @property
    def depth(self) -> int:
        """How many layers there are."""
        return self.system.num_layers

    @property
    @abc.abstractmethod
    def default_layers(self) -> tuple[int, ...]:
        """The layers of every unit's vectors, where none are asked for."""

    def check_length(self, max_seq_length: int, in_windows: bool) -> None:
        """Refuses a length that the encoder cannot read.

        Args:
          max_seq_length: units of the longest window.
          in_windows: whether longer lines are read in several.

        Raises:
          UserError: tells the lengths that it can.
        """

    def buckets(self, max_seq_length: int) -> Sequence[int]:
        """Returns the lengths, ascending, to which batches of windows are padded."""
        return batching.default_buckets(max_seq_length)

    @abc.abstractmethod
    def lines(
        self, texts: Sequence[str], max_seq_length: int, in_windows: bool
    ) -> Sequence[Line]:
        """Cuts texts into units.

        Args:
          texts: a line each, or a pair as `a ||| b`.
          max_seq_length: units of the longest window.
          in_windows: whether a longer line is read in several windows, or cut.
        """

    @abc.abstractmethod
    def lines_of_units(
        self, texts: Sequence[Sequence[str]], max_seq_length: int
    ) -> Sequence[Line]:
        """Takes texts that are cut into units already; longer ones are cut short.

        Args:
          texts: the units of each, as `tokens` would write them, without special ones;
            of pieces, `|||` stands between the texts of a pair. What the vocabulary
            does not have is read as unknown.
          max_seq_length: as of `lines`.
        """

    @abc.abstractmethod
    def cut(
        self, sentences: Sequence[Sequence[str]]
    ) -> Iterator[tuple[Sequence[str], np.ndarray]]:
        """Cuts words into units.

        Args:
          sentences: the words of each.

        Yields:
          The units of a sentence, as `lines_of_units` takes them, and int [words], how
          many are of each word: 1 at the least.
        """

    def units_of_ids(self, ids: Sequence[int]) -> list[str]:
        """Returns the units that ids of the vocabulary stand for.

        Raises:
          UserError: units have no ids, or none such.
        """
        raise UserError(
            f"{self.system.model_type} reads {self.units}, which have no ids: wanted "
            "texts"
        )

    @abc.abstractmethod
    def tokens(self, line: Line) -> Sequence[str]:
        """Returns the T units of a line as they are written."""

    @abc.abstractmethod
    def batch(
        self, rows: Sequence[tuple[Line, np.ndarray]], length: int
    ) -> dict[str, np.ndarray]:
        """Lays windows out as the encoder reads them.

        Args:
          rows: B lines, each with one of its windows.
          length: of `buckets`, no shorter than the longest window.

        Returns:
          Arrays of B rows, padded.
        """

    def zero_states(self, model: keras.layers.Layer) -> Any:
        """Returns the states of a row before the first line; None: there are none."""
        del model

    @abc.abstractmethod
    def layer_outputs(
        self,
        model: keras.layers.Layer,
        batch: Batch,
        states: Any = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[Sequence[tf.Tensor], Any]:
        """Runs the encoder.

        Args:
          model: what System.build_encoder made.
          batch: what `batch` laid out, or some rows of it.
          states: of its rows before this batch, as of `zero_states`; None: zeros.
          dropout_seed: int32 [2]; None turns dropout off.

        Returns:
          Each layer's outputs, float [B, length, width]; the states after the batch.
        """

    def text_reader(self, max_seq_length: int) -> TextReader | None:
        """Returns what lays texts out in a graph as `lines` and `batch` do.

        None where it cannot be done there.
        """
        del max_seq_length
        return None

    def read_ids(self, ids: tf.Tensor) -> tuple[Batch, tf.Tensor]:
        """Lays ids of the vocabulary out in a graph.

        Args:
          ids: int32 [B, S], below 0 behind the end of a line.

        Returns:
          As a TextReader.

        Raises:
          UserError: units have no ids.
        """
        raise UserError(
            f"{self.system.model_type} reads {self.units}, which have no ids: wanted "
            "texts"
        )

    def check_pooler(self) -> None:
        """Refuses a system, or weights of it, without a pooler.

        Raises:
          UserError: what --pooling=cls_pooled takes is not there.
        """
        raise UserError(
            f"--pooling=cls_pooled: {self.system.model_type} has no pooler; wanted "
            "another pooling"
        )

    def pooled_output(self, model: keras.layers.Layer, batch: Batch) -> tf.Tensor:
        """Runs the encoder, and its pooler; only after `check_pooler`.

        Args:
          model: what System.build_encoder made.
          batch: as of `layer_outputs`.

        Returns:
          float32 [B, width].
        """
        raise NotImplementedError

    def report(self) -> None:
        """Logs what happened to units on the way, after the last line."""


class Generates(Capability, abc.ABC):
    """Continues texts; the encoder is an inference.generation.LanguageModel.

    Attributes:
      stop_id: the token that ends a text, and is no part of it; None: none does.
      never: tokens that are never written.
    """

    stop_id: int | None
    never: Sequence[int] = ()

    @abc.abstractmethod
    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Returns the tokens of prompts; of one without any, what begins a text.

        Raises:
          UserError: nothing begins a text.
        """

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of tokens."""
