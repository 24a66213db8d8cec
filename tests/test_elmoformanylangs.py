"""ELMoForManyLangs' folders: its own vectors, and our scripts on them."""

import json
import logging
import pathlib
import shutil

import h5py
import numpy as np
import pytest
import scripts
import tensorflow as tf
import tiny
import tiny_tagging
import tiny_taglm
import torch_writer
from test_run_tagger import read_predictions

import checkpoints
import modeling
from checkpoints import CheckpointError, elmoformanylangs, torch_files
from errors import UserError
from lexicon import Lexicon
from modeling import ElmoConfig
from systems.system import make_system

pytestmark = pytest.mark.long

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden/torch"
MODELS = ["elmo", "elmo_characters", "elmo_words"]
SENTENCES = json.loads((GOLDEN / "elmo_sentences.json").read_text())


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A copy of the model of words and characters, to be changed."""
    return shutil.copytree(GOLDEN / "elmo", tmp_path / "copy")


def change(folder, file, **changes):
    """Writes a file of tensors anew; `None` deletes, anything else sets a tensor."""
    stored, _ = torch_files.list_tensors(str(folder / file))
    tensors = {n: np.array(t.read(n)) for n, t in stored.items()} | changes
    kept = {n: value for n, value in tensors.items() if value is not None}
    torch_writer.write_state(folder / file, kept)


def extract(folder, output, *flags):
    """Writes the vectors of SENTENCES, tabs between their words; returns the path."""
    text = output.parent / "text.txt"
    text.write_text("".join("\t".join(words) + "\n" for words in SENTENCES))
    scripts.run(
        "extract_features",
        f"--init_checkpoint={folder}",
        f"--input_file={text}",
        f"--output_file={output}",
        *flags,
    )
    return output


# What elmoformanylangs computes.


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_every_layer_of_every_word_is_elmoformanylangs(tmp_path, model, stateful):
    flags = ["--stateful"] if stateful else ["--batch_size=3"]
    path = extract(GOLDEN / model, tmp_path / "vectors.hdf5", *flags)
    wanted = np.load(GOLDEN / model / "vectors.npz")
    with h5py.File(path) as file:
        for i in range(len(SENTENCES)):
            name = f"stateful/{i}" if stateful else f"{i}"
            np.testing.assert_allclose(file[str(i)][...], wanted[name], atol=1e-5)
    limit = np.abs(wanted["0"]).max()
    assert limit > 1  # else 1e-5 would say little


def test_its_usual_output_is_the_mean_of_the_layers(tmp_path):
    path = extract(
        GOLDEN / "elmo", tmp_path / "vectors.npy", "--layer_combination=mean"
    )
    wanted = np.load(GOLDEN / "elmo/vectors.npz")["1"].mean(axis=0)
    found = np.load(path)[1, : len(SENTENCES[1])]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_either_file_stands_for_its_folder():
    wanted = checkpoints.open_checkpoint(GOLDEN / "elmo")
    for name in ("encoder.pkl", "token_embedder.pkl"):
        found = checkpoints.open_checkpoint(GOLDEN / "elmo" / name)
        assert (found.format, found.shapes) == ("elmoformanylangs", wanted.shapes)
        assert found.config == wanted.config


def test_every_tensor_of_the_files_is_used():
    for model in MODELS:
        found = checkpoints.open_checkpoint(GOLDEN / model)
        assert (found.unknown, found.ignored) == ({}, {})
        made = make_system(found.config).build_encoder()
        variables = modeling.named_variables(made)
        assert {n: tuple(v.shape) for n, v in variables.items()} == found.shapes


def test_padding_never_changes_real_words():
    checkpoint = checkpoints.open_checkpoint(GOLDEN / "elmo")
    system = make_system(checkpoint.config, checkpoint.vocab_file)
    model = system.build_encoder(seed=3)
    together = model(tf.constant(system.speller().batch(SENTENCES)))
    for row, words in enumerate(SENTENCES):
        alone = model(tf.constant(system.speller().batch([words])))["lm_embeddings"]
        found = together["lm_embeddings"][row, :, : len(words)]
        np.testing.assert_allclose(found, alone[0], atol=1e-6)
        assert together["mask"][row].numpy().sum() == len(words)


# Its files.


def test_a_missing_an_extra_and_a_misshapen_tensor_are_each_named(folder):
    change(folder, "encoder.pkl", **{"forward_layer_1.state_linearity.bias": None})
    change(
        folder, "token_embedder.pkl", **{"projection.weight": np.ones((6, 16), "f4")}
    )
    with pytest.raises(CheckpointError) as error:
        checkpoints.open_checkpoint(folder)
    message = str(error.value)
    assert f"{folder}: 2 problem(s)" in message
    assert "missing: forward_layer_1.state_linearity.bias" in message
    assert "projection.weight is [6, 16], but the architecture has [6, 17]" in message
    shutil.copytree(GOLDEN / "elmo", folder, dirs_exist_ok=True)
    change(folder, "encoder.pkl", **{"forward_layer_2.bias": np.ones(3, "f4")})
    system = make_system(checkpoints.open_checkpoint(folder).config, None, None, folder)
    variables = modeling.named_variables(system.build_encoder())
    with pytest.raises(CheckpointError, match=r"extra: forward_layer_2\.bias \[3\]"):
        system.initialize(variables, None)


@pytest.mark.parametrize(
    "name", ["config.json", "encoder.pkl", "token_embedder.pkl", "word.dic", "char.dic"]
)
def test_a_missing_file_is_named(folder, tmp_path, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        extract(folder, tmp_path / "vectors.npy")


def test_a_pickle_that_is_a_program_is_refused(folder):
    trap = torch_writer.call(torch_writer.name("posix", "system"))
    torch_writer.write_zip(folder / "token_embedder.pkl", trap)
    with pytest.raises(CheckpointError, match=r"token_embedder\.pkl: .* posix\.system"):
        checkpoints.open_checkpoint(folder)


def test_the_architecture_is_sought_in_the_folder_and_nowhere_else(folder):
    (folder / "tiny.json").rename(folder.parent / "tiny.json")
    for named in (
        "/users/them/tiny.json",
        "../tiny.json",
        f"{folder.parent}/tiny.json",
    ):
        (folder / "config.json").write_text(json.dumps({"config_path": named}))
        with pytest.raises(CheckpointError, match=f"there is no tiny.json in {folder}"):
            checkpoints.open_checkpoint(folder)
    for named in (None, 3, ["tiny.json"]):
        (folder / "config.json").write_text(json.dumps({"config_path": named}))
        with pytest.raises(CheckpointError, match=r"config\.json: config_path is "):
            checkpoints.open_checkpoint(folder)


def test_the_releases_architecture_is_known_without_its_file(folder):
    named = "/Users/yijialiu/work/word_elmo/cnn_50_100_512_4096_sample.json"
    (folder / "config.json").write_text(json.dumps({"config_path": named}))
    with pytest.raises(CheckpointError) as error:
        checkpoints.open_checkpoint(folder)
    message = str(error.value)
    assert "missing: convolutions.6.weight" in message
    assert (
        "projection.weight is [6, 17], but the architecture has [512, 2148]" in message
    )
    assert (
        "state_projection.weight is [6, 9], but the architecture has [512, 4096]"
        in (message)
    )


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("encoder", "name", "lstm", "encoder is of the kind 'lstm', wanted 'elmo'"),
        ("token_embedder", "name", "lstm", "of the kind 'lstm', wanted 'cnn'"),
        ("encoder", "dim", 6, "dim and projection_dim are both 6"),
        ("encoder", "dim", "9", "dim is '9'"),
        ("encoder", "more", 1, r"encoder: unknown key\(s\) more"),
        ("token_embedder", "filters", [[9, 3]], "filters has width 9, but max_char"),
        ("token_embedder", "char_dim", True, "embedding"),
        ("token_embedder", "word_dim", -1, "word_dim is -1, wanted 0 or more"),
        (
            "token_embedder",
            "word_dim",
            10**10,
            "word_dim x lstm.projection_dim is 10+ x",
        ),
    ],
)
def test_an_impossible_architecture_names_the_file_and_the_key(
    folder, section, key, value, message
):
    values = json.loads((folder / "tiny.json").read_text())
    values[section][key] = value
    (folder / "tiny.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=rf"tiny\.json: .*{message}"):
        checkpoints.open_checkpoint(folder)


# Words and characters.


def spell(*words):
    """What the model of words and characters reads of words."""
    lexicon = Lexicon.from_folder(str(GOLDEN / "elmo"), True, True, 8)
    return lexicon.encode(words).tolist()


def test_words_are_spelled_between_marks_that_are_the_wrong_way_round():
    # char.dic: t 0, h 1, e 2, c 3, a 4 ... <oov> 18, <pad> 19, <bow> 20, <eow> 21
    assert spell("the", "<bos>", "𠮷a", "zoë!") == [
        [4, 21, 0, 1, 2, 20, 19, 19, 19],
        [1, 21, 16, 20, 19, 19, 19, 19, 19],
        [0, 21, 13, 4, 20, 19, 19, 19, 19],
        [0, 21, 18, 10, 18, 18, 20, 19, 19],
    ]


def test_a_long_word_is_cut_before_it_is_looked_up(caplog):
    lexicon = Lexicon.from_folder(str(GOLDEN / "elmo"), True, True, 8)
    assert lexicon.encode(["unbelievable"])[0, 0] == 8  # unbeli
    with caplog.at_level(logging.WARNING, "absl"):
        lexicon.report()
    assert (
        "1 words were longer than the model's 8 characters and were cut" in caplog.text
    )


def test_white_space_surrogates_and_null_are_characters_like_others():
    assert spell("a\u3000a", "a\xa0\ud800", "\0a\0") == [
        [0, 21, 4, 5, 4, 20, 19, 19, 19],
        [0, 21, 4, 18, 18, 20, 19, 19, 19],
        [0, 21, 18, 4, 18, 20, 19, 19, 19],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<oov>\t0\na\t2\n", "the numbers are not 0 to 1, each once"),
        ("<oov>\t0\na\t0\n", "the numbers are not 0 to 1, each once"),
        ("<oov>\t0\n<oov>\t1\n", "word.dic, line 2: '<oov>' is there a second time"),
        ("<oov>\t0\na b\n", "word.dic, line 2: got 'a b', wanted entry<tab>number"),
        ("<oov>\t0\na\t-1\n", "word.dic, line 2: got"),
        ("<oov>\t0\na\t٣\n", "word.dic, line 2: got"),
        ("a\t0\nb\t1\n", "word.dic: has no <oov>"),
        ("", "word.dic, line 1: got ''"),
    ],
)
def test_a_damaged_lexicon_is_named(folder, tmp_path, text, message):
    (folder / "word.dic").write_text(text)
    with pytest.raises(UserError, match=message):
        extract(folder, tmp_path / "vectors.npy")


def test_every_white_space_of_unicode_is_read_back(tmp_path):
    entries = ["<oov>", *(chr(c) for c in range(0x3001) if chr(c).isspace())]
    entries = [entry for entry in entries if entry not in "\n"]
    assert "\u2028" in entries
    lines = [f"{entry}\t{i}\n" for i, entry in enumerate(entries)]
    (tmp_path / "word.dic").write_bytes("".join(lines).encode())
    lexicon = Lexicon.from_folder(str(tmp_path), True, False, 8)
    assert lexicon.encode(entries).tolist() == list(range(len(entries)))


def test_a_line_whose_blank_was_lost_is_the_ideographic_space(tmp_path):
    (tmp_path / "word.dic").write_text("<oov>\t0\n1\na\t2\n")
    lexicon = Lexicon.from_folder(str(tmp_path), True, False, 8)
    assert lexicon.encode(["\u3000", "a", "b"]).tolist() == [1, 2, 0]


def test_a_lexicon_of_another_model_is_refused(folder, tmp_path):
    with (folder / "word.dic").open("a") as file:
        file.write("more\t9\n")
    with pytest.raises(UserError, match=r"n_words=10, but the model has 9"):
        extract(folder, tmp_path / "vectors.npy")


# Under tasks.


@pytest.mark.parametrize("key", ["n_words", "n_characters"])
def test_a_lexicon_of_absurd_size_is_refused(key):
    values = checkpoints.open_checkpoint(GOLDEN / "elmo").config.to_dict()
    values["lexicon"][key] = 10**10
    with pytest.raises(UserError, match=f"lexicon.{key} x .* is 10000000000 x"):
        ElmoConfig.from_dict(values)


def test_options_come_back_from_what_is_written():
    for model in MODELS:
        config = checkpoints.open_checkpoint(GOLDEN / model).config
        assert ElmoConfig.from_dict(json.loads(config.to_json_string())) == config


def test_a_tagger_reads_its_vectors_and_the_folder_stands_alone(tmp_path):
    output = tmp_path / "out"
    flags = [
        flag
        for flag in tiny_tagging.flags(tmp_path, output, 24, 8, 5)
        if not flag.startswith(("--vocab_file", "--bert_config_file"))
    ]
    scripts.run(
        "run_tagger",
        *flags,
        f"--init_checkpoint={GOLDEN / 'elmo'}",
        *("--do_train", "--do_predict", "--num_train_epochs=1"),
    )
    names = {path.name for path in output.iterdir()}
    assert {"options.json", "word.dic", "char.dic"} <= names
    assert "vocab.txt" not in names
    predicted = read_predictions(output / "test_predictions.txt")[1]
    moved = output.rename(tmp_path / "moved")
    (moved / "test_predictions.txt").unlink()
    scripts.run("run_tagger", flags[2], f"--output_dir={moved}", "--do_predict")
    assert read_predictions(moved / "test_predictions.txt")[1] == predicted
    path = extract(moved, tmp_path / "vectors.hdf5")
    with h5py.File(path) as file:  # the encoder was frozen
        wanted = np.load(GOLDEN / "elmo/vectors.npz")["0"]
        np.testing.assert_allclose(file["0"][...], wanted, atol=1e-5)


def test_a_classifier_fine_tunes_it(tmp_path):
    data = tiny.write_data(tmp_path / "data", 24, 8)
    scripts.run(
        "run_classifier",
        *(*tiny.COLUMNS, f"--data_dir={data}"),
        f"--init_checkpoint={GOLDEN / 'elmo_words'}",
        *(f"--output_dir={tmp_path / 'out'}", "--max_seq_length=24"),
        *("--do_train", "--num_train_epochs=1", "--learning_rate=1e-2"),
        *("--train_batch_size=8", "--finetune_encoder"),
    )
    before = checkpoints.open_checkpoint(GOLDEN / "elmo_words")
    after = checkpoints.open_checkpoint(tmp_path / "out")
    assert after.config == before.config
    for name in ("lm/embedding", "lm/RNN_1/rnn/multi_rnn_cell/cell_1/lstm_cell/kernel"):
        assert not np.array_equal(before.read(name), after.read(name))


def test_what_it_is_not_for_is_refused(tmp_path):
    config = checkpoints.open_checkpoint(GOLDEN / "elmo").config
    with pytest.raises(UserError, match="bilm-tf reads words by their bytes"):
        scripts.run(
            "convert_checkpoint",
            f"--input_checkpoint={GOLDEN / 'elmo'}",
            f"--output_path={tmp_path / 'bilm'}",
            "--output_format=bilm",
        )
    assert not (tmp_path / "bilm").exists()
    with pytest.raises(UserError, match="ELMoForManyLangs .* is not pre-trained here"):
        modeling.ElmoLanguageModel(config)
    with pytest.raises(UserError, match="lm is one of ELMoForManyLangs"):
        tiny_taglm.CONFIG.with_lm(config)


def test_the_releases_have_their_architecture():
    config = elmoformanylangs.from_dict(elmoformanylangs._RELEASED, "released")
    assert (config.token_width, config.lstm.dim, config.ids_per_word) == (
        2148,
        4096,
        51,
    )
