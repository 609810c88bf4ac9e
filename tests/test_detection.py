"""Mean average precision at temporal IoU."""

import numpy as np
import pytest

from actx_tf.metrics import mean_average_precision_of_segments
from actx_tf.segments import Segment
from tests.test_segments import random_segments


def overlap(a, b):
    both = min(a.end, b.end) - max(a.start, b.start)
    if both <= 0:
        return 0.0
    return both / (max(a.end, b.end) - min(a.start, b.start))


def slow_average_precision(truth, predictions, label, threshold):
    """From the definition: the k-th step of recall, for each k.

    Its precision is the best share of right ones among the first segments, of
    as many as have found k or more.
    """
    true = [
        [video, segment]
        for video in truth
        for segment in truth[video]
        if segment.label == label
    ]
    found = [
        (video, segment)
        for video in predictions
        for segment in predictions[video]
        if segment.label == label
    ]
    total = len(true)
    shares = []  # (how many are right, share) of the first segments
    right = 0
    for count, (video, segment) in enumerate(
        sorted(found, key=lambda entry: entry[1].score, reverse=True), 1
    ):
        beside = [entry for entry in true[::-1] if entry[0] == video]
        nearest = max(
            beside, key=lambda entry: overlap(entry[1], segment), default=None
        )
        if nearest and overlap(nearest[1], segment) >= threshold:
            right += 1
            true.remove(nearest)
        shares.append((right, right / count))
    return (
        sum(
            max((share for n, share in shares if n >= k), default=0.0)
            for k in range(1, total + 1)
        )
        / total
    )


def random_videos(rng, labels):
    """True segments of some videos, and what was found near them or not."""
    truth, predictions = {}, {}
    for number in range(6):
        true = random_segments(rng, rng.integers(0, 6), labels)
        found = random_segments(rng, rng.integers(0, 12), labels)
        for segment in true:
            start, end = segment.start, segment.end
            start += abs(rng.normal(0, 0.5))
            end = max(start, end + rng.normal(0, 0.5))
            score = float(rng.random())
            found.append(Segment(start, end, segment.label, score))
        truth[f"video{number}"] = true
        predictions[f"video{number}"] = found
    return truth, predictions


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    thresholds = (0.1, 0.3, 0.5, 0.75, 0.95)
    truth, predictions = random_videos(rng, ["run", "jump", "fall"])
    result = mean_average_precision_of_segments(truth, predictions, thresholds)
    expected = np.array(
        [
            [
                slow_average_precision(truth, predictions, label, threshold)
                for label in result.class_names
            ]
            for threshold in thresholds
        ]
    )
    assert 0 < expected.mean() < 1
    np.testing.assert_allclose(result.average_precisions, expected)
    np.testing.assert_allclose(result.means, expected.mean(axis=1))
    assert result.mean == pytest.approx(expected.mean())


def test_what_is_right_and_wrong():
    """ActivityNet's rules, on segments small enough to count."""
    truth = {"a": [Segment(0, 10, "run"), Segment(20, 30, "run")], "b": []}

    def precision(**found):
        return mean_average_precision_of_segments(truth, found, [0.5]).mean

    first, second = Segment(0, 10, "run", 0.9), Segment(20, 30, "run", 0.8)
    assert precision(a=[first, second]) == 1
    assert precision(a=[first]) == 0.5
    assert precision() == 0
    # An overlap of just the threshold is enough; of less, it is not.
    assert precision(a=[Segment(0, 5, "run")]) == 0.5
    assert precision(a=[Segment(0, 4.99, "run")]) == 0
    # Each true segment is found once.
    assert precision(a=[first, first, second]) == pytest.approx((1 + 2 / 3) / 2)
    # In a video where nothing happens, a surer one is wrong.
    assert precision(b=[Segment(0, 10, "run", 1.0)], a=[first]) == 0.25
    # A less sure one is not, after all are found.
    assert precision(b=[Segment(0, 10, "run", 0)], a=[first, second]) == 1


def test_the_best_true_segment_that_is_left_is_taken():
    truth = {"a": [Segment(0, 10, "run"), Segment(0, 9, "run")]}
    found = {"a": [Segment(0, 10, "run", 0.9), Segment(0, 10, "run", 0.8)]}
    low, high = mean_average_precision_of_segments(
        truth, found, [0.9, 1.0]
    ).means
    # The second one takes the shorter, which overlaps by 0.9.
    assert low == 1 and high == 0.5


def test_classes():
    truth = {"a": [Segment(0, 10, "run"), Segment(0, 10, "jump")]}
    found = {"a": [Segment(0, 10, "run"), Segment(0, 10, "Jump")]}
    result = mean_average_precision_of_segments(truth, found)
    assert result.class_names == ("jump", "run")
    assert result.average_precisions.tolist() == [[0, 1]] * 10
    assert result.left_out == {"Jump": 1}
    assert result.thresholds == pytest.approx(np.linspace(0.5, 0.95, 10))


def test_figures_do_not_depend_on_seconds_or_the_scale_of_scores():
    rng = np.random.default_rng(3)
    truth, predictions = random_videos(rng, ["run", "jump"])

    def changed(videos):
        return {
            video: [
                Segment(4 * x.start, 4 * x.end, x.label, np.exp(x.score))
                for x in segments
            ]
            for video, segments in videos.items()
        }

    first, second = (
        mean_average_precision_of_segments(*videos).average_precisions
        for videos in (
            (truth, predictions),
            (changed(truth), changed(predictions)),
        )
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"truth": {}, "predictions": {}}, "`truth` must hold a segment"),
        ({"truth": {"a": []}}, "1 videos without any"),
        ({"predictions": {"a.mp4": []}}, "1 others, such as 'a.mp4'"),
        ({"thresholds": []}, "`thresholds` must be"),
        ({"thresholds": [0]}, "`thresholds` must be"),
        ({"thresholds": [1.5]}, "`thresholds` must be"),
        ({"thresholds": [np.nan]}, "`thresholds` must be"),
        ({"thresholds": 0.5}, "`thresholds` must be"),
    ],
)
def test_what_is_wrong_is_said(change, words):
    segments = {"a": [Segment(0, 1, "run")]}
    given = {"truth": segments, "predictions": segments}
    with pytest.raises(ValueError, match=words):
        mean_average_precision_of_segments(**(given | change))
