"""Words in text that writes none: Chinese, by jieba (the extra `segment`).

For whole-word masking, as in the Chinese BERT-wwm (Cui et al. 2019), where the pieces
stay the tokenizer's, one a character, and only which of them are masked together
changes; and for systems of whole words.
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence

from errors import MissingExtra
from tokenization import CJK_RANGES

_CHINESE = re.compile(
    f"[{''.join(f'{chr(low)}-{chr(high)}' for low, high in CJK_RANGES)}]+"
)


# A stretch of text, and whether it is a Chinese word.
Part = tuple[str, bool]


def parts(lines: Sequence[str]) -> list[list[Part]]:
    """Cuts lines into Chinese words and what stands between them.

    The tokenizer puts spaces around every Chinese character, so it sees no difference
    between a line and its parts one by one.

    Returns:
      Each line's parts in order; their texts make up the line.
    """
    return [_parts(line) for line in lines]


def spaced(line: str) -> str:
    """Puts spaces between the Chinese words of a line, and around them."""
    return " ".join(text for text, _ in _parts(line))


def _parts(line: str) -> list[Part]:
    found, between = [], ""
    for word in _cutter()(line) if _CHINESE.search(line) else [line]:
        place = 0
        for match in _CHINESE.finditer(word):
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
