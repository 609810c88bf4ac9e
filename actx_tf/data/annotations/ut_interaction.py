"""UT-Interaction (Ryoo and Aggarwal 2010)."""

import os
import pathlib
import re

from actx_tf.data.clip_index import Clip

_CLASSES = ("handshake", "hug", "kick", "point", "punch", "push", "none")
_NAME = re.compile(r"(\d+)_(\d+)_(\d)\.avi")
_FOLDERS = ("segmented_set1", "segmented_set2")
_FOLDS = 10


def read_ut_interaction(root: str | os.PathLike, fold: int = 1) -> list[Clip]:
    """Reads the segmented clips of UT-Interaction.

    Files are named by number, sequence and class: `64_1_6.avi`. The owners'
    classes are 0 to 5; clips of class 6, other stretches of the same sequences
    without an interaction, are `none`, and conjugates of all clips of their
    sequence. Checked on the names of a public copy.

    A network can tell these clips apart by what is not the action: those of
    `none` are 20 frames a second and 64 frames long, the others 30 and of any
    length. Extract features at one frame rate.

    Args:
        root: Folder that holds `segmented_set1`, `segmented_set2` or both.
        fold: 1 to 10: sequence `fold` of each set is the test, as in the
            owners' leave-one-sequence-out. Defaults to `1`.

    Returns:
        A list of `Clip` of the splits `train` and `test`, such as
        `set1_64_1_6`. `extra` holds `scene`, the sequence, such as `set1_1`.

    Raises:
        FileNotFoundError: If there is no such folder, or no clip in them.
        ValueError: If `fold` or the name of a file is wrong.

    Reference:
        - Ryoo and Aggarwal, UT-Interaction Dataset, ICPR Contest on Semantic
          Description of Human Activities (SDHA), 2010.
    """
    if fold not in range(1, _FOLDS + 1):
        raise ValueError(f"`fold` must be 1 to 10. Received: fold={fold!r}")
    found = []
    for folder in _FOLDERS:
        for path in sorted(pathlib.Path(root, folder).glob("*.avi")):
            match = _NAME.fullmatch(path.name)
            if not match or int(match[3]) >= len(_CLASSES):
                raise ValueError(
                    f"{path}: expected a name such as '64_1_6.avi': number, "
                    "sequence, and class from 0 to 6."
                )
            name_of_set = folder.removeprefix("segmented_")
            sequence = int(match[2])
            found.append((path, name_of_set, sequence, int(match[3])))
    if not found:
        raise FileNotFoundError(
            f"no clip in {root}: expected files such as {_FOLDERS[0]}/0_1_4.avi"
        )

    def name_of(path, name_of_set):
        return f"{name_of_set}_{path.stem}"

    conjugates: dict[str, list[str]] = {}
    for path, name_of_set, sequence, number in found:
        if _CLASSES[number] == "none":
            scene = f"{name_of_set}_{sequence}"
            conjugates.setdefault(scene, []).append(name_of(path, name_of_set))
    clips = []
    for path, name_of_set, sequence, number in found:
        scene = f"{name_of_set}_{sequence}"
        label = _CLASSES[number]
        is_test = (sequence - 1) % _FOLDS == fold - 1
        clips.append(
            Clip(
                clip=name_of(path, name_of_set),
                file=str(path),
                label=label,
                split="test" if is_test else "train",
                conjugates=()
                if label == "none"
                else tuple(conjugates.get(scene, ())),
                extra={"scene": scene},
            )
        )
    return clips
