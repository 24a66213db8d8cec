"""GPT's files: OpenAI's ten arrays, Hugging Face's layout, our training folders."""

import dataclasses
import json
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

import checkpoints
import modeling
from checkpoints import (
    CheckpointError,
    gpt,
    huggingface_gpt,
    openai_gpt,
    tensorflow_files,
)
from modeling.gpt import GptClassifier, GptModel
from modeling.gpt_config import GptConfig

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden/checkpoints/huggingface_gpt"
CONFIG = GptConfig(n_vocab=11, n_ctx=7, n_embd=6, n_layer=2, n_head=3)
TASK_CONFIG = dataclasses.replace(CONFIG, n_special=3)


def draw(config, **more) -> dict[str, np.ndarray]:
    """A model's tensors, no value trivial."""
    rng = np.random.default_rng(config.num_rows)
    shapes = {
        name: variable.shape
        for name, variable in modeling.named_variables(GptModel(config)).items()
    }
    shapes |= more
    return {n: rng.normal(size=tuple(s)).astype("f4") for n, s in shapes.items()}


@pytest.fixture
def vocab(tmp_path) -> str:
    """A vocabulary with its merges, under OpenAI's names."""
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    pieces = {piece: i for i, piece in enumerate("abcdefghijk")}
    (folder / "encoder_bpe_40000.json").write_text(json.dumps(pieces))
    (folder / "vocab_40000.bpe").write_text("#version: 0.2\na b\n")
    return str(folder / "encoder_bpe_40000.json")


@pytest.fixture
def released(tmp_path, vocab) -> pathlib.Path:
    """A model in OpenAI's layout."""
    folder = tmp_path / "released"
    openai_gpt.save(str(folder), draw(CONFIG), CONFIG, vocab, None)
    return folder


@pytest.fixture
def theirs(tmp_path, vocab) -> pathlib.Path:
    """A model with special tokens in Hugging Face's layout."""
    folder = tmp_path / "theirs"
    huggingface_gpt.save(str(folder), draw(TASK_CONFIG), TASK_CONFIG, vocab, None)
    return folder


def assert_holds(checkpoint, tensors) -> None:
    """Every tensor, and no other, bit for bit."""
    assert dict(checkpoint.shapes) == {n: v.shape for n, v in tensors.items()}
    for name, value in tensors.items():
        np.testing.assert_array_equal(checkpoint.read(name), value, err_msg=name)


# OpenAI's.


@pytest.mark.shared_data
def test_the_originals_files_are_read_in_their_order(golden_dir):
    found = checkpoints.open_checkpoint(golden_dir / "gpt")
    golden = json.loads((golden_dir / "gpt/golden.json").read_text())
    order = [name.removeprefix("model/") for name in golden["parameter_order"]]
    assert set(found.shapes) == {n for n in order if not n.startswith("clf")}
    files = [np.load(golden_dir / f"gpt/params_{i}.npy") for i in range(10)]
    flat = np.concatenate(files)
    table = found.read("we")  # tokens, then the positions, which are first in the file
    np.testing.assert_array_equal(table[1000:].ravel(), flat[: 40 * 48])
    np.testing.assert_array_equal(table[:1000].ravel(), flat[40 * 48 : 1040 * 48])
    np.testing.assert_array_equal(found.read("h2/ln_2/b"), flat[-48:])


@pytest.mark.shared_data
def test_the_originals_files_are_written_bit_for_bit(golden_dir, tmp_path):
    found = checkpoints.open_checkpoint(golden_dir / "gpt")
    config = GptConfig(n_vocab=1000, n_ctx=40, n_embd=48, n_layer=3, n_head=4)
    tensors = {name: found.read(name) for name in found.shapes}
    openai_gpt.save(str(tmp_path), tensors, config, None, None)
    for name in ["params_shapes.json", *(f"params_{i}.npy" for i in range(10))]:
        written, wanted = tmp_path / name, golden_dir / "gpt" / name
        if name.endswith("json"):
            assert json.loads(written.read_text()) == json.loads(wanted.read_text())
        else:
            assert written.read_bytes() == wanted.read_bytes(), name
    assert checkpoints.open_checkpoint(tmp_path).config == config


