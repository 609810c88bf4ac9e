"""A folder of videos, without any annotation."""

import hashlib
import os
import pathlib
import re

from actx_tf.data.clip_index import Clip

_SPLITS = ("train", "validation", "test")
VIDEO_SUFFIXES = {
    ".avi",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".webm",
}


def read_folder(
    root: str | os.PathLike, test_percent: float = 20.0
) -> list[Clip]:
    """Reads a folder that has a folder of videos for each class.

    Either `<root>/<class>/<video>`: then some clips are drawn for the test, by
    their names, so that most keep their split when others are added. Or
    `<root>/<split>/<class>/<video>`, of the splits `train`, `validation` and
    `test`. Other files and folders are passed over.

    Args:
        root: The folder.
        test_percent: Percentage of each class that is drawn for the test, in
            [0, 100], but at least one clip if there are two; not used where
            the folders name the splits. Videos that were cut from one
            recording should be of one split: then make the folders of the
            splits. Defaults to `20.0`.

    Returns:
        A list of `Clip`, in the order of their names. A clip's name is that of
        its class and its file.

    Raises:
        FileNotFoundError: If there is no such folder, or no video in it.
        ValueError: If `test_percent` is not in [0, 100].
    """
    if not 0 <= test_percent <= 100:
        raise ValueError(
            "`test_percent` must be in [0, 100]. "
            f"Received: test_percent={test_percent}"
        )
    root = pathlib.Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder at {root}")
    found = {folder.name for folder in root.iterdir() if folder.is_dir()}
    split_by_folder = bool(found) and found <= set(_SPLITS)
    folders = root.glob("*/*" if split_by_folder else "*")
    clips = []
    for folder in sorted(folder for folder in folders if folder.is_dir()):
        videos = sorted(
            file
            for file in folder.iterdir()
            if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()
        )
        tested = set() if split_by_folder else _draw(videos, test_percent)
        for file in videos:
            split = "test" if file in tested else "train"
            if split_by_folder:
                split = folder.parent.name
            name = str(file.relative_to(root))
            clips.append(
                Clip(
                    # The name must hold no '/', and be one word of an index.
                    clip=re.sub(r"[\s/\\]+", "_", name),
                    file=str(file),
                    label=folder.name,
                    split=split,
                )
            )
    if not clips:
        raise FileNotFoundError(
            f"no video in {root}: expected {root}/<class>/<video> or "
            f"{root}/<split>/<class>/<video>, the files ending in "
            f"{', '.join(sorted(VIDEO_SUFFIXES))}"
        )
    return clips


def _draw(videos, percent):
    """The files whose names' hashes are the smallest, a share of them."""
    if len(videos) < 2 or percent == 0:
        return set()
    count = max(1, round(len(videos) * percent / 100))
    return set(
        sorted(
            videos, key=lambda file: hashlib.sha256(file.name.encode()).digest()
        )[:count]
    )
