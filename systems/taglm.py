"""TagLM as tasks see it: a vocabulary of its own, word vectors, a frozen biLM."""

import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NoReturn

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
import vocabulary
from checkpoints import taglm
from checkpoints.word_vectors import WordVectors
from checkpoints.word_vectors import read as read_vectors
from data_pipeline.feature_spec import FeatureSpec
from data_pipeline.features import tagging as tagging_features
from data_pipeline.features import tagging_graph
from data_pipeline.features.tagging import TaggingColumns
from data_pipeline.readers.conll import TaggedText
from errors import UserError
from modeling import ElmoConfig, TaglmConfig, TaglmModel
from optimization.groups import ParameterGroup, depth_groups
from optimization.optimizers import OptimizerConfig
from systems.capabilities import Tags
from systems.system import TAGGER, System
from systems.words import DIGIT, WordTokenizer, choose_words

_LM = r"^lm/"
_LM_UNUSED = {r"lm/softmax/.*": "the language model predicts no words here"}


class TaglmTagging(Tags):
    """Words by a vocabulary of the system's own, and by their characters."""

    @property
    def dropout_rate(self) -> float:
        """What the paper has on the last RNN's output."""
        return self.system.config.output_dropout

    @property
    def spec(self) -> FeatureSpec:
        return tagging_features.word_spec(self.system.config.max_characters_per_token)

    def columns(
        self, text: TaggedText, tag_ids: np.ndarray, max_seq_length: int
    ) -> TaggingColumns:
        """A row has the spelling of each word, too."""
        columns = tagging_features.word_columns(text, tag_ids, max_seq_length)
        words, known = text.words.tolist(), self.system.vocabulary()
        speller = vocabulary.CharacterEncoder(
            self.system.config.max_characters_per_token
        )
        characters = speller.encode([*words, speller.bos, speller.eos]) + 1
        speller.report_cuts()
        ids = np.append(self.system.tokenizer().ids(words)[0], [known.bos, known.eos])
        return dataclasses.replace(
            columns,
            input_ids=ids[columns.input_ids],
            characters=characters[columns.input_ids],
        )


@dataclasses.dataclass(frozen=True)
class TaglmSystem(System):
    """Peters et al. 2017; its `config` is a TaglmConfig.

    Attributes:
      words: the vocabulary of a new model, which has no file yet.
      word_vectors: of a new model.
      lm_checkpoint: of a new model: the language model's weights.
    """

    words: tuple[str, ...] | None = None
    word_vectors: WordVectors | None = None
    lm_checkpoint: str | None = None

    model_type = "taglm"
    heads: ClassVar[Mapping[str, str]] = {TAGGER: r"tagger/.*"}

    @property
    def max_length(self) -> NoReturn:
        """There is none: RNNs have no table of positions."""
        raise AttributeError("TagLM reads sentences of any length")

    def check_length(self, max_seq_length: int) -> None:
        """Every length will do."""

    @property
    def num_layers(self) -> int:
        return 2

    @property
    def hidden_size(self) -> int:
        """Of both directions together."""
        return 2 * self.config.rnn_units

    def vocabulary(self) -> vocabulary.Vocabulary:
        """Returns the words that have a vector."""
        if self.words is not None:
            return vocabulary.Vocabulary(self.words)
        return vocabulary.Vocabulary.from_exact_file(self.vocab_file)

    def match_vocabulary(self) -> "TaglmSystem":
        rows = len(self.vocabulary())
        if rows != self.config.vocab_size:
            raise UserError(
                f"{self.vocab_file} has {rows} words, but the model's configuration "
                f"says vocab_size={self.config.vocab_size}: they do not belong together"
            )
        return self

    def tokenizer(self) -> WordTokenizer:
        return WordTokenizer(self.vocabulary(), self.config.do_lower_case)

    def fingerprint(self) -> Any:
        """Of the words, which may have no file."""
        words = "\n".join(self.vocabulary().words)
        return hashlib.sha256(words.encode()).hexdigest()

    def word_reader(self, max_seq_length: int) -> tagging_graph.WholeWords:
        """Words are looked up as `WordTokenizer` does it."""

        def normalized(words):
            words = tf.strings.regex_replace(words, DIGIT.pattern, "0")
            return vocabulary.lower(words) if self.config.do_lower_case else words

        def lowered(words):
            return vocabulary.lower(normalized(words))

        speller = vocabulary.CharacterEncoder(self.config.max_characters_per_token)
        makers = {
            "input_ids": self.vocabulary().in_graph(spellings=(normalized, lowered)),
            "characters": speller.in_graph(),
        }
        marks = (speller.bos, speller.eos)
        return tagging_graph.WholeWords(makers, marks, max_seq_length)

    def build_encoder(self, **kwargs) -> TaglmModel:
        return TaglmModel(self.config, **kwargs)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """The language model is frozen."""
        depths = [(r"^taglm/", float(config.finetune_encoder)), ("", 1.0)]
        if self.config.lm is not None:
            depths.insert(0, (_LM, 0.0))
        return depth_groups(depths, config.weight_decay)

    def initialize(
        self,
        variables: Mapping[str, keras.Variable],
        head: str | None,
        outputs: checkpoints.Outputs | None = None,
    ) -> None:
        """A new model takes word vectors and language model, if any."""
        if self.init_checkpoint is not None:
            super().initialize(variables, head, outputs)
            return
        if self.lm_checkpoint is not None:
            frozen = {k: v for k, v in variables.items() if re.match(_LM, k)}
            checkpoint = checkpoints.open_checkpoint(self.lm_checkpoint)
            checkpoints.initialize(frozen, checkpoint, new={}, unused=_LM_UNUSED)
        if self.word_vectors is not None:
            self._set_vectors(variables[taglm.WORDS])

    def _set_vectors(self, table: keras.Variable) -> None:
        places = {word: i for i, word in enumerate(self.word_vectors.words)}
        words = self.vocabulary().words
        rows = np.array([places.get(w, places.get(w.lower(), -1)) for w in words])
        logging.info(
            "%d of %d words have a pre-trained vector", (rows >= 0).sum(), len(rows)
        )
        found = self.word_vectors.vectors[rows]
        table.assign(np.where(rows[:, None] >= 0, found, table.numpy()))

    def save_beside(self, folder: str) -> None:
        taglm.save_beside(folder, self.config, self.vocabulary().words)


