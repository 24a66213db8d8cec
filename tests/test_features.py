"""Token columns of sentences and pairs equal the parent's, example by example."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import tokenization
from data_pipeline.features import bert as features
from data_pipeline.features import tokens
from data_pipeline.readers.examples import InputExample

GOLDEN = pathlib.Path(__file__).parent / "golden" / "data_pipeline_mrpc.json"


class WordTokenizer:
    """Splits at spaces; a word's id is its number in `vocab`."""

    def __init__(self, vocab):
        self.vocab = {word: i for i, word in enumerate(vocab)}

    def ids(self, texts):
        rows = [[self.vocab[word] for word in text.split()] for text in texts]
        offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        return np.array([i for row in rows for i in row], np.int32), offsets


class ParentTokenizer(WordTokenizer):
    """The parent's tokenizer behind the interface for many texts."""

    def __init__(self, vocab_file):
        self._full = tokenization.FullTokenizer(str(vocab_file), do_lower_case=True)
        self.vocab = self._full.vocab

    def ids(self, texts):
        return super().ids([" ".join(self._full.tokenize(text)) for text in texts])


WORDS = WordTokenizer(["[PAD]", "[CLS]", "[SEP]", "a", "b", "c", "d", "e"])


def columns(examples, length=9, labels=("no", "yes"), kind="single_label"):
    return features.classification_columns(examples, WORDS, length, labels, kind)


def rows_of(made):
    return [
        (made.input_ids[i:j].tolist(), made.segment_ids[i:j].tolist())
        for i, j in zip(made.offsets, made.offsets[1:], strict=False)
    ]


def pop_one_by_one(tokens_a, tokens_b, limit):
    """The parent's rule for pairs as its loop states it."""
    while tokens_a + tokens_b > limit:
        if tokens_a > tokens_b:
            tokens_a -= 1
        else:
            tokens_b -= 1
    return tokens_a, tokens_b


def test_truncation_equals_taking_tokens_one_by_one():
    generator = np.random.default_rng(3)
    for length in (3, 4, 5, 8, 31, 64):
        pairs = generator.integers(0, 2 * length, (400, 2))
        kept = tokens.truncated_lengths(pairs[:, 0], pairs[:, 1], length)
        for (a, b), got in zip(pairs, zip(*kept, strict=True), strict=True):
            want = pop_one_by_one(a, b, length - 3) if b else (min(a, length - 2), 0)
            assert got == want, (length, a, b)


def test_features_equal_the_parents_on_real_pairs(tmp_path):
    golden = json.loads(GOLDEN.read_text("utf-8"))
    vocab_file = tmp_path / "vocab.txt"
    vocab_file.write_text("\n".join(golden["vocab"]) + "\n", "utf-8")
    tokenizer = ParentTokenizer(vocab_file)
    for length in {case["max_seq_length"] for case in golden["cases"]}:
        cases = [c for c in golden["cases"] if c["max_seq_length"] == length]
        made = features.classification_columns(
            [InputExample("x", c["text_a"], c["text_b"], c["label"]) for c in cases],
            tokenizer,
            length,
            ["0", "1"],
            "single_label",
        )
        assert rows_of(made) == [(c["input_ids"], c["segment_ids"]) for c in cases]
        assert made.label_ids.tolist() == [c["label_id"] for c in cases]


def test_singles_and_pairs_are_laid_out_with_their_segments():
    made = columns(
        [
            InputExample("1", "a b", None, "yes"),
            InputExample("2", "c", "d e", "no"),
            InputExample("3", "", "", "no"),
            InputExample("4", "", "e", "yes"),
        ]
    )
    assert rows_of(made) == [
        ([1, 3, 4, 2], [0, 0, 0, 0]),
        ([1, 5, 2, 6, 7, 2], [0, 0, 0, 1, 1, 1]),
        ([1, 2], [0, 0]),
        ([1, 2, 7, 2], [0, 0, 1, 1]),
    ]
    assert made.label_ids.tolist() == [1, 0, 0, 1]
    assert (made.truncated_examples, made.dropped_tokens) == (0, 0)


def test_truncation_is_counted_in_examples_and_tokens():
    made = columns(
        [
            InputExample("1", "a b c d e", None, "no"),
            InputExample("2", "a b c", "d e", "no"),
            InputExample("3", "a", "b", "no"),
        ],
        length=6,
    )
    assert rows_of(made)[:2] == [
        ([1, 3, 4, 5, 6, 2], [0] * 6),
        ([1, 3, 4, 2, 6, 2], [0, 0, 0, 0, 1, 1]),
    ]
    assert (made.truncated_examples, made.dropped_tokens) == (2, 3)


@pytest.mark.parametrize(
    ("kind", "given", "stored"),
    [
        ("single_label", ["yes", "no", None], [1, 0, 0]),
        ("multi_label", [("yes", "no"), (), None], [[1, 1], [0, 0], [0, 0]]),
        ("regression", [2.5, -1.0, None], [2.5, -1.0, 0.0]),
    ],
)
def test_labels_survive_the_way_to_a_batch(kind, given, stored):
    examples = [InputExample(str(i), "a b", None, y) for i, y in enumerate(given)]
    made = columns(examples, kind=kind)
    spec = features.classification_spec(kind, num_labels=2)
    parsed, lengths = spec.parse(tf.constant(list(made.records(spec))))
    batch = spec.to_batch(parsed, lengths, rows=3, length=5)
    assert batch["label_ids"].numpy().tolist() == stored
    assert batch["example_index"].numpy().tolist() == [0, 1, 2]
    assert batch["input_ids"].numpy().tolist() == [[1, 3, 4, 2, 0]] * 3
    assert "label_ids" not in spec.signature()


def test_unknown_label_is_named_with_the_example():
    with pytest.raises(ValueError, match=r"f\.tsv:8: unknown label 'maybe'.*'no'"):
        columns([InputExample("f.tsv:8", "a", None, "maybe")])


def test_vocabulary_without_special_tokens_is_an_error():
    tokenizer = WordTokenizer(["[PAD]", "[CLS]", "a"])
    with pytest.raises(ValueError, match=r"no \[SEP\]"):
        features.classification_columns(
            [InputExample("1", "a")], tokenizer, 5, [], "regression"
        )


def test_length_without_room_for_the_special_tokens_is_an_error():
    with pytest.raises(ValueError, match="max_seq_length must be at least 3, got 2"):
        columns([InputExample("1", "a", "b", "no")], length=2)
