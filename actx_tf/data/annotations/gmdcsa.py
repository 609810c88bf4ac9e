"""GMDCSA-24 (Alam, Sufian, Dutta, Leo, Hameed 2024): falls at home."""

import csv
import os
import pathlib
import re

from actx_tf.data.annotations.folder import LeftOut
from actx_tf.data.annotations.parsing import error_at
from actx_tf.data.annotations.parsing import read_text
from actx_tf.data.annotations.untrimmed import ALL
from actx_tf.data.annotations.untrimmed import UntrimmedVideo
from actx_tf.data.annotations.untrimmed import UntrimmedVideos
from actx_tf.segments import Segment

_SUBJECTS = range(1, 5)
# A class, perhaps the way of falling, and stretches: `Falling (BW)[2.5 to 8]`.
_CLASS = re.compile(r"([A-Za-z]+)\s*(?:\(\w+\))?\s*\[([^][]*)\]\s*:?")
_STRETCH = re.compile(r"\s*(\d+(?:\.\d+)?)\s+to\s+(\d+(?:\.\d+)?)\s*")
_BETWEEN = re.compile(r";(?![^[]*\])")  # not within brackets
_SAME = {"Fall": "Falling"}  # the owners write both


def read_gmdcsa(root: str | os.PathLike, fold: int = 1) -> UntrimmedVideos:
    """Reads GMDCSA-24's clips of falls and of daily activities.

    Either as the owners publish it: `Subject 1/Fall.csv`, `Subject 1/ADL.csv`
    and on, with the columns `File Name` and `Classes`, and the videos in
    `Subject 1/Fall` and `Subject 1/ADL`. Or as one table `index.csv` with the
    columns `clip`, `file`, `subject` and `segments_seconds`.

    A clip's classes and their seconds are noted as `Falling (BW)[2.5 to 8];
    Standing[0 to 1; 2 to 2.5]`. The way of falling, backward, forward or
    sideways, is dropped. What is not of this form (a bracket or a number is
    missing, a stretch ends before it begins) is left out, and no unlabelled
    stretch is taken of its video. Classes overlap: who sits reads, too.

    Args:
        root: Folder that holds the subjects, or the table.
        fold: 1 to 4: the subject that is the test. Defaults to `1`.

    Returns:
        `UntrimmedVideos` of the splits `train` and `test`, such as
        `s1_fall_13`. The subject is their source.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If `fold` or a table is wrong. The message about a table
            starts with `{path}:{line}: `.

    Reference:
        - Alam et al., GMDCSA24: A Dataset for Human Fall Detection in Videos,
          Data in Brief 2024.
    """
    if fold not in _SUBJECTS:
        raise ValueError(f"`fold` must be 1 to 4. Received: fold={fold!r}")
    root = pathlib.Path(root)
    rows = [*_published(root)] or [*_table(root / "index.csv")]
    videos, left_out = [], []
    for name, file, subject, text in rows:
        segments, wrong = _parse(text)
        left_out += [LeftOut(str(file), why, label) for label, why in wrong]
        videos.append(
            UntrimmedVideo(
                name=name,
                file=str(file),
                split="test" if subject == str(fold) else "train",
                segments=tuple(segments),
                unsure=(ALL,) if wrong else (),
                source=f"s{subject}",
            )
        )
    return UntrimmedVideos(tuple(videos), tuple(left_out))


def _published(root):
    """Yields (name, file, subject, classes) of the owners' tables."""
    for number in _SUBJECTS:
        folder = root / f"Subject {number}"
        for path in sorted(folder.glob("*.csv")):
            kind = path.stem.lower()
            if kind not in ("adl", "fall"):
                raise ValueError(
                    f"{path}: expected no tables but ADL.csv and Fall.csv."
                )
            for _, row in _rows(path, ("File Name", "Classes")):
                file = row["File Name"]
                name = f"s{number}_{kind}_{pathlib.Path(file).stem}"
                place = folder / path.stem / file
                yield name, place, str(number), row["Classes"]


def _table(path):
    """Yields the same of one table."""
    columns = ("clip", "file", "subject", "segments_seconds")
    for line, row in _rows(path, columns):
        subject = row["subject"]
        if subject not in map(str, _SUBJECTS):
            raise error_at(
                path, line, f"`subject` must be 1 to 4. Received: {subject!r}"
            )
        file = path.parent / row["file"]
        yield row["clip"], file, subject, row["segments_seconds"]


def _rows(path, columns):
    """Yields (line, row) of a table."""
    text = read_text(path, "a table of GMDCSA-24's clips")
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        if missing := set(columns) - set(header):
            raise ValueError(f"the columns {sorted(missing)} are missing")
        for fields in reader:
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(
                    f"{len(header)} fields are expected, {len(fields)} are "
                    "there"
                )
            row = dict(zip(header, map(str.strip, fields), strict=True))
            for name in columns[:-1]:
                value = row[name]
                if not value or name != "file" and set(value) & set("/\\|"):
                    raise ValueError(f"`{name}` is {value!r}")
            yield reader.line_num, row
    except (csv.Error, ValueError) as error:
        raise error_at(path, max(1, reader.line_num), str(error)) from error


def _parse(text):
    """Returns the segments, and the (label, reason) of what is left out."""
    segments, wrong = [], []
    for part in _BETWEEN.split(text):
        if not (part := part.strip()):
            continue
        label = re.match(r"[A-Za-z]*", part)[0]
        label = _SAME.get(label, label)
        match = _CLASS.fullmatch(part)
        stretches = match[2].split(";") if match else [""]
        for stretch in stretches:
            times = _STRETCH.fullmatch(stretch)
            if times is None:
                wrong.append((label, "of unclear times"))
            elif float(times[1]) >= float(times[2]):
                wrong.append((label, "ending before they begin"))
            else:
                start, end = map(float, times.groups())
                segments.append(Segment(start, end, label))
    return segments, wrong
