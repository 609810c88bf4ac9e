"""Segments of scores, and which of them stay."""

import itertools

import numpy as np
import pytest

from actx_tf.segments import Segment
from actx_tf.segments import find_segments
from actx_tf.segments import suppress
from actx_tf.segments import temporal_iou

CLASSES = ["run", "jump", "none"]


def random_segments(rng, count, labels=("run", "jump"), length=20):
    times = np.sort(rng.integers(0, length, (count, 2)), axis=1)
    return [
        Segment(float(start), float(end) + 1, str(label), float(score))
        for (start, end), label, score in zip(
            times,
            rng.choice(labels, count),
            rng.permutation(count) / count,
            strict=True,
        )
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((-1, 2, "run"), "`start` and `end` must be"),
        ((3, 2, "run"), "start=3, end=2"),
        ((0, np.inf, "run"), "`start` and `end` must be"),
        ((np.nan, 2, "run"), "`start` and `end` must be"),
        ((0, "2", "run"), "end='2'"),
        ((True, 2, "run"), "start=True"),
        ((0, 1, ""), "`label` must be"),
        ((0, 1, 3), "`label` must be"),
        ((0, 1, "run", np.nan), "`score` must be a finite number"),
        ((0, 1, "run", None), "`score` must be a finite number"),
    ],
)
def test_wrong_segments(values, words):
    with pytest.raises(ValueError, match=words):
        Segment(*values)


def test_overlap_is_that_of_counted_ticks():
    """On whole seconds, the overlap is a count of seconds."""
    stretches = list(itertools.combinations(range(6), 2))
    for a, b in itertools.product(stretches, stretches):
        ticks, others = set(range(*a)), set(range(*b))
        expected = len(ticks & others) / len(ticks | others)
        assert temporal_iou(a, b) == pytest.approx(expected)
    table = temporal_iou(
        np.array(stretches)[:, np.newaxis], np.array(stretches)
    )
    assert table.shape == (len(stretches), len(stretches))
    assert np.array_equal(table, table.T) and np.all(np.diag(table) == 1)


def test_a_moment_overlaps_nothing():
    assert temporal_iou((2, 2), (0, 4)) == 0
    assert temporal_iou((2, 2), (2, 2)) == 0


def slow_segments(scores, times, thresholds, contrast):
    """All runs of one class, tried out step by step, on whole seconds."""
    of_seconds = np.repeat(scores, np.diff(times).astype(int))
    found = set()
    for threshold in thresholds:
        for first in range(len(scores)):
            for stop in range(first + 1, len(scores) + 1):
                inside = all(scores[first:stop] >= threshold)
                before = first > 0 and scores[first - 1] >= threshold
                after = stop < len(scores) and scores[stop] >= threshold
                if inside and not before and not after:
                    start, end = (
                        int(times[k] - times[0]) for k in (first, stop)
                    )
                    margin = int(contrast * (end - start))
                    score = of_seconds[start:end].mean()
                    around = [
                        *of_seconds[max(0, start - margin) : start],
                        *of_seconds[end : end + margin],
                    ]
                    if around:
                        score = max(0, score - np.mean(around))
                    found.add((times[first], times[stop], round(score, 9)))
    return found


