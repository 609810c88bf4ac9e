"""J-HMDB (Jhuang, Gall, Zuffi, Schmid, Black 2013)."""

import os
import pathlib
import re
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from actx_tf.data.annotations.parsing import check_exists
from actx_tf.data.annotations.parsing import error_at
from actx_tf.data.annotations.parsing import read_lines
from actx_tf.data.annotations.parsing import video_path
from actx_tf.data.clip_index import Clip
from actx_tf.utils.optional import import_optional

_LINE = re.compile(r"(.+)\.avi\s+([012])")
_SPLITS = {"1": "train", "2": "test"}


def read_jhmdb(
    root: str | os.PathLike,
    split: int = 1,
    file_pattern: str = "ReCompress_Videos/{class_name}/{name}.avi",
) -> list[Clip]:
    """Reads one of J-HMDB's three divisions into training and test clips.

    The reader takes `splits/<class>_test_split<split>.txt`, a line for each
    clip: its file, and 1 for training or 2 for the test. The format is that of
    the owners' page; checked on the names of clips of a public copy.

    Args:
        root: Folder that holds `splits`.
        split: Number of the division, 1 to 3. Defaults to `1`.
        file_pattern: Where in `root` a video lies; `{name}` is such as
            `April_09_brush_hair_u_nm_np1_ba_goo_0`, `{class_name}` such as
            `brush_hair`. Defaults to
            `"ReCompress_Videos/{class_name}/{name}.avi"`, the owners' folders.

    Returns:
        A list of `Clip` of the splits `train` and `test`. `extra` holds
        `scene`, the video that a clip was cut from, such as `April_09`: what
        stands before the class in its name, as HMDB51 names clips.

    Raises:
        FileNotFoundError: If there is no list.
        ValueError: If `split` or a line is wrong. The message about a line
            starts with `{path}:{line}: `.

    Reference:
        - Jhuang et al., Towards Understanding Action Recognition, ICCV 2013.
    """
    if split not in (1, 2, 3):
        raise ValueError(
            f"`split` must be 1, 2 or 3. Received: split={split!r}"
        )
    ending = f"_test_split{split}.txt"
    folder = pathlib.Path(root) / "splits"
    lists = sorted(folder.glob(f"*{ending}"))
    if not lists:
        raise FileNotFoundError(
            f"{folder} is missing or empty: expected lists such as "
            f"brush_hair{ending}."
        )
    clips = []
    places: dict[str, str] = {}
    for path in lists:
        label = path.name.removesuffix(ending)
        for line, text in read_lines(path, "a list of J-HMDB's clips"):
            if not (match := _LINE.fullmatch(text)):
                raise error_at(
                    path,
                    line,
                    "expected a file and 1 or 2, such as 'April_09_brush_hair"
                    f"_u_nm_np1_ba_goo_0.avi 1'. Received: {text[:80]!r}",
                )
            name, number = match.groups()
            if number not in _SPLITS:  # 0: in neither
                continue
            if name in places:
                raise error_at(
                    path, line, f"{name!r} is already at {places[name]}"
                )
            places[name] = f"{path.name}:{line}"
            scene, found, _ = name.partition(f"_{label}_")
            if not found:
                raise error_at(
                    path, line, f"expected the class {label!r} in {name!r}"
                )
            clips.append(
                Clip(
                    clip=name,
                    file=video_path(
                        root, file_pattern, name=name, class_name=label
                    ),
                    label=label,
                    split=_SPLITS[number],
                    extra={"scene": scene},
                )
            )
    return clips


def read_jhmdb_masks(
    root: str | os.PathLike,
    clips: Iterable[Clip],
    file_pattern: str = "puppet_mask/{class_name}/{name}/puppet_mask.mat",
) -> Iterator[tuple[str, np.ndarray]]:
    """Reads J-HMDB's puppet masks: where the acting person is, frame by frame.

    Args:
        root: Folder that holds the masks.
        clips: Clips of `read_jhmdb`.
        file_pattern: Where in `root` the masks of a clip lie. Defaults to the
            owners' folders.

    Yields:
        The name of each clip, and booleans `(frames, height, width)`, True on
        the person: what `write_masks` writes for `actx localize --masks`.

    Raises:
        FileNotFoundError: If masks are missing.
        ValueError: If a file holds something else.
        ImportError: If SciPy is not installed.
    """
    io = import_optional("scipy.io", "Reading J-HMDB's masks")
    for clip in clips:
        fields = {"name": clip.clip, "class_name": clip.label}
        path = pathlib.Path(video_path(root, file_pattern, **fields))
        check_exists(path, "the puppet masks of a clip")
        try:
            masks = io.loadmat(path)["part_mask"]
        # What SciPy raises on broken files is not documented.
        except Exception as error:
            raise ValueError(
                f"{path}: expected a MATLAB file with `part_mask`: {error}"
            ) from error
        if masks.ndim == 2:  # MATLAB drops the last axis of one frame
            masks = masks[..., np.newaxis]
        if masks.ndim != 3:
            raise ValueError(
                f"{path}: `part_mask` must be (height, width, frames). "
                f"Received: shape={masks.shape}"
            )
        yield clip.clip, np.moveaxis(masks > 0, -1, 0)
