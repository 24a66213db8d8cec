"""One's own file is enough, and afterwards the trained folder is."""

import csv
import json

import numpy as np
import pytest
import scripts
import tickets
import tiny
from sklearn.utils.class_weight import compute_class_weight

from data_pipeline.readers import splits
from data_pipeline.readers.examples import InputExample
from inference import baselines
from metrics import bag_of_words
from tasks.classification import balanced_weights

pytestmark = pytest.mark.long


def rows(number=64):
    """Rows of the tiny model's words; the label is the word that decides."""
    return [(e.text_a, e.label) for e in tiny.examples(number)]


@pytest.fixture
def model(tmp_path):
    """Flags of the tiny model; the vocabulary is lost after training."""
    vocab, config = tiny.write_model(tmp_path)
    return [
        *(f"--vocab_file={vocab}", f"--bert_config_file={config}"),
        *("--max_seq_length=24", "--train_batch_size=8", "--learning_rate=1e-3"),
        *("--num_train_epochs=1", f"--output_dir={tmp_path}/model"),
    ]


def run(*flags):
    scripts.run("run_classifier", *flags)


def test_a_file_is_enough_to_train_and_the_folder_to_predict(tmp_path, model):
    path = tickets.write(
        tmp_path / "t.csv", rows(), ("Beschreibung", "Kategorie"), ";", "cp1252"
    )
    run(*model, f"--train_file={path}", "--do_train", "--do_eval", "--holdout=0.25")
    out = tmp_path / "model"
    task = json.loads((out / "task.json").read_text())
    assert task["task_name"] == "custom"
    assert (task["text_a_column"], task["label_column"]) == (
        "Beschreibung",
        "Kategorie",
    )
    with open(out / "split/dev.csv", newline="") as file:
        held_out = list(csv.reader(file))
    assert held_out[0] == ["Beschreibung", "Kategorie"]
    assert len(held_out) == 1 + 16
    kept = (out / "split/train.csv").read_text().splitlines()
    assert sorted([*kept[1:], *(",".join(r) for r in held_out[1:])]) == sorted(
        ",".join(row) for row in rows()
    )
    scores = tiny.read_results(out / "eval_results.txt")
    again = [*model, f"--train_file={path}", "--do_train", "--do_eval"]
    with pytest.raises(ValueError, match=r"split/train\.csv is there already"):
        run(*again, "--holdout=0.5")
    # Files without labels have no scores, and leave none of earlier ones.
    labelled = f"--test_file={out}/split/dev.csv"
    run(f"--output_dir={out}", "--do_predict", labelled)
    found = tiny.read_results(out / "test_metrics.txt")
    assert found["test_accuracy"] == pytest.approx(scores["eval_accuracy"])
    new = tmp_path / "new.csv"
    new.write_text("id,Beschreibung\n1,good word3\n2,bad\n")
    run(f"--output_dir={out}", "--do_predict", f"--test_file={new}")
    assert np.loadtxt(out / "test_results.tsv").shape == (2, 2)
    assert not (out / "test_metrics.txt").exists()


