"""Clips of video files that are read when they are needed."""

import itertools
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.augmentation import View
from actx_tf.data.backbone_input import seen_frames
from actx_tf.data.clip_index import Clip
from actx_tf.data.video import ClipFrames
from actx_tf.data.video import VideoError
from actx_tf.utils.optional import import_optional

_READERS = 4  # in parallel


class VideoClip(NamedTuple):
    """A clip that can be read, and how much of it there is.

    Attributes:
        clip: The clip.
        frames: Number of frames that the backbone sees of it.
        height: Rows of its frames, in the file or inside of its box.
        width: Their columns.
    """

    clip: Clip
    frames: int
    height: int
    width: int


def find_readable(
    clips: Sequence[Clip],
    description: BackboneDescription,
    progress: bool = True,
) -> tuple[dict[str, VideoClip], list[tuple[Clip, str]]]:
    """Decodes each clip once: what cannot be read is known before training.

    Args:
        clips: The clips.
        description: What the backbone sees of them; it must see RGB frames
            of one size.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        A tuple `(readable, failed)`: the clips that can be read, by name, and
        a list of `(clip, message)` of the others.

    Raises:
        ValueError: If the backbone sees something else.
    """
    frame_size(description)
    tqdm = import_optional("tqdm", "Reading clips")
    readable, failed = {}, []
    readers = ThreadPoolExecutor(_READERS)
    try:
        found = readers.map(lambda clip: _measure(clip, description), clips)
        bar = tqdm.tqdm(
            found, total=len(clips), unit="clip", disable=not progress
        )
        for clip, measured in zip(clips, bar, strict=True):
            if isinstance(measured, VideoClip):
                readable[clip.clip] = measured
            else:
                failed.append((clip, measured))
    finally:  # after Ctrl-C, no more clips are begun
        readers.shutdown(cancel_futures=True)
    return readable, failed


def frame_size(description: BackboneDescription) -> tuple[int, int]:
    """Returns (height, width) of the frames that a backbone is trained on.

    Where it takes frames of any proportions, they are squares.

    Raises:
        ValueError: If it does not see RGB frames of one size.
    """
    size = description.size
    if description.stream != "rgb" or size is None:
        raise ValueError(
            "`backbone` must see RGB frames of a size that it says, to be "
            f"trained on video files. Received: stream={description.stream!r}, "
            f"size={size}"
        )
    return (size, size) if isinstance(size, int) else size


def iterate_stretch(
    video: VideoClip,
    description: BackboneDescription,
    first: int,
    count: int,
    view: View | None = None,
) -> Iterator[np.ndarray]:
    """Reads some of the frames of a clip, one by one.

    Args:
        video: The clip.
        description: What the backbone sees.
        first: Number of the first frame.
        count: Number of frames.
        view: How they are shown, and then of the size of `frame_size`.
            Defaults to `None`: as the backbone sees the clip.

    Yields:
        uint8 `(height, width, 3)`, no more than there are.

    Raises:
        VideoError: If the video cannot be read.
    """
    clip, rate = video.clip, description.frame_rate
    start, end, skipped = clip.start, clip.end, first
    count = min(count, video.frames - first)
    # Only where frames are evenly spaced is it known where one begins.
    if rate is not None and count < video.frames:
        start += first / rate
        end = start + count / rate
        skipped = 0
    box = clip.box
    if view is not None:
        box = _box(video, view, square=isinstance(description.size, int))
    frames = seen_frames(description, clip.file, start, end, box)
    shown: Iterator[np.ndarray] = itertools.islice(
        frames, skipped, skipped + count
    )
    if view is not None:
        shown = map(view.apply, shown)
    read = 0
    for frame in shown:
        read += 1
        yield frame
    # Where the rate of a file varies, a frame can be lost to rounding. There is
    # at least one: `ClipFrames` sees to that.
    yield from [frame] * (count - read)


def read_stretch(
    video: VideoClip,
    description: BackboneDescription,
    first: int,
    count: int,
    view: View | None = None,
) -> np.ndarray:
    """Reads them all at once: see `iterate_stretch`.

    Args:
        video: The clip.
        description: What the backbone sees.
        first: Number of the first frame.
        count: Number of frames.
        view: How they are shown. Defaults to `None`.

    Returns:
        uint8 `(frames, height, width, 3)`.
    """
    return np.stack(
        list(iterate_stretch(video, description, first, count, view))
    )


def _box(video, view, square):
    """The part of the file's frames that a view shows."""
    x1, y1, x2, y2 = view.box(video.height, video.width, square)
    x, y, *_ = np.maximum(video.clip.box or (0, 0), 0).tolist()
    return x + x1, y + y1, x + x2, y + y2


def _measure(clip, description):
    """The clip with its sizes; or a sentence, why it cannot be read."""
    try:
        count = seen_frames(description, clip.file, **clip.part).count()
        frame = next(iter(ClipFrames(clip.file, **clip.part)))
    except VideoError as error:
        return str(error)
    return VideoClip(clip, count, *frame.shape[:2])
