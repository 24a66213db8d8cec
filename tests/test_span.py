"""The task: its loss by hand, and what padding may not change."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

import modeling
from checkpoints import google_bert
from tasks.span import SpanConfig, SpanTask


@pytest.fixture
def task(tmp_path):
    config = SpanConfig(max_seq_length=13, doc_stride=2, max_query_length=5)
    return SpanTask(config, tiny.system(tmp_path))


def batch(length=9):
    rng = np.random.default_rng(4)
    mask = tf.sequence_mask([9, 6, 7], length, dtype=tf.int32)
    ids = np.zeros([3, length], np.int32)
    ids[:, :9] = rng.integers(5, 37, [3, 9])
    return {
        "input_ids": tf.constant(ids) * mask,
        "input_mask": mask,
        "segment_ids": mask,
        "start_positions": tf.constant([3, 0, 2]),
        "end_positions": tf.constant([5, 0, 2]),
        "is_real_example": tf.constant([1, 1, 0]),
    }


def test_the_loss_is_the_mean_of_both_cross_entropies_over_real_windows(task):
    model, data = task.build_model(dtype="float32", fused=False, seed=1), batch()
    logits = model(data["input_ids"], data["input_mask"], data["segment_ids"])
    total = 0.0
    for row, length in ((0, 9), (1, 6)):
        for side, name in enumerate(("start_positions", "end_positions")):
            scores = logits[side][row, :length].numpy().astype(float)
            target = int(data[name][row])
            total += (np.log(np.exp(scores).sum()) - scores[target]) / 2
    loss = task.loss_sums(model, data, None)["loss"]
    np.testing.assert_allclose(loss, total, rtol=1e-5)
    assert task.loss_denominators(data)["loss"] == 2


def test_padding_changes_neither_loss_nor_scores(task):
    model = task.build_model(dtype="float32", fused=False, seed=1)
    losses = [task.loss_sums(model, batch(n), None)["loss"] for n in (9, 12)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    short, wide = (task.predict(model, batch(n)) for n in (9, 12))
    for name in ("start_logits", "end_logits"):
        assert short[name].shape == (3, 13)
        np.testing.assert_allclose(short[name], wide[name], atol=1e-5)
        assert (short[name][1, 6:] == tf.float32.min).numpy().all()


def test_a_fine_tuned_head_is_taken_over_and_other_heads_are_not(task, tmp_path):
    donor = modeling.BertSpanExtractor(tiny.CONFIG, seed=5)
    tensors = {n: v.numpy() for n, v in modeling.named_variables(donor).items()}
    extra = {"cls/predictions/output_bias": np.ones(37), "output_bias": np.ones(3)}
    google_bert.save(str(tmp_path / "a.ckpt"), tensors | extra)
    init_checkpoint = str(tmp_path / "a.ckpt")
    again = SpanTask(
        task.config, tiny.system(tmp_path, init_checkpoint=init_checkpoint)
    )
    model = again.build_model(dtype="float32", fused=False, seed=1)
    variables = modeling.named_variables(model)
    again.initialize(variables)
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable, tensors[name], err_msg=name)
