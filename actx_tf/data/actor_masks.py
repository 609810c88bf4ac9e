"""Finds who acts in a clip without a network: by what differs, or moves."""

import numpy as np

from actx_tf.data.camera import camera_movement
from actx_tf.data.clip_index import UnfitClip
from actx_tf.data.emptied import MOST_MOVEMENT
from actx_tf.data.emptied import check_frames
from actx_tf.data.emptied import emptied
from actx_tf.utils.optional import import_optional

# Of the largest difference of the three colours, 0 to 255: less is noise.
_LEAST_DIFFERENCE = 20
_BLUR = 0.01  # standard deviation; as the next, of the shorter side
_GAP = 0.04  # that is closed within a person
# Of FAME: shares of the pixels, and how many values a colour has on each axis.
_SHARE = 0.5
_BACKGROUND_SHARE = 0.1
_VALUES = 10
_FAME_BLUR = 1 / 30


def masks_by_difference(
    frames: np.ndarray, scene: np.ndarray | None = None
) -> np.ndarray:
    """Marks what differs from the scene: of a camera that stands still.

    The pixels differ whose largest difference of the three colours, slightly
    blurred, is above a threshold: that of Otsu over the clip, 20 of 255 at
    least. Gaps within them are closed, and specks are dropped. Shadows, and
    what else changes, are marked too.

    Args:
        frames: RGB values, uint8, `(frames, height, width, 3)`.
        scene: Frames of the same camera, uint8, `(any, height, width, 3)`,
            such as a conjugate: their median over time is the scene. Defaults
            to `None`: the median of the clip itself, which holds whoever stays
            in one place.

    Returns:
        Booleans `(frames, height, width)`.

    Raises:
        ImportError: If OpenCV is missing.
        UnfitClip: If the camera moves, or the scene is of another size.
        ValueError: If an argument is wrong.
    """
    cv2 = import_optional("cv2", "Finding who acts")
    check_frames(frames)
    if scene is None:
        scene = frames
    elif scene.shape[1:] != frames.shape[1:]:
        raise UnfitClip(
            f"its conjugate has frames of {scene.shape[1:3]} pixels, and the "
            f"clip of {frames.shape[1:3]}"
        )
    elif not camera_movement(frames) <= MOST_MOVEMENT:
        raise UnfitClip("its camera moves, or too little is seen to tell")
    background = emptied(scene)[0]
    sides = frames.shape[1:3]
    blur = _BLUR * min(sides)
    differences = np.stack(
        [
            cv2.GaussianBlur(
                cv2.absdiff(frame, background).max(-1), (0, 0), blur
            )
            for frame in frames
        ]
    )
    threshold, _ = cv2.threshold(
        differences.reshape(-1, sides[1]), 0, 255, cv2.THRESH_OTSU
    )
    masks = differences > max(threshold, _LEAST_DIFFERENCE)
    small, large = (
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        for side in (_odd(blur), _odd(_GAP * min(sides)))
    )
    for mask in masks:
        closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, large)
        mask[:] = cv2.morphologyEx(closed, cv2.MORPH_OPEN, small)
    return masks


def masks_by_motion(frames: np.ndarray, share: float = _SHARE) -> np.ndarray:
    """Marks what moves, and what has its colours: the way of FAME.

    One mask for all frames, of half of the pixels whatever is seen: those that
    change most from frame to frame give the colours of the foreground, those
    that change least of the background, and the pixels are taken whose colour
    says foreground, blurred. It needs no camera that stands still, and no
    scene.

    Args:
        frames: RGB values, uint8, `(frames, height, width, 3)`.
        share: Share of the pixels that are marked, in (0, 1). Defaults to
            `0.5`, that of the paper.

    Returns:
        Booleans `(frames, height, width)`, a view of one mask.

    Raises:
        ImportError: If OpenCV is missing.
        UnfitClip: If nothing moves.
        ValueError: If an argument is wrong.

    Reference:
        - Ding et al., Motion-aware Contrastive Video Representation Learning
          via Foreground-background Merging, CVPR 2022
    """
    cv2 = import_optional("cv2", "Finding who acts")
    check_frames(frames)
    if not 0 < share < 1:
        raise ValueError(f"`share` must be in (0, 1). Received: share={share}")
    blur = _FAME_BLUR * min(frames.shape[1:3])
    change = np.zeros(frames.shape[1:3], np.float32)
    mean = np.zeros(frames.shape[1:], np.float32)
    for number, frame in enumerate(frames):
        mean += frame / np.float32(255 * len(frames))
        if number:
            change += cv2.absdiff(frame, frames[number - 1]).sum(-1)
    if not change.any():
        raise UnfitClip("nothing moves in it")
    change = cv2.GaussianBlur(change, (0, 0), blur)
    colors = _colors(cv2, mean)
    order = np.argsort(change, axis=None, kind="stable")
    count = _VALUES**3
    least = order[: max(1, int(_BACKGROUND_SHARE * order.size))]
    most = order[order.size - max(1, int(_SHARE * order.size)) :]
    foreground = np.bincount(colors.flat[most], minlength=count) / len(most)
    # One more of each: no colour is impossible.
    background = np.bincount(colors.flat[least], minlength=count) + 1.0
    background /= background.sum()
    likely = (foreground / (foreground + background))[colors]
    likely = cv2.GaussianBlur(likely.astype(np.float32), (0, 0), blur)
    order = np.argsort(likely, axis=None, kind="stable")
    mask = np.zeros(likely.shape, bool)
    mask.flat[order[order.size - max(1, int(share * order.size)) :]] = True
    return np.broadcast_to(mask, frames.shape[:3])


def mask_overlap(masks: np.ndarray, truth: np.ndarray) -> float:
    """Returns the intersection over union of masks, over all frames of a clip.

    Args:
        masks: Booleans `(frames, height, width)`.
        truth: The same, of which some are True.
    """
    return float((masks & truth).sum() / (masks | truth).sum())


def _colors(cv2, image):
    """The number of each pixel's colour: hue and saturation on a disk."""
    hue, saturation, value = np.moveaxis(
        cv2.cvtColor(image, cv2.COLOR_RGB2HSV), -1, 0
    )
    angle = np.deg2rad(hue)
    axes = (
        (saturation * np.cos(angle) + 1) / 2,
        (saturation * np.sin(angle) + 1) / 2,
        value,
    )
    number = np.zeros(image.shape[:2], int)
    for axis in axes:
        place = np.rint(axis * (_VALUES - 1)).astype(int)
        number = _VALUES * number + place.clip(0, _VALUES - 1)
    return number


def _odd(pixels):
    return 2 * round(pixels / 2) + 1
