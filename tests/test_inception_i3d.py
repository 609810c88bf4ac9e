"""InceptionI3D against an independent I3D, and the reading of its weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from actx_tf.backbones import InceptionI3D
from tests.harness import ROOT
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import run_fresh
from tests.i3d_in_torch import InceptionI3d
from tests.i3d_in_torch import randomize
from tests.i3d_in_torch import renamed

RELEASED = ROOT.parent / "shared" / "data" / "kinetics-i3d"


def to_torch(clip):
    return torch.tensor(clip).permute(0, 4, 1, 2, 3)


def features_of(port, clip):
    with torch.no_grad():
        return port.features(to_torch(clip)).permute(0, 2, 3, 4, 1).numpy()


@pytest.fixture(scope="module")
def port():
    return randomize(InceptionI3d(classes=10))


@pytest.fixture(scope="module")
def path(port, tmp_path_factory):
    path = tmp_path_factory.mktemp("port") / "i3d.pt"
    torch.save(port.state_dict(), path)
    return path


def test_feature_map_equals_the_ports(path, port):
    backbone = InceptionI3D(
        include_top=False,
        weights=path,
        input_shape=(None, None, None, 3),
        include_preprocessing=False,
    )
    # Odd sizes tell TensorFlow's padding from PyTorch's at every stride.
    for shape in ((1, 16, 64, 64, 3), (2, 21, 99, 130, 3), (1, 1, 33, 31, 3)):
        clip = np.tanh(clips(*shape))
        assert_close(backbone(clip), features_of(port, clip), 1e-4)


@pytest.fixture(scope="module")
def classifier(path):
    """Of logits; no test changes it."""
    return InceptionI3D(
        weights=path,
        classes=10,
        classifier_activation=None,
        include_preprocessing=False,
    )


def test_names_of_the_common_ports(classifier, port, tmp_path):
    state = port.state_dict()
    module = {f"module.{name}": value for name, value in state.items()}
    for other in (renamed(state), {"state_dict": module}):
        torch.save(other, tmp_path / "other.pth")
        model = InceptionI3D(weights=tmp_path / "other.pth", classes=10)
        assert model.name == classifier.name  # the weights' checksum
        for weight, value in zip(
            model.get_weights(), classifier.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(weight, value)


def test_logits_equal_the_ports(classifier, port):
    clip = np.tanh(clips(1, 24, 224, 224, 3))
    with torch.no_grad():
        expected = port(to_torch(clip)).numpy()
    assert_close(classifier(clip), expected, 1e-4)


def test_values_of_a_video_are_rescaled(path):
    kwargs = {"weights": path, "include_top": False}
    frames = np.random.default_rng(0).integers(256, size=(1, 8, 64, 64, 3))
    frames = frames.astype("float32")
    kwargs["input_shape"] = frames.shape[1:]
    plain = InceptionI3D(include_preprocessing=False, **kwargs)
    assert_close(
        InceptionI3D(**kwargs)(frames), plain(frames / 127.5 - 1), 1e-4
    )


def test_is_made_for_clips_of_any_length_and_size():
    backbone = InceptionI3D(False, input_shape=(None, None, None, 2))
    shape = backbone.compute_output_shape((None, None, None, None, 2))
    assert shape == (None, None, None, None, 1024)
    for frames, height, width in ((1, 32, 32), (17, 40, 72), (64, 33, 224)):
        shape = (1, frames, height, width, 2)
        expected = tuple(
            -(-size // s)
            for size, s in zip(shape[1:4], (8, 32, 32), strict=True)
        )
        assert backbone.compute_output_shape(shape) == (1, *expected, 1024)
    assert backbone(clips(1, 17, 40, 72, 2)).shape == (1, 3, 2, 3, 1024)


def test_a_single_step_is_classified():
    model = InceptionI3D(input_shape=(None, None, None, 3), classes=3)
    scores = model(clips(2, 8, 32, 32, 3))
    assert scores.shape == (2, 3)
    assert_close(np.sum(scores, axis=1), np.ones(2))


def released_shapes(name, source):
    """Variable -> shape, of the index of what was released."""
    if not RELEASED.is_dir():
        pytest.skip("no index of the released checkpoints")
    path = RELEASED / f"{name}_{source}" / "model.ckpt"
    reader = tf.train.load_checkpoint(str(path))
    return reader.get_variable_to_shape_map()


@pytest.mark.parametrize("name", ["rgb", "flow"])
def test_released_checkpoints_fit(name, tmp_path):
    """Random values under the names and shapes that were released."""
    shapes = released_shapes(name, "imagenet")
    assert shapes == released_shapes(name, "scratch")
    rng = np.random.default_rng(0)
    values = {n: rng.uniform(0.1, 1, s) for n, s in sorted(shapes.items())}
    path = save_checkpoint(tmp_path / "model.ckpt", values)

    channels = 3 if name == "rgb" else 2
    model = InceptionI3D(weights=path, input_shape=(None, 224, 224, channels))
    scope = "RGB" if name == "rgb" else "Flow"
    for layer, variable, array in (
        ("Conv3d_1a_7x7", "kernel", "Conv3d_1a_7x7/conv_3d/w"),
        (
            "Mixed_5b_Branch_2_Conv3d_0a_3x3_batch_norm",
            "moving_variance",
            "Mixed_5b/Branch_2/Conv3d_0a_3x3/batch_norm/moving_variance",
        ),
        ("Logits_Conv3d_0c_1x1", "bias", "Logits/Conv3d_0c_1x1/conv_3d/b"),
    ):
        expected = values[f"{scope}/inception_i3d/{array}"].ravel()
        actual = getattr(model.get_layer(layer), variable)
        np.testing.assert_array_equal(
            np.ravel(actual), expected.astype("float32")
        )
    # Each variable has a value of its own: sums tell that none is left out.
    sums = sorted(np.sum(value.astype("float32")) for value in values.values())
    np.testing.assert_allclose(
        sorted(np.sum(weight.numpy()) for weight in model.weights), sums, 1e-5
    )


def save_checkpoint(path, values):
    """A TensorFlow 1 checkpoint, as the released ones."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.get_variable(
                name, initializer=tf.constant(value, tf.float32)
            )
            for name, value in values.items()
        ]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables)
        return saver.save(session, str(path))


