"""Segments: what happens in a video, from when to when, and how sure it is."""

import dataclasses
import math
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np

from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_share
from actx_tf.utils.checks import is_number

THRESHOLDS = tuple(np.arange(1, 10) / 10)


@dataclasses.dataclass(frozen=True)
class Segment:
    """A stretch of a video that shows something.

    Attributes:
        start: Where it begins, in seconds from the beginning of the video.
        end: Where it ends, in seconds; `start` at the least. Annotations hold
            segments without any length; `find_segments` makes none.
        label: Name of the class that it shows.
        score: How sure it is: larger is surer. 1 for what people annotated.

    Raises:
        ValueError: If a value is wrong.
    """

    start: float
    end: float
    label: str
    score: float = 1.0

    def __post_init__(self) -> None:
        times = self.start, self.end
        if not (
            all(is_number(time) for time in times)
            and 0 <= self.start <= self.end < math.inf
        ):
            raise ValueError(
                "`start` and `end` must be seconds, 0 <= start <= end. "
                f"Received: start={self.start!r}, end={self.end!r}"
            )
        if not (isinstance(self.label, str) and self.label):
            raise ValueError(
                "`label` must be the name of a class. "
                f"Received: label={self.label!r}"
            )
        if not (is_number(self.score) and math.isfinite(self.score)):
            raise ValueError(
                f"`score` must be a finite number. Received: {self.score!r}"
            )


def temporal_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Overlaps of stretches of time: intersection over union.

    ```
    IoU = |A and B| / |A or B|
    ```

    Args:
        first: Numbers `(..., 2)`: starts and ends.
        second: Numbers `(..., 2)`, of a shape that broadcasts with the first.

    Returns:
        Floats `(...)`, in [0, 1]. Two stretches without any length overlap by
        0, even where they are the same.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    starts = np.maximum(first[..., 0], second[..., 0])
    ends = np.minimum(first[..., 1], second[..., 1])
    both = np.maximum(ends - starts, 0.0)
    lengths = (x[..., 1] - x[..., 0] for x in (first, second))
    either = sum(lengths) - both
    return both / np.where(either > 0, either, 1.0)


def find_segments(
    scores: np.ndarray,
    times: np.ndarray,
    class_names: Sequence[str],
    background: Collection[str] = (),
    thresholds: Sequence[float] = THRESHOLDS,
    min_seconds: float = 0.0,
    contrast: float = 1.0,
) -> list[Segment]:
    """Makes segments of the scores of each step of a video.

    For each class and threshold, steps in a row whose score is at least the
    threshold are a segment. What several thresholds find alike is one segment.
    Those of different thresholds lie within one another: `suppress` picks
    among them.

    A segment's score says how much it stands out: the mean of the class's
    scores over its time, less their mean over the time around it, as far to
    each side as `contrast` times its length; 0 if that is not less. So of
    those within one another the best is the one at whose ends the scores fall,
    not the one that is the peak alone.

    A run ends with the video, or where the score falls below the threshold,
    for however short a time: a smaller threshold bridges the gap.

    Args:
        scores: Numbers `(steps, classes)`, finite, such as probabilities. May
            have no step.
        times: Borders of the steps in seconds, `(steps + 1,)`, ascending: step
            i lasts from `times[i]` to `times[i + 1]`.
        class_names: Names of the classes, in the order of the scores.
        background: Names of classes that are nothing to find. Defaults to
            none.
        thresholds: Scores from which on a step is in a segment. Defaults to
            `0.1`, `0.2`, ... `0.9`, which are for probabilities.
        min_seconds: Segments that are shorter are left out. Defaults to
            `0.0`.
        contrast: Length of what counts as around a segment, on each side, as a
            share of its own; less where the video ends. `0`: nothing does, and
            its score is the mean over its time. Defaults to `1.0`.

    Returns:
        A list of `Segment`, from the highest score to the lowest; where these
        are equal, the earlier first, the shorter first, by label.

    Raises:
        ValueError: If an argument is wrong.
    """
    scores, times = np.asarray(scores, float), np.asarray(times, float)
    _check_scores(scores, times, class_names, background)
    levels = np.asarray(thresholds, float)
    if levels.ndim != 1 or not np.isfinite(levels).all():
        raise ValueError(
            "`thresholds` must be finite numbers. "
            f"Received: thresholds={thresholds}"
        )
    check_not_negative("min_seconds", min_seconds)
    check_not_negative("contrast", contrast)
    found = []
    for index, label in enumerate(class_names):
        if label in background:
            continue
        of_class = scores[:, index]
        area = _Area(of_class, times)
        runs = {run for level in levels for run in _runs(of_class >= level)}
        for first, stop in runs:
            start, end = float(times[first]), float(times[stop])
            if end - start >= min_seconds:
                score = _score(area, start, end, contrast)
                found.append(Segment(start, end, label, score))
    return _ranked(found)


