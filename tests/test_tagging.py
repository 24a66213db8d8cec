"""The task: rows and places by hand, its loss, and what padding may not change."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tiny
import tiny_tagging

import modeling
from checkpoints import google_bert
from data_pipeline.features import tagging as tagging_features
from data_pipeline.features.tagging import SpecialIds, tagging_columns
from data_pipeline.readers import conll
from tasks.tagging import TaggingConfig, TaggingTask

LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
SPECIAL = SpecialIds(first=101, last=102, unknown=100)


class Letters:
    """A piece for each letter of a word; "-" is none."""

    def ids(self, words):
        sizes = [len(word.replace("-", "")) for word in words]
        letters = "".join(words).replace("-", "")
        flat = np.array([ord(letter) - ord("a") for letter in letters], np.int32)
        return flat, np.append(0, np.cumsum(sizes))


def text_of(tmp_path, sentences):
    """A text of (words, tags)."""
    path = tmp_path / "words.txt"
    path.write_text(tiny_tagging.columns(sentences))
    return conll.read(str(path), "conll", scheme="BIO")


def columns_of(tmp_path, sentences, max_seq_length, **kwargs):
    text = text_of(tmp_path, [(words, ["O"] * len(words)) for words in sentences])
    tag_ids = np.arange(len(text.words), dtype=np.int32)
    return tagging_columns(text, tag_ids, Letters(), SPECIAL, max_seq_length, **kwargs)


def rows(columns):
    """(input_ids, word_positions, tag_ids, sentence_index) of each row, as lists."""
    found = []
    for record in columns.records():
        parsed, _ = tagging_features.TAGGING_SPEC.parse(tf.constant([record]))
        found.append(
            tuple(
                parsed[name][0].numpy().tolist()
                for name in ("input_ids", "word_positions", "tag_ids")
            )
            + (int(parsed["sentence_index"][0]),)
        )
    return found


@pytest.fixture(params=[False, True], ids=["softmax", "crf"])
def task(tmp_path, request):
    config = TaggingConfig(LABELS, "BIO", "BIO", request.param, 13, True)
    return TaggingTask(config, tiny.system(tmp_path))


def batch(length=9):
    """Rows of 4, 2 and 3 words; the last is no real example."""
    rng = np.random.default_rng(4)
    mask = tf.sequence_mask([9, 6, 7], length, dtype=tf.int32)
    ids, tags, positions = (np.zeros([3, length], np.int32) for _ in range(3))
    ids[:, :9] = rng.integers(5, 37, [3, 9])
    for row, places in enumerate([[1, 3, 4, 7], [2, 3], [1, 2, 5]]):
        positions[row, : len(places)] = places
        tags[row, : len(places)] = rng.integers(0, 5, len(places))
    return {
        "input_ids": tf.constant(ids) * mask,
        "input_mask": mask,
        "word_positions": tf.constant(positions),
        "tag_ids": tf.constant(tags),
        "is_real_example": tf.constant([1, 1, 0]),
    }


def test_rows_hold_each_words_first_piece(tmp_path):
    columns = columns_of(tmp_path, [["ab", "c"], ["d", "efg", "-"]], 9)
    assert rows(columns) == [
        ([101, 0, 1, 2, 102], [1, 3], [0, 1], 0),
        ([101, 3, 4, 5, 6, 100, 102], [1, 2, 5], [2, 3, 4], 1),
    ]
    assert (columns.split_sentences, columns.truncated_words) == (0, 0)


def test_a_word_may_stand_at_its_last_piece(tmp_path):
    sentences = [["ab", "c", "fghijk"], ["d"]]
    columns = columns_of(tmp_path, sentences, 6, last_piece=True)
    assert rows(columns) == [
        ([101, 0, 1, 2, 102], [2, 3], [0, 1], 0),
        ([101, 5, 6, 7, 8, 102], [4], [2], 0),
        ([101, 3, 102], [1], [3], 1),
    ]


def test_long_sentences_are_cut_between_words_and_long_words_shortened(tmp_path):
    sentences = [["a"], ["ab", "cd", "e", "fghijk", "l"], ["mn", "op"]]
    columns = columns_of(tmp_path, sentences, 6)
    assert rows(columns) == [
        ([101, 0, 102], [1], [0], 0),
        ([101, 0, 1, 2, 3, 102], [1, 3], [1, 2], 1),
        ([101, 4, 102], [1], [3], 1),
        ([101, 5, 6, 7, 8, 102], [1], [4], 1),
        ([101, 11, 102], [1], [5], 1),
        ([101, 12, 13, 14, 15, 102], [1, 3], [6, 7], 2),
    ]
    assert (columns.split_sentences, columns.truncated_words) == (1, 1)
    with pytest.raises(ValueError, match="--max_seq_length=2; wanted at least 3"):
        columns_of(tmp_path, sentences, 2)


def test_words_are_tokenized_as_bert_tokenizes_them(tmp_path):
    system = tiny.system(tmp_path)
    sentences = [(["good", "word1.word2", "!"], ["B-PER", "I-PER", "O"])]
    tokenizer = system.tokenizer()
    text = text_of(tmp_path, sentences)
    special = system.need("tags").special_ids(tokenizer)
    columns = tagging_columns(text, np.zeros(3, np.int32), tokenizer, special, 24)
    wanted = ["[CLS]", "good", "word1", "[UNK]", "word2", "[UNK]", "[SEP]"]
    assert columns.input_ids.tolist() == [tiny.VOCAB.index(piece) for piece in wanted]
    assert columns.word_positions.tolist() == [1, 2, 5]


def test_the_loss_is_minus_the_log_likelihood_of_real_words(task):
    model, data = task.build_model(dtype="float32", fused=False, seed=1), batch()
    inputs = {name: data[name] for name in ("input_ids", "input_mask")}
    scores = model(inputs, data["word_positions"])
    # A new CRF has only zeros: each word's distribution is a softmax.
    total = 0.0
    for row, words in ((0, 4), (1, 2)):
        for word in range(words):
            logits = scores[row, word].numpy().astype(float)
            right = int(data["tag_ids"][row, word])
            total += np.log(np.exp(logits).sum()) - logits[right]
    loss = task.loss_sums(model, data, None)["loss"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    assert task.loss_denominators(data)["loss"] == 6


def test_a_crf_prefers_the_transitions_it_was_given(tmp_path):
    config = TaggingConfig(LABELS, "BIO", "BIO", True, 13, True)
    task = TaggingTask(config, tiny.system(tmp_path))
    model, data = task.build_model(dtype="float32", fused=False, seed=1), batch()
    variables = modeling.named_variables(model)
    variables["tagger/crf/transitions"].assign(
        tf.one_hot([1, 2, 3, 4, 0], 5, 100.0, 0.0)
    )
    tags = task.predict(model, data)["tags"].numpy()
    assert ((tags[0, 1:4] - tags[0, :3]) % 5 == 1).all()
    loss = task.loss_sums(model, data, None)["loss"]
    right = data | {"tag_ids": tf.constant(np.maximum(tags[:, :9], 0))}
    assert task.loss_sums(model, right, None)["loss"] < loss


def test_padding_changes_neither_loss_nor_tags(task):
    model = task.build_model(dtype="float32", fused=False, seed=1)
    losses = [task.loss_sums(model, batch(n), None)["loss"] for n in (9, 12)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    short, wide = (task.predict(model, batch(n)) for n in (9, 12))
    assert short["tags"].shape == (3, 13)
    np.testing.assert_array_equal(short["tags"], wide["tags"])
    np.testing.assert_array_equal((short["tags"] >= 0).numpy().sum(1), [4, 2, 3])
    np.testing.assert_array_equal(short["tag_ids"] >= 0, short["tags"] >= 0)


def test_rows_of_one_sentence_are_scored_together(task):
    def padded(rows):
        return np.array([row + [-1] * (4 - len(row)) for row in rows], np.int32)

    # The entity of the first sentence goes on in its second row.
    predictions = {
        "tag_ids": padded([[0, 3], [4, 4], [1]]),
        "tags": padded([[0, 3], [4, 4], [0]]),
        "sentence_index": np.array([0, 0, 1]),
        "loss": np.array([1.0, 2.0, 2.5]),
    }
    scores = task.metrics(predictions)
    assert scores["eval_precision"] == 1
    assert scores["eval_recall"] == 0.5
    assert scores["eval_f1_PER"] == 1
    assert scores["eval_accuracy"] == 0.8
    assert scores["eval_loss"] == pytest.approx(5.5 / 5)


def test_predictions_are_named_in_the_scheme_of_the_files(task, tmp_path):
    text = text_of(tmp_path, [(["a", "b", "c"], ["O", "B-PER", "I-PER"])])
    config = dataclasses.replace(task.config, tag_scheme="IOB1")
    other = TaggingTask(config, task.system)
    tags = np.array([[4, 4, 3, -1]])
    assert task.tags({"tags": tags}, text).tolist() == ["B-PER", "I-PER", "B-PER"]
    assert other.tags({"tags": tags}, text).tolist() == ["I-PER", "I-PER", "B-PER"]


def test_records_are_made_once_and_describe_their_sentences(task, tmp_path):
    long = (["good", "word3"] * 7, ["B-PER", "I-PER"] * 7)
    text = text_of(tmp_path, [long, (["bad"], ["B-LOC"])])
    first = task.records("train", text, str(tmp_path))
    assert first.num_examples == 3
    assert task.records("train", text, str(tmp_path)) == first
    assert "line 1: 'good word3" in task.describe_examples([1])[0]
    assert task.describe_examples([2])[0].endswith("words.txt, line 16: 'bad'")
    text.tags[-1] = "O"
    assert task.records("train", text, str(tmp_path)) != first


def test_a_tag_never_seen_in_training_is_named(task, tmp_path):
    text = text_of(tmp_path, [(["a", "b"], ["O", "B-ORG"])])
    message = "words.txt, line 2: the tag 'B-ORG' was never seen in training; known: O"
    with pytest.raises(ValueError, match=message):
        task.records("eval", text, str(tmp_path))


def test_a_fine_tuned_head_is_taken_over_and_other_heads_are_not(task, tmp_path):
    model = task.build_model(dtype="float32", fused=False, seed=5)
    tensors = {n: v.numpy() + 1 for n, v in modeling.named_variables(model).items()}
    names = {name for name in tensors if name.startswith("tagger/")}
    wanted = {"tagger/emissions/output_weights", "tagger/emissions/output_bias"}
    chain = {f"tagger/crf/{name}" for name in ("start", "transitions", "end")}
    assert names == wanted | (chain if task.config.crf else set())
    extra = {"cls/squad/output_bias": np.ones(2), "output_bias": np.ones(3)}
    google_bert.save(str(tmp_path / "a.ckpt"), tensors | extra)
    system = tiny.system(tmp_path, init_checkpoint=str(tmp_path / "a.ckpt"))
    again = TaggingTask(task.config, system)
    variables = modeling.named_variables(
        again.build_model(dtype="float32", fused=False, seed=1)
    )
    again.initialize(variables)
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable, tensors[name], err_msg=name)


def test_dropout_is_off_in_a_frozen_encoder_and_on_before_the_head(tmp_path):
    config = TaggingConfig(LABELS, "BIO", "BIO", False, 13, True)
    system = tiny.system(tmp_path)
    frozen = TaggingTask(config, system, frozen_encoder=True)
    tuned = TaggingTask(config, system)
    data, seed = batch(), tf.constant([3, 4])
    losses = []
    for found in (frozen, tuned):
        model = found.build_model(dtype="float32", fused=False, seed=1)
        losses += [found.loss_sums(model, data, s)["loss"] for s in (None, seed)]
    assert losses[0] == losses[2]
    assert len({float(loss) for loss in losses}) == 3


def test_the_config_survives_its_file_and_another_tasks_file_is_refused(tmp_path):
    config = TaggingConfig(LABELS, "IOB1", "BIO", True, 13, None)
    path = tmp_path / "task.json"
    path.write_text(config.to_json_string())
    assert TaggingConfig.from_json_file(str(path)) == config
    path.write_text('{"labels": [], "task_name": "squad"}')
    with pytest.raises(ValueError, match=r"task.json is not of a model that run_tagge"):
        TaggingConfig.from_json_file(str(path))
