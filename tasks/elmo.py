"""ELMo as tasks see it: words by their characters, two LSTMs that read both ways."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import keras
import tensorflow as tf

import vocabulary
from data_pipeline import tfrecord
from data_pipeline.examples import InputExample
from data_pipeline.feature_spec import FeatureSpec
from modeling import ElmoModel
from optimization import OptimizerConfig, ParameterGroup, elmo_groups
from tasks.classification_config import ClassificationConfig
from tasks.system import CLASSIFIER, PRE_TRAINING, TAGGER, Columns, System
from tasks.task import Batch


class ElmoSystem(System):
    """Peters et al. 2018; its `config` is an ElmoConfig."""

    model_type = "elmo"
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"classifier/.*",
        PRE_TRAINING: r"lm/softmax/.*",
        TAGGER: r"tagger/.*",
    }

    @property
    def max_length(self) -> NoReturn:
        """There is none: LSTMs have no table of positions."""
        raise AttributeError("ELMo reads sentences of any length")

    def check_length(self, max_seq_length: int) -> None:
        """See System; every length will do."""

    @property
    def num_layers(self) -> int:
        """See System."""
        return self.config.lstm.n_layers

    @property
    def hidden_size(self) -> int:
        """See System; of both directions together."""
        return 2 * self.config.lstm.projection_dim

    def match_vocabulary(self) -> "ElmoSystem":
        """See System; the options need not say how many words there are."""
        rows = len(self.tokenizer())
        known = self.config.n_tokens_vocab
        if known is None:
            config = dataclasses.replace(self.config, n_tokens_vocab=rows)
            return dataclasses.replace(self, config=config)
        if rows != known:
            raise ValueError(
                f"{self.vocab_file} has {rows} words, but the model's options say "
                f"n_tokens_vocab={known}: they do not belong together"
            )
        return self

    def tokenizer(self) -> vocabulary.Vocabulary:
        """See System; words are what white space separates."""
        return vocabulary.Vocabulary.from_file(self.vocab_file)

    def fingerprint(self) -> Any:
        """See System; characters need no file."""
        return tfrecord.fingerprint(self.vocab_file) if self.vocab_file else None

    def _refuse(self, what: str) -> NoReturn:
        raise ValueError(
            f"{what} reads word pieces, but ELMo words: wanted a BERT or GPT checkpoint"
        )

    def squad_tokenizer(self) -> NoReturn:
        """See System; not for ELMo."""
        self._refuse("run_squad.py")

    def build_span_extractor(self, **kwargs) -> NoReturn:
        """See System; not for ELMo."""
        self._refuse("run_squad.py")

    def special_ids(self, tokenizer: vocabulary.Vocabulary) -> NoReturn:
        """See System; not for ELMo."""
        self._refuse("run_tagger.py")

    def sentence_layout(self, tokenizer: vocabulary.Vocabulary) -> NoReturn:
        """See System; not for ELMo."""
        self._refuse("this way to extract features")

    def classification_spec(self, config: ClassificationConfig) -> FeatureSpec:
        """See System; not for ELMo."""
        self._refuse("run_classifier.py")

    def classification_columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> Columns:
        """See System; not for ELMo."""
        self._refuse("run_classifier.py")

    def build_classifier(
        self, config: ClassificationConfig, *, frozen_encoder: bool = False, **kwargs
    ) -> keras.layers.Layer:
        """See System; not for ELMo."""
        self._refuse("run_classifier.py")

    def classify(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """See System; not for ELMo."""
        self._refuse("run_classifier.py")

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        """See System."""
        return ElmoModel(self.config, **kwargs)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """No decay of vectors; see optimization.elmo_groups."""
        return elmo_groups(config)
