"""What locations see, against what the network's own gradients reach."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from actx_tf.backbones import Backbone
from actx_tf.backbones import I3DResNet34
from actx_tf.backbones import InceptionI3D
from actx_tf.backbones import MobileNetV2Clip
from actx_tf.backbones import make_backbone
from actx_tf.backbones.description import Axis
from actx_tf.backbones.description import BackboneDescription
from actx_tf.backbones.description import location_centers
from actx_tf.data import synthetic
from tests.harness import assert_close
from tests.test_windows import run_in_windows


def support(network, shape, axis, location, times=2):
    """First and last index of the axis that a location's gradient reaches.

    Max pooling looks at one pixel of many: hence of `times` clips.
    """
    rng = np.random.default_rng(0)
    reached = 0
    for _ in range(times):
        clip = tf.constant(rng.uniform(128, 255, (1, *shape, 3)), "float32")
        with tf.GradientTape() as tape:
            tape.watch(clip)
            features = network(clip, training=False)
            middle = [size // 2 for size in features.shape[1:4]]
            middle[axis] = location
            total = tf.reduce_sum(features[(0, *middle)] ** 2)
        gradient = tape.gradient(total, clip)[0].numpy()
        others = tuple({0, 1, 2, 3} - {axis})
        reached = reached + np.abs(gradient).sum(axis=others)
    assert reached[0] == reached[-1] == 0  # nothing is cut off
    return np.flatnonzero(reached)[[0, -1]]


def thin(network):
    """A network that sees the same places, with an eighth of the channels."""

    def with_fewer(layer):
        config = layer.get_config()
        if isinstance(layer, layers.Conv3D):
            config["filters"] = max(1, config["filters"] // 8)
        return layer.from_config(config)

    return keras.models.clone_model(network, clone_function=with_fewer)


def check(backbone, shape, axis, location, network=None):
    """The description against the gradient; the map's shape on the way.

    The gradient is the backbone's own, or that of a network like it.
    """
    first, last = support(network or backbone, shape, axis, location)
    description = backbone.description
    map_shape = backbone.compute_output_shape((1, *shape, 3))[1:]
    assert map_shape == backbone(np.zeros((1, *shape, 3))).shape[1:]
    centers = description.centers(map_shape[:3], shape)[axis]
    center = centers[location] * shape[axis] - 0.5
    assert center == pytest.approx((first + last) / 2)
    seen = (description.time, description.height, description.width)[axis]
    ends = np.array(seen.ends(shape[axis])) + location * seen.stride
    assert tuple(ends) == (first, last)


# None of them is changed.
@functools.cache
def i3d():
    keras.utils.set_random_seed(0)
    return InceptionI3D(False, None, (None, None, None, 3))


@functools.cache
def resnet():
    keras.utils.set_random_seed(0)
    return I3DResNet34(None, (None, None, None, 3))


def mobilenet(width, steps=4):
    height = width and 32
    backbone = MobileNetV2Clip(None, (None, height, width, 3), steps)
    # Of random kernels ReLU6 lets nothing through from the rims of what is
    # seen. These take half of weighted means.
    for weight in backbone.weights:
        if "kernel" in weight.name:
            kernel = np.abs(weight.numpy()) + 0.01
            axes = (0, 1) if kernel.shape[-1] == 1 else (0, 1, 2)
            kernel /= 2 * kernel.sum(axis=axes, keepdims=True)
            weight.assign(kernel)
    return backbone


def builtin():
    return synthetic.backbone(weights=None)


@pytest.mark.parametrize(
    ("make", "shape", "axis", "location"),
    [
        (lambda: mobilenet(576), (1, 32, 576), 2, 8),
        (lambda: mobilenet(None), (1, 32, 571), 2, 8),
        (lambda: mobilenet(32), (18, 32, 32), 0, 2),
        (lambda: mobilenet(32, 3), (13, 32, 32), 0, 2),
        (builtin, (16, 16, 96), 2, 5),
        (builtin, (16, 91, 16), 1, 5),
        (builtin, (48, 16, 16), 0, 5),
        (builtin, (47, 16, 16), 0, 5),
    ],
)
def test_locations_see_what_their_gradients_reach(make, shape, axis, location):
    keras.utils.set_random_seed(0)
    check(make(), shape, axis, location)


@pytest.mark.parametrize(
    ("make", "shape", "axis", "location"),
    [
        (i3d, (1, 32, 544), 2, 8),
        (i3d, (1, 32, 541), 2, 8),
        (i3d, (128, 32, 32), 0, 7),
        (i3d, (125, 32, 32), 0, 7),
        (resnet, (1, 32, 1024), 2, 16),
        (resnet, (520, 8, 8), 0, 32),
    ],
)
def test_large_networks_see_what_thin_ones_do(make, shape, axis, location):
    network = thin(make().network)
    check(make(), shape, axis, location, network)


def test_another_name_changes_nothing_of_what_is_seen():
    backbone = i3d()
    other = make_backbone(backbone.network, name="a_network_of_mine")
    for axis in ("time", "height", "width"):
        assert getattr(other.description, axis) == getattr(
            backbone.description, axis
        )


def random_network(rng, length):
    """Layers of all kinds over time, which they know how to trace."""
    x = clip = keras.Input((length, 1, 1, 3))
    for _ in range(rng.integers(2, 5)):
        kernel, stride = map(int, rng.integers(1, 5, 2))
        padding = ["same", "valid"][rng.integers(2)]
        # Average poolings pass every gradient.
        kind = rng.integers(5)
        if kind == 0:
            x = layers.Conv3D(
                4, (kernel, 1, 1), (stride, 1, 1), padding=padding
            )(x)
        elif kind == 1:
            x = layers.AveragePooling3D(
                (kernel, 1, 1), (stride, 1, 1), padding=padding
            )(x)
        elif kind == 2:
            sides = tuple(map(int, rng.integers(0, 4, 2)))
            x = layers.ZeroPadding3D((sides, (0, 0), (0, 0)))(x)
            x = layers.Conv3D(4, (max(sides) + 1, 1, 1), (stride, 1, 1))(x)
        elif kind == 3:
            sides = tuple(map(int, rng.integers(0, 3, 2)))
            x = layers.Cropping3D((sides, (0, 0), (0, 0)))(x)
        else:
            y = layers.Conv3D(
                4, (kernel, 1, 1), padding="same", dilation_rate=(2, 1, 1)
            )(x)
            z = layers.Conv3D(4, (stride, 1, 1), padding="same")(x)
            x = layers.Add()([y, z])
    return keras.Model(clip, x)


@pytest.mark.parametrize("seed", range(12))
def test_networks_of_all_kinds_of_layers(seed):
    keras.utils.set_random_seed(seed)
    network = random_network(np.random.default_rng(seed), None)
    backbone = make_backbone(network)
    for length in (203, 204):
        count = backbone.description.time.count(length)
        check(backbone, (length, 1, 1), 0, count // 2)


def steps_of(network, length):
    try:
        return network.compute_output_shape((1, length, 1, 1, 3))[1]
    except ValueError:  # it is too short
        return 0


@pytest.mark.parametrize("seed", range(12))
def test_no_frame_beyond_the_radius_is_seen_and_none_less(seed):
    """At some length a location needs all of it, or is not there."""
    keras.utils.set_random_seed(seed)
    network = random_network(np.random.default_rng(seed), None)
    time = make_backbone(network).description.time
    stride = time.stride
    needed = []
    for length in range(160, 160 + stride):
        count = time.count(length)
        place = (length, 1, 1), 0, count // 2
        first, last = support(network, *place, times=1)
        begin = count // 2 * stride
        needed += [begin - first, last - (begin + stride - 1)]
        least = next(
            n for n in range(length) if steps_of(network, n) > count // 2
        )
        needed.append(least - (begin + stride))
    assert max(*needed, 0) == time.receptive_radius


def test_radii_of_the_built_in_backbones():
    # As their docstrings say; the ends that gradients reach give the same.
    assert i3d().description.receptive_radius == 47
    assert resnet().description.receptive_radius == 241
    assert mobilenet(32).description.receptive_radius == 1


@pytest.mark.parametrize("seed", range(12))
def test_windows_of_the_radius_equal_the_whole(seed):
    keras.utils.set_random_seed(seed)
    backbone = make_backbone(random_network(np.random.default_rng(seed), None))
    description = backbone.description
    rng = np.random.default_rng(0)

    def run(frames):
        return np.asarray(backbone(frames[None]))[0]

    radius, stride = description.receptive_radius, description.frames_per_step
    for total in (237, 238):
        clip = rng.uniform(0, 255, (total, 1, 1, 3)).astype("float32")
        features, _ = run_in_windows(
            run,
            iter(clip),
            functools.partial(len, clip),
            2 * radius + 5 * stride,
            stride,
            radius,
        )
        assert_close(features, run(clip), 1e-5)


def test_unknown_sizes_are_the_most_that_give_the_map():
    seen = builtin().description
    for axis in (
        seen.time,
        seen.width,
        Axis(((3, 2, (0, 0)), (3, 2, None))),
        Axis(((5, 3, (1, 0)),)),
    ):
        for count in (2, 5):
            most = max(n for n in range(200) if axis.count(n) == count)
            np.testing.assert_allclose(
                axis.centers(count), axis.centers(count, most)
            )


def test_figures_of_the_docstring():
    time, height, _ = i3d().description.centers((2, 3, 4), (16, 96, 128))
    assert time[0] * 16 - 0.5 == 5
    assert height[0] * 96 - 0.5 == 23


def test_equal_cells_where_nothing_is_known():
    time, height, width = location_centers(None, (1, 2, 4), (9, 8, 8))
    np.testing.assert_allclose(time, [0.5])
    np.testing.assert_allclose(height, [0.25, 0.75])
    np.testing.assert_allclose(width, [0.125, 0.375, 0.625, 0.875])


def test_shapes_must_have_three_sizes():
    description = builtin().description
    with pytest.raises(ValueError, match="`map_shape` must have three"):
        description.centers((2, 3))
    with pytest.raises(ValueError, match="`clip_shape` must have three"):
        description.centers((2, 3, 4), (5,))


@pytest.mark.parametrize("seed", range(20))
def test_merging_stages_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    axis, stages = Axis(), []
    for _ in range(4):
        kernel, stride = map(int, rng.integers(1, 6, 2))
        pair = tuple(map(int, rng.integers(-1, 3, 2)))
        padding = [None, pair[0], pair][rng.integers(3)]
        stages.append((kernel, stride, padding))
        axis = axis.then(*stages[-1])
    plain = Axis(stages)
    assert axis.stride == plain.stride
    assert axis.receptive_radius == plain.receptive_radius
    for size in range(500, 600):
        assert axis.count(size) == plain.count(size)
        assert axis.ends(size) == plain.ends(size)


def test_stages_are_checked():
    for stages in (
        ((3, 2),),
        ((0, 1, 0),),
        ((3, 0, 0),),
        ((3, 1, "same"),),
        ((3, 1, (1, 1, 1)),),
        ((3.0, 1, 0),),
        ((True, 1, 0),),
    ):
        with pytest.raises(ValueError, match="`stages` must be"):
            Axis(stages)


def test_descriptions_are_plain_json():
    axis = Axis(((np.int64(3), 2, None), (2, 1, (0, -1)), (5, 5, [1, 1])))
    description = BackboneDescription("a", 8, axis, Axis(), Axis((), True))
    again = BackboneDescription.from_dict(description.to_dict())
    assert again == description
    assert again.digest == description.digest
    assert not again.differences(description)


def test_a_backbone_in_a_backbone_is_refused():
    backbone = builtin()
    assert isinstance(backbone, Backbone)
    with pytest.raises(ValueError, match="must not be a backbone already"):
        make_backbone(backbone)
