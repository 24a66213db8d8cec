"""The script as its user runs it: files, scores, folders that stand alone, errors."""

import dataclasses
import json

import numpy as np
import pytest
import scripts
import tiny
import tiny_squad
from test_training import tensors

from inference import export
from metrics import squad as squad_metrics
from tasks.span import SpanConfig

pytestmark = pytest.mark.long


def run(*flags):
    scripts.run("run_squad", *flags)


def read_json(path):
    return json.loads(path.read_text())


def references(path):
    """Question id -> answers of a SQuAD file."""
    return {
        qa["id"]: [answer["text"] for answer in qa["answers"]]
        for article in read_json(path)["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }


def exported_answers(tmp_path, output):
    """What an export answers to the questions of dev.json."""
    export.export_model(str(output), str(tmp_path / "export"))
    pairs = [
        (paragraph["qas"][0]["question"], paragraph["context"])
        for paragraph in read_json(tmp_path / "dev.json")["data"][0]["paragraphs"]
    ]
    return export.load(str(tmp_path / "export")).predict(pairs, batch_size=5)


@pytest.mark.whole_steps
def test_training_learns_to_answer_and_the_folder_stands_alone(tmp_path):
    output = tmp_path / "out"
    flags = tiny_squad.flags(tmp_path, output)
    run(*flags, "--do_train", "--do_predict", "--num_train_epochs=25")
    results = tiny.read_results(output / "eval_results.txt")
    assert set(results) == {"exact_match", "f1", "global_step"}
    assert results["global_step"] == int(60 / 8 * 25)  # by questions, as the parent
    assert results["exact_match"] > 80
    predictions = read_json(output / "predictions.json")
    wanted = references(tmp_path / "dev.json")
    assert list(predictions) == list(wanted)
    assert squad_metrics.squad_v1(wanted, predictions)["f1"] == results["f1"]
    nbest = read_json(output / "nbest_predictions.json")
    assert {key: entries[0]["text"] for key, entries in nbest.items()} == predictions
    assert not (output / "null_odds.json").exists()
    assert list(exported_answers(tmp_path, output)["answers"]) == list(
        predictions.values()
    )
    # Elsewhere, with nothing but the questions and without their answers.
    moved = tmp_path / "moved"
    output.rename(moved)
    content = read_json(tmp_path / "dev.json")
    for paragraph in content["data"][0]["paragraphs"]:
        del paragraph["qas"][0]["answers"]
    (tmp_path / "dev.json").write_text(json.dumps(content))
    for name in ("predictions.json", "eval_results.txt"):
        (moved / name).unlink()
    run(flags[1], f"--output_dir={moved}", "--do_predict", "--n_best_size=3")
    assert read_json(moved / "predictions.json") == predictions
    shorter = read_json(moved / "nbest_predictions.json")
    assert max(len(entries) for entries in shorter.values()) <= 3
    assert not (moved / "eval_results.txt").exists()  # nothing to compare with


def test_version_2_writes_null_odds_and_a_threshold_changes_answers_only(tmp_path):
    output = tmp_path / "out"
    flags = tiny_squad.flags(tmp_path, output, impossible=0.4)
    flags += ["--version_2_with_negative", "--do_predict"]
    run(*flags, "--do_train", "--num_train_epochs=4")
    results = tiny.read_results(output / "eval_results.txt")
    assert {"f1", "HasAns_f1", "NoAns_exact", "best_f1_thresh"} <= set(results)
    odds = read_json(output / "null_odds.json")
    exported = exported_answers(tmp_path, output)
    np.testing.assert_allclose(exported["null_odds"], list(odds.values()), atol=1e-4)
    predictions = read_json(output / "predictions.json")
    assert list(exported["answers"]) == list(predictions.values())
    for threshold in (min(odds.values()) - 1, results["best_f1_thresh"], 1e9):
        run(*flags, f"--null_score_diff_threshold={threshold}")
        assert read_json(output / "null_odds.json") == odds
        predictions = read_json(output / "predictions.json")
        for key, answer in predictions.items():
            assert (answer == "") == (odds[key] > threshold)
        again = tiny.read_results(output / "eval_results.txt")
        assert again["best_f1"] == results["best_f1"]
        if threshold == results["best_f1_thresh"]:
            assert again["f1"] == pytest.approx(results["best_f1"])


def test_a_model_of_version_2_answers_questions_of_version_1(tmp_path):
    output = tmp_path / "out"
    flags = tiny_squad.flags(tmp_path, output, train=12, impossible=0.4)
    flags += ["--version_2_with_negative"]
    run(*flags, "--do_train", "--num_train_epochs=1")
    data = tiny_squad.questions(5, seed=3)
    for number, paragraph in enumerate(data[0]["paragraphs"]):
        del paragraph["qas"][0]["is_impossible"]
        paragraph["qas"][0]["id"] = number
    (tmp_path / "v1.json").write_text(json.dumps({"data": data}))
    predict = f"--predict_file={tmp_path}/v1.json"
    run(predict, f"--output_dir={output}", "--do_predict", "--do_eval")
    assert list(read_json(output / "predictions.json")) == list("01234")
    results = tiny.read_results(output / "eval_results.txt")
    assert "HasAns_f1" in results
    assert "NoAns_f1" not in results


def test_evaluation_while_training_keeps_the_best_checkpoint(tmp_path):
    output = tmp_path / "out"
    flags = tiny_squad.flags(tmp_path, output)
    flags += ["--do_train", "--do_eval", "--num_train_epochs=2", "--eval_steps=5"]
    run(*flags, "--use_checkpoint=best", "--seeds=2")
    for seed in (0, 1):
        folder = output / f"seed_{seed}"
        best = tiny.read_results(folder / "best/eval_results.txt")
        assert tiny.read_results(folder / "eval_results.txt") == best
        config = SpanConfig.from_json_file(str(folder / "best/task.json"))
        assert (config.max_seq_length, config.doc_stride) == (24, 6)
    results = tiny.read_results(output / "eval_results.txt")
    assert "f1_std" in results


def test_chinese_questions_are_read_and_scored_as_such(tmp_path):
    flags = tiny_squad.flags(tmp_path, tmp_path / "out")
    vocab = (tmp_path / "vocab.txt").read_text()
    for old, new in {"word1": "中", "word2": "国", "word3": "人"}.items():
        vocab = vocab.replace(f"{old}\n", f"{new}\n")
    (tmp_path / "vocab.txt").write_text(vocab)
    qa = {"id": "q", "question": "人", "answers": [{"text": "国", "answer_start": 1}]}
    paragraph = {"context": "中国人", "qas": [qa]}
    content = json.dumps({"data": [{"paragraphs": [paragraph]}]})
    (tmp_path / "train.json").write_text(content)
    (tmp_path / "dev.json").write_text(content)
    flags += ["--language=zh", "--train_batch_size=1", "--num_train_epochs=30"]
    run(*flags, "--do_train", "--do_predict")
    assert read_json(tmp_path / "out/predictions.json") == {"q": "国"}
    assert tiny.read_results(tmp_path / "out/eval_results.txt")["exact_match"] == 100


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train_file="], "--train_file is not given"),
        (["--do_predict", "--predict_file="], "--predict_file is not given"),
        (["--doc_stride=17"], "--doc_stride=17; wanted 1 to 16"),
        (["--max_query_length=21"], "--max_seq_length=24 must be greater"),
        (["--max_seq_length=41"], "--max_seq_length=41.*max_position_embeddings=40"),
        (["--n_best_size=0"], "--n_best_size=0"),
        (["--train_batch_size=500", "--num_train_epochs=1"], "60 training examples"),
        (["--language=zh", "--version_2_with_negative"], "--language=zh"),
        (["--predict_file=nowhere.json", "--do_predict"], "nowhere.json: no such file"),
    ],
)
def test_impossible_flags_name_themselves(tmp_path, flags, message):
    command = tiny_squad.flags(tmp_path, tmp_path / "out")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(*command, "--do_train", *flags)
    assert not (tmp_path / "out").exists()


