"""XLM as tasks see it: byte pairs of many languages, one encoder that is told which."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

import tokenization_xlm
from data_pipeline import tfrecord
from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.features import xlm as features
from data_pipeline.features.lines import Layout
from data_pipeline.features.tagging import SpecialIds
from data_pipeline.readers.examples import InputExample
from data_pipeline.squad.pieces import LanguagePairs
from errors import UserError
from modeling.xlm import SCOPE, XlmClassifier, XlmModel, XlmSpanExtractor
from optimization.groups import ParameterGroup, depth_groups
from optimization.optimizers import OptimizerConfig
from systems.capabilities import Answers, Classifies
from systems.classification_config import ClassificationConfig
from systems.pieces import ReadsPieces, TagsPieces
from systems.system import CLASSIFIER, PRE_TRAINING, SPAN, TAGGER, System
from tokenization_xlm import EOS, UNK, BytePairs, XlmTokenizer


class XlmClassification(Classifies):
    """One or two texts, told by the first position (the paper's section 5.1)."""

    classifier = XlmClassifier

    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        return features.classification_spec(config.output_kind, len(config.labels))

    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> features.XlmColumns:
        self.system.check_languages(examples)
        languages = [e.language or self.system.told_language() for e in examples]
        known = self.system.config.languages
        return features.classification_columns(
            examples,
            languages,
            [known.index(name) for name in languages],
            self.system.tokenizer(languages[0]).of,
            EOS,
            config.max_seq_length,
            config.labels,
            config.output_kind,
        )


class XlmTagging(TagsPieces):
    """A word is told by its first piece, as BERT's."""

    def special_ids(self, tokenizer: XlmTokenizer) -> SpecialIds:
        del tokenizer
        return SpecialIds(EOS, EOS, UNK)


class XlmAnswers(Answers):
    """Question and context are one input, of one language."""

    def tokenizer(self) -> LanguagePairs:
        return LanguagePairs(self.system.tokenizer())

    def build(self, **kwargs) -> keras.layers.Layer:
        language = self.system.told_language()
        return XlmSpanExtractor(self.system.config, language=language, **kwargs)


class XlmLines(ReadsPieces):
    """A line, or a pair, of the language that is told."""

    has_cls = True

    def layout(self, tokenizer: XlmTokenizer) -> Layout:
        del tokenizer
        return Layout((EOS,), (EOS,))

    def unknown_id(self, tokenizer: XlmTokenizer) -> int:
        return tokenizer.unknown_id


@dataclasses.dataclass(frozen=True)
class XlmSystem(System):
    """Lample and Conneau 2019; its `config` is an XlmConfig.

    Attributes:
      language: of texts of which no other is told; None: not known.
    """

    language: str | None = None

    model_type = "xlm"
    packs = True
    tells_languages = True
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"classifier/.*",
        SPAN: r"cls/squad/.*",
        PRE_TRAINING: r"pred_layer/.*",
        TAGGER: r"tagger/.*",
    }
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {
        r"classifier/output_(weights|bias)": (0,)
    }

    @property
    def max_length(self) -> tuple[str, int]:
        return "max_position_embeddings", self.config.max_position_embeddings

    @property
    def num_layers(self) -> int:
        return self.config.n_layers

    @property
    def hidden_size(self) -> int:
        return self.config.emb_dim

    def in_language(self, language: str | None) -> "XlmSystem":
        if language is None:
            return self
        self.language_id(language)
        return dataclasses.replace(self, language=language)

    def language_id(self, language: str) -> int:
        """Returns the id of a language that the model knows; see XlmConfig."""
        return self.config.language_id(language)

    def check_languages(self, examples: Sequence[InputExample]) -> None:
        """See System."""
        known = self.config.languages
        for example in examples:
            if example.language is not None and example.language not in known:
                raise UserError(
                    f"{example.guid}: language {example.language!r}; the model knows "
                    f"{', '.join(known)}"
                )

    def told_language(self) -> str:
        """Returns the language of texts of which none is told.

        Raises:
          UserError: the model knows several, and none was chosen.
        """
        if self.language is not None:
            return self.language
        if len(self.config.languages) > 1:
            known = ", ".join(self.config.languages)
            raise UserError(f"--language is not given: the model knows {known}")
        return self.config.languages[0]

    def match_vocabulary(self) -> "XlmSystem":
        """Takes the case that the config tells; a vocabulary may be longer than it."""
        found, known = len(self._pieces.vocab), self.config.n_words
        if known is not None and found < known:
            raise UserError(
                f"{self.vocab_file} has {found} pieces, but the model's configuration "
                f"says n_words={known}: they do not belong together"
            )
        config = dataclasses.replace(self.config, n_words=found)
        return dataclasses.replace(
            self, config=config, do_lower_case=config.do_lower_case
        )

    @functools.cached_property
    def _pieces(self) -> BytePairs:
        return BytePairs(self.vocab_file, self.config.n_words)

    def tokenizer(self, language: str | None = None) -> XlmTokenizer:
        """Loads the vocabulary, and the codes beside it.

        Args:
          language: of the texts; None: see `told_language`.
        """
        language = language or self.told_language()
        return XlmTokenizer(self._pieces, language, self.config.do_lower_case)

    def entries(self) -> list[str]:
        return list(self._pieces.vocab)

    def fingerprint(self) -> Any:
        """The codes and the language count too."""
        codes = tokenization_xlm.codes_beside(self.vocab_file)
        files = [tfrecord.fingerprint(path) for path in (self.vocab_file, codes)]
        return [*files, self.config.n_words, self.language, *self.config.languages]

    def encoder_inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Languages are in a classifier's records only."""
        names = {features.LANGUAGE_IDS} & set(batch)
        return super().encoder_inputs(batch) | {name: batch[name] for name in names}

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        return XlmModel(self.config, language=self.told_language(), **kwargs)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """The learning rates fall from layer to layer as in bert.encoder_groups."""
        layers = self.config.n_layers
        decay = config.layer_decay if config.finetune_encoder else 0.0
        depths = [
            (rf"^{SCOPE}/encoder/layer_{i}/", decay ** (layers - i))
            for i in range(layers)
        ]
        depths.append((rf"^{SCOPE}/embeddings/", decay ** (layers + 1)))
        return depth_groups([*depths, (rf"^(?!{SCOPE}/)", 1.0)], config.weight_decay)
