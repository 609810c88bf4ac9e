"""HACS (Zhao, Torralba, Torresani, Yan 2019)."""

import collections
import csv
import math
import os
import pathlib
from typing import NamedTuple

from actx_tf.data.annotations.parsing import BACKGROUND
from actx_tf.data.annotations.parsing import error_at
from actx_tf.data.annotations.parsing import read_database
from actx_tf.data.annotations.parsing import read_lines
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.clip_index import Clip

_FOLDER = "HACS_v1.1.1"
_COLUMNS = "classname,youtube_id,subset,start,end,label"
_SPLITS = {"training": "train", "validation": "validation", "testing": None}


class _Row(NamedTuple):
    class_name: str
    id: str
    split: str
    start: float
    end: float
    positive: bool


def read_hacs(
    root: str | os.PathLike,
    part: str = "clips",
    num_classes: int | None = None,
    file_pattern: str = "{class_name}/v_{id}.mp4",
) -> list[Clip]:
    """Reads HACS Clips or HACS Segments, version 1.1.1.

    HACS Clips (`HACS_v1.1.1/HACS_clips_v1.1.1.csv`) are stretches of two
    seconds that show an action (label 1) or, though likely to, do not (-1).
    The latter become clips of the class `background`. HACS Segments
    (`HACS_segments_v1.1.1.json`) are whole actions, and have no negatives. The
    test set has no public labels and is left out. The formats are those of the
    owners' README and scripts; checked on small files written for the tests.

    The paper's HACS-30 is `num_classes=30`: the 30 actions with the fewest
    positive training clips (by name where they tie), and `background`, which
    are the negatives of these 30 alone. The paper does not say which negatives
    it keeps.

    Args:
        root: Folder that holds `HACS_v1.1.1`.
        part: Which annotations: `"clips"` or `"segments"`. Defaults to
            `"clips"`.
        num_classes: How many actions to keep, those with the fewest positive
            training clips. Defaults to `None`: all.
        file_pattern: Where in `root` a video lies. `{class_name}` is the
            action with `_` for blanks, `{id}` YouTube's. Defaults to
            `"{class_name}/v_{id}.mp4"`, as the owners' script saves them. With
            `{start}` and `{end}` (seconds, such as `15.5`) each clip is taken
            to be a file of its own: all of it is the clip.

    Returns:
        A list of `Clip` of the splits `train` and `validation`, such as
        `Archery_a2X2hz1G6i8_15.5_17.5`. `extra` holds `scene`, the video's id,
        and `class_name`, the action that a positive shows and a negative was
        taken for. A row that is there twice is one clip.

    Raises:
        FileNotFoundError: If the annotation file is missing.
        ValueError: If an argument or the file is wrong. The message about the
            file starts with `{path}:{line}: `, or with `{path}: ` and the
            video about the JSON's content.

    Reference:
        - Zhao et al., HACS: Human Action Clips and Segments Dataset for
          Recognition and Temporal Localization, ICCV 2019.
    """
    if part not in ("clips", "segments"):
        raise ValueError(
            f"`part` must be 'clips' or 'segments'. Received: part={part!r}"
        )
    folder = pathlib.Path(root) / _FOLDER
    if part == "clips":
        rows = _read_clips(folder / "HACS_clips_v1.1.1.csv")
    else:
        rows = _read_segments(folder / "HACS_segments_v1.1.1.json")
    if num_classes is not None:
        kept = _rarest_classes(rows, num_classes)
        rows = [row for row in rows if row.class_name in kept]
    is_cut = "{start" in file_pattern
    clips = []
    for row in rows:
        class_name = row.class_name.replace(" ", "_")
        clips.append(
            Clip(
                clip=f"{class_name}_{row.id}_{row.start}_{row.end}",
                file=video_path(
                    root,
                    file_pattern,
                    class_name=class_name,
                    id=row.id,
                    start=row.start,
                    end=row.end,
                ),
                label=row.class_name if row.positive else BACKGROUND,
                split=row.split,
                start=0.0 if is_cut else row.start,
                end=None if is_cut else row.end,
                extra={"scene": row.id, "class_name": row.class_name},
            )
        )
    return clips


def _read_clips(path):
    lines = read_lines(path, "the annotations of HACS Clips")
    line, header = next(lines)
    if header != _COLUMNS:
        raise error_at(
            path,
            line,
            f"expected the columns {_COLUMNS}. Received: {header[:80]}",
        )
    rows = {}
    for line, text in lines:
        try:
            row = _parse(*next(csv.reader([text], strict=True)))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise error_at(
                path,
                line,
                "expected such as 'Archery,a2X2hz1G6i8,training,15.5,17.5,1'. "
                f"Received: {text[:80]!r}",
            ) from error
        if row and rows.setdefault(_stretch(row), row) != row:
            raise error_at(
                path,
                line,
                "the same stretch is above, of another subset or label",
            )
    return list(rows.values())


def _read_segments(path):
    videos = read_database(path, "the annotations of HACS Segments")
    rows = {}
    for video, content in videos.items():
        try:
            for annotation in content["annotations"]:
                row = _parse(
                    annotation["label"],
                    video,
                    content["subset"],
                    *annotation["segment"],
                    "1",
                )
                if row:
                    rows[_stretch(row)] = row
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: video {video!r}: expected a subset of "
                f"{', '.join(_SPLITS)}, and annotations with a label and a "
                "segment [start, end]."
            ) from error
    return list(rows.values())


def _parse(class_name, video, subset, start, end, label):
    """A row, or None of the test set."""
    if not (split := _SPLITS[subset]):
        return None
    start, end = float(start), float(end)
    is_plain = set(class_name + video).isdisjoint("/\\|")
    if not (is_plain and class_name and video and 0 <= start < end < math.inf):
        raise ValueError
    positive = {"1": True, "-1": False}[label]
    return _Row(class_name, video, split, start, end, positive)


def _stretch(row):
    return row.class_name, row.id, row.start, row.end


def _rarest_classes(rows, num_classes):
    counts = collections.Counter(
        row.class_name for row in rows if row.positive and row.split == "train"
    )
    if num_classes not in range(1, len(counts) + 1):
        raise ValueError(
            f"`num_classes` must be in 1, ..., {len(counts)}. "
            f"Received: num_classes={num_classes!r}"
        )
    ranked = sorted(counts, key=lambda name: (counts[name], name))
    return set(ranked[:num_classes])