@pytest.mark.shared_data
def test_the_released_shapes_are_those_of_the_released_model(shared_dir, tmp_path):
    release = shared_dir / "gpt1"
    for name in ("params_shapes.json", "encoder_bpe_40000.json", "vocab_40000.bpe"):
        shutil.copy(release / name, tmp_path)
    total = 116_534_784
    for i in range(10):  # sparse files: zeros that take no room on the disk
        size = total // 10 + (i < total % 10)
        np.lib.format.open_memmap(
            tmp_path / f"params_{i}.npy", mode="w+", dtype="f4", shape=(size,)
        )
    last = np.lib.format.open_memmap(tmp_path / "params_9.npy", mode="r+")
    last[-1] = 5
    del last
    found = checkpoints.open_checkpoint(tmp_path)
    assert found.config == GptConfig(n_vocab=40478)  # the defaults are the release
    assert found.vocab_file == str(tmp_path / "encoder_bpe_40000.json")
    assert found.shapes["we"] == (40990, 768)
    assert found.read("h11/ln_2/b")[-1] == 5


def test_a_folder_of_openais_comes_back_with_config_and_vocabulary(released, vocab):
    found = checkpoints.open_checkpoint(released)
    assert_holds(found, draw(CONFIG))
    assert found.format == "openai_gpt"
    assert found.config == CONFIG
    for name in ("encoder_bpe_40000.json", "vocab_40000.bpe"):
        kept = pathlib.Path(vocab).with_name(name)
        assert (released / name).read_bytes() == kept.read_bytes()
    again = checkpoints.open_checkpoint(released / "params_shapes.json")
    assert again.shapes == found.shapes


def test_heads_without_a_config_are_64_wide_or_unknown(released, tmp_path, caplog):
    (released / "gpt_config.json").unlink()
    assert checkpoints.open_checkpoint(released).config is None
    assert re.search(rf"no gpt_config.json .* width of {CONFIG.n_embd}", caplog.text)
    wide = dataclasses.replace(CONFIG, n_embd=128, n_head=2)
    openai_gpt.save(str(tmp_path / "wide"), draw(wide), wide, None, None)
    (tmp_path / "wide/gpt_config.json").unlink()
    assert checkpoints.open_checkpoint(tmp_path / "wide").config == wide


def test_incomplete_arrays_are_each_named_with_their_sizes(released):
    total = sum(value.size for value in draw(CONFIG).values())
    (released / "params_7.npy").unlink()
    np.save(released / "params_2.npy", np.zeros(5, "f4"))
    with pytest.raises(CheckpointError) as error:
        checkpoints.open_checkpoint(released)
    message = str(error.value)
    size = -(-total // 10)
    assert f"{released}/params_7.npy is missing: {size} of {total} values" in message
    assert f"params_2.npy has 5 values, wanted {size} of {total}" in message


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([None]), "wanted floats"),  # would be a pickle
        (np.zeros((2, 3), "f4"), r"float32 \[2, 3\]"),
        (np.zeros(9, "i4"), "int32"),
    ],
)
def test_an_array_that_is_no_list_of_floats_is_refused(released, array, message):
    np.save(released / "params_4.npy", array, allow_pickle=True)
    with pytest.raises(CheckpointError, match=rf"params_4.npy.*{message}"):
        checkpoints.open_checkpoint(released)


def test_a_damaged_array_is_named(released):
    path = released / "params_4.npy"
    data = path.read_bytes()
    path.write_bytes(data[:-4])
    found = checkpoints.open_checkpoint(released)
    with pytest.raises(CheckpointError, match="params_4.npy: ends too early"):
        [found.read(name) for name in found.shapes]
    path.write_bytes(b"text" + data)
    with pytest.raises(CheckpointError, match="params_4.npy: not a readable"):
        checkpoints.open_checkpoint(released)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda shapes: shapes[:-1], "got 25 shapes, wanted 2 tables and 12 a block"),
        (
            lambda shapes: [*shapes[:3], [17], *shapes[4:]],
            r"3 is \[17\], wanted \[18\]",
        ),
        (lambda shapes: [shapes[0]], "got .*, wanted a list of shapes, 2 tables"),
        (lambda shapes: [7, *shapes[1:]], r"got b'\[7, .*, wanted a list of shapes"),
    ],
)
def test_shapes_that_are_not_of_a_gpt_are_refused(released, change, message):
    path = released / "params_shapes.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(CheckpointError, match=f"params_shapes.json.*(\n.*)?{message}"):
        checkpoints.open_checkpoint(released)


