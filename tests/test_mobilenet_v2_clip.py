import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from actx_tf.backbones.mobilenet_v2_clip import AppearanceAndMotion
from actx_tf.backbones.mobilenet_v2_clip import MobileNetV2Clip

NETS = (
    pathlib.Path(__file__).parents[1].parent
    / "shared"
    / "data"
    / "pretrained_nets"
)
FOLDED = NETS / "mobilenetv2_1.0_224_imagenet_folded.npz"
SIZE = 32


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return MobileNetV2Clip(weights=None, input_shape=(None, SIZE, SIZE, 3))


def random_clip(frames, batch=1, size=SIZE):
    shape = (batch, frames, size, size, 3)
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def network_of(model):
    (network,) = (
        layer
        for layer in model.network.layers
        if isinstance(layer, keras.Model)
    )
    return network


def reference(frames, frames_per_step):
    """AppearanceAndMotion of one clip, step by step."""
    last = len(frames) - 1
    steps = []
    for first in range(0, len(frames), frames_per_step):
        numbers = range(first, first + frames_per_step)
        appearance = [frames[min(t, last)] for t in numbers]
        motion = [
            np.abs(frames[min(s + 1, last)] - frames[s])
            for s in (min(t, max(last - 1, 0)) for t in numbers)
        ]
        steps.append(
            np.concatenate(
                (np.mean(appearance, axis=0), np.mean(motion, axis=0)), axis=-1
            )
        )
    return np.stack(steps)


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 7, 8])
def test_appearance_and_motion(frames):
    random = np.random.default_rng(frames)
    features = random.normal(size=(2 * frames, 2, 3, 5)).astype("float32")
    layer = AppearanceAndMotion(frames_per_step=4)
    steps = layer(features, np.zeros((2, frames, 1, 1, 3)))
    assert steps.shape == (2, -(-frames // 4), 2, 3, 10)
    for number in range(2):
        expected = reference(
            features[number * frames : (number + 1) * frames], 4
        )
        np.testing.assert_allclose(steps[number], expected, atol=1e-5)


def test_even_motion_is_even_motion():
    # Features that grow by 0.5 a frame: also in the last, filled-up step.
    features = 0.5 * np.arange(10, dtype="float32").reshape(10, 1, 1, 1)
    steps = AppearanceAndMotion(4)(features, np.zeros((1, 10, 1, 1, 3)))
    np.testing.assert_allclose(steps[0, :, 0, 0, 1], 0.5)


@pytest.mark.parametrize("frames", [3, 4, 9])
def test_shape_of_any_number_of_frames(model, frames):
    features = model(random_clip(frames, batch=2))
    assert features.shape == (2, -(-frames // 4), 1, 1, 2560)
    shape = model.compute_output_shape((None, None, SIZE, SIZE, 3))
    assert tuple(shape) == (None, None, 1, 1, 2560)


def test_frame_by_frame(model):
    clip = random_clip(6)
    network = network_of(model)
    frames = np.asarray(network(clip[0] / 127.5 - 1))
    np.testing.assert_allclose(
        model(clip)[0], reference(frames, 4), atol=1e-4, rtol=1e-4
    )


def test_a_still_clip_has_no_motion(model):
    clip = np.repeat(random_clip(1), 6, axis=1)
    features = np.asarray(model(clip))
    assert features[..., :1280].any()
    np.testing.assert_allclose(features[..., 1280:], 0, atol=1e-5)


def test_other_clips_of_the_batch_change_nothing(model):
    clip = random_clip(5, batch=2)
    together = model(clip)
    apart = np.concatenate([model(clip[:1]), model(clip[1:])])
    np.testing.assert_allclose(together, apart, atol=1e-4, rtol=1e-4)


def test_any_height_and_width():
    model = MobileNetV2Clip(weights=None, input_shape=(None, None, None, 3))
    clip = np.zeros((1, 4, 64, 96, 3), "float32")
    assert model(clip).shape == (1, 1, 2, 3, 2560)
    fixed = MobileNetV2Clip(
        weights=None, input_shape=(10, 32, 64, 3), frames_per_step=3
    )
    shape = fixed.compute_output_shape((None, 10, 32, 64, 3))
    assert shape == (None, 4, 1, 2, 2560)


def test_keras_round_trip(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.name == model.name
    for frames in (3, 8):
        clip = random_clip(frames)
        np.testing.assert_allclose(loaded(clip), model(clip), atol=1e-5)


def test_trainable(model):
    clip = tf.constant(random_clip(5, batch=2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(clip, training=True) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert any(np.abs(gradient).max() > 0 for gradient in gradients)


def fold(network):
    """Returns arrays in the folded form, made from random weights."""
    random = np.random.default_rng(1)
    arrays = {"predictions/kernel": np.zeros((1280, 3))}
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            name, shape = layer.name, layer.kernel.shape
            arrays[f"{name}/kernel"] = random.normal(0, 0.1, shape).astype(
                "float32"
            )
        elif isinstance(layer, keras.layers.BatchNormalization):
            arrays[f"{name}/bias"] = random.normal(
                size=layer.beta.shape
            ).astype("float32")
    return arrays


@pytest.fixture(scope="module")
def arrays(model):
    return fold(network_of(model))


def load(tmp_path, arrays, channels=3):
    np.savez(tmp_path / "weights.npz", **arrays)
    return MobileNetV2Clip(
        weights=tmp_path / "weights.npz",
        input_shape=(None, SIZE, SIZE, channels),
    )


def test_folded_weights(tmp_path, arrays):
    model = load(tmp_path, arrays)
    network = network_of(model)
    image = np.random.default_rng(2).uniform(-1, 1, (1, SIZE, SIZE, 3))
    # The first convolution, computed with the arrays alone.
    first = keras.Model(network.input, network.get_layer("Conv1_relu").output)
    expected = tf.nn.conv2d(
        image.astype("float32"), arrays["Conv1/kernel"], 2, "SAME"
    )
    expected = np.clip(expected + arrays["Conv1/bias"], 0, 6)
    np.testing.assert_allclose(first(image), expected, atol=1e-4)
    # And a depthwise one.
    depthwise = keras.Model(
        network.input,
        network.get_layer("expanded_conv_depthwise_relu").output,
    )
    expected = tf.nn.depthwise_conv2d(
        expected.astype("float32"),
        arrays["expanded_conv_depthwise/kernel"],
        (1, 1, 1, 1),
        "SAME",
    )
    expected = np.clip(expected + arrays["expanded_conv_depthwise/bias"], 0, 6)
    np.testing.assert_allclose(depthwise(image), expected, atol=1e-3)


def test_flow_of_equal_channels_is_a_grey_image(tmp_path, arrays):
    # The network of RGB is the reference: the mean of both channels in each
    # of its three.
    network = network_of(load(tmp_path, arrays))
    model = load(tmp_path, arrays, channels=2)
    flow = np.random.default_rng(3).uniform(-1, 1, (1, 6, SIZE, SIZE, 2))
    flow = flow.astype("float32")
    grey = np.repeat(np.mean(flow[0], axis=-1, keepdims=True), 3, axis=-1)
    np.testing.assert_allclose(
        model(flow)[0], reference(np.asarray(network(grey)), 4), atol=1e-4
    )


def test_keras_round_trip_of_the_flow_stream(tmp_path):
    model = MobileNetV2Clip(weights=None, input_shape=(None, SIZE, SIZE, 2))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.name == model.name
    assert loaded.name.endswith("_flow")
    flow = random_clip(5)[..., :2] / 255
    np.testing.assert_allclose(loaded(flow), model(flow), atol=1e-5)


def test_name_tells_the_weights(tmp_path, model, arrays):
    names = {model.name, load(tmp_path, arrays).name}
    assert load(tmp_path, arrays).name in names  # the same weights again
    arrays = {**arrays, "Conv_1/bias": arrays["Conv_1/bias"] + 1}
    names.add(load(tmp_path, arrays).name)
    names.add(
        MobileNetV2Clip(
            weights=None, input_shape=(None, SIZE, SIZE, 3), frames_per_step=2
        ).name
    )
    names.add(load(tmp_path, arrays, channels=2).name)
    assert len(names) == 5


def test_wrong_weights(tmp_path, arrays):
    with pytest.raises(FileNotFoundError, match="`weights`.*nowhere.npz"):
        MobileNetV2Clip(weights="nowhere.npz")
    missing = {
        name: array
        for name, array in arrays.items()
        if name != "block_7_project/bias"
    }
    with pytest.raises(ValueError, match="block_7_project/bias.*missing"):
        load(tmp_path, missing)
    with pytest.raises(ValueError, match="Conv_1/bias.*shape=\\(3,\\)"):
        load(tmp_path, {**arrays, "Conv_1/bias": np.zeros(3)})
    with pytest.raises(ValueError, match="spare.*block_99/kernel"):
        load(tmp_path, {**arrays, "block_99/kernel": np.zeros(3)})
    (tmp_path / "weights.npz").write_text("no weights")
    np.save(tmp_path / "weights.npy", np.zeros(3))
    for name in ("weights.npz", "weights.npy"):
        with pytest.raises(ValueError, match=f"`weights`.*{name}"):
            MobileNetV2Clip(weights=tmp_path / name)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`frames_per_step`.*Received"):
        MobileNetV2Clip(weights=None, frames_per_step=0)
    with pytest.raises(ValueError, match="`input_shape`.*Received"):
        MobileNetV2Clip(weights=None, input_shape=(224, 224, 3))
    with pytest.raises(ValueError, match="`input_shape`.*2 for flow"):
        MobileNetV2Clip(weights=None, input_shape=(None, 224, 224, 4))


def test_pretrained_weights_know_a_macaw():
    if not FOLDED.exists():
        pytest.skip("no pretrained networks")
    image = keras.utils.load_img(NETS / "parrot.jpg", target_size=(224, 224))
    clip = np.asarray(image, "float32")[None, None]
    features = MobileNetV2Clip(weights=FOLDED)(clip)
    # One frame: the appearance half is its feature map.
    pooled = np.mean(features[0, 0, :, :, :1280], axis=(0, 1))
    with np.load(FOLDED) as arrays:
        logits = pooled @ arrays["predictions/kernel"]
        logits = logits + arrays["predictions/bias"]
    labels = (NETS / "imagenet_labels.txt").read_text().splitlines()
    assert "macaw" in labels[np.argmax(logits)]
