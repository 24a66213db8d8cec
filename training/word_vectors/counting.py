"""What GloVe and SVD share: they learn from co-occurrences, which are counted first."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from absl import logging

import json_files
from checkpoints.files import write_json
from data_pipeline import tfrecord
from data_pipeline.corpora import cooccurrences, word_counts
from data_pipeline.corpora.cooccurrences import CooccurrenceConfig
from data_pipeline.corpora.word_corpus import WordCorpus
from data_pipeline.corpora.word_counts import WordCounts
from errors import UserError
from training.word_vectors.learner import Learner, RunConfig, hash_of

COUNTS = "cooccurrences.bin"
_BESIDE = ".json"  # behind the file's name: what it was counted from
_WORDS = "words"
_SHAPING = ("text", "vocabulary", "window", "symmetric", "distance_weighting")


@dataclasses.dataclass(frozen=True)
class CountingLearner(Learner):
    """How pairs of words are counted; names and defaults are the original GloVe's.

    Attributes:
      window: the largest distance of two words.
      symmetric: 1, or 0: only words on the left are contexts.
      distance_weighting: 1: words at distance d count 1 / d; 0: all count 1.
      memory: gigabytes to count in, about.
      cooccurrence_file: counts that are there already, and used instead of a text.
    """

    chooses_of_vocabulary: ClassVar[bool] = False
    output_fields: ClassVar[frozenset[str]] = frozenset({"memory"})

    vector_size: int = 50
    min_count: int = 1
    max_vocab: int | None = None
    window: int = 15
    symmetric: int = 1
    distance_weighting: int = 1
    memory: float = 4.0
    cooccurrence_file: str | None = None

    @property
    def reads_text(self) -> bool:
        return self.cooccurrence_file is None

    def vocabulary(self, found: WordCounts, num_lines: int) -> WordCounts:
        return word_counts.glove_order(found, self.min_count, self.max_vocab)

    def read_vocabulary(
        self, found: WordCounts, corpus: WordCorpus | None
    ) -> WordCounts:
        return found  # as it is, for it may say what the numbers in a file are

    def settings(
        self, corpus: WordCorpus | None, counts: WordCounts, run: RunConfig
    ) -> dict[str, Any]:
        found = super().settings(corpus, counts, run)
        if self.cooccurrence_file:
            found["cooccurrence_file"] = tfrecord.fingerprint(self.cooccurrence_file)
        return found

    def count(
        self,
        corpus: WordCorpus | None,
        counts: WordCounts,
        run: RunConfig,
        settings: Mapping[str, Any],
    ) -> str:
        """Counts pairs, unless it was done by an earlier run with the same folder.

        Args:
          corpus: the text, or None.
          counts: the vocabulary.
          run: where.
          settings: see `learn`.

        Returns:
          The file of co-occurrences.

        Raises:
          UserError: see cooccurrences.count, or `check` of the file that is there.
        """
        if corpus is None:
            self._check_words(counts)
            cooccurrences.check(self.cooccurrence_file, len(counts))
            return self.cooccurrence_file
        path = os.path.join(run.output_dir, COUNTS)
        counted = path + _BESIDE
        wanted = {name: settings[name] for name in _SHAPING} | _words(counts)
        if os.path.exists(counted):
            if json_files.read(counted) == wanted:
                logging.info("%s was counted before", path)
                cooccurrences.check(path, len(counts))
                return path
            os.remove(counted)
        config = CooccurrenceConfig(
            self.window,
            bool(self.symmetric),
            bool(self.distance_weighting),
            self.memory,
        )
        found = cooccurrences.count(
            corpus.blocks(counts.words), len(counts), path, config
        )
        logging.info(
            "%d words of the vocabulary, %d pairs of them, counted in %d runs",
            *dataclasses.astuple(found),
        )
        write_json(counted, wanted)
        return path

    def _check_words(self, counts):
        """Refuses what was counted here with others; the original's may be any."""
        beside = self.cooccurrence_file + _BESIDE
        if not os.path.exists(beside):
            return
        found = json_files.read_object(beside).get(_WORDS)
        wanted = _words(counts)[_WORDS]
        if found != wanted:
            raise UserError(
                f"--cooccurrence_file={self.cooccurrence_file}: counted with another "
                f"vocabulary than --read_vocab: {beside} has {found}, that has {wanted}"
            )


def _words(counts):
    """Tells words and their order from others."""
    return {_WORDS: f"{len(counts)} words, {hash_of(' '.join(counts.words))}"}
