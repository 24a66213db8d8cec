"""`tokenization.FullTokenizer` as TensorFlow ops: in a graph, and for whole files.

tensorflow_text's own BERT normalization is not the parent's (it folds compatibility
forms, spells out the sharp s, turns control characters into spaces). So the text is
normalized here, step by step as `tokenization.BasicTokenizer` does it, and the op only
splits it and looks the pieces up.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

import tokenization
from errors import UserError

# White space that is not " ": tab, line ends, category Zs, the two Unicode separators.
_WHITE_SPACE = (
    r"[\t\n\r\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
)
_DELETED = r"[\p{Cc}\p{Cf}\x{fffd}]"
_CJK = "".join(
    f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in tokenization.CJK_RANGES
)
_WORDS_OF_THEIR_OWN = r"[!-/:-@\[-`{-~\p{P}" + _CJK + "]"

# The op limits a word's bytes, the parent its characters. The op's limit is set to
# what the longest allowed word can take, and longer words are swapped for one that is
# over that limit, which makes exactly one [UNK] under any vocabulary.
_MAX_BYTES_PER_WORD = 4 * tokenization.MAX_CHARS_PER_WORD
_TOO_LONG = f"[^ ]{{{tokenization.MAX_CHARS_PER_WORD + 1},}}"
_MAX_BYTES_PER_PIECE = 256  # the op's
_UNKNOWN_WORD = "x" * (_MAX_BYTES_PER_WORD + 1)

# Texts of one call of the op: large enough to hide the call, small enough for memory.
_CHUNK = 8192


class InGraphTokenizer(tf.Module):
    """Strings to word-piece ids inside a graph: for tf.data and SavedModels.

    The vocabulary is a constant of the graph. A process that loads the SavedModel must
    import tensorflow_text first.

    Equal to FullTokenizer but for characters younger than Unicode 13, where the
    Unicode tables inside TensorFlow and those of Python may be of different age (e.g.
    the 40 upper-case letters of Unicode 14 stay upper-case here).
    """

    def __init__(
        self,
        vocab: Sequence[str],
        do_lower_case: bool,
        source: str = "the vocabulary",
    ):
        """Builds the op's lookup table.

        Args:
          vocab: the pieces in the order of their ids, e.g. `list(load_vocab(...))`.
          do_lower_case: as for FullTokenizer.
          source: where the pieces come from, for messages.

        Raises:
          UserError: there is no [UNK] in `vocab`, or a piece is too long for the op.
        """
        super().__init__()
        if tokenization.UNK_TOKEN not in vocab:
            raise UserError(
                f"The vocabulary must contain {tokenization.UNK_TOKEN}; none of the "
                f"{len(vocab)} pieces given is."
            )
        for line, piece in enumerate(vocab, 1):
            size = len(piece.removeprefix("##").encode())
            if size > _MAX_BYTES_PER_PIECE:
                raise UserError(
                    f"{source}, line {line}: the piece {piece[:20]!r}... has {size} "
                    f"bytes; wanted at most {_MAX_BYTES_PER_PIECE}"
                )
        self.do_lower_case = do_lower_case
        self._op = tf_text.FastBertTokenizer(
            list(vocab),
            token_out_type=tf.int32,
            lower_case_nfd_strip_accents=False,
            max_bytes_per_word=_MAX_BYTES_PER_WORD,
        )

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Tokenizes a batch.

        Args:
          texts: string [B], UTF-8; invalid bytes are dropped.

        Returns:
          int32 [B, (T)] ids; no [CLS] or [SEP] is added.
        """
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")
        return self._op.tokenize(_replace_long_words(self._normalize(texts)))

    def words(self, texts: tf.Tensor) -> tf.Tensor:
        """Splits as BasicTokenizer does.

        Args:
          texts: string [B], UTF-8; invalid bytes are dropped.

        Returns:
          string [B], the words joined by single spaces.
        """
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")
        texts = tf.strings.regex_replace(
            self._normalize(texts), _WORDS_OF_THEIR_OWN, r" \0 "
        )
        return tf.strings.strip(tf.strings.regex_replace(texts, " +", " "))

    def _normalize(self, texts: tf.Tensor) -> tf.Tensor:
        """Cleans string [B] and, for uncased models, lower-cases and strips accents."""
        texts = tf.strings.regex_replace(texts, _WHITE_SPACE, " ")
        texts = tf.strings.regex_replace(texts, _DELETED, "")
        if self.do_lower_case:
            # ASCII by itself: the second call follows the process's locale, and in
            # Turkish would turn I into a dotless i. Its other local habits concern
            # combining marks, which are deleted below.
            texts = tf.strings.lower(texts)
            texts = tf.strings.lower(texts, encoding="utf-8")
            texts = tf_text.normalize_utf8(texts, "NFD")
            texts = tf.strings.regex_replace(texts, r"\p{Mn}", "")
        return texts


