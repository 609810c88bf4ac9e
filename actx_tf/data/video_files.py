"""Which files of a folder are videos, and why the others are not."""

import hashlib
import os
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path

# What FFmpeg reads as video, whatever the case of the letters.
VIDEO_SUFFIXES = frozenset(
    ".264 .265 .3g2 .3gp .3gpp .amv .asf .avi .dav .dif .divx .dv .f4v .flv "
    ".gif .gxf .h264 .h265 .hevc .ivf .m1v .m2t .m2ts .m2v .m4v .mj2 .mjpeg "
    ".mjpg .mk3d .mkv .mod .mov .mp4 .mpe .mpeg .mpg .mpv .mts .mxf .nut .obu "
    ".ogm .ogv .ogx .qt .rm .rmvb .tod .trp .ts .vob .webm .wmv .wtv "
    ".y4m".split()
)
# What systems put beside the files of people; and all that begins with a dot.
_HIDDEN = {
    "#recycle",
    "$recycle.bin",
    "@eadir",
    "__macosx",
    "desktop.ini",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
NOT_UTF8 = "name is not UTF-8"
EMPTY_FOLDER = "empty folder"
_COMPARED = 2**20  # bytes at both ends


def look_for_videos(
    root: str | os.PathLike,
) -> Iterator[tuple[Path, str | None]]:
    """Yields all that a folder and its folders hold, and what is wrong with it.

    Links are followed. A folder is yielded only if nothing is in it.

    Args:
        root: The folder.

    Yields:
        A tuple `(path, reason)`, sorted by the names. The reason is `None` for
        a video, judged by its name and size alone, or why it is not one, in
        some words: it is hidden, say, or empty.
    """
    yield from _look(Path(root), False, ())


def _look(folder, hidden, above):
    above = (*above, os.path.realpath(folder))
    names = sorted(os.listdir(folder))
    if not names:
        yield folder, "hidden" if hidden else EMPTY_FOLDER
    for name in names:
        path = folder / name
        hidden_too = hidden or is_hidden(name)
        if not path.is_dir():
            yield path, "hidden" if hidden_too else _problem(path)
        elif os.path.realpath(path) in above:
            yield path, "link to a folder around it"
        else:
            yield from _look(path, hidden_too, above)


def same_files(paths: Iterable[str | os.PathLike]) -> list[list[str]]:
    """Finds files of the same content: copies, under whatever names.

    Args:
        paths: Paths of files; those that are not there are passed over.

    Returns:
        Lists of two paths or more, sorted, each of files whose size, first and
        last MiB are the same.
    """
    of_size: dict[int, set[str]] = {}
    for path in paths:
        if os.path.isfile(path):
            size = os.path.getsize(path)
            of_size.setdefault(size, set()).add(os.fspath(path))
    found: dict[tuple[int, bytes], list[str]] = {}
    for size, alike in of_size.items():
        for path in alike if len(alike) > 1 else ():
            with open(path, "rb") as file:
                digest = hashlib.sha256(file.read(_COMPARED))
                file.seek(max(size - _COMPARED, 0))
                digest.update(file.read(_COMPARED))
            found.setdefault((size, digest.digest()), []).append(path)
    return sorted(sorted(same) for same in found.values() if len(same) > 1)


def is_utf8(path: str | os.PathLike) -> bool:
    """Whether a path can be written into a file of text.

    On Linux names are bytes, and those of old disks are of other encodings.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_hidden(name: str) -> bool:
    """Whether files and folders of this name are not for people."""
    return name.startswith(".") or name.lower() in _HIDDEN


def _problem(path):
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        return f"not a video ({suffix or 'no suffix'})"
    if not path.exists():
        return "link to nothing"
    if not path.is_file():
        return "not a file"
    if not path.stat().st_size:
        return "empty"
    return None if is_utf8(path) else NOT_UTF8