def test_what_openais_files_have_no_place_for_is_named_and_not_written(tmp_path):
    tensors = draw(TASK_CONFIG, **{"clf/w": (6, 1)})
    with pytest.raises(CheckpointError) as error:
        openai_gpt.save(str(tmp_path / "out"), tensors, TASK_CONFIG, None, None)
    assert "clf/w [6, 1]" in str(error.value)
    assert "n_special is 3" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_an_unfinished_folder_of_openais_is_not_taken_for_a_model(
    tmp_path, monkeypatch
):
    rename = tf.io.gfile.rename

    def die_at_the_shapes(source, target, overwrite=False):
        if target.endswith("params_shapes.json"):
            raise KeyboardInterrupt
        rename(source, target, overwrite=overwrite)

    monkeypatch.setattr(tf.io.gfile, "rename", die_at_the_shapes)
    with pytest.raises(KeyboardInterrupt):
        openai_gpt.save(str(tmp_path), draw(CONFIG), CONFIG, None, None)
    assert (tmp_path / "params_9.npy").exists()
    with pytest.raises(CheckpointError, match="wanted"):
        checkpoints.open_checkpoint(tmp_path)


# Hugging Face's.


def test_a_model_of_transformers_gives_the_same_hidden_states_and_logits():
    found = checkpoints.open_checkpoint(GOLDEN)
    model = GptModel(found.config)
    checkpoints.initialize(modeling.named_variables(model), found, new={}, unused={})
    wanted = np.load(GOLDEN / "outputs.npz")
    outputs = model(wanted["input_ids"])
    hidden = [outputs["embedding_output"], *outputs["all_encoder_layers"]]
    np.testing.assert_allclose(np.stack(hidden), wanted["hidden_states"], atol=1e-5)
    logits = model.lm_logits(tf.reshape(outputs["sequence_output"], [14, 12]))
    logits = logits.numpy()[:, :31].reshape(2, 7, 31)  # ours scores positions too
    np.testing.assert_allclose(logits, wanted["lm_logits"], atol=2e-5)


def test_a_folder_of_hugging_faces_comes_back_bit_for_bit(theirs):
    found = checkpoints.open_checkpoint(theirs)
    assert_holds(found, draw(TASK_CONFIG))
    assert found.format == "huggingface"
    assert found.config == TASK_CONFIG
    assert found.vocab_file == str(theirs / "vocab.json")
    assert (theirs / "merges.txt").exists()


def test_hugging_faces_tensors_have_their_names_and_shapes(theirs):
    tensors, raw = draw(TASK_CONFIG), load_file(theirs / "model.safetensors")
    tokens, positions = np.split(tensors["we"], [14])
    np.testing.assert_array_equal(raw["transformer.tokens_embed.weight"], tokens)
    np.testing.assert_array_equal(raw["transformer.positions_embed.weight"], positions)
    kernel = raw["transformer.h.1.attn.c_attn.weight"]
    np.testing.assert_array_equal(kernel, tensors["h1/attn/c_attn/w"][0])
    gain = raw["transformer.h.0.ln_2.weight"]
    np.testing.assert_array_equal(gain, tensors["h0/ln_2/g"])
    assert len(raw) == len(tensors) + 1
    config = json.loads((theirs / "config.json").read_text())
    assert config["vocab_size"] == 14
    assert config["architectures"] == ["OpenAIGPTLMHeadModel"]


def test_a_bare_decoder_with_buffers_and_a_tied_layer_is_the_same_model(theirs):
    path = theirs / "model.safetensors"
    raw = {k.removeprefix("transformer."): v for k, v in load_file(path).items()}
    raw["h.0.attn.bias"] = np.tril(np.ones((1, 1, 7, 7), "f4"))
    raw["lm_head.weight"] = raw["tokens_embed.weight"].copy()
    save_file(raw, path)
    found = checkpoints.open_checkpoint(path)
    assert_holds(found, draw(TASK_CONFIG))
    assert found.ignored == {
        "h.0.attn.bias": "a buffer: the causal mask",
        "lm_head.weight": "equal to tokens_embed.weight",
    }
    raw["lm_head.weight"] += 1
    save_file(raw, path)
    with pytest.raises(CheckpointError, match="tied"):
        checkpoints.open_checkpoint(path)


