"""The file of tasks and the rows of the tasks; every fault is one line."""

import re

import pytest

from data_pipeline.readers import mt_dnn, task_file
from data_pipeline.readers.ranking import Counts
from errors import UserError

TABLE = "text_a_column: t, label_column: l"
PAIR = "data_format: PremiseAndOneHypothesis, task_type: Classification"


def read(tmp_path, text):
    path = tmp_path / "tasks.yml"
    path.write_text(text)
    return task_file.read(str(path))


def reader(tmp_path, text):
    (entry,) = read(tmp_path, text)
    return mt_dnn.processor(entry)


def test_a_file_in_the_parents_form_is_read(tmp_path):
    mnli, sts, mrpc = read(
        tmp_path,
        "mnli:\n"
        "  data_format: PremiseAndOneHypothesis\n"
        "  dropout_p: 0.3\n"
        "  enable_san: true\n"
        "  labels:\n"
        "  - contradiction\n"
        "  - no\n"  # YAML 1.1 would take it for false
        "  - 3\n"
        "  metric_meta:\n"
        "  - ACC\n"
        "  loss: CeCriterion\n"
        "  kd_loss: MseCriterion\n"  # these two are in all of the parent's files
        "  adv_loss: SymKlCriterion\n"
        "  n_class: 3\n"
        "  split_names: [train, matched_dev, mismatched_dev, matched_test]\n"
        "  task_type: Classification\n"
        "stsb:\n"
        "  data_format: PremiseAndOneHypothesis\n"
        "  enable_san: false\n"
        "  metric_meta: [Pearson, Spearman]\n"
        "  n_class: 1\n"
        "  loss: MseCriterion\n"
        "  task_type: Regression\n"
        "mrpc:\n"
        "  data_dir: MRPC\n",
    )
    assert mnli.labels == ("contradiction", "no", "3")
    assert (mnli.dropout_p, mnli.san, mnli.metrics) == (0.3, True, ("accuracy",))
    assert mnli.main_split("dev") == "matched_dev"
    assert mnli.path("data", "train") == "data/mnli_train.tsv"
    assert (sts.labels, sts.metrics) == ((), ("pearson", "spearman"))
    assert (mrpc.task_type, mrpc.data_format, mrpc.data_dir) == (None, None, "MRPC")
    assert mt_dnn.processor(mrpc).main_metric == "f1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cola:\nmrpc:\ncola:\n", "line 3: cola is there twice"),
        (f"a: {{{PAIR}, n_class: 2, n_class: 3}}", "line 1: n_class is there twice"),
        ("a: {class: 2}", "a: unknown key class; known: data_format, task_type"),
        ("a: {encoder_type: BERT}", "a: unknown key encoder_type; known: data_for"),
        ("? [a]\n: {}\n", "line 1: a key that is no word"),
        ("a: " + 5000 * "[", "nested more deeply than tasks are"),
        ("a: {data_format: Seqence}", "data_format is 'Seqence'; wanted one of Prem"),
        ("a: {data_format: PremiseOnly}", "task_type is missing"),
        (f"a: {{{PAIR}}}", "wanted labels, or their number, n_class"),
        (f"a: {{{PAIR}, n_class: 3, labels: [x, y]}}", "n_class is 3, but there are 2"),
        (f"a: {{{PAIR}, labels: [x, x]}}", "labels has x more than once"),
        (f"a: {{{PAIR}, labels: [x]}}", "1 label; wanted 2 or more"),
        (f"a: {{{PAIR}, labels: x}}", "labels is 'x'; wanted a list of names"),
        (f"a: {{{PAIR}, n_class: two}}", "n_class is 'two'; wanted a number"),
        (f"a: {{{PAIR}, n_class: 2, loss: MseCriterion}}", "loss is MseCriterion; "),
        (
            f"a: {{{PAIR}, n_class: 2, metric_meta: [MAP]}}",
            "metric_meta has map, which",
        ),
        (f"a: {{{PAIR}, n_class: 2, metric_meta: [AUC]}}", "metric_meta has AUC; want"),
        (f"a: {{{PAIR}, n_class: 2, dropout_p: 1}}", "dropout_p is 1; wanted from 0"),
        (f"a: {{{PAIR}, n_class: 2, enable_san: 1}}", "enable_san is 1; wanted true"),
        (f"a: {{{PAIR}, n_class: 2, split_names: [dev]}}", "wanted train, and names"),
        (
            "a: {data_format: PremiseOnly, task_type: Classification, n_class: 2, "
            "enable_san: true}",
            "enable_san is for the classification of pairs",
        ),
        (
            "a: {data_format: PremiseOnly, task_type: Ranking}",
            "data_format is PremiseOnly and task_type Ranking",
        ),
        ("a/b:\n", "a task's name has letters, digits, - and _ only"),
        ("a: {labels: [x, y]}", "labels is of a task with a data_format"),
        ("a: {text_a_column: t}", "a: label_column is missing"),
        ("a: {text_b_column: t, label_column: l}", "a: text_a_column is missing"),
        (f"a: {{{TABLE}, n_class: 2}}", "n_class is of a task with a data_format"),
        (f"a: {{{TABLE}, task_type: Ranking}}", "a Ranking has no columns with names"),
        (f"a: {{{TABLE}, task_type: Regression, labels: [x, y]}}", "has no labels"),
        (f"a: {{{TABLE}, {PAIR}, n_class: 2}}", "text_a_column is of tables; a data_f"),
        ("- a\n", "wanted tasks by their names, got"),
        ("a: 3\n", "a: wanted keys and their values, got 3"),
        ("a: {data_dir: [x]}", r"data_dir is \['x'\]; wanted a text"),
        ("a: [\n", "line 2: "),
    ],
)
def test_a_fault_is_told_by_file_and_task(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'tasks.yml'}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n", "no task of run_classifier.py has this name; known: cola, mnli"),
        ("cola: {task_type: Regression}", "task_type is Regression, but the task is "),
        ("sts-b: {enable_san: true}", "enable_san is for the classification"),
        ("sts-b: {metric_meta: [ACC]}", "metric_meta has accuracy, which no Regr"),
    ],
)
def test_a_named_task_is_what_it_is(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        reader(tmp_path, text)


def test_a_table_of_ones_own_has_named_columns(tmp_path):
    (tmp_path / "train.csv").write_text('t,u,l\n"a, b",c,y\nd,e,x\n')
    (tmp_path / "dev.jsonl").write_text('{"t": "f", "u": "g", "l": "z"}\n')
    pairs = reader(tmp_path, f"a: {{{TABLE}, text_b_column: u}}")
    train = pairs.get_train_examples(str(tmp_path))
    assert [(e.text_a, e.text_b, e.label) for e in train] == [
        ("a, b", "c", "y"),
        ("d", "e", "x"),
    ]
    assert (pairs.get_labels(), pairs.output_kind) == (["x", "y"], "single_label")
    with pytest.raises(UserError, match="dev.jsonl, line 1: unknown label 'z'"):
        pairs.get_dev_examples(str(tmp_path))
    given = reader(tmp_path, f"a: {{{TABLE}, labels: [z, y, x]}}")
    assert given.get_dev_examples(str(tmp_path))[0].text_b is None
    assert given.get_labels() == ["z", "y", "x"]
    scores = reader(tmp_path, f"a: {{{TABLE}, task_type: Regression}}")
    assert (scores.output_kind, scores.main_metric) == ("regression", "pearson")


def test_labels_that_differ_between_train_and_dev_are_told_by_file_and_line(tmp_path):
    found = reader(tmp_path, f"a: {{{PAIR}, labels: [x, y, z]}}")
    (tmp_path / "a_train.tsv").write_text("0\tx\tp\th\n1\ty\tp\th\n")
    dev = tmp_path / "a_dev.tsv"
    dev.write_text("0\tx\tp\th\n1\tw\tp\th\n")
    train = found.get_train_examples(str(tmp_path))
    assert [e.label for e in train] == ["x", "y"]
    assert (train[1].guid, train[1].text_a, train[1].text_b) == ("train-1", "p", "h")
    with pytest.raises(UserError, match="a_dev.tsv, line 2: unknown label 'w'"):
        found.get_dev_examples(str(tmp_path))
    dev.write_text("0\tx\tp\th\n1\tz\tp\th\n")
    message = "a_dev.tsv, line 2: label 'z', which no row of .*a_train.tsv has"
    with pytest.raises(UserError, match=message):
        found.get_dev_examples(str(tmp_path))
    dev.write_text("0\tx\tp\n")
    with pytest.raises(UserError, match="a_dev.tsv, line 1: wanted 4 fields"):
        found.get_dev_examples(str(tmp_path))


def test_a_test_set_may_have_no_labels(tmp_path):
    found = reader(tmp_path, f"a: {{{PAIR}, n_class: 2}}")
    (tmp_path / "a_test.tsv").write_text("0\t\tp\th\n1\t1\tp\th\n")
    labels = [e.label for e in found.get_test_examples(str(tmp_path))]
    assert labels == [None, "1"]


RANKING = "a: {data_format: PremiseAndMultiHypothesis, task_type: Ranking%s}"


def test_the_parents_questions_are_read_and_those_without_an_answer_counted(tmp_path):
    (tmp_path / "a_train.tsv").write_text(
        "0,1,2\t0,1,0\tq\tc0\tc1\tc2\n3\t0\tq3\tc3\n4,5\t1,1\tq4\tc4\tc5\n"
    )
    found = reader(tmp_path, RANKING % "").get_train_examples(str(tmp_path))
    assert found[0].candidates == ("c0", "c1", "c2")
    assert found[0].right == (False, True, False)
    assert Counts.of(found) == Counts(3, 3, none_right=1, none_wrong=1)
    assert Counts.of(found).comparable == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,1\t0,1\tq\tc0\n", "line 2: 2 labels, but 1 candidates"),
        ("0\t0\tq\n", "line 2: wanted uids, labels, a question and one or more"),
        ("0\tyes\tq\tc0\n", "line 2: wanted a finite number, got 'yes'"),
    ],
)
def test_a_broken_question_is_told_by_its_line(tmp_path, row, message):
    (tmp_path / "a_dev.tsv").write_text("0\t1\tq\tc\n" + row)
    found = reader(tmp_path, RANKING % "")
    with pytest.raises(UserError, match=message):
        found.get_dev_examples(str(tmp_path))


