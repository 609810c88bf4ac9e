"""Removes people from the frames of a clip."""

import math

import numpy as np

from actx_tf.data.camera import camera_movement
from actx_tf.data.clip_index import UnfitClip
from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.optional import import_optional

MARGIN = 5.0  # percent of the frames' shorter side, as the next one is
MOST_MOVEMENT = 1.0
# Where a still picture shows through the gaps between people, so many frames
# are as good as all.
MOST_FRAMES = 64
_FEWEST_FRAMES = 3
_ROWS = 32  # of all frames that are sorted at once


def emptied(
    frames: np.ndarray,
    masks: np.ndarray | None = None,
    margin: float = MARGIN,
    most_movement: float = MOST_MOVEMENT,
) -> np.ndarray:
    """Removes people from the frames of a clip.

    With `masks`, what they cover is filled with what is seen there at other
    times of the clip (the median), if the camera stands still. What is never
    seen, and all of it where the camera moves, is painted in from around it.
    The rest of each frame is as it was.

    Without `masks`, every frame is the median of the clip's pixels over time,
    which shows what is there more than half of the time: people who walk by are
    gone, and those who stay where they are, or come back to it, are still
    there. That cannot be told from the frames: look at the result. The camera
    must stand still.

    Args:
        frames: RGB values, uint8, `(frames, height, width, 3)`.
        masks: Booleans `(frames, height, width)`, True on people. Defaults to
            `None`: they are not known.
        margin: By how much masks are widened, in percent of the frames'
            shorter side: they are seldom wide enough for hair, clothes and
            blur, and what is left at their edge is painted all over the rest.
            Defaults to `5.0`.
        most_movement: The camera stands still if `camera_movement` is at most
            this. Defaults to `1.0` percent of the frames' shorter side.

    Returns:
        Frames of the same shape and type.

    Raises:
        ImportError: If OpenCV is missing.
        UnfitClip: If the masks are empty, or there are none and the camera
            moves, or there are fewer than 3 frames.
        ValueError: If an argument is wrong.

    Reference:
        - Telea, An Image Inpainting Technique Based on the Fast Marching
          Method, 2004
    """
    frames = np.asarray(frames)
    _check(frames, masks)
    check_not_negative("margin", margin)
    check_not_negative("most_movement", most_movement)
    if masks is None:
        if len(frames) < _FEWEST_FRAMES:
            raise UnfitClip(
                f"{len(frames)} frames are too few for a median over time"
            )
        moved = camera_movement(frames)
        if not moved <= most_movement:
            raise UnfitClip(_movement_problem(moved))
        return np.broadcast_to(_background(frames)[0], frames.shape)
    if not masks.any():
        raise UnfitClip("its masks are empty: there is nobody to remove")
    cv2 = import_optional("cv2", "Removing people")
    side = min(frames.shape[1:3])
    masks = _widened(cv2, masks, side * margin / 100)
    if camera_movement(frames, masks) <= most_movement:
        background, is_seen = _background(frames, masks)
        background = _painted(cv2, background, ~is_seen)
        return np.where(masks[..., np.newaxis], background, frames)
    return np.stack(
        [
            _painted(cv2, frame, mask)
            for frame, mask in zip(frames, masks, strict=True)
        ]
    )


def evenly(count: int, most: int) -> np.ndarray:
    """Returns numbers below `count`, all or `most` of them, spread evenly."""
    most = min(count, most)
    return ((np.arange(most) + 0.5) * count / most).astype(int)


def _background(frames, masks=None):
    """The median of what is not masked, and where there is any.

    It is one of the values that are there, the lower one of two.
    """
    numbers = evenly(len(frames), MOST_FRAMES)
    height, width = frames.shape[1:3]
    background = np.zeros((height, width, 3), np.uint8)
    is_seen = np.ones((height, width), bool)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        values = frames[numbers, rows].astype(np.int16)
        count = np.full(values.shape[1:3], len(numbers))
        if masks is not None:
            hidden = masks[numbers, rows]
            values[hidden] = 256  # after all others
            count -= hidden.sum(0)
        middle = np.maximum(count - 1, 0) // 2
        values = np.sort(values, axis=0)
        background[rows] = np.take_along_axis(
            values, middle[np.newaxis, ..., np.newaxis], 0
        )[0].clip(max=255)
        is_seen[rows] = count > 0
    return background, is_seen


def _widened(cv2, masks, margin):
    """Masks that are wider by so many pixels."""
    wider = np.zeros_like(masks)
    for mask, wide in zip(masks, wider, strict=True):
        if mask.any():
            away = cv2.distanceTransform(
                (~mask).astype(np.uint8), cv2.DIST_L2, 5
            )
            wide[:] = away <= margin
    return wider


def _painted(cv2, image, mask):
    """Paints over what is masked, from around it."""
    if not mask.any():
        return image
    if mask.all():
        raise UnfitClip("its masks cover all of a frame")
    return cv2.inpaint(image, mask.astype(np.uint8), 5, cv2.INPAINT_TELEA)


def _movement_problem(moved):
    if math.isnan(moved):
        return "whether its camera stands still cannot be seen"
    return f"its camera moves, by {moved:.1f}% of the frames' shorter side"


def check_frames(frames: np.ndarray) -> None:
    """Raises `ValueError` unless these are frames of RGB values."""
    if not (
        frames.dtype == np.uint8
        and frames.ndim == 4
        and frames.shape[-1] == 3
        and frames.size
    ):
        raise ValueError(
            "`frames` must be uint8, (frames, height, width, 3). Received: "
            f"frames of the shape {frames.shape} and the type {frames.dtype}"
        )


def _check(frames, masks):
    check_frames(frames)
    if masks is not None and not (
        masks.dtype == bool and masks.shape == frames.shape[:3]
    ):
        raise ValueError(
            "`masks` must be booleans, one for each pixel of `frames`, "
            f"{frames.shape[:3]}. Received: masks of the shape {masks.shape} "
            f"and the type {masks.dtype}"
        )
