"""Files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a path in the same folder, whose file replaces `path` at the end.

    Whenever the process is killed, the file at `path` is the old or the whole
    new one. The path that is yielded has the same suffix, by which writers
    choose formats. After an exception nothing is left of it.

    Args:
        path: Path of the file. Its folder must exist.

    Yields:
        The path to write to.
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
