"""The one way in which frames are resized, in Python and in TensorFlow graphs.

Bilinear, with a filter as wide as the step from one pixel to the next where
frames get smaller (antialiased). Both give the same values to 1 of 255.
"""

import numpy as np
import tensorflow as tf

from actx_tf.utils.optional import import_optional


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a frame.

    Args:
        frame: The frame, uint8 `(height, width, 3)`.
        size: The new (height, width), in pixels.

    Returns:
        uint8 `(*size, 3)`.
    """
    if frame.shape[:2] == tuple(size):
        return frame
    image = import_optional("PIL.Image", "Resizing frames")
    height, width = size
    resized = image.fromarray(frame).resize(
        (width, height), image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def resize_frames(
    frames: tf.Tensor, size: int | tuple[int, int] | None
) -> tf.Tensor:
    """Resizes the frames of a clip, or one of them, in a graph.

    Args:
        frames: The frames, uint8 `(frames, height, width, 3)`, or `(height,
            width, 3)`; all sizes can be unknown.
        size: The new (height, width), in pixels; the length of the shorter
            side, where the aspect ratio is kept; or `None`: as they are.

    Returns:
        float32, whole numbers in [0, 255], as those of `resize_frame`.
    """
    if size is None:
        return tf.cast(frames, tf.float32)
    if isinstance(size, int):
        size = resized_in_graph(tf.shape(frames)[-3:-1], size)
    same = tf.reduce_all(tf.equal(tf.shape(frames)[-3:-1], size))
    return tf.cond(
        same,
        lambda: tf.cast(frames, tf.float32),
        lambda: tf.round(tf.image.resize(frames, size, antialias=True)),
    )


def resized_in_graph(
    sides: tf.Tensor, size: int | tuple[int, int] | None
) -> tf.Tensor:
    """Returns (height, width) of a frame once it is resized, in a graph.

    Args:
        sides: (height, width) of the frame, int32 `(2,)`.
        size: As in `resize_frames`.

    Returns:
        int32 `(2,)`.
    """
    if size is None:
        return sides
    if not isinstance(size, int):
        return tf.constant(size, tf.int32)
    scaled = tf.cast(sides, tf.float64)
    scaled = tf.round(scaled * size / tf.reduce_min(scaled))
    return tf.maximum(tf.cast(scaled, tf.int32), size)
