"""Comparisons of runs: paired tests beside scipy's, what is no difference, refusals."""

import dataclasses

import numpy as np
import pytest
import scripts
from absl import flags
from scipy import stats
from test_reports import answers, label_sets, labels, scores, tags

import command_line
import metrics
from errors import UserError
from metrics import comparison
from reports import compare, files


def write(folder, results, split=files.TEST):
    folder.mkdir(parents=True, exist_ok=True)
    files.write(str(folder), split, "", results, {}, {})
    return str(folder)


def better(results, share, seed=0):
    """The same rows, with so many of them set right."""
    rng = np.random.default_rng(seed)
    chosen = rng.random(len(results.gold)) < share
    right = np.eye(len(results.labels), dtype=np.float32)[results.gold]
    found = np.where(chosen[:, None], right, results.probabilities)
    return dataclasses.replace(results, probabilities=found)


@pytest.mark.parametrize(
    ("table", "p"),
    [  # statsmodels' tests of its exact test
        ([[101, 121], [59, 33]], 4.434444e-06),
        ([[101, 70], [59, 33]], 0.3784),
        ([[101, 10], [10, 33]], 1.0),
    ],
)
def test_mcnemar_is_the_published_one(table, p):
    counts = np.ravel(table)
    first = np.repeat([True, True, False, False], counts)
    second = np.repeat([True, False, True, False], counts)
    assert comparison.mcnemar(first, second) == pytest.approx(p, rel=2e-3)


def test_who_never_differ_are_alike():
    assert comparison.mcnemar(np.ones(5, bool), np.ones(5, bool)) == 1


ids, more = (np.random.default_rng(s).integers(0, 3, 200) for s in (0, 1))
several, others = (np.random.default_rng(s).integers(0, 2, (200, 4)) for s in (2, 3))
numbers = np.random.default_rng(4).normal(size=(2, 200)) + [[3], [5]]
IDS, SEVERAL = (ids, np.where(more == 1, ids, more)), (several, others)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("accuracy", IDS),
        ("macro_f1", IDS),
        ("matthews_correlation", IDS),
        ("f1", (ids % 2, more % 2)),
        ("micro_f1", SEVERAL),
        ("macro_f1", SEVERAL),
        ("exact_match", (several, np.where(others, several, others))),
        ("pearson", numbers),
        ("mse", numbers),
    ],
)
def test_sums_over_rows_make_the_metric(name, sides):
    found = getattr(comparison, name)(*sides)
    assert found.value == pytest.approx(metrics.compute([name], *sides)[name])
    # On a resampled set as well, where a class may be gone.
    rows = np.random.default_rng(5).integers(0, 200, 7)
    sums = found.rows[rows].sum(axis=0)
    wanted = metrics.compute([name], *(side[rows] for side in sides))[name]
    assert float(found.score(sums)) == pytest.approx(wanted)


def test_entities_of_sentences_make_their_f1():
    found = tags()
    wanted = metrics.compute(["entity_f1"], *found._sides())["f1"]
    assert found.row_sums("f1").value == pytest.approx(wanted)


def test_the_interval_is_that_of_scipys_paired_bootstrap():
    rng = np.random.default_rng(6)
    x = rng.normal(size=150)
    y = x + rng.normal(0.1, 0.7, size=150)
    found = comparison.bootstrap([comparison.mean(x)], [comparison.mean(y)], seed=1)
    wanted = stats.bootstrap(
        (x, y), lambda a, b, axis: b.mean(axis) - a.mean(axis), paired=True,
        method="percentile", n_resamples=9999, rng=2, vectorized=True,
    ).confidence_interval  # fmt: skip
    assert found.value == pytest.approx(np.mean(y - x))
    spread = np.std(y - x) / 150**0.5
    assert found.low == pytest.approx(wanted.low, abs=0.1 * spread)
    assert found.high == pytest.approx(wanted.high, abs=0.1 * spread)
    assert found.p == pytest.approx(stats.ttest_rel(x, y).pvalue, abs=0.02)


def test_seeds_widen_the_interval_by_their_spread():
    # Rows alike: all uncertainty is that of the seeds' means.
    seeds = [comparison.mean(np.full(40, x)) for x in (0.5, 0.6, 0.7, 0.8)]
    one = [comparison.mean(np.full(40, 0.6))]
    found = comparison.bootstrap(one, seeds, seed=3)
    error = np.std([0.5, 0.6, 0.7, 0.8], ddof=1) / 2
    draws = (found.high - found.low) / (2 * 1.96)
    assert found.value == pytest.approx(0.05)
    assert draws == pytest.approx(error, rel=0.1)


