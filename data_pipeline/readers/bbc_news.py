"""BBC News (Greene and Cunningham 2006): <class>/*.txt, an article a file."""

import dataclasses
import pathlib
import random
import re
from collections.abc import Iterable, Sequence

from errors import UserError

# After a full stop, where the next sentence begins with a capital, a digit or a quote.
_SENTENCE_END = re.compile(r"(?<=[.!?][\"'\s])\s*(?=[\"'(]?[A-Z0-9\u00a3])")

_SHARES = {"train": 0.7, "dev": 0.1, "test": 0.2}
_SPLIT_SEED = 2225


@dataclasses.dataclass(frozen=True)
class Article:
    """One article.

    Attributes:
      label: its class.
      paragraphs: its lines that are not blank; the first is the headline.
    """

    label: str
    paragraphs: tuple[str, ...]

    @property
    def text(self) -> str:
        """The article on one line."""
        return " ".join(" ".join(self.paragraphs).split())

    def sentences(self) -> list[str]:
        """Splits the paragraphs."""
        return [part for line in self.paragraphs for part in sentences_of(line)]


def sentences_of(paragraph: str) -> list[str]:
    """Splits a paragraph, without blanks around its sentences."""
    parts = (part.strip() for part in _SENTENCE_END.split(paragraph))
    return [part for part in parts if part]


def read_articles(folder: pathlib.Path) -> list[Article]:
    """Reads all articles, in the order of their files.

    Returns:
      Each text once: one in twenty repeats another exactly, and would put the same
      text into training and test.

    Raises:
      UserError: no article at all, or an empty one.
    """
    articles = {}
    for file in sorted(folder.glob("*/*.txt")):
        data = file.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:  # A pound sign as the byte A3.
            text = data.decode("latin-1")
        lines = (line.strip() for line in text.splitlines())
        article = Article(file.parent.name, tuple(line for line in lines if line))
        if not article.paragraphs:
            raise UserError(f"{file}: the article is empty")
        articles.setdefault(article.text, article)
    if not articles:
        raise UserError(f"{folder}: wanted <class>/*.txt, found no such file")
    return list(articles.values())


def by_class(articles: Iterable[Article]) -> dict[str, list[Article]]:
    """Sorts articles by their class; classes stand in the order of their names."""
    classes = {}
    for article in articles:
        classes.setdefault(article.label, []).append(article)
    return dict(sorted(classes.items()))


def few_of_each(articles: Iterable[Article], number: int, seed: int) -> list[Article]:
    """Draws as many articles of each class, in a seeded order.

    Raises:
      UserError: a class has fewer.
    """
    rng = random.Random(seed)
    drawn = []
    for label, found in by_class(articles).items():
        if len(found) < number:
            raise UserError(
                f"class {label!r} has {len(found)} articles; wanted {number}"
            )
        drawn += rng.sample(found, number)
    rng.shuffle(drawn)
    return drawn


def split(articles: Iterable[Article]) -> dict[str, list[Article]]:
    """Draws train, dev and test: of each class their shares, in a seeded order."""
    rng = random.Random(_SPLIT_SEED)
    parts = {name: [] for name in _SHARES}
    for found in by_class(articles).values():
        found = rng.sample(found, len(found))
        first = round(len(found) * _SHARES["train"])
        last = first + round(len(found) * _SHARES["dev"])
        cut = found[:first], found[first:last], found[last:]
        for name, part in zip(_SHARES, cut, strict=True):
            parts[name] += part
    for part in parts.values():
        rng.shuffle(part)
    return parts


def hold_out(
    articles: Sequence[Article], seed: int, every: int = 10
) -> tuple[list[Article], list[Article]]:
    """Splits articles, in a seeded order: most of them, and every tenth."""
    drawn = list(articles)
    random.Random(seed).shuffle(drawn)
    return [a for i, a in enumerate(drawn) if i % every], drawn[::every]


def to_text(articles: Iterable[Article]) -> str:
    """Lays articles out for pre-training: a sentence a line, a blank line between."""
    return "\n\n".join("\n".join(article.sentences()) for article in articles) + "\n"