def test_bad_data_stop_the_run_before_training(tmp_path):
    flags = tiny_squad.flags(tmp_path, tmp_path / "out")
    content = read_json(tmp_path / "dev.json")
    del content["data"][0]["paragraphs"][3]["qas"][0]["question"]
    (tmp_path / "dev.json").write_text(json.dumps(content))
    message = r"dev.json, .*paragraphs\[3\].*'question-1-3'.*no key 'question'"
    with pytest.raises(ValueError, match=message):
        run(*flags, "--do_train", "--do_predict")
    assert not (tmp_path / "out").exists()


def test_scores_need_answers(tmp_path):
    flags = tiny_squad.flags(tmp_path, tmp_path / "out")
    content = read_json(tmp_path / "dev.json")
    del content["data"][0]["paragraphs"][3]["qas"][0]["answers"]
    (tmp_path / "dev.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="--do_eval: .*dev.json has questions without"):
        run(*flags, "--do_train", "--do_eval")


def test_a_folder_of_another_task_is_refused(tmp_path):
    flags = tiny_squad.flags(tmp_path, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/task.json").write_text('{"task_name": "mrpc"}')
    with pytest.raises(ValueError, match="task.json is not of a model that run_squad"):
        run(*flags, "--do_predict")


ONE_EPOCH = ("--num_train_epochs=1", "--keep_optimizer=all")


def test_a_frozen_encoder_gives_features_without_dropout(tmp_path):
    trained = []
    for rate in (0.0, 0.5):
        output = tmp_path / f"out-{rate}"
        flags = tiny_squad.flags(tmp_path, output, train=16)
        config = dataclasses.replace(tiny.CONFIG, hidden_dropout_prob=rate)
        (tmp_path / "bert_config.json").write_text(config.to_json_string())
        run(*flags, "--do_train", "--nofinetune_encoder", *ONE_EPOCH)
        trained.append(tensors(output / "model.ckpt-2"))
    for name, tensor in trained[0].items():
        np.testing.assert_array_equal(trained[1][name], tensor, name)
    assert any(name.endswith("output_bias/adam_m") for name in trained[0])