def _replace_long_words(texts: tf.Tensor) -> tf.Tensor:
    """Makes every word over the limit of characters, in string [B], an unknown one."""
    lengths = tf.strings.length(texts, unit="UTF8_CHAR")
    where = tf.where(lengths > tokenization.MAX_CHARS_PER_WORD)  # [M, 1], M <= B
    suspects = tf.gather_nd(texts, where)
    # The op would split here itself; done early, words are what stands between spaces.
    suspects = tf.strings.regex_replace(suspects, _WORDS_OF_THEIR_OWN, r" \0 ")
    suspects = tf.strings.regex_replace(suspects, _TOO_LONG, _UNKNOWN_WORD)
    return tf.tensor_scatter_nd_update(texts, where, suspects)


class FastTokenizer:
    """FullTokenizer's ids for many texts at once, several times as fast.

    The ids are FullTokenizer's for every input: a text with a character on which the
    op's Unicode tables and Python's may differ goes through FullTokenizer itself.

    Attributes:
      vocab: piece -> id, as FullTokenizer's.
    """

    def __init__(self, vocab_file: str, do_lower_case: bool = True):
        """Reads the vocabulary; the arguments are FullTokenizer's."""
        self._full = tokenization.FullTokenizer(vocab_file, do_lower_case)
        self.vocab = self._full.vocab
        self._in_graph = InGraphTokenizer(list(self.vocab), do_lower_case, vocab_file)

    @functools.cached_property
    def _call(self):
        """Traced: to find the trace for one text takes as long as to cut it."""

        def flat(texts):
            ragged = self._in_graph(texts)
            return ragged.flat_values, ragged.row_splits

        graph = tf.function(flat, autograph=False)
        return graph.get_concrete_function(tf.TensorSpec([None], tf.string))

    def ids(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Tokenizes all texts.

        Args:
          texts: N texts.

        Returns:
          The ids of all texts, one after the other, int32 [sum of lengths], and the
          place where each text starts and the last one ends, int64 [N + 1]: text i's
          ids are `flat[offsets[i]:offsets[i + 1]]`.
        """
        flats = [np.zeros(0, np.int32)]
        lengths = [np.zeros(1, np.int64)]
        for start in range(0, len(texts), _CHUNK):
            flat, row_lengths = self._chunk(texts[start : start + _CHUNK])
            flats.append(flat)
            lengths.append(row_lengths)
        return np.concatenate(flats), np.cumsum(np.concatenate(lengths))

    def _chunk(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Returns one chunk's flat ids, int32, and ids per text, int64."""
        texts = [tokenization.convert_to_unicode(text) for text in texts]
        doubtful = _doubtful_characters()
        odd = {}  # index in the chunk -> ids by FullTokenizer
        for index, text in enumerate(texts):
            if not text.isascii() and doubtful.search(text):
                odd[index] = self._full.convert_tokens_to_ids(self._full.tokenize(text))
                texts[index] = ""
        found = self._call(tf.constant(texts, tf.string))
        flat, splits = (values.numpy() for values in found)
        lengths = np.diff(splits)
        for index, ids in odd.items():
            lengths[index] = len(ids)
        if odd:
            places = np.repeat(splits[list(odd)], [len(ids) for ids in odd.values()])
            flat = np.insert(flat, places, np.concatenate(list(odd.values())))
        return flat, lengths


@functools.cache
def _doubtful_characters() -> re.Pattern:
    """Matches a character that this Python and the op's libraries may see differently.

    TensorFlow carries three Unicode tables of different age (13 to 16) and Python has
    its own. They agree on what Unicode 3.2 had, in the planes that matter, and on the
    pictographs and the ideographs of later planes, which have no case, no accent and
    are no punctuation.
    """
    old = unicodedata.ucd_3_2_0
    known = [
        re.escape(chr(cp))
        for cp in range(0x10000)
        if old.category(chr(cp)) not in ("Cn", "Cs")
    ]
    known += ["\u20a0-\u20cf", "\U0001f000-\U0001faff"]  # currencies, emoji
    known += [f"{chr(low)}-{chr(high)}" for low, high in tokenization.CJK_RANGES]
    return re.compile(f"[^{''.join(known)}]")
