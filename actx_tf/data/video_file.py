"""Opens a video file, and nothing that it points to."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from actx_tf.utils.optional import import_optional

# What a broken or hostile file may claim of itself: beyond it, the pixels of a
# frame would take all memory.
MOST_PIXELS = 2**27


class VideoError(ValueError):
    """A video file that cannot be read; the message names the file."""


def import_av() -> Any:
    """Returns PyAV."""
    return import_optional("av", "Reading videos")


@contextlib.contextmanager
def video_errors(path: str | os.PathLike) -> Iterator[None]:
    """Names the file in whatever goes wrong with it."""
    av = import_av()
    try:
        yield
    # ValueError is a path with a NUL.
    except (av.FFmpegError, MemoryError, OSError, ValueError) as error:
        problem = str(error)
        if isinstance(error, av.FFmpegError):
            problem = _problem_of_ffmpeg(path, error)
        raise VideoError(f"{os.fspath(path)!r}: {problem}") from error


def _problem_of_ffmpeg(path, error):
    if _is_animated_webp(path):
        return (
            "FFmpeg does not decode animated WebP: turn it into a GIF or a "
            "video first"
        )
    return f"FFmpeg cannot read it: {error.strerror}"


@contextlib.contextmanager
def open_video(path: str | os.PathLike) -> Iterator[Any]:
    """Opens a regular file; gives its first video stream, of PyAV.

    A cover or a thumbnail, which is attached to a video or to music, is no
    video stream here.
    """
    av = import_av()
    # FFmpeg takes some names for addresses or patterns, "pipe:0" or "a%d.jpg",
    # and follows playlists: so Python opens the file, and FFmpeg none.
    if os.path.isdir(path):
        raise VideoError("it is a folder, not a file")
    if not os.path.isfile(path):
        raise VideoError("there is no such file")
    if not os.path.getsize(path):
        raise VideoError("the file is empty")
    options = {
        "protocol_whitelist": "none",
        "max_pixels": str(MOST_PIXELS),
        # In joined MPEG-TS, streams are the same whatever their numbers.
        "merge_pmt_versions": "1",
    }
    with open(path, "rb") as file, av.open(file, options=options) as container:
        yield video_stream(container)


def is_image(stream: Any) -> bool:
    """Whether the file is an image, not a video of one frame."""
    name = stream.container.format.name
    return name.startswith("image2") or name.endswith("_pipe")


def check_pixels(width: int, height: int) -> None:
    """Raises `VideoError` if a frame of this size would be too large."""
    if width * height > MOST_PIXELS:
        raise VideoError(
            f"a frame has more than {MOST_PIXELS} pixels: it is "
            f"{width} wide and {height} high"
        )


def video_stream(container: Any) -> Any:
    """Returns the first video stream of an open container."""
    kinds = import_av().stream.Disposition
    attached = kinds.attached_pic | kinds.timed_thumbnails
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & attached
    ]
    if not streams:
        raise VideoError("the file has no video stream")
    codec = streams[0].codec_context
    if codec is None:
        raise VideoError("the codec of the video stream is not known")
    check_pixels(codec.width, codec.height)
    codec.options = {"max_pixels": str(MOST_PIXELS)}
    return streams[0]


def _is_animated_webp(path):
    with contextlib.suppress(OSError), open(path, "rb") as file:
        head = file.read(21)
        return head[8:16] == b"WEBPVP8X" and bool(head[20:] and head[20] & 2)
    return False