def test_named_labels_of_a_ranking_put_the_worst_first(tmp_path):
    (tmp_path / "a_dev.tsv").write_text("0,1,2\tno,yes,maybe\tq\ta\tb\tc\n")
    found = reader(tmp_path, RANKING % ", labels: [no, maybe, yes]")
    (question,) = found.get_dev_examples(str(tmp_path))
    assert question.right == (False, True, True)


def test_rows_of_a_question_are_put_together_wherever_they_stand(tmp_path):
    (tmp_path / "dev.csv").write_text('qtext,label,atext\nq,0,"a, b"\nr,1,c\nq,1,d\n')
    first, second = reader(tmp_path, "trecqa: {task_type: Ranking}").get_dev_examples(
        str(tmp_path)
    )
    assert first.candidates == ("a, b", "d")
    assert (first.right, second.right) == ((False, True), (True,))
    (tmp_path / "test.tsv").write_text("index\tquestion\tsentence\n0\tq\ta\n1\tq\tb\n")
    (question,) = reader(tmp_path, "qnli: {task_type: Ranking}").get_test_examples(
        str(tmp_path)
    )
    assert (question.candidates, question.right) == (("a", "b"), None)
    for name, text in (
        ("dev.csv", '"qtext","label","atext"\n"q","1","a"\n"q","0","b"\n'),
        (
            "dev.jsonl",
            '{"qtext": "q", "label": 1, "atext": "a"}\n'
            '{"qtext": "q", "label": 0, "atext": "b"}\n',
        ),
    ):
        for old in tmp_path.glob("dev.*"):
            old.unlink()
        (tmp_path / name).write_text(text)
        (question,) = reader(tmp_path, "x: {task_type: Ranking}").get_dev_examples(
            str(tmp_path)
        )
        assert (question.candidates, question.right) == (("a", "b"), (True, False))
    (tmp_path / "train.tsv").write_text("q\ta\nx\ty\n")
    with pytest.raises(UserError, match=re.escape("train.tsv: a ranking task has")):
        reader(tmp_path, "x: {task_type: Ranking}").get_train_examples(str(tmp_path))
