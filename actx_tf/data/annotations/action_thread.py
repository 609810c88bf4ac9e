"""ActionThread (Hoai and Zisserman 2014)."""

import os
import pathlib

import numpy as np

from actx_tf.data.annotations.parsing import BACKGROUND
from actx_tf.data.annotations.parsing import check_exists
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.clip_index import Clip
from actx_tf.utils.optional import import_optional

_FRAME_RATE = 25.0
_SPAN = ("acStart", "acEnd", "eacStart", "eacEnd")


def read_action_thread(
    root: str | os.PathLike, file_pattern: str = "videos/{name}.mp4"
) -> list[Clip]:
    """Reads ActionThread's labels, split, and the span of each action.

    A video shows what comes before an action, the action and what comes
    after: the clip is the stretch of the action, and its conjugates can be
    cut from the rest of its file. The reader takes `NonAction.mat` (which
    videos are for training and test, and their labels) and `anno/<video>.mat`
    of each (the frames of the action, from 1, both ends included, taken at 25
    frames a second). They are MATLAB files: reading them needs SciPy. The
    owners' README says that their frames can be off by some from those of the
    released videos. The layout is that of the README; it was not checked on
    the owners' files, only on small ones written for the tests.

    Args:
        root: Folder that holds `NonAction.mat` and `anno`.
        file_pattern: Where in `root` a video lies; `{name}` is such as
            `039341`. Defaults to `"videos/{name}.mp4"`.

    Returns:
        A list of `Clip` of the splits `train` and `test`, named as its video.
        A clip that shows several actions has a label such as `hug|kiss`; one
        that shows none is `background`. `extra` holds `extended_start` and
        `extended_end`, seconds: the stretch with the owners' margin around
        the action, outside which conjugates are safest.

    Raises:
        FileNotFoundError: If a file is missing.
        ImportError: If SciPy is missing.
        ValueError: If a file is wrong. The message starts with `{path}: `.

    Reference:
        - Hoai and Zisserman, Thread-Safe: Towards Recognizing Human Actions
          Across Shot Boundaries, ACCV 2014.
        - Wang and Hoai, Improving Human Action Recognition by Non-action
          Classification, CVPR 2016, for the layout.
    """
    root = pathlib.Path(root)
    path = root / "NonAction.mat"
    content = _load(path, "ActionThread's split and labels")
    try:
        actions = np.atleast_1d(content["NonAction"]["classes"])
        parts = {
            split: (
                np.atleast_1d(content["NonAction"][split]["video"]),
                np.atleast_1d(content["NonAction"][split]["label"]),
            )
            for split in ("train", "test")
        }
    except (IndexError, KeyError) as error:
        raise ValueError(
            f"{path}: expected NonAction.classes, and video and label of "
            "NonAction.train and NonAction.test."
        ) from error

    clips = []
    for split, (videos, labels) in parts.items():
        if labels.size != len(videos) * len(actions):
            raise ValueError(
                f"{path}: expected NonAction.{split}.label to have "
                f"{len(videos)} rows, the videos, and {len(actions)} columns, "
                f"the classes. Received: shape={labels.shape}"
            )
        for video, row in zip(
            videos, labels.reshape(len(videos), len(actions)), strict=True
        ):
            name = str(video).removesuffix(".mp4")
            start, end, extended_start, extended_end = _read_span(root, name)
            clips.append(
                Clip(
                    clip=name,
                    file=video_path(root, file_pattern, name=name),
                    # 1 for the video's actions, 0 or -1 for others.
                    label="|".join(actions[row > 0]) or BACKGROUND,
                    split=split,
                    start=start,
                    end=end,
                    extra={
                        "extended_start": str(extended_start),
                        "extended_end": str(extended_end),
                    },
                )
            )
    return clips


def _read_span(root, name):
    path = root / "anno" / f"{name}.mat"
    content = _load(path, "the annotation of a video of ActionThread")
    try:
        first, last, extended_first, extended_last = (
            int(content[key]) for key in _SPAN
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the frame numbers {', '.join(_SPAN)}."
        ) from error
    if not 1 <= extended_first <= first <= last <= extended_last:
        raise ValueError(
            f"{path}: expected 1 <= eacStart <= acStart <= acEnd <= eacEnd. "
            f"Received: {extended_first}, {first}, {last}, {extended_last}"
        )
    return (
        (first - 1) / _FRAME_RATE,
        last / _FRAME_RATE,
        (extended_first - 1) / _FRAME_RATE,
        extended_last / _FRAME_RATE,
    )


def _load(path, content):
    io = import_optional("scipy.io", "`read_action_thread`")
    check_exists(path, content)
    try:
        return io.loadmat(path, simplify_cells=True)
    except (
        NotImplementedError,
        TypeError,
        ValueError,
        io.matlab.MatReadError,
    ) as error:
        raise ValueError(
            f"{path}: expected a MATLAB file of version 7 or before: {error}"
        ) from error
