"""Whether the camera of a clip stands still."""

import math

import numpy as np

from actx_tf.utils.optional import import_optional

_SIDE = 240  # pixels of the shorter side of what is compared
_MOST_FRAMES = 32  # that are compared
_MOST_CORNERS = 300
_FEWEST_CORNERS = 12  # that tell a movement
_SHARE = 0.4  # of all corners
_NEAR = 1.0  # pixels


def camera_movement(
    frames: np.ndarray, masks: np.ndarray | None = None
) -> float:
    """Measures how far the picture as a whole moves in a clip.

    Corners all over a frame are looked for in the next one by sparse optical
    flow, and the shift, rotation and zoom are found that most of them follow:
    each person moves differently, while the background moves as a whole. These
    movements add up, from frame to frame.

    Args:
        frames: RGB values, uint8, `(frames, height, width, 3)`. Of many, 32
            are compared, spread evenly.
        masks: Booleans `(frames, height, width)`: True on what may move, such
            as people, and is not looked at. Defaults to `None`: nothing.

    Returns:
        How far the picture has moved from where it was in the first frame, at
        most, in percent of its shorter side, the mean over the picture. NaN
        where too few corners are found to tell: in the dark, or between two
        scenes.

    Raises:
        ImportError: If OpenCV is missing.

    Reference:
        - Bouguet, Pyramidal Implementation of the Lucas Kanade Feature
          Tracker, 2000
    """
    cv2 = import_optional("cv2", "Measuring the camera's movement")
    count, height, width = frames.shape[:3]
    scale = min(1.0, _SIDE / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def view(number):
        grey = cv2.cvtColor(frames[number], cv2.COLOR_RGB2GRAY)
        free = np.ones((height, width), np.uint8)
        if masks is not None:
            free -= masks[number]
        return (
            cv2.resize(grey, size, interpolation=cv2.INTER_AREA),
            cv2.resize(free, size, interpolation=cv2.INTER_NEAREST),
        )

    x, y = np.meshgrid(*(np.linspace(0, side, 5) for side in size))
    places = np.stack([x, y, np.ones_like(x)], -1)
    numbers = np.linspace(0, count - 1, min(count, _MOST_FRAMES))
    views = (view(number) for number in numbers.round().astype(int))
    # Errors add up: the earlier frame stays the same as long as it will do. Of
    # a picture that moves, in the end nothing is found but captions.
    earlier = before = next(views)
    moved_before = moved = np.eye(3)
    movement = 0.0
    for after in views:
        step = _step(cv2, earlier, after, _SHARE)
        if step is None:
            earlier, moved_before = before, moved
            step = _step(cv2, earlier, after)
        if step is None:
            return math.nan
        before, moved = after, step @ moved_before
        distances = np.linalg.norm(places @ moved.T - places, axis=-1)
        movement = max(movement, float(distances.mean()))
    return 100 * movement / min(size)


def _step(cv2, before, after, share=0.0):
    """Returns the movement that most corners follow, (3, 3).

    `None` if these are too few, or a smaller share of all corners.
    """
    (before, free), (after, free_after) = before, after
    corners = cv2.goodFeaturesToTrack(
        before,
        _MOST_CORNERS,
        qualityLevel=0.001,  # asphalt has corners, too
        minDistance=min(before.shape) / 30,
        mask=free,
    )
    if corners is None:
        return None
    found, is_found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None)
    # What is not found on the way back is something else.
    back, is_back, _ = cv2.calcOpticalFlowPyrLK(after, before, found, None)
    corners, found, back = corners[:, 0], found[:, 0], back[:, 0]
    fewest = max(_FEWEST_CORNERS, share * len(corners))
    kept = (is_found[:, 0] > 0) & (is_back[:, 0] > 0)
    kept &= np.linalg.norm(back - corners, axis=-1) < _NEAR
    x, y = found.round().astype(int).T
    kept &= (0 <= x) & (x < after.shape[1]) & (0 <= y) & (y < after.shape[0])
    kept[kept] = free_after[y[kept], x[kept]] > 0
    if kept.sum() < fewest:
        return None
    step, follow = cv2.estimateAffinePartial2D(
        corners[kept], found[kept], ransacReprojThreshold=_NEAR
    )
    if step is None or follow.sum() < fewest:
        return None
    return np.vstack([step, [0, 0, 1]])
