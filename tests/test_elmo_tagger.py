"""A tagger on ELMo: features by default, words as they are, a folder that stands."""

import dataclasses
import logging

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
from data_pipeline.readers import conll
from modeling import ElmoModel
from modeling.elmo_reader import ElmoReader
from optimization.groups import assign_groups
from optimization.optimizers import OptimizerConfig
from systems.elmo import ElmoSystem
from tasks.tagging import TaggingConfig, TaggingTask
from vocabulary import CharacterEncoder

pytestmark = pytest.mark.long

SENTENCES = [["w1", "a", "zoë"], ["overlongword"], ["the", "never", "w2", "w3"]]
CONFIG = TaggingConfig(("O", "B-X"), "BIO", "BIO", True, 7, None)
WORD_OPTIONS = tiny_elmo.OPTIONS | {"char_cnn": None}


def batch_of(folder, task):
    """The batch of all sentences."""
    path = folder / "words.txt"
    path.write_text(
        tiny_tagging.columns([(words, ["O"] * len(words)) for words in SENTENCES])
    )
    text = conll.read(str(path), "conll", scheme="BIO")
    [batch] = task.eval_batches(
        task.records("eval", text, str(folder)), batch_size=len(SENTENCES)
    )
    return batch


def test_words_are_spelled_at_their_places(tmp_path, caplog):
    task = TaggingTask(CONFIG, ElmoSystem(tiny_elmo.CONFIG))
    with caplog.at_level(logging.WARNING, "absl"):
        batch = batch_of(tmp_path, task)
    assert "1 words were longer than the model's 8 characters" in caplog.text
    wanted = CharacterEncoder(8).batch(SENTENCES)
    np.testing.assert_array_equal(batch["input_ids"][:, :6], wanted)
    assert not batch["input_ids"][:, 6:].numpy().any()
    assert batch["word_positions"][0].numpy().tolist()[:4] == [1, 2, 3, 0]
    model = task.build_model(dtype="float32", fused=False, seed=1)
    tags = task.predict(model, batch)["tags"].numpy()
    assert (tags >= 0).sum(axis=1).tolist() == [3, 1, 4]


def test_a_model_without_characters_looks_words_up(tmp_path):
    vocab, _ = tiny_elmo.write_model(tmp_path)
    config = modeling.ElmoConfig.from_dict(WORD_OPTIONS)
    batch = batch_of(tmp_path, TaggingTask(CONFIG, ElmoSystem(config, vocab)))
    known = {word: i + 1 for i, word in enumerate(tiny_elmo.VOCAB)}  # 0 is padding
    wanted = [known.get(w, known["<UNK>"]) for w in ["<S>", *SENTENCES[2], "</S>"]]
    assert batch["input_ids"][2].numpy().tolist()[:6] == wanted
    (tmp_path / "few").write_text("<S>\nthe\n")
    task = TaggingTask(CONFIG, ElmoSystem(config, str(tmp_path / "few")))
    with pytest.raises(ValueError, match="few: no line </S> and no line <UNK>"):
        batch_of(tmp_path, task)


def test_padding_never_changes_what_is_read():
    reader = ElmoReader(tiny_elmo.CONFIG, frozen=True, seed=2, name="tagger")
    together = reader(tf.constant(CharacterEncoder(8).batch(SENTENCES)))
    for row, words in enumerate(SENTENCES):
        alone = reader(tf.constant(CharacterEncoder(8).batch([words])))
        length = len(words) + 2
        found = together["sequence_output"][row].numpy()
        np.testing.assert_allclose(
            found[:length], alone["sequence_output"][0], atol=1e-6
        )
        real = np.zeros(6)
        real[1 : length - 1] = 1
        np.testing.assert_array_equal(found.any(axis=-1), real)
        np.testing.assert_array_equal(together["word_mask"][row], real)