def to_checkpoint(state, stream):
    """The arrays of the port under the released names."""
    scope = {"rgb": "RGB", "flow": "Flow"}[stream]
    units = {
        "b0": "Branch_0/Conv3d_0a_1x1",
        "b1a": "Branch_1/Conv3d_0a_1x1",
        "b1b": "Branch_1/Conv3d_0b_3x3",
        "b2a": "Branch_2/Conv3d_0a_1x1",
        "b2b": "Branch_2/Conv3d_0b_3x3",
        "b3b": "Branch_3/Conv3d_0b_1x1",
    }
    parts = {
        "conv3d.weight": "conv_3d/w",
        "conv3d.bias": "conv_3d/b",
        "bn.bias": "batch_norm/beta",
        "bn.running_mean": "batch_norm/moving_mean",
        "bn.running_var": "batch_norm/moving_variance",
    }
    values = {}
    for name, tensor in state.items():
        *unit, kind, part = name.split(".")
        if f"{kind}.{part}" not in parts:
            continue
        unit = "/".join(units.get(word, word) for word in unit)
        unit = unit.replace("logits", "Logits/Conv3d_0c_1x1")
        if unit == "Mixed_5b/Branch_2/Conv3d_0b_3x3":
            unit = "Mixed_5b/Branch_2/Conv3d_0a_3x3"
        array = tensor.numpy()
        if array.ndim == 5:
            array = array.transpose(2, 3, 4, 1, 0)
        values[f"{scope}/inception_i3d/{unit}/{parts[f'{kind}.{part}']}"] = (
            array
        )
    return values


def test_released_index_without_values_is_told():
    if not RELEASED.is_dir():
        pytest.skip("no index of the released checkpoints")
    with pytest.raises(ValueError, match="are all of its files there"):
        InceptionI3D(weights=RELEASED / "rgb_imagenet" / "model.ckpt")