def new_system(
    config: TaglmConfig,
    words: Iterable[str],
    *,
    word_vectors: WordVectors | None = None,
    lm_checkpoint: str | None = None,
) -> TaglmSystem:
    """Makes a system to train, whose sizes its text decides.

    Args:
      config: the architecture; `vocab_size` is found, and so are `word_dim` with word
        vectors, and `lm` and `max_characters_per_token` with a language model.
      words: all words of the training text.
      word_vectors: pre-trained; None = random ones.
      lm_checkpoint: of ELMo's model, in any format that `checkpoints` reads.

    Raises:
      UserError: what the checkpoint holds is no ELMo, or one without characters.
    """
    chosen = tuple(choose_words(words, word_vectors, config.do_lower_case))
    config = dataclasses.replace(config, vocab_size=len(chosen))
    if word_vectors is not None:
        width = word_vectors.vectors.shape[1]
        config = dataclasses.replace(config, word_dim=width)
    if lm_checkpoint is not None:
        found = checkpoints.open_checkpoint(lm_checkpoint).config
        if not isinstance(found, ElmoConfig):
            raise UserError(
                f"--lm_checkpoint={lm_checkpoint} is of {type(found).__name__}; wanted "
                "ELMo's weights, with options.json beside them"
            )
        config = config.with_lm(found)
    return TaglmSystem(
        config,
        do_lower_case=config.do_lower_case,
        words=chosen,
        word_vectors=word_vectors,
        lm_checkpoint=lm_checkpoint,
    )


def begin(
    config: TaglmConfig | None,
    words: Iterable[str],
    *,
    do_lower_case: bool,
    word_vectors: str | None,
    lm_checkpoint: str | None,
) -> TaglmSystem:
    """Makes a system to train for a text, from the flags of a script.

    Args:
      config: as of `new_system`; None: the paper's.
      words: all words of the training text.
      do_lower_case: of the architecture, where `config` is None.
      word_vectors: their file.
      lm_checkpoint: as of `new_system`.

    Raises:
      UserError: see `new_system` and checkpoints.word_vectors.read.
    """
    return new_system(
        config or TaglmConfig(vocab_size=1, do_lower_case=do_lower_case),
        words,
        word_vectors=read_vectors(word_vectors) if word_vectors else None,
        lm_checkpoint=lm_checkpoint,
    )
