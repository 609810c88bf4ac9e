"""Whether scores are probabilities: of answers of 0.8, 80% should be right."""

import dataclasses

import numpy as np

from actx_tf.utils.checks import check_positive


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How sure answers are, and how often they are right.

    Attributes:
        edges: Borders of the bins, floats `(bins + 1,)` from 0 to 1. A bin
            holds its upper border, and the first holds 0 too.
        counts: Number of answers in each bin, integers `(bins,)`.
        confidences: Mean score in each bin, NaN where it is empty.
        accuracies: Share of the bin's answers that are right, NaN where it is
            empty.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidences: np.ndarray
    accuracies: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error; NaN without any answer.

        ```
        ECE = sum_m |B_m| / n |acc(B_m) - conf(B_m)|
        ```
        """
        if not self.counts.any():
            return float("nan")
        gaps = np.abs(self.accuracies - self.confidences)
        # Empty bins have no gap.
        total = np.sum(self.counts * np.where(self.counts > 0, gaps, 0.0))
        return float(total / self.counts.sum())


def calibration(
    scores: np.ndarray, right: np.ndarray, bins: int = 15
) -> Calibration:
    """Compares how sure answers are with how often they are right.

    Args:
        scores: Probabilities, floats `(answers,)` in [0, 1]: that of the class
            which is answered to a clip; or, where a clip can be of several
            classes, that of each class.
        right: Booleans `(answers,)`: whether the clip is of that class.
        bins: Number of bins, all of one width. Defaults to `15`.

    Returns:
        A `Calibration`.

    Raises:
        ValueError: If the shapes are others, or a score is not in [0, 1].

    Reference:
        - Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    check_positive("bins", bins)
    scores, right = np.asarray(scores, float), np.asarray(right, bool)
    if scores.ndim != 1 or scores.shape != right.shape:
        raise ValueError(
            "`scores` and `right` must have one shape, (answers,). Received: "
            f"scores.shape={scores.shape}, right.shape={right.shape}"
        )
    wrong = ~((scores >= 0) & (scores <= 1))  # NaN too
    if wrong.any():
        raise ValueError(
            "`scores` must be probabilities, in [0, 1]. "
            f"Received: {scores[wrong][0]}"
        )
    edges = np.linspace(0, 1, bins + 1)
    places = np.searchsorted(edges[1:-1], scores, side="left")
    counts = np.bincount(places, minlength=bins)
    confidences, accuracies = (
        np.where(
            counts > 0,
            np.bincount(places, values, bins) / np.maximum(counts, 1),
            np.nan,
        )
        for values in (scores, right)
    )
    return Calibration(edges, counts, confidences, accuracies)