def test_chance_alone_is_seldom_called_a_difference():
    rng = np.random.default_rng(7)
    shown = 0
    for i in range(200):
        first, second = ([comparison.mean(x)] for x in rng.random((2, 80)) < 0.7)
        found = comparison.bootstrap(first, second, seed=i, samples=500)
        shown += found.p < compare.SIGNIFICANT
    # 5 in 100 are wanted: up to 9 in 100 of 200 are no surprise.
    assert 2 <= shown <= 18


KINDS = {"labels": lambda: labels(300), "sets": label_sets, "scores": scores,
         "tags": tags, "answers": answers}  # fmt: skip


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_run_is_no_better_than_itself(tmp_path, make):
    folder = write(tmp_path / "a", make())
    sides = compare.open_sides([folder, folder])
    for metric in sides[0].runs[0].metrics:
        if metric == "f1" and make is KINDS["labels"]:
            continue  # of two classes
        found = compare.compare(sides, metric, samples=200)
        assert found.verdict.startswith("No difference shown: B - A is +0.00")
        assert "p = 1.000" in found.verdict


def test_a_better_run_is_called_better_and_the_same_seed_says_the_same(
    tmp_path, capsys
):
    folders = [write(tmp_path / "a", labels(300))]
    folders.append(write(tmp_path / "b", better(labels(300), 0.3)))
    run_script(*folders, "--samples=500")
    said = capsys.readouterr().out
    assert "B is better by" in said
    assert "McNemar's exact test" in said
    assert "right in A alone: 0; in B alone:" in said
    run_script(*folders, "--samples=500")
    assert capsys.readouterr().out == said
    run_script(*folders[::-1])
    assert "\nA is better by" in capsys.readouterr().out


def run_script(*words):
    module = scripts.load("compare_runs")
    argv = ["compare_runs", *words]
    try:
        module.main(command_line.parse_flags(argv, words=("A", "B")))
    finally:
        flags.FLAGS.unparse_flags()


def test_seeds_of_one_system_are_no_different_and_of_a_better_one_are(tmp_path, capsys):
    for seed in range(3):
        rows = labels(300)
        write(tmp_path / "a" / f"seed_{seed}", better(rows, 0.2, seed))
        write(tmp_path / "same" / f"seed_{seed}", better(rows, 0.2, 10 + seed))
        write(tmp_path / "b" / f"seed_{seed}", better(rows, 0.8, seed))
    run_script(str(tmp_path / "a"), str(tmp_path / "same"))
    said = capsys.readouterr().out
    assert "No difference shown" in said
    assert "(3 runs)" in said
    run_script(str(tmp_path / "a"), str(tmp_path / "b"))
    said = capsys.readouterr().out
    assert "B is better by" in said
    assert "bootstrap over rows and seeds" in said


def test_the_dev_set_speaks_where_the_test_set_has_no_labels(tmp_path):
    rows = labels()
    folder = write(tmp_path / "a", dataclasses.replace(rows, gold=np.full(60, -1)))
    with pytest.raises(UserError, match="that both have with right answers"):
        compare.open_sides([folder, folder])
    write(tmp_path / "a", rows, files.DEV)
    assert compare.open_sides([folder, folder])[0].path.endswith("eval_predictions.tsv")


def test_other_rows_and_other_tasks_are_refused_in_a_line(tmp_path):
    folder = write(tmp_path / "a", labels())
    changed = labels()
    changed.texts["text_a"][3] = "another"
    cases = {
        "their columns are": dataclasses.replace(
            labels(), texts={"text_a": changed.ids, "text_b": changed.ids}
        ),
        "text_a of row 4 is": changed,
        "60 and 61 rows": labels(61),
        "they hold labels and scores": scores(),
    }
    for number, (message, results) in enumerate(cases.items()):
        other = write(tmp_path / str(number), results)
        with pytest.raises(UserError, match=message):
            compare.open_sides([folder, other])
    with pytest.raises(UserError, match=r"gone: no predictions.tsv and no eval_"):
        compare.open_sides([folder, str(tmp_path / "gone")])
    sides = compare.open_sides([folder, folder])
    with pytest.raises(UserError, match="--metric=bleu"):
        compare.compare(sides, "bleu")
    with pytest.raises(UserError, match="4 classes"):
        compare.compare(sides, "f1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "wanted A B, got nothing"),
        (["one"], "wanted A B, got one"),
        (["1", "2", "3"], "wanted A B, got 1 2 3"),
        (["1", "2", "--sed=3"], "--sed is no flag, --seed is"),
    ],
)
def test_wrong_words_are_told(words, message):
    with pytest.raises(UserError, match=message):
        run_script(*words)
