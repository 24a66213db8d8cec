"""What create_pretraining_data.py makes: pairs, tokens, sentences or documents.

What a maker needs is imported when it works: worker processes, which import the script
again, start without TensorFlow.
"""

import abc
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import word_rules

_PAIR_SETTINGS = ("max_predictions_per_seq", "masked_lm_prob", "short_seq_prob")
_PAIR_SETTINGS += ("mask_probability", "random_probability", "keep_probability")
_PAIR_SETTINGS += ("do_whole_word_mask", "dupe_factor", "padded_records")


class RecordMaker(abc.ABC):
    """Makes a system's records.

    Attributes:
      options: name of a flag of create_pretraining_data.py -> its value.
      reads: the flags that it reads, of those that not every maker does.
      usual_length: of the longest record, where --max_seq_length does not say.
    """

    reads: ClassVar[frozenset[str]] = frozenset()
    usual_length: ClassVar[int] = 128

    def __init__(self, options: Mapping[str, Any]):
        """Keeps the flags' values."""
        length = options["max_seq_length"] or self.usual_length
        self.options = {**options, "max_seq_length": length}

    @staticmethod
    def problems(options: Mapping[str, Any]) -> Iterator[str]:
        """Yields what is wrong with the flags."""
        del options
        return iter(())

    @staticmethod
    @abc.abstractmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        """Declares what a record has: its data_pipeline.feature_spec.Feature.

        Args:
          options: those that decide shapes; none, but for BERT's pairs.
        """

    @abc.abstractmethod
    def make(self) -> Any:
        """Writes the records; returns the report, whose lines() it is."""

    @functools.cached_property
    def input_files(self) -> list[str]:
        """The text files."""
        import paths

        return paths.find_files(self.options["input_file"].split(","), "input_file")

    @functools.cached_property
    def output_files(self) -> list[str]:
        """The files to write."""
        from data_pipeline.corpora import shards

        return shards.shard_files(*self._outputs())

    def _outputs(self):
        return self.options["output_file"], self.options["num_output_shards"]

    def inputs(self) -> dict[str, list[str]]:
        """Returns the files to read, by their flags."""
        return {"input_file": self.input_files, "vocab_file": self.vocab_files()}

    def vocab_files(self) -> list[str]:
        """Returns the files that tell the vocabulary."""
        return [self.options["vocab_file"]]

    @functools.cached_property
    def rules(self) -> word_rules.WordRules:
        """What finds words: as the flags say, or the file beside the vocabulary."""
        given = word_rules.WordRules(**self.settings(*word_rules.NAMES))
        beside = word_rules.read_beside(self.options["vocab_file"])
        return word_rules.first_said(given, beside)

    def settings(self, *names: str) -> dict[str, Any]:
        """Returns the values of some flags, by their names."""
        return {name: self.options[name] for name in names}


class Pairs(RecordMaker):
    """BERT's: pairs of sentences with masked pieces."""

    reads = frozenset(
        (*_PAIR_SETTINGS, "random_seed", "do_lower_case", "compatible", "segmenter")
        + ("pipeline", "beam_args")
    )

    @staticmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        from data_pipeline.corpora import bert_records

        return bert_records.features(options["max_predictions_per_seq"])

    def make(self) -> Any:
        import tokenization
        from data_pipeline.corpora import bert_corpus

        options, vocab_file = self.options, self.options["vocab_file"]
        config = bert_corpus.instance_config(
            vocab_file,
            tokenization.load_vocab(vocab_file),
            **self.settings("max_seq_length", "random_seed", *_PAIR_SETTINGS),
        )
        texts = self.input_files, vocab_file, options["do_lower_case"]
        shared = *texts, config, self.output_files
        if options["compatible"]:
            from data_pipeline.corpora import bert_compatible

            return bert_compatible.create(*shared)
        segmented = bool(options["segmenter"])
        if options["pipeline"] == "beam":
            from data_pipeline.corpora import bert_beam

            return bert_beam.create(*shared, options["beam_args"], segmented)
        from data_pipeline.corpora import bert_pairs

        return bert_pairs.create(*shared, options["num_workers"], segmented)


