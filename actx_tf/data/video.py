"""Reads the frames of a video file, with PyAV."""

import math
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from actx_tf.backbones.description import resized
from actx_tf.data.resizing import resize_frame
from actx_tf.data.video_file import MOST_PIXELS
from actx_tf.data.video_file import VideoError as VideoError
from actx_tf.data.video_file import import_av
from actx_tf.data.video_file import open_video
from actx_tf.data.video_file import video_errors
from actx_tf.data.video_frames import deinterlaced
from actx_tf.data.video_frames import pixels_of
from actx_tf.data.video_times import duration
from actx_tf.data.video_times import find_start
from actx_tf.data.video_times import shown_frames
from actx_tf.utils.checks import check_above_zero
from actx_tf.utils.checks import check_positive

# Annotated times are rounded, mostly to tenths or halves of a second.
_MOST_SECONDS_AFTER_THE_END = Fraction(1, 2)
# Copies of one frame would take all memory.
_MOST_SECONDS_ON_DISPLAY = 600


def read_clip(
    path: str | os.PathLike,
    num_frames: int | None = None,
    frame_rate: float | None = None,
    size: int | tuple[int, int] | None = None,
    start: float = 0.0,
    end: float | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> tuple[np.ndarray, float]:
    """Reads a clip, or samples of it.

    As `ClipFrames`, which see for the arguments and what is sampled; but all
    frames at once.

    Returns:
        A tuple `(frames, frame_rate)`: RGB values, uint8, of the shape
        `(frames, height, width, 3)`, and the frames per second of these
        frames, a float (their mean where every frame of a file of varying
        rate is returned).

    Raises:
        VideoError: If the video cannot be read; see `ClipFrames`.
        ValueError: If an argument is wrong.
    """
    clip = ClipFrames(path, num_frames, frame_rate, size, start, end, box)
    frames = np.stack(list(clip))
    assert clip.frame_rate is not None  # known after an iteration
    return frames, clip.frame_rate


class ClipFrames:
    """The frames of a clip, or samples of it, read one by one.

    The clip is cut into equal intervals of time, and each gives the frame
    that is on display at its middle. So frames are left out or repeated as
    needed, also where the frame rate of the file varies. Frames are resized
    one by one: the decoded clip is never in memory at its full size.

    Frames and times are those that a player shows, by FFmpeg's rules:

    - Frames are upright: rotated and mirrored as the file says, an image as
      its EXIF data say. `size` and `box` refer to upright frames. Other angles
      than 90, 180 and 270 degrees are refused.
    - Pixels are square: where those of the file are not, as on DVDs, frames
      are made wider or higher, so that no row or column is lost. (The pixels
      of an image are taken as they are.)
    - Frames that are flagged as interlaced are deinterlaced, one frame for
      each.
    - Where the clock of an MPEG-TS, MPEG-PS or Ogg file starts over or jumps
      by more than ten seconds, as where files were joined, the time goes on.
      What cannot be decoded at the beginning of such a file is left out. In
      other formats, a clock that starts over is refused.
    - Empty chunks of AVI files, of dropped frames, keep the frame before them
      on display.
    - Files without time stamps, or where all are the same, have evenly spaced
      frames, at the rate that the file declares.
    - Covers and thumbnails are not videos: the first other stream is read.
    - Animated WebP, which FFmpeg does not decode, is refused.

    A stretch of a file is read from the keyframe before it. In MPEG-TS,
    MPEG-PS and Ogg files, what comes before that is read, but not decoded; in
    AVI files and raw streams, it is decoded too.

    The file alone is read: a playlist that names other files or addresses is
    not a video here. Frames have at most 134 million pixels, and none is on
    display for more than ten minutes.

    Where the shape of the frames changes within a file, all are resized to the
    first one's. Colours without tags are taken as BT.601. An image is a clip of
    one frame.

    Iterating gives arrays `(height, width, 3)` of RGB values, uint8; each
    iteration reads the file anew.

    Args:
        path: Path of the video file.
        num_frames: Number of frames to return, evenly over the clip.
        frame_rate: Frames per second to return. At most one of `num_frames`
            and `frame_rate` can be given; without both, every frame is
            returned.
        size: (height, width) of the returned frames, in pixels, where the
            aspect ratio is not kept; or one integer, the length of the
            shorter side, where it is. Defaults to the size of the first
            frame, or of its part inside `box`.
        start: Where in the file the clip begins, in seconds since the first
            frame. Defaults to `0`.
        end: Where it ends, in seconds; a frame is in the clip if its middle
            lies in `[start, end)`. It can lie up to half a second after the
            end of the file, where the last frame stays on display for
            `num_frames`, and there are no frames otherwise. Defaults to the
            end of the file.
        box: (x1, y1, x2, y2), the part of the frames to return, in pixels of
            the frames as they are shown: upright and square. What lies outside
            of them is cut off. Defaults to whole frames.

    Attributes:
        frame_rate: Frames per second of the frames, a float; known before an
            iteration has come to its end only where the argument was given.

    Raises:
        VideoError: When iterating, if the file is missing, is not a video, has
            no frames, does not decode, or is truncated: its frames end sooner
            than the container declares, by more than 3 frames or 2 percent of
            its length, whichever is longer. (Ordinary containers are off by a
            frame or two. One that declares no length for its video, such
            as Matroska with sound, or whose clock can start over, such as
            MPEG-TS, cannot be checked; nor is what comes after `end`.) Or if
            the clip begins after the end of the file, ends half a second or
            more after it, or `box` lies outside of the frames.
        ValueError: If an argument is wrong.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        num_frames: int | None = None,
        frame_rate: float | None = None,
        size: int | tuple[int, int] | None = None,
        start: float = 0.0,
        end: float | None = None,
        box: tuple[int, int, int, int] | None = None,
    ) -> None:
        _check_arguments(num_frames, frame_rate, size)
        _check_part(start, end, box)
        import_av()
        self._path = path
        self._num_frames = num_frames
        self._size = size
        self._start = Fraction(start)
        self._end = None if end is None else Fraction(end)
        self._box = box
        self.frame_rate = frame_rate

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._read()

    def count(self) -> int:
        """Returns the number of frames; the file is decoded for it."""
        return sum(1 for _ in self._read(pixels=False))

    def _read(self, pixels=True):
        path, num_frames = self._path, self._num_frames
        with video_errors(path):
            rate = None
            if num_frames is not None:
                stop = self._end
                if stop is None:
                    stop = duration(path)
                    _check_begin(self._start, stop)
                rate = num_frames / (stop - self._start)
            elif self.frame_rate is not None:
                rate = Fraction(self.frame_rate)
            origin, target, skipped = find_start(path, self._start)
            with open_video(path) as stream:
                if target is not None:
                    stream.container.seek(target, stream=stream)
                shown = shown_frames(stream, origin, skipped)
                convert = _no_pixels
                if pixels:
                    shown = deinterlaced(shown)
                    convert = frame_converter(stream, self._size, self._box)
                count = seconds = 0
                for image, copies, on_display in sample_frames(
                    shown, rate, self._start, self._end, convert
                ):
                    seconds += on_display
                    for _ in range(copies):
                        # The frames can differ a little from what the packets
                        # announce.
                        if count != num_frames:
                            count += 1
                            yield image
                if rate is None:
                    rate = count / seconds
            for _ in range(count, num_frames or 0):
                yield image
            self.frame_rate = float(rate)


def video_duration(path: str | os.PathLike) -> float:
    """Returns the seconds from the first frame to the end of the last.

    The file is read, but only its first frame is decoded.

    Args:
        path: Path of the video file.

    Raises:
        VideoError: If the file is missing, is not a video, or has no frames.
    """
    import_av()
    with video_errors(path):
        return float(duration(path))


def video_frame_rate(path: str | os.PathLike) -> float:
    """Returns the frames per second that a video file declares.

    Args:
        path: Path of the video file.

    Raises:
        VideoError: If the file is missing, is not a video, or declares none.
    """
    import_av()
    with video_errors(path), open_video(path) as stream:
        if not stream.average_rate:
            raise VideoError("the file declares no frame rate")
        return float(stream.average_rate)


def cut_box(
    frames: np.ndarray, box: tuple[int, int, int, int] | None
) -> np.ndarray:
    """Returns the part of frames inside a box.

    Args:
        frames: `(..., height, width, channels)`.
        box: (x1, y1, x2, y2), in pixels; what lies outside of the frames is cut
            off. `None`: all of them.

    Raises:
        VideoError: If the box lies outside of the frames.
    """
    if box is None:
        return frames
    height, width = frames.shape[-3:-1]
    x1, y1, x2, y2 = box
    x1, x2 = max(x1, 0), min(x2, width)
    y1, y2 = max(y1, 0), min(y2, height)
    if x1 >= x2 or y1 >= y2:
        raise VideoError(
            f"the box {tuple(box)} lies outside of the frames, which are "
            f"{width} pixels wide and {height} high"
        )
    return np.ascontiguousarray(frames[..., y1:y2, x1:x2, :])


def sample_frames(
    shown: Iterable[tuple[Any, Fraction, Fraction]],
    rate: Fraction | None,
    start: Fraction,
    end: Fraction | None,
    convert: Callable[[Any], Any],
) -> Iterator[tuple[Any, int, Fraction]]:
    """Yields (converted frame, how often it is sampled, seconds on display).

    See `ClipFrames` for what is sampled.

    Args:
        shown: Frames of PyAV, each with its begin and end in seconds.
        rate: Frames per second to take; `None`: each frame once.
        start: Where the clip begins, in seconds.
        end: Where it ends; `None`: with the frames.
        convert: What makes of a frame that is taken what is yielded.
    """

    def samples_before(time):
        # Sample k is taken at (k + 1/2) / rate seconds, and a little later:
        # Matroska rounds time stamps to milliseconds, and a sample on the
        # border of two frames would take now the one, now the other.
        slack = min(rate / 1000, Fraction(1, 4))
        return max(0, math.ceil((time - start) * rate - slack - Fraction(1, 2)))

    last = None
    sampled = 0
    for frame, begin, stop in shown:
        if end is not None and begin >= end:
            break
        last = frame, begin, stop
        if stop - begin > _MOST_SECONDS_ON_DISPLAY:
            raise VideoError(
                "its time stamps are wrong: a frame would be on display for "
                f"{float(stop - begin):.0f} seconds"
            )
        if rate is None:
            middle = (begin + stop) / 2
            copies = int(start <= middle and (end is None or middle < end))
        else:
            upto = stop if end is None else min(stop, end)
            copies = samples_before(upto) - samples_before(begin)
        if copies:
            sampled += copies
            yield convert(frame), copies, stop - begin
    else:
        if last is None:
            raise VideoError("the video has no frames")
        _check_begin(start, stop)
        if end is not None and end - stop >= _MOST_SECONDS_AFTER_THE_END:
            raise VideoError(
                f"the clip ends at {float(end):.2f} seconds, and the video at "
                f"{float(stop):.2f}"
            )
    if not sampled:
        # A clip shorter than half an interval gives its last frame.
        assert last is not None
        frame, begin, stop = last
        yield convert(frame), 1, stop - begin


def _check_begin(start, duration):
    if start >= duration:
        raise VideoError(
            f"the clip begins at {float(start):.2f} seconds, and the video "
            f"ends at {float(duration):.2f}"
        )


def _no_pixels(frame):
    return None


def frame_converter(
    stream: Any,
    size: int | tuple[int, int] | None,
    box: tuple[int, int, int, int] | None = None,
) -> Callable[[Any], np.ndarray]:
    """Returns a function: decoded frame -> RGB values, all of one size."""
    fixed = None
    pixels = pixels_of(stream)

    def convert(frame):
        nonlocal fixed
        image = pixels(frame)
        image = cut_box(image, box)
        height, width = image.shape[:2]
        if fixed is None:
            fixed = resized(size, height, width)
            if fixed[0] * fixed[1] > MOST_PIXELS:
                raise VideoError(
                    f"a frame of {width} by {height} pixels would be resized "
                    f"to {fixed[1]} by {fixed[0]}"
                )
        return resize_frame(image, fixed)

    return convert


def _check_arguments(num_frames, frame_rate, size):
    if num_frames is not None and frame_rate is not None:
        raise ValueError(
            "At most one of `num_frames` and `frame_rate` can be given. "
            f"Received: num_frames={num_frames}, frame_rate={frame_rate}"
        )
    if num_frames is not None:
        check_positive("num_frames", num_frames)
    if frame_rate is not None:
        check_above_zero("frame_rate", frame_rate, "frames per second")
    if not (
        size is None
        or _is_positive_integer(size)
        or (
            isinstance(size, (tuple, list))
            and len(size) == 2
            and all(map(_is_positive_integer, size))
        )
    ):
        raise ValueError(
            "`size` must be two positive integers (height, width), or one (the "
            f"shorter side). Received: size={size}"
        )


def _check_part(start, end, box):
    if not 0 <= start < math.inf:
        raise ValueError(
            "`start` must be 0 or more and finite (seconds). "
            f"Received: start={start}"
        )
    if end is not None and not start < end < math.inf:
        raise ValueError(
            "`end` must be after `start` and finite (seconds). "
            f"Received: start={start}, end={end}"
        )
    if box is not None and not (
        isinstance(box, (tuple, list))
        and len(box) == 4
        and all(isinstance(side, (int, np.integer)) for side in box)
        and box[0] < box[2]
        and box[1] < box[3]
    ):
        raise ValueError(
            "`box` must be four integers (x1, y1, x2, y2) with x1 < x2 and "
            f"y1 < y2. Received: box={box}"
        )


def _is_positive_integer(value):
    return isinstance(value, (int, np.integer)) and value >= 1
