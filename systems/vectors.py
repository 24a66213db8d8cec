"""Word vectors as tasks see them: a table for words, and no other encoder."""

import collections
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import checkpoints
import word_rules
from checkpoints import vectors as vector_files
from checkpoints.word_vectors import WordVectors, is_text
from checkpoints.word_vectors import read as read_vectors
from data_pipeline.corpora.word_splitter import WordSplitter
from data_pipeline.feature_spec import Batch, FeatureSpec
from data_pipeline.features import elmo as word_features
from data_pipeline.features import tagging_graph
from data_pipeline.readers.examples import InputExample
from errors import UserError
from modeling.layers import base
from modeling.vectors import (
    DROPOUT_RATE,
    NUM_MARKS,
    SCOPE,
    VectorsClassifier,
    VectorsConfig,
    VectorsModel,
    VectorsReader,
)
from optimization.groups import ParameterGroup, depth_groups
from optimization.optimizers import OptimizerConfig
from systems.capabilities import Classifies
from systems.classification_config import ClassificationConfig
from systems.system import CLASSIFIER, TAGGER
from systems.words import (
    ReadsWords,
    SpelledVocabulary,
    TagsWords,
    WordSystem,
    choose_words,
)
from vocabulary import MARKS, TableEncoder, file_text

_RANDOM_SIZE = 100  # of a vector, where nothing says it
_SIF = 1e-3  # a, as in the paper


