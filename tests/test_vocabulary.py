"""Word vocabularies in bilm-tf's files, and ELMo's character ids."""

import collections
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import vocabulary

GOLDEN = pathlib.Path(__file__).parent / "golden"
VOCAB_FILE = str(GOLDEN / "elmo_fixture_vocab.txt")


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "elmo_char_ids.npz")


@pytest.fixture(scope="module")
def tokens():
    path = GOLDEN / "elmo_char_ids_tokens.json"
    return json.loads(path.read_text())["tokens"]


@pytest.fixture(scope="module")
def words():
    return vocabulary.Vocabulary.from_file(VOCAB_FILE)


def _sentences(tokens):
    return [tokens[:20], tokens[20:25], [], tokens[25:]]


@pytest.mark.parametrize("length", [50, 10])
def test_character_ids_equal_the_originals(golden, tokens, words, length):
    encoder = vocabulary.CharacterEncoder(length, words)
    found = encoder.encode(tokens)
    np.testing.assert_array_equal(found, golden[f"word_to_char_ids_max{length}"])
    cut = sum(len(t.encode("utf-8", "ignore")) > length - 2 for t in tokens)
    assert encoder.num_cut == cut > 0
    batch = encoder.batch(_sentences(tokens))
    np.testing.assert_array_equal(batch, golden[f"batcher_max{length}"])


@pytest.mark.parametrize("length", [50, 10])
def test_characters_in_a_graph_are_those_of_the_encoder(golden, tokens, length):
    encoded = [token.encode("utf-8", "ignore") for token in tokens]
    graph = tf.function(vocabulary.character_ids)
    found = graph(tf.constant([encoded, encoded[::-1]]), length)
    real = np.array([bool(token) for token in encoded])
    expected = np.where(real[:, None], golden[f"word_to_char_ids_max{length}"] + 1, 0)
    np.testing.assert_array_equal(found, [expected, expected[::-1]])


def test_word_ids_equal_the_originals(golden, tokens, words):
    found = vocabulary.batch_ids(words, _sentences(tokens))
    np.testing.assert_array_equal(found, golden["token_batcher"])


def test_a_sentence_mark_is_spelled_out_where_it_is_no_word():
    plain = vocabulary.CharacterEncoder(8, vocabulary.Vocabulary(["a"]))
    marks = vocabulary.CharacterEncoder(8)
    assert plain.encode(["<S>"])[0].tolist() == [258, *b"<S>", 259, 260, 260, 260]
    assert marks.encode(["<S>"])[0].tolist() == [258, 256, 259, *[260] * 5]
    assert marks.encode([]).shape == (0, 8)
    assert marks.batch([]).shape == (0, 2, 8)


def test_a_vocabulary_is_read_as_bilm_tf_reads_it(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("<S>\n</S>\n<UNK>\n!!!MAXTERMID\n the \ncafé\n", encoding="utf-8")
    words = vocabulary.Vocabulary.from_file(str(path))
    assert words.words == ("<S>", "</S>", "<UNK>", "the", "café")
    assert (words.bos, words.eos, words.unk, len(words)) == (0, 1, 2, 5)
    assert words.ids(["café", "x", "</S>"]).tolist() == [4, 2, 1]
    words.require_marks()


def test_a_vocabulary_without_the_marks_cannot_train(words):
    assert words.ids(["no such word"]).tolist() == [-1]
    with pytest.raises(ValueError, match="elmo_fixture_vocab.txt: no line <UNK>; to"):
        words.require_marks()


def test_words_come_by_falling_frequency_after_the_marks():
    counts = collections.Counter({"a": 3, "b": 2, "Ä": 1, "c": 1})
    counts.update(["<UNK>", "!!!MAXTERMID"])
    every = vocabulary.most_frequent(counts)
    assert every == ["<S>", "</S>", "<UNK>", "a", "b", "c", "Ä"]
    assert vocabulary.most_frequent(counts, min_count=2) == every[:5]
    assert vocabulary.most_frequent(counts, size=6) == every[:6]


def _zipf(size, seed=0):
    """Counts in a text of words sorted by their frequency in another one."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, size + 1)
    return random.multinomial(30 * size, share / share.sum())


@pytest.mark.parametrize("size", [40, 3000])
def test_a_vocabulary_that_is_not_sorted_is_refused_with_the_reason(size):
    words = vocabulary.Vocabulary([f"w{i}" for i in range(size)], "words.txt")
    counts = _zipf(size)
    vocabulary.check_sorted(words, counts)
    vocabulary.check_sorted(words, np.zeros(size, int))
    shuffled = np.random.default_rng(1).permutation(counts)
    for wrong in (shuffled, counts[::-1]):
        line = int(np.argmax(wrong)) + 1
        with pytest.raises(
            ValueError, match=rf"words.txt: not sorted .*line {line} of"
        ):
            vocabulary.check_sorted(words, wrong)
