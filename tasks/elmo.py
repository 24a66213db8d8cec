"""ELMo as tasks see it: words by their characters, two LSTMs that read both ways."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import keras
import tensorflow as tf

import vocabulary
from data_pipeline import elmo_features, tfrecord
from data_pipeline.examples import InputExample
from data_pipeline.feature_spec import FeatureSpec
from modeling import ElmoClassifier, ElmoModel
from optimization import OptimizerConfig, ParameterGroup, elmo_groups
from tasks.classification_config import ClassificationConfig
from tasks.system import CLASSIFIER, PRE_TRAINING, TAGGER, System
from tasks.task import Batch


class ElmoSystem(System):
    """Peters et al. 2018; its `config` is an ElmoConfig."""

    model_type = "elmo"
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"classifier/.*",
        PRE_TRAINING: r"lm/softmax/.*",
        TAGGER: r"tagger/.*",
    }

    finetunes_by_default = False

    @property
    def max_length(self) -> NoReturn:
        """There is none: LSTMs have no table of positions."""
        raise AttributeError("ELMo reads sentences of any length")

    def check_length(self, max_seq_length: int) -> None:
        """See System; every length will do."""

    @property
    def needs_vocabulary(self) -> bool:
        """See System; not where words are read by their characters."""
        return self.config.char_cnn is None

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
        """See System; of the kinds of task BERT has here."""
        if config.output_kind == "multiple_choice":
            raise ValueError(
                f"--task_name={config.task_name} is a multiple choice, which ELMo does "
                "not do here: wanted a GPT checkpoint"
            )
        cnn = self.config.char_cnn
        return elmo_features.classification_spec(
            config.output_kind,
            len(config.labels),
            cnn and cnn.max_characters_per_token,
        )

    def classification_columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> elmo_features.ElmoColumns:
        """See System; words are what white space separates."""
        cnn = self.config.char_cnn
        known = self.tokenizer() if self.vocab_file else None
        if cnn:
            characters = cnn.max_characters_per_token
            spell = vocabulary.CharacterEncoder(characters, known).encode
        else:
            spell = known.ids
        return elmo_features.classification_columns(
            examples,
            lambda words: spell(words) + 1,  # 0 is padding
            config.max_seq_length,
            config.labels,
            config.output_kind,
        )

    def build_classifier(
        self, config: ClassificationConfig, *, frozen_encoder: bool = False, **kwargs
    ) -> ElmoClassifier:
        """See System."""
        return ElmoClassifier(
            self.config, config.num_outputs, frozen_encoder=frozen_encoder, **kwargs
        )

    def classify(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """See System."""
        return model(batch["input_ids"], dropout_seed=dropout_seed)

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        """See System."""
        return ElmoModel(self.config, **kwargs)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """No decay of vectors; see optimization.elmo_groups."""
        return elmo_groups(config)
