"""Event files are read back, and compared with NumPy on what the model says."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)

import actx_tf
from actx_tf.callbacks import AttentionMapLogger
from tests.harness import clips

FEATURES = clips(8, 3, 4, 5, 6)
PAIRS = {"features": FEATURES, "conjugate": clips(8, 2, 4, 5, 6, seed=1)}
LABELS = np.arange(8) % 2
RANDOM = np.random.default_rng(0)


def compiled(dtype=None, **kwargs):
    keras.utils.set_random_seed(0)
    model = actx_tf.models.ActX(2, dtype=dtype, **kwargs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    if "backbone" not in kwargs:  # a step that makes variables is traced twice
        model.build((None, *FEATURES.shape[1:]))
        model.optimizer.build(model.trainable_variables)
    return model


def fit(model, *callbacks, x=None, epochs=3):
    x = PAIRS if x is None else x
    return model.fit(
        x, LABELS, 4, epochs, verbose=0, callbacks=list(callbacks)
    ).history


class Read:
    """A folder's scalars, tag -> {epoch: value}, and images likewise."""

    def __init__(self, folder):
        events = EventAccumulator(
            str(folder), size_guidance={"tensors": 0, "images": 0}
        ).Reload()
        tags = events.Tags()
        self.scalars = {
            tag: {
                event.step: float(tf.make_ndarray(event.tensor_proto))
                for event in events.Tensors(tag)
            }
            for tag in tags["tensors"]
        }
        self.images = {
            tag: {
                event.step: tf.io.decode_png(event.encoded_image_string).numpy()
                for event in events.Images(tag)
            }
            for tag in tags["images"]
        }


def test_scalars_are_those_of_the_maps_and_of_fit(tmp_path):
    model = compiled()
    mask = RANDOM.random((4, 3, 4, 5)) < 0.7
    given = {"features": FEATURES[:4], "mask": mask}
    history = fit(model, AttentionMapLogger(tmp_path, given))
    read = Read(tmp_path)
    for name in ("classification", "similarity", "difference"):
        logged = read.scalars[f"losses/{name}_loss"]
        assert list(logged) == [0, 1, 2]
        assert list(logged.values()) == pytest.approx(history[f"{name}_loss"])

    # Straight from the equations of the layer, not from S and C.
    pooling = model.pooling
    phi, psi = (
        np.einsum("...c,c->...", FEATURES[:4], layer.kernel.numpy().ravel())
        for layer in (pooling.phi, pooling.psi)
    )
    expected = {"action_mean": [], "action_share": [], "entropy": []}
    for i in range(4):
        action, attention = phi[i][mask[i]], psi[i][mask[i]]
        action = (action - action.mean()) / action.std()
        s_act = 1 / (1 + np.exp(np.percentile(action, 70) - action))
        expected["action_mean"].append(s_act.mean())
        expected["action_share"].append(np.mean(s_act > 0.5))
        attention = (attention - attention.mean()) / attention.std()
        s_att = np.exp(attention) / np.exp(attention).sum()
        entropy = -np.sum(s_att * np.log(s_att)) / np.log(mask[i].sum())
        expected["entropy"].append(entropy)
    for name, values in expected.items():
        actual = read.scalars[f"attention/{name}"]
        assert actual[2] == pytest.approx(np.mean(values), rel=1e-4)
        assert len(set(actual.values())) > 1 or name == "action_share"
    assert set(read.images) == {f"attention/{i}" for i in range(4)}


@pytest.mark.parametrize(
    ("beta", "entropy"), [(0.0, 1.0), (1e4, 0.0)], ids=["average", "max"]
)
def test_entropy_is_one_of_average_and_zero_of_max_pooling(
    beta, entropy, tmp_path
):
    model = compiled(beta=beta)
    fit(model, AttentionMapLogger(tmp_path, FEATURES[:2]), epochs=1)
    actual = Read(tmp_path).scalars["attention/entropy"][0]
    assert actual == pytest.approx(entropy, abs=1e-5)


def test_entropy_leaves_out_where_s_act_is_zero(tmp_path):
    model = compiled(beta=0.0, alpha=1e4)  # 0 or 1
    fit(model, AttentionMapLogger(tmp_path, FEATURES[:2]), epochs=1)
    scalars = Read(tmp_path).scalars
    share = scalars["attention/action_share"][0]
    expected = np.log(share * 60) / np.log(60)
    assert scalars["attention/entropy"][0] == pytest.approx(expected, rel=1e-5)


def test_without_s_att_there_is_no_entropy_of_it(tmp_path):
    model = compiled(use_attention_map=False)
    fit(model, AttentionMapLogger(tmp_path, FEATURES[:2]), epochs=1)
    scalars = Read(tmp_path).scalars
    assert "attention/entropy" not in scalars
    expected = np.mean(
        1 - model.predict(FEATURES[:2], verbose=0)["context_map"]
    )
    actual = scalars["attention/action_mean"][0]
    assert actual == pytest.approx(expected, rel=1e-5)