def suppress(segments: Iterable[Segment], iou: float = 0.3) -> list[Segment]:
    """Temporal non-maximum suppression: the best of segments that overlap.

    Of each class the segment of the highest score is taken. Those of the class
    that overlap it by more than `iou` are left out; and so on with the rest.
    Segments of different classes do not touch one another.

    Args:
        segments: The segments of one video.
        iou: Overlap in [0, 1] up to which both of two segments stay. Defaults
            to `0.3`.

    Returns:
        A list of `Segment`, in the order of `find_segments`. Of segments that
        are equal in all, one stays, whatever `iou`.

    Raises:
        ValueError: If `iou` is wrong.
    """
    check_share("iou", iou)
    segments = _ranked(set(segments))
    kept = []
    for label in {segment.label for segment in segments}:
        rest = [segment for segment in segments if segment.label == label]
        times = np.array([(segment.start, segment.end) for segment in rest])
        left = np.full(len(rest), True)
        for index, segment in enumerate(rest):  # the best first
            if left[index]:
                kept.append(segment)
                left &= temporal_iou(times[index], times) <= iou
    return _ranked(kept)


class _Area:
    """What is under the scores of a class, from one time to another."""

    def __init__(self, scores, times):
        self.times = times
        self._totals = np.concatenate([[0], np.cumsum(scores * np.diff(times))])

    def __call__(self, start, end):
        first, last = np.interp((start, end), self.times, self._totals)
        return float(last - first)


def _score(area, start, end, contrast):
    """The mean of the scores in a segment, less that around it."""
    margin = contrast * (end - start)
    first = max(float(area.times[0]), start - margin)
    last = min(float(area.times[-1]), end + margin)
    inside = area(start, end) / (end - start)
    around = start - first + last - end
    if not around:
        return inside
    outside = (area(first, start) + area(end, last)) / around
    return max(0.0, inside - outside)


def _runs(high):
    """Yields (first, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(high, prepend=False, append=False))
    return map(tuple, edges.reshape(-1, 2).tolist())


def _ranked(segments):
    return sorted(segments, key=lambda x: (-x.score, x.start, x.end, x.label))


def _check_scores(scores, times, class_names, background):
    if scores.ndim != 2 or scores.shape[1] != len(class_names):
        raise ValueError(
            "`scores` must be (steps, classes), with a class for each of "
            f"`class_names`. Received: scores.shape={scores.shape}, "
            f"{len(class_names)} names"
        )
    if not np.isfinite(scores).all():
        step, index = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(
            "`scores` must be finite. Received: "
            f"{scores[step, index]} of {class_names[index]!r} in step {step}"
        )
    if len(set(class_names)) < len(class_names):
        raise ValueError(
            "`class_names` must differ from one another. "
            f"Received: class_names={class_names}"
        )
    if unknown := set(background) - set(class_names):
        raise ValueError(
            "`background` must be names among `class_names`. "
            f"Received: {sorted(unknown)}"
        )
    if times.shape != (len(scores) + 1,) or not (
        np.isfinite(times).all()
        and times[0] >= 0
        and np.all(np.diff(times) > 0)
    ):
        raise ValueError(
            "`times` must be the borders of the steps in seconds, one more "
            f"than steps, ascending from 0 on. Received: times={times}, "
            f"{len(scores)} steps"
        )
