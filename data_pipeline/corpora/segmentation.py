"""Words in text that writes none: Chinese, by jieba (the extra `segment`).

For whole-word masking, as in the Chinese BERT-wwm (Cui et al. 2019), where the pieces
stay the tokenizer's, one a character, and only which of them are masked together
changes; and for systems of whole words, for which every character may be one, too.
"""

import functools
from collections.abc import Callable, Iterable, Sequence

from errors import MissingExtra
from word_rules import CHINESE

# A stretch of text, and whether it is a Chinese word.
Part = tuple[str, bool]


def parts(lines: Sequence[str], segmenter: str = "jieba") -> list[list[Part]]:
    """Cuts lines into Chinese words and what stands between them.

    The tokenizer puts spaces around every Chinese character, so it sees no difference
    between a line and its parts one by one.

    Args:
      lines: any text.
      segmenter: one of word_rules.SEGMENTERS.

    Returns:
      Each line's parts in order; their texts make up the line.
    """
    return [_parts(line, segmenter) for line in lines]


def spacer(segmenter: str | None) -> Callable[[str], str] | None:
    """Returns what puts spaces between the Chinese words of a line; None for None."""
    return segmenter and functools.partial(_spaced, segmenter=segmenter)


def _spaced(line, segmenter):
    return " ".join(text for text, _ in _parts(line, segmenter))


def _parts(line: str, segmenter: str) -> list[Part]:
    found, between = [], ""
    cut = list if segmenter == "characters" else _jieba
    for word in cut(line) if CHINESE.search(line) else [line]:
        place = 0
        for match in CHINESE.finditer(word):
            between += word[place : match.start()]
            if between:
                found.append((between, False))
                between = ""
            found.append((match.group(), True))
            place = match.end()
        between += word[place:]
    if between:
        found.append((between, False))
    return found


def _jieba(line: str) -> Iterable[str]:
    return _cutter()(line)


@functools.cache
def _cutter() -> Callable[[str], Iterable[str]]:
    try:
        import jieba
    except ImportError as error:
        raise MissingExtra(
            "--segmenter=jieba needs the package jieba: "
            'pip install "word2bert[segment]"'
        ) from error
    jieba.setLogLevel("ERROR")
    jieba.initialize()
    return jieba.cut
