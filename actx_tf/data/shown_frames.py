"""Frames to show people: in the shape of the file, no larger than needed."""

import os
from typing import Any

import numpy as np

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.video import ClipFrames
from actx_tf.data.video import read_clip

_MOST_FRAMES = 500
_MOST_PIXELS = 640  # of the longer side


def read_shown_frames(
    path: str | os.PathLike, longest: int, **sampling: Any
) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Reads a clip to show it, where a backbone may see squares.

    Args:
        path: Path of the video file.
        longest: Most pixels of the frames' longer side.
        **sampling: Arguments of `read_clip` but `size`.

    Returns:
        A tuple `(frames, frame_rate, size)`: the first two as `read_clip`
        returns them, and the (height, width) of the file's own frames, inside
        of `box` if it is given.

    Raises:
        VideoError: If the video cannot be read.
    """
    height, width = next(iter(ClipFrames(path, **sampling))).shape[:2]
    size = shrunk((height, width), longest)
    frames, frame_rate = read_clip(path, size=size, **sampling)
    return frames, frame_rate, (height, width)


def read_frames_of_clip(
    description: BackboneDescription,
    path: str | os.PathLike,
    num_frames: int,
    start: float = 0.0,
    end: float | None = None,
) -> tuple[np.ndarray, float]:
    """Reads the frames that a backbone saw, to show them.

    Args:
        description: What the backbone sees.
        path: Path of the video file.
        num_frames: Number of frames that it saw. Of more than 500, there are
            500, evenly over the clip.
        start: Where in the file the clip begins, in seconds. Defaults to `0.0`.
        end: Where it ends. Defaults to `None`: the end of the file.

    Returns:
        A tuple `(frames, frame_rate)`, as `read_clip` returns them. The longer
        side of the frames is at most 640 pixels.

    Raises:
        VideoError: If the video cannot be read.
    """
    sampling = {
        "num_frames": description.num_frames,
        "frame_rate": description.frame_rate,
    }
    if num_frames > _MOST_FRAMES:
        sampling = {"num_frames": _MOST_FRAMES}
    frames, frame_rate, _ = read_shown_frames(
        path, _MOST_PIXELS, **sampling, start=start, end=end
    )
    return frames, frame_rate


def shrunk(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The (height, width) of a frame whose longer side is at most `longest`.

    The aspect ratio is kept, and a frame that is small enough.
    """
    scale = min(1.0, longest / max(size))
    height, width = (max(1, round(scale * side)) for side in size)
    return height, width
