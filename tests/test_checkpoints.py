"""The strict table engine, loading into variables, and recognition by contents."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

import checkpoints
import modeling
from checkpoints import google_bert, mapping

ROOT = pathlib.Path(__file__).resolve().parent.parent
HUGGINGFACE = ROOT / "tests/golden/checkpoints/huggingface"
CONFIG = modeling.BertConfig(
    vocab_size=13,
    hidden_size=6,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=10,
    max_position_embeddings=7,
    type_vocab_size=2,
)
WORDS = "bert/embeddings/word_embeddings"
HEADS = {"cls/.*": "the pre-training heads"}
OUTPUT = {"output_(weights|bias)": "the classifier"}


def values_of(model) -> dict[str, np.ndarray]:
    """The values of a model's variables, by name."""
    return {
        name: np.array(tf.convert_to_tensor(variable))
        for name, variable in modeling.named_variables(model).items()
    }


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """A whole pre-training model, no value trivial."""
    draw = np.random.default_rng(3)
    shapes = values_of(modeling.BertPreTrainingModel(CONFIG))
    return {n: draw.normal(size=v.shape).astype("f4") for n, v in shapes.items()}


@pytest.fixture
def folder(tmp_path, tensors) -> pathlib.Path:
    """That model in Google's layout."""
    vocab = tmp_path / "words.txt"
    vocab.write_text("".join(f"w{i}\n" for i in range(13)))
    google_bert.save_folder(str(tmp_path / "google"), tensors, CONFIG, str(vocab), True)
    return tmp_path / "google"


def load(model, path, new=(), unused=(), **kwargs):
    """Initializes a model from a path."""
    return checkpoints.initialize(
        modeling.named_variables(model),
        checkpoints.open_checkpoint(path),
        new=dict(new),
        unused=dict(unused),
        **kwargs,
    )


# The table.


def table() -> mapping.Table:
    """Two spellings of one kernel, and a buffer."""
    return mapping.Table(
        rules=[
            mapping.Rule("h.{n}.{w}", "layer_{n}/kernel", np.transpose, np.transpose),
            mapping.Rule("old.{n}", "layer_{n}/kernel"),
        ],
        fields={"n": mapping.Field(r"\d+"), "w": mapping.Field("w|weight", "w")},
        ignored={r"h\.\d+\.buffer": "not a weight"},
    )


def test_a_table_sorts_every_name_into_used_ignored_or_unknown():
    found = table().match(["old.12", "h.12.weight", "h.3.buffer", "h.3.bias", "h.x.w"])
    names = [source.name for source in found.sources["layer_12/kernel"]]
    assert names == ["h.12.weight", "old.12"]  # in the order of the rules
    assert list(found.sources) == ["layer_12/kernel"]
    assert found.ignored == {"h.3.buffer": "not a weight"}
    assert found.unknown == ["h.3.bias", "h.x.w"]


def test_a_table_writes_by_the_first_rule_and_knows_what_it_cannot_write():
    assert table().target("layer_4/kernel").name == "h.4.w"
    assert table().target("layer_4/kernel", w="weight").name == "h.4.weight"
    assert table().target("layer_4/bias") is None


def test_a_shape_is_mapped_as_its_tensor_is():
    rule = table().target("layer_4/kernel").rule
    assert mapping.mapped_shape([3, 5], rule) == (5, 3)


# Loading.


def test_every_variable_gets_its_tensor(folder, tensors):
    model = modeling.BertPreTrainingModel(CONFIG)
    report = load(model, folder)
    assert set(report.loaded) == set(tensors)
    assert report.new == {}
    for name, value in values_of(model).items():
        np.testing.assert_array_equal(value, tensors[name], err_msg=name)


