"""Articles of an export of Wikipedia as sentences: its markup is left out."""

import bz2
import html
import pathlib
import re
from collections.abc import Iterator
from xml.etree import ElementTree

from data_pipeline.readers import bbc_news

# Innermost first, until none is left: they stand inside one another.
_NESTED = (
    re.compile(r"\{\{[^{}]*\}\}"),
    re.compile(r"\{\|[^{}]*?\|\}", re.DOTALL),
    re.compile(r"\[\[(?:File|Image|Category|[a-z-]{2,12}):[^\[\]]*\]\]"),
)
_REMOVED = re.compile(
    r"<!--.*?-->|<(ref|math|gallery|timeline|table)\b[^>/]*>.*?</\1>|<[^<>]*>",
    re.DOTALL | re.IGNORECASE,
)
_LINK = re.compile(r"\[\[(?:[^|\[\]]*\|)?([^|\[\]]*)\]\]")
_OUTSIDE_LINK = re.compile(r"\[\w+://\S*\s*([^\]]*)\]")
_QUOTES = re.compile(r"'{2,}")
# Headings, lists, tables' rows and what is left of broken markup.
_NO_PROSE = re.compile(r"^\s*[=*#:;|!{}<]|[{}|<>\[\]]|\w+://")
_FEWEST_WORDS = 5  # of a sentence


def read(path: pathlib.Path) -> Iterator[list[str]]:
    """Yields the sentences of each article that has any.

    Args:
      path: an export of pages, as XML in bzip2.
    """
    with bz2.open(path) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag.endswith("}text") and element.text:
                if sentences := sentences_of(element.text):
                    yield sentences
                element.clear()


def sentences_of(markup: str) -> list[str]:
    """The sentences of an article's prose; a redirection has none."""
    if markup.lstrip().upper().startswith("#REDIRECT"):
        return []
    text = _REMOVED.sub(" ", html.unescape(markup))
    for pattern in _NESTED:
        count = 1
        while count:
            text, count = pattern.subn(" ", text)
    text = _OUTSIDE_LINK.sub(r"\1", _LINK.sub(r"\1", text))
    text = html.unescape(_QUOTES.sub("", text)).replace("\xa0", " ")
    return [
        sentence
        for line in text.splitlines()
        if not _NO_PROSE.search(line)
        for sentence in bbc_news.sentences_of(line)
        if len(sentence.split()) >= _FEWEST_WORDS
    ]
