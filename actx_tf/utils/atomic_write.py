"""Files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a path beside this one, whose file takes its place at the end.

    Whenever the process is killed, the file at `path` is the old or the whole
    new one. The path that is yielded has the same suffix, by which writers
    tell formats. After an exception nothing is left of it.

    Args:
        path: Path of the file. Its folder must exist.
    """
    path = Path(path)
    draft = path.with_name(f"{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield draft
        with open(draft, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
