"""What create_pretraining_data.py makes: pairs, tokens, sentences or documents.

What a maker needs is imported when it works: worker processes, which import the script
again, start without TensorFlow.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

_PAIR_SETTINGS = ("max_predictions_per_seq", "masked_lm_prob", "short_seq_prob")
_PAIR_SETTINGS += ("do_whole_word_mask", "dupe_factor", "padded_records")


class RecordMaker(abc.ABC):
    """Makes a system's records.

    Attributes:
      options: name of a flag of create_pretraining_data.py -> its value.
      reads: the flags that it reads, of those that not every maker does.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, options: Mapping[str, Any]):
        """Keeps the flags' values."""
        self.options = options

    @staticmethod
    @abc.abstractmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        """Declares what a record has: its data_pipeline.feature_spec.Feature.

        Args:
          options: those that decide shapes; none, but for BERT's pairs.
        """

    @abc.abstractmethod
    def make(self, files: Sequence[str], output_files: Sequence[str]) -> Any:
        """Writes the records of text files; returns the report, whose lines() it is."""

    def vocab_files(self) -> list[str]:
        """Returns the files that tell the vocabulary."""
        return [self.options["vocab_file"]]

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

    def make(self, files: Sequence[str], output_files: Sequence[str]) -> Any:
        import tokenization
        from data_pipeline.corpora import bert_corpus

        options, vocab_file = self.options, self.options["vocab_file"]
        config = bert_corpus.instance_config(
            vocab_file,
            tokenization.load_vocab(vocab_file),
            **self.settings("max_seq_length", "random_seed", *_PAIR_SETTINGS),
        )
        shared = files, vocab_file, options["do_lower_case"], config, output_files
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

    def make(self, files: Sequence[str], output_files: Sequence[str]) -> Any:
        from data_pipeline.corpora import token_streams

        vocab_file = self.options["vocab_file"]
        settings = self.settings("max_seq_length", "random_seed")
        config = token_streams.stream_config(vocab_file, **settings)
        shared = files, vocab_file, config, output_files
        return token_streams.create(*shared, self.options["num_workers"])


class Sentences(RecordMaker):
    """ELMo's and NNLM's: sentences of words."""

    @staticmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        del options
        from data_pipeline.corpora import sentence_streams

        return sentence_streams.SPEC.features

    def make(self, files: Sequence[str], output_files: Sequence[str]) -> Any:
        from data_pipeline.corpora import sentence_streams

        return sentence_streams.create(
            files,
            self.options["vocab_file"],
            self.options["max_seq_length"],
            output_files,
            self.options["num_workers"],
        )


class Documents(RecordMaker):
    """ULMFiT's: documents in words."""

    reads = frozenset({"segmenter"})

    @staticmethod
    def features(options: Mapping[str, Any]) -> Sequence[Any]:
        return TokenStreams.features(options)

    def make(self, files: Sequence[str], output_files: Sequence[str]) -> Any:
        from data_pipeline.corpora import document_streams

        return document_streams.create(
            files,
            self.options["vocab_file"],
            self.options["max_seq_length"],
            output_files,
            self.options["num_workers"],
            self.options["segmenter"],
        )