def test_images_show_the_frame_and_the_maps_of_a_step(tmp_path):
    model = compiled()
    mask = np.ones((2, 3), bool)
    mask[1, 2] = False
    # 6 frames, two a step; of the second clip 4 are real.
    frames = [np.full((6, 10, 20, 3), 0, np.uint8), np.zeros((4, 10, 20, 3))]
    frames[1] = frames[1].astype(np.uint8)
    frames[0][3] = 200  # the middle of the second step
    given = {"features": FEATURES[:2], "mask": mask}
    logger = AttentionMapLogger(
        tmp_path / "frames", given, frames, names=["jump", "run"]
    )
    long = clips(1, 20, 4, 5, 6)
    bare = AttentionMapLogger(tmp_path / "bare", long)
    fit(model, logger, bare, epochs=1)
    images = Read(tmp_path / "frames").images
    assert set(images) == {"attention/jump", "attention/run"}
    jump, run = images["attention/jump"][0], images["attention/run"][0]
    assert jump.shape == (3 * 96, 3 * 192, 3)
    assert run.shape == (3 * 96, 2 * 192, 3)  # padding is not drawn
    assert (jump[:96, 192:384] == 200).all()
    assert (jump[:96, :192] == 0).all() and (jump[:96, 384:] == 0).all()

    bare = Read(tmp_path / "bare").images["attention/0"][0]
    assert bare.shape == (2 * 96, 8 * 120, 3)  # as wide as the map, 5 / 4
    outputs = model.predict(long, verbose=0)
    for row, name in enumerate(("action_map", "context_map")):
        drawn = bare[row * 96 : (row + 1) * 96].sum(axis=-1)
        # The colors get lighter. Of each eighth the middle step is shown.
        shown = outputs[name][0][[1, 3, 6, 8, 11, 13, 16, 18]]
        step, y, x = np.unravel_index(np.argmax(shown), shown.shape)
        top, left = np.unravel_index(np.argmax(drawn), drawn.shape)
        assert (left // 120, top // 24, left % 120 // 24) == (step, y, x)


def test_every_and_beside_keras_own_tensorboard(tmp_path):
    model = compiled()
    fit(
        model,
        # Which tells TensorFlow to record no step but each 1000th.
        keras.callbacks.TensorBoard(tmp_path, update_freq=1000),
        AttentionMapLogger(tmp_path / "maps", FEATURES[:1], every=2),
        epochs=4,
    )
    read = Read(tmp_path / "maps")
    assert list(read.scalars["attention/action_mean"]) == [0, 2]
    assert list(read.images["attention/0"]) == [0, 2]
    # A second fit goes on in the same folder.
    model.fit(PAIRS, LABELS, initial_epoch=4, epochs=5, verbose=0)


def test_with_a_backbone_the_clips_are_videos(tmp_path):
    backbone = keras.Sequential(
        [
            keras.Input((None, 8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv3D(6, (2, 4, 4), (2, 4, 4)),
            keras.layers.LayerNormalization(),
        ]
    )
    videos = RANDOM.integers(256, size=(8, 6, 8, 8, 3)).astype("uint8")
    model = compiled(dtype="mixed_bfloat16", backbone=backbone)
    x = {"features": videos, "conjugate": videos[::-1].copy()}
    logger = AttentionMapLogger(tmp_path, videos[:2], videos[:2])
    fit(model, logger, x=x, epochs=1)
    read = Read(tmp_path)
    assert read.images["attention/0"][0].shape == (3 * 96, 3 * 96, 3)
    expected = 1 - model.predict(videos[:2], verbose=0)["context_map"]
    actual = read.scalars["attention/action_mean"][0]
    assert actual == pytest.approx(np.mean(expected), rel=1e-4)


def test_logging_changes_no_training(tmp_path):
    plain = fit(compiled())
    logged = fit(compiled(), AttentionMapLogger(tmp_path, FEATURES[:2]))
    assert logged == plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clips": {"mask": 1}}, '`clips` must .* "features".*mask'),
        ({"every": 0}, "`every` must be a positive integer. Received: every=0"),
        ({"names": ["a"]}, r"`names` must be of as many .* 2. .*\(names\)=1"),
        ({"frames": [1]}, "`frames` must be of as many clips"),
        ({"frames": np.zeros((2, 4, 8, 8, 3))}, "`frames` must be uint8"),
    ],
)
def test_errors(arguments, message, tmp_path):
    arguments = {"log_dir": tmp_path, "clips": FEATURES[:2]} | arguments
    with pytest.raises(ValueError, match=message):
        AttentionMapLogger(**arguments)


def test_a_model_without_maps_is_told_before_training(tmp_path):
    model = keras.Sequential([keras.layers.GlobalAveragePooling3D()])
    model.compile("adam", "mse")
    logger = AttentionMapLogger(tmp_path, FEATURES[:2])
    with pytest.raises(ValueError, match="must return .* 'action_map'"):
        model.fit(FEATURES, FEATURES[:, 0, 0, 0], callbacks=[logger], verbose=0)
