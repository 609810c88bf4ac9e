"""Reads the frames of a video file, with PyAV."""

import math
import os
from fractions import Fraction

import numpy as np


class VideoError(ValueError):
    """A video file that cannot be read; the message names the file."""


def read_clip(
    path: str | os.PathLike,
    num_frames: int | None = None,
    frame_rate: float | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[np.ndarray, float]:
    """Reads a clip, or samples of it.

    The clip is cut into equal intervals of time, and each gives the frame
    that is on display at its middle. So frames are left out or repeated as
    needed, also where the frame rate of the file varies. Frames are resized
    one by one: the decoded clip is never in memory at its full size.

    The rotation that a phone notes in its files is not applied. Colours
    without tags are taken as BT.601.

    Args:
        path: Path of the video file. Its first video stream is read.
        num_frames: Number of frames to return, evenly over the clip.
        frame_rate: Frames per second to return. At most one of `num_frames`
            and `frame_rate` can be given; without both, every frame is
            returned.
        size: (height, width) of the returned frames, in pixels; the aspect
            ratio is not kept. Defaults to the size of the first frame.

    Returns:
        A tuple `(frames, frame_rate)`: RGB values, uint8, of the shape
        `(frames, height, width, 3)`, and the frames per second of these
        frames, a float (their mean where every frame of a file of varying
        rate is returned).

    Raises:
        VideoError: If the file is missing, is not a video, has no frames,
            does not decode, or is truncated: its frames end sooner than the
            container declares, by more than 3 frames or 2 percent of its
            length, whichever is longer. (Ordinary containers are off by a
            frame or two. One that declares no length for its video, such
            as Matroska with sound or MPEG-TS, cannot be checked.)
        ValueError: If an argument is wrong.
    """
    _check_arguments(num_frames, frame_rate, size)
    av = _import_av()
    try:
        rate = None if frame_rate is None else Fraction(frame_rate)
        if num_frames is not None:
            rate = num_frames / _duration(av, path)
        with av.open(os.fspath(path)) as container:
            stream = _video_stream(container)
            frames, count, duration = _sample(stream, rate, size)
            _check_whole(container, stream, count, duration)
    # PyAV gives ValueError for a path with a NUL.
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{os.fspath(path)!r}: {error}") from error
    if num_frames is not None:
        # The frames can differ a little from what the packets announce.
        frames = (frames + frames[-1:] * num_frames)[:num_frames]
    return np.stack(frames), float(rate or count / duration)


def _sample(stream, rate, size):
    """Returns the sampled frames, the count and the seconds of all frames."""

    def samples_before(time):
        # Sample k is taken at (k + 1/2) / rate seconds, and a little later:
        # Matroska rounds time stamps to milliseconds, and a sample on the
        # border of two frames would take now the one, now the other.
        slack = min(rate / 1000, Fraction(1, 4))
        return max(0, math.ceil(time * rate - slack - Fraction(1, 2)))

    frames = []
    count = 0
    for frame, begin, end in _displayed(stream):
        count += 1
        size = size or (frame.height, frame.width)
        copies = 1
        if rate is not None:
            copies = samples_before(end) - samples_before(begin)
        if copies:
            frames += [_to_rgb(frame, size)] * copies
    if not count:
        raise VideoError("the video has no frames")
    # A clip shorter than half an interval gives its last frame.
    return frames or [_to_rgb(frame, size)], count, end


def _displayed(stream):
    """Yields (frame, begin, end): seconds since the first frame."""
    stream.thread_type = "AUTO"
    interval = _interval(stream)
    shown = start = None
    begin = Fraction(0)
    timed = True
    for packet in stream.container.demux(stream):
        timed = timed and _is_timed(stream, packet)
        for frame in packet.decode():
            timed = timed and frame.pts is not None
            if shown is None:
                start = frame.pts * frame.time_base if timed else 0
            else:
                end = begin + interval
                if timed:
                    end = max(frame.pts * frame.time_base - start, begin)
                yield shown, begin, end
                begin = end
            shown = frame
    if shown is not None:
        seconds = (shown.duration or 0) * shown.time_base if timed else 0
        yield shown, begin, begin + (seconds or interval)


def _duration(av, path):
    """Returns the seconds from the first frame's begin to the last's end.

    Packets tell it without decoding them.
    """
    with av.open(os.fspath(path)) as container:
        stream = _video_stream(container)
        packets = [
            packet
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
        if not packets:
            raise VideoError("the video has no frames")
        interval = _interval(stream)
        if not all(_is_timed(stream, packet) for packet in packets):
            return len(packets) * interval
        first = min(packets, key=lambda packet: packet.pts)
        last = max(packets, key=lambda packet: packet.pts)
        seconds = (last.duration or 0) * stream.time_base or interval
        return (last.pts - first.pts) * stream.time_base + seconds


def _is_timed(stream, packet):
    # Raw streams have no times, and those that FFmpeg gives to AVI are wrong
    # for reordered frames: there, frames are taken as evenly spaced.
    if stream.container.format.name == "avi":
        return False
    return packet.pts is not None or not packet.size


def _interval(stream):
    """Returns the nominal seconds between two frames."""
    return 1 / Fraction(stream.average_rate or 25)


def _video_stream(container):
    if not container.streams.video:
        raise VideoError("the file has no video stream")
    return container.streams.video[0]


def _check_whole(container, stream, count, duration):
    if stream.duration is not None:
        declared = stream.duration * stream.time_base
    elif container.duration is not None and len(container.streams) == 1:
        declared = Fraction(container.duration, 1_000_000)
    else:
        return
    if declared - duration > max(3 * duration / count, declared / 50):
        raise VideoError(
            "the video is truncated: its frames end after "
            f"{float(duration):.2f} of {float(declared):.2f} seconds"
        )


def _to_rgb(frame, size):
    height, width = size
    return frame.to_ndarray(
        format="rgb24", height=height, width=width, interpolation="BICUBIC"
    )


def _check_arguments(num_frames, frame_rate, size):
    if num_frames is not None and frame_rate is not None:
        raise ValueError(
            "At most one of `num_frames` and `frame_rate` can be given. "
            f"Received: num_frames={num_frames}, frame_rate={frame_rate}"
        )
    if num_frames is not None and not _is_positive_integer(num_frames):
        raise ValueError(
            "`num_frames` must be a positive integer. "
            f"Received: num_frames={num_frames}"
        )
    if frame_rate is not None and not 0 < frame_rate < math.inf:
        raise ValueError(
            "`frame_rate` must be positive and finite (frames per second). "
            f"Received: frame_rate={frame_rate}"
        )
    if size is not None and not (
        isinstance(size, (tuple, list))
        and len(size) == 2
        and all(map(_is_positive_integer, size))
    ):
        raise ValueError(
            "`size` must be two positive integers (height, width). "
            f"Received: size={size}"
        )


def _is_positive_integer(value):
    return isinstance(value, (int, np.integer)) and value >= 1


def _import_av():
    # Imported late: all but the reading of videos works without it.
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Reading videos takes PyAV: pip install actx_tf[video]"
        ) from error
    return av
