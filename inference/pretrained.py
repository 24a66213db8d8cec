"""Anything that the project reads, opened for use from Python: word2bert.load.

An object of one class for all systems and tasks; what a method needs is loaded when it
is called first. The numbers are those of the scripts.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

import checkpoints
import registry
from checkpoints import files, word_vectors
from checkpoints.word_vectors import WordVectors
from data_pipeline.features import lines
from errors import UserError, check_count
from inference import trained
from inference.extraction import FeatureExtractor
from inference.extraction_config import ExtractionConfig
from inference.generation import GenerationConfig, Generator
from inference.named_vectors import NamedVectors
from metrics.word_vectors import unit_vectors
from modeling.layers.pooling import strategy_name
from systems import word_tables
from systems.system import System, open_system

# Method -> what a system must have for it, a key of registry.ABILITIES; or None.
_NEEDS = {
    "encode": "extracts",
    "encode_words": "extracts",
    "similarity": "extracts",
    "nearest": None,
    "classify": "classifies",
    "tag": "tags",
    "answer": "answers",
    "generate": "generates",
}
_TASKS = ("classify", "tag", "answer")
_LONGEST = 512  # units, where the model has no limit
_EXPORT = "saved_model.pb"  # TensorFlow's name for it
Text = str | tuple[str, ...]  # a text, or a pair


class Pretrained:
    """A pre-trained or fine-tuned model, or word vectors.

    One text is answered with one row, several with an array or list of rows.

    Attributes:
      path: where it is.
      model_type: its system's name.
      can: the methods that it has; any other one refuses.
    """

    def __init__(
        self,
        path: str,
        *,
        config_file: str | None = None,
        vocab_file: str | None = None,
        do_lower_case: bool | None = None,
        language: str | None = None,
        tokenizer: str | None = None,
        max_vocab: int | None = None,
    ):
        """Recognises what is there; no weights are read.

        Args:
          path: all that --init_checkpoint takes.
          config_file: the architecture, where none is beside the weights.
          vocab_file: the vocabulary, where none is.
          do_lower_case: whether to lower-case, where the folder does not say it.
          language: of the texts, of systems that are told; None: as the folder says.
          tokenizer: of word vectors, what finds words: "whitespace", or "english".
          max_vocab: of word vectors, so many of the first; None: all.

        Raises:
          UserError: nothing there, or nothing known; an option that is not for this
            system; no architecture, or no vocabulary.
        """
        self.path = path = os.fspath(path)
        if os.path.exists(os.path.join(path, _EXPORT)):
            raise UserError(
                f"{path} is an export: wanted the folder that it was made of; "
                "inference.serving.load asks exports"
            )
        source = checkpoints.open_checkpoint(path)
        if config_file is not None:
            config = checkpoints.read_config(config_file, source)
            source = dataclasses.replace(source, config=config)
        if vocab_file is not None:
            source = dataclasses.replace(source, vocab_file=vocab_file)
        if source.config is None:
            raise UserError(
                f"{path}: no config is beside the weights: give config_file"
            )
        self._source, self._lower, self._language = source, do_lower_case, language
        self._entry = registry.of_config(source.config)
        self.model_type = self._entry.model_type
        self._words = {"tokenizer": tokenizer, "max_vocab": max_vocab}
        self._check_options()
        # Of all that was made, by released names: each is in memory once.
        self._variables: dict[str, keras.Variable] = {}
        self._extractors: dict[ExtractionConfig, FeatureExtractor] = {}
        self._generators: dict[tuple, Generator] = {}

    def __repr__(self) -> str:
        return f"<{self.model_type} of {self.path}: {', '.join(self.can)}>"

    @property
    def can(self) -> tuple[str, ...]:
        """The methods that it has."""
        return tuple(method for method in _NEEDS if self._able(method))

    def encode(
        self, texts: Text | Sequence[Text], pooling: str = "mean", **options: Any
    ) -> np.ndarray:
        """Computes a vector for each text, as extract_features.py does.

        Args:
          texts: a text, or a pair as a tuple; or a list of them.
          pooling: "mean", "max", "mean_max", "first", "last", "cls" or "cls_pooled".
          **options: others of ExtractionConfig, as `layers`, `normalize`,
            `max_seq_length` and `batch_size`. The longest input is by default what the
            model can read, 512 without a limit.

        Returns:
          float32 [texts, width], or [width] of one.

        Raises:
          UserError: it has no such vectors, or an option is impossible.
        """
        self._check("encode")
        if _is_one(texts):
            return self.encode([texts], pooling, **options)[0]
        texts = list(texts)
        if strategy_name(pooling) == "none":
            raise UserError(
                "pooling='none': encode gives a vector a text; wanted another pooling, "
                "or encode_words, which gives one a word"
            )
        extractor = self._extractor(pooling=pooling, **options)
        read = [self._line(i, text) for i, text in enumerate(texts)]
        if extractor.config.word_weighting:
            extractor.weigh(lambda: read)
        found = [row.values for row in extractor.extract(read)]
        return np.stack(found) if found else np.zeros((0, *extractor.row_shape), "f")

    def encode_words(
        self, sentences: Sequence[str] | Sequence[Sequence[str]], **options: Any
    ) -> np.ndarray | list[np.ndarray]:
        """Computes a vector for each word.

        Of a system that reads pieces it is the mean of a word's pieces' vectors.

        Args:
          sentences: the words of a sentence; or several such lists.
          **options: of ExtractionConfig, as `layers` and `layer_combination`. The
            default is the last layer of pieces, and ELMo's layers each for itself.

        Returns:
          Of each sentence float32 [words, width], or [words, layers, width].

        Raises:
          UserError: it has no such vectors; or a sentence is longer than the model, or
            `max_seq_length`, lets it be.
        """
        self._check("encode_words")
        if len(sentences) and isinstance(sentences[0], str):
            return self.encode_words([sentences], **options)[0]
        _check_words(sentences)
        options = {**self._word_layers(), **options}
        extractor = self._extractor(pooling="none", mask_cls_sep=True, **options)
        cut = list(self.system.need("extracts").cut(sentences))
        rows = extractor.extract([units for units, _ in cut])
        return [
            _by_word(i, row.values, sizes, extractor.config)
            for i, (row, (_, sizes)) in enumerate(zip(rows, cut, strict=True))
        ]

    def similarity(
        self, a: Text | Sequence[Text], b: Text | Sequence[Text], **options: Any
    ) -> np.ndarray | float:
        """Computes cosines of the vectors of `encode`.

        Args:
          a: a text, or a list of texts.
          b: as well.
          **options: of `encode`.

        Returns:
          float32 [texts of a, texts of b]; without an axis where there is one text, of
          two texts a number. A text without any word that is known is at right angles
          to all.

        Raises:
          UserError: see `encode`.
        """
        self._check("similarity")
        sides = (np.atleast_2d(self.encode(texts, **options)) for texts in (a, b))
        left, right = map(unit_vectors, sides)
        found = left @ right.T
        found = found[0] if _is_one(a) else found
        found = found[..., 0] if _is_one(b) else found
        return found if found.ndim else found.item()

    def nearest(self, word: str, topn: int = 10) -> list[tuple[str, float]]:
        """Finds words whose vectors are near, as evaluate_word_vectors.py does.

        Of a model it is the table of its vocabulary, before any layer.

        Args:
          word: one that has a vector.
          topn: how many.

        Returns:
          Words with their cosines, the nearest first.

        Raises:
          UserError: there are no vectors of words, or not of this one.
        """
        self._check("nearest")
        check_count("topn", topn)
        if not isinstance(word, str):
            raise UserError(f"nearest: got {word!r}; wanted a word")
        if word not in self._table:
            raise UserError(f"{self.path}: {self._table.unknown(word)}")
        return self._table.nearest(word, topn)

    def classify(
        self, texts: Text | Sequence[Text], batch_size: int = trained.BATCH_SIZE
    ) -> dict[str, Any]:
        """Classifies texts, or scores them, as run_classifier.py --do_predict does.

        Args:
          texts: a text, or a pair as a tuple, or with its endings, as the model was
            trained; or a list of them.
          batch_size: texts of about one length that are computed together.

        Returns:
          `labels` str [texts]; `label_names` str and `probabilities` float32 [texts,
          labels]; of several labels the latter two; of a regression `scores` float32
          [texts]. Of several tasks, `<task>/labels` and so on. Of one text without the
          first axis.

        Raises:
          UserError: it was not trained for it, or texts are not as in its training.
        """
        return self._ask("classify", texts, _is_one(texts), batch_size)

    def tag(
        self,
        sentences: Sequence[str] | Sequence[Sequence[str]],
        batch_size: int = trained.BATCH_SIZE,
    ) -> list[str] | list[list[str]]:
        """Tags words, as run_tagger.py --do_predict does.

        Args:
          sentences: the words of a sentence; or several such lists.
          batch_size: as of `classify`.

        Returns:
          A tag a word, for each sentence.

        Raises:
          UserError: it was not trained for it, or a sentence is no list of words.
        """
        self._check("tag")
        one = bool(len(sentences)) and isinstance(sentences[0], str)
        _check_words([sentences] if one else sentences)
        return self._ask("tag", sentences, one, batch_size)["tags"]

    def answer(
        self,
        question: str | Sequence[str],
        context: str | Sequence[str],
        batch_size: int = trained.BATCH_SIZE,
    ) -> dict[str, Any]:
        """Answers questions by a part of a text, as run_squad.py --do_predict does.

        Args:
          question: one, or a list.
          context: the text; or one for each question.
          batch_size: windows of about one length that are computed together.

        Returns:
          `answers` str [questions], `scores` float32 [questions], and of a model of
          SQuAD 2.0 `null_odds` float32 [questions]. Of one without the axis.

        Raises:
          UserError: it was not trained for it.
        """
        self._check("answer")
        if isinstance(question, str):
            return self._ask("answer", (question, context), True, batch_size)
        contexts = [context] * len(question) if isinstance(context, str) else context
        if len(question) != len(contexts):
            raise UserError(
                f"got {len(question)} questions and {len(contexts)} contexts; wanted "
                "one context, or as many"
            )
        pairs = list(zip(question, contexts, strict=True))
        return self._ask("answer", pairs, False, batch_size)

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        stop_at_newline: bool = True,
        **options: Any,
    ) -> str | list[str]:
        """Continues prompts, as generate.py does.

        Args:
          prompts: one, or a list.
          stop_at_newline: whether a text ends where documents do.
          **options: of GenerationConfig: `max_new_tokens`, `temperature`, `top_k`,
            `top_p`, `seed`, `batch_size`.

        Returns:
          What comes after each prompt.

        Raises:
          UserError: it cannot, or an option is impossible.
        """
        self._check("generate")
        if isinstance(prompts, str):
            options |= {"stop_at_newline": stop_at_newline}
            return self.generate([prompts], **options)[0]
        config, generates = GenerationConfig(**options), self._generates
        if not len(prompts):
            return []
        key = config, stop_at_newline
        if key not in self._generators:
            stop = generates.stop_id if stop_at_newline else None
            self._generators[key] = Generator(
                self._language_model, config, stop, generates.never
            )
        found = self._generators[key].generate(generates.encode(list(prompts)))
        return list(map(generates.decode, found))

    def token_ids(
        self, texts: Sequence[Text], max_seq_length: int | None = None
    ) -> np.ndarray:
        """Cuts texts into pieces, as word2bert.layer with `ids=True` reads them.

        Args:
          texts: a list.
          max_seq_length: pieces of the longest; None: what the model can read.

        Returns:
          int32 [texts, longest], -1 behind the end of a text.

        Raises:
          UserError: the system's units have no ids.
        """
        self._check("encode")
        source = self.system.need("extracts")
        source.units_of_ids([])
        length = max_seq_length or self.longest
        read = [self._line(i, text) for i, text in enumerate(texts)]
        rows = [line.input_ids for line in source.lines(read, length, False)]
        found = np.full((len(rows), max(map(len, rows), default=0)), -1, np.int32)
        for row, ids in zip(found, rows, strict=True):
            row[: len(ids)] = ids
        return found

    @functools.cached_property
    def system(self) -> System:
        """What it is to tasks; see systems.system."""
        if self._source.shapes:
            found = open_system(self._source, self._lower)
        else:
            begin = self._entry.load("begins")
            found = begin(
                self._source.config, (), word_vectors=self.path, **self._words
            )
        language = self._language or files.trained_language(self.path)
        return found.in_language(language).loaded_once()

    @property
    def longest(self) -> int:
        """How many units a text can have."""
        return (self.system.max_length or (None, _LONGEST))[1]

    def _able(self, method):
        need = _NEEDS[method]
        if method in _TASKS:
            return self._trained_to == method
        if need is None:
            return not self._source.shapes or bool(self._tables)
        return bool(getattr(self._entry, need))

    def _check(self, method: str) -> None:
        """Refuses a method that it does not have; says which it has."""
        if self._able(method):
            return
        can = f"it can {', '.join(self.can) or 'do nothing here'}"
        need = _NEEDS[method]
        if need is None:
            raise UserError(f"{self.path} has no vectors of words; {can}")
        try:
            registry.need(self.model_type, need)
        except UserError as error:
            raise UserError(f"{error}; {self.path}: {can}") from None
        _, script = registry.ABILITIES[need]
        raise UserError(
            f"{self.path} was not trained to {method}, which {script} does; {can}"
        )

    def _check_options(self):
        """Refuses options that a system does not read."""
        told = {"language": self._language} | self._words
        reads = set(self._entry.reads)
        if self._entry.load("system").tells_languages:
            reads.add("language")
        if not self._source.shapes:
            reads.add("max_vocab")
        for name, value in told.items():
            if value is not None and name not in reads:
                raise UserError(
                    f"{name}={value!r} is not for {self.model_type} in {self.path}"
                )

    @functools.cached_property
    def _folder(self):
        """Where a task.json may be."""
        is_folder = os.path.isdir(self.path)
        return self.path if is_folder else os.path.dirname(self.path) or "."

    @functools.cached_property
    def _trained_to(self):
        """The method of the folder's task; None without a task."""
        has_weights = bool(self._source.shapes)
        task = trained.find_task(self._source, self._folder) if has_weights else None
        return task and trained.VERBS[task]

    @functools.cached_property
    def _trained(self):
        told = {"language": self._language, "do_lower_case": self._lower}
        told["shared"] = self._variables
        found = trained.load_task(self._source, self._folder, **told)
        made = trained.TrainedModel(*found)
        self._variables |= made.variables
        return made

    def _ask(self, method, texts, one, batch_size):
        """Asks the trained model; of no texts, the answer to one is cut to none."""
        self._check(method)
        check_count("batch_size", batch_size)
        asked = [texts] if one else list(texts)
        some = asked or [self._trained.asking("a")]
        found = self._trained.predict(some, batch_size)
        if one:
            return {name: _plain(values[0]) for name, values in found.items()}
        return {name: values[: len(asked)] for name, values in found.items()}

    @functools.cached_property
    def _tables(self):
        """The names of a model's tables of words, each with other words."""
        tables, kept = word_tables.find(self._source), {}
        for name, table in tables.items():
            if table.entries is not None:
                kept.setdefault(str(table.entries), name)
        return list(kept.values())

    @functools.cached_property
    def _table(self):
        if self._source.shapes:
            parts = [word_tables.read(self._source, name) for name in self._tables]
            words = [word for part in parts for word in part.words]
            found = WordVectors(words, np.concatenate([p.vectors for p in parts]))
        else:
            found = word_vectors.read(self.path)
        return NamedVectors(*found)

    def _line(self, i, text):
        """Returns a text or a pair as the extractor reads it."""
        pair = (text,) if isinstance(text, str) else text
        wants_pairs = self.system.need("extracts").units == "pieces"
        right = isinstance(pair, tuple | list) and len(pair) <= 1 + wants_pairs
        if not (right and pair and all(isinstance(part, str) for part in pair)):
            wanted = "a text, or a pair of texts" if wants_pairs else "a text"
            raise UserError(f"text {i}: got {text!r}; wanted {wanted}")
        # At its last separator a line is split: a text alone may have one in it.
        first, second = (*pair, "")[:2]
        return lines.SEPARATOR.join((first, second)) if wants_pairs else first

    def _word_layers(self):
        """What encode_words gives where no layers are asked for."""
        source = self.system.need("extracts")
        if source.units == "pieces":
            return {"layers": (-1,), "layer_combination": "concat"}
        return {} if len(source.default_layers) > 1 else {"layer_combination": "concat"}

    def _extractor(self, **options):
        if isinstance(options.get("layers"), int):
            options["layers"] = (options["layers"],)
        elif options.get("layers") is not None:
            options["layers"] = tuple(options["layers"])
        weighting = options.get("word_weighting")
        if weighting and "word_weighting" not in self._entry.reads:
            raise UserError(
                f"word_weighting={weighting}: only word vectors are weighted, not "
                f"those of {self.model_type}"
            )
        options = {"max_seq_length": self.longest, **options}
        config = ExtractionConfig(**options)
        if config in self._extractors:
            return self._extractors[config]
        made = FeatureExtractor(config, self.system, shared=self._variables)
        self._variables |= made.variables
        if not (config.stateful or config.word_weighting):  # which keep what they saw
            self._extractors[config] = made
        return made

    @functools.cached_property
    def _generates(self):
        return self.system.need("generates")

    @functools.cached_property
    def _language_model(self):
        """Not the encoder's: a text grows, and nothing may be compiled for a length."""
        return self.system.load_encoder(self._variables)


def _is_one(texts):
    return isinstance(texts, str | tuple)


def _plain(value):
    """Returns Python's str or float of a numpy scalar."""
    return value.item() if isinstance(value, np.generic) else value


def _check_words(sentences):
    """Raises UserError where one is no list of words, but a text."""
    for i, words in enumerate(sentences):
        good = isinstance(words, list | tuple)
        for word in words if good else ():
            good = good and isinstance(word, str) and bool(word)
            good = good and not any(map(str.isspace, word))
        if not good:
            raise UserError(
                f"sentence {i}: got {words!r}; wanted its words, as of text.split()"
            )


def _by_word(i, values, sizes, config):
    """Averages the units of each word: float32 [units, ...] to [words, ...]."""
    if len(values) < sizes.sum():
        raise UserError(
            f"sentence {i} has {sizes.sum()} units, of which max_seq_length="
            f"{config.max_seq_length} has room for {len(values)}"
        )
    if not len(sizes):
        return values[:0]
    counts = sizes.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
    return np.add.reduceat(values, np.cumsum(sizes) - sizes) / counts
