"""Calibration, temperatures and coverage, beside others' figures and libraries."""

import numpy as np
import pytest
from scipy import special
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from errors import UserError
from metrics import calibration
from tasks import calibration as files


@pytest.mark.parametrize(
    ("confidence", "right", "bins", "error"),
    [  # the examples of torchmetrics' documentation, norm="l1"
        ([0.25, 0.25, 0.55, 0.75, 0.75], [0, 0, 1, 1, 1], 2, 0.29),
        ([0.55, 0.55, 0.60, 0.90], [0, 0, 1, 1], 3, 0.2),
    ],
)
def test_the_expected_error_is_the_published_one(confidence, right, bins, error):
    found = calibration.reliability(confidence, right, bins)
    assert found.expected_error == pytest.approx(error)


def test_the_reliability_curve_is_scikit_learns():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.3, 1, 997)
    right = rng.random(997) < confidence**2
    found = calibration.reliability(confidence, right, 10)
    accuracy, mean = calibration_curve(right, confidence, n_bins=10)
    used = found.counts > 0
    np.testing.assert_allclose(found.accuracy[used], accuracy)
    np.testing.assert_allclose(found.confidence[used], mean)
    gaps = np.abs(accuracy - mean) @ np.histogram(confidence, found.edges)[0][used]
    assert found.expected_error == pytest.approx(gaps / 997)


def test_the_temperature_of_two_classes_is_that_of_a_logistic_regression():
    rng = np.random.default_rng(1)
    margin = rng.normal(size=500) * 4
    labels = (rng.random(500) < special.expit(margin / 2.5)).astype(int)
    probabilities = special.softmax(np.stack([0 * margin, margin], 1), axis=1)
    found = calibration.fit_temperature(probabilities, labels)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-9)
    slope = model.fit(margin[:, None], labels).coef_[0, 0]
    assert found == pytest.approx(1 / slope, rel=1e-3)
    assert 2 < found < 3


def test_scaling_divides_the_logits_and_changes_no_decision():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(11, 5)) * 6
    probabilities = special.softmax(logits, axis=1)
    scaled = calibration.scaled(probabilities, 1.7)
    np.testing.assert_allclose(scaled, special.softmax(logits / 1.7, axis=1))
    assert calibration.scaled(probabilities, 1.0) is probabilities


def test_coverage_counts_those_of_one_confidence_together():
    thresholds, curve = calibration.coverage([0.5, 0.9, 0.5, 0.7], [1, 1, 0, 0])
    assert thresholds.tolist() == [0.9, 0.7, 0.5]
    np.testing.assert_allclose(curve, [[0.25, 1], [0.5, 0.5], [1, 0.5]])


def test_a_temperature_is_of_the_weights_that_it_was_fitted_for(tmp_path, caplog):
    prefix = str(tmp_path / "model.ckpt-7")
    (tmp_path / "model.ckpt-7.index").write_bytes(b"sums of tensors")
    assert files.read(prefix) == 1
    files.write(prefix, 1.5, 30)
    assert files.read(prefix) == files.read(f"{prefix}.index") == 1.5
    (tmp_path / "model.ckpt-7.index").write_bytes(b"others")
    assert files.read(prefix) == 1
    assert "--calibrate fits it anew" in caplog.text
    (tmp_path / files.FILE).write_text("{}")
    with pytest.raises(UserError, match=r"calibration.json: keys \[\]"):
        files.read(prefix)
