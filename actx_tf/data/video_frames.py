"""Turns decoded frames into the pixels that a player shows."""

import collections
import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from actx_tf.data.video_file import VideoError
from actx_tf.data.video_file import check_pixels
from actx_tf.data.video_file import import_av
from actx_tf.data.video_file import is_image

# Side data of a frame has a number for each kind; FFmpeg adds kinds.
_KINDS_OF_SIDE_DATA = 64


def deinterlaced(
    shown: Iterable[tuple[Any, Fraction, Fraction]],
) -> Iterator[tuple[Any, Fraction, Fraction]]:
    """Makes whole frames of those that are flagged as interlaced.

    Args:
        shown: Frames of PyAV, each with its begin and end in seconds.

    Yields:
        The same, with one frame for each, of whole rows.
    """
    filters: Any = None
    kind, waiting = None, collections.deque()
    for frame, begin, end in shown:
        if filters is None and not frame.interlaced_frame:
            yield frame, begin, end
            continue
        if kind != (kind := (frame.width, frame.height, frame.format.name)):
            yield from _drain(filters, waiting)
            filters = _link(frame, [("bwdif", "send_frame:auto:interlaced")])
        waiting.append((begin, end))
        filters.vpush(frame)
        # A frame comes out once the next one is known.
        for frame in _pull(filters):
            yield frame, *waiting.popleft()
    yield from _drain(filters, waiting)


def pixels_of(stream: Any) -> Callable[[Any], np.ndarray]:
    """Returns a function: a decoded frame -> RGB values, uint8.

    They are square and upright, `(height, width, 3)`.
    """
    # Images name a density, for paper: they are shown as they are.
    aspect = None if is_image(stream) else stream.sample_aspect_ratio
    matrix_of = _matrix_reader()
    # One for all frames: setting it up takes half of the time.
    reformatter = import_av().video.reformatter.VideoReformatter()

    def pixels(frame):
        width, height = _square(frame.width, frame.height, aspect or 1)
        check_pixels(width, height)
        image = reformatter.reformat(
            frame, width, height, "rgb24", interpolation="BICUBIC"
        )
        return _upright(image.to_ndarray(), matrix_of(frame))

    return pixels


def _square(width, height, aspect):
    """The (width, height) that keeps every row and column of a frame."""
    half = Fraction(1, 2)
    if aspect > 1:
        return math.floor(width * aspect + half), height
    return width, math.floor(height / Fraction(aspect) + half)


def _upright(image, matrix):
    """Rotates and mirrors an image as a display matrix says.

    A pixel at (x, y) is shown at (a x + c y, b x + d y), but for a shift.
    """
    if matrix is None:
        return image
    a, b, _, c, d = matrix[:5] / max(1, np.abs(matrix[:5]).max())
    if max(abs(b), abs(c)) < 0.02:
        x, y = a, d
    elif max(abs(a), abs(d)) < 0.02:
        image, x, y = image.swapaxes(0, 1), c, b
    else:
        raise VideoError(
            "its frames would be shown rotated by another angle than 90, 180 "
            "or 270 degrees"
        )
    if not (abs(x) > 0.5 and abs(y) > 0.5):
        raise VideoError("its display matrix shows nothing")
    image = image[:: 1 if y > 0 else -1, :: 1 if x > 0 else -1]
    return np.ascontiguousarray(image)


def _matrix_reader():
    """Returns a function: a decoded frame -> its display matrix, or None."""
    filters = None

    def read(frame):
        nonlocal filters
        try:
            side_data = frame.side_data
        except ValueError:
            # PyAV reads none if there is any of a kind that it does not know,
            # such as EXIF: FFmpeg takes these away.
            if filters is None:
                filters = _link(frame, _without_unknown_side_data())
            filters.vpush(frame)
            side_data = filters.vpull().side_data
        for data in side_data:
            if data.type.name == "DISPLAYMATRIX":
                return np.frombuffer(bytes(data), np.int32).astype(float)
        return None

    return read


def _without_unknown_side_data():
    known = {kind.value for kind in import_av().sidedata.sidedata.Type}
    return [
        ("sidedata", f"mode=delete:type={kind}")
        for kind in range(_KINDS_OF_SIDE_DATA)
        if kind not in known
    ]


def _link(frame, filters):
    """A graph of filters, one after the other, for frames like this one."""
    graph = import_av().filter.Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base,
        ),
        *(graph.add(name, options) for name, options in filters),
        graph.add("buffersink"),
    )
    graph.configure()
    return graph


def _pull(graph):
    av = import_av()
    try:
        while True:
            yield graph.vpull()
    except (av.BlockingIOError, av.EOFError):
        return


def _drain(graph, waiting):
    if graph is not None:
        graph.vpush(None)
        for frame in _pull(graph):
            yield frame, *waiting.popleft()
    assert not waiting  # a frame for each
