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
import tokenization_unigram
from checkpoints import google_bert
from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.features import bert as features
from data_pipeline.features import tagging_graph
from data_pipeline.features.lines import Layout, bert_layout
from data_pipeline.features.tagging import SpecialIds
from data_pipeline.features.tokens import special_id
from data_pipeline.readers.examples import InputExample
from data_pipeline.squad.answers import AnswerConfig
from data_pipeline.squad.features import WindowConfig
from data_pipeline.squad.pieces import UnigramPieces, WordPieces
from errors import UserError
from modeling import BertClassifier, BertModel, BertSpanExtractor, mt_dnn
from optimization.groups import ParameterGroup, depth_groups
from optimization.optimizers import OptimizerConfig
from systems.capabilities import Answers, Classifies, Shares
from systems.classification_config import ClassificationConfig
from systems.multitask_config import PartConfig
from systems.pieces import ReadsPieces, TagsPieces
from systems.system import CLASSIFIER, PRE_TRAINING, SHARED, SPAN, TAGGER, System

_POOLER = r"bert/pooler/.*"


class BertClassification(Classifies):
    """One or two texts, told by [CLS] (the paper's section 4.1)."""

    classifier = BertClassifier

    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        return features.classification_spec(config.output_kind, len(config.labels))

    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> features.ClassificationColumns:
        return features.classification_columns(
            examples,
            self.system.tokenizer(),
            config.max_seq_length,
            config.labels,
            config.output_kind,
        )


class BertSharing(Shares):
    """MT-DNN: a head for each task (Liu et al. 2019, section 3.1)."""

    def build(self, parts: Sequence[PartConfig], **kwargs) -> keras.layers.Layer:
        return mt_dnn.MtDnnModel(
            self.system.config,
            {part.task_name: _head(part) for part in parts},
            **kwargs,
        )


def _head(part: PartConfig) -> mt_dnn.HeadConfig:
    kinds = {"single_label": mt_dnn.CLASSIFICATION}
    kind = kinds.get(part.output_kind, part.output_kind)
    return mt_dnn.HeadConfig(kind, part.num_outputs, part.enable_san, part.dropout_p)


class BertTagging(TagsPieces):
    """A word is told by its first piece (section 5.3)."""

    def special_ids(self, tokenizer) -> SpecialIds:
        pieces = ("[CLS]", "[SEP]", "[UNK]")
        return SpecialIds(*(special_id(tokenizer, piece) for piece in pieces))


class BertAnswers(Answers):
    """Question and context are one input (section 4.2)."""

    def tokenizer(self) -> WordPieces | UnigramPieces:
        if self.system.has_unigrams:
            return UnigramPieces(self.system.vocab_file)
        return WordPieces(self.system.vocab_file, self.system.do_lower_case)

    def graph(
        self, windows: WindowConfig, answers: AnswerConfig, language: str
    ) -> tf.Module | None:
        if self.system.has_unigrams:
            return None
        from data_pipeline.squad.graph import SquadGraph  # reads tokenization_tf

        vocab = list(tokenization.load_vocab(self.system.vocab_file))
        return SquadGraph(vocab, windows, answers, language)

    def build(self, **kwargs) -> keras.layers.Layer:
        return BertSpanExtractor(self.system.config, **kwargs)


class BertLines(ReadsPieces):
    """A line, or a pair, as in pre-training."""

    has_cls = True

    def layout(self, tokenizer) -> Layout:
        return bert_layout(tokenizer)

    def check_pooler(self) -> None:
        path = self.system.init_checkpoint
        shapes = checkpoints.open_checkpoint(path).shapes
        if not any(re.fullmatch(_POOLER, name) for name in shapes):
            raise UserError(
                f"--pooling=cls_pooled: {path}, as of a masked language model, has no "
                "pooler; wanted another pooling"
            )

    def pooled_output(self, model: keras.layers.Layer, batch: Batch) -> tf.Tensor:
        return model(**self.system.encoder_inputs(batch))["pooled_output"]


