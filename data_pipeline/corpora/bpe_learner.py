r"""Learns GPT's and XLM's byte pairs from text (the extra `vocab`).

The package `tokenizers` merges. This module decides which words it is given, which
characters are known, and the order of the rows. GPT's is that of OpenAI's release:
<unk>, the characters, the characters at a word's end, the pieces in the order they were
learnt, "\n</w>". XLM's vocabulary is what the merges make of a text, by frequency.
"""

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence

from data_pipeline.corpora.wordpiece_learner import (
    common_characters,
    lines_of,
    tokenizers_package,
)
from errors import UserError
from tokenization_bpe import (
    END_OF_WORD,
    NEWLINE_TOKEN,
    UNK_TOKEN,
    fix_text,
    merge,
    split_words,
    word_tokens,
)
from tokenization_xlm import SPECIAL


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """A learnt vocabulary, and how it does on the text it was learnt from.

    Attributes:
      pieces: in the order of their ids.
      merges: pairs of pieces, in the order they were learnt.
      tokens: pieces that the text makes.
      unknown: how many of them have no id.
    """

    pieces: list[str]
    merges: list[tuple[str, str]]
    tokens: int
    unknown: int


def count_words(lines: Iterable[str]) -> collections.Counter[str]:
    """Counts the tokens that TextEncoder merges within, of all lines.

    Memory grows with the distinct words, not with the text.
    """
    spaced = collections.Counter()
    for line in lines:
        spaced.update(split_words(fix_text(line)))
    words = collections.Counter()
    for word, count in spaced.items():
        for token in word_tokens(word):
            words[token] += count
    return words


def learn(words: Mapping[str, int], vocab_size: int, min_frequency: int) -> Vocabulary:
    """Learns the merges that spell `words` best.

    Args:
      words: how often each occurs, from `count_words`.
      vocab_size: the most rows, <unk> and the newline included.
      min_frequency: of the pair of pieces that a new piece is made from.

    Returns:
      The vocabulary; equal input gives an equal one.

    Raises:
      UserError: there is no room for a single character.
    """
    room = vocab_size - 2  # <unk>, newline
    alphabet = _alphabet(words, room)
    if not alphabet:
        raise UserError(
            f"--vocab_size={vocab_size} leaves no room for a character: inside a word "
            "and at its end, beside <unk> and the newline, it takes 4 rows"
        )
    merges = _merges(words, alphabet, room, min_frequency)
    # Two merges may make the same piece.
    pieces = dict.fromkeys([UNK_TOKEN, *alphabet, *map("".join, merges), NEWLINE_TOKEN])
    ranks = {pair: place for place, pair in enumerate(merges)}
    tokens = unknown = 0
    for word, count in words.items():
        spelt = merge(word, ranks)
        tokens += count * len(spelt)
        unknown += count * sum(piece not in pieces for piece in spelt)
    return Vocabulary(list(pieces), merges, tokens, unknown)


def learn_codes(
    sampled: Mapping[str, int],
    words: Mapping[str, int],
    room: int,
    min_frequency: int,
) -> tuple[dict[tuple[str, str], int], collections.Counter[str]]:
    """Learns merges, and counts the pieces that they make, as fastBPE's commands do.

    Args:
      sampled: words to learn from, and how often each occurs.
      words: those to count.
      room: the most pieces: single characters and merges.
      min_frequency: of the pair of pieces that a new piece is made from.

    Returns:
      Pair -> how often it was merged in `sampled`, in the order in which they were
      learnt; and piece -> how often it occurs in `words`, the most frequent first.

    Raises:
      UserError: there is no room for a single character.
    """
    alphabet = _alphabet(sampled, room)
    if not alphabet:
        raise UserError(
            f"--vocab_size={room + len(SPECIAL)} leaves no room for a character beside "
            f"{len(SPECIAL)} special pieces: inside a word and at its end it takes 2"
        )
    # fastBPE's reader wants every piece to be made by one pair.
    made = {}
    for pair in _merges(sampled, alphabet, room, min_frequency):
        made.setdefault("".join(pair), pair)
    ranks = {pair: place for place, pair in enumerate(made.values())}
    occurrences = _count_pieces(sampled, ranks)
    for piece, pair in reversed(made.items()):  # larger ones hold smaller ones
        for part in pair:
            occurrences[part] += occurrences[piece]
    codes = {pair: occurrences[piece] for piece, pair in made.items()}
    pieces = _count_pieces(words, ranks)
    by_frequency = sorted(pieces.items(), key=lambda item: (-item[1], item[0]))
    return codes, collections.Counter(dict(by_frequency))


def _count_pieces(
    words: Mapping[str, int], ranks: Mapping[tuple[str, str], int]
) -> collections.Counter[str]:
    pieces = collections.Counter()
    for word, count in words.items():
        for piece in merge(word, ranks):
            pieces[piece] += count
    return pieces


def _alphabet(words: Mapping[str, int], room: int) -> list[str]:
    """Characters, the most frequent first, then the same at a word's end."""
    characters = collections.Counter()
    for word, count in words.items():
        for character in word.strip("\n"):  # a row of its own
            characters[character] += count
    letters = common_characters(characters)[: max(room, 0) // 2]
    return [*letters, *(letter + END_OF_WORD for letter in letters)]


def _merges(
    words: Mapping[str, int], alphabet: Sequence[str], room: int, min_frequency: int
) -> list[tuple[str, str]]:
    tokenizers = tokenizers_package()
    known = set(alphabet)
    spelt = {word: words[word] for word in sorted(words) if known.issuperset(word)}
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(end_of_word_suffix=END_OF_WORD)
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=min_frequency,
        show_progress=False,
        end_of_word_suffix=END_OF_WORD,
        # Given as special tokens so that their ids are fixed: see wordpiece_learner.
        special_tokens=list(alphabet),
    )
    tokenizer.train_from_iterator(lines_of(spelt), trainer)
    return [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
