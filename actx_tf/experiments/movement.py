"""Where things move in a clip, and whether a model looks there."""

import numpy as np
from keras import ops

from actx_tf import metrics
from actx_tf.prediction import VideoPrediction

_SHARE = 10  # percent of the locations: those that move most


def movement_auc(prediction: VideoPrediction) -> float:
    """How often the action map is higher where something moves.

    The tenth of the map's locations around which the frames change most count
    as moving. A camera that moves counts too.

    Args:
        prediction: Of a model with maps.

    Returns:
        The area under the ROC curve: the probability that S is higher at a
        location that moves than at another one; 0.5 is chance. NaN where
        nothing moves.

    Raises:
        TypeError: If there are no maps.
    """
    if prediction.action_map is None or prediction.centers is None:
        raise TypeError("`prediction` must be of a model with maps.")
    moved = movement_map(prediction.frames, prediction.centers)
    moving = moved > np.percentile(moved, 100 - _SHARE)
    auc = metrics.localization_auc(
        moving[np.newaxis], prediction.action_map[np.newaxis]
    )
    return float(ops.convert_to_numpy(auc))


def movement_map(
    frames: np.ndarray, centers: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> np.ndarray:
    """Mean change from frame to frame around each location of a map.

    Args:
        frames: RGB values, uint8, `(frames, height, width, 3)`.
        centers: Where the locations look: see `BackboneDescription.centers`.

    Returns:
        Floats `(time, height, width)`, in values of a pixel; zeros for a clip
        of one frame.
    """
    times, rows, columns = centers
    count, height, width, _ = frames.shape
    # A change lies between two frames.
    in_time = _averaging(times, np.arange(1, count) / count)
    in_height = _averaging(rows, (np.arange(height) + 0.5) / height)
    in_width = _averaging(columns, (np.arange(width) + 0.5) / width)
    moved = np.zeros((len(times), len(rows), len(columns)))
    for i in range(count - 1):  # one by one: a clip can be long
        change = np.abs(frames[i + 1].astype(np.int16) - frames[i]).mean(-1)
        moved += np.multiply.outer(
            in_time[:, i], in_height @ change @ in_width.T
        )
    return moved


def _averaging(centers, places):
    """`(centers, places)`: weights of the places that are nearest to each."""
    distances = np.abs(centers[:, np.newaxis] - places)
    nearest = distances == distances.min(axis=0)
    return nearest / np.maximum(nearest.sum(axis=1, keepdims=True), 1)
