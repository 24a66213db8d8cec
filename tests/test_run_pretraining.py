"""The script as its user runs it: files that stand alone, and what takes them on."""

import os

import numpy as np
import pytest
import scripts
import tiny
import tiny_pretraining
import tiny_streams
from test_training import assert_equal, tensors

import checkpoints
from data_pipeline import tfrecord
from errors import UserError

pytestmark = pytest.mark.long

RESULTS = {"loss", "masked_lm_accuracy", "masked_lm_loss", "next_sentence_accuracy"}
RESULTS |= {"next_sentence_loss", "unigram_entropy", "global_step"}
LENGTHS = ("--max_seq_length=24", "--max_predictions_per_seq=4")


def pretrain(folder, output, *more):
    """Pre-trains the tiny model for six updates; returns its output folder."""
    _, config = tiny.write_model(folder)
    for seed in range(2):
        tiny_pretraining.write(folder / f"part-{seed}.tfrecord", 20, seed)
    scripts.run(
        "run_pretraining",
        f"--bert_config_file={config}",
        f"--input_file={folder}/part-*.tfrecord",
        f"--output_dir={output}",
        *LENGTHS,
        "--train_batch_size=8",
        "--num_train_steps=6",
        "--num_warmup_steps=2",
        "--learning_rate=1e-3",
        *more,
    )
    return output


def pretrain_gpt(folder, output, *more):
    """Pre-trains the tiny GPT for six updates; returns its output folder."""
    vocab, config = tiny_streams.write_model(folder)
    for seed in range(2):
        tiny_streams.write(folder / f"part-{seed}.tfrecord", 20, seed)
    dev = tiny_streams.write(folder / "dev.tfrecord", 13, seed=7)
    scripts.run(
        "run_pretraining",
        "--model_type=gpt",
        f"--config_file={config}",
        f"--vocab_file={vocab}",
        f"--input_file={folder}/part-*.tfrecord",
        f"--eval_input_file={dev}",
        f"--output_dir={output}",
        f"--max_seq_length={tiny_streams.MAX_SEQ_LENGTH}",
        "--train_batch_size=8",
        "--num_train_steps=6",
        "--num_warmup_steps=2",
        "--learning_rate=1e-3",
        "--learning_rate_decay=cosine",
        *more,
    )
    return output


def test_gpt_is_scored_beside_ngrams_and_its_folder_stands_alone(tmp_path):
    flags = ("--do_train", "--do_eval", "--ngram_baseline=3")
    output = pretrain_gpt(tmp_path, tmp_path / "out", *flags)
    results = tiny.read_results(output / "eval_results.txt")
    names = {"loss", "perplexity", "log_likelihood", "lm_accuracy", "global_step"}
    assert set(results) == names | {"ngram_perplexity"}
    assert results["perplexity"] == pytest.approx(np.exp(results["loss"]))
    assert 1 < results["ngram_perplexity"] < results["perplexity"]
    alone = tmp_path / "alone"
    output.rename(alone)
    scripts.run(
        "run_pretraining",
        f"--init_checkpoint={alone}",
        f"--input_file={tmp_path}/dev.tfrecord",
        f"--output_dir={tmp_path}/again",
        f"--max_seq_length={tiny_streams.MAX_SEQ_LENGTH}",
        "--do_eval",
    )
    again = tiny.read_results(tmp_path / "again" / "eval_results.txt")
    assert again["loss"] == pytest.approx(results["loss"], rel=1e-5)


