"""The clip index: a CSV file that lists clips, labels, splits, conjugates."""

import collections
import csv
import dataclasses
import difflib
import io
import math
import os
import pathlib
import unicodedata
from collections.abc import Iterable
from typing import Any

from actx_tf.data.video_files import is_utf8
from actx_tf.utils.atomic_write import atomic_write

SPLITS = ("train", "validation", "test")
CONJUGATE = "conjugate"  # split of clips that are conjugates alone

_REQUIRED = ("clip", "file", "label", "split")
_PART = ("start", "end", "box")
_SIMILARITIES = "conjugate_similarities"  # of the column `conjugates`
# Columns that are there if a clip has a value.
_OPTIONAL = (*_PART, "source", _SIMILARITIES)
_OWN = {*_REQUIRED, "conjugates", *_OPTIONAL}
# What people call splits.
_MEANT = {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "testing": "test",
}
_JOINERS = "\u200c\u200d"  # of letters, within words
_MOST_BYTES = 2**30  # some ten million clips


@dataclasses.dataclass(frozen=True)
class Clip:
    """One row of a clip index.

    Attributes:
        clip: Name of the clip, unique in its index.
        file: Path of the video file.
        label: Name of the clip's class, or several, with `|` between them.
        split: Name of the clip's split: `"train"`, `"validation"`, `"test"`; or
            `"conjugate"`, for a clip that is nothing but a conjugate.
        conjugates: Names of the clips that show the same scene without the
            action; may be empty.
        start: Where in the file the clip begins, in seconds.
        end: Where it ends, in seconds; None at the end of the file.
        box: The part of the frames that is the clip, (x1, y1, x2, y2) in
            pixels of the frames as they are shown; None for whole frames.
        extra: All other columns of the row, such as `scene`.
        source: Name of what the clip was cut or recorded from, a person or a
            long video say: clips of one source should share a split. `""` if it
            is not known.
        conjugate_similarities: How alike the clip and each of its conjugates
            are, in [-1, 1], as `nearest_negatives` finds it; empty if it is not
            known.
    """

    clip: str
    file: str
    label: str
    split: str
    conjugates: tuple[str, ...] = ()
    start: float = 0.0
    end: float | None = None
    box: tuple[int, int, int, int] | None = None
    extra: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)
    source: str = ""
    conjugate_similarities: tuple[float, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the clip's classes."""
        return tuple(self.label.split("|"))

    @property
    def part(self) -> dict[str, Any]:
        """What of the file the clip is: `start`, `end` and `box`, by name."""
        return {name: getattr(self, name) for name in _PART}


class UnfitClip(ValueError):
    """A clip whose people cannot be found or removed; the message says why."""


def read_clip_index(
    path: str | os.PathLike, conjugates_column: str = "conjugates"
) -> list[Clip]:
    """Reads a clip index.

    An index is a CSV file in UTF-8 whose first line names its columns:
    `clip`, `file`, `label`, `split`, one column of conjugates, and any
    others. Of these `start` and `end` (seconds) and `box` (four whole numbers
    x1 y1 x2 y2, in pixels) make a clip a part of its file; where they are
    empty, it is the whole. `source` names what a clip was recorded from, and
    `conjugate_similarities` holds a number for each of its `conjugates`. White
    space around a field is dropped, blank lines are skipped. Values that are
    not understood are refused: other splits than `train`, `validation`, `test`
    and `conjugate`, which `actx mine` writes; and labels of which others are
    hard to tell apart by eye.

    Args:
        path: Path of the CSV file.
        conjugates_column: Name of the column that holds the names of each
            clip's conjugates, separated by white space. Defaults to
            `"conjugates"`.

    Returns:
        A list of `Clip`, in the order of the file. A relative `file` is
        taken from the folder of the index.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the index is wrong. The message starts with
            `{path}:{line}: `.
    """
    path = pathlib.Path(path)
    return _parse(path, _decode(path), conjugates_column)


def write_clip_index(path: str | os.PathLike, clips: Iterable[Clip]) -> None:
    """Writes clips as an index that `read_clip_index` reads.

    The columns are `clip`, `file`, `label`, `split`, `conjugates`, those of
    `start`, `end`, `box`, `source` and `conjugate_similarities` that a clip
    needs, and those of the `extra` of all clips. Files inside the index'
    folder are written relative to it. The index takes the place of an earlier
    one once it is whole.

    Args:
        path: Path of the CSV file.
        clips: The clips.

    Raises:
        ValueError: If `read_clip_index` would not return the same clips: a
            name that is not unique, say, or a conjugate that is not among
            them. An earlier index is left as it was.
    """
    path = pathlib.Path(path)
    clips = list(clips)
    rows = [_to_row(clip, path.parent.absolute()) for clip in clips]
    # An ordered set.
    columns = dict.fromkeys((*_REQUIRED, "conjugates"))
    columns |= {
        name: None for name in _OPTIONAL if any(row[name] for row in rows)
    }
    for clip in clips:
        if taken := _OWN & clip.extra.keys():
            raise ValueError(
                f"clip {clip.clip!r}: `extra` has columns of the index' own: "
                f"{_shorten(sorted(taken))}."
            )
        columns |= dict.fromkeys(clip.extra)

    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, list(columns), restval="", extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows(rows)
    parsed = _parse(path, text.getvalue(), "conjugates")
    for clip, read in zip(clips, parsed, strict=True):
        extra = {name: clip.extra.get(name, "") for name in read.extra}
        file = os.path.abspath(clip.file)
        if dataclasses.replace(clip, file=file, extra=extra) != (
            dataclasses.replace(read, file=os.path.abspath(read.file))
        ):
            raise ValueError(
                f"clip {clip.clip!r} cannot be written in an index: it would "
                f"be read as {read}. Received: {clip}"
            )
        # On Linux names are bytes, and those of old disks of other encodings.
        if not is_utf8(clip.clip + clip.file + clip.label):
            raise ValueError(
                f"clip {clip.clip!r} cannot be written in an index, which is "
                f"UTF-8. Received: {clip}"
            )
    with atomic_write(path) as draft:
        draft.write_text(text.getvalue(), encoding="utf-8", newline="")


def class_names_of(
    clips: Iterable[Clip], multi_label: bool = False
) -> list[str]:
    """Returns the names of the classes that models of these clips tell apart.

    Args:
        clips: The clips. Those of other splits than train, validation and
            test are conjugates alone: their labels do not count.
        multi_label: Whether a clip can be of several classes, or its whole
            label is the name of one. Defaults to `False`.

    Returns:
        The names, sorted: the place of a class is its place among the logits.
    """
    names = set()
    for clip in clips:
        if clip.split in SPLITS:
            names.update(clip.labels if multi_label else [clip.label])
    return sorted(names)


def label_problem(label: str) -> str | None:
    """Says why a text cannot be the label of a clip, or of its classes.

    Args:
        label: The name of a class, or several, with `|` between them.
    """
    names = label.split("|")
    if not all(names):
        return "the name of a class is empty"
    if len(set(names)) < len(names):
        return "a class is named twice"
    for name in names:
        if name[0].isspace() or name[-1].isspace():
            return "a space begins or ends the name of a class"
        hidden = [
            character
            for character in name
            if unicodedata.category(character) in ("Cc", "Cf")
            and character not in _JOINERS
        ]
        if hidden or name.strip(_JOINERS) != name:
            return "a character in it cannot be seen"
    return None


def _parse(path, text, conjugates_column):
    rows = _read_rows(path, text)
    line, header = next(rows, (1, []))
    required = (*_REQUIRED, conjugates_column)
    if missing := [name for name in required if name not in header]:
        raise _error(
            path,
            line,
            f"expected the columns {_shorten(required)}, with commas between "
            f"them. Missing: {_shorten(missing)}",
        )
    if len(set(header)) < len(header):
        counts = collections.Counter(header)
        repeated = [name for name in counts if counts[name] > 1]
        raise _error(
            path, line, f"column named more than once: {_shorten(repeated)}"
        )

    clips = []
    lines = {}
    labels = {}
    for line, fields in rows:
        if len(fields) != len(header):
            raise _error(
                path,
                line,
                f"expected {len(header)} fields. Received: {len(fields)}",
            )
        row = dict(zip(header, fields, strict=True))
        for column in _REQUIRED:
            if not row[column]:
                raise _error(path, line, f"`{column}` is empty")
        name = row.pop("clip")
        # The name becomes a data set of a feature store.
        if name in (".", "..") or "/" in name or "\\" in name:
            raise _error(
                path,
                line,
                "`clip` must be a plain name, not a path. "
                f"Received: clip={_shorten([name])}",
            )
        if name in lines:
            raise _error(
                path,
                line,
                f"clip {_shorten([name])} is already on line {lines[name]}",
            )
        lines[name] = line
        try:
            part = _parse_part(*(row.get(column, "") for column in _PART))
        except ValueError as error:
            fields = {column: row.get(column, "") for column in _PART}
            raise _error(
                path,
                line,
                "`start` and `end` must be seconds, 0 <= start < end, and "
                "`box` x1 y1 x2 y2, whole numbers, x1 < x2 and y1 < y2, or be "
                f"empty. Received: {fields}",
            ) from error
        try:
            _check_split(row["split"])
            _check_label(row["label"], labels, line)
            # Other columns of conjugates have none.
            numbers = ""
            if conjugates_column == "conjugates":
                numbers = row.pop(_SIMILARITIES, "")
            conjugates, similarities = _parse_conjugates(
                row.pop(conjugates_column), numbers
            )
        except ValueError as error:
            raise _error(path, line, str(error)) from error
        row = {name: row[name] for name in row if name not in _PART}
        clips.append(
            Clip(
                clip=name,
                file=str(path.parent / row.pop("file")),
                label=row.pop("label"),
                split=row.pop("split"),
                conjugates=conjugates,
                **part,
                source=row.pop("source", ""),
                conjugate_similarities=similarities,
                extra=row,
            )
        )

    for clip in clips:
        for conjugate in clip.conjugates:
            if conjugate == clip.clip:
                problem = "is a conjugate of itself"
            elif conjugate not in lines:
                problem = f"has an unknown conjugate {_shorten([conjugate])}"
            else:
                continue
            raise _error(
                path, lines[clip.clip], f"clip {clip.clip!r} {problem}"
            )
    return clips


def _parse_part(start, end, box):
    """The part of its file that a clip is, from the fields of its row."""
    start, end = float(start or 0), float(end) if end else None
    if (
        not 0 <= start < math.inf
        or end is not None
        and not (start < end < math.inf)
    ):
        raise ValueError
    box = tuple(map(int, box.split())) or None
    if box and not (len(box) == 4 and box[0] < box[2] and box[1] < box[3]):
        raise ValueError
    return {"start": start, "end": end, "box": box}


def _check_split(split):
    known = (*SPLITS, CONJUGATE)
    if split in known:
        return
    meant = split.lower()
    meant = _MEANT.get(meant) or _nearest(meant, known)
    raise ValueError(
        f"`split` must be one of {_shorten(known)}. "
        f"Received: split={_shorten([split])}"
        + (f" (is {meant!r} meant?)" if meant else "")
    )


def _check_label(label, known, line):
    """Refuses a label that looks like another one of `known`."""
    problem = label_problem(label)
    for name in () if problem else label.split("|"):
        looks = unicodedata.normalize("NFC", name).lower()
        other, before = known.setdefault(looks, (name, line))
        if other != name:
            problem = (
                f"{ascii(name)} differs from {ascii(other)} on line {before} "
                "in case, or in how accents are written, alone"
            )
            break
    if problem:
        raise ValueError(
            f"`label` must name classes that can be told apart: {problem}. "
            f"Received: label={_shorten([label])}"
        )


def _parse_conjugates(names, numbers):
    """The conjugates of a row without repetitions, and their similarities."""
    names, numbers = names.split(), numbers.split()
    similarities = tuple(map(_to_float, numbers))
    if not numbers:
        return tuple(dict.fromkeys(names)), ()
    if (
        len(set(names)) != len(numbers)
        or len(names) != len(numbers)
        or not all(-1 <= number <= 1 for number in similarities)
    ):
        raise ValueError(
            f"`{_SIMILARITIES}` must be a number in [-1, 1] for each of "
            "`conjugates`, or be empty. Received: "
            f"{len(names)} conjugates and {_shorten(numbers)}"
        )
    return tuple(names), similarities


def _to_float(text):
    try:
        return float(text)
    except ValueError:
        return math.nan


def _nearest(text, known):
    return next(iter(difflib.get_close_matches(text, known, n=1)), None)


def _to_row(clip, folder):
    """The fields of a clip in an index in `folder`."""
    file = pathlib.Path(clip.file).absolute()
    if file.is_relative_to(folder):
        file = file.relative_to(folder)
        # White space that begins a field would be dropped.
        if str(file) != str(file).strip():
            file = f"./{file}"
    return {
        **clip.extra,
        "clip": clip.clip,
        "file": str(file),
        "label": clip.label,
        "split": clip.split,
        "conjugates": " ".join(clip.conjugates),
        "start": str(clip.start or ""),
        "end": "" if clip.end is None else str(clip.end),
        "box": "" if clip.box is None else " ".join(map(str, clip.box)),
        "source": clip.source,
        _SIMILARITIES: " ".join(map(str, clip.conjugate_similarities)),
    }


def _decode(path):
    if not path.is_file():
        raise FileNotFoundError(f"no clip index at {path}")
    if path.stat().st_size > _MOST_BYTES:
        raise _error(path, 1, f"more than {_MOST_BYTES} bytes are no index")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _error(path, line, "not UTF-8") from error


def _read_rows(path, text):
    """Yields (line, fields) of each row that is not blank."""
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise _error(path, line, "holds a NUL character")
    if not text.strip():
        raise _error(path, 1, "the index is empty")

    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1  # where the row starts: a quoted field can span lines
    try:
        for fields in reader:
            if any(fields := [field.strip() for field in fields]):
                yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise _error(path, line, str(error)) from error


def _shorten(names, most=200):
    text = ", ".join(repr(name) for name in names)
    return text if len(text) <= most else f"{text[:most]}..."


def _error(path, line, problem):
    return ValueError(f"{path}:{line}: {problem}.")
