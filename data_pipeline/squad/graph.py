"""Windows and answers inside a graph: what an export needs to read plain text.

The same rules as squad.py, squad_features.py and squad_answers.py, over whole batches:
words are found and aligned by byte offsets, windows by ragged ranges.
"""

from collections.abc import Sequence

import tensorflow as tf

import tokenization
from data_pipeline.squad.answers import AnswerConfig
from data_pipeline.squad.features import WindowConfig
from tokenization_tf import InGraphTokenizer

Tensors = dict[str, tf.Tensor]

_SPACES = r"[ \t\r\n\x{202f}]+"
_ENDS = "^ | $"
# str.isspace: what answers are aligned without.
_WHITE_SPACE = (
    r"[\t-\r\x1c- \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}"
    r"\x{3000}]"
)
# No character: marks where words are cut.
_CUT = "\uffff"
_CJK = "".join(
    f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in tokenization.CJK_RANGES
)


class SquadGraph(tf.Module):
    """Questions and contexts to windows; the windows' scores to answers."""

    def __init__(
        self,
        vocab: Sequence[str],
        windows: WindowConfig,
        answers: AnswerConfig,
        language: str,
    ):
        """Builds the tokenizer.

        Args:
          vocab: the pieces in the order of their ids.
          windows: how contexts are cut.
          answers: how answers are chosen.
          language: "en" or "zh", see squad.py.
        """
        super().__init__()
        self._tokenizer = InGraphTokenizer(vocab, answers.do_lower_case)
        self._vocab = tf.constant(vocab)
        self._cls, self._sep = vocab.index("[CLS]"), vocab.index("[SEP]")
        self._windows, self._answers = windows, answers
        self._language = language

    # B questions, P pieces of all contexts, N windows, S pieces of the longest window.

    def windows(self, question: tf.Tensor, context: tf.Tensor) -> Tensors:
        """Cuts contexts into windows beside their questions.

        Args:
          question: string [B], UTF-8.
          context: string [B], UTF-8.

        Returns:
          `input_ids`, `input_mask` and `segment_ids`, int32 [N, S], for the model; and
          for `answer`: `owner` int64 [N], the row of each window's question; `words`
          int32 [N, S], each piece's word, -1 outside; `is_max_context` bool [N, S];
          `text` string [B]; `starts` and `ends` int32 [B, longest], bytes of each word.
        """
        check = tf.debugging.assert_equal(
            tf.size(question), tf.size(context), "question and context differ in number"
        )
        # In eager mode the assertion has run and is None.
        with tf.control_dependencies([check] if check is not None else []):
            text, words, starts, ends = self._cut(context)
        tokens = self._tokenizer(words.values)  # [words of all contexts, (T)]
        splits = tf.gather(tokens.row_splits, words.row_splits)  # pieces of a context
        pieces = tokens.values
        first_word = tf.gather(words.row_splits, _row_of(splits))
        word = tf.cast(tokens.value_rowids() - first_word, tf.int32)  # [P]
        query = self._tokenizer(question)[:, : self._windows.max_query_length]
        owner, begin, length = self._layout(splits[1:] - splits[:-1], query)
        begin += tf.gather(splits, owner)
        place = tf.ragged.range(begin, begin + length)
        query = tf.gather(query, owner)
        one = tf.ones_like(owner, tf.int32)[:, None]
        head = tf.concat([self._cls * one, query, self._sep * one], axis=1)
        body = tf.concat([tf.gather(pieces, place), self._sep * one], axis=1)
        outside = tf.ones_like(head) * -1
        best = place.with_values(_is_max_context(place, length, tf.size(pieces)))
        segments = tf.concat([tf.zeros_like(head), tf.ones_like(body)], axis=1)
        input_ids = tf.concat([head, body], axis=1)
        words_of = tf.concat([outside, tf.gather(word, place), -one], axis=1)
        is_max = tf.concat([outside, best, -one], axis=1)
        # An empty batch has no longest window, but the model reads the first position.
        lengths = input_ids.row_lengths()
        longest = tf.maximum(tf.reduce_max(lengths), 2)
        shape = tf.stack([tf.size(owner, tf.int64), longest])
        return {
            "input_ids": input_ids.to_tensor(shape=shape),
            "input_mask": tf.sequence_mask(lengths, longest, tf.int32),
            "segment_ids": segments.to_tensor(shape=shape),
            "owner": owner,
            "words": words_of.to_tensor(-1, shape=shape),
            "is_max_context": is_max.to_tensor(shape=shape) > 0,
            "text": text,
            "starts": starts.to_tensor(),
            "ends": ends.to_tensor(),
        }

    def _cut(self, context):
        """Returns the texts, their words [B, (W)], and the words' bytes."""
        text = tf.strings.unicode_transcode(context, "UTF-8", "UTF-8", errors="ignore")
        text = tf.strings.regex_replace(text, _SPACES, " ")
        text = tf.strings.regex_replace(text, _ENDS, "")
        marked = tf.strings.regex_replace(text, " ", f"{_CUT} {_CUT}")
        if self._language == "zh":
            marked = tf.strings.regex_replace(marked, f"[{_CJK}]", rf"{_CUT}\0{_CUT}")
        parts = tf.strings.split(marked, _CUT)
        sizes = tf.strings.length(parts.values)
        ends = tf.cumsum(sizes)
        before = tf.concat([[0], ends], axis=0)
        offset = tf.gather(tf.gather(before, parts.row_splits), parts.value_rowids())
        is_word = parts.with_values((parts.values != "") & (parts.values != " "))
        starts = parts.with_values(ends - sizes - offset)
        ends = parts.with_values(ends - offset)
        words, starts, ends = (
            tf.ragged.boolean_mask(column, is_word) for column in (parts, starts, ends)
        )
        return text, words, starts, ends

    def _layout(self, num_pieces, query):
        """Returns each window's question, first piece and length; at least one each."""
        config = self._windows
        room = config.max_seq_length - 3 - query.row_lengths()
        more = tf.maximum(num_pieces - room, 0)
        count = 1 - -more // config.doc_stride  # rounded up
        owner = tf.repeat(tf.range(tf.size(count, tf.int64)), count)
        begin = tf.ragged.range(count).values * config.doc_stride
        length = tf.gather(num_pieces, owner) - begin
        return owner, begin, tf.minimum(length, tf.gather(room, owner))

    def answer(
        self, windows: Tensors, start_logits: tf.Tensor, end_logits: tf.Tensor
    ) -> Tensors:
        """Chooses each question's answer.

        Args:
          windows: what `windows` returned.
          start_logits: float32 [N, S].
          end_logits: float32 [N, S].

        Returns:
          `answers` string [B], `scores` float32 [B], start and end together; where
          "no answer" is one, `null_odds` float32 [B], by how much its score is higher.
        """
        config = self._answers
        real = windows["input_mask"] > 0
        lowest = tf.float32.min
        number = tf.minimum(config.n_best_size, tf.shape(real)[1])
        in_document = windows["words"] >= 0
        starts, ends = (
            tf.math.top_k(tf.where(real, logits, lowest), number)
            for logits in (start_logits, end_logits)
        )
        allowed = tf.gather(
            in_document & windows["is_max_context"], starts.indices, batch_dims=1
        )[:, :, None]
        allowed &= tf.gather(in_document, ends.indices, batch_dims=1)[:, None, :]
        lengths = ends.indices[:, None, :] - starts.indices[:, :, None] + 1
        allowed &= (lengths >= 1) & (lengths <= config.max_answer_length)
        # In double, as the scripts add.
        scores = tf.cast(starts.values, tf.float64)[:, :, None]
        scores += tf.cast(ends.values, tf.float64)[:, None, :]
        scores = tf.where(allowed, scores, -float("inf"))
        # The candidates of a question stand side by side: argmax takes the first best.
        owner, batch = windows["owner"], tf.size(windows["text"])
        pairs = number * number
        each = tf.RaggedTensor.from_value_rowids(
            tf.reshape(scores, [tf.size(owner), pairs]),
            owner,
            nrows=tf.cast(batch, tf.int64),
        )
        most = tf.maximum(tf.cast(each.bounding_shape(axis=1), tf.int32), 1)
        grid = each.to_tensor(-float("inf"), shape=tf.stack([batch, most, pairs]))
        flat = tf.reshape(grid, [batch, most * pairs])
        chosen = tf.argmax(flat, axis=1, output_type=tf.int32)
        best = tf.gather(flat, chosen, batch_dims=1)
        window = tf.cast(each.row_starts(), tf.int32) + chosen // pairs
        start = tf.gather_nd(
            starts.indices, tf.stack([window, chosen % pairs // number], axis=1)
        )
        end = tf.gather_nd(ends.indices, tf.stack([window, chosen % number], axis=1))
        found = best > -float("inf")
        answers = tf.where(found, self._texts(windows, window, start, end, found), "")
        outputs = {"answers": answers, "scores": tf.cast(best, tf.float32)}
        if not config.version_2_with_negative:
            outputs["answers"] = tf.where(found, answers, "empty")
            return outputs
        null = tf.cast(start_logits[:, 0], tf.float64) + tf.cast(
            end_logits[:, 0], tf.float64
        )
        odds = tf.math.segment_min(null, owner) - tf.where(found, best, 0.0)
        is_null = odds > config.null_score_diff_threshold
        outputs["answers"] = tf.where(is_null, "", answers)
        outputs["null_odds"] = tf.cast(odds, tf.float32)
        return outputs

    def _texts(self, windows, window, start, end, found):
        """Returns the words of the chosen pieces, without what they leave of them."""
        words = tf.gather(windows["words"], window)
        first = tf.where(found, tf.gather(words, start, batch_dims=1), 0)
        last = tf.where(found, tf.gather(words, end, batch_dims=1), 0)
        # Contexts without words have no columns to look up.
        padding = [[0, 0], [0, 1]]
        begin = tf.gather(tf.pad(windows["starts"], padding), first, batch_dims=1)
        limit = tf.gather(tf.pad(windows["ends"], padding), last, batch_dims=1)
        original = tf.strings.substr(windows["text"], begin, limit - begin)
        ids = tf.gather(windows["input_ids"], window)
        place = tf.ragged.range(start, tf.maximum(end, start) + 1)
        pieces = tf.gather(self._vocab, tf.gather(ids, place, batch_dims=1))
        predicted = tf.strings.reduce_join(pieces, axis=1, separator=" ")
        predicted = tf.strings.regex_replace(predicted, " ?##", "")
        tokenized = self._tokenizer.words(original)
        return tf.map_fn(
            lambda row: _final_text(*row),
            (predicted, original, tokenized),
            fn_output_signature=tf.TensorSpec([], tf.string),
        )


def _row_of(splits: tf.Tensor) -> tf.Tensor:
    """The row of each value, int64, by the rows' splits."""
    return tf.RaggedTensor.from_row_splits(
        tf.range(splits[-1]), splits, validate=False
    ).value_rowids()


def _is_max_context(
    place: tf.RaggedTensor, length: tf.Tensor, num_pieces: tf.Tensor
) -> tf.Tensor:
    """`squad_features.max_context` for all contexts: int32, 1 where it is the window's.

    Args:
      place: int64 [N, (L)], the pieces of each window among those of all contexts.
      length: int64 [N].
      num_pieces: int32 [], P.
    """
    left = tf.ragged.range(length).values
    window = place.value_rowids()
    size = tf.gather(length, window)
    score = tf.cast(tf.minimum(left, size - 1 - left), tf.float64)
    score += 0.01 * tf.cast(size, tf.float64)
    highest = tf.math.unsorted_segment_max(score, place.values, num_pieces)
    tied = score == tf.gather(highest, place.values)
    candidate = tf.where(tied, window, window.dtype.max)
    first = tf.math.unsorted_segment_min(candidate, place.values, num_pieces)
    return tf.cast(tf.gather(first, place.values) == window, tf.int32)


def _final_text(
    predicted: tf.Tensor, original: tf.Tensor, tokenized: tf.Tensor
) -> tf.Tensor:
    """`squad_answers.get_final_text`, or the original where that gives None."""
    before = tf.strings.split(tokenized[None], predicted).values
    chars = tf.strings.unicode_split(original, "UTF-8")
    places = tf.where(~tf.strings.regex_full_match(chars, _WHITE_SPACE))[:, 0]
    aligned = tf.size(before) > 1
    aligned &= tf.size(places) == _num_visible(tokenized)
    aligned &= predicted != ""

    def cut():
        start = _num_visible(before[0])
        first = places[start]
        last = places[start + _num_visible(predicted) - 1]
        return tf.strings.reduce_join(chars[first : last + 1])

    return tf.cond(aligned, cut, lambda: original)


def _num_visible(text: tf.Tensor) -> tf.Tensor:
    """Characters that are not white space, int32."""
    visible = tf.strings.regex_replace(text, _WHITE_SPACE, "")
    return tf.strings.length(visible, "UTF8_CHAR")
