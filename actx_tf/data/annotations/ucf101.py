"""UCF101 (Soomro, Zamir, Shah 2012)."""

import os
import pathlib
import re

from actx_tf.data.annotations.parsing import error_at
from actx_tf.data.annotations.parsing import read_lines
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.clip_index import Clip

_CLASS = re.compile(r"(\d+)\s+(\w+)")
_VIDEO = re.compile(r"(\w+)/((v_\w+_g\d+)_c\d+)\.avi(?:\s+(\d+))?")


def read_ucf101(
    root: str | os.PathLike,
    split: int = 1,
    file_pattern: str = "UCF-101/{class_name}/{name}.avi",
) -> list[Clip]:
    """Reads one of UCF101's three divisions into training and test clips.

    The reader takes `classInd.txt`, `trainlist01.txt` and `testlist01.txt` (or
    02, 03) in `ucfTrainTestlist`. Checked on clip names and lists from public
    copies of these files, not on the whole of the owners' archive.

    Args:
        root: Folder that holds `ucfTrainTestlist`.
        split: Number of the division, 1 to 3. Defaults to `1`.
        file_pattern: Where in `root` a video lies; `{name}` is such as
            `v_Archery_g02_c02`, `{class_name}` such as `Archery`. Defaults to
            `"UCF-101/{class_name}/{name}.avi"`, as the owners' archive
            unpacks.

    Returns:
        A list of `Clip` of the splits `train` and `test`. `extra` holds
        `scene`, such as `v_Archery_g02`: clips of one group are cut from one
        video, and are never in both splits.

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If `split` or a line is wrong. The message about a line
            starts with `{path}:{line}: `.

    Reference:
        - Soomro, Zamir and Shah, UCF101: A Dataset of 101 Human Actions
          Classes From Videos in The Wild, CRCV-TR-12-01, 2012.
    """
    if split not in (1, 2, 3):
        raise ValueError(
            f"`split` must be 1, 2 or 3. Received: split={split!r}"
        )
    folder = pathlib.Path(root) / "ucfTrainTestlist"
    numbers = {}
    path = folder / "classInd.txt"
    for line, text in read_lines(path, "UCF101's list of classes"):
        if not (match := _CLASS.fullmatch(text)):
            raise error_at(
                path,
                line,
                f"expected such as '3 Archery'. Received: {text[:80]!r}",
            )
        numbers[match[2]] = int(match[1])

    clips = []
    places = {}
    for name_of_split in ("train", "test"):
        path = folder / f"{name_of_split}list0{split}.txt"
        for line, text in read_lines(path, "a list of UCF101's clips"):
            if not (match := _VIDEO.fullmatch(text)):
                raise error_at(
                    path,
                    line,
                    "expected such as 'Archery/v_Archery_g02_c02.avi' or "
                    f"'Archery/v_Archery_g02_c02.avi 3'. "
                    f"Received: {text[:80]!r}",
                )
            label, name, scene, number = match.groups()
            if label not in numbers:
                raise error_at(
                    path, line, f"{label!r} is not a class of classInd.txt"
                )
            if number and int(number) != numbers[label]:
                raise error_at(
                    path,
                    line,
                    f"expected {numbers[label]}, the number of {label!r} in "
                    f"classInd.txt. Received: {number}",
                )
            if name in places:
                raise error_at(
                    path, line, f"{name!r} is already at {places[name]}"
                )
            places[name] = f"{path.name}:{line}"
            clips.append(
                Clip(
                    clip=name,
                    file=video_path(
                        root, file_pattern, name=name, class_name=label
                    ),
                    label=label,
                    split=name_of_split,
                    extra={"scene": scene},
                )
            )
    return clips
