"""What a report tells of confidences: are they calibrated, and who may abstain?"""

import numpy as np

from metrics import calibration
from reports import drawing
from reports.page import Section, Table

_SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5, 0.25)


def calibration_section(
    confidence: np.ndarray, right: np.ndarray, lines: list[str], of: str = "accuracy"
) -> Section:
    """Tells how far confidence and accuracy are apart.

    Args:
      confidence: float [N].
      right: bool [N].
      lines: what else is to be said.
      of: what the share of right decisions is called.
    """
    found = calibration.reliability(confidence, right)
    used = np.flatnonzero(found.counts)
    rows = [
        (
            f"{found.edges[i]:.2f} to {found.edges[i + 1]:.2f}",
            int(found.counts[i]),
            float(found.confidence[i]),
            float(found.accuracy[i]),
        )
        for i in used
    ]
    lines = [
        f"Expected calibration error {found.expected_error:.4f} (Guo et al. 2017, "
        f"{calibration.BINS} bins of equal width); mean confidence "
        f"{confidence.mean():.4f}, {of} {np.mean(right):.4f}.",
        *lines,
    ]
    header = ("confidence", "decisions", "mean confidence", of)
    table = Table(header, rows, "Reliability", drawn=True)
    picture = drawing.reliability(found, "Reliability diagram", of)
    return Section("Calibration", lines, [table], [picture])


def coverage_section(
    confidence: np.ndarray,
    right: np.ndarray,
    unsure_below: float | None,
    of: str = "accuracy",
) -> Section:
    """Tells how right the most confident are, if the others are left unanswered.

    Args:
      confidence: float [N].
      right: bool [N], or float [N] of scores from 0 to 1.
      unsure_below: the confidence below which a row counts as unsure; None: not asked.
      of: what the mean of `right` is called.
    """
    thresholds, curve = calibration.coverage(confidence, right)
    shares = curve[:, 0]
    # The fewest decisions that make up a share.
    places = sorted({int(np.searchsorted(shares, s - 1e-9)) for s in _SHARES})[::-1]
    rows = [(*map(float, curve[i]), float(thresholds[i])) for i in places]
    lines, chosen = [], None
    if unsure_below is not None:
        sure = confidence >= unsure_below
        lines = [
            f'Below {unsure_below:g} a prediction is "unsure": {np.sum(~sure):,} of '
            f"{len(sure):,} rows. "
            + (
                f"Of the others ({sure.mean():.1%}) {of} is {np.mean(right[sure]):.4f}."
                if sure.any()
                else "There are no others."
            )
        ]
        if sure.any():
            chosen = float(sure.mean()), float(np.mean(right[sure]))
    table = Table(
        ("coverage", of, "least confidence"), rows, "Answering less", drawn=True
    )
    picture = drawing.coverage(curve, f"{of} against coverage", of, chosen)
    return Section(f"{of.capitalize()} against coverage", lines, [table], [picture])


def confidence_section(confidence: np.ndarray, unsure_below: float | None) -> Section:
    """Tells how confident the model is where nobody knows what is right."""
    counts, edges = np.histogram(confidence, bins=10, range=(0, 1))
    rows = [
        (f"{low:.1f} to {high:.1f}", int(count))
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
        if count
    ]
    lines = [f"Mean confidence {confidence.mean():.4f}."]
    if unsure_below is not None:
        unsure = int(np.sum(confidence < unsure_below))
        lines.append(
            f'Below {unsure_below:g} a prediction is "unsure": {unsure:,} of '
            f"{len(confidence):,} rows."
        )
    return Section("Confidence", lines, [Table(("confidence", "rows"), rows)])
