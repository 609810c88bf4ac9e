"""What a network's answers tell, against what its layers are."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from actx_tf.backbones.description import Axis
from actx_tf.backbones.probing import probe
from actx_tf.backbones.tracing import trace

ANY = (None, None, None, 3)


def network(*of, shape=ANY):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *of])


def conv(kernel, stride=1, padding="same", **kwargs):
    return layers.Conv3D(4, kernel, stride, padding, **kwargs)


@pytest.mark.parametrize(
    "of",
    [
        (conv((9, 4, 4), (9, 4, 4), "valid"),),
        (conv((16, 8, 8), (16, 8, 8)),),
        (conv((11, 3, 2), (9, 2, 1)),),
        (conv(3), conv(1)),
        (layers.ZeroPadding3D(2), conv(5, 2, "valid"), conv(3, padding="same")),
        (layers.Cropping3D(((1, 0), (0, 2), (0, 0))), conv(3, 2, "valid")),
    ],
)
def test_equals_the_trace(of):
    """Of one padding; also the counts of sizes that were not tried."""
    whole = network(*of)
    probed, traced = probe(whole), trace(whole)
    for axis in ("time", "height", "width"):
        actual, expected = getattr(probed, axis), getattr(traced, axis)
        assert actual.stride == expected.stride
        assert actual.receptive_radius == expected.receptive_radius
        for size in range(40, 120):
            assert actual.count(size) == expected.count(size)
            assert actual.ends(size) == expected.ends(size)
    assert probed.channels == 4


def test_covers_paddings_that_depend_on_the_size():
    whole = network(conv(7, 2), conv(3), layers.MaxPooling3D(3, 2, "same"))
    probed, traced = probe(whole).time, trace(whole).time
    assert probed.stride == 4
    assert probed.receptive_radius == traced.receptive_radius
    for size in range(60, 80):
        assert probed.count(size) == traced.count(size)
        first, last = traced.ends(size)
        assert probed.ends(size)[0] <= first
        assert probed.ends(size)[1] >= last
        center = sum(probed.ends(size)) / 2
        assert abs(center - (first + last) / 2) < 4


class Attention(layers.Layer):
    """Each step of the axis sees all of them."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def call(self, x):
        return x + ops.mean(x, axis=self.axis, keepdims=True)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_what_sees_all_is_told(axis):
    probed = probe(network(conv(4, 4), Attention(axis)))
    axes = [probed.time, probed.height, probed.width]
    assert [a.sees_all for a in axes] == [i == axis for i in (1, 2, 3)]
    assert [a.stride for a in axes] == [4, 4, 4]
    assert axes[axis - 1].receptive_radius is None


def test_one_side_is_enough_to_see_all():
    past = network(layers.Lambda(lambda x: ops.cumsum(x, axis=1)))
    assert probe(past).time == Axis((), True)
    assert probe(past).height == Axis()


