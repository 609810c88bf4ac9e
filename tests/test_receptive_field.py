"""Centers against what a location's gradient reaches in the network itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from actx_tf.backbones import I3DResNet34
from actx_tf.backbones import InceptionI3D
from actx_tf.backbones import MobileNetV2Clip
from actx_tf.backbones.receptive_field import location_centers
from actx_tf.data import synthetic


def support(backbone, shape, axis, location):
    """First and last index of the axis that a location's gradient reaches."""
    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(2):  # max pooling looks at one pixel of many
        clip = tf.constant(rng.uniform(0, 255, (1, *shape, 3)), "float32")
        with tf.GradientTape() as tape:
            tape.watch(clip)
            features = backbone(clip, training=False)
            middle = [size // 2 for size in features.shape[1:4]]
            middle[axis] = location
            total = tf.reduce_sum(features[(0, *middle)] ** 2)
        gradient = tape.gradient(total, clip)[0].numpy()
        others = tuple({0, 1, 2, 3} - {axis})
        reached = reached + np.abs(gradient).sum(axis=others)
    assert reached[0] == reached[-1] == 0  # nothing is cut off
    return np.flatnonzero(reached)[[0, -1]]


def i3d():
    return InceptionI3D(False, None, (None, None, None, 3))


def resnet():
    return I3DResNet34(False, None, (None, None, None, 3))


def mobilenet(width, steps=4):
    return MobileNetV2Clip(None, (None, 32, width, 3), steps)


def builtin():
    return synthetic.backbone(weights=None)


@pytest.mark.parametrize(
    ("make", "shape", "axis", "location"),
    [
        (i3d, (1, 32, 544), 2, 8),
        (i3d, (1, 32, 541), 2, 8),
        (i3d, (128, 32, 32), 0, 7),
        (i3d, (125, 32, 32), 0, 7),
        (resnet, (1, 32, 1024), 2, 16),
        (resnet, (520, 8, 8), 0, 32),
        (lambda: mobilenet(576), (1, 32, 576), 2, 8),
        (lambda: mobilenet(32), (18, 32, 32), 0, 2),
        (lambda: mobilenet(32, 3), (13, 32, 32), 0, 2),
        (builtin, (16, 16, 96), 2, 5),
        (builtin, (16, 91, 16), 1, 5),
        (builtin, (48, 16, 16), 0, 5),
        (builtin, (47, 16, 16), 0, 5),
    ],
)
def test_centers_are_those_of_the_gradient_s_support(
    make, shape, axis, location
):
    keras.utils.set_random_seed(0)
    backbone = make()
    first, last = support(backbone, shape, axis, location)
    map_shape = backbone.compute_output_shape((1, *shape, 3))[1:4]
    centers = location_centers(backbone, map_shape, shape)[axis]
    center = centers[location] * shape[axis] - 0.5
    assert center == pytest.approx((first + last) / 2)


def test_equal_cells_where_nothing_is_known():
    time, height, width = location_centers(None, (1, 2, 4), (9, 8, 8))
    np.testing.assert_allclose(time, [0.5])
    np.testing.assert_allclose(height, [0.25, 0.75])
    np.testing.assert_allclose(width, [0.125, 0.375, 0.625, 0.875])


def test_unknown_sizes_are_whole_strides():
    known = location_centers("inception_i3d_rgb", (2, 3, 4), (16, 96, 128))
    for a, b in zip(
        known, location_centers("inception_i3d_rgb", (2, 3, 4)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    # Figures of the docstring.
    assert known[0][0] * 16 - 0.5 == 5
    assert known[1][0] * 96 - 0.5 == 23


def test_shapes_must_have_three_sizes():
    with pytest.raises(ValueError, match="`map_shape` must have three"):
        location_centers(None, (2, 3))
