"""PASCAL VOC 2012 Action (Everingham et al. 2012)."""

import math
import os
import pathlib
import re
import xml.etree.ElementTree as ElementTree

from actx_tf.data.annotations.parsing import check_exists
from actx_tf.data.annotations.parsing import error_at
from actx_tf.data.annotations.parsing import read_lines
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.clip_index import Clip

_ACTIONS = (
    "jumping",
    "phoning",
    "playinginstrument",
    "reading",
    "ridingbike",
    "ridinghorse",
    "running",
    "takingphoto",
    "usingcomputer",
    "walking",
)
_LINE = re.compile(r"([\w-]+)\s+([1-9]\d*)\s+(1|0|-1)")
_SPLITS = {"train": "train", "val": "validation"}


def read_voc_action(
    root: str | os.PathLike, file_pattern: str = "JPEGImages/{name}.jpg"
) -> list[Clip]:
    """Reads the people of PASCAL VOC 2012's action classification task.

    The reader takes `ImageSets/Action/<action>_train.txt` and `_val.txt` of the
    10 actions, a line for each person: the image, which of its objects (from 1,
    in the order of the image's annotation), and 1, -1, or 0 if not labelled. A
    person is not in the lists of all actions: those of older images lack
    `jumping`.
    The test set has no public labels and is left out. The XML is taken from
    the owners and trusted. The format is that of the owners' development kit;
    checked on small files written for the tests.

    Args:
        root: Folder that holds `ImageSets`: `VOCdevkit/VOC2012`.
        file_pattern: Where in `root` an image lies; `{name}` is such as
            `2011_003285`. Defaults to `"JPEGImages/{name}.jpg"`.

    Returns:
        A list of `Clip` of the splits `train` and `validation`, one for each
        person, such as `2011_003285_1`; each is one image, one step of time.
        `box` is the person's, widened to whole pixels. A person of several
        actions has a label such as `phoning|walking`; one of none is `other`,
        as the owners call it. `extra` holds `scene`, the image, and
        `unlabelled`: the actions of which nothing is known, with `|` between;
        the owners' evaluation of these leaves the person out.

    Raises:
        FileNotFoundError: If a list or an image's annotation is missing.
        ValueError: If one is wrong. The message starts with `{path}:{line}: `,
            or with `{path}: ` about the XML's content.

    Reference:
        - Everingham et al., The PASCAL Visual Object Classes Challenge 2012
          (VOC2012), 2012.
    """
    root = pathlib.Path(root)
    flags = {}  # (image, number) -> {action: "1", "0" or "-1"}
    splits = {}
    for name_of_list, split in _SPLITS.items():
        for action in _ACTIONS:
            path = (
                root / "ImageSets" / "Action" / f"{action}_{name_of_list}.txt"
            )
            for line, text in read_lines(path, "a list of VOC 2012's people"):
                if not (match := _LINE.fullmatch(text)):
                    raise error_at(
                        path,
                        line,
                        "expected an image, a number, and 1, -1 or 0, such "
                        f"as '2011_003285 1 -1'. Received: {text[:80]!r}",
                    )
                person = match[1], int(match[2])
                known = flags.setdefault(person, {})
                if action in known or splits.get(person, split) != split:
                    raise error_at(
                        path,
                        line,
                        f"person {person[1]} of {person[0]!r} is already in "
                        f"this list or of another split",
                    )
                splits[person] = split
                known[action] = match[3]

    clips = []
    objects = {}
    for (image, number), known in flags.items():
        path = root / "Annotations" / f"{image}.xml"
        if image not in objects:
            objects[image] = _read_objects(path)
        labels = [action for action in _ACTIONS if known.get(action) == "1"]
        unlabelled = [
            action for action in _ACTIONS if known.get(action, "0") == "0"
        ]
        clips.append(
            Clip(
                clip=f"{image}_{number}",
                file=video_path(root, file_pattern, name=image),
                label="|".join(labels) or "other",
                split=splits[image, number],
                box=_person_box(path, objects[image], number),
                extra={"scene": image, "unlabelled": "|".join(unlabelled)},
            )
        )
    return clips


def _read_objects(path):
    check_exists(path, "the annotation of an image of VOC 2012")
    try:
        return ElementTree.parse(path).getroot().findall("object")
    except ElementTree.ParseError as error:
        raise error_at(path, error.position[0], f"not XML: {error}") from error


def _person_box(path, objects, number):
    """(x1, y1, x2, y2) of an object, half open, in pixels from 0."""
    if number > len(objects) or objects[number - 1].findtext("name") != (
        "person"
    ):
        raise ValueError(
            f"{path}: expected object {number} of {len(objects)} to be a "
            "person."
        )
    box = objects[number - 1].find("bndbox")
    try:
        # The owners count pixels from 1 and include the last; some boxes
        # have decimals.
        x1, y1 = (
            max(math.floor(float(box.findtext(side))) - 1, 0)
            for side in ("xmin", "ymin")
        )
        x2, y2 = (
            math.ceil(float(box.findtext(side))) for side in ("xmax", "ymax")
        )
    except (
        AttributeError,
        OverflowError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path}: expected a `bndbox` of four numbers in object {number}."
        ) from error
    if not (x1 < x2 and y1 < y2):
        raise ValueError(
            f"{path}: expected a `bndbox` that is not empty in object {number}."
        )
    return x1, y1, x2, y2