@pytest.mark.parametrize(("size", "stride"), [(32, 16), (30, 10), (31, 16)])
def test_a_fixed_size_is_known_at_that_size(size, stride):
    whole = network(
        conv((stride, 1, 1), (stride, 1, 1)), shape=(size, 16, 16, 3)
    )
    probed = probe(whole, fixed=(size, 16, 16))
    assert probed.time.stride == stride
    assert probed.time.count(size) == -(-size // stride)
    assert probed.height == Axis()


def test_a_network_of_whole_steps_alone():
    def whole_steps(clip):
        frames = clip.shape[1]
        if frames % 4:
            raise RuntimeError("no whole steps")
        steps = ops.reshape(clip, (1, frames // 4, 4, *clip.shape[2:]))
        return ops.mean(steps, axis=2)

    probed = probe(whole_steps)
    assert probed.time.stride == 4
    assert probed.time.receptive_radius == 0
    assert probed.time.count(20) == 5


def test_a_network_that_needs_large_clips():
    whole = network(conv((10, 40, 40), 4, "valid"))
    probed = probe(whole)
    assert probed.time == trace(whole).time
    assert probed.height == trace(whole).height


def test_flow_is_probed_with_flow():
    seen = []

    def keep(clip):
        seen.append(ops.convert_to_numpy(clip))
        return clip

    assert probe(keep, stream="flow").channels == 2
    assert all(clip.shape[-1] == 2 for clip in seen)
    assert min(clip.min() for clip in seen) < -0.9
    assert max(clip.max() for clip in seen) < 1


def test_noise_is_no_influence():
    rng = np.random.default_rng(0)

    def noisy(clip):
        noise = rng.uniform(-1e-3, 1e-3, clip.shape).astype("float32")
        return ops.convert_to_numpy(clip) / 255 + noise

    assert probe(noisy).time == Axis()


def test_mistakes_are_told():
    def of_seven_steps(clip):
        places = np.linspace(0, clip.shape[1] - 1, 7).astype(int)
        return ops.take(clip, places, axis=1)

    with pytest.raises(ValueError, match="as many steps of any.*`num_frames`"):
        probe(of_seven_steps)
    with pytest.raises(ValueError, match="each stand for as many frames"):
        probe(of_seven_steps, seen=(10, 16, 16))
    with pytest.raises(ValueError, match=r"one of its steps of each.*Received"):
        probe(layers.UpSampling3D((2, 1, 1)))
    with pytest.raises(ValueError, match=r"must take a clip.*too small"):
        probe(lambda clip: (_ for _ in ()).throw(RuntimeError("too small")))
    with pytest.raises(ValueError, match=r"feature map.*shape \(1, 8\)"):
        probe(lambda clip: clip[:, :, 0, 0, 0])
    with pytest.raises(ValueError, match="finite"):
        probe(lambda clip: clip * np.nan)


def test_fixed_numbers_of_locations_are_shares_of_what_is_shown():
    def of_four_steps(clip):
        return layers.AdaptiveAveragePooling3D((4, 8, 8))(clip)

    probed = probe(of_four_steps, seen=(16, 64, 64))
    assert (probed.time.stride, probed.height.stride) == (4, 8)
    assert not probed.time.sees_all


def in_time(kernel, stride=1, padding="valid", dilation=1):
    return layers.Conv3D(
        4,
        (kernel, 1, 1),
        (stride, 1, 1),
        padding,
        dilation_rate=(dilation, 1, 1),
    )


def residual():
    clip = keras.Input(ANY)
    x = in_time(5, 2)(clip)
    y = in_time(3, 1, "same")(in_time(5, 1, "same")(x))
    x = layers.Add()([x, y])
    return keras.Model(clip, in_time(3, 2)(x))


def random_layers(seed):
    """A few layers, of a stride of 9 together at most."""
    rng = np.random.default_rng(seed)
    of, stride = [], 1
    for _ in range(rng.integers(2, 5)):
        more = int(rng.integers(1, 9 // stride + 1))
        padding = ("valid", "same")[rng.integers(2)]
        dilation = int(rng.integers(1, 3)) if more == 1 else 1
        # With stride > kernel + 1 and "same", TensorFlow's result is by a frame
        # or more another one on processors where oneDNN has no such product.
        least = max(1, more - 1) if padding == "same" else 1
        kernel = int(rng.integers(least, 9))
        of.append(in_time(kernel, more, padding, dilation))
        stride *= more
    return of


def check_against_the_trace(whole):
    """Probed as a function, whose layers are not known."""
    probed = probe(lambda clip: whole(clip)).time
    traced = trace(whole).time
    assert probed.stride == traced.stride
    assert not probed.sees_all
    assert probed.receptive_radius >= traced.receptive_radius
    least = traced.least_size(1)
    assert probed.least_size(1) == least
    for size in range(least, least + 3 * traced.stride + 3):
        clip = np.zeros((1, size, 8, 8, 3), "float32")
        assert probed.count(size) == whole(clip).shape[1]
    for size in range(least + 60, least + 60 + 2 * traced.stride):
        count = traced.count(size)
        difference = probed.centers(count, size) - traced.centers(count, size)
        assert size * np.abs(difference).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_random_networks(seed):
    check_against_the_trace(network(*random_layers(seed)))


@pytest.mark.parametrize(
    "of",
    [
        # TensorFlow's counts of clips that are too short for these are wrong.
        (in_time(5, 2), in_time(3, 2), in_time(3, 1, "same")),
        (in_time(3, 2), in_time(3, 2), in_time(3, 2), in_time(5, 1, "same")),
        (in_time(9, 2), in_time(7, 2)),
        # The clip's end cuts off what the last location sees.
        (in_time(3, 2), in_time(3, 2), in_time(3, 1, "same")),
        (in_time(5, 3), in_time(3, 1, "same")),
        (in_time(11, 9), in_time(3, 1, "same")),
        (in_time(11, 9, "same"),),
        (in_time(5, 3, "same"), in_time(3, 1, "valid", 2)),
        (in_time(5, 1, "valid", 3), in_time(3, 4, "same")),
    ],
)
def test_networks_of_several_paddings(of):
    check_against_the_trace(network(*of))


def test_a_residual_network():
    check_against_the_trace(residual())


def test_a_network_that_raises_or_makes_nan_of_short_clips():
    whole = network(in_time(5, 2), in_time(3))

    def careful(clip):
        frames = clip.shape[1]
        if frames < 9:
            raise RuntimeError("too short")
        return whole(clip) * (np.nan if frames < 12 else 1)

    assert probe(careful).time == trace(whole).time
