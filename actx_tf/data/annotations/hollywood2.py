"""Hollywood2 (Marszalek, Laptev, Schmid 2009)."""

import os
import pathlib
import re

from actx_tf.data.annotations.parsing import BACKGROUND
from actx_tf.data.annotations.parsing import error_at
from actx_tf.data.annotations.parsing import read_lines
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.clip_index import Clip

_ACTIONS = (
    "AnswerPhone",
    "DriveCar",
    "Eat",
    "FightPerson",
    "GetOutCar",
    "HandShake",
    "HugPerson",
    "Kiss",
    "Run",
    "SitDown",
    "SitUp",
    "StandUp",
)
_LINE = re.compile(r"([\w-]+)\s+(1|-1)")


def read_hollywood2(
    root: str | os.PathLike, file_pattern: str = "AVIClips/{name}.avi"
) -> list[Clip]:
    """Reads Hollywood2's lists of action clips.

    The reader takes `ClipSets/<Action>_train.txt` (checked by hand; 823 clips)
    and `_test.txt` (884 clips) of the 12 actions, a line for each clip: its
    name, and 1 or -1. It leaves out the noisy `_autotrain.txt` and the scenes.
    The format is that of the owners' README; checked on small files written
    for the tests.

    Args:
        root: Folder that holds `ClipSets`.
        file_pattern: Where in `root` a video lies; `{name}` is such as
            `actioncliptrain00001`. Defaults to `"AVIClips/{name}.avi"`.

    Returns:
        A list of `Clip` of the splits `train` and `test`. A clip that shows
        several actions has a label such as `HugPerson|Kiss`; one that shows
        none is `background`: it counts as a negative of all twelve.

    Raises:
        FileNotFoundError: If a list is missing.
        ValueError: If a list is wrong. The message starts with
            `{path}:{line}: `.

    Reference:
        - Marszalek, Laptev and Schmid, Actions in Context, CVPR 2009.
    """
    clips = []
    for split in ("train", "test"):
        labels = {}
        for action in _ACTIONS:
            path = pathlib.Path(root) / "ClipSets" / f"{action}_{split}.txt"
            lines = {}
            for line, text in read_lines(path, "a list of Hollywood2's clips"):
                if not (match := _LINE.fullmatch(text)):
                    raise error_at(
                        path,
                        line,
                        f"expected such as 'actionclip{split}00001 1' or -1. "
                        f"Received: {text[:80]!r}",
                    )
                name = match[1]
                if name in lines:
                    raise error_at(
                        path,
                        line,
                        f"{name!r} is already on line {lines[name]}",
                    )
                lines[name] = line
                if action == _ACTIONS[0]:
                    labels[name] = []
                elif name not in labels:
                    raise error_at(
                        path,
                        line,
                        f"{name!r} is not in {_ACTIONS[0]}_{split}.txt",
                    )
                if match[2] == "1":
                    labels[name].append(action)
            if missing := labels.keys() - lines:
                raise error_at(
                    path,
                    len(lines),
                    f"expected the clips of {_ACTIONS[0]}_{split}.txt. "
                    f"Missing: {min(missing)!r} and {len(missing) - 1} more",
                )
        clips += [
            Clip(
                clip=name,
                file=video_path(root, file_pattern, name=name),
                label="|".join(actions) or BACKGROUND,
                split=split,
            )
            for name, actions in labels.items()
        ]
    return clips
