"""How well segments of videos are found, from files of them."""

import collections
import dataclasses
import os
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from pathlib import PurePath
from pathlib import PureWindowsPath
from typing import Any

from actx_tf import metrics
from actx_tf.data.annotations.activitynet import read_activitynet
from actx_tf.data.segment_files import is_annotations
from actx_tf.data.segment_files import read_segments
from actx_tf.data.video_files import VIDEO_SUFFIXES
from actx_tf.metrics.detection import THRESHOLDS

# THUMOS14's, and ActivityNet's; each has a mean of its own.
LOOSE = tuple(k / 10 for k in range(1, 8))
STRICT = THRESHOLDS
_LISTED = 20  # classes of a printed table
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class SegmentEvaluation:
    """How well the segments of a file are found.

    Attributes:
        precision: The average precision of each class at tIoU 0.1 to 0.7 and
            0.5 to 0.95.
        videos: Number of videos that the truth names.
        true: Number of true segments of each class.
        found: Number of segments that were found of each of these.
        notes: What is in one file alone, and how it counts.
    """

    precision: metrics.SegmentPrecision
    videos: int
    true: Mapping[str, int]
    found: Mapping[str, int]
    notes: Sequence[str]

    def mean(self, thresholds: Sequence[float]) -> float:
        """The mean over classes and thresholds, some of those that it has."""
        return float(self.precision.means[self._places(thresholds)].mean())

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row a class, as a table.

        Its `class`, the numbers of `true` and `found` segments, `AP@<tIoU>`,
        and the means `AP@0.1:0.7` and `AP@0.5:0.95`.
        """
        return [
            {
                "class": name,
                "true": self.true[name],
                "found": self.found[name],
                **{
                    f"AP@{threshold:g}": float(value)
                    for threshold, value in zip(
                        self.precision.thresholds, values, strict=True
                    )
                },
                "AP@0.1:0.7": float(values[self._places(LOOSE)].mean()),
                "AP@0.5:0.95": float(values[self._places(STRICT)].mean()),
            }
            for name, values in zip(
                self.precision.class_names,
                self.precision.average_precisions.T,
                strict=True,
            )
        ]

    def tables(self) -> tuple[list[list[str]], list[list[str]]]:
        """Returns lines of cells: of the thresholds, and of the classes.

        Of more than 20 classes those of the lowest mean.
        """
        levels = [
            ["tIoU", "mAP"],
            *(
                [f"{threshold:g}", f"{value:.3f}"]
                for threshold, value in zip(
                    self.precision.thresholds, self.precision.means, strict=True
                )
            ),
            ["mean 0.1:0.7", f"{self.mean(LOOSE):.3f}"],
            ["mean 0.5:0.95", f"{self.mean(STRICT):.3f}"],
        ]
        shown = ("AP@0.1:0.7", "AP@0.5", "AP@0.5:0.95")
        rows = self.rows()
        if len(rows) > _LISTED:
            rows.sort(key=lambda row: row["AP@0.1:0.7"])
        classes = [["class", "true", "found", *shown]]
        for row in rows[:_LISTED]:
            numbers = [f"{row[name]:.3f}" for name in shown]
            counts = [str(row["true"]), str(row["found"])]
            classes.append([row["class"], *counts, *numbers])
        return levels, classes

    def _places(self, thresholds):
        return [self.precision.thresholds.index(x) for x in thresholds]


def evaluate_segments(
    segments: str | os.PathLike,
    truth: str | os.PathLike,
    *,
    split: str = "test",
    by_stem: bool = False,
    leave_out_unknown: bool = False,
) -> SegmentEvaluation:
    """Compares a file of segments that were found with the true ones.

    See `actx_tf.metrics.mean_average_precision_of_segments` for the figures. A
    video or a class of the truth of which nothing is found counts as missed,
    and `notes` say so.

    Args:
        segments: Path of what `actx_tf.predict` wrote: see `read_segments`.
        truth: Path of a file of one of the same kinds, of which scores do not
            count; or of annotations in ActivityNet's form. It names all
            videos: in CSV one needs a segment, in JSON not.
        split: Of ActivityNet's annotations. Defaults to `"test"`.
        by_stem: Whether videos are compared by the names of their files
            without folders and the endings of videos: `a/b.1.mp4` is `b.1`.
            Defaults to `False`.
        leave_out_unknown: Whether to leave out what is found in videos, or of
            classes, that the truth does not name. Defaults to `False`: it is
            refused.

    Returns:
        A `SegmentEvaluation`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is wrong, holds no segment of the truth, or names
            what the truth does not name.
    """
    found, true = read_segments(segments), _read_truth(truth, split)
    if by_stem:
        found = _by_stem(segments, found)
        true = _by_stem(truth, true)
    labels = {x.label for entries in true.values() for x in entries}
    strange = {
        video: len(entries)
        for video, entries in found.items()
        if video not in true
    }
    known = {x: entries for x, entries in found.items() if x in true}
    odd = collections.Counter(
        x.label
        for entries in known.values()
        for x in entries
        if x.label not in labels
    )
    problems = [
        f"{sum(names.values())} segments {of} that the truth does not name, "
        + _shortly([f"{name} ({count})" for name, count in names.items()])
        for of, names in (
            (f"in {len(strange)} of {len(found)} videos", strange),
            (f"of {len(odd)} classes", odd),
        )
        if names
    ]
    if problems and not leave_out_unknown:
        hint = "; `leave_out_unknown` leaves them out"
        if odd:
            hint = f"; its classes are {_shortly(labels)}" + hint
        stems = {_stem(name) for name in true}
        if not by_stem and {_stem(name) for name in strange} & stems:
            hint = "; the names of their files are there: see `by_stem`"
        raise ValueError(
            "`segments` must be of videos and classes that `truth` names. "
            f"Received: {' and '.join(problems)}{hint}"
        )
    if not known and found:
        raise ValueError(
            "`segments` must hold a video that `truth` names. "
            f"Received: {_shortly(found)} in the one, {_shortly(true)} in the "
            "other"
        )
    kept = {
        video: [x for x in entries if x.label in labels]
        for video, entries in known.items()
    }
    precision = metrics.mean_average_precision_of_segments(
        true, kept, sorted({*LOOSE, *STRICT})
    )
    notes = [f"left out: {problem}" for problem in problems]
    notes += _missed("videos", *([x for x in y if y[x]] for y in (true, kept)))
    counts = [
        collections.Counter(
            x.label for entries in part.values() for x in entries
        )
        for part in (true, kept)
    ]
    notes += _missed("classes", labels, counts[1])
    return SegmentEvaluation(
        precision=precision,
        videos=len(true),
        true={name: counts[0][name] for name in precision.class_names},
        found={name: counts[1][name] for name in precision.class_names},
        notes=notes,
    )


def _read_truth(path, split):
    if not is_annotations(path):
        if split != "test":
            raise ValueError(
                "`split` is for `truth` in the form of ActivityNet's "
                "annotations: other files have no splits. "
                f"Received: split={split!r}, truth={path}"
            )
        return read_segments(path)
    path = Path(path)
    return read_activitynet(path.parent, path.name).truth(split)


def _by_stem(path, segments):
    named = collections.defaultdict(list)
    for video in segments:
        named[_stem(video)].append(video)
    for videos in named.values():
        if len(videos) > 1:
            raise ValueError(
                "`by_stem` must be left out where two files of one name are "
                f"different videos. Received: {videos[0]} and {videos[1]} in "
                f"{path}"
            )
    return {stem: segments[video] for stem, (video,) in named.items()}


def _stem(video):
    """The name of a file on any system; `a.1`, which is no file, stays."""
    name = PureWindowsPath(video).name
    path = PurePath(name)
    return path.stem if path.suffix.lower() in VIDEO_SUFFIXES else name


def _missed(what, true, found):
    if missing := sorted(set(true) - set(found)):
        yield (
            f"nothing is found of {len(missing)} of {len(set(true))} {what}, "
            f"which counts as missed: {_shortly(missing)}"
        )


def _shortly(names):
    names = sorted(names)
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    return shown + ", ..." * (len(names) > _NAMED)
