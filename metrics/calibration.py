"""Whether probabilities mean what they say (Guo et al. 2017), and mending them.

A decision's confidence is the probability of what was decided. Confidences are
calibrated if, of the decisions with confidence p, the share p is right. scipy is
imported on first use.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

BINS = 15  # Guo et al.'s
_SMALLEST = 1e-30  # of a probability, for its logarithm
_TEMPERATURES = (0.02, 50.0)


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Decisions in bins of equal width by their confidence.

    Attributes:
      edges: float [bins + 1], from 0 to 1; a bin has its upper edge.
      counts: int [bins], decisions in each.
      confidence: float [bins], their mean confidence; NaN in an empty bin.
      accuracy: float [bins], the share of them that is right; NaN in an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_error(self) -> float:
        """The expected calibration error, 0 to 1: Guo et al., equation 3."""
        used = self.counts > 0
        gaps = np.abs(self.accuracy - self.confidence)[used]
        return float(np.average(gaps, weights=self.counts[used]))


def reliability(
    confidence: ArrayLike, right: ArrayLike, bins: int = BINS
) -> Reliability:
    """Sorts decisions into bins by their confidence.

    Args:
      confidence: float [N], 0 to 1; at least one.
      right: bool [N].
      bins: how many there are.
    """
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    edges = np.linspace(0, 1, bins + 1)
    # 0 belongs to the first bin.
    places = np.maximum(np.searchsorted(edges, confidence, side="left") - 1, 0)
    places = np.minimum(places, bins - 1)  # rounding may bring one above 1
    counts = np.bincount(places, minlength=bins)

    def mean(values):
        sums = np.bincount(places, values, minlength=bins)
        return np.where(counts, sums / np.maximum(counts, 1), np.nan)

    return Reliability(edges, counts, mean(confidence), mean(right))


def coverage(confidence: ArrayLike, right: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy of the most confident decisions, as more and more of them count.

    Args:
      confidence: float [N], 0 to 1; at least one.
      right: bool [N], or float [N] of scores from 0 to 1.

    Returns:
      The thresholds that can be told apart, float [T], descending, and of the decisions
      with at least that confidence: their share of all, and the mean of `right`; float
      [T, 2].
    """
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    order = np.argsort(-confidence, kind="stable")
    thresholds = confidence[order]
    last = np.append(thresholds[1:] != thresholds[:-1], True)
    counts = np.arange(1, len(order) + 1)
    curve = np.stack([counts / len(order), np.cumsum(right[order]) / counts], axis=1)
    return thresholds[last], curve[last]


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Divides by a temperature the logits whose softmax probabilities are.

    Args:
      probabilities: float [N, L], rows that sum to 1.
      temperature: above 0; 1 changes nothing, more makes the rows more alike.

    Returns:
      As `probabilities`, of their type.
    """
    if temperature == 1.0:
        return probabilities
    logits = np.log(np.maximum(probabilities, _SMALLEST).astype(float)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(probabilities.dtype)


def log_loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Minus the mean log likelihood of the right classes, in nats.

    Args:
      probabilities: float [N, L].
      targets: int [N], class ids.
    """
    right = np.take_along_axis(probabilities, targets[:, None], axis=1)
    return float(-np.log(np.maximum(right, _SMALLEST)).mean())


def fit_temperature(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Finds the temperature of the highest likelihood (Guo et al., section 4.2).

    Args:
      probabilities: float [N, L], rows that sum to 1; N at least 1.
      targets: int [N], the right class ids.

    Returns:
      The temperature, from 0.02 to 50. Where every decision is right, or no better
      than chance, the likelihood has no highest point and it is one of the two.
    """
    from scipy import optimize

    def loss(log_temperature):
        return log_loss(scaled(wide, float(np.exp(log_temperature))), targets)

    wide = np.asarray(probabilities, np.float64)
    found = optimize.minimize_scalar(
        loss, bounds=np.log(_TEMPERATURES), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))
