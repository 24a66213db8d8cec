"""Metrics against values worked out by hand or printed in the literature."""

import math
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import metrics
from metrics import classification, similarity

ROOT = pathlib.Path(__file__).resolve().parent.parent
# entity_f1 is of sentences: test_metrics_tagging.py.
OF_ARRAYS = sorted(set(metrics.METRICS) - {"entity_f1"})

# Anscombe (1973), "Graphs in Statistical Analysis", data set I: r = 0.816.
ANSCOMBE_X = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
ANSCOMBE_Y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]

# tp 2, fp 1, fn 1, tn 3.
BINARY_TARGETS = [1, 1, 1, 0, 0, 0, 0]
BINARY_PREDICTIONS = [1, 1, 0, 1, 0, 0, 0]

# Per label (tp, fp, fn): (1, 1, 1), (2, 0, 0), (0, 0, 1).
MULTI_TARGETS = [[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]]
MULTI_PREDICTIONS = [[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_binary_metrics_equal_their_formulas_on_a_counted_table():
    results = metrics.compute(
        ("accuracy", "f1", "matthews_correlation"), BINARY_TARGETS, BINARY_PREDICTIONS
    )
    assert list(results) == ["accuracy", "f1", "matthews_correlation"]
    assert results["accuracy"] == pytest.approx(5 / 7)
    assert results["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    expected = (2 * 3 - 1 * 1) / math.sqrt(3 * 3 * 4 * 4)
    assert results["matthews_correlation"] == pytest.approx(expected)
    assert all(type(value) is float for value in results.values())


def test_f1_is_of_class_one_and_not_symmetric():
    flipped = [1 - value for value in BINARY_TARGETS]
    flipped_predictions = [1 - value for value in BINARY_PREDICTIONS]
    score = classification.f1(flipped, flipped_predictions)["f1"]
    assert score == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))


def test_macro_f1_weighs_classes_and_micro_f1_weighs_examples():
    targets = [0, 0, 0, 0, 1, 2, 2]
    predictions = [0, 0, 0, 1, 1, 1, 2]
    # F1 by class: 6/7, 2/4, 2/3.
    macro = classification.macro_f1(targets, predictions)["macro_f1"]
    assert macro == pytest.approx((6 / 7 + 1 / 2 + 2 / 3) / 3)
    micro = classification.micro_f1(targets, predictions)["micro_f1"]
    assert micro == pytest.approx(5 / 7)


def test_multi_label_scores_equal_counts_over_labels():
    names = ("micro_f1", "macro_f1", "exact_match")
    results = metrics.compute(names, MULTI_TARGETS, MULTI_PREDICTIONS)
    assert results["micro_f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert results["macro_f1"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert results["exact_match"] == pytest.approx(1 / 4)


def test_matthews_correlation_takes_more_than_two_classes():
    # Gorodkin (2004): (n*trace - sum t_k p_k) / sqrt((n^2 - |p|^2)(n^2 - |t|^2)).
    targets, predictions = [0, 0, 1, 1, 2], [0, 1, 1, 1, 2]
    result = classification.matthews_correlation(targets, predictions)
    numerator = 5 * 4 - (2 * 1 + 2 * 3 + 1 * 1)
    denominator = math.sqrt((25 - (1 + 9 + 1)) * (25 - (4 + 4 + 1)))
    assert result["matthews_correlation"] == pytest.approx(numerator / denominator)


def test_pearson_gives_anscombes_published_correlation():
    result = similarity.pearson(ANSCOMBE_X, ANSCOMBE_Y)["pearson"]
    assert result == pytest.approx(0.816, abs=5e-4)


def test_spearman_sees_order_only_and_shares_tied_ranks():
    assert similarity.spearman([1, 2, 3, 4], [1, 8, 27, 64]) == {
        "spearman": pytest.approx(1.0)
    }
    # Ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: Pearson of ranks is 4.5 / sqrt(4.5 * 5).
    tied = similarity.spearman([1, 2, 2, 3], [10, 30, 20, 40])["spearman"]
    assert tied == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_mse_is_the_mean_of_squares():
    assert similarity.mse([1.0, 2.0, 5.0], [1.5, 2.0, 3.0]) == {
        "mse": pytest.approx((0.25 + 0 + 4) / 3)
    }


@pytest.mark.parametrize("name", ["matthews_correlation", "pearson", "spearman"])
@pytest.mark.filterwarnings("error")
def test_constant_predictions_correlate_with_nothing(name):
    assert metrics.compute([name], [0, 1, 1], [1, 1, 1]) == {name: 0.0}
    assert metrics.compute([name], [1, 1, 1], [0, 1, 1]) == {name: 0.0}
    assert metrics.compute([name], [1], [1]) == {name: 0.0}


@pytest.mark.filterwarnings("error")
def test_f1_without_any_positive_is_zero():
    assert classification.f1([0, 0, 0], [0, 0, 0]) == {"f1": 0.0}


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_every_metric_of_arrays_refuses_lengths_that_differ_and_empty_input(name):
    width = (3,) if name == "exact_match" else ()
    with pytest.raises(ValueError, match=f"{name}.*differ in shape"):
        metrics.compute([name], np.zeros((2, *width)), np.zeros((5, *width)))
    with pytest.raises(ValueError, match=f"{name}.*empty"):
        metrics.compute([name], np.zeros((0, *width)), np.zeros((0, *width)))


@pytest.mark.parametrize("name", OF_ARRAYS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_every_metric_names_the_position_of_a_value_that_is_no_number(name, value):
    shape = (4, 1) if name == "exact_match" else (4,)
    predictions = np.ones(shape)
    predictions[2] = value
    with pytest.raises(ValueError, match=rf"{name}: predictions\[2.*is {value}"):
        metrics.compute([name], np.ones(shape), predictions)


def test_probabilities_are_not_taken_for_decisions():
    with pytest.raises(ValueError, match="holds 0.7.*not probabilities"):
        classification.accuracy([0, 1], [0.0, 0.7])
    with pytest.raises(ValueError, match=r"shape \(2, 3\), wanted 1 axes"):
        classification.accuracy(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="holds 2, wanted 0 or 1"):
        classification.exact_match([[0, 1]], [[0, 2]])


def test_f1_refuses_a_third_class():
    with pytest.raises(ValueError, match=r"got also \[2\].*macro_f1"):
        classification.f1([0, 1, 1], [0, 1, 2])


def test_compute_names_unknown_metrics_and_lists_the_known():
    with pytest.raises(ValueError, match=r"\['bleu'\].*matthews_correlation"):
        metrics.compute(["accuracy", "bleu"], [1], [1])


def test_importing_metrics_does_not_import_its_heavy_helpers():
    code = "import sys, metrics; print({'sklearn', 'scipy'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert result.stdout.strip() == "set()", result.stderr
