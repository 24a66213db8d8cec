"""ELMo as tasks see it: words by their characters, two LSTMs that read both ways."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

import lexicon
import vocabulary
from data_pipeline import tfrecord
from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.features import elmo as elmo_features
from data_pipeline.features import tagging_graph
from data_pipeline.readers.examples import InputExample
from errors import UserError
from modeling import ElmoClassifier, ElmoModel
from modeling.elmo_reader import DROPOUT_RATE, ElmoReader
from optimization.groups import ParameterGroup, depth_groups
from optimization.optimizers import OptimizerConfig
from systems.capabilities import Classifies
from systems.classification_config import ClassificationConfig
from systems.system import CLASSIFIER, PRE_TRAINING, TAGGER, System
from systems.words import ReadsWords, TagsWords


class ElmoClassification(Classifies):
    """A mix of the layers under a network of the task's own."""

    classifier = ElmoClassifier

    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        return elmo_features.classification_spec(
            config.output_kind, len(config.labels), self.system.config.ids_per_word
        )

    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> elmo_features.ElmoColumns:
        """Words are what the config's rules find."""
        return elmo_features.classification_columns(
            examples,
            self.system.speller(),
            self.system.split,
            config.max_seq_length,
            config.labels,
            config.output_kind,
        )

    def run(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        return model(batch["input_ids"], dropout_seed=dropout_seed)


class ElmoTagging(TagsWords):
    """A word is one piece, and read as it is."""

    dropout_rate = DROPOUT_RATE

    @property
    def spec(self) -> FeatureSpec:
        """A word is one piece."""
        return elmo_features.tagging_spec(self.system.config.ids_per_word)

    def reader(self, frozen_encoder: bool, **kwargs) -> ElmoReader:
        """The weights of the layers are the tagger's own."""
        return ElmoReader(
            self.system.config, frozen=frozen_encoder, name=TAGGER, **kwargs
        )


class ElmoWords(ReadsWords):
    """Lines of words.

    Layer 0 is the words without context, 1 and on the LSTMs; the default is all.
    """

    @functools.cached_property
    def speller(self) -> elmo_features.Speller:
        return self.system.speller(vocabulary_has_marks=True)

    @property
    def depth(self) -> int:
        """The LSTMs, and the words themselves."""
        return self.system.num_layers + 1

    @property
    def default_layers(self) -> tuple[int, ...]:
        return tuple(range(self.depth))

    def zero_states(self, model: keras.layers.Layer) -> Any:
        return model.zero_states(1)

    def layer_outputs(
        self,
        model: keras.layers.Layer,
        batch: Batch,
        states: Any = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[Sequence[tf.Tensor], Any]:
        found = model(batch["input_ids"], states, dropout_seed)
        return tf.unstack(found["lm_embeddings"], axis=1), found["states"]


class ElmoSystem(System):
    """Peters et al. 2018; its `config` is an ElmoConfig."""

    model_type = "elmo"
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"classifier/.*",
        PRE_TRAINING: r"lm/softmax/.*",
        TAGGER: r"tagger/.*",
    }
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {
        r"classifier/output/output_(weights|bias)": (0,)
    }

    finetunes_by_default = False

    @property
    def needs_vocabulary(self) -> bool:
        """Not where words are read by their bytes."""
        return self.config.char_cnn is None or self.config.lexicon is not None

    @property
    def num_layers(self) -> int:
        return self.config.lstm.n_layers

    @property
    def hidden_size(self) -> int:
        """Of both directions together."""
        return 2 * self.config.lstm.projection_dim

    def match_vocabulary(self) -> "ElmoSystem":
        """The options need not say how many words there are."""
        if self.config.lexicon is not None:
            return self._match_lexicon()
        rows = len(self.tokenizer())
        known = self.config.n_tokens_vocab
        if known is None:
            config = dataclasses.replace(self.config, n_tokens_vocab=rows)
            return dataclasses.replace(self, config=config)
        if rows != known:
            raise UserError(
                f"{self.vocab_file} has {rows} words, but the model's options say "
                f"n_tokens_vocab={known}: they do not belong together"
            )
        return self

    def _match_lexicon(self) -> "ElmoSystem":
        known = self.config.lexicon
        words, characters = self._lexicon().sizes
        found = dataclasses.replace(known, n_words=words, n_characters=characters)
        for name in ("n_words", "n_characters"):
            wanted, rows = getattr(known, name), getattr(found, name)
            if wanted not in (None, rows):
                raise UserError(
                    f"beside {self.vocab_file} is a lexicon of {name}={rows}, but the "
                    f"model has {wanted}: they do not belong together"
                )
        return dataclasses.replace(
            self, config=dataclasses.replace(self.config, lexicon=found)
        )

    def tokenizer(self) -> vocabulary.Vocabulary:
        """Words are what white space separates."""
        return vocabulary.Vocabulary.from_file(self.vocab_file)

    def entries(self) -> list[str]:
        if self.config.lexicon is not None:
            return self._lexicon().words
        return list(self.tokenizer().words)

    def fingerprint(self) -> Any:
        """Bytes need no file, a lexicon may have two."""
        rules = [self.config.tokenizer, self.config.segmenter]
        files = [self.vocab_file] if self.vocab_file else []
        if self.config.lexicon is not None:
            files = lexicon.beside(self.vocab_file)
        return [*map(tfrecord.fingerprint, files), *rules]

    def speller(self, *, vocabulary_has_marks: bool = False) -> elmo_features.Speller:
        """Returns what numbers words for the model.

        Args:
          vocabulary_has_marks: where words are read by their bytes, whether `<S>` and
            `</S>` in a text are marks only if the vocabulary has them, if there is one.
        """
        if self.config.lexicon is not None:
            return self._lexicon()
        if self.config.char_cnn is None:
            return vocabulary.TableEncoder(self.tokenizer())
        known = self.tokenizer() if vocabulary_has_marks and self.vocab_file else None
        longest = self.config.char_cnn.max_characters_per_token
        return vocabulary.CharacterEncoder(longest, known)

    def split(self, line: str) -> list[str]:
        """Returns the words of a line, as the config's rules find them.

        Those of a model of ELMoForManyLangs, whose files have a tab between two words,
        may have spaces in them where a line has a tab.
        """
        if self.config.lexicon is not None and "\t" in line:
            return [word for word in line.split("\t") if word]
        return self.splitter.words(line)

    def _lexicon(self) -> lexicon.Lexicon:
        config = self.config
        return lexicon.Lexicon.from_folder(
            os.path.dirname(self.vocab_file),
            has_words=config.word_table is not None,
            has_characters=config.char_cnn is not None,
            max_characters=config.lexicon.max_characters_per_token,
        )

    def word_reader(
        self, max_seq_length: int | None = None
    ) -> tagging_graph.WholeWords:
        speller = self.speller()
        return tagging_graph.WholeWords(
            {"input_ids": speller.in_graph()},
            (speller.bos, speller.eos),
            max_seq_length,
        )

    def encoder_inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        return {"input_ids": batch["input_ids"]}

    def build_encoder(self, **kwargs) -> keras.layers.Layer:
        return ElmoModel(self.config, **kwargs)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """See `elmo_groups`."""
        return elmo_groups(config)


def elmo_groups(config: OptimizerConfig) -> list[ParameterGroup]:
    """Parameter groups of an ELMo model, with or without a head on top.

    The softmax of pre-training, the layer weights and a head learn without an encoder
    that does; there is no decay from layer to layer.

    Args:
      config: its weight_decay and finetune_encoder are used.
    """
    encoder = (r"^lm/(?!softmax/)", float(config.finetune_encoder))
    return depth_groups([encoder, ("", 1.0)], config.weight_decay)
