"""What the readers share: lines of text, paths of videos, errors."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BACKGROUND = "background"  # the class of clips that show none of the actions


def check_exists(path: Path, content: str) -> None:
    """Raises an error that says what `path` should hold, if it is no file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: expected {content}.")


def read_text(path: Path, content: str) -> str:
    """Returns the text of a file in UTF-8 that is not empty."""
    check_exists(path, content)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise error_at(path, line, "not UTF-8") from error
    if not text.strip():
        raise error_at(path, 1, f"the file is empty: expected {content}")
    return text


def read_lines(path: Path, content: str) -> Iterator[tuple[int, str]]:
    """Yields (line, text) of each line of a file that is not blank."""
    lines = read_text(path, content).splitlines()
    for line, text in enumerate(lines, start=1):
        if text := text.strip():
            yield line, text


def read_database(path: Path, content: str) -> dict[str, Any]:
    """Returns the `database` of a JSON file in ActivityNet's form."""
    try:
        found = json.loads(read_text(path, content))
    except json.JSONDecodeError as error:
        raise error_at(path, error.lineno, f"not JSON: {error.msg}") from error
    except RecursionError as error:
        raise error_at(path, 1, "not JSON: too many brackets") from error
    videos = found.get("database") if isinstance(found, dict) else None
    if not isinstance(videos, dict):
        raise error_at(path, 1, "expected an object with a `database`")
    return videos


def video_path(
    root: str | os.PathLike, file_pattern: str, **fields: object
) -> str:
    """Returns the path of a video: the pattern with its fields filled in."""
    try:
        return os.path.join(root, file_pattern.format(**fields))
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        names = ", ".join(f"{{{name}}}" for name in fields)
        raise ValueError(
            "`file_pattern` must be a path with no fields but "
            f"{names}. Received: file_pattern={file_pattern!r}"
        ) from error


def error_at(path: Path, line: int, problem: str) -> ValueError:
    """Returns the error of a line of a file."""
    return ValueError(f"{path}:{line}: {problem}.")