class BertSystem(System):
    """Devlin et al. 2018; its `config` is a BertConfig."""

    model_type = "bert"
    packs = True
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"output_(weights|bias)|classifier/.*",
        SPAN: r"cls/squad/.*",
        PRE_TRAINING: r"cls/(predictions|seq_relationship)/.*",
        TAGGER: r"tagger/.*",
        SHARED: rf"{mt_dnn.SCOPE}/.*",
    }
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {
        rf"({mt_dnn.SCOPE}/[^/]+/(classifier/)?)?output_(weights|bias)": (0,)
    }

    @property
    def max_length(self) -> tuple[str, int]:
        return "max_position_embeddings", self.config.max_position_embeddings

    @property
    def num_layers(self) -> int:
        return self.config.num_hidden_layers

    @property
    def hidden_size(self) -> int:
        return self.config.hidden_size

    def match_vocabulary(self) -> "BertSystem":
        pieces = len(self.entries())
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
        """Loads the vocabulary.

        Raises:
          UserError: it lacks what stands around texts.
        """
        if self.has_unigrams:
            return tokenization_unigram.load(self.vocab_file)
        import tokenization_tf  # tensorflow-text takes a second to load

        made = tokenization_tf.FastTokenizer(self.vocab_file, self.do_lower_case)
        missing = [piece for piece in ("[CLS]", "[SEP]") if piece not in made.vocab]
        if missing:
            raise UserError(f"{self.vocab_file} has no line {', '.join(missing)}")
        return made

    @property
    def has_unigrams(self) -> bool:
        """Whether the vocabulary is SentencePiece's, as multilingual-e5's."""
        return tokenization_unigram.is_vocabulary(self.vocab_file)

    def entries(self) -> list[str]:
        if self.has_unigrams:
            return list(tokenization_unigram.read(self.vocab_file).pieces)
        return list(tokenization.load_vocab(self.vocab_file))

    def text_encoder(self, max_seq_length: int) -> tf.Module | None:
        if self.has_unigrams:
            return None
        from data_pipeline.features.bert_graph import TextEncoder  # as above

        vocab = tokenization.load_vocab(self.vocab_file)
        return TextEncoder(vocab, self.do_lower_case, max_seq_length)

    def word_reader(self, max_seq_length: int) -> tagging_graph.WordPieces | None:
        if self.has_unigrams:
            return None
        import tokenization_tf  # as above

        pieces = list(tokenization.load_vocab(self.vocab_file))
        tokenizer = tokenization_tf.InGraphTokenizer(pieces, self.do_lower_case)
        special = BertTagging(self).special_ids(self.tokenizer())
        return tagging_graph.WordPieces(tokenizer, special, max_seq_length)

    def encoder_inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        segments = {"segment_ids": batch["segment_ids"]}
        return super().encoder_inputs(batch) | segments

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        return BertModel(self.config, **kwargs)

    def optional(
        self, head: str | None, checkpoint: checkpoints.Checkpoint
    ) -> Mapping[str, str]:
        """The pooler, where only the sequence is used, or where it is to be trained."""
        if head not in (CLASSIFIER, SHARED):
            return {_POOLER: "not used here"}
        known = any(re.fullmatch(_POOLER, name) for name in checkpoint.shapes)
        if known or not self.new_head:
            return {}
        return {_POOLER: "the file, as of a masked language model, has no pooler"}

    def of_part(
        self, checkpoint: checkpoints.Checkpoint, task_name: str
    ) -> checkpoints.Checkpoint:
        return google_bert.of_part(checkpoint, task_name)

    def part_pattern(self, task_name: str) -> str:
        return rf"{mt_dnn.SCOPE}/{re.escape(task_name)}/.*"

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """See `encoder_groups`."""
        return encoder_groups(self.config.num_hidden_layers, config)


def encoder_groups(
    num_hidden_layers: int, config: OptimizerConfig
) -> list[ParameterGroup]:
    """Parameter groups of a BERT encoder with a head on top.

    With `layer_decay` d, the head and the pooler learn at the full rate, the top
    layer at d times it, and each layer below at d times the one above; embeddings
    come last (discriminative fine-tuning, Howard and Ruder 2018, section 3.2).

    Args:
      num_hidden_layers: layers of the encoder.
      config: its weight_decay, layer_decay and finetune_encoder are used.
    """
    layer_decay = config.layer_decay
    if not config.finetune_encoder:
        depths = [(r"^bert/", 0.0)]
    elif layer_decay == 1.0:
        depths = [(r"^bert/", 1.0)]
    else:
        depths = [(r"^bert/pooler/", 1.0)]
        for layer in range(num_hidden_layers):
            factor = layer_decay ** (num_hidden_layers - layer)
            depths.append((rf"^bert/encoder/layer_{layer}/", factor))
        depths.append((r"^bert/embeddings/", layer_decay ** (num_hidden_layers + 1)))
    return depth_groups([*depths, (r"^(?!bert/)", 1.0)], config.weight_decay)
