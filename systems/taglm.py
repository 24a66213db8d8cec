"""TagLM as tasks see it: a vocabulary of its own, word vectors, a frozen biLM."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

import keras
import numpy as np

import checkpoints
import vocabulary
import word_rules
from checkpoints import taglm
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
from systems.system import TAGGER
from systems.words import WordSystem, choose_words

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
        found, _ = self.system.tokenizer().ids(words)
        speller.seen.unknown += int((found == known.unk).sum())
        speller.report()
        ids = np.append(found, [known.bos, known.eos])
        return dataclasses.replace(
            columns,
            input_ids=ids[columns.input_ids],
            characters=characters[columns.input_ids],
        )


@dataclasses.dataclass(frozen=True)
class TaglmSystem(WordSystem):
    """Peters et al. 2017; its `config` is a TaglmConfig.

    Attributes:
      lm_checkpoint: of a new model: the language model's weights.
    """

    lm_checkpoint: str | None = None

    model_type = "taglm"
    heads: ClassVar[Mapping[str, str]] = {TAGGER: r"tagger/.*"}

    @property
    def num_layers(self) -> int:
        return 2

    @property
    def hidden_size(self) -> int:
        """Of both directions together."""
        return 2 * self.config.rnn_units

    def word_reader(self, max_seq_length: int) -> tagging_graph.WholeWords:
        speller = vocabulary.CharacterEncoder(self.config.max_characters_per_token)
        makers = {
            "input_ids": self.ids_in_graph(),
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
        task_name: str | None = None,
    ) -> None:
        """A new model takes word vectors and language model, if any."""
        if self.init_checkpoint is not None:
            super().initialize(variables, head, outputs, task_name)
            return
        if self.lm_checkpoint is not None:
            frozen = {k: v for k, v in variables.items() if re.match(_LM, k)}
            checkpoint = checkpoints.open_checkpoint(self.lm_checkpoint)
            checkpoints.initialize(frozen, checkpoint, new={}, unused=_LM_UNUSED)
        if self.word_vectors is not None:
            self.set_vectors(variables[taglm.WORDS])

    def save_beside(self, folder: str) -> None:
        taglm.save_beside(folder, self.config, self.vocabulary().words)


def begin(
    config: TaglmConfig | None,
    words: Iterable[str],
    *,
    do_lower_case: bool = True,
    word_vectors: str | None = None,
    lm_checkpoint: str | None = None,
    **rules: str | None,
) -> TaglmSystem:
    """Makes a system to train, whose sizes its text decides.

    Args:
      config: the architecture; `vocab_size` is found, and so are `word_dim` with word
        vectors, and `lm` and `max_characters_per_token` with a language model. None:
        the paper's.
      words: all words of the training text.
      do_lower_case: of the architecture, where `config` is None.
      word_vectors: their file; None: random ones.
      lm_checkpoint: of ELMo's model, in any format that `checkpoints` reads.
      **rules: what finds words in raw text, see word_rules; None: as the config says,
        or the file beside `word_vectors`.

    Raises:
      UserError: the vectors cannot be read, or what the checkpoint holds is no ELMo,
        or one without characters.
    """
    config = config or TaglmConfig(vocab_size=1, do_lower_case=do_lower_case)
    vectors = read_vectors(word_vectors) if word_vectors else None
    chosen = tuple(choose_words(words, vectors, config.do_lower_case))
    config = dataclasses.replace(config, vocab_size=len(chosen))
    told = word_rules.WordRules(**rules), word_rules.of(config)
    found = word_rules.first_said(*told, word_rules.read_beside(word_vectors))
    config = word_rules.with_rules(config, found)
    if vectors is not None:
        config = dataclasses.replace(config, word_dim=vectors.vectors.shape[1])
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
        word_vectors=vectors,
        lm_checkpoint=lm_checkpoint,
    )
