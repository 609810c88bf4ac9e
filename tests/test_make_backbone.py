"""Backbones of networks that know nothing of this package."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras import ops

from actx_tf.backbones import Backbone
from actx_tf.backbones import make_backbone
from actx_tf.backbones.description import Axis
from actx_tf.models import load_model
from tests.harness import assert_close
from tests.harness import run_fresh

MEAN = np.array([0.485, 0.456, 0.406])
DEVIATION = np.array([0.229, 0.224, 0.225])


def frames(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, shape).astype("float32")


def network(*of, shape=(None, None, None, 3)):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input(shape), *of], name="of_mine")


def pooled(*strides):
    """Means of cells, which tell where in the clip a location is."""
    return layers.AveragePooling3D(strides)


@pytest.mark.parametrize("stride", [1, 7, 9, 16])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_strides_are_exact(stride, padding):
    plain = network(layers.Conv3D(4, stride, stride, padding))
    traced = make_backbone(plain).description
    probed = make_backbone(lambda clip: plain(clip)).description
    for description in (traced, probed):
        assert description.frames_per_step == stride
        assert description.height.stride == stride
        for size in range(stride, 80):
            assert (
                description.time.count(size)
                == (plain.compute_output_shape((1, size, 80, 80, 3))[1])
            )


def test_a_network_of_video_values_is_left_as_it_is():
    plain = network(layers.Conv3D(4, 3, 2))
    backbone = make_backbone(plain, frame_rate=8.0, size=[64, 96])
    assert isinstance(backbone, Backbone)
    assert backbone.network is plain
    assert backbone.description.frame_rate == 8.0
    assert backbone.description.size == (64, 96)
    assert backbone.description.channels == 4
    clip = frames(1, 9, 16, 16, 3)
    assert_close(backbone(clip), plain(clip))


@pytest.mark.parametrize(
    ("value_range", "expected"),
    [
        ((-1, 1), lambda x: x / 127.5 - 1),
        ((0.0, 1.0), lambda x: x / 255),
        ((1, 0), lambda x: 1 - x / 255),
        (
            (-MEAN / DEVIATION, (1 - MEAN) / DEVIATION),
            lambda x: (x / 255 - MEAN) / DEVIATION,
        ),
    ],
)
def test_values_are_what_the_network_takes(value_range, expected):
    plain = network(pooled(2, 2, 2))
    backbone = make_backbone(plain, value_range=value_range)
    clip = frames(2, 4, 8, 8, 3)
    assert_close(backbone(clip), plain(expected(clip)), 1e-5)
    assert_close(backbone(clip.astype("uint8")), backbone(np.floor(clip)), 1e-5)
    # It is still traced.
    assert backbone.description.time == Axis(((2, 2, (0, 0)),))


@keras.saving.register_keras_serializable(package="tests")
class Tokens(layers.Layer):
    """Cells as tokens: class tokens first, then time, height and width."""

    def __init__(self, strides=(2, 8, 8), prefix=0, **kwargs):
        super().__init__(**kwargs)
        self.strides = strides
        self.prefix = prefix
        self.pool = layers.AveragePooling3D(strides)

    def call(self, clip):
        cells = self.pool(clip)
        batch, *_, channels = ops.shape(cells)
        tokens = ops.reshape(cells, (batch, -1, channels))
        prefix = -1 - ops.zeros_like(tokens[:, : self.prefix])
        return ops.concatenate((prefix, tokens), axis=1)

    def get_config(self):
        config = {"strides": self.strides, "prefix": self.prefix}
        return {**super().get_config(), **config}


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_tokens_become_a_map(prefix):
    backbone = make_backbone(
        Tokens(prefix=prefix),
        num_frames=6,
        size=(32, 40),
        tokens=(3, 4, 5),
        prefix_tokens=prefix,
    )
    clip = frames(2, 6, 32, 40, 3)
    assert_close(backbone(clip), pooled(2, 8, 8)(clip))
    description = backbone.description
    assert (description.num_frames, description.size) == (6, (32, 40))
    strides = [
        axis.stride
        for axis in (description.time, description.height, description.width)
    ]
    assert strides == [2, 8, 8]
    assert backbone.compute_output_shape((None, 6, 32, 40, 3)) == (
        *(None, 3, 4, 5),
        3,
    )


def test_tokens_of_any_number_of_frames():
    backbone = make_backbone(
        Tokens((4, 8, 8)), frame_rate=8.0, size=(32, 40), tokens=(None, 4, 5)
    )
    assert backbone.description.frames_per_step == 4
    assert backbone.description.receptive_radius == 0
    clip = frames(1, 12, 32, 40, 3)
    assert_close(backbone(clip), pooled(4, 8, 8)(clip))


@keras.saving.register_keras_serializable(package="tests")
class ImageTokens(Tokens):
    def call(self, images):
        return super().call(images[:, None])


@pytest.mark.parametrize("as_tokens", [True, False])
def test_images_frame_by_frame(as_tokens):
    if as_tokens:
        images = ImageTokens((1, 8, 8), prefix=2)
        options = {"tokens": (1, 4, 5), "prefix_tokens": 2}
    else:
        images = keras.Sequential(
            [keras.Input((32, 40, 3)), layers.AveragePooling2D(8)]
        )
        options = {}
    backbone = make_backbone(
        images, size=(32, 40), frame_by_frame=True, **options
    )
    clip = frames(2, 7, 32, 40, 3)
    assert_close(backbone(clip), pooled(1, 8, 8)(clip))
    assert backbone.description.frames_per_step == 1
    assert backbone.description.receptive_radius == 0
    assert backbone.description.height.stride == 8


def test_layouts_of_pytorch():
    clip = frames(1, 4, 16, 24, 3)
    expected = pooled(2, 8, 8)(clip)

    def channels_first(x):  # (batch, channels, frames, height, width)
        assert x.shape[1] == 3
        return ops.transpose(
            pooled(2, 8, 8)(ops.transpose(x, (0, 2, 3, 4, 1))), (0, 4, 1, 2, 3)
        )

    def frames_first(x):  # (batch, frames, channels, height, width)
        assert x.shape[2] == 3
        return ops.transpose(
            pooled(2, 8, 8)(ops.transpose(x, (0, 1, 3, 4, 2))), (0, 1, 4, 2, 3)
        )

    def images_first(x):  # (batch, channels, height, width)
        assert x.shape[1] == 3
        x = ops.transpose(x, (0, 2, 3, 1))
        return ops.transpose(layers.AveragePooling2D(8)(x), (0, 3, 1, 2))

    for function, layout in (
        (channels_first, "channels_first"),
        (frames_first, "frames_first"),
    ):
        backbone = make_backbone(function, layout=layout, size=(16, 24))
        assert_close(backbone(clip), expected)
    backbone = make_backbone(
        images_first, layout="channels_first", frame_by_frame=True
    )
    assert_close(backbone(clip), pooled(1, 8, 8)(clip))


def test_dictionaries():
    x = keras.Input((None, None, None, 3), name="pixels")
    cells = pooled(2, 2, 2)(x)
    several = keras.Model(
        {"pixels": x}, {"map": cells, "pooled": ops.mean(cells, (1, 2, 3))}
    )
    backbone = make_backbone(several, input="pixels", output="map")
    clip = frames(1, 4, 8, 8, 3)
    assert_close(backbone(clip), pooled(2, 2, 2)(clip))
    with pytest.raises(ValueError, match=r"`output` must be one of \['map'"):
        make_backbone(several, input="pixels")
    with pytest.raises(ValueError, match=r"`output` must be one of \[None\]"):
        make_backbone(network(pooled(2, 2, 2)), output="map")
    pair = keras.Model(x, [cells, ops.mean(cells, (1, 2, 3))])
    assert_close(make_backbone(pair, output=0)(clip), backbone(clip))


def test_a_file_in_a_fresh_process(tmp_path):
    backbones = {
        "values": make_backbone(
            network(layers.Conv3D(4, 3, 2)),
            value_range=(-MEAN / DEVIATION, (1 - MEAN) / DEVIATION),
            frame_rate=12.5,
        ),
        "tokens": make_backbone(
            network(
                layers.Conv3D(4, (2, 8, 8), (2, 8, 8)),
                layers.Reshape((60, 4)),
                shape=(6, 32, 40, 3),
            ),
            tokens=(3, 4, 5),
            name="tokens",
        ),
        "images": make_backbone(
            keras.Sequential([keras.Input((32, 40, 3)), layers.Conv2D(4, 8)]),
            frame_by_frame=True,
            value_range=(-1, 1),
        ),
    }
    clip = frames(1, 6, 32, 40, 3)
    np.save(tmp_path / "clip.npy", clip)
    for name, backbone in backbones.items():
        backbone.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", backbone(clip))
    printed = run_fresh(
        "import sys, numpy as np\n"
        "from actx_tf.models import load_model\n"
        "clip = np.load(f'{sys.argv[1]}/clip.npy')\n"
        "for name in sys.argv[2:]:\n"
        "    model = load_model(f'{sys.argv[1]}/{name}.keras')\n"
        "    features = np.load(f'{sys.argv[1]}/{name}.npy')\n"
        "    np.testing.assert_allclose(model(clip), features, 1e-4, 1e-5)\n"
        "    print(model.description.digest)",
        tmp_path,
        *backbones,
    )
    assert printed.split() == [
        backbone.description.digest for backbone in backbones.values()
    ]


def test_in_a_graph_of_free_sizes():
    backbone = make_backbone(
        keras.Sequential([keras.Input((32, 40, 3)), layers.Conv2D(4, 8, 8)]),
        frame_by_frame=True,
        value_range=(-1, 1),
    )
    function = tf.function(
        backbone,
        input_signature=[tf.TensorSpec((1, None, 32, 40, 3), tf.float32)],
    )
    clip = frames(1, 5, 32, 40, 3)
    assert_close(function(clip), backbone(clip), 1e-5)


def test_a_function_cannot_be_saved(tmp_path):
    backbone = make_backbone(pooled(2, 2, 2).__call__)
    with pytest.raises(ValueError, match="of a function cannot be saved"):
        backbone.save(tmp_path / "backbone.keras")


def test_weights_of_an_unbuilt_layer_are_built():
    backbone = make_backbone(layers.Conv3D(4, 3, 2))
    assert len(backbone.weights) == 2
    assert backbone.description.channels == 4


def test_names_tell_weights_and_what_adapts_them():
    def named(**options):
        plain = network(layers.Conv3D(4, 3, 2))
        return make_backbone(plain, **options).description.name

    assert named().startswith("of_mine_")
    assert named() == named()
    assert named(value_range=(0, 1)) != named()
    assert named(value_range=(0, 1)) != named(value_range=(-1, 1))
    assert named(name="mine") == "mine"
    other = keras.Sequential(
        [keras.Input((None, None, None, 3)), layers.Conv3D(4, 3, 2)],
        name="of_mine",
    )
    assert make_backbone(other).description.name != named()


def test_names_do_not_count_networks():
    def named():
        keras.utils.set_random_seed(0)
        x = keras.Input((None, None, None, 3))
        one = keras.Model(x, layers.Conv3D(4, 3, 2)(x))
        return make_backbone(one).description.name

    assert named() == named()


def test_fixed_inputs_say_frames_and_size():
    plain = network(pooled(2, 2, 2), shape=(8, 16, 24, 3))
    description = make_backbone(plain).description
    assert (description.num_frames, description.size) == (8, (16, 24))
    for options in ({"size": (16, 16)}, {"size": 16}):
        with pytest.raises(ValueError, match=r"`size` must be \(16, 24\)"):
            make_backbone(plain, **options)
    for options in ({"num_frames": 16}, {"frame_rate": 8.0}):
        with pytest.raises(ValueError, match="`num_frames` must be 8"):
            make_backbone(plain, **options)


def test_a_size_that_the_network_does_not_take_is_refused():
    class Positions(layers.Layer):
        def build(self, shape):
            self.positions = self.add_weight(shape=(1, 1, 16, 16, 3))

        def call(self, x):
            return x + self.positions

    with pytest.raises(ValueError, match="must take a clip"):
        make_backbone(Positions(), size=(24, 24))
    backbone = make_backbone(Positions(), size=(16, 16))
    assert backbone.description.height == Axis()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stream": "depth"}, "`stream` must be one of"),
        ({"stream": "flow", "flow_method": "dis"}, "`stream` must be what"),
        ({"value_range": (0, 0)}, "`value_range` must be two different"),
        ({"value_range": (0, np.inf)}, "`value_range` must be two different"),
        ({"value_range": ((0, 0), (1, 1))}, "`value_range` must be two"),
        ({"value_range": 1.0}, "`value_range` must be what"),
        ({"value_range": ("black", "white")}, "`value_range` must be what"),
        ({"layout": "bcthw"}, "`layout` must be one of"),
        ({"tokens": (2, 2)}, "`tokens` must be"),
        ({"tokens": (2, 0, 2)}, "`tokens` must be"),
        ({"tokens": (1, 2, 2), "prefix_tokens": -1}, "`prefix_tokens` must be"),
        ({"prefix_tokens": 1}, "`prefix_tokens` must be"),
        ({"tokens": (1, 2, 2)}, "`size` must be"),
        ({"tokens": (1, 2, 2), "size": (8, 8)}, "`num_frames` must be"),
        ({"frame_by_frame": True}, "`network` must take images"),
        ({"bytes_per_pixel": 0.0}, "`bytes_per_pixel` must be"),
        ({"flow_method": "dis"}, "`flow_method` must be"),
        ({"frame_rate": 0.0}, "`frame_rate` must be"),
        ({"frame_rate": 8.0, "num_frames": 4}, "At most one"),
    ],
)
def test_mistakes_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        make_backbone(network(pooled(2, 2, 2)), **options)


def test_a_network_of_images_is_told():
    images = keras.Sequential([keras.Input((32, 40, 3)), layers.Conv2D(4, 8)])
    with pytest.raises(ValueError, match="must take clips.*`frame_by_frame`"):
        make_backbone(images)


def test_what_makes_no_map_is_told_of_tokens():
    classifier = network(pooled(2, 2, 2), layers.GlobalAveragePooling3D())
    with pytest.raises(ValueError, match="5 axes, or tokens.*`tokens` must"):
        make_backbone(classifier)
    with pytest.raises(ValueError, match=r"`tokens` must be.*\(1, 60, 3\)"):
        make_backbone(Tokens(), num_frames=6, size=(32, 40), tokens=(3, 4, 4))
    # One class token too many or too few is no map of another shape.
    with pytest.raises(ValueError, match="prefix_tokens=0.*61"):
        make_backbone(
            Tokens(prefix=1), num_frames=6, size=(32, 40), tokens=(3, 4, 5)
        )


def test_flow_is_taken_as_it_is():
    plain = network(pooled(2, 2, 2), shape=(None, None, None, 2))
    backbone = make_backbone(plain, stream="flow", flow_method="tvl1")
    assert backbone.description.flow_method == "tvl1"
    flow = np.tanh(frames(1, 4, 8, 8, 2) / 100 - 1)
    assert_close(backbone(flow), plain(flow))
    with pytest.raises(ValueError, match="`value_range` cannot be given"):
        make_backbone(
            plain, stream="flow", flow_method="dis", value_range=(0, 1)
        )
    with pytest.raises(ValueError, match="`flow_method` must be"):
        make_backbone(plain, stream="flow")


class Lying(layers.Layer):
    def receptive_stages(self):
        return {"time": [(4, 4, 0)]}

    def call(self, x):
        return x


def test_a_layer_that_tells_something_wrong_is_probed():
    assert make_backbone(network(Lying())).description.frames_per_step == 1


def test_a_loaded_file_is_one_of_its_own(tmp_path):
    backbone = make_backbone(network(layers.Conv3D(4, 3, 2)), frame_rate=9.0)
    backbone.save(tmp_path / "backbone.keras")
    loaded = load_model(tmp_path / "backbone.keras")
    assert loaded.description == backbone.description
    loaded.save(tmp_path / "again.keras")
    again = load_model(tmp_path / "again.keras")
    assert again.description == backbone.description
