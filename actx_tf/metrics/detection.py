"""How well segments of videos are found."""

import collections
import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from actx_tf.segments import Segment
from actx_tf.segments import temporal_iou

# ActivityNet's; THUMOS14 and others take 0.3 to 0.7, or 0.1 to 0.7.
THRESHOLDS = tuple(np.arange(50, 100, 5) / 100)


@dataclasses.dataclass(frozen=True)
class SegmentPrecision:
    """How precise the segments of videos are.

    Attributes:
        thresholds: The overlaps from which on a segment counts as found.
        class_names: Names of the classes that the truth holds, sorted.
        average_precisions: Floats `(thresholds, classes)`, in [0, 1].
        left_out: How many segments were found of each class that the truth
            does not hold. They count nowhere.
    """

    thresholds: tuple[float, ...]
    class_names: tuple[str, ...]
    average_precisions: np.ndarray
    left_out: dict[str, int]

    @property
    def means(self) -> np.ndarray:
        """Mean average precision at each threshold, floats `(thresholds,)`."""
        return self.average_precisions.mean(axis=1)

    @property
    def mean(self) -> float:
        """The mean of `means`, ActivityNet's "average mAP"."""
        return float(self.means.mean())


def mean_average_precision_of_segments(
    truth: Mapping[str, Sequence[Segment]],
    predictions: Mapping[str, Sequence[Segment]],
    thresholds: Sequence[float] = THRESHOLDS,
) -> SegmentPrecision:
    """Mean average precision at temporal IoU, as ActivityNet defines it.

    For each class and threshold: the segments that were found in all videos
    are taken from the highest score to the lowest. Each is matched with the
    true segment of its video and class that it overlaps most, among those that
    no better one took; it is right if they overlap by the threshold at least,
    and takes it. The average precision is the area under precision over
    recall, where the precision at a recall is the largest at that or a larger
    one (PASCAL VOC 2011). The mean is over the classes that the truth holds;
    one of which nothing was found has 0.

    Of true segments that it overlaps alike, the last is taken. Where the
    owners' code leaves it open, segments of equal score are taken in the order
    of `predictions`. Segments of a class that is not in the truth,
    which stop the owners' code, are left out and counted.

    Args:
        truth: Mapping from each video's name to its true segments; their
            scores do not count. A video may have none.
        predictions: Mapping from a video's name to the segments that were
            found in it. A video that is not there has none.
        thresholds: Overlaps, in (0, 1]. Defaults to `0.5`, `0.55`, ... `0.95`,
            ActivityNet's.

    Returns:
        A `SegmentPrecision`.

    Raises:
        ValueError: If the truth holds no segment, a video of `predictions` is
            not in it, or a threshold is wrong.

    Reference:
        - Caba Heilbron et al., ActivityNet, CVPR 2015; the evaluation toolkit
          of github.com/activitynet/ActivityNet, `eval_detection.py`.
    """
    levels = np.asarray(thresholds, float)
    if not (levels.ndim == 1 and levels.size and np.all(0 < levels)) or (
        np.any(levels > 1)
    ):
        raise ValueError(
            "`thresholds` must be numbers in (0, 1]. "
            f"Received: thresholds={thresholds!r}"
        )
    if unknown := sorted(predictions.keys() - truth.keys()):
        raise ValueError(
            "`predictions` must be of videos that `truth` names; one in which "
            "nothing happens has no segments there. Received: "
            f"{len(unknown)} others, such as {unknown[0]!r}"
        )
    true, found = _by_class(truth), _by_class(predictions)
    if not true:
        raise ValueError(
            "`truth` must hold a segment. "
            f"Received: {len(truth)} videos without any"
        )
    class_names = tuple(sorted(true))
    precisions = [
        _average_precisions(true[label], found.get(label, ()), levels)
        for label in class_names
    ]
    return SegmentPrecision(
        thresholds=tuple(levels.tolist()),
        class_names=class_names,
        average_precisions=np.stack(precisions, axis=1),
        left_out={
            label: len(found[label]) for label in sorted(found.keys() - true)
        },
    )


def _by_class(segments):
    """Returns the (video, segment) of each class."""
    found = collections.defaultdict(list)
    for video, entries in segments.items():
        for segment in entries:
            found[segment.label].append((video, segment))
    return found


def _average_precisions(true, found, levels):
    """Returns the average precision of a class at each threshold."""
    times = collections.defaultdict(list)
    for video, segment in true:
        times[video].append((segment.start, segment.end))
    times = {video: np.array(entries) for video, entries in times.items()}
    free = {
        video: np.ones((len(levels), len(entries)), bool)
        for video, entries in times.items()
    }
    found = sorted(found, key=lambda entry: -entry[1].score)
    right = np.zeros((len(levels), len(found)), bool)
    for rank, (video, segment) in enumerate(found):
        if video not in times:
            continue
        overlaps = temporal_iou((segment.start, segment.end), times[video])
        if overlaps.max() < levels.min():
            continue
        fitting = free[video] & (overlaps >= levels[:, np.newaxis])
        right[:, rank] = fitting.any(axis=1)
        # The last of the best, as the owners' code takes them.
        best = np.argmax(np.where(fitting, overlaps, -1.0)[:, ::-1], axis=1)
        rows = np.flatnonzero(right[:, rank])
        free[video][rows, overlaps.size - 1 - best[rows]] = False
    precision = right.cumsum(axis=1) / np.arange(1, len(found) + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # Each that is right adds as much to the recall.
    return (precision * right).sum(axis=1) / len(true)
