"""A page of an evaluation: what is taken for what, and how surely."""

import html
import math
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from actx_tf.data.clip_index import Clip
from actx_tf.visualization.report_page import frames_of
from actx_tf.visualization.report_page import list_of
from actx_tf.visualization.report_page import table_of
from actx_tf.visualization.report_page import write_report_page

_OF_ONE = {
    "confusion_title": "What is taken for what",
    "confusion_about": "A row for the true class, a column for the answer: "
    "numbers of clips, colored by their share of the row.",
    "reliability_about": "Of the answers with a score of 0.8, 80% should be "
    "right. Bars: how many are, by the score of the answer; marks: the mean "
    "score. Below: how many answers there are.",
    "mistakes_about": "Clips that are answered wrongly, the surest first, with "
    "the score of the answer.",
}
_OF_SEVERAL = {
    "confusion_title": "Right and wrong of each class",
    "confusion_about": "A clip can be of several classes, and is taken for "
    "those of a score of 0.5 or more: numbers of clips.",
    "reliability_about": "Of the scores of 0.8, 80% should be of classes that "
    "the clip is of. Bars: how many are, over all clips and classes; marks: "
    "the mean score. Below: how many scores there are.",
    "mistakes_about": "Clips of which a class is missed or answered wrongly, "
    "the surest first, with the score of the class.",
}
_WIDTH, _HEIGHT, _BELOW, _MARGIN = 400, 300, 60, 40  # of the diagram