class VectorsClassification(Classifies):
    """The reader that the config names."""

    def spec(self, config: ClassificationConfig) -> FeatureSpec:
        return word_features.classification_spec(
            config.output_kind, len(config.labels), None
        )

    def columns(
        self, examples: Sequence[InputExample], config: ClassificationConfig
    ) -> word_features.ElmoColumns:
        """Words are what the config's rules find."""
        return word_features.classification_columns(
            examples,
            self.system.speller(),
            self.system.split,
            config.max_seq_length,
            config.labels,
            config.output_kind,
        )

    def build(
        self,
        config: ClassificationConfig,
        *,
        frozen_encoder: bool = False,
        **kwargs,
    ) -> VectorsClassifier:
        del frozen_encoder  # a table has no dropout
        return VectorsClassifier(self.system.config, config.num_outputs, **kwargs)

    def run(
        self, model: keras.layers.Layer, batch: Batch, dropout_seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        return model(batch["input_ids"], dropout_seed=dropout_seed)


class VectorsTagging(TagsWords):
    """A bidirectional LSTM, as under ELMo; a word is one piece, and read as it is."""

    dropout_rate = DROPOUT_RATE

    @property
    def spec(self) -> FeatureSpec:
        """A word is one piece."""
        return word_features.tagging_spec(None)

    def reader(self, frozen_encoder: bool, **kwargs) -> VectorsReader:
        """The LSTM is the tagger's own, and has dropout, whatever the vectors do."""
        del frozen_encoder
        return VectorsReader(self.system.config, name=TAGGER, **kwargs)


class VectorsLines(ReadsWords):
    """The vectors of a line's words, by request weighted.

    "idf" multiplies a vector by the inverse document frequency of its word, a line
    being a document: ln((1 + N) / (1 + df)) + 1. "sif" does so by a / (a + p(w)), p
    being the word's share of the text (Arora et al. 2017, algorithm 1).
    """

    default_layers = (0,)
    _weights: np.ndarray | None = None

    def weigh(self, texts: Iterable[str], weighting: str) -> None:
        """Counts words, by whose weights their vectors are then multiplied.

        Args:
          texts: all lines.
          weighting: "idf" or "sif".
        """
        counts = np.zeros(self.system.config.vocab_size, np.int64)
        lines = 0
        for text in texts:
            ids = self.speller.encode(self.system.split(text))
            np.add.at(counts, np.unique(ids) if weighting == "idf" else ids, 1)
            lines += 1
        if weighting == "idf":
            weights = np.log((1 + lines) / (1 + counts)) + 1
        else:
            weights = _SIF / (_SIF + counts / max(counts.sum(), 1))
        self._weights = np.append(0, weights).astype(np.float32)  # 0 is padding

    def layer_outputs(
        self,
        model: keras.layers.Layer,
        batch: Batch,
        states: Any = None,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[Sequence[tf.Tensor], Any]:
        del dropout_seed  # a table has no dropout
        found = model(batch["input_ids"])["vectors"]
        if self._weights is not None:
            weights = tf.gather(self._weights, batch["input_ids"][:, 1:-1])
            found *= weights[..., None]
        return [found], states


@dataclasses.dataclass(frozen=True)
class VectorsSystem(WordSystem):
    """Vectors of words, of any origin; its `config` is a VectorsConfig."""

    model_type = "vectors"
    heads: ClassVar[Mapping[str, str]] = {
        CLASSIFIER: r"classifier/.*",
        TAGGER: r"tagger/.*",
    }
    label_axes: ClassVar[Mapping[str, Sequence[int]]] = {
        r"classifier/output/output_(weights|bias)": (0,)
    }

    @property
    def num_layers(self) -> int:
        return 1

    @property
    def hidden_size(self) -> int:
        """Of all channels together."""
        return self.config.channels * self.config.vector_size

    def vocabulary(self) -> SpelledVocabulary:
        if self.words is not None:
            return SpelledVocabulary(self.words)
        return SpelledVocabulary.from_exact_file(self.vocab_file)

    def fingerprint(self) -> Any:
        """Of the words and of what finds them in a text."""
        return [super().fingerprint(), self.config.tokenizer, self.config.segmenter]

    def speller(self) -> TableEncoder:
        """Returns what numbers words for the model."""
        return TableEncoder(self.vocabulary())

    def split(self, line: str) -> list[str]:
        """Returns the words of a line of text."""
        return self.splitter.words(line)

    def encoder_inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        return {"input_ids": batch["input_ids"]}

    def text_encoder(self, max_seq_length: int) -> tf.Module | None:
        """Words are found in a graph only where white space separates them."""
        if self.splitter.is_slow:
            return None
        from data_pipeline.features.words_graph import WordEncoder  # for exports only

        speller = self.speller()
        marks = speller.encode([speller.bos, speller.eos]) + 1
        return WordEncoder(speller.in_graph(), marks.tolist(), max_seq_length)

    def word_reader(
        self, max_seq_length: int | None = None
    ) -> tagging_graph.WholeWords:
        speller = self.speller()
        return tagging_graph.WholeWords(
            {"input_ids": speller.in_graph()},
            (speller.bos, speller.eos),
            max_seq_length,
        )

    def build_encoder(self, **kwargs) -> VectorsModel:
        return VectorsModel(self.config, **kwargs)

    def parameter_groups(self, config: OptimizerConfig) -> list[ParameterGroup]:
        """The training text's words learn by `layer_decay`, all others never."""
        sizes, depths = self.config, [("", 1.0)]
        if sizes.text_words > NUM_MARKS:
            rate = config.layer_decay * config.finetune_encoder
            depths.insert(0, (rf"^{SCOPE}/words", rate))
            if sizes.channels == 2:
                depths.insert(0, (rf"^{SCOPE}/frozen_words", 0.0))
        if sizes.vocab_size > sizes.text_words:
            depths.insert(0, (rf"^{SCOPE}/others", 0.0))
        return depth_groups(depths, config.weight_decay)

    def initialize(
        self,
        variables: Mapping[str, keras.Variable],
        head: str | None,
        outputs: checkpoints.Outputs | None = None,
        task_name: str | None = None,
    ) -> None:
        """A new model takes its word vectors, if any."""
        base.draw(variables.values())
        if self.word_vectors is None:
            super().initialize(variables, head, outputs, task_name)
            words = variables.get(f"{SCOPE}/words")
            frozen = variables.get(f"{SCOPE}/frozen_words")
            if self.init_checkpoint is None and frozen is not None:
                frozen.assign(words)
            return
        found, marks = self._rows(), variables[f"{SCOPE}/marks"]
        known = found >= 0
        rows = self.word_vectors.vectors[found[:NUM_MARKS]]
        # Of words that are not in a file nothing is known, until they are trained.
        other = marks.numpy() if head else np.zeros_like(rows)
        marks.assign(np.where(known[:NUM_MARKS, None], rows, other))
        for name, start, end in (
            ("words", NUM_MARKS, self.config.text_words),
            ("frozen_words", NUM_MARKS, self.config.text_words),
            ("others", self.config.text_words, None),
        ):
            table = variables.get(f"{SCOPE}/{name}")
            if table is not None:
                table.assign(self.word_vectors.vectors[found[start:end]])

    def _rows(self):
        """Where the vectors of all words are, int64 [V]; -1 of a mark without one."""
        places = {word: i for i, word in enumerate(self.word_vectors.words)}
        words = self.vocabulary().words
        marks = (places.get(w, places.get(w.lower(), -1)) for w in words[:NUM_MARKS])
        others = (places[word] for word in words[NUM_MARKS:])
        return np.array([*marks, *others], np.int64)

    def save_beside(self, folder: str) -> None:
        text = file_text(self.vocabulary().words)
        vector_files.save_beside(folder, self.config, text)


def begin(
    config: VectorsConfig | None,
    words: Iterable[str],
    *,
    word_vectors: str | None = None,
    max_vocab: int | None = None,
    **flags: Any,
) -> VectorsSystem:
    """Makes a system to train, whose words are those of its vectors and of its text.

    Args:
      config: the architecture, whose sizes are found; None: by `flags`.
      words: all words of the training text, as white space separates them; none where
        there is no training.
      word_vectors: their file or folder; None: random ones for the words of the text,
        in lower case and with 0 for digits, that are there twice.
      max_vocab: of the file's words at most so many of the first, beside those of the
        text; None: all.
      **flags: "reader", "channels", "tokenizer" and "segmenter" of the config, where
        not None, and others, which are of no matter. The file beside the vectors may
        tell the last two, too.

    Raises:
      UserError: the vectors cannot be read, or have another width than the config says.
    """
    config = config or VectorsConfig()
    names = ("reader", "channels", *word_rules.NAMES)
    given = {name: flags[name] for name in names if flags.get(name) is not None}
    config = dataclasses.replace(config, **given)
    beside = word_rules.read_beside(word_vectors and _file(word_vectors))
    rules = word_rules.first_said(word_rules.of(config), beside)
    config = word_rules.with_rules(config, rules)
    counts = _retokenized(collections.Counter(words), WordSplitter.of(rules))
    if word_vectors is None:
        chosen = choose_words(counts.elements(), None, do_lower_case=True)
        size = config.vector_size or _RANDOM_SIZE
        return _system(config, chosen, len(chosen), size)
    found = read_vectors(word_vectors)
    size = found.vectors.shape[1]
    if config.vector_size not in (None, size):
        raise UserError(
            f"{word_vectors} has vectors of {size} numbers, but vector_size of the "
            f"configuration is {config.vector_size}"
        )
    of_text, others = _choose(found, counts, max_vocab)
    chosen = [*MARKS, *of_text, *others]
    text_words = NUM_MARKS + len(of_text)
    return _system(config, chosen, text_words, size, word_vectors=found)


def _system(config, words, text_words, vector_size, **kwargs):
    config = dataclasses.replace(
        config,
        vocab_size=len(words),
        text_words=text_words,
        vector_size=vector_size,
    )
    return VectorsSystem(config, do_lower_case=None, words=tuple(words), **kwargs)


def _file(path):
    """Returns the file of vectors, of a folder that of run_word_vectors.py."""
    return os.path.join(path, "vectors") if tf.io.gfile.isdir(path) else path


def _retokenized(counts, splitter):
    found = collections.Counter()
    for chunk, count in counts.items():
        for word in splitter.words(chunk):
            found[word] += count
    return found


def _choose(
    vectors: WordVectors, counts: Mapping[str, int], max_vocab: int | None
) -> tuple[list[str], list[str]]:
    """Returns the words with vectors that a text has, by frequency, and the others."""
    marks = set(MARKS)
    known = SpelledVocabulary(word for word in vectors.words if word not in marks)
    seen, missed = collections.Counter(), 0
    for word, count in counts.items():
        entry = known.find(word)
        if entry is None:
            missed += count
        else:
            seen[entry] += count
    if counts:
        logging.info(
            "%d words of the vectors are in the training text, which has vectors for "
            "%.1f %% of its words",
            len(seen),
            100 - 100 * missed / sum(counts.values()),
        )
    of_text = sorted(seen, key=lambda word: (-seen[word], word))
    others = (w for w in known.words[:max_vocab] if w not in seen and is_text(w))
    return of_text, list(others)
