"""BERT as tasks use it: WordPiece, one encoder, a head for each kind of task."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import keras
import tensorflow as tf
from absl import logging

import checkpoints
import tokenization
from data_pipeline.feature_spec import FeatureSpec
from data_pipeline.features import bert as features
from data_pipeline.features import tagging_graph
from data_pipeline.features.lines import Layout, bert_layout
from data_pipeline.features.tagging import SpecialIds
from data_pipeline.readers.examples import InputExample
from data_pipeline.squad.pieces import WordPieces
from errors import UserError
from modeling import BertClassifier, BertModel, BertSpanExtractor
from optimization.optimizers import OptimizerConfig, ParameterGroup, encoder_groups
from systems.classification_config import ClassificationConfig
from systems.system import (
    ANSWER,
    CLASSIFIER,
    CLASSIFY,
    CONVERT,
    EXTRACT,
    PRE_TRAIN,
    PRE_TRAINING,
    SPAN,
    TAG,
    TAGGER,
    System,
)
from tasks.task import Batch

_POOLER = r"bert/pooler/.*"


class BertSystem(System):
    """Devlin et al. 2018; its `config` is a BertConfig."""

    model_type = "bert"
    does = frozenset({CLASSIFY, ANSWER, TAG, PRE_TRAIN, EXTRACT, CONVERT})
    reads = frozenset(
        {"do_lower_case", "layer_decay", "resize_vocab", "max_predictions_per_seq"}
        | {"pooling", "long", "mask_cls_sep"}
    )
    tokenizes_in_graph = True
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"output_(weights|bias)",
        SPAN: r"cls/squad/.*",
        PRE_TRAINING: r"cls/(predictions|seq_relationship)/.*",
        TAGGER: r"tagger/.*",
    }
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {r"output_(weights|bias)": (0,)}

    @property
    def max_length(self) -> tuple[str, int]:
        """See System."""
        return "max_position_embeddings", self.config.max_position_embeddings

    @property
    def num_layers(self) -> int:
        """See System."""
        return self.config.num_hidden_layers

    @property
    def hidden_size(self) -> int:
        """See System."""
        return self.config.hidden_size

    def match_vocabulary(self) -> "BertSystem":
        """See System."""
        pieces = len(tokenization.load_vocab(self.vocab_file))
        rows = self.config.vocab_size
        if pieces < rows:  # often to make their number a multiple of 8
            logging.warning(
                "%s has %d pieces, but the model %d rows (vocab_size): the last %d are "
                "never read",
                self.vocab_file,
                pieces,
                rows,
                rows - pieces,
            )
        if pieces <= rows:
            return self
        if self.resize_vocab:
            config = dataclasses.replace(self.config, vocab_size=pieces)
            return dataclasses.replace(self, config=config)
        hint = ""
        if self.resize_vocab is not None:
            hint = ". If the last ones were added, --resize_vocab gives them rows"
        raise UserError(
            f"{self.vocab_file} has {pieces} rows, but the model's configuration says "
            f"vocab_size={rows}: they do not belong together{hint}"
        )

    def tokenizer(self):
        """See System.

        Raises:
          UserError: the vocabulary lacks what stands around texts.
        """
        import tokenization_tf  # tensorflow-text takes a second to load

        made = tokenization_tf.FastTokenizer(self.vocab_file, self.do_lower_case)
        missing = [piece for piece in ("[CLS]", "[SEP]") if piece not in made.vocab]
        if missing:
            raise UserError(f"{self.vocab_file} has no line {', '.join(missing)}")
        return made

    def squad_tokenizer(self) -> WordPieces:
        """See System."""
        return WordPieces(self.vocab_file, self.do_lower_case)

    def special_ids(self, tokenizer) -> SpecialIds:
        """See System."""
        pieces = ("[CLS]", "[SEP]", "[UNK]")
        return SpecialIds(*(features.special_id(tokenizer, piece) for piece in pieces))

    def word_reader(self, max_seq_length: int) -> tagging_graph.WordPieces:
        """See System."""
        import tokenization_tf  # as above

        pieces = list(tokenization.load_vocab(self.vocab_file))
        tokenizer = tokenization_tf.InGraphTokenizer(pieces, self.do_lower_case)
        special = self.special_ids(self.tokenizer())
        return tagging_graph.WordPieces(tokenizer, special, max_seq_length)

    def classification_spec(self, config: ClassificationConfig) -> FeatureSpec:
        """See System; BERT's paper has no multiple choice."""
        if config.output_kind == "multiple_choice":
            raise UserError(
                f"--task_name={config.task_name} is a multiple choice, which BERT does "
                "not do here: wanted a GPT checkpoint"
            )
        return features.classification_spec(config.output_kind, len(config.labels))

    def classification_columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> features.ClassificationColumns:
        """See System."""
        return features.classification_columns(
            examples,
            self.tokenizer(),
            config.max_seq_length,
            config.labels,
            config.output_kind,
        )

    def build_classifier(
        self,
        config: ClassificationConfig,
        *,
        frozen_encoder: bool = False,
        **kwargs,
    ) -> keras.layers.Layer:
        """See System."""
        return BertClassifier(
            self.config, config.num_outputs, frozen_encoder=frozen_encoder, **kwargs
        )

    def classify(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        """See System."""
        inputs = self.encoder_inputs(batch)
        return {"logits": model(**inputs, dropout_seed=dropout_seed)}

    def sentence_layout(self, tokenizer) -> Layout:
        """See System."""
        return bert_layout(tokenizer)

    def encoder_inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """See System."""
        segments = {"segment_ids": batch["segment_ids"]}
        return super().encoder_inputs(batch) | segments

    def build_span_extractor(self, **kwargs) -> keras.layers.Layer:
        """See System."""
        return BertSpanExtractor(self.config, **kwargs)

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        """See System."""
        return BertModel(self.config, **kwargs)

    def optional(
        self, head: str | None, checkpoint: checkpoints.Checkpoint
    ) -> Mapping[str, str]:
        """The pooler, where only the sequence is used, or where it is to be trained."""
        if head != CLASSIFIER:
            return {_POOLER: "not used here"}
        known = any(re.fullmatch(_POOLER, name) for name in checkpoint.shapes)
        if known or not self.new_head:
            return {}
        return {_POOLER: "the file, as of a masked language model, has no pooler"}

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """See optimization.encoder_groups."""
        return encoder_groups(self.config.num_hidden_layers, config)
