"""Runs a backbone over a clip of any length, window by window."""

import itertools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import numpy as np


class WindowLayout(NamedTuple):
    """How windows lie over a clip that is longer than one.

    Attributes:
        length: Frames of a window; the last one may have fewer.
        hop: Steps from one window to the next.
        overlap: Steps at an end of a window that do not see all they should,
            where the clip goes on: they are left out.
    """

    length: Any
    hop: Any
    overlap: int


def lay_windows(
    total: Any, window: Any, frames_per_step: int, receptive_radius: int
) -> WindowLayout:
    """Lays windows over a clip: see `steps_in_windows`.

    In Python or in a graph: the first two are integers, or tensors of them.

    Args:
        total: Number of frames of the clip.
        window: Largest number of frames of a window; `check_window` says which
            are too short.
        frames_per_step: As in `steps_in_windows`.
        receptive_radius: As in `steps_in_windows`.
    """
    overlap = -(-receptive_radius // frames_per_step)
    length = window - (window - total) % frames_per_step
    return WindowLayout(
        length, length // frames_per_step - 2 * overlap, overlap
    )


def steps_in_windows(
    run: Callable[[np.ndarray], np.ndarray],
    frames: Iterator[np.ndarray],
    count: Callable[[], int],
    window: int | None,
    frames_per_step: int,
    receptive_radius: int | None,
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields the feature map of a clip, as if it were run as a whole.

    Windows overlap by as much as a step of the feature map sees beyond its own
    frames; of each window, the steps that saw all they should are kept. Their
    values are those of the whole clip up to rounding: windows begin at a
    multiple of `frames_per_step` and, by their length, are padded as the clip
    is ("SAME" padding differs between even and odd lengths).

    Args:
        run: The network: frames `(frames, height, width, channels)` -> feature
            map `(steps, height, width, channels)`: `frames / frames_per_step`
            of them, give or take what is padded or cut off at the ends.
        frames: The frames of the clip, one by one. At most `window + 1` are
            held at a time.
        count: Returns the number of frames of the clip; called only for a clip
            that is longer than a window.
        window: Largest number of frames that the network is shown at once;
            `None` for no limit.
        frames_per_step: Number of frames that one step covers.
        receptive_radius: Number of frames that a step sees before those that
            it covers, or after them: the larger of the two. `None`: each step
            sees the whole clip, which takes `window=None`.

    Yields:
        The next steps of the feature map, and how many frames of the clip are
        done by then: in the end, all.

    Raises:
        ValueError: If `window` does not fit the steps, or what the network
            returns does not.
    """
    check_window(window, frames_per_step, receptive_radius)
    held = list(itertools.islice(frames, window and window + 1))
    if window is None or receptive_radius is None or len(held) <= window:
        yield run(np.stack(held)), len(held)
        return

    total = count()
    length, hop, overlap = lay_windows(
        total, window, frames_per_step, receptive_radius
    )
    kept = overlap + hop  # steps of the first window
    first = 0  # step of the clip that the window begins with
    while True:
        held += itertools.islice(frames, max(0, length - len(held)))
        is_last = first * frames_per_step + length >= total
        shown = min(length, len(held))
        features = run(np.stack(held[:shown]))
        # What is padded or cut off at an end is within the radius.
        if abs(len(features) - shown / frames_per_step) >= overlap + 1:
            raise ValueError(
                f"`frames_per_step` must be that of the network. "
                f"Received: frames_per_step={frames_per_step}, and "
                f"{len(features)} steps of {shown} frames"
            )
        begin = overlap if first else 0
        if is_last:
            yield features[begin:], total
            return
        yield features[begin:kept], (first + kept) * frames_per_step
        held = held[hop * frames_per_step :]
        first += hop


def check_window(
    window: int | None, frames_per_step: int, receptive_radius: int | None
) -> None:
    """Raises `ValueError` if windows of this length have no whole steps."""
    if window is None:
        return
    if receptive_radius is None:
        raise ValueError(
            "`window` must be None: each step of this network sees the whole "
            f"clip. Received: window={window}"
        )
    least = least_window(frames_per_step, receptive_radius)
    if window < least:
        raise ValueError(
            f"`window` must be at least {least} frames, as steps of "
            f"{frames_per_step} frames see {receptive_radius} more on each "
            f"side. Received: window={window}"
        )


def least_window(frames_per_step: int, receptive_radius: int) -> int:
    """Returns the frames of the shortest windows that can be laid."""
    overlap = -(-receptive_radius // frames_per_step)
    # Some windows are shorter, by less than a step.
    return (2 * overlap + 2) * frames_per_step - 1
