"""What is right and wrong of each class, and which are taken for which."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """How often each class is answered, rightly and wrongly.

    Attributes:
        right: How many clips of the class are answered so (true positives),
            integers `(classes,)`.
        answered: How many clips are answered so.
        support: How many clips are of the class.
        clips: How many clips there are.
    """

    right: np.ndarray
    answered: np.ndarray
    support: np.ndarray
    clips: int

    @property
    def precision(self) -> np.ndarray:
        """Share of the answers that are right; NaN where there are none."""
        return _ratio(self.right, self.answered)

    @property
    def recall(self) -> np.ndarray:
        """Share of the class's clips that are found; NaN where it has none."""
        return _ratio(self.right, self.support)

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall, right / mean of both counts.

        0 where nothing is right; NaN where the class has no clips and is never
        answered.
        """
        return _ratio(2 * self.right, self.answered + self.support)


def class_figures(labels: np.ndarray, answers: np.ndarray) -> ClassFigures:
    """Counts what is right and wrong of each class.

    Args:
        labels: Booleans `(clips, classes)`: what each clip is. Rows with one
            True where a clip is of one class.
        answers: Booleans `(clips, classes)`: what it is taken for.

    Returns:
        `ClassFigures`, equal to scikit-learn's
        `precision_recall_fscore_support` with `zero_division=nan`.

    Raises:
        ValueError: If the shapes are others.
    """
    labels, answers = np.asarray(labels, bool), np.asarray(answers, bool)
    if labels.ndim != 2 or labels.shape != answers.shape:
        raise ValueError(
            "`labels` and `answers` must have one shape, (clips, classes). "
            f"Received: labels.shape={labels.shape}, "
            f"answers.shape={answers.shape}"
        )
    return ClassFigures(
        right=np.sum(labels & answers, axis=0),
        answered=np.sum(answers, axis=0),
        support=np.sum(labels, axis=0),
        clips=len(labels),
    )


def confusion_matrix(
    labels: np.ndarray, answers: np.ndarray, num_classes: int
) -> np.ndarray:
    """Counts the clips of each class that are taken for each class.

    Args:
        labels: Integers `(clips,)` in [0, num_classes).
        answers: Integers `(clips,)` in [0, num_classes).
        num_classes: Number of classes.

    Returns:
        Integers `(num_classes, num_classes)`: a row for the true class, a
        column for the answer.

    Raises:
        ValueError: If the shapes are others, or a number is not a class.
    """
    labels, answers = np.asarray(labels), np.asarray(answers)
    if labels.ndim != 1 or labels.shape != answers.shape:
        raise ValueError(
            "`labels` and `answers` must be integers (clips,). Received: "
            f"labels.shape={labels.shape}, answers.shape={answers.shape}"
        )
    for name, classes in (("labels", labels), ("answers", answers)):
        known = np.isin(classes, np.arange(num_classes))
        if not known.all():
            raise ValueError(
                f"`{name}` must be integers in [0, {num_classes}). "
                f"Received: {classes[~known][0]}"
            )
    matrix = np.zeros((num_classes, num_classes), int)
    np.add.at(matrix, (labels.astype(int), answers.astype(int)), 1)
    return matrix


def _ratio(part, whole):
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
