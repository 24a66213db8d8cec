"""GPT's sequences are the original's, and are cut and counted as it cuts them."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from data_pipeline.features import gpt as gpt_features
from data_pipeline.readers.examples import InputExample, MultipleChoiceExample

GOLDEN = pathlib.Path(__file__).parent / "golden/gpt_multiple_choice.json"
SPECIAL = gpt_features.SpecialTokens(200, 201, 202)


class Letters:
    """A tokenizer of one id a letter."""

    vocab = {}

    def ids(self, texts):
        flat = np.frombuffer("".join(texts).encode(), np.uint8).astype(np.int32)
        return flat, np.cumsum([0, *map(len, texts)])


class Numbers:
    """A tokenizer of texts that are ids already."""

    vocab = {}

    def ids(self, texts):
        rows = [[int(i) for i in text.split()] for text in texts]
        return np.int32(sum(rows, [])), np.cumsum([0, *map(len, rows)])


def columns(examples, length, kind="single_label", labels=("x", "y"), **kwargs):
    return gpt_features.classification_columns(
        examples, Letters(), SPECIAL, length, labels, kind, **kwargs
    )


def sequences(found):
    """Writes each example's sequences with < | > for the special tokens."""
    special = {200: "<", 201: "|", 202: ">"}
    text = "".join(special.get(i) or chr(i) for i in found.input_ids)
    return [
        [text[a:b] for a, b in zip(row, row[1:], strict=False)] for row in found.offsets
    ]


def pair(a, b=None):
    return InputExample("guid", a, b, "x")


def choice(text, *endings):
    return MultipleChoiceExample("guid", text, None, "y", endings)


def test_multiple_choice_is_laid_out_and_cut_as_the_original_does():
    golden = json.loads(GOLDEN.read_text())
    rows = zip(*(golden[name] for name in ("X1", "X2", "X3")), strict=True)
    texts = [[" ".join(map(str, ids)) for ids in row] for row in rows]
    examples = [MultipleChoiceExample("", a, None, "2", (b, c)) for a, b, c in texts]
    names = ("_start_", "_delimiter_", "_classify_")
    special = gpt_features.SpecialTokens(*(golden["special"][name] for name in names))
    found = gpt_features.classification_columns(
        examples, Numbers(), special, golden["n_ctx"], ("1", "2"), "multiple_choice"
    )
    made = [
        [found.input_ids[a:b].tolist() for a, b in zip(row, row[1:], strict=False)]
        for row in found.offsets
    ]
    assert made == golden["sequences"]
    room = golden["n_ctx"] // 2 - 2
    lost = [
        sum(max(len(text.split()) - room, 0) for text in example) for example in texts
    ]
    assert found.dropped_tokens == sum(lost) > 0
    assert found.truncated_examples == np.count_nonzero(lost)


def test_texts_pairs_and_both_orders():
    examples = [pair("ab"), pair("cd", "e"), pair("f", ""), pair("")]
    assert sequences(columns(examples, 20)) == [["<ab>"], ["<cd|e>"], ["<f|>"], ["<>"]]
    both = columns([pair("ab", "c"), pair("d", "efg")], 20, symmetric=True)
    assert sequences(both) == [["<ab|c>", "<c|ab>"], ["<d|efg>", "<efg|d>"]]


def test_one_text_keeps_all_but_two_and_each_of_a_pair_half_less_two():
    found = columns([pair("a" * 9), pair("a" * 7, "b" * 2), pair("c")], 10)
    assert sequences(found) == [["<aaaaaaaa>"], ["<aaa|bb>"], ["<c>"]]
    assert (found.truncated_examples, found.dropped_tokens) == (2, 1 + 4)
    # An example loses its tokens once, however often it is read.
    found = columns([pair("a" * 7, "b" * 2)], 10, symmetric=True)
    assert (found.truncated_examples, found.dropped_tokens) == (1, 4)


def test_a_record_is_as_long_as_the_longest_of_its_sequences():
    found = columns([choice("ab", "c", "def")], 20, "multiple_choice")
    spec = gpt_features.classification_spec("multiple_choice", False, 2)
    parsed, lengths = spec.parse(tf.constant(list(found.records(spec))))
    assert lengths.numpy().tolist() == [8]
    batch = spec.to_batch(parsed, lengths, 1, 9)
    assert batch["input_ids"].shape == (1, 9, 2)
    assert sequences(found) == [["<ab|c>", "<ab|def>"]]
    for column, text in enumerate(("<ab|c>", "<ab|def>")):
        ids = batch["input_ids"][0, :, column].numpy()
        assert "".join(chr(i) for i in ids[1:3]) == "ab"
        assert np.count_nonzero(ids) == len(text)
    assert batch["label_ids"].numpy().tolist() == [1]


def test_impossible_lengths_and_endings_are_refused():
    with pytest.raises(ValueError, match=r"--max_seq_length=5; wanted at least 6"):
        columns([pair("a")], 5)
    with pytest.raises(ValueError, match="guid: 3 endings, but 2 labels"):
        columns([choice("a", "b", "c", "d")], 9, "multiple_choice")
    with pytest.raises(ValueError, match="guid: 0 endings, but 2 labels"):
        columns([pair("a")], 9, "multiple_choice")