def small(**changes):
    values = {
        "RGB/inception_i3d/Conv3d_1a_7x7/conv_3d/w": np.zeros((7, 7, 7, 3, 64)),
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def test_checkpoint_of_the_other_stream_is_told(tmp_path):
    path = save_checkpoint(tmp_path / "model.ckpt", small())
    with pytest.raises(ValueError, match="no variable of the flow stream"):
        InceptionI3D(weights=path, input_shape=(None, 224, 224, 2))


def test_missing_variables_are_named(tmp_path):
    path = save_checkpoint(tmp_path / "model.ckpt", small())
    with pytest.raises(ValueError, match="missing.*Conv3d_1a_7x7/beta"):
        InceptionI3D(False, path)


def test_optimizer_state_is_left_over(tmp_path):
    path = save_checkpoint(
        tmp_path / "model.ckpt",
        small(**{"RGB/inception_i3d/beta1_power": np.zeros(())}),
    )
    with pytest.raises(ValueError, match="beta1_power"):
        InceptionI3D(False, path)


def test_state_dict_mistakes_are_told(port, tmp_path):
    state = port.state_dict()
    path = tmp_path / "i3d.pth"

    def load(changed, **kwargs):
        torch.save(changed, path)
        return InceptionI3D(weights=path, **{"classes": 10, **kwargs})

    with pytest.raises(ValueError, match="no variable of I3D: 'fc.weight'"):
        load({**state, "fc.weight": torch.zeros(1)})
    missing = {k: v for k, v in state.items() if "Mixed_4d.b2b" not in k}
    with pytest.raises(ValueError, match="Mixed_4d/Branch_2/Conv3d_0b_3x3"):
        load(missing)
    with pytest.raises(ValueError, match=r"\(1, 1, 1, 1024, 400\)"):
        load(state, classes=400)
    with pytest.raises(ValueError, match="dictionary of tensors"):
        load([1, 2])
    assert load(state, include_top=False).description.channels == 1024
    path.write_bytes(b"nothing of PyTorch")
    with pytest.raises(ValueError, match="not a state dictionary"):
        InceptionI3D(weights=path)
    with pytest.raises(FileNotFoundError, match="nowhere.pt"):
        InceptionI3D(weights=tmp_path / "nowhere.pt")
    with pytest.raises(FileNotFoundError, match="nowhere.ckpt.index"):
        InceptionI3D(weights=tmp_path / "nowhere.ckpt")


def test_input_shape_must_be_of_a_clip():
    for shape in ((224, 224, 3), (None, 224, 224, 1)):
        with pytest.raises(ValueError, match="`input_shape` must be"):
            InceptionI3D(input_shape=shape)


def test_name_tells_stream_and_weights(path):
    shape = (None, 64, 64, 3)
    named = InceptionI3D(False, path, shape)
    assert named.name.startswith("inception_i3d_rgb_")
    assert named.name == InceptionI3D(False, path, shape).name
    assert (
        InceptionI3D(False, None, shape).name == "inception_i3d_rgb_untrained"
    )


def test_keras_file_in_a_fresh_process(path, tmp_path):
    clip = np.tanh(clips(1, 9, 40, 40, 3))
    model = InceptionI3D(
        weights=path, input_shape=(None, None, None, 3), classes=10
    )
    model.save(tmp_path / "i3d.keras")
    np.save(tmp_path / "clip.npy", clip)
    np.save(tmp_path / "scores.npy", keras.ops.convert_to_numpy(model(clip)))
    run_fresh(
        "import sys, keras, numpy as np, actx_tf.backbones\n"
        "model = keras.saving.load_model(sys.argv[1] + '/i3d.keras')\n"
        "clip, scores = (np.load(f'{sys.argv[1]}/{n}.npy')\n"
        "                for n in ('clip', 'scores'))\n"
        "np.testing.assert_allclose(model(clip), scores, 1e-4, 1e-5)",
        tmp_path,
    )
