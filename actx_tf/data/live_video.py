"""Frames of a video that goes on: of a camera, an address, a pipe.

Each is opened by what a person named for that: nothing that is given as a file
opens an address.
"""

import collections
import contextlib
import os
import re
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from actx_tf.data.video import frame_converter
from actx_tf.data.video import sample_frames
from actx_tf.data.video_file import MOST_PIXELS
from actx_tf.data.video_file import VideoError
from actx_tf.data.video_file import import_av
from actx_tf.data.video_file import open_video
from actx_tf.data.video_file import video_stream
from actx_tf.data.video_frames import deinterlaced
from actx_tf.data.video_times import has_no_times
from actx_tf.data.video_times import nominal_interval
from actx_tf.data.video_times import shown_frames

STANDARD_INPUT = "-"
_TIMEOUT = 10.0  # seconds without any data
# By `sys.platform`: FFmpeg's name of what reads cameras, and of the n-th one.
_CAMERAS = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
}
# What goes on whether or not it is read. HTTP also carries whole files.
_LIVE_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "tcp")
_SCHEMES = (*_LIVE_SCHEMES, "http", "https")
# A playlist of such an address may lead to these, and to no file.
_PROTOCOLS = (*_SCHEMES, "rtp", "srtp", "tls", "httpproxy", "crypto")
_PIPES = (
    "; an MP4 or MOV must be fragmented to be piped, other formats such as "
    "Matroska or MPEG-TS need nothing"
)