def test_a_classifier_starts_from_a_pretrained_encoder(folder, tensors):
    model = modeling.BertClassifier(CONFIG, num_outputs=5)
    before = values_of(model)
    report = load(model, folder, new=OUTPUT, unused=HEADS)
    assert report.new == dict.fromkeys(
        ("output_weights", "output_bias"), "the classifier"
    )
    assert report.ignored["cls/predictions/output_bias"] == "the pre-training heads"
    after = values_of(model)
    np.testing.assert_array_equal(after["output_weights"], before["output_weights"])
    np.testing.assert_array_equal(after[WORDS], tensors[WORDS])


def test_a_head_in_the_file_is_loaded_unless_it_is_listed_as_unused(tmp_path):
    trained = values_of(modeling.BertClassifier(CONFIG, num_outputs=5, seed=8))
    google_bert.save(str(tmp_path / "m.ckpt"), trained)
    model = modeling.BertClassifier(CONFIG, num_outputs=5)
    before = values_of(model)["output_weights"]
    report = load(model, tmp_path, new=OUTPUT, unused=OUTPUT)
    assert set(report.new) == {"output_weights", "output_bias"}
    np.testing.assert_array_equal(values_of(model)["output_weights"], before)
    report = load(model, tmp_path, new=OUTPUT)
    assert report.new == {}
    np.testing.assert_array_equal(
        values_of(model)["output_weights"], trained["output_weights"]
    )


def test_all_problems_are_in_one_error_and_nothing_is_assigned(tmp_path, tensors):
    missing = "bert/pooler/dense/bias"
    wrong = "bert/encoder/layer_1/intermediate/dense/kernel"
    changed = {k: v for k, v in tensors.items() if k != missing}
    changed[wrong] = np.zeros((10, 6), "f4")
    changed["bert/extra/kernel"] = np.zeros((2, 4), "f4")
    google_bert.save(str(tmp_path / "m.ckpt"), changed)
    model = modeling.BertPreTrainingModel(CONFIG)
    before = values_of(model)
    with pytest.raises(checkpoints.CheckpointError) as error:
        load(model, tmp_path / "m.ckpt")
    message = str(error.value)
    assert str(tmp_path / "m.ckpt") in message
    assert f"missing: {missing} [6] is in the model only" in message
    assert "extra: bert/extra/kernel [2, 4] is in the file only" in message
    assert f"wrong shape: {wrong} is [10, 6] in the file, [6, 10]" in message
    for name, value in values_of(model).items():
        np.testing.assert_array_equal(value, before[name])


def bigger(rows: int) -> modeling.BertPreTrainingModel:
    """The model with another vocabulary."""
    values = CONFIG.to_dict() | {"vocab_size": rows}
    return modeling.BertPreTrainingModel(modeling.BertConfig.from_dict(values))


def test_a_bigger_vocabulary_is_an_error_that_names_the_flags(folder):
    with pytest.raises(checkpoints.CheckpointError) as error:
        load(bigger(16), folder)
    message = str(error.value)
    for text in (
        WORDS,
        "cls/predictions/output_bias",
        "13 and 16 entries",
        "--vocab_file",
        "--bert_config_file",
        "--init_checkpoint",
        "resize_vocab",
    ):
        assert text in message
    with pytest.raises(checkpoints.CheckpointError) as error:
        load(bigger(16), folder, resize_vocab=None)
    assert "13 and 16 entries" in str(error.value)
    assert "resize_vocab" not in str(error.value)


def test_resizing_keeps_the_old_rows_and_the_new_rows_own_values(folder, tensors):
    model = bigger(16)
    bias = modeling.named_variables(model)["cls/predictions/output_bias"]
    bias.assign(np.arange(16.0))
    before = values_of(model)
    report = load(model, folder, resize_vocab=True)
    assert report.new == {
        f"{WORDS}[13:16]": "rows added by resize_vocab",
        "cls/predictions/output_bias[13:16]": "rows added by resize_vocab",
    }
    after = values_of(model)
    for name in (WORDS, "cls/predictions/output_bias"):
        np.testing.assert_array_equal(after[name][:13], tensors[name])
        np.testing.assert_array_equal(after[name][13:], before[name][13:])


