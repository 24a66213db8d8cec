"""What create_vocab.py learns: word pieces, byte pairs, or words."""

import abc
import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from absl import logging

import tokenization_bpe
import tokenization_ulmfit
import tokenization_xlm
import vocabulary
import word_rules
from data_pipeline.corpora import (
    bpe_learner,
    language_texts,
    segmentation,
    wordpiece_learner,
)
from data_pipeline.corpora.word_splitter import WordSplitter
from errors import UserError


@dataclasses.dataclass(frozen=True)
class Learnt:
    """A vocabulary, and how it does on the text it was learnt from.

    Attributes:
      files: path -> the text to write there.
      pieces: how many there are.
      tokens: pieces that the text makes.
      unknown: how many of them have no id.
      note: a line to print.
    """

    files: Mapping[str, str]
    pieces: int
    tokens: int
    unknown: int
    note: str


@dataclasses.dataclass(frozen=True)
class Learner(abc.ABC):
    """How a system's vocabulary is learnt; made of create_vocab.py's flags.

    Attributes:
      vocab_size: the most pieces.
      min_frequency: occurrences of what becomes a piece.
      do_lower_case: whether the text is lower-cased.
      num_unused: rows without a piece.
      tokenizer: finds words, where a system reads whole ones, see `word_rules`.
      segmenter: finds them in Chinese.
      languages: those of the texts, where there is a text of each.
      output_file: the file's usual name.
      reads: the flags that it reads, of those that not every learner does.
    """

    vocab_size: int
    min_frequency: int
    do_lower_case: bool
    num_unused: int
    tokenizer: str | None = None
    segmenter: str | None = None
    languages: Sequence[str] = ()

    output_file: ClassVar[str] = "vocab.txt"
    reads: ClassVar[frozenset[str]] = frozenset()

    def outputs(self, output: str) -> list[str]:
        """Returns the files that are written where the first is to be `output`."""
        return [output]

    def problems(self, output: str, input_file: str | None) -> Iterator[str]:
        """Yields what is wrong with the flags and with what is read and written."""
        del output, input_file
        return iter(())

    def patterns(self, input_file: str) -> dict[str, list[str]]:
        """Returns the names and globs of each text; one that is alone has no name."""
        return {"": input_file.split(",")}

    def count_texts(
        self, texts: Mapping[str, Iterable[str]]
    ) -> dict[str, collections.Counter[str]]:
        """Counts the words of each text, as `count`."""
        return {name: self.count(lines) for name, lines in texts.items()}

    def learn_texts(
        self, texts: Mapping[str, collections.Counter[str]], output: str
    ) -> Learnt:
        """Learns from the words of all texts, as `learn`."""
        (words,) = texts.values()
        return self.learn(words, output)

    @abc.abstractmethod
    def count(self, lines: Iterable[str]) -> collections.Counter[str]:
        """Counts the words of lines, in memory that grows with the distinct ones."""

    @abc.abstractmethod
    def learn(self, words: collections.Counter[str], output: str) -> Learnt:
        """Learns from counted words what is to be written to `output`."""


class WordPieces(Learner):
    """BERT's: pieces of words."""

    reads = frozenset({"do_lower_case", "num_unused"})

    def count(self, lines: Iterable[str]) -> collections.Counter[str]:
        return wordpiece_learner.count_words(lines, self.do_lower_case)

    def learn(self, words: collections.Counter[str], output: str) -> Learnt:
        learnt = wordpiece_learner.learn(
            words,
            self.vocab_size,
            self.min_frequency,
            self.do_lower_case,
            self.num_unused,
        )
        return Learnt(
            {output: "".join(f"{piece}\n" for piece in learnt.pieces)},
            len(learnt.pieces),
            learnt.tokens,
            learnt.unknown,
            f"dropped_pieces = {len(learnt.dropped)}",
        )


class BytePairs(Learner):
    """GPT's: pieces and the merges that make them, in two files."""

    output_file = tokenization_bpe.VOCAB
    reads = frozenset({"do_lower_case", "num_unused"})

    def outputs(self, output: str) -> list[str]:
        return [output, tokenization_bpe.merges_beside(output)]

    def problems(self, output: str, input_file: str | None) -> Iterator[str]:
        del input_file
        try:
            self.outputs(output)
        except UserError as error:
            yield str(error)
        if not self.do_lower_case or self.num_unused:
            yield (
                f"--do_lower_case={self.do_lower_case} --num_unused={self.num_unused} "
                "with --model_type=gpt: its words are always lower-cased, and it has "
                "no unused rows"
            )

    def count(self, lines: Iterable[str]) -> collections.Counter[str]:
        return bpe_learner.count_words(lines)

    def learn(self, words: collections.Counter[str], output: str) -> Learnt:
        learnt = bpe_learner.learn(words, self.vocab_size, self.min_frequency)
        texts = tokenization_bpe.file_texts(learnt.pieces, learnt.merges)
        return Learnt(
            dict(zip(self.outputs(output), texts, strict=True)),
            len(learnt.pieces),
            learnt.tokens,
            learnt.unknown,
            f"merges = {len(learnt.merges)}",
        )