def test_an_answers_head_goes_there_and_back_and_a_classifiers_is_refused(tmp_path):
    tensors = draw(TASK_CONFIG, **{"clf/w": (6, 1), "clf/b": (1,)})
    huggingface_gpt.save(str(tmp_path / "a"), tensors, TASK_CONFIG, None, None)
    assert_holds(checkpoints.open_checkpoint(tmp_path / "a"), tensors)
    tensors = draw(TASK_CONFIG, **{"clf/w": (6, 4), "clf/b": (4,)})
    with pytest.raises(CheckpointError, match=r"clf/w \[6, 4\]"):
        huggingface_gpt.save(str(tmp_path / "b"), tensors, TASK_CONFIG, None, None)


def test_a_config_of_hugging_face_is_read_strictly(theirs):
    path = theirs / "config.json"
    values = json.loads(path.read_text())
    # What the released config.json has besides.
    values |= {"n_ctx": 7, "predict_special_tokens": True, "summary_type": "cls_index"}
    path.write_text(json.dumps(values))
    assert checkpoints.read_config(str(path)) == TASK_CONFIG
    del values["n_special"], values["summary_first_dropout"]
    path.write_text(json.dumps(values))
    assert checkpoints.read_config(str(path)).n_vocab == 14
    for change, message in [
        ({"rotary": True}, r"unknown key\(s\) rotary"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06, wanted 1e-05"),
        ({"model_type": "gpt2"}, "model_type is 'gpt2', wanted 'openai-gpt'"),
        ({"n_ctx": 9}, "n_ctx is 9, n_positions 7"),
        ({"n_special": 15}, "n_special is 15"),
    ]:
        path.write_text(json.dumps(values | change))
        with pytest.raises(ValueError, match=f"config.json: {message}"):
            checkpoints.read_config(str(path))
    del values["vocab_size"]
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"config.json: missing key\(s\) vocab_size"):
        checkpoints.read_config(str(path))


@pytest.mark.parametrize("afn", ["gelu", "relu", "swish"])
def test_a_config_goes_to_hugging_face_and_back(afn):
    config = dataclasses.replace(TASK_CONFIG, afn=afn, clf_pdrop=0.3, embd_pdrop=0.2)
    values = huggingface_gpt.to_dict(config, "OpenAIGPTModel")
    assert huggingface_gpt.from_dict(values, "test") == config


# Training folders.


def test_a_training_folder_is_a_gpts_by_its_config(tmp_path, vocab):
    tensors = draw(TASK_CONFIG)
    folder = tmp_path / "training"
    checkpoints.save_beside(str(folder), TASK_CONFIG, vocab, None)
    slots = {"we/adam_m": np.zeros((4, 3), "f4"), "global_step": np.int64(5)}
    tensorflow_files.save(f"{folder}/model.ckpt-5", tensors | slots)
    found = checkpoints.open_checkpoint(folder)
    assert_holds(found, tensors)
    assert set(found.ignored) == set(slots)
    assert found.config == TASK_CONFIG
    assert found.vocab_file == str(folder / "vocab.json")
    assert checkpoints.read_config(str(folder / "gpt_config.json")) == TASK_CONFIG


# What does not belong together.


def test_a_vocabulary_of_another_size_is_an_error_with_both(theirs):
    path = theirs / "vocab.json"
    path.write_text(json.dumps({"a": 0, "b": 1}))
    with pytest.raises(CheckpointError) as error:
        checkpoints.open_checkpoint(theirs)
    assert f"{path} has 2 entries" in str(error.value)
    assert f"{theirs}/model.safetensors has n_vocab=11" in str(error.value)


def test_a_vocabulary_without_its_merges_is_an_error(theirs):
    (theirs / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"merges.txt, are missing"):
        checkpoints.open_checkpoint(theirs)