def test_resumed_gpt_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    keep = "--keep_optimizer=all"
    whole = pretrain_gpt(tmp_path, tmp_path / "whole", "--do_train", keep)
    flags = ("--do_train", "--save_checkpoints_steps=2", keep)
    parts = pretrain_gpt(tmp_path, tmp_path / "parts", *flags)
    for file in parts.glob("model.ckpt-6.*"):  # as if killed after step 4
        file.unlink()
    (parts / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-4"\n')
    pretrain_gpt(tmp_path, parts, *flags)
    assert_equal(tensors(parts / "model.ckpt-6"), tensors(whole / "model.ckpt-6"))


def test_pretrained_folder_goes_on_to_the_classifier_and_to_both_formats(tmp_path):
    vocab, _ = tiny.write_model(tmp_path)
    flags = ("--do_train", "--do_eval", f"--vocab_file={vocab}", "--eval_steps=3")
    output = pretrain(tmp_path, tmp_path / "pretrained", *flags)
    results = tiny.read_results(output / "eval_results.txt")
    assert set(results) == RESULTS
    assert results["global_step"] == 6
    command = tiny.classifier_command(
        tmp_path,
        tmp_path / "classifier",
        f"--init_checkpoint={output}",
        "--do_train",
        "--do_eval",
        "--num_train_epochs=1",
    )
    beside = ("--vocab_file", "--bert_config_file")
    scripts.run("run_classifier", *(f for f in command[2:] if not f.startswith(beside)))
    assert (tmp_path / "classifier" / "eval_results.txt").exists()

    trained = tensors(output / "model.ckpt-6")
    folder = str(output)
    for output_format in ("google_bert", "huggingface"):
        to = str(tmp_path / output_format)
        scripts.run(
            "convert_checkpoint",
            f"--input_checkpoint={folder}",
            f"--output_path={to}",
            f"--output_format={output_format}",
        )
        folder = to  # the next format is made from this one
        written = checkpoints.open_checkpoint(to)
        heads = {name for name in written.shapes if name.startswith("cls/")}
        assert len(heads) == 7
        for name in written.shapes:
            np.testing.assert_array_equal(written.read(name), trained[name])
        scored = pretrain(
            tmp_path,
            tmp_path / f"scored-{output_format}",
            f"--init_checkpoint={to}",
            "--do_eval",
        )
        again = tiny.read_results(scored / "eval_results.txt")
        assert again.pop("global_step") == 0
        assert again == pytest.approx({k: results[k] for k in again}, rel=1e-5)


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    keep = "--keep_optimizer=all"
    whole = pretrain(tmp_path, tmp_path / "whole", "--do_train", keep)
    flags = ("--do_train", "--save_checkpoints_steps=2", keep)
    parts = pretrain(tmp_path, tmp_path / "parts", *flags)
    for file in parts.glob("model.ckpt-6.*"):  # as if killed after step 4
        file.unlink()
    (parts / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-4"\n')
    pretrain(tmp_path, parts, *flags)
    assert_equal(tensors(parts / "model.ckpt-6"), tensors(whole / "model.ckpt-6"))


def test_a_resumed_run_knows_its_records_wherever_they_are(tmp_path):
    here, moved, other = (tmp_path / name for name in ("here", "moved", "other"))
    for folder in (here, moved, other):
        folder.mkdir()
    output = pretrain(here, tmp_path / "out", "--do_train", "--num_train_steps=1")
    trained = tensors(output / "model.ckpt-1")
    flags = ("--do_train", "--num_train_steps=1")
    pretrain(moved, output, *flags)
    for seed in range(2):  # the same names, other records
        tiny_pretraining.write(other / f"part-{seed}.tfrecord", 20, seed + 7)
    with pytest.raises(UserError, match=r"input_files: there .*part-0.* bytes, "):
        pretrain(here, output, *flags, f"--input_file={other}/part-*.tfrecord")
    assert_equal(tensors(output / "model.ckpt-1"), trained)


def test_without_a_vocabulary_the_run_warns_and_leaves_none(tmp_path, caplog):
    output = pretrain(tmp_path, tmp_path / "out", "--do_train")
    assert "--output_dir will lack the vocabulary" in caplog.text
    assert (output / "bert_config.json").exists()
    assert not (output / "vocab.txt").exists()
    assert not (output / "tokenizer_config.json").exists()


@pytest.mark.shared_data
def test_evaluation_alone_scores_the_initial_checkpoint(tmp_path, golden_dir):
    folder = golden_dir / "bert"
    golden = np.load(folder / "golden.npz")
    names = tiny_pretraining.NAMES
    examples = [
        tiny_pretraining.to_example({name: golden[name][row] for name in names})
        for row in range(5)
    ]
    tfrecord.write(str(tmp_path / "golden.tfrecord"), examples)
    scripts.run(
        "run_pretraining",
        f"--bert_config_file={folder}/bert_config.json",
        f"--init_checkpoint={folder}/bert_model.ckpt",
        f"--input_file={tmp_path}/golden.tfrecord",
        f"--output_dir={tmp_path}/out",
        "--max_seq_length=24",
        "--max_predictions_per_seq=6",
        "--do_eval",
        "--eval_batch_size=2",
    )
    results = tiny.read_results(tmp_path / "out" / "eval_results.txt")
    assert set(results) == RESULTS
    assert results["loss"] == pytest.approx(golden["total_loss"], abs=2e-5)
    assert results["masked_lm_loss"] == pytest.approx(golden["mlm_loss"], abs=2e-5)
    assert results["next_sentence_loss"] == pytest.approx(golden["nsp_loss"], abs=1e-5)
    assert results["global_step"] == 0


def test_evaluation_takes_the_files_and_batches_it_is_given(tmp_path):
    other = tiny_pretraining.write(tmp_path / "other.tfrecord", 30, seed=9)
    results = []
    for number, flags in enumerate(
        (
            (f"--eval_input_file={other}", "--max_eval_steps=3"),
            (f"--eval_input_file={other},{tmp_path}/part-0*", "--max_eval_steps=3"),
            (f"--eval_input_file={other}", "--max_eval_steps=0"),
            ("--max_eval_steps=3",),
        )
    ):
        folder = pretrain(tmp_path, tmp_path / f"{number}", "--do_eval", *flags)
        results.append(tiny.read_results(folder / "eval_results.txt"))
    first, with_more_files, everything, of_input_file = results
    assert with_more_files == first  # 3 x 8 examples are in the first file
    assert everything["loss"] != first["loss"]
    assert of_input_file["loss"] != first["loss"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--do_train", "--input_file=no/such*"),
            r"--input_file: no file matches 'no/such\*'",
        ),
        (
            ("--do_eval", "--eval_input_file=nothing"),
            "--eval_input_file: no file.*nothing",
        ),
        ((), "at least one of --do_train, --do_eval"),
        (("--do_eval", "--ngram_baseline=3"), "needs both, and --do_eval"),
        (
            ("--do_eval", "--ngram_baseline=3", f"--eval_input_file={__file__}"),
            "--ngram_baseline=3 is not for bert, only for elmo, gpt",
        ),
        (("--do_train", "--max_predictions_per_seq=1"), "max_predictions_per_seq=1"),
        (("--do_train", "--max_seq_length=8"), "max_seq_length=8"),
        (("--do_train", "--bert_config_file="), "--bert_config_file is not given"),
    ],
)
def test_flags_that_cannot_work_stop_the_run_before_it_leaves_files(
    tmp_path, flags, message
):
    with pytest.raises(ValueError, match=message):
        pretrain(tmp_path, tmp_path / "out", *flags)
    assert not os.path.exists(tmp_path / "out")
