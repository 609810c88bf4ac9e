"""What is in an evaluation, as rows of tables."""

from typing import Any

import numpy as np

from actx_tf import metrics
from actx_tf.experiments.intervals import average_precision
from actx_tf.experiments.stored_evaluation import StoredEvaluation
from actx_tf.experiments.tables import figure_text
from actx_tf.metrics.per_class import ClassFigures

_LISTED = 20  # classes of a printed table


def class_rows(evaluation: StoredEvaluation) -> list[dict[str, Any]]:
    """Returns a row a class: how often it is answered, rightly and wrongly.

    Args:
        evaluation: What `evaluate_stored` returned.

    Returns:
        Rows of `class`, `background` (1 for a class that shows no action),
        `clips` (the support), `answered`, `right`, `precision`, `recall`, `f1`
        and `AP`, the average precision; NaN where nothing is known.
    """
    found = evaluation.of_classes
    labels, scores = evaluation.labels, evaluation.scores
    once = np.ones((1, len(scores)))
    return [
        {
            "class": name,
            "background": int(name in evaluation.background),
            "clips": int(found.support[k]),
            "answered": int(found.answered[k]),
            "right": int(found.right[k]),
            "precision": float(found.precision[k]),
            "recall": float(found.recall[k]),
            "f1": float(found.f1[k]),
            "AP": float(average_precision(labels[:, k], scores[:, k], once)[0]),
        }
        for k, name in enumerate(evaluation.class_names)
    ]


def confusion_rows(evaluation: StoredEvaluation) -> list[dict[str, Any]]:
    """Returns a row a class: what its clips are taken for.

    Args:
        evaluation: What `evaluate_stored` returned.

    Returns:
        Rows of `label` and `answer_<class>`, the number of the class's clips
        that are taken for that one. Where a clip can be of several classes, no
        answer stands in the place of another: rows of `label`,
        `true_positives`, `false_positives`, `false_negatives` and
        `true_negatives`.
    """
    names = evaluation.class_names
    if evaluation.is_multi_label:
        return [
            {"label": name, **_counts(evaluation.of_classes, k)}
            for k, name in enumerate(names)
        ]
    matrix = metrics.confusion_matrix(
        evaluation.labels.argmax(axis=-1),
        evaluation.answers.argmax(axis=-1),
        len(names),
    )
    return [
        {
            "label": name,
            **{
                f"answer_{answer}": count
                for answer, count in zip(names, counts, strict=True)
            },
        }
        for name, counts in zip(names, matrix.tolist(), strict=True)
    ]


def calibration_rows(evaluation: StoredEvaluation) -> list[dict[str, Any]]:
    """Returns a row a bin of the reliability diagram.

    Args:
        evaluation: What `evaluate_stored` returned.

    Returns:
        Rows of `above` and `to`, the bin's borders; `count`, its answers;
        their mean `confidence`; and their `accuracy`, NaN if it is empty.
    """
    found = evaluation.calibration
    return [
        {
            "above": float(found.edges[k]),
            "to": float(found.edges[k + 1]),
            "count": int(count),
            "confidence": float(found.confidences[k]),
            "accuracy": float(found.accuracies[k]),
        }
        for k, count in enumerate(found.counts)
    ]


def mistakes(evaluation: StoredEvaluation) -> list[dict[str, Any]]:
    """Returns the wrong answers, the surest first.

    Args:
        evaluation: What `evaluate_stored` returned.

    Returns:
        Rows of `clip`, `label`, `answer` and its `score`. Where a clip can be
        of several classes, a row for each class that is missed, of which
        `answer` is "not" and its name, or answered wrongly; the surest score
        is the farthest from 0.5. Those of background are not among these.
    """
    several, labels = evaluation.is_multi_label, evaluation.labels
    answers = evaluation.answers
    wrong = answers & ~labels
    if several:
        wrong = (answers != labels) & evaluation.scored
    found = []
    for clip, k in np.argwhere(wrong):
        row, name = evaluation.rows[clip], evaluation.class_names[k]
        found.append(
            {
                "clip": row["clip"],
                "label": row["label"],
                "answer": name if answers[clip, k] else f"not {name}",
                "score": float(evaluation.scores[clip, k]),
            }
        )
    return sorted(found, key=lambda x: -abs(x["score"] - 0.5 * several))


def class_table(evaluation: StoredEvaluation) -> list[list[str]]:
    """Returns the rows of classes as text, to print.

    Args:
        evaluation: What `evaluate_stored` returned.

    Returns:
        Lines of cells, as `format_table` takes them: a header, and a line a
        class. Of more than 20 classes those of the lowest F1.
    """
    rows = class_rows(evaluation)
    if len(rows) > _LISTED:
        rows.sort(key=lambda row: np.nan_to_num(row["f1"], nan=np.inf))
    shown = ("precision", "recall", "f1", "AP")
    lines = [["class", "clips", *shown]]
    for row in rows[:_LISTED]:
        name = row["class"] + row["background"] * " (background)"
        cells = [figure_text(row[x]) for x in shown]
        lines.append([name, str(row["clips"]), *cells])
    return lines


def _counts(found: ClassFigures, k: int) -> dict[str, int]:
    right, answered, support = (
        int(x[k]) for x in (found.right, found.answered, found.support)
    )
    return {
        "true_positives": right,
        "false_positives": answered - right,
        "false_negatives": support - right,
        "true_negatives": found.clips - answered - support + right,
    }
