"""What questions and answers need of a tokenizer: word pieces, byte pairs.

    BERT   [CLS] question [SEP] window [SEP]            no answer: [CLS]
    XLM    </s> question </s> window </s>                no answer: the first </s>
    GPT    [start] question [delimiter] window [classify]   no answer: [classify]

GPT reads from left to right: only its last token has seen the window.
"""

import functools
from collections.abc import Sequence
from typing import Protocol

import tokenization
import tokenization_bpe
import tokenization_unigram
import tokenization_xlm
from data_pipeline.features.gpt import SpecialTokens
from errors import UserError


class SquadTokenizer(Protocol):
    """A tokenizer, and the layout of its model's inputs.

    Attributes:
      first, between, last: ids before the question, before the window, and at the end.
      no_answer_last: whether "no answer" points to the last place, not to the first.
    """

    first: int
    between: int
    last: int
    no_answer_last: bool

    def piece_ids(self, text: str) -> list[int]:
        """Returns the ids of a text's pieces."""
        ...

    def join(self, ids: Sequence[int]) -> str:
        """Returns the tokens that pieces were cut from, joined by spaces."""
        ...

    def tokens(self, word: str) -> Sequence[str]:
        """Returns the tokens of a word of the context, before they are cut."""
        ...


class WordPieces(tokenization.FullTokenizer):
    """BERT's; see SquadTokenizer."""

    no_answer_last = False

    def __init__(self, vocab_file: str, do_lower_case: bool = True):
        """Loads the vocabulary.

        Args:
          vocab_file: the vocabulary.
          do_lower_case: as for FullTokenizer.

        Raises:
          UserError: the vocabulary lacks [CLS] or [SEP].
        """
        super().__init__(vocab_file, do_lower_case)
        for token in ("[CLS]", "[SEP]"):
            if token not in self.vocab:
                raise UserError(f"the vocabulary has no {token}")
        self.first = self.vocab["[CLS]"]
        self.between = self.last = self.vocab["[SEP]"]
        self._do_lower_case = do_lower_case

    def piece_ids(self, text: str) -> list[int]:
        """See SquadTokenizer."""
        return self.convert_tokens_to_ids(self.tokenize(text))

    def join(self, ids: Sequence[int]) -> str:
        """See SquadTokenizer."""
        return join_pieces([self.inv_vocab[int(i)] for i in ids])

    def tokens(self, word: str) -> Sequence[str]:
        """See SquadTokenizer."""
        return basic_tokens(word, self._do_lower_case)


def join_pieces(pieces: Sequence[str]) -> str:
    """Returns the words that pieces were cut from, as BERT's tokenizer left them."""
    text = " ".join(pieces).replace(" ##", "").replace("##", "")
    return " ".join(text.split())


@functools.lru_cache(maxsize=1 << 17)
def basic_tokens(word: str, do_lower_case: bool) -> tuple[str, ...]:
    """Tokens of one word: nothing in BERT's tokenizer looks beyond a space."""
    return tuple(tokenization.BasicTokenizer(do_lower_case).tokenize(word))


class BytePairs(tokenization_bpe.TextEncoder):
    """GPT's; see SquadTokenizer."""

    no_answer_last = True

    def __init__(self, vocab_file: str, special: SpecialTokens):
        """Loads the vocabulary, and the merges beside it."""
        super().__init__(vocab_file, tokenization_bpe.merges_beside(vocab_file))
        self.first, self.between = special.start, special.delimiter
        self.last = special.classify

    def piece_ids(self, text: str) -> list[int]:
        """See SquadTokenizer."""
        return self.encode([text])[0]

    def join(self, ids: Sequence[int]) -> str:
        """See SquadTokenizer."""
        return " ".join(self.decode(ids).split())

    def tokens(self, word: str) -> Sequence[str]:
        """See SquadTokenizer."""
        words = tokenization_bpe.split_words(tokenization_bpe.fix_text(word))
        return [token for part in words for token in tokenization_bpe.word_tokens(part)]


class UnigramPieces(tokenization_unigram.UnigramTokenizer):
    """Those of a BERT that has SentencePiece's; see SquadTokenizer."""

    no_answer_last = False

    def __init__(self, vocab_file: str):
        """Loads the vocabulary."""
        super().__init__(tokenization_unigram.read(vocab_file))
        self.first = self.vocab["[CLS]"]
        self.between = self.last = self.vocab["[SEP]"]
        self._pieces = list(self.vocab)

    def piece_ids(self, text: str) -> list[int]:
        """See SquadTokenizer."""
        return next(self.encode([text]))

    def join(self, ids: Sequence[int]) -> str:
        """See SquadTokenizer."""
        text = "".join(self._pieces[int(i)] for i in ids)
        return text.replace(tokenization_unigram.WORD, " ").strip()

    def tokens(self, word: str) -> Sequence[str]:
        """See SquadTokenizer."""
        return self.words(word)


class LanguagePairs:
    """XLM's, of one language; see SquadTokenizer."""

    first = between = last = tokenization_xlm.EOS
    no_answer_last = False

    def __init__(self, tokenizer: tokenization_xlm.XlmTokenizer):
        """Takes the tokenizer of the language."""
        self._tokenizer = tokenizer
        self._pieces = {i: piece for piece, i in tokenizer.vocab.items()}

    def piece_ids(self, text: str) -> list[int]:
        """See SquadTokenizer."""
        return self._tokenizer.encode([text])[0]

    def join(self, ids: Sequence[int]) -> str:
        """See SquadTokenizer."""
        text = " ".join(self._pieces[int(i)] for i in ids)
        return text.replace(f"{tokenization_xlm.GOES_ON} ", "")

    def tokens(self, word: str) -> Sequence[str]:
        """See SquadTokenizer."""
        return self._tokenizer.words(word)