class TokenStreams(RecordMaker):
    """GPT's: runs of tokens."""

    reads = frozenset({"random_seed"})

    @staticmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        del options
        from data_pipeline.corpora import token_streams

        return token_streams.features()

    def vocab_files(self) -> list[str]:
        """Returns the pieces' file, and that of the merges beside it."""
        import tokenization_bpe

        vocab_file = self.options["vocab_file"]
        return [vocab_file, tokenization_bpe.merges_beside(vocab_file)]

    def make(self) -> Any:
        from data_pipeline.corpora import token_streams

        vocab_file = self.options["vocab_file"]
        settings = self.settings("max_seq_length", "random_seed")
        config = token_streams.stream_config(vocab_file, **settings)
        shared = self.input_files, vocab_file, config, self.output_files
        return token_streams.create(*shared, self.options["num_workers"])


class Sentences(RecordMaker):
    """ELMo's and NNLM's: sentences of words."""

    reads = frozenset(word_rules.NAMES)

    @staticmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        del options
        from data_pipeline.corpora import sentence_streams

        return sentence_streams.SPEC.features

    def make(self) -> Any:
        from data_pipeline.corpora import sentence_streams
        from data_pipeline.corpora.word_splitter import WordSplitter

        return sentence_streams.create(
            self.input_files,
            self.options["vocab_file"],
            self.options["max_seq_length"],
            self.output_files,
            self.options["num_workers"],
            WordSplitter.of(self.rules),
        )


class Documents(RecordMaker):
    """ULMFiT's: documents in words."""

    reads = frozenset({"segmenter"})

    @staticmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        return TokenStreams.features(options)

    def make(self) -> Any:
        from data_pipeline.corpora import document_streams

        return document_streams.create(
            self.input_files,
            self.options["vocab_file"],
            self.options["max_seq_length"],
            self.output_files,
            self.options["num_workers"],
            self.rules.segmenter,
        )


class LanguageStreams(RecordMaker):
    """XLM's: runs of pieces of one language, and pairs of sentences of two."""

    reads = frozenset(
        {"random_seed", "do_lower_case", "languages", "parallel", "max_vocab"}
    )
    usual_length = 256  # the original's --bptt

    @staticmethod
    def problems(options: Mapping[str, Any]) -> Iterator[str]:
        from data_pipeline.corpora import language_texts

        flags = (options[name] for name in ("languages", "input_file", "parallel"))
        return language_texts.problems(*flags)

    @staticmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        del options
        from data_pipeline.corpora import language_streams

        return language_streams.features()

    @functools.cached_property
    def texts(self) -> dict[str, list[str]]:
        """Language -> its files."""
        import paths
        from data_pipeline.corpora import language_texts

        options = self.options
        named = language_texts.patterns(options["languages"], options["input_file"])
        return {
            name: paths.find_files(patterns, "input_file")
            for name, patterns in named.items()
        }

    @functools.cached_property
    def pairs(self) -> dict[str, list[str]]:
        """Pair of languages -> its two files."""
        import paths
        from data_pipeline.corpora import language_texts

        parallel = self.options["parallel"] or ""
        named = language_texts.pairs(self.options["languages"], parallel)
        return {
            name: [paths.find_files([path], "parallel")[0] for path in files]
            for name, files in named.items()
        }

    @functools.cached_property
    def input_files(self) -> list[str]:
        """All text files."""
        return [path for files in self.texts.values() for path in files]

    @functools.cached_property
    def written(self) -> dict[str, list[str]]:
        """Language or pair -> the files to write, with it at the end of their name."""
        from data_pipeline.corpora import shards

        names, number = self._outputs()
        return {
            name: shards.shard_files(
                ",".join(f"{path}.{name}" for path in names.split(",")), number
            )
            for name in (*self.texts, *self.pairs)
        }

    @functools.cached_property
    def output_files(self) -> list[str]:
        """All files to write."""
        return [path for files in self.written.values() for path in files]

    def inputs(self) -> dict[str, list[str]]:
        pairs = [path for files in self.pairs.values() for path in files]
        return {**super().inputs(), "parallel": pairs}

    def vocab_files(self) -> list[str]:
        """Returns the vocabulary, and the codes beside it."""
        import tokenization_xlm

        vocab_file = self.options["vocab_file"]
        return [vocab_file, tokenization_xlm.codes_beside(vocab_file)]

    def make(self) -> Any:
        from data_pipeline.corpora import language_streams

        names = ("vocab_file", "do_lower_case", "max_vocab", "max_seq_length")
        config = language_streams.Config(**self.settings(*names, "random_seed"))
        return language_streams.create(
            self.texts, self.pairs, config, self.written, self.options["num_workers"]
        )
