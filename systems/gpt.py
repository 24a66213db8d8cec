"""GPT as tasks see it: byte pair encoding, one decoder, a head for each task."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

import checkpoints
import tokenization_bpe
from data_pipeline import tfrecord
from data_pipeline.feature_spec import FeatureSpec
from data_pipeline.features import gpt as gpt_features
from data_pipeline.features.lines import Layout
from data_pipeline.features.tagging import SpecialIds
from data_pipeline.readers.examples import InputExample
from data_pipeline.squad.pieces import BytePairs
from errors import UserError
from modeling import GptClassifier, GptModel, GptSpanExtractor
from optimization.optimizers import OptimizerConfig, ParameterGroup, gpt_groups
from systems.classification_config import ClassificationConfig
from systems.system import (
    ANSWER,
    CLASSIFIER,
    CLASSIFY,
    CONVERT,
    EXTRACT,
    GENERATE,
    PRE_TRAIN,
    SPAN,
    TAG,
    TAGGER,
    System,
)
from tasks.task import Batch

_START, _DELIMITER, _CLASSIFY = "_start_", "_delimiter_", "_classify_"


class GptSystem(System):
    """Radford et al. 2018; its `config` is a GptConfig."""

    model_type = "gpt"
    does = frozenset({CLASSIFY, ANSWER, TAG, PRE_TRAIN, EXTRACT, GENERATE, CONVERT})
    reads = frozenset(
        {"do_lower_case", "layer_decay", "resize_vocab", "ngram_baseline"}
        | {"lm_coef", "symmetric", "pooling", "long"}
    )
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"clf/.*",
        SPAN: r"squad/.*",
        TAGGER: r"tagger/.*",
    }
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {"clf/w": (1,), "clf/b": (0,)}
    reads_left_to_right = True
    has_lm_losses = True

    @property
    def max_length(self) -> tuple[str, int]:
        """See System."""
        return "n_ctx", self.config.n_ctx

    @property
    def num_layers(self) -> int:
        """See System."""
        return self.config.n_layer

    @property
    def hidden_size(self) -> int:
        """See System."""
        return self.config.n_embd

    def match_vocabulary(self) -> "GptSystem":
        """See System."""
        rows = len(self.tokenizer().vocab)
        known = self.config.n_vocab
        if rows == known:
            return self
        if self.resize_vocab and rows > known:
            config = dataclasses.replace(self.config, n_vocab=rows)
            return dataclasses.replace(self, config=config)
        raise UserError(
            f"{self.vocab_file} has {rows} pieces, but the model's configuration says "
            f"n_vocab={known}: they do not belong together"
        )

    def tokenizer(self) -> tokenization_bpe.TextEncoder:
        """See System.

        Raises:
          UserError: upper case is to be kept.
        """
        if self.do_lower_case is False:
            raise UserError(
                "--do_lower_case=False, but GPT's byte pairs are of lower-cased text"
            )
        return tokenization_bpe.load(self.vocab_file)

    def squad_tokenizer(self) -> BytePairs:
        """See System."""
        return BytePairs(self.vocab_file, self.special_tokens())

    def fingerprint(self) -> Any:
        """See System; the merges count too."""
        merges = tokenization_bpe.merges_beside(self.vocab_file)
        return [tfrecord.fingerprint(path) for path in (self.vocab_file, merges)]

    def with_special_tokens(self) -> "GptSystem":
        """See System; a pre-trained model has none of the three."""
        return dataclasses.replace(
            self, config=dataclasses.replace(self.config, n_special=3)
        )

    def special_ids(self, tokenizer: tokenization_bpe.TextEncoder) -> SpecialIds:
        """See System."""
        special = self.special_tokens()
        return SpecialIds(special.start, special.classify, tokenizer.unknown_id)

    def special_tokens(self) -> gpt_features.SpecialTokens:
        """Returns the ids of what stands around texts.

        Raises:
          UserError: the model has no rows for them; see `with_special_tokens`.
        """
        names = (_START, _DELIMITER, _CLASSIFY)
        return gpt_features.SpecialTokens(*map(self.config.special_id, names))

    def classification_spec(self, config: ClassificationConfig) -> FeatureSpec:
        """See System."""
        return gpt_features.classification_spec(
            config.output_kind, config.symmetric, len(config.labels)
        )

    def classification_columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> gpt_features.GptColumns:
        """See System."""
        return gpt_features.classification_columns(
            examples,
            self.tokenizer(),
            self.special_tokens(),
            config.max_seq_length,
            config.labels,
            config.output_kind,
            config.symmetric,
        )

    def build_classifier(
        self,
        config: ClassificationConfig,
        *,
        frozen_encoder: bool = False,
        **kwargs,
    ) -> keras.layers.Layer:
        """See System."""
        combine = "sum" if config.symmetric else "single"
        if config.output_kind == "multiple_choice":
            combine = "choice"
        return GptClassifier(
            self.config,
            config.num_outputs,
            combine=combine,
            frozen_encoder=frozen_encoder,
            **kwargs,
        )

    def classify(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """See System."""
        ids = batch["input_ids"]
        if ids.shape.rank == 3:
            ids = tf.transpose(ids, [0, 2, 1])  # [B, R, S]
        return model(ids, dropout_seed=dropout_seed)

    def sentence_layout(self, tokenizer: tokenization_bpe.TextEncoder) -> Layout:
        """See System: nothing, as in pre-training; of no text at all, <unk>."""
        return Layout(empty=(tokenizer.unknown_id,))

    def build_span_extractor(self, **kwargs) -> keras.layers.Layer:
        """See System."""
        return GptSpanExtractor(self.config, **kwargs)

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        """See System."""
        return GptModel(self.config, **kwargs)

    def rows(
        self, checkpoint: checkpoints.Checkpoint
    ) -> Mapping[str, checkpoints.Rows]:
        """See System; a file may lack special tokens, and have more positions."""
        return checkpoints.embedding_rows(
            checkpoint, self.config, resize_vocab=self.resize_vocab
        )

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """See optimization.gpt_groups."""
        return gpt_groups(self.config.n_layer, config)
