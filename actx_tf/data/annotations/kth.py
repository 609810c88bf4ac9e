"""KTH (Schuldt, Laptev, Caputo 2004)."""

import os
import pathlib
import re

from actx_tf.data.annotations.parsing import error_at
from actx_tf.data.annotations.parsing import read_lines
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.clip_index import Clip

_SPLITS = {"Training": "train", "Validation": "validation", "Test": "test"}
_PERSONS = re.compile(r"(Training|Validation|Test):\s*person(.+)")
_SEQUENCES = re.compile(
    r"((person\d\d)_([a-z]+)_(d\d))\s+"
    r"(?:frames\s+(\d+-\d+(?:\s*,\s*\d+-\d+)*)|\*missing\*)"
)
_FRAME_RATE = 25.0


def read_kth(
    root: str | os.PathLike, file_pattern: str = "{name}_uncomp.avi"
) -> list[Clip]:
    """Reads KTH's table of sequences, `00sequences.txt`.

    A file shows its action three or four times: each time is a clip. The
    table counts frames from 1, both ends included, at 25 frames a second.
    Stretches may touch or overlap by a frame, and are not always in order.
    `person13_handclapping_d3`, which the owners lost, is left out. Checked on
    the owners' table (599 files, 2391 clips) and two of their videos.

    Args:
        root: Folder that holds `00sequences.txt`.
        file_pattern: Where in `root` a video lies; `{name}` is such as
            `person01_boxing_d1`, `{class_name}` such as `boxing`. Defaults to
            `"{name}_uncomp.avi"`, the owners' names, in one folder.

    Returns:
        A list of `Clip`, such as `person01_boxing_d1_seq1`. The split goes by
        person, as the table says: `train`, `validation`, `test`. `extra` holds
        `person` and `scenario` (`d1` to `d4`).

    Raises:
        FileNotFoundError: If the table is missing.
        ValueError: If a line is wrong. The message starts with
            `{path}:{line}: `.

    Reference:
        - Schuldt, Laptev and Caputo, Recognizing Human Actions: a Local SVM
          Approach, ICPR 2004.
    """
    path = pathlib.Path(root) / "00sequences.txt"
    splits = {}
    lines = {}
    clips = []
    for line, text in read_lines(path, "KTH's table of sequences"):
        if persons := _PERSONS.fullmatch(text):
            for number in re.findall(r"\d+", persons[2]):
                splits[f"person{number}"] = _SPLITS[persons[1]]
        elif text.startswith("person"):
            sequences = _SEQUENCES.fullmatch(text)
            if not sequences:
                raise error_at(
                    path,
                    line,
                    "expected such as 'person01_boxing_d1 frames 1-95, "
                    f"96-185'. Received: {text[:80]!r}",
                )
            name, person, label, scenario, stretches = sequences.groups()
            if name in lines:
                raise error_at(
                    path, line, f"{name!r} is already on line {lines[name]}"
                )
            lines[name] = line
            if person not in splits:
                raise error_at(
                    path,
                    line,
                    f"expected {person} in a line above, such as "
                    "'Training: person11, 12'",
                )
            stretches = re.findall(r"(\d+)-(\d+)", stretches or "")
            for number, (first, last) in enumerate(stretches, start=1):
                if not 1 <= int(first) <= int(last):
                    raise error_at(
                        path,
                        line,
                        "expected frames from 1 on, the first before the "
                        f"last. Received: {first}-{last}",
                    )
                clips.append(
                    Clip(
                        clip=f"{name}_seq{number}",
                        file=video_path(
                            root, file_pattern, name=name, class_name=label
                        ),
                        label=label,
                        split=splits[person],
                        start=(int(first) - 1) / _FRAME_RATE,
                        end=int(last) / _FRAME_RATE,
                        extra={"person": person, "scenario": scenario},
                    )
                )
    if not clips:
        raise error_at(path, 1, "expected lines of sequences, found none")
    return clips
