"""Boxes around actions, frame by frame, and the voxels that they fill."""

import dataclasses
import json
import os
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from actx_tf.utils.atomic_write import atomic_write


@dataclasses.dataclass(frozen=True)
class Tube:
    """A box around someone who acts, in each of successive frames.

    Attributes:
        start: The first frame, counted from 1.
        boxes: Floats `(frames, 4)`: the left, the top, the width and the
            height of the box in each frame, in pixels.
    """

    start: int
    boxes: np.ndarray


def read_tubes(path: str | os.PathLike) -> dict[str, list[Tube]]:
    """Reads the tubes of clips.

    The file is JSON: `{clip: [{"start": 62, "end": 96, "boxes_xywh": [[145,
    89, 42, 63], ...]}, ...], ...}`. Frames are those of the clip's video file,
    counted from 1, `end` included; there is one box for each frame. A clip can
    have several tubes at a time, or none.

    Args:
        path: Path of the JSON file.

    Returns:
        A dictionary from the name of a clip to its list of `Tube`.

    Raises:
        ValueError: If the file is wrong; the message names the clip.
    """
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must be an object of clips.")
    tubes = {}
    for clip, entries in content.items():
        try:
            tubes[clip] = [_to_tube(entry) for entry in entries]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: clip {clip!r}: tubes must be a list of objects with "
                "`start`, `end` and `boxes_xywh`, a box of four numbers for "
                f"each frame. Received: {type(error).__name__}: {error}"
            ) from error
    return tubes


def write_tubes(
    path: str | os.PathLike, tubes: Mapping[str, Sequence[Tube]]
) -> None:
    """Writes the tubes of clips as `read_tubes` reads them.

    Args:
        path: Path of the JSON file. It takes the place of an earlier one once
            it is whole.
        tubes: Mapping from the name of a clip to its tubes.
    """
    content = {
        clip: [
            {
                "start": tube.start,
                "end": tube.start + len(tube.boxes) - 1,
                "boxes_xywh": _shortest(tube.boxes).tolist(),
            }
            for tube in entries
        ]
        for clip, entries in tubes.items()
    }
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(content), encoding="utf-8")


def draw_tubes(tubes: Sequence[Tube], size: Sequence[int]) -> np.ndarray:
    """Fills the boxes of all tubes.

    Args:
        tubes: The tubes of a clip.
        size: Numbers of frames and pixels of its video file: (frames, height,
            width).

    Returns:
        Booleans `(frames, height, width)`, True where a pixel is in a box.
        A pixel that a box covers in part is True from the half on; what lies
        outside of the frames is cut off.
    """
    masks = np.zeros(size, bool)
    for tube in tubes:
        corners = np.concatenate(
            [tube.boxes[:, :2], tube.boxes[:, :2] + tube.boxes[:, 2:]], axis=1
        )
        corners = np.rint(np.maximum(corners, 0)).astype(int)
        for frame, (x1, y1, x2, y2) in enumerate(corners, tube.start - 1):
            if frame < len(masks):
                masks[frame, y1:y2, x1:x2] = True
    return masks


def masks_to_voxels(
    masks: np.ndarray,
    size: Sequence[int],
    frames: Sequence[float] | None = None,
    box: Sequence[int] | None = None,
    share: float = 0.1,
) -> np.ndarray:
    """Puts masks of pixels on the grid of a feature map.

    The voxels are equal cells of the clip, as if each saw just those frames
    and pixels that it covers. A network's voxels see more, and the truth of
    its maps is blurred by that much.

    Args:
        masks: Booleans `(frames, height, width)`, of a video file.
        size: Size of the feature map: (time, height, width).
        frames: The borders of its steps, `time + 1` ascending numbers, in
            frames of the file: 0 is where the first one begins. Defaults to
            `None`: equal steps over the whole file.
        box: The part of the frames that the feature map shows, (x1, y1, x2,
            y2) in pixels. Defaults to `None`: whole frames.
        share: A voxel is True where masks cover at least this share of its
            frames and pixels, in [0, 1], and more than nothing. Defaults to
            `0.1`.

    Returns:
        Booleans `(time, height, width)`.
    """
    time, height, width = size
    count, rows, columns = masks.shape
    borders = np.linspace(0, count, time + 1)
    if frames is not None:
        borders = np.asarray(frames)
    x1, y1, x2, y2 = (0, 0, columns, rows) if box is None else box
    cover = np.einsum("tf,fyx->tyx", _overlaps(borders, count), masks)
    cover = np.einsum(
        "hy,wx,tyx->thw",
        _overlaps(np.linspace(y1, y2, height + 1), rows),
        _overlaps(np.linspace(x1, x2, width + 1), columns),
        cover,
        optimize=True,
    )
    return (cover >= share - 1e-6) & (cover > 1e-6)


def _overlaps(borders, count):
    """The share of each cell that each of `count` unit intervals covers."""
    starts, ends = borders[:-1, np.newaxis], borders[1:, np.newaxis]
    units = np.arange(count)
    common = np.minimum(ends, units + 1) - np.maximum(starts, units)
    return np.maximum(common, 0.0) / np.maximum(ends - starts, 1e-12)


def _shortest(boxes):
    """Integers, if they say the same."""
    whole = np.rint(boxes).astype(np.int64)
    return whole if np.array_equal(whole, boxes) else boxes


def _to_tube(entry):
    start, end = int(entry["start"]), int(entry["end"])
    boxes = np.array(entry["boxes_xywh"], np.float64)
    if start < 1 or boxes.shape != (end - start + 1, 4):
        raise ValueError(f"{boxes.shape} boxes for the frames {start} to {end}")
    if not np.isfinite(boxes).all():
        raise ValueError("a box is not finite")
    return Tube(start, boxes)
