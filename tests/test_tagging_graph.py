"""Rows and tags of a batch in a graph, against those of whole files."""

import numpy as np
import pytest
import tensorflow as tf

import vocabulary
from data_pipeline.features import tagging_graph
from data_pipeline.features.tagging import SpecialIds, tagging_columns
from data_pipeline.features.tagging_graph import Sentences
from data_pipeline.readers import conll

pytestmark = pytest.mark.long

SPECIAL = SpecialIds(first=101, last=102, unknown=100)


class Letters(tf.Module):
    """A piece for each letter of a word; "-" is none. In a graph, and for files."""

    def __call__(self, words):
        letters = tf.strings.regex_replace(words, "-", "")
        codes = tf.strings.unicode_decode(letters, "UTF-8")
        return (codes - ord("a")).with_row_splits_dtype(tf.int64)

    def ids(self, words):
        """See data_pipeline.features.tokens.Tokenizer."""
        found = self(tf.constant(words))
        return found.flat_values.numpy(), found.row_splits.numpy()


def padded(sentences):
    """String [B, T], "" behind each sentence's words."""
    longest = max(map(len, sentences))
    rows = [words + [""] * (longest - len(words)) for words in sentences]
    return tf.constant(rows, tf.string)


def random_sentences(seed):
    """Words of 0 to 9 letters, of which "-" make no piece."""
    rng = np.random.default_rng(seed)
    return [
        [
            "".join(rng.choice(list("abcdef"), rng.integers(1, 9)))
            if rng.random() < 0.9
            # No word is empty, but some have no piece.
            else "-"
            for _ in range(rng.integers(1, 12))
        ]
        for _ in range(7)
    ]


def rows_of_file(sentences, max_seq_length):
    """The rows that training makes: (input_ids, word_positions) each."""
    text = conll.of_words(sentences)
    tag_ids = np.zeros(len(text.words), np.int32)
    columns = tagging_columns(text, tag_ids, Letters(), SPECIAL, max_seq_length)
    return [
        tuple(
            part.tolist()
            for part in (
                columns.input_ids[slice(*columns.offsets[i : i + 2])],
                columns.word_positions[slice(*columns.word_offsets[i : i + 2])],
            )
        )
        for i in range(len(columns.sentence_index))
    ]


def rows_of_batch(sentences, max_seq_length):
    """The same of a graph; checks the mask and the padding."""
    reader = tagging_graph.WordPieces(Letters(), SPECIAL, max_seq_length)
    rows = tf.function(lambda words: reader(Sentences(words)))(padded(sentences))
    ids, mask, positions = (
        rows[name].numpy() for name in ("input_ids", "input_mask", "word_positions")
    )
    assert not ids[mask == 0].any()
    return [
        (row[real == 1].tolist(), places[places > 0].tolist())
        for row, real, places in zip(ids, mask, positions, strict=True)
    ]


@pytest.mark.parametrize("max_seq_length", [3, 4, 8, 11, 40])
def test_rows_are_those_of_the_training_data(max_seq_length):
    for seed in range(5):
        sentences = random_sentences(seed)
        wanted = rows_of_file(sentences, max_seq_length)
        assert rows_of_batch(sentences, max_seq_length) == wanted


def test_sentences_without_words_have_no_row_but_a_batch_of_them_has_one():
    sentences = [[], ["ab", "c"], [], ["d"], []]
    wanted = rows_of_file([sentences[1], sentences[3]], 8)
    assert rows_of_batch(sentences, 8) == wanted
    assert rows_of_batch([[], []], 8) == [([101, 102], [])]


def test_values_come_back_to_their_words():
    words = tf.constant([["a", "", "b"], ["", "", ""], ["", "c", "d"]])
    sentences = Sentences(words)
    assert sentences.words.numpy().tolist() == [b"a", b"b", b"c", b"d"]
    assert sentences.rows.numpy().tolist() == [0, 0, 2, 2]
    np.testing.assert_array_equal(sentences.padded(sentences.words), words)
    back = sentences.padded(tf.constant([[1.0, 5], [2, 6], [3, 7], [4, 8]]))
    assert back[:, :, 0].numpy().tolist() == [[1, 0, 2], [0, 0, 0], [0, 3, 4]]


TYPED = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "M-LOC", "U-LOC"]
LABELS = [TYPED, [label[0] for label in TYPED[:5]], ["O", "B-PER", "I-PER"]]


@pytest.mark.parametrize("scheme", ["IOB1", "BIO", "IOBES", "BMES", "BILOU"])
@pytest.mark.parametrize("labels", LABELS, ids=["all", "typeless", "BIO"])
def test_tags_are_named_as_they_are_written(labels, scheme):
    rng = np.random.default_rng(3)
    lengths = rng.integers(0, 9, 60)
    sentences = Sentences(padded([["w"] * n for n in lengths]))
    ids = rng.integers(0, len(labels), lengths.sum()).astype(np.int32)
    offsets = np.append(0, np.cumsum(lengths[lengths > 0]))
    wanted = conll.convert(np.array(labels, object)[ids], offsets, scheme)
    names = tagging_graph.TagNames(labels, scheme)
    found = tf.function(names)(tf.constant(ids), sentences)
    assert [name.decode() for name in found.numpy()] == wanted.tolist()
    none = Sentences(tf.constant([["", ""]]))
    assert names(tf.zeros([0], tf.int32), none).shape == (0,)


def test_plain_labels_are_named_as_they_are():
    sentences = Sentences(padded([["a", "b"], ["c"]]))
    names = tagging_graph.TagNames(["NN", "B-", "O"], "plain")
    found = names(tf.constant([1, 2, 0]), sentences)
    assert found.numpy().tolist() == [b"B-", b"O", b"NN"]


def test_words_are_looked_up_as_a_vocabulary_does_it():
    known = vocabulary.Vocabulary(["<UNK>", "the", "Über", "a\u00a0", "the"])
    words = ["the", "Über", "über", "a\u00a0", "a"]
    ids = known.in_graph()
    np.testing.assert_array_equal(ids(tf.constant(words)), known.ids(words))
    ids = known.in_graph(first=1, spellings=(tf.identity, vocabulary.lower))
    assert ids(tf.constant(["THE", "Über", "ÜBER"])).numpy().tolist() == [5, 3, 1]


def test_words_are_lower_cased_as_in_python():
    words = ["ÀB", "İstanbul", "ΟΔΟΣ", "Σ", "ẞ", "ǅ", "I", "K"]
    found = vocabulary.lower(tf.constant(words)).numpy()
    assert [word.decode() for word in found] == [word.lower() for word in words]
