"""The script as its user runs it: files, scores, folders that stand alone, errors."""

import dataclasses
import re

import numpy as np
import pytest
import scripts
import tiny
import tiny_gpt
import tiny_tagging
from test_training import tensors

from data_pipeline.readers import conll
from metrics import tagging
from modeling import GptConfig
from systems.system import make_system
from tasks.tagging import TaggingConfig

pytestmark = pytest.mark.long


def run(*flags):
    scripts.run("run_tagger", *flags)


def read_predictions(path):
    """Right and predicted tags of each sentence."""
    sentences = [
        [line.split() for line in part.splitlines()]
        for part in path.read_text().strip().split("\n\n")
    ]
    return [[[row[i] for row in rows] for rows in sentences] for i in (-2, -1)]


@pytest.mark.parametrize("crf", [pytest.param(False, marks=pytest.mark.slow), True])
def test_training_learns_to_tag_and_the_folder_stands_alone(tmp_path, crf):
    output = tmp_path / "out"
    flags = tiny_tagging.flags(tmp_path, output)
    steps = ["--do_train", "--do_eval", "--do_predict", "--num_train_epochs=4"]
    run(*flags, *steps, f"--crf={crf}", "--output_scheme=IOBES")
    results = tiny.read_results(output / "eval_results.txt")
    assert {"eval_f1", "eval_precision_PER", "eval_loss", "global_step"} <= set(results)
    assert results["global_step"] == int(80 / 8 * 4)
    assert results["eval_f1"] > 0.9
    config = TaggingConfig.from_json_file(str(output / "task.json"))
    assert (config.crf, config.output_scheme) == (crf, "IOBES")
    assert len(config.labels) == 9
    # The file again, with one more column.
    text = (output / "test_predictions.txt").read_text()
    lines = [line.rpartition(" ")[0] for line in text.splitlines()]
    assert lines == (tmp_path / "test.txt").read_text().splitlines()
    right, predicted = read_predictions(output / "test_predictions.txt")
    assert {tag[0] for tags in predicted for tag in tags} <= set("OBI")
    scores = tiny.read_results(output / "test_results.txt")
    assert scores["test_f1"] == tagging.entity_f1(right, predicted)["f1"]
    # Elsewhere, with nothing but sentences.
    moved = tmp_path / "moved"
    output.rename(moved)
    words = [line.split(" ")[0] for line in lines]
    (tmp_path / "test.txt").write_text("\n".join(words) + "\n")
    for name in ("test_predictions.txt", "test_results.txt", "eval_results.txt"):
        (moved / name).unlink()
    run(flags[2], f"--output_dir={moved}", "--do_predict")
    assert read_predictions(moved / "test_predictions.txt")[1] == predicted
    assert not (moved / "test_results.txt").exists()  # nothing to compare with


def test_every_word_of_a_long_sentence_gets_a_tag(tmp_path):
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    words, tags = ["good", "word26"] * 45, ["B-PER", "I-PER"] * 45
    (tmp_path / "test.txt").write_text(tiny_tagging.columns([(words, tags)]))
    run(*flags, "--do_train", "--do_predict", "--num_train_epochs=4")
    [right], [predicted] = read_predictions(tmp_path / "out/test_predictions.txt")
    assert right == tags
    assert len(predicted) == 90
    scores = tiny.read_results(tmp_path / "out/test_results.txt")
    assert scores["test_f1"] > 0.8


def test_a_frozen_encoder_does_not_move_and_the_best_checkpoint_is_kept(tmp_path):
    output = tmp_path / "out"
    flags = [*tiny_tagging.flags(tmp_path, output), "--nofinetune_encoder", "--crf"]
    flags += ["--do_train", "--do_eval", "--num_train_epochs=2", "--eval_steps=5"]
    run(*flags, "--use_checkpoint=best", "--save_checkpoints_steps=10")
    first, last = (tensors(output / f"model.ckpt-{n}") for n in (10, 20))
    moved = {name for name in last if (first[name] != last[name]).any()}
    assert {name for name in moved if name.startswith("bert/")} == set()
    assert "tagger/crf/transitions" in moved
    best = tiny.read_results(output / "best/eval_results.txt")
    assert tiny.read_results(output / "eval_results.txt") == best


def gpt_flags(folder):
    """As tiny_tagging.flags, but for GPT with a CRF."""
    flags = tiny_tagging.flags(folder, folder / "out")
    model = ("--vocab_file", "--bert_config_file", "--max_seq_length")
    vocab, config = tiny_gpt.write_model(folder)
    return [
        *(flag for flag in flags if not flag.startswith(model)),
        *(f"--vocab_file={vocab}", f"--config_file={config}"),
        *("--model_type=gpt", "--max_seq_length=40", "--crf"),
    ]


def test_a_gpt_learns_to_tag_and_goes_on_from_its_folder_alone(tmp_path):
    output, flags = tmp_path / "out", gpt_flags(tmp_path)
    flags += ["--do_train", "--num_train_epochs=4"]
    run(*flags)
    (tmp_path / "vocab.json").unlink()
    kept = [f for f in flags if not f.startswith(("--vocab_file", "--config_file"))]
    run(*kept, "--do_eval")  # the same training, which has ended
    assert tiny.read_results(output / "eval_results.txt")["eval_f1"] > 0.9


