"""Writes video files."""

import os
from collections.abc import Iterable
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from actx_tf.data.clip_index import Clip
from actx_tf.data.video_file import VideoError
from actx_tf.data.video_file import import_av
from actx_tf.data.video_file import open_video
from actx_tf.data.video_file import video_errors
from actx_tf.utils.atomic_write import atomic_write

# Of H.264, where 0 is lossless and 51 the worst. What is held is coded once:
# where all later frames are coarse, there is nothing in them to correct, and
# they repeat the first to the last bit.
_MOVING = {"qp": "10"}
_HELD = {
    "qp": "30",  # less 20 in the first
    "x264-params": "ipratio=10:keyint=infinite:bframes=0:weightp=0",
}


def write_video(
    path: str | os.PathLike,
    frames: Iterable[np.ndarray],
    frame_rate: float,
    held: bool = False,
    comment: str = "",
    encoding: Mapping[str, str] = _MOVING,
) -> None:
    """Writes frames as an MP4 file, whole or not at all.

    The video is H.264 that differs from the frames by what nobody sees: in
    4:2:0, which all players know, where height and width are even, and
    otherwise in 4:4:4. It is played while it is loaded.

    Args:
        path: Path of the file, `.mp4`. One that is there is replaced.
        frames: RGB values, uint8, `(height, width, 3)` each, all of one size.
        frame_rate: Frames per second.
        held: Whether the frames are one and the same: they are so in the file
            too, where nothing moves. Defaults to `False`.
        comment: Text that the file holds, see `read_comment`. Defaults to
            `""`.
        encoding: Options of x264 for frames that are not `held`. Defaults to
            those of a high quality.

    Raises:
        ImportError: If PyAV is missing.
        ValueError: If there are no frames.
    """
    av = import_av()
    rate = Fraction(frame_rate).limit_denominator(1001)
    with (
        atomic_write(path) as draft,
        av.open(
            os.fspath(draft),
            "w",
            format="mp4",
            options={"movflags": "+faststart"},
        ) as container,
    ):
        container.metadata["comment"] = comment
        stream = None
        for image in frames:
            if stream is None:
                options = dict(_HELD if held else encoding)
                stream = container.add_stream("libx264", rate, options=options)
                stream.height, stream.width = image.shape[:2]
                odd = stream.height % 2 or stream.width % 2
                stream.pix_fmt = "yuv444p" if odd else "yuv420p"
                # The colours of `reformat`: those of BT.601.
                reformatter = av.video.reformatter
                codec = stream.codec_context
                codec.colorspace = reformatter.Colorspace.ITU601
                codec.color_range = reformatter.ColorRange.MPEG
            image = np.ascontiguousarray(image)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        if stream is None:
            raise ValueError("`frames` must not be empty.")
        container.mux(stream.encode())


def read_comment(path: str | os.PathLike) -> str:
    """Returns the text that `write_video` put into a file; `""` if none.

    Raises:
        VideoError: If the file is no video.
    """
    with video_errors(path), open_video(path) as stream:
        return stream.container.metadata.get("comment", "")


def is_written(
    path: str | os.PathLike, comment: str, argument: str = "videos"
) -> bool:
    """Whether a file is there that `write_video` wrote with a comment.

    Args:
        path: Path of the file.
        comment: What the file is made of, and how.
        argument: Name of the argument that gives its folder, for the error.
            Defaults to `"videos"`.

    Raises:
        ValueError: If another file is there: it is not replaced.
    """
    if not os.path.exists(path):
        return False
    try:
        found = read_comment(path)
    except VideoError:
        found = "no video"
    if found != comment:
        raise ValueError(
            f"`{argument}` must not hold files of the names that are written, "
            "but for those of the same clips and arguments. Received: "
            f"{path}, which is {found!r}, and not {comment!r}"
        )
    return True


def origin_of(clip: Clip) -> str:
    """Says of what file and part a clip is, in words of a file's comment."""
    size = os.path.getsize(clip.file) if os.path.isfile(clip.file) else 0
    return (
        f"{os.path.basename(clip.file)} ({size} bytes) start={clip.start} "
        f"end={clip.end} box={clip.box}"
    )