def test_a_config_of_another_model_is_an_error_with_both_shapes(released):
    longer = dataclasses.replace(CONFIG, n_ctx=8)
    (released / "gpt_config.json").write_text(longer.to_json_string())
    with pytest.raises(CheckpointError, match=r"we is \[18, 6\].*are \[19, 6\]"):
        checkpoints.open_checkpoint(released)


# Loading.


def load(config, path, make=GptModel, resize_vocab=False, **kwargs):
    """Makes a model, loads it; returns its values before and after, and the report."""
    variables = modeling.named_variables(make(config))
    before = {n: v.numpy() for n, v in variables.items()}
    checkpoint = checkpoints.open_checkpoint(path)
    rows = checkpoints.embedding_rows(checkpoint, config, resize_vocab=resize_vocab)
    report = checkpoints.initialize(
        variables, checkpoint, unused={}, rows=rows, **({"new": {}} | kwargs)
    )
    return before, {n: v.numpy() for n, v in variables.items()}, report


def test_special_tokens_that_the_file_lacks_keep_their_initial_values(released):
    config = dataclasses.replace(TASK_CONFIG, n_ctx=5)
    before, after, report = load(
        config,
        released,
        make=lambda config: GptClassifier(config, 4),
        new={"clf/.*": "the head"},
    )
    table = draw(CONFIG)["we"]
    np.testing.assert_array_equal(after["we"][:11], table[:11])
    np.testing.assert_array_equal(after["we"][11:14], before["we"][11:14])
    np.testing.assert_array_equal(after["we"][14:], table[11:16])  # the first five
    assert set(report.new) == {"we[11:14]", "clf/w", "clf/b"}
    assert set(report.ignored) == {"we[16:18]"}


def test_a_model_with_the_files_rows_takes_them_all(theirs):
    _, after, report = load(TASK_CONFIG, theirs)
    np.testing.assert_array_equal(after["we"], draw(TASK_CONFIG)["we"])
    assert report.new == report.ignored == {}


def test_added_tokens_keep_their_initial_values_where_that_is_asked_for(theirs):
    config = dataclasses.replace(TASK_CONFIG, n_vocab=13)
    before, after, report = load(config, theirs, resize_vocab=True)
    np.testing.assert_array_equal(after["we"][11:13], before["we"][11:13])
    np.testing.assert_array_equal(after["we"][13:], draw(TASK_CONFIG)["we"][11:])
    assert set(report.new) == {"we[11:13]"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_ctx": 8}, "n_ctx is 7 in the file, 8 in the model"),
        ({"n_special": 2}, "n_special is 3 in the file, 2 in the model"),
        ({"n_vocab": 13}, "n_vocab is 11 in the file, 13 in the model"),
    ],
)
def test_rows_that_do_not_fit_are_an_error_with_both_sizes(theirs, change, message):
    with pytest.raises(CheckpointError, match=message):
        load(dataclasses.replace(TASK_CONFIG, **change), theirs)


def test_weights_without_a_config_fit_by_their_shapes_or_not_at_all(theirs):
    (theirs / "config.json").unlink()
    _, after, _ = load(TASK_CONFIG, theirs)
    np.testing.assert_array_equal(after["we"], draw(TASK_CONFIG)["we"])
    with pytest.raises(CheckpointError, match=r"wrong shape: we is \[21, 6\]"):
        load(CONFIG, theirs)


def test_embeddings_of_two_widths_are_an_error(theirs):
    path = theirs / "model.safetensors"
    raw = load_file(path)
    raw["transformer.positions_embed.weight"] = np.zeros((7, 5), "f4")
    save_file(raw, path)
    with pytest.raises(CheckpointError, match="6 wide, of positions 5"):
        checkpoints.open_checkpoint(path)


def test_a_missing_table_is_named_when_it_is_loaded(theirs):
    path = theirs / "model.safetensors"
    raw = load_file(path)
    del raw["transformer.positions_embed.weight"]
    save_file(raw, path)
    with pytest.raises(CheckpointError, match="missing: we "):
        load(TASK_CONFIG, theirs)


def test_joined_embeddings_are_split_again():
    parts = gpt.split(draw(TASK_CONFIG), TASK_CONFIG)
    assert parts["we/tokens"].shape == (14, 6)
    assert parts["we/positions"].shape == (7, 6)
