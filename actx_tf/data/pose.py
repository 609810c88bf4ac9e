"""Finds people in frames with a pose network: masks and boxes of them."""

import math
import os
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actx_tf.utils.optional import import_optional

# Pairs of COCO's keypoints that have a part of the body between them.
LIMBS = (
    *((0, 1), (0, 2), (1, 3), (2, 4)),  # nose, eyes, ears
    *((5, 6), (5, 11), (6, 12), (11, 12)),  # shoulders, hips
    *((5, 7), (7, 9), (6, 8), (8, 10)),  # elbows, wrists
    *((11, 13), (13, 15), (12, 14), (14, 16)),  # knees, ankles
)
_KEYPOINTS = 17


class PoseNetwork:
    """A single-pose MoveNet in the LiteRT format; a function of frames.

    `network(frame, square)` returns the keypoints of one person, float64,
    `(17, 3)`: x and y in pixels of the frame and a score in [0, 1], in COCO's
    order. The network always returns 17; where it sees nobody, the scores are
    low. `frame` is RGB, uint8, `(height, width, 3)`, and `square` the part to
    look at, (x, y, side) in pixels. What lies outside of the frame is black.

    Args:
        path: Path of the `.tflite` file.

    Attributes:
        name: Name of the file, without its ending.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not such a network.

    Reference:
        - Votel and Li, Next-Generation Pose Detection with MoveNet and
          TensorFlow.js, TensorFlow Blog, 2021
    """

    def __init__(self, path: str | os.PathLike) -> None:
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no pose network at {path}")
        litert = import_optional("ai_edge_litert.interpreter", "Finding people")
        try:
            self._interpreter = litert.Interpreter(
                model_path=os.fspath(path), num_threads=os.cpu_count()
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{path}: not a LiteRT model: {error}") from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        shapes = [tuple(tensor["shape"]) for tensor in (*inputs, *outputs)]
        if len(shapes) != 2 or shapes != [
            (1, *shapes[0][1:2] * 2, 3),
            (1, 1, _KEYPOINTS, 3),
        ]:
            raise ValueError(
                f"{path}: expected a single-pose MoveNet, from (1, side, side, "
                f"3) to (1, 1, {_KEYPOINTS}, 3). Received: shapes={shapes}"
            )
        self._input, self._output = inputs[0], outputs[0]
        self.name = Path(path).stem

    def __call__(
        self, frame: np.ndarray, square: tuple[int, int, int]
    ) -> np.ndarray:
        x, y, side = square
        image = _resize(_cut(frame, square), self._input["shape"][1])
        self._interpreter.set_tensor(
            self._input["index"], image[np.newaxis].astype(self._input["dtype"])
        )
        self._interpreter.invoke()
        person = self._interpreter.get_tensor(self._output["index"])[0, 0]
        return person[:, [1, 0, 2]].astype("float64") * (side, side, 1) + (
            x,
            y,
            0,
        )


def find_people(
    frame: np.ndarray,
    network: Callable[[np.ndarray, tuple[int, int, int]], np.ndarray],
    zooms: Sequence[float] = (1.0, 2.0),
    keypoint_score: float = 0.2,
    person_score: float = 0.4,
) -> np.ndarray:
    """Finds the people in a frame, with a network that finds one.

    The network looks at the whole frame and at tiles of it, which overlap by
    half or more; then again, closer, at each person that it found, and the
    better of the two is kept. Of people that overlap, the strongest is kept.

    Args:
        frame: RGB values, uint8, `(height, width, 3)`.
        network: A `PoseNetwork`.
        zooms: For each value, the frame is tiled by squares with a side of
            the frame's shorter side divided by it. Higher ones find smaller
            people, and take longer. Defaults to `(1.0, 2.0)`.
        keypoint_score: Score from which on a keypoint counts as seen.
            Defaults to `0.2`.
        person_score: Score from which on a person counts as found: the mean
            of their 8 best keypoints, about half of a body, as people are
            often hidden in part. Defaults to `0.4`.

    Returns:
        The people, float64, `(people, 17, 3)`: x, y in pixels and the score
        of each keypoint; the strongest person first.
    """
    height, width = frame.shape[:2]
    squares = _tiles(height, width, zooms)
    people = [network(frame, square) for square in squares]
    people = [p for p in people if _score(p) >= keypoint_score]
    people = [
        max(
            person,
            network(frame, _square_around(person, keypoint_score)),
            key=_score,
        )
        for person in _without_doubles(people, keypoint_score)
    ]
    people = [p for p in people if _score(p) >= person_score]
    people = _without_doubles(people, keypoint_score)
    return np.array(people).reshape(-1, _KEYPOINTS, 3)


def pose_mask(
    people: np.ndarray,
    frame_size: tuple[int, int],
    map_size: tuple[int, int],
    keypoint_score: float = 0.2,
) -> np.ndarray:
    """Finds the voxels of a step that hold a keypoint or a limb.

    Args:
        people: Keypoints in pixels, `(people, 17, 3)`, as `find_people`
            returns them.
        frame_size: Size of the frame, (height, width).
        map_size: Size of the feature map, (height, width).
        keypoint_score: Score from which on a keypoint counts as seen; a limb
            does if both of its ends do. Defaults to `0.2`.

    Returns:
        Booleans `(height, width)`: the binary mask of Table 1's PoseMask.
    """
    mask = np.zeros(map_size, bool)
    to_voxels = np.divide(map_size, frame_size)[::-1]
    # Along a limb, points that are far less than a voxel apart.
    share = np.linspace(0, 1, 16 * max(map_size))[:, np.newaxis]
    for person in people:
        seen = person[:, 2] >= keypoint_score
        limbs = [limb for limb in LIMBS if all(seen[list(limb)])]
        points = person[:, :2] * to_voxels
        drawn = [points[seen]]
        drawn += [points[a] * (1 - share) + points[b] * share for a, b in limbs]
        column, row = np.floor(np.concatenate(drawn)).astype(int).T
        inside = (0 <= row) & (row < map_size[0])
        inside &= (0 <= column) & (column < map_size[1])
        mask[row[inside], column[inside]] = True
    return mask


def person_boxes(
    people: np.ndarray,
    frame_size: tuple[int, int],
    num_boxes: int,
    keypoint_score: float = 0.2,
) -> np.ndarray:
    """Puts a box around each person, as `RegionPooling` takes them.

    A box holds the keypoints that are seen and a tenth of its longer side
    more at each end: keypoints lie within the body.

    Args:
        people: Keypoints in pixels, `(people, 17, 3)`; of several frames of
            a step, people that overlap count once.
        frame_size: Size of the frame, (height, width).
        num_boxes: Number of boxes.
        keypoint_score: Score from which on a keypoint counts as seen.
            Defaults to `0.2`.

    Returns:
        Float32 `(num_boxes, 4)`: x1, y1, x2, y2 relative to the frame, in
        [0, 1], the strongest person first. Where there are fewer, the boxes
        that are left are zeros.
    """
    boxes = np.zeros((num_boxes, 4), "float32")
    people = _without_doubles(people, keypoint_score)[:num_boxes]
    height, width = frame_size
    for box, person in zip(boxes, people, strict=False):
        box[:] = np.divide(_box(person, keypoint_score), [width, height] * 2)
    return boxes.clip(0, 1)


def _tiles(height, width, zooms):
    """The whole frame, then squares that overlap by half or more."""
    whole = max(height, width)
    tiles = {((width - whole) // 2, (height - whole) // 2, whole): None}
    for zoom in zooms:
        side = max(1, round(min(height, width) / zoom))
        for y in _starts(height, side):
            tiles.update({(x, y, side): None for x in _starts(width, side)})
    return list(tiles)


def _starts(length, side):
    count = math.ceil(2 * (length - side) / side) + 1
    return np.linspace(0, length - side, count).astype(int).tolist()


def _square_around(person, keypoint_score):
    """Roomy enough for keypoints that were not seen yet."""
    x1, y1, x2, y2 = _box(person, keypoint_score)
    side = math.ceil(1.25 * max(x2 - x1, y2 - y1, 1))
    return round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2), side


def _score(person):
    return np.sort(person[:, 2])[-8:].mean()


def _box(person, keypoint_score):
    seen = person[person[:, 2] >= keypoint_score, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = 0.1 * (high - low).max()
    return np.concatenate([low - margin, high + margin])


def _without_doubles(people, keypoint_score):
    """The people, strongest first, without those half inside another's box."""
    kept = []
    for person in sorted(people, key=_score, reverse=True):
        box = _box(person, keypoint_score)
        if not any(
            _overlap(box, _box(other, keypoint_score)) > 0.5 for other in kept
        ):
            kept.append(person)
    return kept


def _overlap(one, other):
    """The share of the smaller box that lies in the larger one."""
    shared = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return np.prod(shared.clip(0)) / max(min(areas), 1e-9)


def _cut(frame, square):
    """A square of the frame, black outside."""
    x, y, side = square
    height, width = frame.shape[:2]
    top, bottom = max(y, 0), min(y + side, height)
    left, right = max(x, 0), min(x + side, width)
    image = np.zeros((side, side, 3), frame.dtype)
    if top < bottom and left < right:
        image[top - y : bottom - y, left - x : right - x] = frame[
            top:bottom, left:right
        ]
    return image


def _resize(image, side):
    cv2 = import_optional("cv2", "Finding people")
    smaller = side < len(image)
    return cv2.resize(
        image,
        (int(side), int(side)),
        interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR,
    )
