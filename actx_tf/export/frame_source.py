"""The clips of a request, whose frames are made when they are run."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from actx_tf.data.resizing import resize_frames

_MOST_PIXELS = 2**25  # of an image: 8K video has as many
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PLACES = np.array([2**24, 2**16, 2**8, 1], np.int64)


class FrameSource(NamedTuple):
    """A clip of a request.

    Attributes:
        count: Number of its frames, int32.
        sides: (height, width) of its frames, int32 `(2,)`.
        read: Returns the frames from one to before another, resized to a size:
            see `resize_frames`.
    """

    count: tf.Tensor
    sides: tf.Tensor
    read: Callable[
        [tf.Tensor, tf.Tensor, int | tuple[int, int] | None], tf.Tensor
    ]


def decoded_clip(frames: tf.Tensor) -> FrameSource:
    """Returns a clip of frames, uint8 `(frames, height, width, 3)`."""

    def read(begin, stop, size):
        return resize_frames(frames[begin:stop], size)

    return FrameSource(tf.shape(frames)[0], tf.shape(frames)[1:3], read)


def encoded_clip(images: tf.Tensor) -> FrameSource:
    """Returns a clip of JPEGs or PNGs, string `(frames,)`.

    Of images that are larger than what they are resized to, no more than a few
    are held at once.
    """
    sides = image_sides(images)
    same = tf.debugging.assert_equal(
        sides, sides[:1], "`frames` of a clip must be of one size"
    )
    with tf.control_dependencies([same]):
        images = tf.identity(images)

    def read(begin, stop, size):
        def decode(image):
            # It reads PNGs, too. Of JPEGs the other methods are less exact.
            frame = tf.io.decode_jpeg(
                image, channels=3, dct_method="INTEGER_ACCURATE"
            )
            return resize_frames(frame, size)

        return tf.map_fn(
            decode,
            images[begin:stop],
            fn_output_signature=tf.TensorSpec((None, None, 3), tf.float32),
        )

    return FrameSource(tf.shape(images)[0], sides[0], read)


def image_sides(images: tf.Tensor) -> tf.Tensor:
    """Returns what images claim: (height, width), int32 `(images, 2)`.

    A few kilobytes can claim gigabytes, which fails; so does what is no image.
    """
    sides = tf.map_fn(
        _claimed_sides,
        images,
        fn_output_signature=tf.TensorSpec((2,), tf.int64),
    )
    pixels = tf.reduce_prod(sides, axis=-1)
    checks = [
        tf.debugging.assert_positive(
            pixels, "`frames` must be whole images, and not be empty"
        ),
        tf.debugging.assert_less_equal(
            pixels,
            tf.constant(_MOST_PIXELS, tf.int64),
            f"`frames` must have at most {_MOST_PIXELS} pixels each",
        ),
    ]
    with tf.control_dependencies(checks):
        return tf.cast(sides, tf.int32)


def _claimed_sides(image):
    return tf.cond(
        tf.equal(tf.strings.substr(image, 0, len(_PNG)), _PNG),
        lambda: _png_sides(image),
        lambda: tf.io.extract_jpeg_shape(image, tf.int64)[:2],
    )


def _png_sides(image):
    # Two numbers of four bytes, width and height, after the mark and the name
    # of the header. What is shorter has no pixels.
    padded = tf.strings.join([tf.strings.substr(image, 0, 24), b"\0" * 24])
    header = tf.io.decode_raw(tf.strings.substr(padded, 16, 8), tf.uint8)
    digits = tf.cast(tf.reshape(header, (2, 4)), tf.int64)
    return tf.linalg.matvec(digits, _PNG_PLACES)[::-1]
