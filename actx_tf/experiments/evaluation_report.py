"""Files that say how well a model does: tables, and a page."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from actx_tf.data.clip_index import Clip
from actx_tf.experiments.evaluation_tables import calibration_rows
from actx_tf.experiments.evaluation_tables import class_rows
from actx_tf.experiments.evaluation_tables import confusion_rows
from actx_tf.experiments.evaluation_tables import mistakes
from actx_tf.experiments.stored_evaluation import StoredEvaluation
from actx_tf.experiments.tables import write_rows
from actx_tf.visualization.evaluation_page import write_evaluation_page

_SHOWN = 24  # clips on the page


def write_evaluation(
    evaluation: StoredEvaluation,
    folder: str | os.PathLike,
    clips: Sequence[Clip],
    title: str = "Evaluation",
) -> list[tuple[str, str]]:
    """Writes an evaluation as tables and as a page.

    `per_class.csv` has a row a class; `confusion.csv` too, with the number of
    its clips that are taken for each class, or where a clip can be of several,
    of its true and false positives and negatives; `calibration.csv` has a row
    a bin of the reliability diagram. Nothing stands where a figure is not
    known. `evaluation.html` shows them, and the 24 clips that are most surely
    answered wrongly.

    Args:
        evaluation: What `evaluate_stored` returned.
        folder: Path of the folder; made if it is not there. Each file is
            written whole or not at all.
        clips: The clips of the index, whose files are read for the page.
        title: Title of the page. Defaults to `"Evaluation"`.

    Returns:
        Name and reason of each clip of the page whose frames cannot be read.

    Raises:
        ImportError: If a package for the page is not installed.
    """
    folder = Path(folder)
    tables = {
        "classes": class_rows(evaluation),
        "confusion": confusion_rows(evaluation),
        "calibration": calibration_rows(evaluation),
    }
    for rows, name in zip(
        tables.values(), ("per_class", "confusion", "calibration"), strict=True
    ):
        write_rows([_known(row) for row in rows], folder / f"{name}.csv")
    known, left_out = len(evaluation.rows), evaluation.left_out
    notes = [f"{known} of {known + len(left_out)} clips"]
    if left_out:
        notes[0] += ", left out such as {}: {}".format(*left_out[0])
    return write_evaluation_page(
        folder / "evaluation.html",
        title=title,
        figures=evaluation.figures,
        mistakes=mistakes(evaluation)[:_SHOWN],
        clips={clip.clip: clip for clip in clips},
        multi_label=evaluation.is_multi_label,
        notes=notes,
        **tables,
    )


def _known(row):
    return {
        name: "" if isinstance(value, float) and math.isnan(value) else value
        for name, value in row.items()
    }
