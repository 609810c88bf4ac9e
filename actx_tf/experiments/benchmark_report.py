"""How a classifier does on the tests that `make_scene_tests` made."""

import collections
import dataclasses
import math
import os
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from actx_tf.data.clip_index import read_clip_index
from actx_tf.experiments.scene_answers import labels_of
from actx_tf.experiments.scene_answers import open_classifier
from actx_tf.experiments.scene_figures import SceneFigure
from actx_tf.experiments.scene_figures import figure_of
from actx_tf.experiments.scene_report import sources_of

_TESTS = ("iid", "scuba", "scufo", "swap")
_COLUMNS = {
    "iid": "IID",
    "scuba": "SCUBA",
    "scufo": "SCUFO",
    "contrasted": "contrasted",
    "swap": "swap",
    "swap_scene": "swap, as the scene",
}


@dataclasses.dataclass(frozen=True)
class BenchmarkReport:
    """What `benchmark_report` found.

    Attributes:
        rows: For each kind of scenes its number of clips and its figures, by
            name: `iid`, `scuba`, `scufo` and `swap`, the accuracy on each test;
            `contrasted`, the share that is right on SCUBA and not on SCUFO; and
            `swap_scene`, the share of the swaps that are named by the class of
            the scene. What is not known is NaN.
        clips: A row a clip and kind of scenes, with the answers to each test.
        left_out: Name and reason of each clip that is left out.
        notes: What is to be known of the intervals.
    """

    rows: Mapping[str, tuple[int, Mapping[str, SceneFigure]]]
    clips: Sequence[dict[str, Any]]
    left_out: Sequence[tuple[str, str]]
    notes: Sequence[str]


def benchmark_report(
    index: str | os.PathLike,
    *,
    model: str | os.PathLike | None = None,
    features: str | os.PathLike | None = None,
    scores: str | os.PathLike | Mapping[str, Mapping[str, float]] | None = None,
    background: Collection[str] = (),
    split: str = "test",
    seed: int = 0,
) -> BenchmarkReport:
    """Asks a classifier for its answers to IID, SCUBA, SCUFO and the swap.

    All figures of a kind of scenes are over the same clips: those that are
    answered in each of IID, SCUBA and SCUFO.

    Args:
        index: Path of the index of all tests, `index.csv` of
            `actx scene-benchmark`.
        model: See `scene_report`.
        features: See `scene_report`.
        scores: See `scene_report`.
        background: See `scene_report`.
        split: Of the clips. Defaults to `"test"`.
        seed: Of the intervals. Defaults to `0`.

    Returns:
        A `BenchmarkReport`. Its intervals draw sources again, where the index
        knows them, and else clips.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If an argument or a file is wrong, they do not fit together,
            or no clip is left.

    Reference:
        - Li et al., Mitigating and Evaluating Static Bias of Action
          Representations in the Background and the Foreground, ICCV 2023
    """
    clips = read_clip_index(index)
    if not all(
        clip.extra.get("test") in _TESTS
        and {"actor", "scenes"} <= clip.extra.keys()
        and (clip.extra["test"] != "swap" or clip.extra.get("scene_label"))
        for clip in clips
    ):
        raise ValueError(
            "`index` must be that of all tests, which `actx scene-benchmark` "
            f"writes as index.csv. Received: {index}, without a column `test` "
            f"of {', '.join(_TESTS)}, or those of actor, scenes, and of a "
            "swap scene_label"
        )
    own_background, answer = open_classifier(model, features, scores)
    actors, shown, left_out = {}, collections.defaultdict(dict), []
    for clip in clips:
        actor, test = clip.extra["actor"], clip.extra["test"]
        if test == "iid" and clip.split == split:
            if clip.label in {*background, *own_background}:
                left_out.append((actor, f"{clip.label} is the background"))
            else:
                actors[actor] = clip
        shown[actor, clip.extra["scenes"]][test] = clip
    answers = answer([x for tests in shown.values() for x in _names(tests)])
    labels = {*answers.class_names, *(clip.label for clip in clips)}
    if unknown := sorted(set(background) - labels):
        raise ValueError(
            "`background` must be labels of the index, or classes of the "
            f"classifier, {sorted(labels)}. Received: {unknown[0]!r}"
        )
    kinds: dict[str, list[dict[str, Any]]] = {}
    for (actor, kind), tests in shown.items():
        if actor not in actors or not kind:
            continue
        tests = {"iid": actors[actor], **tests}
        if reason := _why_not(tests, answers):
            left_out.append((actor, reason))
        else:
            kinds.setdefault(kind, []).append(_row(kind, tests, answers))
    if not kinds:
        raise ValueError(
            "`index` must hold tests that the classifier can answer. Received: "
            f"{len(actors)} clips of the split {split!r}, left out for "
            f"{sorted({reason for _, reason in left_out})[:3]}"
        )
    rows, notes = {}, []
    for kind, found in kinds.items():
        groups, notes = sources_of([actors[row["clip"]] for row in found])
        rows[kind] = (
            len(found),
            {
                name: figure_of(
                    np.array([row[name] for row in found]), seed, groups
                )
                for name in _COLUMNS
            },
        )
    return BenchmarkReport(
        rows,
        [row for found in kinds.values() for row in found],
        left_out,
        notes,
    )


def benchmark_table(report: BenchmarkReport) -> list[list[str]]:
    """Returns a table with a line a kind of scenes, as text.

    Args:
        report: What `benchmark_report` found.

    Returns:
        Lines of cells, as `format_table` takes them. The 95% interval of a
        figure is in parentheses, where it is known; a column that is known of
        no kind is left out.
    """
    columns = [
        name
        for name in _COLUMNS
        if any(
            not math.isnan(figures[name].value)
            for _, figures in report.rows.values()
        )
    ]
    lines = [["scenes", "clips", *(_COLUMNS[name] for name in columns)]]
    for kind, (count, figures) in report.rows.items():
        cells = [str(figures[name]) for name in columns]
        lines.append([kind, str(count), *cells])
    return lines


def _names(tests):
    return [clip.clip for clip in tests.values()]


def _why_not(tests, answers):
    """Why a clip cannot be reported on, if it cannot."""
    for test in ("iid", "scuba", "scufo"):
        if test not in tests:
            return f"it has no {test}"
        if tests[test].clip not in answers.scores:
            return f"its {test} is not in {answers.where}"
    labels = labels_of(tests["iid"], answers)
    if unknown := sorted(set(labels) - set(answers.class_names)):
        return f"the classifier does not know the class {unknown[0]!r}"
    return ""


def _row(kind, tests, answers):
    """The answers to the tests of a clip, and whether they are right."""
    labels = labels_of(tests["iid"], answers)
    row = {
        "clip": tests["iid"].clip,
        "scenes": kind,
        "label": tests["iid"].label,
        **{f"{test}_answer": "" for test in _TESTS},
        **{name: math.nan for name in _COLUMNS},
    }
    for test, clip in tests.items():
        if clip.clip in answers.scores:
            place = int(answers.scores[clip.clip].argmax())
            row[f"{test}_answer"] = answers.class_names[place]
            row[test] = float(answers.class_names[place] in labels)
    row["contrasted"] = row["scuba"] * (1 - row["scufo"])
    if row["swap_answer"]:
        row["scene_label"] = tests["swap"].extra["scene_label"]
        of_scene = row["scene_label"], *row["scene_label"].split("|")
        row["swap_scene"] = float(row["swap_answer"] in of_scene)
    return row