def write_evaluation_page(
    path: str | os.PathLike,
    *,
    title: str,
    figures: Mapping[str, float],
    classes: Sequence[Mapping[str, Any]],
    confusion: Sequence[Mapping[str, Any]],
    calibration: Sequence[Mapping[str, Any]],
    mistakes: Sequence[Mapping[str, Any]],
    clips: Mapping[str, Clip],
    multi_label: bool = False,
    notes: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """Writes a page of an evaluation; `write_evaluation` gives it all of it.

    Args:
        path: Path of the page. It is written whole or not at all; its folder
            is made if it is not there.
        title: Title of the page.
        figures: Figures over all clips, by name.
        classes: As `class_rows` returns them.
        confusion: As `confusion_rows` returns them.
        calibration: As `calibration_rows` returns them.
        mistakes: Those to show, as `mistakes` returns them.
        clips: The clips of the index, by name. Frames are read from their
            files.
        multi_label: Whether a clip can be of several classes. Defaults to
            `False`.
        notes: Sentences after the figures. Defaults to none.

    Returns:
        Name and reason of each clip whose frames cannot be read: the page says
        so in their place.

    Raises:
        ImportError: If a package for it is not installed.
    """
    unread: dict[str, str] = {}
    shown = {
        name: frames_of(clips[name], unread)
        for name in dict.fromkeys(row["clip"] for row in mistakes)
    }
    table = [["", *figures], ["all", *map(_number, figures.values())]]
    draw = _counts_table if multi_label else _confusion_table
    write_report_page(
        path,
        "evaluation_page",
        title,
        {
            **(_OF_SEVERAL if multi_label else _OF_ONE),
            "figures": table_of(table),
            "notes": list_of(notes),
            "classes": _class_table(classes),
            "confusion": draw(confusion),
            "reliability": _diagram(calibration),
            "mistakes": "".join(_mistake(row, shown) for row in mistakes)
            or "<p>There are none.</p>",
        },
    )
    return list(unread.items())


def _class_table(rows):
    heads = ("class", "clips", "answered", "precision", "recall", "F1", "AP")
    cells = "".join(f'<th scope="col">{name}</th>' for name in heads)
    lines = []
    for row in rows:
        name = html.escape(row["class"]) + row["background"] * " (background)"
        bars = "".join(
            _bar(row[key]) for key in ("precision", "recall", "f1", "AP")
        )
        lines.append(
            f'<tr><th scope="row">{name}</th><td>{row["clips"]}</td>'
            f"<td>{row['answered']}</td>{bars}</tr>"
        )
    return (
        f'<table class="of-classes"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _bar(value):
    if math.isnan(value):
        return '<td class="bar none">not known</td>'
    style = f"--share:{value:.4f}"
    return f'<td class="bar" style="{style}">{value:.3f}<i></i></td>'


def _confusion_table(rows):
    names = [row["label"] for row in rows]
    heads = "".join(
        f'<th scope="col" class="answer">{html.escape(name)}</th>'
        for name in names
    )
    lines = []
    for row in rows:
        label, *counts = row.values()
        total = max(1, sum(counts))
        cells = "".join(
            _cell(label, answer, count, total)
            for answer, count in zip(names, counts, strict=True)
        )
        head = html.escape(label)
        lines.append(f'<tr><th scope="row">{head}</th>{cells}</tr>')
    return (
        '<table class="confusion"><thead><tr><th scope="col">true class</th>'
        f"{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _cell(label, answer, count, total):
    if not count:
        return "<td></td>"
    kind = "right" if label == answer else "wrong"
    about = html.escape(f"{label} taken for {answer}: {count} of {total}")
    return (
        f'<td class="{kind}" style="--share:{count / total:.4f}" '
        f'title="{about}">{count}</td>'
    )


def _counts_table(rows):
    heads = ["class", *(key.replace("_", " ") for key in list(rows[0])[1:])]
    return table_of([heads, *([str(x) for x in row.values()] for row in rows)])


def _diagram(bins):
    """The reliability diagram, with a histogram of the counts below it."""
    most = max(1, *(row["count"] for row in bins))
    parts = []
    for row in bins:
        left = _MARGIN + _WIDTH * row["above"]
        width = _WIDTH * (row["to"] - row["above"]) - 1
        about = f"scores up to {row['to']:.2f}: {row['count']}"
        if row["count"]:
            about += f", {_number(row['accuracy'])} are right"
            height = _HEIGHT * row["accuracy"]
            parts.append(
                f'<rect class="accuracy" x="{left:.1f}" width="{width:.1f}" '
                f'y="{_HEIGHT - height:.1f}" height="{height:.1f}">'
                f"<title>{about}</title></rect>"
            )
            level = _HEIGHT * (1 - row["confidence"])
            parts.append(
                f'<line class="confidence" x1="{left:.1f}" y1="{level:.1f}" '
                f'x2="{left + width:.1f}" y2="{level:.1f}"/>'
            )
        height = _BELOW * row["count"] / most
        parts.append(
            f'<rect class="count" x="{left:.1f}" width="{width:.1f}" '
            f'y="{_HEIGHT + 30:.1f}" height="{height:.1f}">'
            f"<title>{about}</title></rect>"
        )
    right, bottom = _MARGIN + _WIDTH, _HEIGHT + 30 + _BELOW
    labels = "".join(
        f'<text x="{_MARGIN + _WIDTH * x:.0f}" y="{_HEIGHT + 18}" '
        f'text-anchor="middle">{x:g}</text>'
        f'<text x="{_MARGIN - 6}" y="{_HEIGHT * (1 - x) + 4:.0f}" '
        f'text-anchor="end">{x:g}</text>'
        for x in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        '<svg class="reliability" role="img" aria-label="Reliability diagram" '
        f'viewBox="0 -8 {right + 16} {bottom + 12}">'
        f'<path class="axis" d="M{_MARGIN} 0V{_HEIGHT}H{right}"/>'
        f"{''.join(parts)}"
        f'<line class="even" x1="{_MARGIN}" y1="{_HEIGHT}" x2="{right}" '
        f'y2="0"/>{labels}</svg>'
    )


def _mistake(row, shown):
    return (
        f"<article><figure>{shown[row['clip']]}<figcaption>"
        f"{html.escape(row['clip'])}: {html.escape(row['label'])}, answered "
        f'<strong class="bad">{html.escape(row["answer"])}</strong> '
        f"({row['score']:.3f})</figcaption></figure></article>"
    )


def _number(value):
    return "" if math.isnan(value) else f"{value:.3f}"
