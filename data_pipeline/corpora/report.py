"""What the making of pre-training data tells at its end."""

import dataclasses

from word_rules import WordsSeen


@dataclasses.dataclass
class Report:
    """What was read and written.

    Attributes:
      documents: documents with at least one sentence.
      sentences: lines with at least one piece.
      tokens: pieces of the corpus.
      unknown: how many of them stand for something not in the vocabulary.
      instances: written.
      instance_tokens: pieces of all instances, special ones included.
    """

    documents: int = 0
    sentences: int = 0
    tokens: int = 0
    unknown: int = 0
    instances: int = 0
    instance_tokens: int = 0

    def warn(self) -> None:
        """Warns of what is strange about the text."""

    def add(self, other: "Report") -> None:
        """Adds another's counts, all or some of this one's kind, to this one's."""
        for field in dataclasses.fields(other):
            total = getattr(self, field.name) + getattr(other, field.name)
            setattr(self, field.name, total)

    def lines(self, max_seq_length: int, seconds: float) -> list[str]:
        """The report as `name = value` lines.

        Args:
          max_seq_length: that batches may be padded to.
          seconds: the whole run took.
        """
        room = max(1, self.instances) * max_seq_length
        return [
            f"documents = {self.documents}",
            f"sentences = {self.sentences}",
            f"tokens = {self.tokens}",
            f"unk_rate = {self.unknown / max(1, self.tokens):.6f}",
            f"instances = {self.instances}",
            f"padding_share = {1 - self.instance_tokens / room:.4f}",
            *self._shares(),
            f"seconds = {seconds:.1f}",
            f"tokens_per_second = {self.tokens / seconds:.0f}",
        ]

    def _shares(self) -> list[str]:
        """Lines on what only some kind of instances has."""
        return []


@dataclasses.dataclass
class WordReport(Report):
    """The report on text that was read in whole words.

    Attributes:
      chinese_runs: see WordsSeen.
      chinese_letters: see WordsSeen.
    """

    chinese_runs: int = 0
    chinese_letters: int = 0

    def notice(self, seen: WordsSeen) -> None:
        """Adds what was seen in Chinese words."""
        self.chinese_runs += seen.runs
        self.chinese_letters += seen.letters

    def warn(self) -> None:
        runs = self.chinese_runs, self.chinese_letters
        WordsSeen(self.tokens, self.unknown, *runs).warn()


@dataclasses.dataclass
class PairReport(Report):
    """The report on pairs of sentences with masked pieces.

    Attributes:
      random_next: instances whose B is not what follows A.
      predictions: masked pieces.
    """

    random_next: int = 0
    predictions: int = 0

    def _shares(self) -> list[str]:
        return [
            f"masked_share = {self.predictions / max(1, self.instance_tokens):.4f}",
            f"random_next_share = {self.random_next / max(1, self.instances):.4f}",
        ]