def test_features_have_dropout_on_them_but_none_in_the_language_model():
    options = dataclasses.replace(tiny_elmo.CONFIG, dropout=0.9)
    ids = tf.constant(CharacterEncoder(8).batch(SENTENCES))
    reader = ElmoReader(options, frozen=True, seed=2, name="tagger")
    seen = []
    call = reader.mix.call
    reader.mix.call = lambda layers: (seen.append(layers), call(layers))[1]
    outputs = [
        reader(ids, dropout_seed=seed)["sequence_output"].numpy()
        for seed in (None, tf.constant([1, 7]))
    ]
    np.testing.assert_array_equal(*seen)
    assert (outputs[0] != outputs[1]).any()


@pytest.mark.parametrize("finetune", [False, True])
def test_the_tagger_learns_and_the_language_model_when_told(finetune):
    system = ElmoSystem(tiny_elmo.CONFIG)
    task = TaggingTask(CONFIG, system, frozen_encoder=not finetune)
    model = task.build_model(dtype="float32", fused=False, seed=1)
    names = modeling.named_variables(model)
    config = OptimizerConfig(finetune_encoder=finetune)
    groups = assign_groups(names, system.parameter_groups(config))
    frozen = {name for name in names if not groups[name].trainable}
    encoder = {name for name in names if name.startswith("lm/")}
    assert frozen == (set() if finetune else encoder)
    assert {name.split("/")[0] for name in names} == {"lm", "tagger"}
    for name in ("scalar_mix/ELMo_W", "emissions/output_bias"):
        assert groups[f"tagger/{name}"].weight_decay == 0


def tag(folder, *more):
    """Runs the script on the tiny data."""
    ours = ("--vocab_file", "--bert_config_file", "--learning_rate")
    flags = tiny_tagging.flags(folder, folder / "out")
    kept = [flag for flag in flags if not flag.startswith(ours)]
    scripts.run("run_tagger", *kept, *more)


@pytest.mark.parametrize(
    ("crf", "finetune"),
    [(True, False), pytest.param(False, True, marks=pytest.mark.slow)],
)
@pytest.mark.whole_steps
def test_training_learns_to_tag_and_the_folder_stands_alone(tmp_path, crf, finetune):
    lm, out = tiny_taglm.write_lm(tmp_path), tmp_path / "out"
    flags = [f"--init_checkpoint={lm}", f"--crf={crf}", "--model_type=elmo"]
    flags += ["--optimizer=adamw", "--learning_rate=3e-2", "--weight_decay=0"]
    flags += ["--learning_rate_decay=constant", "--num_train_epochs=16"]
    flags += ["--keep_optimizer=all"]
    if finetune:  # and with files whose names are free, as bilm-tf's training has them
        (tmp_path / "lm/options.json").unlink()
        _, options = tiny_elmo.write_model(tmp_path)
        flags[0] = f"--init_checkpoint={lm}/lm_weights.hdf5"
        flags += ["--finetune_encoder", f"--config_file={options}"]
    tag(tmp_path, *flags, "--do_train", "--do_eval", "--do_predict")
    results = tiny.read_results(out / "eval_results.txt")
    assert results["eval_f1"] > 0.85
    trained = tensors(tf.train.latest_checkpoint(str(out)))
    encoder = modeling.named_variables(ElmoModel(tiny_elmo.CONFIG, seed=8))
    same = {n for n, v in encoder.items() if np.array_equal(trained[n], v.numpy())}
    assert same == (set() if finetune else set(encoder))
    slots = {n for n in trained if n.startswith("lm/") and n.endswith("adam_m")}
    assert bool(slots) == finetune
    # Elsewhere, without the language model's own folder.
    _, predicted = read_predictions(out / "test_predictions.txt")
    (tmp_path / "lm").rename(tmp_path / "gone")
    out.rename(tmp_path / "moved")
    tag(tmp_path, f"--init_checkpoint={tmp_path}/moved", "--do_eval", "--do_predict")
    assert read_predictions(out / "test_predictions.txt")[1] == predicted
    again = tiny.read_results(out / "eval_results.txt")
    assert again["eval_f1"] == results["eval_f1"]


def test_words_of_a_table_need_their_vocabulary(tmp_path):
    config = modeling.ElmoConfig.from_dict(WORD_OPTIONS)
    lm = tiny_taglm.write_lm(tmp_path, config)
    with pytest.raises(ValueError, match="--vocab_file is not given"):
        tag(tmp_path, f"--init_checkpoint={lm}", "--do_train")