class LanguageBytePairs(Learner):
    """XLM's: byte pairs that languages share, in fastBPE's two files."""

    output_file = tokenization_xlm.VOCAB
    reads = frozenset({"do_lower_case", "languages"})

    def outputs(self, output: str) -> list[str]:
        return [output, tokenization_xlm.codes_beside(output)]

    def problems(self, output: str, input_file: str | None) -> Iterator[str]:
        yield from language_texts.problems(self.languages, input_file)
        try:
            self.outputs(output)
        except UserError as error:
            yield str(error)

    def patterns(self, input_file: str) -> dict[str, list[str]]:
        return language_texts.patterns(self.languages, input_file)

    def count_texts(
        self, texts: Mapping[str, Iterable[str]]
    ) -> dict[str, collections.Counter[str]]:
        def words(lines, language):
            for line in lines:
                yield tokenization_xlm.prepare(line, language, self.do_lower_case)

        return {name: self.count(words(lines, name)) for name, lines in texts.items()}

    def count(self, lines: Iterable[str]) -> collections.Counter[str]:
        """Counts what stands between white space."""
        return collections.Counter(word for line in lines for word in line.split())

    def learn_texts(
        self, texts: Mapping[str, collections.Counter[str]], output: str
    ) -> Learnt:
        """Learns merges from languages in other shares; all words count as pieces.

        See language_texts.smoothed.
        """
        sampled = language_texts.smoothed(texts)
        room = self.vocab_size - len(tokenization_xlm.SPECIAL)
        words = sum(texts.values(), collections.Counter())
        codes, pieces = bpe_learner.learn_codes(
            sampled, words, room, self.min_frequency
        )
        if not codes:
            logging.warning(
                "no pieces were joined, all are single characters: these take all of "
                "--vocab_size=%d, with two places each, inside a word and at its end; "
                "or no two are neighbours --min_frequency=%d times",
                self.vocab_size,
                self.min_frequency,
            )
        kept = pieces.most_common(room)
        known = sum(count for _, count in kept)
        names = self.outputs(output)
        return Learnt(
            dict(zip(names, tokenization_xlm.file_texts(kept, codes), strict=True)),
            len(kept) + len(tokenization_xlm.SPECIAL),
            pieces.total(),
            pieces.total() - known,
            f"codes = {len(codes)}",
        )

    def learn(self, words: collections.Counter[str], output: str) -> Learnt:
        return self.learn_texts({"": words}, output)


class WholeWords(Learner):
    """ELMo's and NNLM's: the most frequent words, as they are.

    Beside them lies what found them, see `word_rules`.
    """

    reads = frozenset(word_rules.NAMES)

    def outputs(self, output: str) -> list[str]:
        return [output, word_rules.beside(output)]

    def count(self, lines: Iterable[str]) -> collections.Counter[str]:
        split = WordSplitter.of(word_rules.of(self)).words
        counts = collections.Counter()
        for line in lines:
            counts.update(split(line))
        return counts

    def learn(self, words: collections.Counter[str], output: str) -> Learnt:
        kept = vocabulary.most_frequent(words, self.vocab_size, self.min_frequency)
        text = vocabulary.file_text(kept)
        return self._kept(words, kept, vocabulary.MARKS, {output: text})

    def _kept(self, words, kept, marks, file):
        """What was learnt, or why nothing but marks is left."""
        seen = word_rules.WordsSeen()
        seen.add_counts(words.items())
        seen.warn()
        if len(kept) <= len(marks):
            raise UserError(
                f"none of {len(words)} words stands "
                f"--min_frequency={self.min_frequency} times and fits into "
                f"--vocab_size={self.vocab_size} beside the {len(marks)} marks"
            )
        tokens, known = words.total(), sum(words[word] for word in kept)
        rarest = f"rarest_count = {words[kept[-1]]}"
        (output,) = file
        file[word_rules.beside(output)] = word_rules.of(self).to_text()
        return Learnt(file, len(kept), tokens, tokens - known, rarest)


class MarkedWords(WholeWords):
    """ULMFiT's: the most frequent words of running text, after fastai's marks."""

    reads = frozenset({"segmenter"})

    def count(self, lines: Iterable[str]) -> collections.Counter[str]:
        chunks = collections.Counter()
        spaced = segmentation.spacer(self.segmenter)
        for line in lines:
            if spaced:
                line = spaced(line)
            cleaned = tokenization_ulmfit.clean(line)
            chunks.update(tokenization_ulmfit.chunks(cleaned))
        words = collections.Counter()
        for chunk, number in chunks.items():
            for word in tokenization_ulmfit.chunk_tokens(chunk):
                words[word] += number
        return words

    def learn(self, words: collections.Counter[str], output: str) -> Learnt:
        marks = tokenization_ulmfit.SPECIAL
        found = sorted(
            (-count, word)
            for word, count in words.items()
            if count >= self.min_frequency and word not in marks
        )
        kept = [*marks, *(word for _, word in found)][: self.vocab_size]
        file = {output: tokenization_ulmfit.file_text(kept)}
        return self._kept(words, kept, marks, file)
