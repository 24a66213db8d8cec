"""GPT as tasks see it: byte pair encoding, one decoder, a head for each task."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

import checkpoints
import tokenization_bpe
from data_pipeline import tfrecord
from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.features import gpt as gpt_features
from data_pipeline.features.lines import Layout
from data_pipeline.features.tagging import SpecialIds
from data_pipeline.readers.examples import InputExample
from data_pipeline.squad.pieces import BytePairs
from errors import UserError
from modeling import GptClassifier, GptModel, GptSpanExtractor
from optimization.groups import ParameterGroup, depth_groups
from optimization.optimizers import OptimizerConfig
from systems.capabilities import Answers, Classifies, Generates
from systems.classification_config import ClassificationConfig
from systems.pieces import ReadsPieces, TagsPieces
from systems.system import CLASSIFIER, SPAN, TAGGER, System

_START, _DELIMITER, _CLASSIFY = "_start_", "_delimiter_", "_classify_"


class GptClassification(Classifies):
    """Texts are laid out as sequences of tokens (the paper's section 3.3)."""

    has_lm_losses = True
    chooses = True

    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        return gpt_features.classification_spec(
            config.output_kind, config.symmetric, len(config.labels)
        )

    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> gpt_features.GptColumns:
        return gpt_features.classification_columns(
            examples,
            self.system.tokenizer(),
            self.system.special_tokens(),
            config.max_seq_length,
            config.labels,
            config.output_kind,
            config.symmetric,
        )

    def build(
        self,
        config: ClassificationConfig,
        *,
        frozen_encoder: bool = False,
        **kwargs,
    ) -> keras.layers.Layer:
        combine = "sum" if config.symmetric else "single"
        if config.output_kind == "multiple_choice":
            combine = "choice"
        return GptClassifier(
            self.system.config,
            config.num_outputs,
            combine=combine,
            frozen_encoder=frozen_encoder,
            **kwargs,
        )

    def run(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        ids = batch["input_ids"]
        if ids.shape.rank == 3:
            ids = tf.transpose(ids, [0, 2, 1])  # [B, R, S]
        return model(ids, dropout_seed=dropout_seed)


class GptTagging(TagsPieces):
    """A word is told by its last piece: only there the word has been read."""

    reads_left_to_right = True

    def special_ids(self, tokenizer: tokenization_bpe.TextEncoder) -> SpecialIds:
        special = self.system.special_tokens()
        return SpecialIds(special.start, special.classify, tokenizer.unknown_id)


class GptAnswers(Answers):
    """Context and question are one sequence."""

    def tokenizer(self) -> BytePairs:
        return BytePairs(self.system.vocab_file, self.system.special_tokens())

    def build(self, **kwargs) -> keras.layers.Layer:
        return GptSpanExtractor(self.system.config, **kwargs)


class GptLines(ReadsPieces):
    """A line stands alone, as in pre-training; of no text at all, <unk> is read."""

    def layout(self, tokenizer: tokenization_bpe.TextEncoder) -> Layout:
        return Layout(empty=(tokenizer.unknown_id,))

    def unknown_id(self, tokenizer: tokenization_bpe.TextEncoder) -> int:
        return tokenizer.unknown_id


class GptGeneration(Generates):
    """Every position predicts the token after it; a newline ends a document."""

    @functools.cached_property
    def _tokenizer(self):
        return self.system.tokenizer()

    @property
    def stop_id(self) -> int | None:
        return self._tokenizer.encoder.get(tokenization_bpe.NEWLINE_TOKEN)

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """A prompt without a token starts behind the end of the document before."""
        encoded = self._tokenizer.encode(prompts)
        if self.stop_id is None and not all(encoded):
            raise UserError(
                f"the prompt {prompts[encoded.index([])]!r} has no token, and "
                f"{self.system.init_checkpoint}'s vocabulary no newline to start a "
                "document with"
            )
        return [ids or [self.stop_id] for ids in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)


class GptSystem(System):
    """Radford et al. 2018; its `config` is a GptConfig."""

    model_type = "gpt"
    packs = True
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"clf/.*|classifier/.*",
        SPAN: r"squad/.*",
        TAGGER: r"tagger/.*",
    }
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {"clf/w": (1,), "clf/b": (0,)}

    @property
    def max_length(self) -> tuple[str, int]:
        return "n_ctx", self.config.n_ctx

    @property
    def num_layers(self) -> int:
        return self.config.n_layer

    @property
    def hidden_size(self) -> int:
        return self.config.n_embd

    def match_vocabulary(self) -> "GptSystem":
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

    def entries(self) -> list[str]:
        """The end of a line, which is a piece, is written as backslash and n."""
        pieces = self.tokenizer().vocab
        ordered = sorted(pieces, key=pieces.get)
        return [piece.replace("\n", r"\n") for piece in ordered]

    def fingerprint(self) -> Any:
        """The merges count too."""
        merges = tokenization_bpe.merges_beside(self.vocab_file)
        return [tfrecord.fingerprint(path) for path in (self.vocab_file, merges)]

    def with_special_tokens(self) -> "GptSystem":
        """A pre-trained model has none of the three."""
        return dataclasses.replace(
            self, config=dataclasses.replace(self.config, n_special=3)
        )

    def special_tokens(self) -> gpt_features.SpecialTokens:
        """Returns the ids of what stands around texts.

        Raises:
          UserError: the model has no rows for them; see `with_special_tokens`.
        """
        names = (_START, _DELIMITER, _CLASSIFY)
        return gpt_features.SpecialTokens(*map(self.config.special_id, names))

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        return GptModel(self.config, **kwargs)

    def rows(
        self, checkpoint: checkpoints.Checkpoint
    ) -> Mapping[str, checkpoints.Rows]:
        """A file may lack special tokens, and have more positions."""
        return checkpoints.embedding_rows(
            checkpoint, self.config, resize_vocab=self.resize_vocab
        )

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """See `gpt_groups`."""
        return gpt_groups(self.config.n_layer, config)


def gpt_groups(n_layer: int, config: OptimizerConfig) -> list[ParameterGroup]:
    """Parameter groups of a GPT model, with or without a head on top.

    The learning rates fall from layer to layer as in `encoder_groups`; `we`, which
    has the positions and the special tokens too, comes last.

    Args:
      n_layer: blocks of the model.
      config: its weight_decay, layer_decay and finetune_encoder are used.
    """
    layer_decay = config.layer_decay if config.finetune_encoder else 0.0
    depths = [(rf"^h{i}/", layer_decay ** (n_layer - i)) for i in range(n_layer)]
    depths.append((r"^we$", layer_decay ** (n_layer + 1)))
    return depth_groups([*depths, ("", 1.0)], config.weight_decay)
