"""ActivityNet (Caba Heilbron, Escorcia, Ghanem, Niebles 2015)."""

import math
import os
import pathlib

from actx_tf.data.annotations.folder import LeftOut
from actx_tf.data.annotations.parsing import read_database
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.annotations.untrimmed import ALL
from actx_tf.data.annotations.untrimmed import UntrimmedVideo
from actx_tf.data.annotations.untrimmed import UntrimmedVideos
from actx_tf.segments import Segment

_SPLITS = {"training": "train", "validation": "validation", "testing": None}


def read_activitynet(
    root: str | os.PathLike,
    annotations: str = "activity_net.v1-3.min.json",
    file_pattern: str = "v_{id}.mp4",
) -> UntrimmedVideos:
    """Reads ActivityNet's videos and segments, or others in its form.

    The test set has no public labels and is left out. Some segments of version
    1.3 have no length (such as [0, 0]): they are in the truth, where nothing
    can find them, as in the owners' evaluation; no clip is made of them, nor
    of the unlabelled stretches of their videos. One that ended before it began
    would not be in the truth either. The format is that of the
    owners' page; checked on small files written for the tests.

    Args:
        root: Folder that holds the annotations.
        annotations: Name of the file. Defaults to
            `"activity_net.v1-3.min.json"`.
        file_pattern: Where in `root` a video lies; `{id}` is YouTube's, and
            `{subset}` such as `training`. Defaults to `"v_{id}.mp4"`, as the
            owners' script saves them.

    Returns:
        `UntrimmedVideos` of the splits `train` and `validation`, named by
        YouTube's id.

    Raises:
        FileNotFoundError: If the annotations are missing.
        ValueError: If they are wrong. The message starts with
            `{path}:{line}: `, or with `{path}: ` and the video.

    Reference:
        - Caba Heilbron et al., ActivityNet: A Large-Scale Video Benchmark for
          Human Activity Understanding, CVPR 2015.
    """
    path = pathlib.Path(root) / annotations
    database = read_database(path, "the annotations of ActivityNet")
    videos, left_out = [], []
    for name, content in database.items():
        try:
            subset = content["subset"]
            if not (split := _SPLITS[subset]):
                continue
            duration = content.get("duration")
            if duration is not None:
                duration = float(duration)
            if not (duration is None or 0 < duration < math.inf):
                raise ValueError(f"a duration of {duration}")
            if not name or not set(name).isdisjoint("/\\|"):
                raise ValueError("its name")
            stretches = [
                (entry["label"], *map(float, entry["segment"]))
                for entry in content["annotations"]
            ]
            # Those that end before they begin are known by their label.
            segments = [
                Segment(min(start, end), max(start, end), label)
                for label, start, end in stretches
            ]
            if any(not set(x.label).isdisjoint("/\\|") for x in segments):
                raise ValueError("its label")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: video {name!r}: expected a subset of "
                f"{', '.join(_SPLITS)}, and annotations with a label and a "
                f"segment [start, end]. Received: {error}"
            ) from error
        file = video_path(root, file_pattern, id=name, subset=subset)
        wrong = [
            LeftOut(
                file,
                "without length"
                if start == end
                else "ending before they begin",
                label,
            )
            for label, start, end in stretches
            if start >= end
        ]
        left_out += wrong
        videos.append(
            UntrimmedVideo(
                name=name,
                file=file,
                split=split,
                segments=tuple(
                    segment
                    for segment, (_, start, end) in zip(
                        segments, stretches, strict=True
                    )
                    if start <= end
                ),
                unsure=(ALL,) if wrong else (),
                duration=duration,
            )
        )
    return UntrimmedVideos(tuple(videos), tuple(left_out))