@pytest.mark.parametrize("contrast", [0, 1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_segments_are_the_longest_runs_of_each_threshold(seed, contrast):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 11, (12, 3)) / 10
    times = np.cumsum(rng.integers(1, 4, 13)).astype(float)
    thresholds = (0.3, 0.5, 0.8)
    found = find_segments(
        scores, times, CLASSES, ["none"], thresholds, contrast=contrast
    )
    assert {segment.label for segment in found} <= {"run", "jump"}
    for index, label in enumerate(CLASSES[:2]):
        assert {
            (segment.start, segment.end, round(segment.score, 9))
            for segment in found
            if segment.label == label
        } == slow_segments(scores[:, index], times, thresholds, contrast)
    ranks = [(-segment.score, segment.start, segment.end) for segment in found]
    assert ranks == sorted(ranks)
    assert len(set(found)) == len(found)


def test_the_whole_video_no_step_and_nothing():
    names = ["run"]
    times = np.array([1.0, 2.0, 3.0])
    assert find_segments(np.ones((2, 1)), times, names) == [
        Segment(1.0, 3.0, "run", 1.0)
    ]
    assert find_segments(np.zeros((2, 1)), times, names) == []
    assert find_segments(np.ones((0, 1)), times[:1], names) == []
    assert find_segments(np.ones((2, 1)), times, names, names) == []
    assert find_segments(np.ones((2, 1)), times, names, thresholds=()) == []
    # Logits, and a threshold that a score just reaches.
    logits = np.array([[-3.0], [4.0]])
    (segment,) = find_segments(logits, times, names, thresholds=[4.0])
    assert (segment.start, segment.end, segment.score) == (2, 3, 4 - -3)


def test_a_mean_weighs_steps_by_their_time():
    scores, times = np.array([[1.0], [0.5]]), np.array([0.0, 3.0, 4.0])
    (segment,) = find_segments(scores, times, ["run"], thresholds=[0.5])
    assert segment.score == pytest.approx((3 * 1.0 + 1 * 0.5) / 4)


def test_the_best_of_those_within_one_another_ends_where_scores_fall():
    """Neither the peak nor the slope around it, at whatever level."""
    scores = np.array([1, 1, 6, 7, 9, 7, 6, 1, 1, 1])[:, np.newaxis] / 10
    for level in (1.0, 0.4):
        found = find_segments(level * scores, np.arange(11.0), ["run"])
        assert (found[0].start, found[0].end) == (2, 7)
        assert {(x.start, x.end) for x in found} >= {(4, 5)} or level < 1
        plain = find_segments(
            level * scores, np.arange(11.0), ["run"], contrast=0
        )
        assert (plain[0].start, plain[0].end) != (2, 7)


def test_short_segments_are_left_out():
    scores = np.array([[1], [0], [1], [1], [0]])
    times = np.arange(6) * 0.5
    found = find_segments(scores, times, ["run"], min_seconds=1.0)
    assert [(segment.start, segment.end) for segment in found] == [(1.0, 2.0)]


SCORES, TIMES = np.ones((2, 3)), np.arange(3.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scores": np.ones((2, 2))}, "`scores` must be"),
        ({"scores": np.ones(2)}, "`scores` must be"),
        ({"scores": SCORES * np.array([1, np.nan, 1])}, "nan of 'jump' in ste"),
        ({"scores": SCORES * np.inf}, "`scores` must be finite"),
        ({"times": np.arange(2.0)}, "`times` must be"),
        ({"times": np.array([0.0, 1.0, 1.0])}, "`times` must be"),
        ({"times": np.array([-1.0, 0.0, 1.0])}, "`times` must be"),
        ({"times": np.array([0.0, 1.0, np.nan])}, "`times` must be"),
        ({"class_names": ["a", "a", "b"]}, "`class_names` must differ"),
        ({"background": ["None"]}, "`background` must be .*'None'"),
        ({"background": "none"}, "`background` must be"),
        ({"thresholds": [np.nan]}, "`thresholds` must be"),
        ({"thresholds": 0.5}, "`thresholds` must be"),
        ({"min_seconds": -1}, "`min_seconds` must be"),
        ({"contrast": -1}, "`contrast` must be"),
        ({"contrast": np.nan}, "`contrast` must be"),
    ],
)
def test_wrong_scores(change, words):
    given = {"scores": SCORES, "times": TIMES, "class_names": CLASSES}
    with pytest.raises(ValueError, match=words):
        find_segments(**(given | change))


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_suppressed(iou, seed):
    """What stays is the one set that the definition allows.

    A segment stays if, and only if, it overlaps no better one of its class
    that stays.
    """
    segments = random_segments(np.random.default_rng(seed), 40)
    kept = suppress(segments, iou)
    for segment in segments:
        overlaps = [
            temporal_iou((segment.start, segment.end), (other.start, other.end))
            for other in kept
            if other.label == segment.label and other.score > segment.score
        ]
        assert (segment in kept) == all(x <= iou for x in overlaps)
    assert set(kept) <= set(segments)
    # It is one set in whatever order, and what stays, stays.
    assert suppress(segments[::-1], iou) == kept == suppress(kept, iou)


def test_ties_fall_to_the_earlier_then_the_shorter():
    same = [Segment(1, 3, "run"), Segment(0, 3, "run"), Segment(0, 2, "run")]
    for order in itertools.permutations(same):
        assert suppress(order, 0.1) == [Segment(0, 2, "run")]
    assert suppress([same[0]] * 3, 1.0) == [same[0]]
    assert suppress([]) == []


@pytest.mark.parametrize("iou", [1.5, np.nan])
def test_wrong_suppression(iou):
    with pytest.raises(ValueError, match="`iou` must be in"):
        suppress([Segment(0, 1, "run", -1)], iou)