def test_resizing_never_drops_rows_nor_touches_other_tensors(folder):
    with pytest.raises(checkpoints.CheckpointError, match=f"wrong shape: {WORDS}"):
        load(bigger(11), folder, resize_vocab=True)
    values = CONFIG.to_dict() | {"max_position_embeddings": 9}
    longer = modeling.BertPreTrainingModel(modeling.BertConfig.from_dict(values))
    with pytest.raises(checkpoints.CheckpointError, match="position_embeddings"):
        load(longer, folder, resize_vocab=True)


_MIRRORED = """
import sys
import numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2)
import checkpoints, modeling
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
checkpoint = checkpoints.open_checkpoint(sys.argv[1])
values = checkpoint.config.to_dict() | {"vocab_size": 16}
with strategy.scope():
    model = modeling.BertPreTrainingModel(modeling.BertConfig.from_dict(values))
    variables = modeling.named_variables(model)
    checkpoints.initialize(
        variables, checkpoint, new={}, unused={}, resize_vocab=True)
for name in ("bert/embeddings/word_embeddings", "bert/pooler/dense/kernel"):
    replicas = [np.array(v) for v in variables[name].value.values]
    assert len(replicas) == 2
    wanted = checkpoint.read(name)
    for replica in replicas:
        np.testing.assert_array_equal(replica[:len(wanted)], wanted)
print("both replicas")
"""


