"""How words are found in text, as configs and files beside vocabularies keep it.

A vocabulary is of the words that some rules found, and a text must be read by the same
ones. create_vocab.py and run_word_vectors.py write them beside what they make, records
are made by them, and a model's config has them wherever it is trained or used. Here is
also what notices that a text was read by none; what finds words is in
data_pipeline.corpora.word_splitter.
"""

import contextlib
import contextvars
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from absl import logging

import json_files
from errors import MissingFile, UserError
from tokenization import CJK_RANGES

# "whitespace": what it separates is a word; "english": spaCy's rules for English.
TOKENIZERS = ("whitespace", "english")
# Of stretches of Chinese: jieba's words, or every character is one.
SEGMENTERS = ("jieba", "characters")
_CHOICES = {"tokenizer": TOKENIZERS, "segmenter": SEGMENTERS}
NAMES = tuple(_CHOICES)

CHINESE = re.compile(
    f"[{''.join(f'{chr(low)}-{chr(high)}' for low, high in CJK_RANGES)}]+"
)
_ENOUGH = 1 << 17  # words that are looked at
_FEWEST = 100  # words of which something can be said
# Of Chinese that somebody has cut, words have one to two characters in the mean.
_LONG = 4
_MOST_UNKNOWN = 0.2


@dataclasses.dataclass(frozen=True)
class WordRules:
    """What finds the words of a text.

    Attributes:
      tokenizer: one of TOKENIZERS; None: nobody has said, white space does.
      segmenter: one of SEGMENTERS, for stretches of Chinese first; None: nothing does.

    Raises:
      UserError: another name.
    """

    tokenizer: str | None = None
    segmenter: str | None = None

    def __post_init__(self):
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                wanted = ", ".join(map(repr, known))
                raise UserError(f"{name} is {value!r}, wanted {wanted} or null")

    def to_text(self) -> str:
        """Returns what stands in the file beside a vocabulary."""
        return json.dumps(dataclasses.asdict(self)) + "\n"


def of(values: Any) -> WordRules:
    """Returns the rules in a config or any other object's attributes of their names."""
    return WordRules(**{name: getattr(values, name, None) for name in NAMES})


def beside(path: str) -> str:
    """Returns the file of the rules beside a vocabulary or word vectors."""
    return f"{os.path.splitext(path)[0]}.words.json"


def read_beside(path: str | None) -> WordRules:
    """Reads the rules beside a file; nobody has said, where there are none.

    Raises:
      UserError: the file is damaged; names it.
    """
    try:
        values = json_files.read_object(beside(path)) if path else {}
    except MissingFile:
        values = {}
    unknown = sorted(values.keys() - set(NAMES))
    if unknown:
        raise UserError(f"{beside(path)}: unknown key(s) {', '.join(unknown)}")
    try:
        return WordRules(**values)
    except UserError as error:
        raise UserError(f"{beside(path)}: {error}") from None


def first_said(*rules: WordRules) -> WordRules:
    """Returns of each rule what the first says who says anything."""
    found = {
        name: next((value for r in rules if (value := getattr(r, name))), None)
        for name in NAMES
    }
    return WordRules(**found)


def with_rules(config: Any, rules: WordRules) -> Any:
    """Returns a config that says so, as far as it has keys for it."""
    fields = {field.name for field in dataclasses.fields(config)}
    told = {name: getattr(rules, name) for name in NAMES if name in fields}
    return dataclasses.replace(config, **told)


_unnoticed = contextvars.ContextVar("unnoticed", default=False)


@contextlib.contextmanager
def unnoticed() -> Iterator[None]:
    """Lets words be read of which nothing is noticed: they only try a model."""
    token = _unnoticed.set(True)
    try:
        yield
    finally:
        _unnoticed.reset(token)


@dataclasses.dataclass
class WordsSeen:
    """Notices words that are none: whole clauses of Chinese, or of no vocabulary.

    Attributes:
      words: how many were looked at.
      unknown: how many of them are not in the vocabulary.
      runs: stretches of Chinese in them.
      letters: characters of these stretches.
    """

    words: int = 0
    unknown: int = 0
    runs: int = 0
    letters: int = 0

    def add(self, words: Sequence[str], unknown: int = 0) -> None:
        """Looks at words, if not at enough of them before.

        Args:
          words: as a system has them.
          unknown: how many of them it does not know.
        """
        if self.words < _ENOUGH:
            self.add_text(" ".join(words), len(words), unknown)

    def add_text(self, text: str, words: int, unknown: int) -> None:
        """Looks at a text whose words have white space between them, and their number.

        Every word is looked at; see `add`.
        """
        if _unnoticed.get():
            return
        self.words += words
        self.unknown += unknown
        if not text.isascii():
            found = CHINESE.findall(text)
            self.runs += len(found)
            self.letters += sum(map(len, found))

    def add_counts(self, counts: Iterable[tuple[str, int]]) -> None:
        """Looks at different words, each with how often it is there."""
        for word, count in counts:
            self.words += count
            if not word.isascii():
                for run in CHINESE.findall(word):
                    self.runs += count
                    self.letters += count * len(run)

    def warn(self) -> None:
        """Warns, once a process, of what was noticed."""
        if self.words < _FEWEST or _said:
            return
        if self.runs > _MOST_UNKNOWN * self.words and self.letters > _LONG * self.runs:
            _said.add("segmenter")
            logging.warning(
                "nobody has found words in the Chinese of this text: what stands "
                "between white space and marks has %.1f characters in the mean; "
                "--segmenter=jieba finds words, --segmenter=characters takes every "
                "character for one",
                self.letters / self.runs,
            )
        elif self.unknown > _MOST_UNKNOWN * self.words:
            _said.add("tokenizer")
            logging.warning(
                "%.0f %% of %d words are not in the vocabulary: it is of other texts, "
                "or of words that were found otherwise; --tokenizer=english sets marks "
                "apart, --segmenter=jieba finds the words of Chinese",
                100 * self.unknown / self.words,
                self.words,
            )


_said: set[str] = set()  # what the process has warned of