def test_each_row_is_predicted_by_a_model_that_has_not_seen_it(tmp_path, model, capsys):
    path = tickets.write(tmp_path / "t.csv", rows(40))
    flags = ["--do_train", "--cross_validation=2", "--baselines"]
    run(*model, f"--train_file={path}", *flags, "--class_weights=balanced")
    out = tmp_path / "model"
    scores = tiny.read_results(out / "eval_results.txt")
    folds = [tiny.read_results(out / f"fold_{i}/eval_results.txt") for i in (1, 2)]
    accuracies = [fold["eval_accuracy"] for fold in folds]
    assert scores["eval_accuracy"] == pytest.approx(np.mean(accuracies))
    assert scores["eval_accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
    with open(out / "eval_predictions.tsv", newline="") as file:
        found = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["text_a"], row["gold"]) for row in found] == rows(40)
    right = [row["gold"] == row["predicted"] for row in found]
    assert np.mean(right) == pytest.approx(scores["eval_accuracy"])
    for row in found:
        both = (float(row[f"probability:{label}"]) for label in ("bad", "good"))
        assert sum(both) == pytest.approx(1, abs=1e-5)
    wanted = []
    examples = tiny.examples(40)
    for parts in splits.folds(examples, 2, seed=0):
        train, held_out = ([examples[i] for i in part] for part in parts)
        texts, labels = ([getattr(e, x) for e in train] for x in ("text_a", "label"))
        predicted = bag_of_words.predict(texts, labels, [e.text_a for e in held_out])
        wanted.append(np.mean(predicted == [e.label for e in held_out]))
    known = tiny.read_results(out / "baselines.txt")
    assert known["bag_of_words_accuracy"] == pytest.approx(np.mean(wanted))
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["accuracy", "macro_f1"]
    assert [line.split("  ")[0] for line in shown[1:]] == ["this model", "bag_of_words"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--data_dir is not given, nor are files"),
        (["--data_dir=d"], "--task_name is not given"),
        (
            ["--train_file=t.csv", "--do_eval"],
            "--do_eval needs --dev_file or --hold",
        ),
        (["--train_file=t.csv", "--task_name=mrpc"], "is of --task_name=custom, not m"),
        (
            ["--train_file=t.csv", "--holdout=1"],
            "--holdout=1.0: wanted a share above",
        ),
        (["--data_dir=d", "--holdout=0.5"], "--holdout needs --do_train and --train_f"),
        (["--train_file=t.csv", "--holdout=0.5"], "--holdout needs --do_eval"),
        (
            ["--train_file=t.csv", "--holdout=0.5", "--cross_validation=3"],
            "--holdout and --cross_validation exclude",
        ),
        (
            ["--train_file=t.csv", "--cross_validation=3", "--seeds=2"],
            "--cross_validation and --seeds exclude",
        ),
        (
            ["--train_file=t.csv", "--baselines"],
            "--baselines needs --do_train and",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(model, flags, message):
    with pytest.raises(ValueError, match=message):
        run(*model, "--do_train", *flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--main_metric=f2"],
            "--main_metric=f2; known for this task: accuracy,",
        ),
        (["--label_kind=multi_label", "--class_weights=balanced"], "of one label each"),
        (["--delimiter=::"], "--delimiter='::': wanted one character"),
        (
            ["--text_a_column=Text"],
            r"t\.csv: no column 'Text'; found \['text'",
        ),
    ],
)
def test_what_only_the_data_tell_is_refused_before_anything_is_made(
    tmp_path, model, flags, message
):
    path = tickets.write(tmp_path / "t.csv", rows())
    with pytest.raises(ValueError, match=message):
        run(*model, "--do_train", f"--train_file={path}", *flags)
    assert not (tmp_path / "model").exists()


def test_the_main_metric_picks_the_best_checkpoint(tmp_path, model):
    path = tickets.write(tmp_path / "t.csv", rows())
    flags = ["--do_train", "--do_eval", "--holdout=0.25", "--main_metric=macro_f1"]
    run(*model, f"--train_file={path}", *flags)
    out = tmp_path / "model"
    assert json.loads((out / "task.json").read_text())["main_metric"] == "macro_f1"
    assert (out / "best/eval_results.txt").exists()


def test_balanced_weights_are_scikit_learns():
    labels = ["b", "a", "b", "b", "c"]
    found = [InputExample(str(i), "", None, label) for i, label in enumerate(labels)]
    wanted = compute_class_weight("balanced", classes=np.array(list("abc")), y=labels)
    assert balanced_weights(found, ("c", "none", "a", "b")) == pytest.approx(
        (wanted[2], 1.0, wanted[0], wanted[1])
    )


def test_weights_are_in_the_loss_of_training_alone(tmp_path):
    plain = tiny.task(tmp_path)
    weighted = type(plain)(plain.config, plain.system, class_weights=(3.0, 0.5))
    model = plain.build_model(dtype="float32", fused=False, seed=1)
    records = plain.records("train", tiny.examples(12), str(tmp_path))
    batch = next(iter(plain.eval_batches(records, batch_size=12)))
    losses = plain.predict(model, batch)["loss"].numpy()
    np.testing.assert_array_equal(weighted.predict(model, batch)["loss"], losses)
    weights = np.where(batch["label_ids"] == 0, 3.0, 0.5)
    found = weighted.loss_sums(model, batch, None)["loss"]
    assert float(found) == pytest.approx((weights * losses).sum(), rel=1e-5)
    assert float(plain.loss_sums(model, batch, None)["loss"]) == pytest.approx(
        losses.sum(), rel=1e-5
    )


def test_a_table_of_scores_is_aligned():
    found = baselines.table({"this model": {"accuracy": 0.5}, "bag": {"accuracy": 1.0}})
    assert found == "            accuracy\nthis model  0.500\nbag         1.000"
