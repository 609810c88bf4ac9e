"""Runs a backbone over a clip of any length, window by window."""

import itertools
from collections.abc import Callable
from collections.abc import Iterator

import numpy as np


def run_in_windows(
    run: Callable[[np.ndarray], np.ndarray],
    frames: Iterator[np.ndarray],
    count: Callable[[], int],
    window: int | None,
    stride: int,
    reach: int,
) -> tuple[np.ndarray, int]:
    """Returns the feature map of a clip, as if it were run as a whole.

    Windows overlap by as much as a step of the feature map sees beyond its own
    frames; of each window, the steps that saw all they should are kept. Their
    values are those of the whole clip up to rounding: windows begin at a
    multiple of `stride` and, by their length, are padded as the clip is ("SAME"
    padding differs between even and odd lengths).

    Args:
        run: The network: frames `(frames, height, width, channels)` -> feature
            map `(ceil(frames / stride), height, width, channels)`.
        frames: The frames of the clip, one by one. At most `window + 1` are
            held at a time.
        count: Returns the number of frames of the clip; called only for a clip
            that is longer than a window.
        window: Largest number of frames that the network is shown at once;
            `None` for no limit.
        stride: Number of frames that one step covers.
        reach: Number of frames that a step sees before those that it covers,
            or after them: the larger of the two.

    Returns:
        The feature map, and the number of frames.

    Raises:
        ValueError: If a window is too short for its overlaps.
    """
    held = list(itertools.islice(frames, window and window + 1))
    if window is None or len(held) <= window:
        return run(np.stack(held)), len(held)

    total = count()
    overlap = -(-reach // stride)  # steps a side
    length = window - (window - total) % stride
    kept = length // stride - overlap  # steps of a window, its first ones
    if kept <= overlap:
        raise ValueError(
            "`window` must be more than twice the overlap, of "
            f"{overlap * stride} frames a side. Received: window={window}"
        )
    maps = []
    first = 0  # step of the clip that the window begins with
    while True:
        held += itertools.islice(frames, max(0, length - len(held)))
        is_last = first * stride + length >= total
        features = run(np.stack(held[:length]))
        begin = overlap if first else 0
        maps.append(features[begin:] if is_last else features[begin:kept])
        if is_last:
            return np.concatenate(maps), total
        held = held[(kept - overlap) * stride :]
        first += kept - overlap
