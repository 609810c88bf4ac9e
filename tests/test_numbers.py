"""Numbers that go wrong: large, constant, few, or none."""

import contextlib
import math

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from actx_tf import losses
from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import make_pair_dataset
from actx_tf.layers import FactorizedAttentionPooling
from actx_tf.models import ActX
from tests import reference
from tests.harness import assert_close
from tests.harness import to_numpy

CHANNELS = 512
LARGE = 1e4


def features(*shape, seed=0, channels=CHANNELS):
    """Like a network's behind its last ReLU, up to `LARGE`, in float16."""
    rng = np.random.default_rng(seed)
    values = np.abs(rng.normal(size=(*shape, channels))) * LARGE / 4
    return np.minimum(values, LARGE).astype("float16")


def trained(layer, growth):
    """Gives a layer the larger weights that training gives."""
    layer.set_weights([growth * weight for weight in layer.get_weights()])
    return layer


# Half precision.


@pytest.mark.parametrize(
    "kernel_size, keep_time", [(1, False), (1, True), ((3, 1, 1), False)]
)
def test_maps_of_large_features_in_float16(kernel_size, keep_time):
    keras.utils.set_random_seed(0)
    clips = features(2, 3, 4, 5)
    layer = FactorizedAttentionPooling(
        kernel_size=kernel_size, dtype="mixed_float16"
    )
    layer.build(clips.shape)
    trained(layer, 6.5)
    # A sum of 512 products of one sign: far beyond what float16 holds.
    layer.phi.kernel.assign(np.abs(layer.phi.kernel))
    pooled, action_maps, context_maps = layer(
        clips, return_attention_maps=True, keep_time=keep_time
    )
    if keep_time:
        pooled = np.mean(to_numpy(pooled), axis=1)
    phi, psi, theta = (
        to_numpy(tf.cast(sublayer.kernel, "float16"))
        for sublayer in (layer.phi, layer.psi, layer.theta)
    )
    assert np.max(np.abs(reference.conv3d(clips[0], phi))) > 65504
    assert np.max(np.abs(reference.conv3d(clips[0], theta))) > 65504
    for i, clip in enumerate(clips):
        s, c = reference.attention_maps(clip, phi, psi, 30.0, 1.0, 1.0)
        assert_close(action_maps[i], s, 0.02)
        assert_close(context_maps[i], c, 0.02)
        expected = [reference.pool(clip, w, theta, 0.0) for w in (s, c)]
        assert_close(pooled[i], np.concatenate(expected), 0.02)


def test_losses_of_large_features_in_float16():
    clip, conjugate = features(1, 2, 2, 3), features(1, 3, 2, 2, seed=1)
    similarity = losses.conjugate_similarity(clip, conjugate)
    expected = reference.similarity(clip[0], conjugate[0], 20.0)
    assert_close(similarity[0], expected, 1e-4)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
def test_actx_trains_on_large_features_in_float16(policy):
    keras.utils.set_random_seed(0)
    clips = {
        "features": features(4, 3, 2, 2),
        "conjugate": features(4, 2, 2, 2, seed=1),
    }
    model = ActX(3, dtype=policy)
    exact = ActX(3)
    for m in (model, exact):
        m.build({key: clip.shape for key, clip in clips.items()})
    exact.set_weights([to_numpy(w) for w in model.weights])
    outputs, expected = model(clips), exact(clips)
    for key in expected:
        assert_close(outputs[key], expected[key], 0.01)

    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1e-12), dynamic_growth_steps=1000
    )
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=cross_entropy)
    logs = model.fit(clips, np.array([0, 1, 2, 0]), epochs=25, verbose=0)
    assert np.isfinite(logs.history["loss"]).all()
    # A step whose gradients are not finite halves the scale and counts not.
    assert int(optimizer.inner_optimizer.iterations) > 0
    assert all(np.isfinite(to_numpy(w)).all() for w in model.weights)


# Clips in which nothing differs, or of which little is there.


