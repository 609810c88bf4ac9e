"""Which windows of a long clip a request with a part of it can answer.

In TensorFlow's graphs, so that clients need no arithmetic of receptive fields.
"""

from typing import NamedTuple

import tensorflow as tf

from actx_tf.backbones.description import Axis
from actx_tf.backbones.description import BackboneDescription


class WindowPlan(NamedTuple):
    """What is answered of each clip's part; int32, `(batch,)` each.

    Attributes:
        first: Step of the clip with which the part begins.
        used: How many of the part's frames are run.
        window: Steps of a window: the clip's, if it is shorter.
        count: Number of the windows.
        begins: Steps of the clip with which they begin, `(batch, windows)`;
            -1 where a clip has no more.
        next_begin: Step with which the next request's windows begin; -1 if
            there is none.
        next_frame: Frame of the clip with which the next request begins.
        checks: Operations that fail if a clip has no window.
    """

    first: tf.Tensor
    used: tf.Tensor
    window: tf.Tensor
    count: tf.Tensor
    begins: tf.Tensor
    next_begin: tf.Tensor
    next_frame: tf.Tensor
    checks: list[tf.Operation]


def plan_windows(
    description: BackboneDescription,
    lengths: tf.Tensor,
    begin: tf.Tensor,
    total: tf.Tensor,
    window: tf.Tensor,
    hop: tf.Tensor,
    max_steps: int,
    in_memory: tf.Tensor,
) -> WindowPlan:
    """Plans the answer to parts of long clips.

    Windows lie as in `answer_in_windows`, on steps that see what they do in the
    whole clip: see `steps_in_windows`.

    Args:
        description: What the backbone sees.
        lengths: Number of frames of each part.
        begin: Step of the clip with which its first window begins.
        total: Number of frames of the whole clip.
        window: Steps of a window.
        hop: Steps from one window to the next.
        max_steps: Steps that the windows of a part may have in all: of more,
            the first ones are answered.
        in_memory: The same, of what fits in memory, for each part; int64.
    """
    lengths, begin, total, window, hop = (
        tf.cast(x, tf.int64) for x in (lengths, begin, total, window, hop)
    )
    stride = description.frames_per_step
    overlap = -(-(description.receptive_radius or 0) // stride)
    steps = count_locations(description.time, total)
    asked_window = window
    window = tf.maximum(tf.minimum(window, steps), 1)
    last = steps - window  # where the last window begins
    first = tf.maximum(begin - overlap, 0)
    is_end = first * stride + lengths >= total
    # "SAME" padding differs between even and odd lengths.
    aligned = lengths - tf.math.floormod(lengths - total, stride)
    used = tf.where(
        is_end, tf.minimum(lengths, total - first * stride), aligned
    )
    exact = tf.where(is_end, steps, first + aligned // stride - overlap)
    count = (exact - window - begin) // hop + 1
    # The last window ends with the last step, wherever that is.
    is_short = tf.less(begin + (count - 1) * hop, last)
    count += tf.cast(is_end & is_short, tf.int64)
    needed = (begin + window + overlap - first + 1) * stride - 1
    checks = [
        tf.debugging.assert_positive(
            steps,
            "`total` must be frames enough for a step: at least "
            f"{description.time.least_size(1)}",
        ),
        tf.debugging.assert_less_equal(
            begin, last, "`begin` must be that of a window within `total`"
        ),
        tf.debugging.assert_less_equal(
            window,
            tf.constant(max_steps, tf.int64),
            f"`window` must be at most {max_steps} steps",
        ),
        tf.debugging.assert_less_equal(
            window,
            in_memory,
            "`window` must be shorter, or `frames` smaller: x steps do not fit "
            "in the `memory` of the export, y do",
        ),
        tf.debugging.assert_less_equal(
            hop, asked_window, "`hop` must be at most `window`"
        ),
    ]
    with tf.control_dependencies(checks):
        enough = tf.debugging.assert_greater_equal(
            tf.where(count > 0, needed, lengths),
            needed,
            "`frames` must be enough for a window: x were sent, y are needed",
        )
    most = tf.minimum(tf.constant(max_steps, tf.int64), in_memory)
    count = tf.clip_by_value(count, 0, most // window)
    places = tf.range(tf.reduce_max(count))
    begins = begin[:, tf.newaxis] + places * hop[:, tf.newaxis]
    begins = tf.minimum(begins, last[:, tf.newaxis])
    is_done = begin + (count - 1) * hop >= last
    none = tf.constant(-1, tf.int64)
    next_begin = tf.where(is_done, none, tf.minimum(begin + count * hop, last))
    next_frame = tf.maximum(next_begin - overlap, 0) * stride
    begins = tf.where(places < count[:, tf.newaxis], begins, none)
    next_frame = tf.where(is_done, total, next_frame)
    first, used, window, count, begins, next_begin, next_frame = (
        tf.cast(x, tf.int32)
        for x in (first, used, window, count, begins, next_begin, next_frame)
    )
    return WindowPlan(
        first=first,
        used=used,
        window=window,
        count=count,
        begins=begins,
        next_begin=next_begin,
        next_frame=next_frame,
        checks=[*checks, enough],
    )


def count_locations(axis: Axis, size: tf.Tensor) -> tf.Tensor:
    """`Axis.count` of sizes that are known when the graph runs."""
    for kernel, stride, padding in axis.stages:
        if isinstance(padding, tuple):
            size = (size + sum(padding) - kernel) // stride + 1
            size = tf.maximum(size, 0)
        else:
            size = -(-size // stride)
    return size
