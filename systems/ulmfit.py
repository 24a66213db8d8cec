"""ULMFiT as tasks see it: words with marks, one language model, a head that pools."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
from checkpoints import ulmfit as files
from checkpoints.mapping import CheckpointError
from data_pipeline import tfrecord
from data_pipeline.corpora import segmentation
from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.features import ulmfit as features
from data_pipeline.features.lines import Layout
from data_pipeline.features.tagging import SpecialIds
from data_pipeline.readers.examples import InputExample
from errors import UserError
from modeling.ulmfit import SCOPE, UlmfitModel
from modeling.ulmfit_classifier import UlmfitClassifier
from optimization.groups import ParameterGroup
from optimization.optimizers import OptimizerConfig
from systems.capabilities import Classifies, Generates
from systems.classification_config import ClassificationConfig
from systems.pieces import ReadsPieces, TagsPieces
from systems.system import CLASSIFIER, TAGGER, System
from tokenization_ulmfit import MARKS, MARKS_2018, NEWLINE, UlmfitTokenizer

_HEAD = ""  # matches what nothing before it does
_LM_HEAD = rf"^{SCOPE}/(embedding|decoder_bias)$"


class UlmfitClassification(Classifies):
    """Whole documents, of whose end so much is pooled as --max_seq_length says."""

    asks_replicas = True

    def buckets(self, max_seq_length: int, static_shapes: bool) -> tuple[int, ...]:
        if static_shapes:
            raise UserError(
                "--jit_compile and --use_tpu need inputs of one length, but ulmfit "
                "reads documents whole: leave them out"
            )
        return features.buckets(max_seq_length)

    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        return features.classification_spec(config.output_kind, len(config.labels))

    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> features.DocumentColumns:
        return features.classification_columns(
            examples,
            self.system.tokenizer(),
            config.labels,
            config.output_kind,
            bool(self.system.config.backward),
        )

    def build(
        self, config: ClassificationConfig, *, frozen_encoder: bool = False, **kwargs
    ) -> UlmfitClassifier:
        return UlmfitClassifier(
            self.system.config,
            config.num_outputs,
            config.max_seq_length,
            frozen_encoder=frozen_encoder,
            **kwargs,
        )

    def run(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        inputs = self.system.encoder_inputs(batch)
        real = batch.get("is_real_example")  # an export is not asked with it
        return model(**inputs, real=real, dropout_seed=dropout_seed)


class UlmfitTagging(TagsPieces):
    """A word is told by its last piece: only there the word has been read."""

    reads_left_to_right = True

    def special_ids(self, tokenizer: UlmfitTokenizer) -> SpecialIds:
        self.system.check_forward()
        return SpecialIds(tokenizer.bos, tokenizer.bos, tokenizer.unk)


class UlmfitLines(ReadsPieces):
    """A line is a document; the default is the last layer, the others are wider."""

    default_layers = (-1,)

    def report(self) -> None:
        self.tokenizer.seen.warn()

    def layout(self, tokenizer: UlmfitTokenizer) -> Layout:
        self.system.check_forward()
        return Layout(before=tuple(tokenizer.start))

    def unknown_id(self, tokenizer: UlmfitTokenizer) -> int:
        return tokenizer.unk


class UlmfitGeneration(Generates):
    """Words with spaces between them, up to the next document."""

    @functools.cached_property
    def _tokenizer(self):
        self.system.check_forward()
        return self.system.tokenizer()

    @property
    def stop_id(self) -> int:
        return self._tokenizer.bos

    @property
    def never(self) -> Sequence[int]:
        """The unknown word, as fastai's `predict` leaves it out."""
        return (self._tokenizer.unk,)

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        flat, offsets = self._tokenizer.ids(prompts)
        texts = np.split(flat, offsets[1:-1])
        return [[*self._tokenizer.start, *ids.tolist()] for ids in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)


