"""Learns a WordPiece vocabulary from text (the extra `vocab`).

The merging is `tokenizers`' (byte pair encoding with "##" inside words, as the
released vocabularies look); what it is fed and what is kept of its result is decided
here: words are counted as `tokenization.BasicTokenizer` makes them, and a piece that
`tokenization.FullTokenizer` can never produce is dropped.
"""

import collections
import dataclasses
import re
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence

from errors import MissingExtra, UserError
from tokenization import (
    CJK_RANGES,
    MAX_CHARS_PER_WORD,
    UNK_TOKEN,
    BasicTokenizer,
    WordpieceTokenizer,
)

SPECIAL_TOKENS = ("[PAD]", UNK_TOKEN, "[CLS]", "[SEP]", "[MASK]")
# As many [unused] rows as the release has between [PAD] and [UNK].
_UNUSED_BEFORE_UNK = 99
# The rarest characters, one occurrence in 20,000 taken together, become [UNK]: a
# large corpus has thousands of them, each of which would cost a row.
_CHARACTER_COVERAGE = 0.99995
_WORDS_A_LINE = 1000

# What BasicTokenizer surely separates, so that its work can be done once for each
# distinct stretch: white space, and Chinese characters.
_CHINESE = "".join(f"{chr(low)}-{chr(high)}" for low, high in CJK_RANGES)
_STRETCHES = re.compile(f"[{_CHINESE}]|[^ \t\n\r{_CHINESE}]+")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A learnt vocabulary, and how it does on the text it was learnt from.

    Attributes:
      pieces: in the order of their ids.
      dropped: pieces that were learnt but could never be produced.
      tokens: pieces that the text makes.
      unknown: how many of them are [UNK].
    """

    pieces: list[str]
    dropped: list[str]
    tokens: int
    unknown: int


def count_words(lines: Iterable[str], do_lower_case: bool) -> collections.Counter[str]:
    """Counts the words that BasicTokenizer makes of all lines.

    Memory grows with the distinct words, not with the text.
    """
    stretches = collections.Counter()
    for line in lines:
        stretches.update(_STRETCHES.findall(line))
    basic = BasicTokenizer(do_lower_case)
    words = collections.Counter()
    for stretch, count in stretches.items():
        for word in basic.tokenize(stretch):
            words[word] += count
    return words


def learn(
    words: Mapping[str, int],
    vocab_size: int,
    min_frequency: int,
    do_lower_case: bool,
    num_unused: int = 0,
) -> Vocabulary:
    """Learns the pieces that spell `words` best.

    Args:
      words: how often each occurs, from `count_words`.
      vocab_size: the most rows, special tokens included.
      min_frequency: of the pair of pieces that a new piece is made from.
      do_lower_case: as for `count_words`; the pieces are tested with it.
      num_unused: rows "[unused0]" and on for a user's own tokens.

    Returns:
      The vocabulary; equal input gives an equal one.

    Raises:
      UserError: there are no words, or no room for a single one.
    """
    first = first_rows(num_unused)
    room = vocab_size - len(first)
    if not words:
        raise UserError("there is no word in the input")
    alphabet = _alphabet(words, room)
    if not alphabet:
        raise UserError(
            f"--vocab_size={vocab_size} leaves no room beside {len(first)} special rows"
        )
    learnt = _merge(words, alphabet, room, min_frequency)
    pieces, dropped, tokens, unknown = _tested(words, learnt, do_lower_case)
    return Vocabulary([*first, *pieces], dropped, tokens, unknown)


def first_rows(num_unused: int) -> list[str]:
    """The special tokens in the released order.

    The release has [PAD], 99 unused rows, [UNK], [CLS], [SEP], [MASK], which gives
    the latter the ids 100 to 103, and then the other unused rows.
    """
    unused = [f"[unused{i}]" for i in range(num_unused)]
    before, after = unused[:_UNUSED_BEFORE_UNK], unused[_UNUSED_BEFORE_UNK:]
    return [SPECIAL_TOKENS[0], *before, *SPECIAL_TOKENS[1:], *after]


def _alphabet(words: Mapping[str, int], room: int) -> list[str]:
    """Single characters, at a word's start and "##" inside, by frequency."""
    characters, forms = collections.Counter(), collections.Counter()
    for word, count in words.items():
        if len(word) > MAX_CHARS_PER_WORD:
            continue
        for place, character in enumerate(word):
            characters[character] += count
            forms[f"##{character}" if place else character] += count
    for character in characters.keys() - common_characters(characters):
        for form in (character, f"##{character}"):
            forms.pop(form, None)
    by_frequency = sorted(forms, key=lambda form: (-forms[form], form))
    return sorted(by_frequency[:room])


