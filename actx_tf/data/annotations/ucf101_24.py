"""UCF101-24: where and when 24 of UCF101's classes act (Singh et al. 2017)."""

import math
import operator
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import numpy as np

from actx_tf.data.annotations.folder import LeftOut
from actx_tf.data.annotations.parsing import check_exists
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.annotations.untrimmed import ALL
from actx_tf.data.annotations.untrimmed import UntrimmedVideo
from actx_tf.data.annotations.untrimmed import UntrimmedVideos
from actx_tf.data.tubes import Tube
from actx_tf.data.video import VideoError
from actx_tf.data.video import video_duration
from actx_tf.data.video import video_frame_rate
from actx_tf.segments import Segment
from actx_tf.utils.plain_pickle import load_plain_pickle

_CLASSES = (
    "Basketball",
    "BasketballDunk",
    "Biking",
    "CliffDiving",
    "CricketBowling",
    "Diving",
    "Fencing",
    "FloorGymnastics",
    "GolfSwing",
    "HorseRiding",
    "IceDancing",
    "LongJump",
    "PoleVault",
    "RopeClimbing",
    "SalsaSpin",
    "SkateBoarding",
    "Skiing",
    "Skijet",
    "SoccerJuggling",
    "Surfing",
    "TennisSwing",
    "TrampolineJumping",
    "VolleyballSpiking",
    "WalkingWithDog",
)
_VIDEO = re.compile(r"(\w+)/((v_\1_g(\d+))_c\d+)")
_GROUPS = {1: range(1, 8), 2: range(8, 15), 3: range(15, 22)}  # of the test
# By which a file may differ from the frames that were annotated, in seconds.
_TOLERANCE = 0.5


def read_ucf101_24(
    root: str | os.PathLike,
    split: int = 1,
    annotations: str = "pyannot.pkl",
    file_pattern: str = "UCF-101/{class_name}/{name}.avi",
) -> UntrimmedVideos:
    """Reads when someone acts in the videos of UCF101-24.

    The reader takes the corrected annotations, `pyannot.pkl` of
    github.com/gurkirt/corrected-UCF101-Annots, or
    `pyannot_with_class_names.pkl` beside it. They hold tubes, boxes around each
    person who acts: where tubes of a video overlap in time, they are one
    segment here. A tube can also end because the person leaves the picture.
    The format is that of the owners' code; checked on real videos and tubes in
    a file written for the tests.

    Tubes count frames, and videos of UCF101 have 25 or 29.97 of them in a
    second: the files are read for it. Videos without a file, or with one that
    is more than half a second longer or shorter than the annotated frames, are
    left out.

    Args:
        root: Folder that holds the annotations.
        split: Number of UCF101's division, 1 to 3: groups 1 to 7 are the test
            of the first, 8 to 14 of the second, 15 to 21 of the third. Results
            are mostly published on the first. Defaults to `1`.
        annotations: Name of the file. Defaults to `"pyannot.pkl"`.
        file_pattern: Where in `root` a video lies; `{name}` is such as
            `v_Biking_g01_c01`, `{class_name}` such as `Biking`. Defaults to
            `"UCF-101/{class_name}/{name}.avi"`, as UCF101's archive unpacks.

    Returns:
        `UntrimmedVideos` of the splits `train` and `test`, such as
        `v_Biking_g01_c01`. Their source is the group, such as `v_Biking_g01`,
        which is cut from one video. Of videos with tubes whose frames are not
        clear, no unlabelled stretch is taken.

    Raises:
        FileNotFoundError: If the annotations are missing, or all videos.
        ImportError: If PyAV is missing.
        ValueError: If `split` or the annotations are wrong. The message about
            these starts with `{path}: `.

    Reference:
        - Singh et al., Online Real-Time Multiple Spatiotemporal Action
          Localisation and Prediction, ICCV 2017.
    """
    if split not in _GROUPS:
        raise ValueError(
            f"`split` must be 1, 2 or 3. Received: split={split!r}"
        )
    videos, left_out = [], []
    for found in _read(pathlib.Path(root) / annotations):
        file = video_path(
            root, file_pattern, name=found.name, class_name=found.label
        )
        left_out += [LeftOut(file, "of unclear frames", found.label)] * (
            found.unclear
        )
        try:
            rate, duration = video_frame_rate(file), video_duration(file)
        except VideoError:
            left_out.append(
                LeftOut(file, "without a readable video", found.label)
            )
            continue
        if abs(found.frames / rate - duration) > _TOLERANCE:
            left_out.append(LeftOut(file, "of another length", found.label))
            continue
        videos.append(
            UntrimmedVideo(
                name=found.name,
                file=file,
                split="test" if found.group in _GROUPS[split] else "train",
                segments=tuple(_segments(found, rate, duration)),
                unsure=(ALL,) if found.unclear else (),
                duration=_thousandths(duration),
                source=found.source,
            )
        )
    if not videos and left_out:
        raise FileNotFoundError(
            f"none of the videos of {annotations} is there, whose frame rates "
            f"tell when their tubes are, such as {left_out[0].file}"
        )
    return UntrimmedVideos(tuple(videos), tuple(left_out))