class LiveFrames:
    """The frames of a source, read in a thread while others are worked on.

    Frames are taken, turned upright and resized as `ClipFrames` does. It is a
    context, in which the source is open.

    Args:
        source: Number of a camera, as an integer or in digits; an address, such
            as `"rtsp://..."`; `"-"`, standard input; or the path of a file,
            which is played as fast as it was recorded.
        frame_rate: Frames per second to take. Defaults to `None`: the source's.
        size: As of `ClipFrames`.

    Attributes:
        name: What the source is called in messages; without a password.
        frame_rate: Frames per second.
        is_live: Whether it goes on without waiting for its reader, so that
            frames can be lost: cameras, and addresses of no file.

    Raises:
        ValueError: If the source is nothing of this.
        VideoError: On entering, if it cannot be opened.
    """

    def __init__(
        self,
        source: int | str | os.PathLike,
        frame_rate: float | None = None,
        size: int | tuple[int, int] | None = None,
    ) -> None:
        import_av()
        if not isinstance(source, int):
            source = os.fspath(source)
        elif isinstance(source, bool) or source < 0:
            raise ValueError(
                "`source` must be the number of a camera, an address, a path "
                f"or '-'. Received: source={source!r}"
            )
        self._source = str(source)
        self.name = _without_password(self._source)
        self.frame_rate = frame_rate or 0.0
        self.is_live = False
        self._is_played = False
        self._size = size
        self._open = contextlib.ExitStack()
        self._reader: threading.Thread | None = None
        self._changed = threading.Condition()
        self._waiting: collections.deque = collections.deque()
        self._error: Exception | None = None
        self._is_over = False  # the source, or the interest in it

    def __enter__(self) -> "LiveFrames":
        with self._naming():
            self._stream = self._open_source()
            if not self.frame_rate:
                self.frame_rate = float(1 / nominal_interval(self._stream))
        return self

    def __exit__(self, *error: object) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if self._reader is not None:
            self._reader.join(1.0)
            if self._reader.is_alive():
                return  # it waits for data, and ends with the process
        self._open.close()

    def read(self, most: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (number, frame): the numbers tell of frames that were lost.

        Args:
            most: Frames that may wait. Beyond it, the oldest of a live source
                are lost; other sources wait.

        Raises:
            VideoError: If the source stops with an error, or without one sends
                nothing for ten seconds.
        """
        self._reader = threading.Thread(
            target=self._fill, args=(most,), daemon=True
        )
        self._reader.start()
        while True:
            with self._changed:
                while not self._waiting and not self._is_over:
                    # Ctrl-C is noticed in between, on any system.
                    self._changed.wait(0.2)
                if not self._waiting:
                    break
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item
        if self._error is not None:
            raise self._error

    def _fill(self, most):
        """What the thread does."""
        try:
            with self._naming():
                began = time.monotonic()
                for number, frame in enumerate(self._frames()):
                    if self._is_played:
                        due = began + (number + 1) / self.frame_rate
                        self._wait(due - time.monotonic())
                    with self._changed:
                        while len(self._waiting) >= most and not self._is_over:
                            if self.is_live:
                                self._waiting.popleft()
                            else:
                                self._changed.wait()
                        if self._is_over:
                            return
                        self._waiting.append((number, frame))
                        self._changed.notify_all()
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _frames(self):
        if self.is_live and has_no_times(self._stream):
            shown = _as_they_arrive(self._stream)
        else:
            threads = "SLICE" if self.is_live else "AUTO"
            shown = shown_frames(self._stream, thread_type=threads)
        for frame, copies, _ in sample_frames(
            deinterlaced(shown),
            Fraction(self.frame_rate),
            Fraction(0),
            None,
            frame_converter(self._stream, self._size),
        ):
            for _ in range(copies):
                yield frame

    def _wait(self, seconds):
        with self._changed:
            self._changed.wait_for(lambda: self._is_over, max(0.0, seconds))

    def _open_source(self):
        source = self._source
        scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]+):", source)
        if source.isdecimal():
            self.is_live = True
            return self._open_camera(int(source))
        if source == STANDARD_INPUT:
            # Without a buffer, whose lock a thread would hold to the end.
            file = open(0, "rb", buffering=0, closefd=False)
            return self._open_container(file, "none")
        if scheme and "://" in source:
            if scheme[1].lower() not in _SCHEMES:
                raise VideoError(
                    f"addresses begin with one of {', '.join(_SCHEMES)}"
                )
            stream = self._open_container(source, ",".join(_PROTOCOLS))
            self.is_live = (
                scheme[1].lower() in _LIVE_SCHEMES
                or stream.container.duration is None
            )
            return stream
        self._is_played = True
        return self._open.enter_context(open_video(source))

    def _open_camera(self, number):
        kind, place = _CAMERAS.get(sys.platform, ("", ""))
        if not any(
            kind in names.split(",") for names in import_av().formats_available
        ):
            raise VideoError(
                "this PyAV reads no cameras; pipe it in: ffmpeg ... -f nut - | "
                "actx predict --stream=-"
            )
        return self._open_container(place.format(number), None, format=kind)

    def _open_container(self, source, protocols, **kwargs):
        options = {"max_pixels": str(MOST_PIXELS), "rtsp_flags": "prefer_tcp"}
        if protocols is not None:
            options["protocol_whitelist"] = protocols
        container = self._open.enter_context(
            import_av().open(
                source, options=options, timeout=_TIMEOUT, **kwargs
            )
        )
        return video_stream(container)

    @contextlib.contextmanager
    def _naming(self):
        av = import_av()
        try:
            yield
        except av.ExitError as error:
            raise VideoError(
                f"{self.name!r}: nothing came for {_TIMEOUT:g} seconds"
            ) from error
        except (av.FFmpegError, MemoryError, OSError, ValueError) as error:
            # What FFmpeg says otherwise holds the address, with its password.
            problem = getattr(error, "strerror", None) or str(error)
            if isinstance(error, av.InvalidDataError):
                problem += _PIPES * (self._source == STANDARD_INPUT)
            if self._reader is not None and self.is_live:
                problem = f"it stopped sending ({problem})"
            raise VideoError(f"{self.name!r}: {problem}") from error


def _as_they_arrive(stream):
    """Yields frames of a format without time stamps by the clock."""
    shown = begin = origin = None
    for frame in stream.container.decode(stream):
        now = Fraction(round(time.monotonic() * 1e6), 1_000_000)
        if shown is None:
            origin = now
        else:
            yield shown, begin, now - origin
        shown, begin = frame, now - origin
    if shown is not None:
        yield shown, begin, begin + nominal_interval(stream)


def _without_password(source):
    if "://" not in source:
        return source
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(source)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="").geturl()
    return source.partition("://")[0] + "://..."
