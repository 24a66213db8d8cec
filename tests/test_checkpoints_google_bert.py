"""Google's TF1 checkpoints: read as they were released, written for TF1 to read."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import checkpoints
from checkpoints import google_bert

WORDS = "bert/embeddings/word_embeddings"
DATA, INDEX = ".data-00000-of-00001", ".index"


def draw(*shape: int) -> np.ndarray:
    """float32 values, none trivial."""
    return np.random.default_rng(shape).normal(size=shape).astype("f4")


@pytest.mark.shared_data
def test_the_original_checkpoint_is_read_and_written_bit_for_bit(golden_dir, tmp_path):
    found = checkpoints.open_checkpoint(golden_dir / "bert")
    wanted = tf.train.load_checkpoint(str(golden_dir / "bert/bert_model.ckpt"))
    assert set(found.shapes) == set(wanted.get_variable_to_shape_map())
    assert found.ignored == {}
    assert found.config.num_hidden_layers == 3
    tensors = {name: found.read(name) for name in found.shapes}
    google_bert.save(str(tmp_path / "copy.ckpt"), tensors)
    copy = checkpoints.open_checkpoint(tmp_path / "copy.ckpt")
    assert copy.shapes == found.shapes
    for name in found.shapes:
        np.testing.assert_array_equal(copy.read(name), wanted.get_tensor(name))


@pytest.mark.shared_data
def test_a_written_checkpoint_restores_into_a_tf1_graph(golden_dir, tmp_path):
    found = checkpoints.open_checkpoint(golden_dir / "bert")
    tensors = {name: found.read(name) for name in found.shapes}
    prefix = str(tmp_path / "copy.ckpt")
    google_bert.save(prefix, tensors)
    v1 = tf.compat.v1
    for restore in ("saver", "init_from_checkpoint"):
        with tf.Graph().as_default(), v1.Session() as session:
            variables = {
                name: v1.get_variable(name, shape, use_resource=False)
                for name, shape in found.shapes.items()
            }
            if restore == "saver":
                v1.train.Saver().restore(session, prefix)
            else:
                v1.train.init_from_checkpoint(prefix, {n: n for n in tensors})
                session.run(v1.global_variables_initializer())
            values = session.run(variables)
        for name, value in values.items():
            np.testing.assert_array_equal(value, tensors[name], err_msg=name)


def test_what_training_left_in_the_file_is_ignored_by_name(tmp_path):
    model = {WORDS: draw(5, 3), "output_bias": draw(2), "bert/Adam_like/bias": draw(4)}
    training = {
        "global_step": np.int64(7),
        f"{WORDS}/adam_m": draw(5, 3),
        f"{WORDS}/adam_v": draw(5, 3),
        f"{WORDS}/AdamWeightDecayOptimizer": draw(5, 3),
        f"{WORDS}/AdamWeightDecayOptimizer_1": draw(5, 3),
        f"{WORDS}/lamb_m": draw(5, 3),
        "output_bias/Momentum": draw(2),
        "output_bias/Adam": draw(2),
        "output_bias/Adam_1": draw(2),
        "beta1_power": np.float32(0.5),
        "trainer/position": np.int64(9),
        "trainer/optimizer/momentum": draw(2),
    }
    google_bert.save(str(tmp_path / "m.ckpt"), model | training)
    found = checkpoints.open_checkpoint(tmp_path)
    assert set(found.shapes) == set(model)
    assert set(found.ignored) == set(training)
    assert "slot" in found.ignored[f"{WORDS}/adam_m"]
    assert "step" in found.ignored["global_step"]


def test_no_meta_file_is_needed_and_any_float_type_becomes_float32(tmp_path):
    value = draw(3, 2).astype("f2")
    google_bert.save(
        str(tmp_path / "m.ckpt"),
        {"half": value, "brain": tf.cast(value, tf.bfloat16), "ids": np.arange(4)},
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.ckpt" + DATA,
        "m.ckpt" + INDEX,
    ]
    found = checkpoints.open_checkpoint(tmp_path)
    for name in ("half", "brain"):
        assert found.read(name).dtype == np.float32
        np.testing.assert_allclose(found.read(name), value.astype("f4"), rtol=1e-2)
    with pytest.raises(checkpoints.CheckpointError, match="ids is int64"):
        found.read("ids")


def test_the_index_comes_last_so_that_an_unfinished_write_is_not_found(
    tmp_path, monkeypatch
):
    prefix = str(tmp_path / "model.ckpt-4")
    renamed = []

    def die_at_the_second(source, target, overwrite):
        del overwrite
        renamed.append(target)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        shutil.move(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(tf.io.gfile, "rename", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            google_bert.save(prefix, {WORDS: draw(5, 3)})
    assert renamed == [prefix + DATA, prefix + INDEX]
    assert google_bert.find_prefix(str(tmp_path)) is None
    google_bert.save(prefix, {WORDS: draw(4, 3)})
    assert google_bert.find_prefix(str(tmp_path)) == prefix
    assert checkpoints.open_checkpoint(prefix).shapes == {WORDS: (4, 3)}


def test_a_tf2_object_checkpoint_is_refused_by_name(tmp_path):
    tf.train.Checkpoint(weight=tf.Variable([1.0, 2.0])).write(str(tmp_path / "obj"))
    with pytest.raises(checkpoints.CheckpointError, match="object-based"):
        checkpoints.open_checkpoint(tmp_path / "obj")


def test_damaged_files_are_errors_that_name_the_prefix_and_the_tensor(tmp_path):
    prefix = str(tmp_path / "m.ckpt")
    google_bert.save(prefix, {WORDS: draw(500, 3)})
    data = (tmp_path / ("m.ckpt" + DATA)).read_bytes()
    (tmp_path / ("m.ckpt" + DATA)).write_bytes(data[: len(data) // 2])
    with pytest.raises(checkpoints.CheckpointError) as error:
        checkpoints.open_checkpoint(prefix).read(WORDS)
    assert f"{prefix}: cannot read {WORDS}" in str(error.value)
    (tmp_path / ("m.ckpt" + INDEX)).write_bytes(b"not an index")
    with pytest.raises(checkpoints.CheckpointError, match=r"m\.ckpt: not a readable"):
        checkpoints.open_checkpoint(prefix)


def test_an_unknown_config_key_names_file_and_key(tmp_path):
    google_bert.save(str(tmp_path / "bert_model.ckpt"), {WORDS: draw(5, 3)})
    (tmp_path / "bert_config.json").write_text(json.dumps({"hidden_sise": 3}))
    with pytest.raises(ValueError, match=r"bert_config\.json: unknown.*hidden_sise"):
        checkpoints.open_checkpoint(tmp_path)