SHAPES = {
    "one step each": ((1, 2, 3), (1, 2, 3)),
    "one location each": ((1, 1, 1), (1, 1, 1)),
    "a longer conjugate": ((2, 2, 3), (9, 2, 3)),
    "a larger conjugate": ((3, 1, 1), (2, 4, 5)),
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_losses_of_short_clips(shapes):
    rng = np.random.default_rng(0)
    clip, conjugate = (
        rng.normal(size=(1, *shape, 6)).astype("float32") for shape in shapes
    )
    similarity = losses.conjugate_similarity(clip, conjugate)
    expected = reference.similarity(clip[0], conjugate[0], 20.0)
    assert_close(similarity[0], expected)
    weights = rng.random((1, *shapes[0])).astype("float32")
    assert_close(
        losses.action_similarity(weights, similarity)[0],
        reference.action_similarity(weights[0], expected, 0.0),
    )
    assert_close(
        losses.context_difference(weights, similarity)[0],
        reference.context_difference(weights[0], expected),
    )


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e4])
def test_a_constant_clip_has_even_maps_and_finite_gradients(value):
    keras.utils.set_random_seed(0)
    clip = np.full((1, 3, 2, 2, 8), value, "float32")
    model = ActX(3)
    inputs = {"features": tf.constant(clip), "conjugate": tf.constant(clip)}
    model(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = model(inputs)
        total = tf.add_n([tf.reduce_sum(x) for x in outputs.values()])
    # No location stands out: half action, half context, and even attention.
    assert_close(outputs["context_map"], np.full((1, 3, 2, 2), 0.5), 0.01)
    assert_close(outputs["action_map"], np.full((1, 3, 2, 2), 0.5 / 12), 0.01)
    # All of it is in the conjugate, unless there is nothing at all.
    found = 0.0 if value == 0 else 1.0
    assert_close(outputs["similarity_loss"], [found])
    assert abs(to_numpy(outputs["difference_loss"])[0] - (1 - found)) < 1e-5
    slopes = tape.gradient(total, [*model.trainable_weights, *inputs.values()])
    assert all(np.isfinite(to_numpy(slope)).all() for slope in slopes)


def test_a_batch_without_any_pair_learns_its_classes_alone():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    clips = rng.normal(size=(4, 3, 2, 2, 8)).astype("float32")
    labels = np.array([0, 1, 2, 0])
    batches = [
        {
            "features": clips,
            # Whatever stands where no conjugate is.
            "conjugate": np.full_like(clips, np.nan),
            "conjugate_mask": np.zeros((4, 3), bool),
            "has_conjugate": np.zeros(4, bool),
        },
        {"features": clips},
    ]
    start = None
    weights = []
    for batch in batches:
        model = ActX(3)
        model.build(clips.shape)
        start = start or model.get_weights()
        model.set_weights(start)
        model.compile(
            optimizer=keras.optimizers.SGD(0.1),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        warns = contextlib.nullcontext()
        if "conjugate" not in batch:
            warns = pytest.warns(UserWarning, match="without conjugates")
        with warns:
            logs = model.train_on_batch(batch, labels, return_dict=True)
        assert math.isfinite(logs["loss"])
        weights.append(model.get_weights())
    for with_nothing, without in zip(*weights, strict=True):
        assert_close(with_nothing, without)


def test_pairs_of_clips_without_conjugates():
    arrays = {
        name: np.ones((steps, 2, 2, 3), "float16")
        for name, steps in (("a", 1), ("b", 4))
    }
    clips = [Clip(name, "", "run", "train") for name in arrays]
    ((inputs, labels),) = make_pair_dataset(
        arrays, clips, ["run"], crop_steps=4
    )
    assert not inputs["has_conjugate"].numpy().any()
    assert not inputs["conjugate"].numpy().any()
    masks = sorted(inputs["mask"].numpy().tolist())
    assert masks == [[True] + [False] * 3, [True] * 4]
    assert labels.numpy().tolist() == [0, 0]


# Features that are not finite.


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "features"
    rng = np.random.default_rng(0)
    with FeatureStoreWriter(path, "net") as writer:
        for name in "abcd":
            clip = rng.normal(size=(50, 2, 2, 5))
            writer.add(name, clip, "run", "train", 25.0, 400)
    return path


def test_check_names_the_clips_that_cannot_be_trained_on(path, monkeypatch):
    read, blocks = FeatureStore.read, []

    def seen(store, clip, start, stop):
        blocks.append((clip, start, stop))
        return read(store, clip, start, stop)

    monkeypatch.setattr(FeatureStore, "read", seen)
    with FeatureStore(path) as store:
        # A step has 2 * 2 * 5 values of two bytes.
        for most, steps in ((10, 1), (239, 5)):
            monkeypatch.setattr("actx_tf.data.feature_store._BLOCK_BYTES", most)
            blocks.clear()
            store.check(["b"])
            assert blocks == [("b", k, k + steps) for k in range(0, 50, steps)]
        store.check()
    [file] = path.iterdir()
    with h5py.File(file, "a") as file:
        file["b"][49, 1, 1, 4] = np.nan
        file["d"][0, 0, 0, 0] = -np.inf
    with FeatureStore(path) as store:
        with pytest.raises(ValueError, match="features.*2 clips") as info:
            store.check()
        lines = str(info.value).splitlines()[1:]
        assert [line.split(":")[0].strip() for line in lines] == ["'b'", "'d'"]
        store.check(["a", "c"])
        with pytest.raises(ValueError, match="1 clips.*\n  'd'"):
            store.check(["a", "d"])
        with pytest.raises(KeyError, match="'e'"):
            store.check(["e"])


def test_features_too_large_for_float16_name_what_holds_them(tmp_path):
    path = tmp_path / "features"
    large = np.full((1, 2, 2, 3), 7e4)
    attributes = ("run", "train", 25.0, 8)
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(ValueError, match="7e\\+04.*dtype='float32'"):
            writer.add("a", large, *attributes)
        with pytest.raises(ValueError, match="'a' with infinite or NaN"):
            writer.add("a", large * np.nan, *attributes)
    with FeatureStoreWriter(path, "net", "float32") as writer:
        writer.add("a", large, *attributes)
    with FeatureStore(path) as store:
        np.testing.assert_array_equal(store["a"], large)
