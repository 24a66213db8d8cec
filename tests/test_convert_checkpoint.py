"""convert_checkpoint.py: any format to any, and back to the same bits."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import safetensors
import scripts
import tensorflow as tf

import checkpoints
import convert_checkpoint
import modeling
from checkpoints import google_bert
from systems.bert import BertSystem
from tasks.tagging import TaggingConfig, TaggingTask

ROOT = pathlib.Path(__file__).resolve().parent.parent
HUGGINGFACE = ROOT / "tests/golden/checkpoints/huggingface"


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
    """The golden Hugging Face folder, with a vocabulary."""
    folder = shutil.copytree(HUGGINGFACE, tmp_path / "source")
    (folder / "vocab.txt").write_text("".join(f"w{i}\n" for i in range(31)))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    return folder


def assert_same_model(left, right) -> None:
    """Same tensors bit for bit, same config, vocabulary and tokenizer."""
    left, right = map(checkpoints.open_checkpoint, (left, right))
    assert left.shapes == right.shapes
    for name in left.shapes:
        np.testing.assert_array_equal(left.read(name), right.read(name), err_msg=name)
    assert left.config == right.config
    assert left.do_lower_case == right.do_lower_case
    texts = [pathlib.Path(c.vocab_file).read_bytes() for c in (left, right)]
    assert texts[0] == texts[1]


def test_there_and_back_gives_the_same_model(source, tmp_path):
    there, back = str(tmp_path / "there"), str(tmp_path / "back")
    convert_checkpoint.convert(source, there, "google_bert")
    convert_checkpoint.convert(there, back, "huggingface")
    assert checkpoints.open_checkpoint(there).format == "google_bert"
    assert checkpoints.open_checkpoint(back).format == "huggingface"
    assert_same_model(source, there)
    assert_same_model(source, back)


@pytest.mark.shared_data
def test_the_original_checkpoint_goes_there_and_back(golden_dir, shared_dir, tmp_path):
    there, back = str(tmp_path / "there"), str(tmp_path / "back")
    vocab = str(shared_dir / "vocab/google_uncased_en_vocab.txt")
    convert_checkpoint.convert(
        f"{golden_dir}/bert/bert_model.ckpt", there, "huggingface", vocab_file=vocab
    )
    convert_checkpoint.convert(there, back, "google_bert")
    assert_same_model(there, back)
    original = checkpoints.open_checkpoint(golden_dir / "bert")
    copy = checkpoints.open_checkpoint(back)
    assert copy.shapes == original.shapes
    assert copy.config == original.config
    for name in original.shapes:
        np.testing.assert_array_equal(copy.read(name), original.read(name))


def test_a_training_folder_leaves_its_optimizer_behind(source, tmp_path):
    found = checkpoints.open_checkpoint(source)
    tensors = {name: found.read(name) for name in found.shapes}
    training = tmp_path / "training"
    google_bert.save(
        f"{training}/model.ckpt-30", tensors | {"trainer/step": np.int64(30)}
    )
    (training / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-30"\n')
    (training / "bert_config.json").write_text(found.config.to_json_string())
    shutil.copy(source / "vocab.txt", training)
    shutil.copy(source / "tokenizer_config.json", training)
    convert_checkpoint.convert(str(training), str(tmp_path / "out"), "google_bert")
    assert_same_model(source, tmp_path / "out")
    assert checkpoints.open_checkpoint(tmp_path / "out").ignored == {}


def test_a_trained_classifier_takes_its_labels_along(source, tmp_path):
    found = checkpoints.open_checkpoint(source)
    tensors = {n: found.read(n) for n in found.shapes if n.startswith("bert/")}
    head = np.arange(36, dtype="f4").reshape(3, 12)
    tensors |= {"output_weights": head, "output_bias": head[:, 0]}
    training = str(tmp_path / "training")
    google_bert.save_folder(training, tensors, found.config, found.vocab_file, True)
    task = {"task_name": "custom", "labels": ["négatif", "neutral", "positive"]}
    pathlib.Path(training, "task.json").write_text(json.dumps(task))
    convert_checkpoint.convert(training, str(tmp_path / "out"), "huggingface")
    labels = checkpoints.open_checkpoint(tmp_path / "out").labels
    assert labels == ("négatif", "neutral", "positive")
    assert_same_model(training, tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "labels", "problem"),
    [
        ("single_label", ["b", "a", "c"], "single_label_classification"),
        ("multi_label", ["b", "a"], "multi_label_classification"),
        ("regression", [], "regression"),
    ],
)
def test_what_a_classifier_decides_is_known_there(
    source, tmp_path, kind, labels, problem
):
    found = checkpoints.open_checkpoint(source)
    tensors = {n: found.read(n) for n in found.shapes if n.startswith("bert/")}
    head = np.ones([len(labels) or 1, 12], "f4")
    tensors |= {"output_weights": head, "output_bias": head[:, 0]}
    training = str(tmp_path / "training")
    google_bert.save_folder(training, tensors, found.config, found.vocab_file, True)
    task = {"output_kind": kind, "labels": labels}
    pathlib.Path(training, "task.json").write_text(json.dumps(task))
    convert_checkpoint.convert(training, str(tmp_path / "out"), "huggingface")
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["problem_type"] == problem
    there = checkpoints.open_checkpoint(tmp_path / "out").outputs
    assert (there.kind, there.labels) == (kind, tuple(labels) or ("LABEL_0",))


TAGS = ("O", "B-LOC", "I-LOC")


def write_tagger(source, folder, **more):
    """Writes the training folder of a tagger on the golden encoder."""
    found = checkpoints.open_checkpoint(source)
    tensors = {n: found.read(n) for n in found.shapes if n.startswith("bert/")}
    head = np.arange(36, dtype="f4").reshape(3, 12) % 7 / 7
    tensors |= {
        "tagger/emissions/output_weights": head,
        "tagger/emissions/output_bias": head[:, 5],
    }
    beside = (found.config, found.vocab_file, True)
    google_bert.save_folder(str(folder), tensors | more, *beside)
    config = TaggingConfig(TAGS, "BIO", "BIO", bool(more), 11, True)
    (folder / "task.json").write_text(config.to_json_string())
    return str(folder)


def test_a_tagger_is_hugging_faces_token_classifier(source, tmp_path):
    tagger, out = write_tagger(source, tmp_path / "tagger"), tmp_path / "out"
    convert_checkpoint.convert(tagger, str(out), "huggingface")
    values = json.loads((out / "config.json").read_text())
    assert values["architectures"] == ["BertForTokenClassification"]
    assert tuple(values["id2label"][str(i)] for i in range(3)) == TAGS
    # What transformers made of such a folder: see the golden folder's README.
    golden = np.load(ROOT / "tests/golden/checkpoints/huggingface_tagger.npz")
    with safetensors.safe_open(out / "model.safetensors", "np") as written:
        assert sorted(written.keys()) == golden["names"].tolist()
    back = checkpoints.open_checkpoint(out)
    assert (back.outputs.kind, back.labels) == ("tagging", TAGS)
    task = TaggingTask(
        TaggingConfig.from_json_file(f"{tagger}/task.json"),
        BertSystem(back.config, back.vocab_file, True, str(out), new_head=False),
    )
    model = task.build_model(dtype="float32", fused=False, seed=1)
    task.initialize(modeling.named_variables(model))
    names = ("input_ids", "input_mask", "segment_ids")
    inputs = {name: tf.constant(golden[name]) for name in names}
    length = golden["input_ids"].shape[1]
    positions = tf.range(1, length)[None] * tf.ones([2, 1], tf.int32)
    scores = model(inputs, positions)
    np.testing.assert_allclose(scores, golden["logits"][:, 1:], rtol=0, atol=2e-5)


def test_a_tagger_with_a_crf_cannot_be_hugging_faces(source, tmp_path):
    crf = {"tagger/crf/start": np.ones(3, "f4")}
    tagger = write_tagger(source, tmp_path / "tagger", **crf)
    out = tmp_path / "out"
    with pytest.raises(
        checkpoints.CheckpointError, match="by a CRF, .*: export_saved_model.py"
    ):
        convert_checkpoint.convert(tagger, str(out), "huggingface")
    assert not out.exists()


def test_a_gpt_goes_to_openais_files_and_back_but_never_to_google_berts(tmp_path):
    source = shutil.copytree(
        ROOT / "tests/golden/checkpoints/huggingface_gpt", tmp_path / "s"
    )
    pieces = {chr(ord("a") + i): i for i in range(31)}
    (source / "vocab.json").write_text(json.dumps(pieces))
    (source / "merges.txt").write_text("#version: 0.2\na b\n")
    there, back = str(tmp_path / "there"), str(tmp_path / "back")
    convert_checkpoint.convert(str(source), there, "openai_gpt")
    convert_checkpoint.convert(there, back, "huggingface")
    assert checkpoints.open_checkpoint(there).format == "openai_gpt"
    assert_same_model(source, there)
    assert_same_model(source, back)
    with pytest.raises(
        checkpoints.CheckpointError, match="only as huggingface or open"
    ):
        convert_checkpoint.convert(back, str(tmp_path / "no"), "google_bert")
    assert not (tmp_path / "no").exists()


def test_what_is_not_beside_the_weights_is_asked_for_by_flag(source, tmp_path):
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    shutil.copy(source / "model.safetensors", lonely)
    out = tmp_path / "out"
    with pytest.raises(checkpoints.CheckpointError) as error:
        convert_checkpoint.convert(str(lonely), str(out), "google_bert")
    assert "--bert_config_file" in str(error.value)
    assert "--vocab_file" in str(error.value)
    assert not out.exists()
    convert_checkpoint.convert(
        str(lonely),
        str(out),
        "google_bert",
        bert_config_file=str(source / "config.json"),
        vocab_file=str(source / "vocab.txt"),
    )
    found = checkpoints.open_checkpoint(out)
    assert found.config.hidden_act == "gelu_erf"
    assert found.vocab_file == str(out / "vocab.txt")


def test_an_elmo_needs_a_vocabulary_only_where_it_reads_words(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("options.json", "weights.hdf5"):
        shutil.copy(ROOT / f"tests/golden/elmo_char_clip_{name}", source / name)
    convert_checkpoint.convert(str(source), str(tmp_path / "out"), "bilm")
    left, right = map(checkpoints.open_checkpoint, (source, tmp_path / "out"))
    assert left.shapes == right.shapes
    assert right.vocab_file is None
    config = json.loads((source / "options.json").read_text())
    del config["char_cnn"]
    (source / "options.json").write_text(json.dumps(config | {"n_tokens_vocab": 9}))
    with pytest.raises(checkpoints.CheckpointError, match="give --vocab_file"):
        convert_checkpoint.convert(str(source), str(tmp_path / "no"), "bilm")


@pytest.mark.parametrize("flag", ["bert_config_file", "config_file"])
def test_the_config_goes_by_either_of_its_flags(source, tmp_path, flag):
    config = (source / "config.json").rename(tmp_path / "elsewhere.json")
    scripts.run(
        "convert_checkpoint",
        f"--input_checkpoint={source}",
        f"--output_path={tmp_path / 'out'}",
        "--output_format=google_bert",
        f"--{flag}={config}",
    )
    found = checkpoints.open_checkpoint(tmp_path / "out")
    assert found.config.hidden_act == "gelu_erf"


def test_a_folder_with_anything_in_it_is_not_touched(source, tmp_path):
    before = {path: path.read_bytes() for path in source.iterdir()}
    with pytest.raises(checkpoints.CheckpointError, match="not empty"):
        convert_checkpoint.convert(str(source), str(source), "google_bert")
    assert {path: path.read_bytes() for path in source.iterdir()} == before


def test_the_script_runs_from_its_flags(source, tmp_path, caplog):
    out = tmp_path / "out"
    with caplog.at_level("INFO", "absl"):
        scripts.run(
            "convert_checkpoint",
            f"--input_checkpoint={source}",
            f"--output_path={out}",
            "--output_format=google_bert",
            "--verbosity=0",
        )
    assert "46 tensors, 0 left out" in caplog.text
    assert_same_model(source, out)
