"""Plans of a long clip's windows, against a network of one number a frame."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from actx_tf.backbones.description import Axis
from actx_tf.export.window_plan import plan_windows
from tests.described import describe

MANY = 1000
AXES = {
    "frames": Axis(((1, 1, 0),)),
    "steps": Axis(((4, 4, 0),)),
    "same": Axis(((7, 2, None), (3, 2, None), (3, 1, None))),
    "ends are cut off": Axis(((5, 3, (0, 1)),)),
    "ends are not padded": Axis(((3, 2, (0, 0)), (3, 1, (0, 0)))),
}


def run(time, clip):
    """One feature a step: sums of other weights for each place that is seen."""
    for kernel, stride, padding in time.stages:
        if padding is None:
            most = -(-len(clip) // stride) * stride - stride + kernel
            before = max(most - len(clip), 0) // 2
            after = max(most - len(clip), 0) - before
        elif isinstance(padding, tuple):
            before, after = padding
        else:
            before, after = padding, kernel - 1 - padding
        weights = np.random.default_rng(kernel).uniform(1, 2, kernel)
        clip = np.pad(clip, (before, after))
        begins = range(0, len(clip) - kernel + 1, stride)
        clip = np.array([clip[i : i + kernel] @ weights for i in begins])
    return clip


@functools.cache
def graph(time, most):
    """Plans in a graph, as they are made in a SavedModel."""
    description = dataclasses.replace(describe(), time=time)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int64)] * 6)
    def run_plan(length, begin, total, window, hop, in_memory):
        result = plan_windows(
            description, length, begin, total, window, hop, most, in_memory
        )
        with tf.control_dependencies(result.checks):
            values = result._asdict()
            del values["checks"]
            return {k: tf.identity(x) for k, x in values.items()}

    return run_plan


def plan(time, length, begin, total, window, hop, most=MANY, in_memory=MANY):
    """The plan for one clip, as numbers and a list."""
    one = ([x] for x in (length, begin, total, window, hop, in_memory))
    result = graph(time, most)(*(np.array(x, np.int64) for x in one))
    values = {k: x.numpy().tolist()[0] for k, x in result.items()}
    assert values["count"] == len(values["begins"])
    return values


def windows_of(steps, window, hop):
    """The steps with which the windows of a clip begin."""
    last = max(steps - window, 0)
    return [*range(0, last, hop), last]


@pytest.mark.parametrize("name", AXES)
def test_requests_answer_all_windows_as_the_whole_clip_does(name):
    """Whatever the lengths modulo the stride, one request after another."""
    time = AXES[name]
    clip = np.random.default_rng(0).uniform(size=70)
    requests = 0
    for total in (9, 13, 40, 41, 42, 43, 70):
        whole = run(time, clip[:total])
        steps = time.count(total)
        assert len(whole) == steps
        for window, hop, sent in ((1, 1, 31), (2, 1, 37), (3, 3, 39)):
            answered, begin, frame = [], 0, 0
            length = min(window, steps)
            while begin >= 0:
                part = clip[frame:total][:sent]
                p = plan(time, len(part), begin, total, window, hop)
                assert p["first"] * time.stride == frame
                assert p["window"] == length
                features = run(time, part[: p["used"]])
                for step in p["begins"]:
                    there = features[step - p["first"] :][:length]
                    np.testing.assert_allclose(
                        there, whole[step : step + length]
                    )
                answered += p["begins"]
                assert p["next_begin"] > begin or p["next_begin"] == -1
                begin, frame = p["next_begin"], p["next_frame"]
                requests += 1
            assert frame == total
            assert answered == windows_of(steps, window, hop)
    assert requests > 21


def test_no_window_waits_that_could_be_answered():
    """A step sees the 5 frames before its 4 and the 5 after."""
    time = Axis(((14, 4, 5),))
    total = 60  # 15 steps
    for begin, first in ((0, 0), (4, 2)):
        rest = total - 4 * first
        # More may be sent than the clip has: padding.
        for length in range(4 * (begin + 5 - first), rest + 9):
            p = plan(time, length, begin, total, 3, 2)
            assert p["first"] == first
            if length < rest:  # two whole steps must follow
                assert p["used"] == length - length % 4
                seen = first + length // 4 - 2
            else:
                assert p["used"] == rest
                seen = 15
            expected = [b for b in range(begin, 13, 2) if b + 3 <= seen]
            assert p["begins"] == expected


def test_frames_that_are_too_few_are_refused_with_the_number_that_is_enough():
    time = AXES["same"]
    for total in (60, 63):
        for begin in (0, 1, 5):
            least = (begin + 3 + 3 - max(begin - 3, 0) + 1) * 4 - 1
            assert plan(time, least, begin, total, 3, 1)["count"] >= 1
            for length in range(least - 5, least):
                try:
                    assert plan(time, length, begin, total, 3, 1)["count"] >= 1
                except tf.errors.InvalidArgumentError as error:
                    assert "`frames` must be enough" in str(error)
                    assert f"[{length}]" in str(error)
                    assert f"[{least}]" in str(error)


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({"most": 12}, 4),
        ({"most": 11}, 3),
        ({"in_memory": 12}, 4),
        ({"in_memory": 3}, 1),
        ({"most": 3, "in_memory": 9}, 1),
        ({"most": 60}, 18),
        ({"most": 54}, 18),
        ({"most": 53}, 17),
    ],
)
def test_no_more_windows_than_fit(limits, count):
    p = plan(AXES["frames"], 20, 0, 20, 3, 1, **limits)
    assert p["begins"] == list(range(count))
    is_done = count == 18
    assert p["next_begin"] == (-1 if is_done else count)
    assert p["next_frame"] == (20 if is_done else count)


def test_the_next_request_sees_what_its_first_window_does():
    """Two steps before it, but for those before the clip."""
    time = Axis(((14, 4, 5),))
    for begin, next_frame in ((0, 0), (1, 0), (2, 4), (8, 28)):
        p = plan(time, 60, begin, 60, 3, 1, most=3)
        assert p["begins"] == [begin]
        assert (p["next_begin"], p["next_frame"]) == (begin + 1, next_frame)


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        ({"total": 4}, {"total": 3}, "`total` must be .* at least 4"),
        ({"begin": 7}, {"begin": 8}, "`begin` must be that of a window within"),
        ({"window": 5}, {"window": 6}, "`window` must be at most 5 steps"),
        (
            {"window": 5, "in_memory": 5},
            {"window": 5, "in_memory": 4},
            "do not fit in the `memory`",
        ),
        ({"hop": 3}, {"hop": 4}, "`hop` must be at most `window`"),
    ],
)
def test_what_cannot_be_is_refused(good, bad, message):
    time = Axis(((4, 4, (0, 0)),))
    usual = {"length": 40, "begin": 0, "total": 40, "window": 3, "hop": 1}
    plan(time, **usual | good, most=5)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        plan(time, **usual | bad, most=5)


def test_clips_of_a_batch_have_plans_of_their_own():
    """Shorter lists of windows end with -1."""
    time = AXES["steps"]
    lengths, begin, total = [40, 8, 20], [0, 0, 2], [40, 8, 60]
    window, hop, in_memory = [3, 3, 1], [2, 3, 1], [MANY] * 3
    numbers = (lengths, begin, total, window, hop, in_memory)
    result = graph(time, MANY)(*(np.array(x, np.int64) for x in numbers))
    assert result["begins"].numpy().tolist() == [
        [0, 2, 4, 6, 7],
        [0, -1, -1, -1, -1],
        [2, 3, 4, 5, 6],
    ]
    assert result["count"].numpy().tolist() == [5, 1, 5]
    assert result["window"].numpy().tolist() == [3, 2, 1]
    assert result["next_begin"].numpy().tolist() == [-1, -1, 7]
    assert result["next_frame"].numpy().tolist() == [40, 8, 28]
    assert {values.dtype for values in result.values()} == {tf.int32}