@pytest.mark.slow
def test_mirrored_variables_are_filled_on_every_replica(folder):
    done = subprocess.run(
        [sys.executable, "-c", _MIRRORED, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "both replicas" in done.stdout, done.stderr[-3000:]


# Recognition.


def test_each_way_to_name_a_checkpoint_is_recognised(folder, tensors):
    prefix = folder / "bert_model.ckpt"
    data = f"{prefix}.data-00000-of-00001"
    for path in (folder, f"{folder}/", prefix, f"{prefix}.index", data):
        found = checkpoints.open_checkpoint(path)
        assert found.format == "google_bert"
        assert found.path == str(prefix)
        assert found.config == CONFIG
        assert found.vocab_file == str(folder / "vocab.txt")
        assert found.do_lower_case is True
        assert set(found.shapes) == set(tensors)
    for path in (HUGGINGFACE, HUGGINGFACE / "model.safetensors"):
        found = checkpoints.open_checkpoint(path)
        assert found.format == "huggingface"
        assert found.path == str(HUGGINGFACE / "model.safetensors")
        assert found.config.vocab_size == 31


def test_the_contents_and_not_the_name_tell_a_weights_file(tmp_path):
    shutil.copy(HUGGINGFACE / "model.safetensors", tmp_path / "weights.bin")
    found = checkpoints.open_checkpoint(tmp_path / "weights.bin")
    assert found.format == "huggingface"
    assert found.config is None
    assert found.vocab_file is None


def test_a_training_folder_gives_its_newest_checkpoint_even_when_moved(tmp_path):
    old = tmp_path / "old"
    for step in (90, 100):
        google_bert.save(
            f"{old}/model.ckpt-{step}", {WORDS: np.full((3, 2), step, "f4")}
        )
    for named in ("model.ckpt-100", f"{old}/model.ckpt-100"):
        (old / "checkpoint").write_text(f'model_checkpoint_path: "{named}"\n')
        moved = shutil.copytree(old, tmp_path / "moved", dirs_exist_ok=True)
        found = checkpoints.open_checkpoint(moved)
        assert found.path == f"{moved}/model.ckpt-100"
        assert found.read(WORDS)[0, 0] == 100


def test_a_state_file_that_names_nothing_is_an_error(tmp_path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
    with pytest.raises(
        checkpoints.CheckpointError, match="model.ckpt-7.index does not"
    ):
        checkpoints.open_checkpoint(tmp_path)


def test_a_folder_with_several_checkpoints_asks_for_one(tmp_path):
    for name in ("a.ckpt", "b.ckpt"):
        google_bert.save(f"{tmp_path}/{name}", {WORDS: np.ones((3, 2), "f4")})
    with pytest.raises(checkpoints.CheckpointError, match=r"a\.ckpt, .*b\.ckpt"):
        checkpoints.open_checkpoint(tmp_path)


def test_a_folder_with_both_formats_asks_for_one(folder):
    shutil.copy(HUGGINGFACE / "model.safetensors", folder)
    with pytest.raises(checkpoints.CheckpointError, match="name one"):
        checkpoints.open_checkpoint(folder)


def test_a_pickle_is_refused_and_never_run(tmp_path):
    trap = f"cposix\nsystem\n(S'touch {tmp_path}/ran'\ntR.".encode()
    (tmp_path / "a.pt").write_bytes(b"\x80\x02" + trap)
    with pytest.raises(checkpoints.CheckpointError, match=r"a\.pt: .*posix\.system"):
        checkpoints.open_checkpoint(tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(b"PK\x03\x04....")
    with pytest.raises(checkpoints.CheckpointError, match="a damaged zip archive"):
        checkpoints.open_checkpoint(tmp_path / "b.pt")
    shutil.copy(HUGGINGFACE / "config.json", tmp_path)
    (tmp_path / "a.pt").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(
        checkpoints.CheckpointError, match=r"model\.bin: the pickle names posix"
    ):
        checkpoints.open_checkpoint(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match="nothing_here: no such file"):
        checkpoints.open_checkpoint(tmp_path / "nothing_here")
    (tmp_path / "notes.txt").write_text("hello, world")
    with pytest.raises(checkpoints.CheckpointError, match=r"folder with notes\.txt"):
        checkpoints.open_checkpoint(tmp_path)
    with pytest.raises(checkpoints.CheckpointError, match=r"starts with b'hello, wo'"):
        checkpoints.open_checkpoint(tmp_path / "notes.txt")


def test_a_config_of_another_model_is_an_error(folder):
    values = CONFIG.to_dict() | {"vocab_size": 14}
    (folder / "bert_config.json").write_text(json.dumps(values))
    with pytest.raises(checkpoints.CheckpointError) as error:
        checkpoints.open_checkpoint(folder)
    assert f"{WORDS} is [13, 6]" in str(error.value)
    assert "[14, 6]; is --bert_config_file another" in str(error.value)


def test_the_two_gelus_are_told_apart_by_who_wrote_the_config(folder):
    theirs = checkpoints.read_config(str(HUGGINGFACE / "config.json"))
    ours = checkpoints.read_config(str(folder / "bert_config.json"))
    assert json.loads((HUGGINGFACE / "config.json").read_text())["hidden_act"] == "gelu"
    assert json.loads((folder / "bert_config.json").read_text())["hidden_act"] == "gelu"
    assert theirs.hidden_act == "gelu_erf"
    assert ours.hidden_act == "gelu_tanh"


def test_reading_a_name_that_is_not_there_names_the_file(folder):
    with pytest.raises(checkpoints.CheckpointError, match=r"ckpt: no tensor bert/no"):
        checkpoints.open_checkpoint(folder).read("bert/no")


def test_an_unknown_tensor_fails_to_load_unless_listed_as_unused(tmp_path):
    shutil.copytree(HUGGINGFACE, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.safetensors"
    found = checkpoints.open_checkpoint(HUGGINGFACE)
    save_file(load_file(path) | {"adapter.down": np.ones((2, 5), "f4")}, path)
    model = modeling.BertPreTrainingModel(found.config)
    with pytest.raises(checkpoints.CheckpointError, match=r"adapter\.down \[2, 5\]"):
        load(model, tmp_path)
    report = load(model, tmp_path, unused={r"adapter\..*": "not BERT's"})
    assert report.ignored["adapter.down"] == "not BERT's"
