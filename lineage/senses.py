"""Occurrences of words with two senses, labelled by words that stand around them.

The rules are in a YAML file, `configs/lineage/senses.yml`. A rule reads the words
beside an occurrence, and so may whatever is measured on it. So each occurrence has a
second form, in which every word of its rule is replaced.
"""

import dataclasses
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import yaml

import tokenization_english
from errors import UserError

REPLACEMENT = "something"
REACH = 20  # words of the sentence that are kept on each side
_KEYS = {"window", "words"}


@dataclasses.dataclass(frozen=True)
class Rule:
    """What tells the two senses of a word apart.

    Attributes:
      word: in lower case.
      cues: sense -> words that tell it; two senses, which share no word.
      window: how many words before and after are looked at.
    """

    word: str
    cues: Mapping[str, frozenset[str]]
    window: int

    def sense(self, words: Sequence[str], place: int) -> str | None:
        """Returns the sense of the word at `place`; None where it cannot be told."""
        first = max(0, place - self.window)
        around = {*words[first:place], *words[place + 1 : place + self.window + 1]}
        found = [sense for sense, cues in self.cues.items() if cues & around]
        return found[0] if len(found) == 1 else None


@dataclasses.dataclass(frozen=True)
class Occurrence:
    """A word with two senses in its sentence.

    Attributes:
      word: the word, which the sentence has once.
      sense: which sense is meant.
      document: the number of the document that has the sentence.
      words: the words around it, at most REACH to each side, and itself.
      place: where it is in them.
      hidden: `words`, but with REPLACEMENT for each word of the rule.
    """

    word: str
    sense: str
    document: int
    words: tuple[str, ...]
    place: int
    hidden: tuple[str, ...]


def read_rules(path: str) -> list[Rule]:
    """Reads a file of rules.

    Raises:
      UserError: it is not as `configs/lineage/senses.yml` shows; names the word.
    """
    with open(path, encoding="utf-8") as file:
        try:
            content = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise UserError(
                f"{path}: no YAML: {' '.join(str(error).split())}"
            ) from None
    if not isinstance(content, dict) or set(content) != _KEYS:
        raise UserError(f"{path}: wanted the keys {', '.join(sorted(_KEYS))}")
    window = content["window"]
    if not isinstance(window, int) or window < 1:
        raise UserError(f"{path}: window is {window!r}; wanted a number of words")
    return [_rule(path, *item, window) for item in content["words"].items()]


def _rule(path, word, senses, window):
    where = f"{path}: {word}"
    if not isinstance(senses, dict) or len(senses) != 2:
        raise UserError(f"{where}: wanted two senses, each with a list of words")
    cues = {}
    for sense, words in senses.items():
        for cue in words:
            if not isinstance(cue, str) or cue != cue.lower() or cue == word:
                raise UserError(f"{where}: {sense} has {cue!r}; wanted other words")
        cues[sense] = frozenset(words)
    shared = frozenset.intersection(*cues.values())
    if shared:
        raise UserError(f"{where}: both senses have {', '.join(sorted(shared))}")
    return Rule(word, cues, window)


def read_documents(paths: Iterable[str]) -> Iterator[list[str]]:
    """Yields documents as lists of sentences.

    Args:
      paths: files with a sentence a line and a blank line between documents.
    """
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for filled, lines in itertools.groupby(
                file, lambda line: bool(line.strip())
            ):
                if filled:
                    yield list(lines)


def words_of(sentence: str) -> list[str]:
    """Splits a sentence into words and marks, in lower case."""
    chunks = map(tokenization_english.split, sentence.lower().split())
    return [word for chunk in chunks for word in chunk]


def find(documents: Iterable[Sequence[str]], rules: Sequence[Rule]) -> list[Occurrence]:
    """Finds the occurrences whose sense the rules tell, each sentence once.

    Sentences are read in lower case, since a capital alone would tell one sense of
    apple from the other.
    """
    found: dict[tuple[str, tuple[str, ...]], Occurrence] = {}
    for number, document in enumerate(documents):
        for line in document:
            lower = line.lower()
            likely = [rule for rule in rules if rule.word in lower]
            words = words_of(lower) if likely else []
            for rule in likely:
                occurrence = _occurrence(rule, words, number)
                if occurrence:
                    found.setdefault((rule.word, occurrence.words), occurrence)
    return list(found.values())


def _occurrence(rule, sentence, document):
    if sentence.count(rule.word) != 1:
        return None
    place = sentence.index(rule.word)
    sense = rule.sense(sentence, place)
    if sense is None:
        return None
    first = max(0, place - REACH)
    words = tuple(sentence[first : place + REACH + 1])
    cues = frozenset.union(*rule.cues.values())
    hidden = tuple(REPLACEMENT if word in cues else word for word in words)
    return Occurrence(rule.word, sense, document, words, place - first, hidden)


def balanced(
    occurrences: Iterable[Occurrence], fewest: int, most: int, seed: int
) -> dict[str, list[Occurrence]]:
    """Draws equally many occurrences of both senses of each word.

    So the share of either sense is one half, which is what a guess is worth.

    Args:
      occurrences: of any words.
      fewest: a word that has fewer of one sense is left out.
      most: of each sense.
      seed: of the draw.

    Returns:
      By their words; sense by sense, in the order in which they were found.
    """
    senses: dict[str, dict[str, list[Occurrence]]] = {}
    for one in occurrences:
        senses.setdefault(one.word, {}).setdefault(one.sense, []).append(one)
    drawn = {}
    for word, by_sense in sorted(senses.items()):
        number = min(most, *map(len, by_sense.values()))
        if len(by_sense) == 2 and number >= fewest:
            rng = random.Random(f"{seed} {word}")
            drawn[word] = [
                found[i]
                for _, found in sorted(by_sense.items())
                for i in sorted(rng.sample(range(len(found)), number))
            ]
    return drawn