def test_a_gpt_has_read_the_whole_word_that_it_tags(tmp_path):
    vocab, config = tiny_gpt.write_model(tmp_path)
    system = make_system(GptConfig.from_json_file(str(config)), str(vocab))
    system = system.with_special_tokens()
    (tmp_path / "words.txt").write_text(tiny_tagging.columns([(["unseen"], ["O"])]))
    text = conll.read(str(tmp_path / "words.txt"), "conll", scheme="BIO")
    columns = system.need("tags").columns(text, np.zeros(1, np.int32), 40)
    assert columns.word_positions.tolist() == [len(columns.input_ids) - 2]
    assert len(columns.input_ids) > 3


def test_a_frozen_gpt_does_not_move(tmp_path):
    flags = [*gpt_flags(tmp_path), "--nofinetune_encoder", "--num_train_epochs=1"]
    run(*flags, "--do_train", "--save_checkpoints_steps=5")
    first, last = (tensors(tmp_path / f"out/model.ckpt-{n}") for n in (5, 10))
    moved = {name for name in last if (first[name] != last[name]).any()}
    assert not {name for name in moved if re.match(r"we$|h\d/", name)}
    assert {"tagger/emissions/output_weights", "tagger/crf/end"} < moved


def test_every_chinese_character_gets_a_tag_of_its_own(tmp_path):
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    known = {"B-PER": "王", "I-PER": "明", "B-LOC": "京"}
    pieces = [*tiny.VOCAB[:5], *known.values()]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    config = dataclasses.replace(tiny.CONFIG, vocab_size=len(pieces))
    (tmp_path / "bert_config.json").write_text(config.to_json_string())
    spelled = known | {"O": "的"}  # an unknown character is a word, too
    for seed, name in enumerate(("train", "test")):
        rows = ["text_a\tlabel"]
        for _, tags in tiny_tagging.sentences(60, seed):
            characters = " ".join(spelled[tag] for tag in tags)
            rows.append(f"{characters}\t{' '.join(tags)}")
        (tmp_path / f"{name}.txt").write_text("\n".join(rows) + "\n", "utf-8")
    run(*flags, "--data_format=tsv", "--do_train", "--do_predict")
    right, predicted = read_predictions(tmp_path / "out/test_predictions.txt")
    assert [len(tags) for tags in predicted] == [len(tags) for tags in right]
    assert len(right) == 60
    scores = tiny.read_results(tmp_path / "out/test_results.txt")
    assert scores["test_f1"] > 0.9


def test_tsv_files_and_samples_train_several_seeds(tmp_path):
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    for name in ("train", "dev"):
        text = conll.read(str(tmp_path / f"{name}.txt"), "conll", scheme="BIO")
        rows = [
            f"{' '.join(text.words[a:b])}\t{' '.join(text.tags[a:b])}"
            for a, b in zip(text.offsets, text.offsets[1:], strict=False)
        ]
        content = "\n".join(["text_a\tlabel", *rows])
        (tmp_path / f"{name}.txt").write_text(content + "\n")
    flags += ["--data_format=tsv", "--max_train_examples=16", "--seeds=2"]
    run(*flags, "--do_train", "--do_eval", "--num_train_epochs=1")
    results = tiny.read_results(tmp_path / "out/eval_results.txt")
    assert results["global_step"] == 2
    assert "eval_f1_std" in results


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train_file="], "--do_train needs --train_file"),
        (["--do_eval", "--dev_file="], "--do_eval needs --dev_file"),
        (["--do_predict", "--test_file="], "--do_predict needs --test_file"),
        (["--nodo_train", "--do_eval"], "no trained tagger: use --do_train"),
        (["--tag_scheme=IOB1"], "train.txt, line 3: .*--tag_scheme=IOB1"),
        (["--tag_column=1"], "train.txt, line 1: 'X' is no tag"),
        (["--max_seq_length=41"], "--max_seq_length=41.*max_position_embeddings=40"),
        (["--do_predict", "--test_file=nowhere"], "nowhere: no such file"),
        (["--train_batch_size=500", "--num_train_epochs=1"], "80 training examples"),
    ],
)
def test_impossible_flags_name_themselves(tmp_path, flags, message):
    command = tiny_tagging.flags(tmp_path, tmp_path / "out")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(*command, "--do_train", *flags)
    assert not (tmp_path / "out").exists()


def test_the_scheme_of_the_files_is_never_guessed(tmp_path):
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    flags = [flag for flag in flags if not flag.startswith("--tag_scheme")]
    with pytest.raises(ValueError, match="--do_train needs --tag_scheme"):
        run(*flags, "--do_train")


def test_bad_data_stop_the_run_before_training(tmp_path):
    flags = tiny_tagging.flags(tmp_path, tmp_path / "out")
    with open(tmp_path / "dev.txt", "a") as file:
        file.write("\nword1 X B-ORG\n")
    lines = len((tmp_path / "dev.txt").read_text().splitlines())
    message = rf"dev.txt, line {lines}: the tag 'B-ORG' was never seen in training"
    with pytest.raises(ValueError, match=message):
        run(*flags, "--do_train", "--do_eval")
    assert not (tmp_path / "out").exists()
