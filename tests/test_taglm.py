"""TagLM: what it reads, where the language model comes in, and the script's folders."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_elmo
import tiny_tagging
import tiny_taglm
from test_run_tagger import read_predictions
from test_training import tensors

import modeling
from checkpoints import CheckpointError, google_bert, word_vectors
from data_pipeline.readers import conll
from modeling import TaglmConfig, TaglmModel
from optimization.groups import assign_groups
from optimization.optimizers import OptimizerConfig
from systems import taglm
from systems.words import choose_words
from tasks.tagging import TaggingConfig, TaggingTask
from vocabulary import CharacterEncoder

pytestmark = pytest.mark.long

CONLL_2003 = pathlib.Path(__file__).parents[1] / "configs/models/taglm_conll2003.json"
CONFIG = tiny_taglm.CONFIG
WITH_LM = CONFIG.with_lm(tiny_elmo.CONFIG)
WAYS = ("forward", "backward")
GRUS = dataclasses.replace(
    CONFIG, rnn_cell="gru", char_encoder="rnn", char_rnn_layers=2, char_rnn_units=4
)
SENTENCES = [["a", "good", "word26"], ["bad"], ["word1", "never-seen-and-long"]]


def run(*flags):
    scripts.run("run_tagger", *flags)


def inputs(config=CONFIG, sentences=SENTENCES, length=6):
    """Ids, spellings and mask of sentences, padded to `length`."""
    spelled = CharacterEncoder(config.max_characters_per_token).batch(sentences)
    ids = np.zeros([len(sentences), length], np.int32)
    for row, words in zip(ids, sentences, strict=True):
        row[1 : len(words) + 2] = [*(3 + len(word) for word in words), 1]
    characters = np.zeros([*ids.shape, spelled.shape[2]], np.int32)
    characters[:, : spelled.shape[1]] = spelled
    return {
        "input_ids": tf.constant(ids),
        "characters": tf.constant(characters),
        "input_mask": tf.constant(np.sign(characters[:, :, 0])),
    }


def output(model, data, **kwargs):
    return model(**data, **kwargs)["sequence_output"].numpy()


def test_a_config_survives_its_file_and_refuses_what_cannot_be(tmp_path):
    for config in (CONFIG, WITH_LM, GRUS):
        path = tmp_path / "taglm_config.json"
        path.write_text(config.to_json_string())
        assert TaglmConfig.from_json_file(str(path)) == config
    known = CONFIG.to_dict()
    by_words = tiny_elmo.OPTIONS | {"char_cnn": None}
    for change, message in (
        ({"units": 3}, "here: unknown key.* units"),
        ({"rnn_units": 0}, "here: rnn_units is 0, wanted a positive whole number"),
        ({"dropout": 1}, "here: dropout is 1"),
        ({"do_lower_case": 1}, "do_lower_case is 1, wanted a bool"),
        ({"rnn_cell": "GRU"}, "here: rnn_cell is 'GRU', wanted lstm or gru"),
        ({"char_encoder": None}, "here: char_encoder is None, wanted cnn or rnn"),
        ({"char_rnn_layers": 0}, "here: char_rnn_layers is 0, wanted a positive"),
        ({"model_type": "elmo"}, "here: model_type is 'elmo', wanted 'taglm'"),
        ({"char_filter_width": 10}, "char_filter_width 10 .* max_characters_per"),
        ({"lm": tiny_elmo.OPTIONS}, "max_characters_per_token is 9, but lm's is 8"),
        ({"lm": by_words}, "lm reads words by a table; wanted one with char_cnn"),
        ({"lm": {}}, "here: lm: lstm is None, wanted a JSON object"),
    ):
        with pytest.raises(ValueError, match=message):
            TaglmConfig.from_dict(known | change, "here")
    del known["word_dim"]
    with pytest.raises(ValueError, match="here: missing key.* word_dim"):
        TaglmConfig.from_dict(known, "here")


def test_a_file_without_the_keys_of_grus_is_of_lstms_and_a_cnn():
    values = CONFIG.to_dict()
    for key in ("rnn_cell", "char_encoder", "char_rnn_layers", "char_rnn_units"):
        del values[key]
    found = TaglmConfig.from_dict(values)
    assert found == CONFIG
    assert (found.rnn_cell, found.char_encoder) == ("lstm", "cnn")
    names = {n.split("/", 1)[1] for n in modeling.named_variables(TaglmModel(found))}
    ways = [f"rnn_{i}/{way}/rnn/lstm_cell" for i in (1, 2) for way in WAYS]
    assert names == {
        *("char_embed", "word_embeddings", "CNN/W_cnn_0", "CNN/b_cnn_0"),
        *(f"{way}/{name}" for way in ways for name in ("kernel", "bias")),
    }


def test_the_papers_sizes_for_conll_2003():
    model = TaglmModel(TaglmConfig.from_json_file(str(CONLL_2003)))
    shapes = {k: tuple(v.shape) for k, v in modeling.named_variables(model).items()}
    word = 50 + 2 * 80
    kernels = {"char_rnn/rnn_1": (25, 80), "char_rnn/rnn_2": (160, 80)}
    kernels |= {"rnn_1": (word, 300), "rnn_2": (600, 300)}
    expected = {"taglm/char_embed": (261, 25), "taglm/word_embeddings": (1, 50)}
    for scope, (width, units) in kernels.items():
        for way in WAYS:
            name = f"taglm/{scope}/{way}"
            expected[f"{name}/kernel"] = (width + units, 3 * units)
            expected[f"{name}/bias"] = (3 * units,)
    assert shapes == expected
    # A quarter of the input of every GRU is dropped, and nothing else.
    ways = [
        getattr(layer, way)
        for layer in (model.rnn_1, model.rnn_2, *model.char_rnn.layers)
        for way in WAYS
    ]
    assert {way.dropout_rate for way in ways} == {0.25}
    assert taglm.TaglmSystem(model.config, words=()).need("tags").dropout_rate == 0
    assert (
        taglm.TaglmSystem(CONFIG, words=()).need("tags").dropout_rate == CONFIG.dropout
    )


def test_a_gru_reads_a_word_to_its_end_and_not_its_filling():
    found = output(TaglmModel(GRUS, seed=2), inputs(GRUS))
    wider = dataclasses.replace(GRUS, max_characters_per_token=25)
    cut = [[word[:7] for word in words] for words in SENTENCES]
    data = inputs(wider, cut) | {"input_ids": inputs()["input_ids"]}
    other = output(TaglmModel(wider, seed=2), data)
    np.testing.assert_allclose(other, found, atol=1e-6)


@pytest.mark.parametrize("config", [CONFIG, WITH_LM, GRUS], ids=["plain", "lm", "grus"])
def test_padding_and_other_rows_change_nothing(config):
    model = TaglmModel(config, seed=2)
    found = output(model, inputs(config))
    assert found.shape == (3, 6, 24)
    np.testing.assert_array_equal(np.abs(found).sum(-1) > 0, [
        [False, True, True, True, False, False],
        [False, True, False, False, False, False],
        [False, True, True, False, False, False],
    ])  # fmt: skip
    wide = output(model, inputs(config, length=9))
    np.testing.assert_allclose(wide[:, :6], found, atol=1e-6)
    alone = output(model, inputs(config, SENTENCES[2:], 4))
    np.testing.assert_allclose(alone[0], found[2, :4], atol=1e-6)


@pytest.mark.parametrize("config", [CONFIG, GRUS], ids=["plain", "grus"])
def test_every_word_sees_both_sides_its_vector_and_its_letters(config):
    model, data = TaglmModel(config, seed=2), inputs()
    found = output(model, data)
    for name, place in (("input_ids", (0, 2)), ("characters", (0, 2, 1))):
        changed = data[name].numpy()
        changed[place] += 1
        other = output(model, data | {name: tf.constant(changed)})
        moved = np.abs(other - found).max(-1) > 1e-7
        np.testing.assert_array_equal(moved[0], [False, True, True, True, False, False])
        assert not moved[1:].any()


@pytest.mark.parametrize("config", [CONFIG, GRUS], ids=["plain", "grus"])
def test_dropout_is_for_training_and_by_its_seed(config):
    model, data = TaglmModel(config, seed=2), inputs()
    one, again, other = (
        output(model, data, dropout_seed=tf.constant([step, 7])) for step in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert (output(model, data) != one).any()


def test_the_language_models_top_states_stand_between_the_two_rnns():
    model, data = TaglmModel(WITH_LM, seed=2), inputs(WITH_LM)
    variables = modeling.named_variables(model)
    first = "taglm/rnn_1/forward/rnn/lstm_cell/kernel"
    second = "taglm/rnn_2/forward/rnn/lstm_cell/kernel"
    units, states = WITH_LM.rnn_units, 2 * tiny_elmo.CONFIG.lstm.projection_dim
    words = WITH_LM.char_filters + WITH_LM.word_dim
    assert variables[first].shape == (words + units, 4 * units)
    assert variables[second].shape == (2 * units + states + units, 4 * units)
    # By hand: what the second RNN reads is the first one's output, then the states.
    seen = []
    call = model.rnn_2.call
    model.rnn_2.call = lambda x, *args: (seen.append(x), call(x, *args))[1]
    output(model, data)
    top = model.lm(data["characters"])["lm_embeddings"][:, -1]
    np.testing.assert_allclose(seen[0][:, :, 2 * units :], top, atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(**data)["sequence_output"] ** 2)
    names = list(variables)
    gradients = tape.gradient(loss, [variables[name].value for name in names])
    without = {n for n, g in zip(names, gradients, strict=True) if g is None}
    assert without == {name for name in names if name.startswith("lm/")}


def test_the_language_model_draws_no_dropout():
    options = dataclasses.replace(tiny_elmo.CONFIG, dropout=0.9)
    config = dataclasses.replace(CONFIG.with_lm(options), dropout=0.0)
    model, data = TaglmModel(config, seed=2), inputs(config)
    trained = output(model, data, dropout_seed=tf.constant([1, 7]))
    np.testing.assert_array_equal(trained, output(model, data))


def test_a_vocabulary_has_frequent_words_and_those_with_vectors(tmp_path):
    words = ["The", "the", "B-1", "b-2", "rare", "<S>"]
    path = tmp_path / "w.txt"
    tiny_taglm.write_vectors(path, ["new", "the", "x1", "New"], width=2)
    vectors = word_vectors.read(str(path))
    marks = ["<S>", "</S>", "<UNK>"]
    assert choose_words(words, None, True) == [*marks, "b-0", "the"]
    assert choose_words(words, vectors, True) == [*marks, "b-0", "the", "new"]
    found = choose_words(words, vectors, False)
    assert found == [*marks, "new", "the", "New"]
    system = taglm.begin(
        dataclasses.replace(CONFIG, do_lower_case=False), words, word_vectors=str(path)
    )
    assert (system.config.vocab_size, system.config.word_dim) == (6, 2)
    # As it stands, else in lower case, else unknown.
    ids, offsets = system.tokenizer().ids(["New", "NEW", "The", "rare"])
    assert ids.tolist() == [5, 3, 4, 2]
    assert offsets.tolist() == [0, 1, 2, 3, 4]


def test_word_vectors_are_found_in_lower_case_and_others_stay_random(tmp_path):
    values = tiny_taglm.write_vectors(tmp_path / "w.txt", ["good", "bad", "Good"])
    vectors = word_vectors.read(str(tmp_path / "w.txt"))
    np.testing.assert_array_equal(vectors.vectors, values)
    system = taglm.begin(
        dataclasses.replace(CONFIG, do_lower_case=False),
        ["Bad", "Bad", "Good", "none", "none"],
        word_vectors=str(tmp_path / "w.txt"),
    )
    assert system.words[3:] == ("Bad", "none", "good", "bad", "Good")
    model = system.build_encoder(seed=3)
    before = model.word_embeddings.numpy()
    system.initialize(modeling.named_variables(model), None)
    after = model.word_embeddings.numpy()
    np.testing.assert_array_equal(after[[3, 5, 6, 7]], values[[1, 0, 1, 2]])
    np.testing.assert_array_equal(after[[0, 1, 2, 4]], before[[0, 1, 2, 4]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1\n", "w.txt, line 2: .*wanted"),
        ("a 1 2\nb 1 x\n", "w.txt, line 2: .*'x'"),
        ("a 1 2\nb 1 nan\n", "w.txt, line 2: .*finite"),
        ("2 2\n", "no word vectors"),
        ("2 3\na 1 2\nb 1 2\n", "w.txt, line 1 says .* 3 numbers, but .* line 2 has 2"),
        ("2 1\na 1 2\nb 1 2\n", "w.txt, line 1 says .* 1 numbers, but .* line 2 has 2"),
        ("3 2\na 1 2\nb 1 2\n", "w.txt, line 1 says .* 3 vectors, but 2 follow"),
        ("1 2\na 1 2\nb 1 2\n", "w.txt, line 1 says .* 1 vectors, but 2 follow"),
        ("a 1.5\n", "w.txt, line 1: got 'a 1.5', wanted"),
    ],
)
def test_bad_vectors_name_file_and_line(tmp_path, text, message):
    (tmp_path / "w.txt").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        word_vectors.read(str(tmp_path / "w.txt"))


def test_glove_has_no_header_and_spaces_in_words(tmp_path):
    (tmp_path / "w.txt").write_text("a 1 2\n. . 3 4\na 5 6\n")
    found = word_vectors.read(str(tmp_path / "w.txt"))
    assert found.words == ["a", ". ."]
    np.testing.assert_array_equal(found.vectors, [[1, 2], [3, 4]])


def test_records_spell_each_word_at_its_place(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(
        tiny_tagging.columns([(words, ["O"] * len(words)) for words in SENTENCES])
    )
    text = conll.read(str(path), "conll", scheme="BIO")
    system = taglm.begin(CONFIG, text.words)
    config = TaggingConfig(("O", "B-X"), "BIO", "BIO", True, 7, True)
    task = TaggingTask(config, system)
    records = task.records("eval", text, str(tmp_path))
    [batch] = task.eval_batches(records, batch_size=3)
    wanted = CharacterEncoder(9).batch(SENTENCES)
    np.testing.assert_array_equal(batch["characters"][:, :5], wanted)
    assert batch["word_positions"][0].numpy().tolist()[:4] == [1, 2, 3, 0]
    assert batch["input_mask"].numpy().sum(1).tolist() == [5, 3, 4]
    model = task.build_model(dtype="float32", fused=False, seed=1)
    assert task.predict(model, batch)["tags"].shape == (3, 7)


def test_the_language_model_is_frozen_and_vectors_do_not_decay():
    system = taglm.TaglmSystem(WITH_LM, words=())
    config = TaggingConfig(("O", "B-X"), "BIO", "BIO", True, 7, True)
    model = TaggingTask(config, system).build_model(
        dtype="float32", fused=False, seed=1
    )
    names = modeling.named_variables(model)
    groups = assign_groups(names, system.parameter_groups(OptimizerConfig()))
    frozen = {name for name in names if not groups[name].trainable}
    assert frozen == {name for name in names if name.startswith("lm/")}
    vectors = {n for n in names if not groups[n].weight_decay} - frozen
    assert {"taglm/CNN/b_cnn_0", "tagger/emissions/output_bias"} < vectors
    assert not any("kernel" in name or "embed" in name for name in vectors)


@pytest.mark.slow
def test_grus_go_on_where_they_stopped_to_the_same_bytes(tmp_path):
    out = tmp_path / "out"
    flags = [*tiny_taglm.flags(tmp_path, out, train=24), "--do_train", "--do_eval"]
    flags += ["--num_train_epochs=2", "--save_checkpoints_steps=2"]
    flags += ["--keep_optimizer=all"]
    (tmp_path / "taglm_config.json").write_text(GRUS.to_json_string())
    run(*flags)
    kept = TaglmConfig.from_json_file(str(out / "taglm_config.json"))
    assert dataclasses.replace(kept, vocab_size=GRUS.vocab_size) == GRUS
    loss = tiny.read_results(out / "eval_results.txt")["eval_loss"]
    whole, before = tensors(out / "model.ckpt-6"), tensors(out / "model.ckpt-4")
    kernel = "taglm/char_rnn/rnn_1/backward/kernel"
    assert (before[kernel] != whole[kernel]).any(axis=0).all()
    without = [flag for flag in flags if not flag.startswith("--config_file")]
    for again in (flags, without):
        for file in out.glob("model.ckpt-6.*"):  # as if killed before the last step
            file.unlink()
        (out / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-4"\n')
        run(*again)
        for name, tensor in tensors(out / "model.ckpt-6").items():
            np.testing.assert_array_equal(tensor, whole[name], name)
        assert tiny.read_results(out / "eval_results.txt")["eval_loss"] == loss


@pytest.mark.whole_steps
def test_training_learns_to_tag_and_the_folder_stands_alone(tmp_path):
    out = tmp_path / "out"
    flags = tiny_taglm.flags(tmp_path, out)
    steps = ["--do_train", "--do_eval", "--do_predict", "--num_train_epochs=16"]
    run(*flags, *steps, "--output_scheme=IOBES")
    assert tiny.read_results(out / "eval_results.txt")["eval_f1"] == 1
    _, predicted = read_predictions(out / "test_predictions.txt")
    first = (out / "vocab.txt").read_text().splitlines()
    assert first[:3] == ["<S>", "</S>", "<UNK>"]
    # Digits are 0, so there are few words, and their letters tell them apart.
    assert set(first[3:]) == {"good", "bad", "word0", "word00"}
    moved = tmp_path / "moved"
    out.rename(moved)
    (moved / "test_predictions.txt").unlink()
    run(flags[2], f"--output_dir={moved}", "--do_predict")
    assert read_predictions(moved / "test_predictions.txt")[1] == predicted
    # A second stage, at a lower rate, goes on from the first one's weights.
    again = [flag for flag in flags if not flag.startswith(("--config", "--learning"))]
    again += [f"--init_checkpoint={moved}", f"--output_dir={out}", "--do_train"]
    again += ["--output_scheme=IOBES"]
    run(*again, "--do_eval", "--learning_rate=1e-9", "--num_train_epochs=0.1")
    assert tiny.read_results(out / "eval_results.txt")["eval_f1"] == 1


def test_a_language_model_is_taken_in_kept_and_not_trained(tmp_path):
    out = tmp_path / "out"
    flags = [*tiny_taglm.flags(tmp_path, out), "--num_train_epochs=1", "--do_train"]
    lm = tiny_taglm.write_lm(tmp_path)
    run(*flags, f"--lm_checkpoint={lm}", "--keep_optimizer=all")
    found = tensors(out / "model.ckpt-10")
    assert any(name.endswith("adam_m") for name in found)
    model = modeling.ElmoModel(tiny_elmo.CONFIG, seed=8)
    for name, variable in modeling.named_variables(model).items():
        np.testing.assert_array_equal(found[name], variable.numpy())
    assert not any(n.startswith("lm/") and n.endswith("adam_m") for n in found)
    config = json.loads((out / "taglm_config.json").read_text())
    assert config["max_characters_per_token"] == 8
    # Without the language model's own folder.
    (tmp_path / "lm").rename(tmp_path / "gone")
    run(flags[2], f"--output_dir={out}", "--do_predict")


def test_flags_of_taglm_are_for_taglm(tmp_path):
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    for flag in ("word_vectors", "lm_checkpoint"):
        with pytest.raises(ValueError, match=f"--{flag} needs --model_type=taglm"):
            run(*flags, "--do_train", f"--{flag}=x")
    flags = tiny_taglm.flags(tmp_path, tmp_path / "out")
    (tmp_path / "bert").mkdir()
    tiny.write_model(tmp_path / "bert")
    bert = str(tmp_path / "bert/a.ckpt")
    google_bert.save(bert, {"bert/x": np.ones(1)})
    with pytest.raises(ValueError, match="--lm_checkpoint=.* is of Bert.*wanted ELMo"):
        run(*flags, "--do_train", f"--lm_checkpoint={bert}")
    config = f"--config_file={tmp_path / 'bert/bert_config.json'}"
    with pytest.raises(ValueError, match="--model_type=taglm, but .* is that of bert"):
        run(*flags, "--do_train", config)
    with pytest.raises(ValueError, match="--layer_decay=0.5 is not for taglm"):
        run(*flags, "--do_train", "--layer_decay=0.5")