def common_characters(characters: Mapping[str, int]) -> list[str]:
    """The characters that cover the text but for a tiny part, most frequent first.

    Args:
      characters: how often each occurs.
    """
    rare = sum(characters.values()) * (1 - _CHARACTER_COVERAGE)
    by_frequency = sorted(characters.items(), key=lambda item: item[::-1])
    for place, (_, count) in enumerate(by_frequency):
        rare -= count
        if rare < 0:
            return [character for character, _ in reversed(by_frequency[place:])]
    return []


def tokenizers_package() -> types.ModuleType:
    """Imports `tokenizers`, or says how to get it."""
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtra(
            "learning a vocabulary needs the package tokenizers: "
            'pip install "word2bert[vocab]"'
        ) from error
    return tokenizers


def _merge(
    words: Mapping[str, int], alphabet: Sequence[str], room: int, min_frequency: int
) -> list[str]:
    """The alphabet and the pieces merged from it, in the order they were learnt."""
    tokenizers = tokenizers_package()
    known = set(alphabet)
    spelt = {
        word: words[word]
        for word in sorted(words)
        if len(word) <= MAX_CHARS_PER_WORD
        and all(("##" + c if i else c) in known for i, c in enumerate(word))
    }
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token=UNK_TOKEN))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=room,
        min_frequency=min_frequency,
        show_progress=False,
        # Given as special tokens so that their ids are fixed: the trainer breaks ties
        # between pairs by id, and hands the others out in a random order.
        special_tokens=list(alphabet),
    )
    tokenizer.train_from_iterator(lines_of(spelt), trainer)
    ids = tokenizer.get_vocab(with_added_tokens=False)
    learnt = sorted((p for p in ids if p not in known), key=ids.get)
    return [*alphabet, *learnt][:room]


def lines_of(words: Mapping[str, int]) -> Iterator[str]:
    """Yields every word as often as it occurs."""
    line = []
    for word, count in words.items():
        while count:
            part = min(count, _WORDS_A_LINE - len(line))
            line.extend([word] * part)
            count -= part
            if len(line) == _WORDS_A_LINE:
                yield " ".join(line)
                line.clear()
    yield " ".join(line)


def _tested(
    words: Mapping[str, int], learnt: Sequence[str], do_lower_case: bool
) -> tuple[list[str], list[str], int, int]:
    """Tokenizes all words: pieces that occur or could, the others, tokens, [UNK]s."""
    wordpiece = WordpieceTokenizer(dict.fromkeys(learnt, 0))
    produced = collections.Counter()
    for word, count in words.items():
        for piece in wordpiece.tokenize(word):
            produced[piece] += count
    basic = BasicTokenizer(do_lower_case)
    starts = [p for p in learnt if not p.startswith("##") or p == "##"]
    starts.sort(key=lambda piece: (len(piece), piece))

    def possible(piece: str) -> bool:
        if piece in produced:
            return True
        ending = piece.startswith("##") and piece[2:]
        texts = (start + ending for start in starts) if ending else [piece]
        return any(
            basic.tokenize(text) == [text] and piece in wordpiece.tokenize(text)
            for text in texts
        )

    kept, dropped = [], []
    for piece in learnt:
        (kept if possible(piece) else dropped).append(piece)
    return kept, dropped, sum(produced.values()), produced[UNK_TOKEN]
