"""The frames of a video as a backbone sees them."""

import os
from collections.abc import Iterator

import numpy as np

from actx_tf.backbones.description import RESIZING
from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.flow import optical_flow
from actx_tf.data.video import ClipFrames


def seen_frames(
    description: BackboneDescription,
    file: str | os.PathLike,
    start: float = 0.0,
    end: float | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> "ClipFrames | FlowFrames":
    """Returns the frames of a clip as a backbone sees them, read one by one.

    Args:
        description: What the backbone sees.
        file: Path of the video file.
        start: As in `ClipFrames`. Defaults to `0.0`.
        end: As in `ClipFrames`. Defaults to `None`: the end of the file.
        box: As in `ClipFrames`. Defaults to `None`: whole frames.

    Returns:
        `ClipFrames`; or, if the backbone sees flow, `FlowFrames` of them. Both
        are iterated over and have `frame_rate` and `count()`.

    Raises:
        ValueError: If an argument is wrong, or the frames would have to be
            resized in another way than this version does.
    """
    if description.resizing != RESIZING:
        raise ValueError(
            f"`description` must have resizing={RESIZING!r}: frames are "
            "resized in no other way. "
            f"Received: resizing={description.resizing!r}"
        )
    frames = ClipFrames(
        file, **description.sampling, start=start, end=end, box=box
    )
    if description.flow_method is not None:
        return FlowFrames(frames, description.flow_method)
    return frames


class FlowFrames:
    """The optical flow from each frame of a clip to the next.

    The last frame, which has no next one, gives the flow of the frame before
    it again. Iterating gives arrays `(height, width, 2)`: see `optical_flow`.

    Args:
        frames: The frames.
        method: As in `optical_flow`.
    """

    def __init__(self, frames: ClipFrames, method: str) -> None:
        self._frames = frames
        self._method = method

    @property
    def frame_rate(self) -> float | None:
        """Frames per second; as in `ClipFrames`."""
        return self._frames.frame_rate

    def count(self) -> int:
        """Returns the number of frames; as in `ClipFrames`."""
        return self._frames.count()

    def __iter__(self) -> Iterator[np.ndarray]:
        frames = iter(self._frames)
        frame, flow = next(frames), None
        for successor in frames:
            flow = self._flow(frame, successor)
            yield flow
            frame = successor
        yield self._flow(frame) if flow is None else flow

    def _flow(self, *frames):
        return optical_flow(np.stack(frames), self._method)[0]
