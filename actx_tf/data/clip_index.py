"""The clip index: a CSV file that lists clips, labels, splits, conjugates."""

import csv
import dataclasses
import io
import os
import pathlib

_REQUIRED = ("clip", "file", "label", "split")


@dataclasses.dataclass(frozen=True)
class Clip:
    """One row of a clip index.

    Attributes:
        clip: Name of the clip, unique in its index.
        file: Path of the video file.
        label: Name of the clip's class, or several, with `|` between them.
        split: Name of the clip's split, such as `"train"`.
        conjugates: Names of the clips that show the same scene without the
            action; may be empty.
        start: Where in the file the clip begins, in seconds.
        end: Where it ends, in seconds; None at the end of the file.
        extra: All other columns of the row, such as `scene`.
    """

    clip: str
    file: str
    label: str
    split: str
    conjugates: tuple[str, ...] = ()
    start: float = 0.0
    end: float | None = None
    extra: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the clip's classes."""
        return tuple(self.label.split("|"))


def read_clip_index(
    path: str | os.PathLike, conjugates_column: str = "conjugates"
) -> list[Clip]:
    """Reads a clip index.

    An index is a CSV file in UTF-8 whose first line names its columns:
    `clip`, `file`, `label`, `split`, one column of conjugates, and any
    others. White space around a field is dropped, blank lines are skipped.

    Args:
        path: Path of the CSV file.
        conjugates_column: Name of the column that holds the names of each
            clip's conjugates, separated by white space. Defaults to
            `"conjugates"`.

    Returns:
        A list of `Clip`, in the order of the file. A relative `file` is
        taken from the folder of the index.

    Raises:
        ValueError: If the index is wrong. The message starts with
            `{path}:{line}: `.
    """
    path = pathlib.Path(path)
    rows = _read_rows(path)
    line, header = next(rows, (1, []))
    required = (*_REQUIRED, conjugates_column)
    if missing := [name for name in required if name not in header]:
        raise _error(
            path,
            line,
            f"expected the columns {_shorten(required)}. "
            f"Missing: {_shorten(missing)}",
        )
    if len(set(header)) < len(header):
        repeated = {name for name in header if header.count(name) > 1}
        raise _error(
            path, line, f"column named more than once: {_shorten(repeated)}"
        )

    clips = []
    lines = {}
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
        clips.append(
            Clip(
                clip=name,
                file=str(path.parent / row.pop("file")),
                label=row.pop("label"),
                split=row.pop("split"),
                conjugates=tuple(
                    dict.fromkeys(row.pop(conjugates_column).split())
                ),
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


def _read_rows(path):
    """Yields (line, fields) of each row that is not blank."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _error(path, line, "not UTF-8") from error
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
