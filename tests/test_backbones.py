"""What the built-in backbones say of themselves."""

import keras
import numpy as np
import pytest

from actx_tf.backbones import Backbone
from actx_tf.backbones import I3DResNet34
from actx_tf.backbones import InceptionI3D
from actx_tf.backbones import MobileNetV2Clip
from actx_tf.data import synthetic
from tests.harness import clips
from tests.harness import run_fresh


def mobilenet(input_shape=(None, 224, 224, 3), **kwargs):
    return MobileNetV2Clip(None, input_shape, **kwargs)


def inception(input_shape=(None, 224, 224, 3), **kwargs):
    return InceptionI3D(False, None, input_shape, **kwargs)


def resnet(input_shape=(None, 224, 224, 3), **kwargs):
    return I3DResNet34(None, input_shape, **kwargs)


BUILDERS = (mobilenet, inception, resnet)
SHAPE = (None, 32, 32, 3)


@pytest.mark.parametrize("make", BUILDERS)
def test_size_and_stream_are_those_of_the_input(make):
    description = make((None, 64, 96, 3)).description
    assert description.size == (64, 96)
    assert (description.stream, description.flow_method) == ("rgb", None)
    of_flow = make((None, None, None, 2)).description
    assert of_flow.size == 256
    assert (of_flow.stream, of_flow.flow_method) == ("flow", "dis")
    other = make((None, None, None, 2), flow_method="tvl1").description
    assert of_flow.name == other.name
    assert of_flow.differences(other) == ["flow_method=tvl1 (not dis)"]
    with pytest.raises(ValueError, match="`flow_method` must be"):
        make((None, None, None, 2), flow_method="farneback")
    with pytest.raises(ValueError, match=r"`size` must be \(64, 96\)"):
        make((None, 64, 96, 3), size=64)
    with pytest.raises(ValueError, match="must both be given"):
        make((None, 64, None, 3))
    assert make((None, None, None, 3), size=[64, 32]).description.size == (
        64,
        32,
    )


def assert_32_frames(backbone):
    assert backbone.description.num_frames == 32
    assert backbone.description.frame_rate is None


def test_frames_are_given_by_their_number_or_by_the_input():
    assert_32_frames(mobilenet(SHAPE, frame_rate=None, num_frames=32))
    assert_32_frames(mobilenet((32, *SHAPE[1:])))
    every_frame = mobilenet(SHAPE, frame_rate=None).description
    assert every_frame.frame_rate is None
    assert every_frame.num_frames is None


@pytest.mark.parametrize("make", BUILDERS)
def test_frames_take_the_place_of_the_default_rate(make):
    assert make(SHAPE).description.frame_rate > 1
    assert_32_frames(make(SHAPE, num_frames=32))
    with pytest.raises(ValueError, match="At most one"):
        make(SHAPE, frame_rate=8.0, num_frames=32)
    with pytest.raises(ValueError, match="`num_frames` must be 32"):
        make((32, *SHAPE[1:]), frame_rate=8.0)
    with pytest.raises(ValueError, match="`num_frames` must be 32"):
        make((32, *SHAPE[1:]), num_frames=16)


@pytest.mark.parametrize("steps", [1, 4, 9, 16])
def test_frames_per_step(steps):
    backbone = mobilenet((None, 32, 32, 3), frames_per_step=steps)
    assert backbone.description.frames_per_step == steps


def test_frames_per_step_of_the_others():
    for make in (inception, resnet):
        assert make(SHAPE).description.frames_per_step == 8
    assert synthetic.backbone().description.frames_per_step == 4


def test_what_sees_no_values_of_videos_is_no_backbone():
    for model in (
        inception(include_preprocessing=False),
        resnet(include_preprocessing=False),
        InceptionI3D(True, classes=2),
    ):
        assert isinstance(model, keras.Model)
        assert not isinstance(model, Backbone)


def test_the_description_travels_with_the_file(tmp_path):
    backbone = mobilenet(
        (None, 32, 32, 2), frames_per_step=3, flow_method="tvl1", num_frames=9
    )
    clip = clips(1, 9, 32, 32, 2)
    backbone.save(tmp_path / "backbone.keras")
    np.save(tmp_path / "clip.npy", clip)
    np.save(tmp_path / "features.npy", backbone(clip))
    printed = run_fresh(
        "import sys, keras, numpy as np, actx_tf.backbones\n"
        "model = keras.saving.load_model(sys.argv[1] + '/backbone.keras')\n"
        "clip, features = (np.load(f'{sys.argv[1]}/{n}.npy')\n"
        "                  for n in ('clip', 'features'))\n"
        "np.testing.assert_allclose(model(clip), features, 1e-4, 1e-5)\n"
        "print(model.description.digest, model.name, model.input_shape)",
        tmp_path,
    )
    digest, name, shape = printed.split(maxsplit=2)
    assert digest == backbone.description.digest
    assert name == backbone.description.name == backbone.name
    assert shape.strip() == "(None, None, 32, 32, 2)"


def test_values_are_cast_by_the_network_alone():
    # In bfloat16 itself 255 and 254 are the same.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        x = keras.Input((None, None, None, 3))
        network = keras.Model(
            x, keras.layers.Rescaling(1 / 255, dtype="float32")(x)
        )
        description = synthetic.backbone(weights=None).description
        backbone = Backbone(network, description)
    finally:
        keras.config.set_dtype_policy(policy)
    clip = np.array([254, 255], "float32").reshape(1, 2, 1, 1, 1)
    clip = np.repeat(clip, 3, axis=-1)
    np.testing.assert_allclose(backbone(clip), clip / 255, 1e-6)