def read_ucf101_24_tubes(
    root: str | os.PathLike, annotations: str = "pyannot.pkl"
) -> dict[str, list[Tube]]:
    """Reads where someone acts in the videos of UCF101-24.

    Args:
        root: As in `read_ucf101_24`.
        annotations: As in `read_ucf101_24`.

    Returns:
        A dictionary from the name of a video, such as `v_Biking_g01_c01`, to
        its tubes: what `actx_tf.data.write_tubes` writes for `actx localize
        --boxes`. Tubes whose frames are not clear are left out.

    Raises:
        FileNotFoundError: If the annotations are missing.
        ValueError: If they are wrong. The message starts with `{path}: `.
    """
    path = pathlib.Path(root) / annotations
    return {found.name: found.tubes for found in _read(path)}


class _Annotated(NamedTuple):
    label: str
    name: str
    source: str
    group: int
    frames: int
    tubes: list[Tube]
    unclear: int  # tubes whose frames are not clear


def _read(path) -> Iterator[_Annotated]:
    check_exists(path, "the corrected annotations of UCF101-24")
    try:
        content = load_plain_pickle(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    # With the names of the classes, they lie deeper.
    content = content.get("db", content) if isinstance(content, dict) else None
    if not content:
        raise ValueError(f"{path}: expected a dictionary of videos")
    for key, video in content.items():
        try:
            yield _parse(key, video)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: video {key!r}: expected such as "
                "'Biking/v_Biking_g01_c01' with `numf` and `annotations`, each "
                "with `label`, `sf`, `ef` and `boxes`. "
                f"Received: {type(error).__name__}: {error}"
            ) from error


def _parse(key: str, video: dict[str, Any]) -> _Annotated:
    match = _VIDEO.fullmatch(key)
    if match is None or match[1] not in _CLASSES:
        raise ValueError("its name")
    tubes, unclear = [], 0
    frames = operator.index(video["numf"])
    for entry in video["annotations"]:
        # `sf` counts from 0, and `ef` is the frame after the last.
        start, end = operator.index(entry["sf"]), operator.index(entry["ef"])
        boxes = np.array(entry["boxes"], np.float64)
        if operator.index(entry["label"]) != _CLASSES.index(match[1]):
            raise ValueError(f"the label {entry['label']}")
        if not np.isfinite(boxes).all():
            raise ValueError("a box is not finite")
        if 0 <= start < end <= frames and boxes.shape == (end - start, 4):
            tubes.append(Tube(start + 1, boxes))
        else:
            unclear += 1
    return _Annotated(
        match[1], match[2], match[3], int(match[4]), frames, tubes, unclear
    )


def _segments(found, rate, duration):
    """Yields when the tubes are, as one where they overlap or touch."""
    spans = sorted(
        (x.start - 1, x.start - 1 + len(x.boxes)) for x in found.tubes
    )
    joined: list[list[int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    for start, end in joined:
        # The last frame that was annotated may be missing in the file.
        stop = min(end / rate, duration)
        if start / rate < stop:
            yield Segment(
                _thousandths(start / rate), _thousandths(stop), found.label
            )


def _thousandths(seconds):
    """What clips have; rounded down, so that none ends after its video."""
    return math.floor(1000 * seconds + 1e-6) / 1000