class UlmfitSystem(System):
    """Howard and Ruder 2018; its `config` is an UlmfitConfig."""

    model_type = "ulmfit"
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"classifier/.*",
        TAGGER: r"tagger/.*",
    }
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {
        r"classifier/output/output_(weights|bias)": (0,)
    }

    @property
    def num_layers(self) -> int:
        return self.config.num_layers

    @property
    def hidden_size(self) -> int:
        return self.config.embedding_size

    def check_forward(self) -> None:
        """Refuses a model that reads texts from their end."""
        if self.config.backward:
            raise UserError(
                "the model reads texts from their end (backward is true): it "
                "classifies, and does nothing else"
            )

    def match_vocabulary(self) -> "UlmfitSystem":
        """With `resize_vocab` a vocabulary of any size: it is matched word by word."""
        rows, known = len(self.entries()), self.config.vocab_size
        if known not in (None, rows) and not self.resize_vocab:
            raise UserError(
                f"{self.vocab_file} has {rows} words, but the model has {known}: they "
                "do not belong together; --resize_vocab would map the model's words to "
                "these, and give new ones the mean vector"
            )
        config = dataclasses.replace(self.config, vocab_size=rows)
        return dataclasses.replace(self, config=config)

    def tokenizer(self) -> UlmfitTokenizer:
        segment = segmentation.spacer(self.config.segmenter)
        return UlmfitTokenizer(self._words(), self.vocab_file, segment)

    def _words(self):
        return files.read_words(self.vocab_file)

    def entries(self) -> list[str]:
        """The end of a line, which is a word, is written as backslash and n."""
        return [word.replace(NEWLINE, r"\n") for word in self._words()]

    def fingerprint(self) -> Any:
        """Of the words, what finds them, and the direction."""
        words = tfrecord.fingerprint(self.vocab_file)
        return [words, self.config.segmenter, bool(self.config.backward)]

    def build_encoder(self, **kwargs) -> UlmfitModel:
        return UlmfitModel(self.config, dropouts="classifier_", **kwargs)

    def optional(
        self, head: str | None, checkpoint: checkpoints.Checkpoint
    ) -> Mapping[str, str]:
        """Files of 2018 have no bias for the words, nor have encoders alone."""
        if files.DECODER_BIAS in checkpoint.shapes:
            return {}
        return {files.DECODER_BIAS: "the file has no bias for the words"}

    def rows(
        self, checkpoint: checkpoints.Checkpoint
    ) -> Mapping[str, checkpoints.Rows]:
        """Finds each word's row, where the file has other words than the model.

        Raises:
          CheckpointError: it has, and `resize_vocab` is not set; or it is, but the
            file's words are not known.
        """
        if self.vocab_file is None:
            return {}
        if checkpoint.vocab_file is None:
            known = checkpoint.shapes.get(files.EMBEDDING, ())[:1]
            if known in ((), (self.config.vocab_size,)):
                return {}
            raise CheckpointError(
                f"{checkpoint.path}: no list of its {known[0]} words is beside it "
                f"(itos.json, itos*.pkl) to map those of {self.vocab_file} to"
            )
        theirs, ours = files.read_words(checkpoint.vocab_file), self._words()
        if theirs == ours:
            return {}
        if not self.resize_vocab:
            raise CheckpointError(
                f"{self.vocab_file} has other words than {checkpoint.vocab_file}, "
                f"those of the weights ({len(ours)} and {len(theirs)}): give "
                "--resize_vocab to map them"
            )
        places = _places(theirs)
        source = np.array([places.get(word, -1) for word in ours], np.int64)
        logging.info("%d of %d words are in the file", (source >= 0).sum(), len(ours))
        found = checkpoints.Rows(source, "words that the file has not", mean=True)
        return dict.fromkeys(files.VOCAB_TENSORS, found)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """The embeddings, each layer, the head; see `_groups`."""
        return self._groups([_LM_HEAD, *self._layers(), _HEAD], config)

    def lm_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """Each layer, then the embeddings: they are the softmax of a language model."""
        return self._groups([*self._layers(), _LM_HEAD], config)

    def _layers(self):
        return [rf"^{SCOPE}/rnn_{i}/" for i in range(self.num_layers)]

    def _groups(self, patterns, config):
        """Makes groups that learn slower, and are trained later, from the last down."""
        encoder = config.layer_decay if config.finetune_encoder else 0.0
        return [
            ParameterGroup(
                pattern,
                config.weight_decay,
                encoder**depth,
                trainable=depth == 0 or encoder > 0,
                first_step=depth * config.unfreeze_steps,
            )
            for depth, pattern in enumerate(reversed(patterns))
        ][::-1]


def _places(words: Sequence[str]) -> dict[str, int]:
    """Where words are; a mark of the one kind is also where that of the other is."""
    places = {word: i for i, word in reversed(list(enumerate(words)))}
    pairs = [
        (mark, other)
        for mark, other in zip(MARKS, MARKS_2018, strict=True)
        if isinstance(mark, str) and other is not None
    ]
    known = [(b, places[a]) for a, b in pairs if a in places]
    known += [(a, places[b]) for a, b in pairs if b in places]
    return dict(known) | places
