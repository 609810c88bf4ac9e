"""What a trace makes of layers, and what it leaves to probing."""

import keras
import pytest
from keras import layers
from keras import ops

from actx_tf.backbones import MobileNetV2Clip
from actx_tf.backbones.adapted_network import AdaptedNetwork
from actx_tf.backbones.description import Axis
from actx_tf.backbones.tracing import trace

ANY = (None, None, None, 3)


def network(function, shape=ANY):
    clip = keras.Input(shape)
    return keras.Model(clip, function(clip))


def conv(kernel, stride=1, padding="same", **kwargs):
    return layers.Conv3D(4, kernel, stride, padding, **kwargs)


def seen(function):
    """The axis of time of layers that treat all axes alike."""
    traced = trace(network(function))
    assert traced.time == traced.height == traced.width
    return traced.time


def test_each_layer_adds_its_stage():
    for layer, expected in (
        (conv(3), Axis(((3, 1, 1),))),
        (conv(4, 2), Axis(((4, 2, None),))),
        (conv(4, 2, "valid"), Axis(((4, 2, (0, 0)),))),
        (conv(3, dilation_rate=3), Axis(((7, 1, 3),))),
        (layers.MaxPooling3D(3, 2, "same"), Axis(((3, 2, None),))),
        (layers.AveragePooling3D(2), Axis(((2, 2, (0, 0)),))),
        (layers.ZeroPadding3D(2), Axis(((1, 1, (2, 2)),))),
        (layers.Cropping3D(2), Axis(((1, 1, (-2, -2)),))),
        (layers.BatchNormalization(), Axis()),
        (layers.LayerNormalization(), Axis()),
        (
            layers.LayerNormalization((1, 2, 3), center=False, scale=False),
            Axis((), True),
        ),
        (layers.GroupNormalization(1), Axis((), True)),
        (layers.Dense(5), Axis()),
        (layers.Dropout(0.5), Axis()),
    ):
        assert seen(layer) == expected, layer


def test_branches_see_what_any_of_them_sees():
    def inception(x):
        wide = conv(5)(conv(1)(x))
        pooled = layers.MaxPooling3D(3, 1, "same")(x)
        return layers.Concatenate()([conv(1)(x), wide, pooled])

    assert seen(inception) == seen(conv(5))

    def residual(x):
        wide = conv(3)(conv(3, 2)(x))
        return layers.Add()([wide, conv(1, 2)(x)])

    assert seen(residual) == seen(lambda x: conv(3)(conv(3, 2)(x)))

    def to_both_sides(x):
        before = layers.ZeroPadding3D(((4, 0),) * 3)(x)
        after = layers.ZeroPadding3D(((0, 2),) * 3)(x)
        return conv(5, padding="valid")(before) + ops.relu(
            3.0 * conv(3, padding="valid")(after)
        )

    # Four places before and two after: seven in all.
    assert seen(to_both_sides) == Axis(((7, 1, 4),))


def test_branches_of_different_strides_or_counts_are_not_known():
    def paddings(x):
        left = layers.ZeroPadding3D(((0, 1),) * 3)(x)
        return layers.Add()([conv(3, 2, "valid")(left), conv(1, 2)(x)])

    # For even sizes alone.
    assert trace(network(paddings, (16, 16, 16, 3))) is None


@pytest.mark.parametrize("keepdims", [True, False])
def test_squeeze_and_excitation_sees_all(keepdims):
    def excited(x):
        x = conv(3, 2)(x)
        squeezed = layers.GlobalAveragePooling3D(keepdims=keepdims)(x)
        if not keepdims:
            squeezed = layers.Reshape((1, 1, 1, 4))(squeezed)
        return layers.Multiply()([x, conv(1)(squeezed)])

    assert seen(excited) == Axis(((3, 2, None),), True)


def test_images_see_no_other_frame():
    # A network of keras.applications, with squeeze and excitation.
    images = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    )
    for whole in (
        network(layers.TimeDistributed(images), (None, 64, 64, 3)),
        AdaptedNetwork(images, frame_by_frame=True),
    ):
        traced = trace(whole)
        assert traced.time == Axis()
        assert traced.height.sees_all and traced.width.sees_all
        assert traced.height.stride == traced.width.stride == 32


def test_models_in_models():
    inner = keras.Sequential([keras.Input(ANY), conv(3, 2), conv(3)])
    outer = keras.Sequential([keras.Input(ANY), inner, layers.ReLU()])
    assert seen(lambda x: conv(5, 2)(outer(x))) == Axis(
        ((3, 2, None), (3, 1, 1), (5, 2, None))
    )


class Shifted(layers.Layer):
    """A layer that this package does not know."""

    def call(self, x):
        return x + ops.roll(x, -1, axis=1)


class ToldShifted(Shifted):
    def receptive_stages(self):
        return {"time": [(2, 1, 0)]}


class Causal(layers.Conv3D):
    """Another meaning of a known class."""

    def call(self, x):
        return super().call(ops.roll(x, 1, axis=1))


def test_what_is_not_known_is_not_guessed():
    assert trace(network(Shifted())) is None
    assert trace(network(Causal(4, 3, padding="same"))) is None
    assert trace(network(layers.UpSampling3D(2))) is None
    assert trace(network(layers.GlobalAveragePooling3D(keepdims=True))) is None
    assert trace(network(layers.GlobalAveragePooling3D())) is None
    assert trace(network(lambda x: ops.mean(x, axis=1, keepdims=True))) is None
    assert trace(keras.Sequential([conv(3)])) is None  # it is not built
    assert trace(Shifted()) is None


def test_a_layer_can_tell_what_it_sees():
    traced = trace(network(lambda x: conv(3, 2)(ToldShifted()(x))))
    assert traced.time == Axis(((2, 1, 0), (3, 2, None)))
    assert traced.height == Axis(((3, 2, None),))
    assert trace(ToldShifted()).time == Axis(((2, 1, 0),))


def test_the_memory_is_that_of_the_largest_layer():
    # A MiB of frames, 64 channels at an eighth of them, in and out.
    traced = trace(network(lambda x: layers.ReLU()(conv(3, 2)(x))))
    assert traced.bytes_per_pixel == pytest.approx((3 + 4 / 8) * 4)
    expanded = network(lambda x: layers.ReLU()(layers.Dense(50)(x)))
    assert trace(expanded).bytes_per_pixel == pytest.approx(2 * 50 * 4)


def test_estimates_are_near_what_was_measured():
    from actx_tf.backbones import InceptionI3D
    from actx_tf.backbones import make_backbone

    for backbone in (
        MobileNetV2Clip(None, (None, 32, 32, 3)),
        InceptionI3D(False, None, (None, 32, 32, 3)),
    ):
        measured = backbone.description.bytes_per_pixel
        estimated = make_backbone(backbone.network).description.bytes_per_pixel
        assert 0.5 < estimated / measured < 2


def test_a_shared_layer_counts_at_each_of_its_places():
    shared = layers.Conv3D(3, 3, padding="same")
    assert seen(lambda x: shared(shared(x))) == Axis(((5, 1, 2),))
