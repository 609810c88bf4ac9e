import doctest
from unittest import mock

import keras
import numpy as np
import pytest

import actx_tf.models
from actx_tf import losses
from actx_tf import metrics
from actx_tf.models import ActX
from actx_tf.models import actx
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import to_numpy


def planted_actions(count, bias, seed):
    """Clips of 4 actions, each a box of 8 of 64 voxels, in 4 scenes.

    With the chance `bias` the scene gives the action away.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(4, size=count)
    scenes = random.integers(4, size=count)
    scenes = np.where(random.random(count) < bias, labels, scenes)
    action, scene = 4.0 * np.eye(16)[labels], 4.0 * np.eye(16)[4 + scenes]
    features, conjugate = random.normal(0, 0.5, size=(2, count, 4, 4, 4, 16))
    voxels = np.zeros((count, 4, 4, 4), "bool")
    for clip, (t, y, x) in zip(
        voxels, random.integers(3, size=(count, 3)), strict=True
    ):
        clip[t : t + 2, y : y + 2, x : x + 2] = True
    conjugate += scene[:, None, None, None]
    features += np.where(
        voxels[..., None],
        action[:, None, None, None],
        scene[:, None, None, None],
    )
    return {
        "features": features.astype("float32"),
        "conjugate": conjugate.astype("float32"),
        "labels": labels,
        "voxels": voxels,
    }


def test_learns_where_and_what_the_action_is():
    train = planted_actions(256, bias=0.95, seed=0)
    test = planted_actions(256, bias=0.0, seed=1)
    pairs = {name: train[name] for name in ("features", "conjugate")}

    def fit(model, x):
        model.compile(
            optimizer=keras.optimizers.Adam(0.02),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model.fit(
            x, train["labels"], batch_size=32, epochs=15, verbose=0
        ).history

    def accuracy(logits):
        return np.mean(logits.argmax(axis=1) == test["labels"])

    keras.utils.set_random_seed(0)
    model = ActX(4, rho=12.5)
    history = fit(model, pairs)
    for name in ("loss", "similarity_loss", "difference_loss"):
        assert history[name][-1] < 0.8 * history[name][0]

    outputs = model.predict(test["features"], verbose=0)
    auc = metrics.localization_auc(test["voxels"], 1 - outputs["context_map"])
    assert float(auc) > 0.9

    average_pooling = keras.Sequential(
        [
            keras.layers.Dense(16, activation="relu"),
            keras.layers.GlobalAveragePooling3D(),
            keras.layers.Dense(4),
        ]
    )
    fit(average_pooling, train["features"])
    baseline = average_pooling.predict(test["features"], verbose=0)
    assert accuracy(outputs["logits"]) > accuracy(baseline) + 0.1


def test_logits_are_linear_in_the_pooled_features():
    features = clips(2, 3, 2, 4, 5)
    model = ActX(3, kernel_size=3)
    outputs = model(features)
    pooled, *maps = model.pooling(features, return_attention_maps=True)
    kernel, bias = (to_numpy(weight) for weight in model.head.weights)
    assert_close(outputs["logits"], to_numpy(pooled) @ kernel + bias)
    assert_close(outputs["action_map"], maps[0])
    assert_close(outputs["context_map"], maps[1])


@pytest.mark.parametrize("as_dictionary", [False, True])
def test_padding_changes_no_output(as_dictionary):
    clip = clips(2, 3, 2, 4, 5)
    padded = np.concatenate([clip, np.full_like(clip, np.nan)], axis=1)
    mask = np.arange(6) < np.full((2, 1), 3)
    model = ActX(3, kernel_size=3)
    if as_dictionary:
        outputs = model({"features": padded, "mask": mask})
    else:
        outputs = model(padded, mask=mask)
    for name, expected in model(clip).items():
        actual = to_numpy(outputs[name])
        assert_close(actual[:, :3] if name != "logits" else actual, expected)


def test_matches_a_pair_in_the_policy_s_dtype_in_training_too(monkeypatch):
    """Keras casts no inputs of a training step under JAX."""
    seen = set()

    def similarity(features, conjugate, **kwargs):
        seen.update(
            keras.backend.standardize_dtype(x.dtype)
            for x in (features, conjugate)
        )
        return losses.conjugate_similarity(features, conjugate, **kwargs)

    monkeypatch.setattr(actx, "losses", mock.Mock(wraps=losses))
    monkeypatch.setattr(actx.losses, "conjugate_similarity", similarity)
    model = ActX(3, dtype="mixed_bfloat16")
    model.compile("sgd", "sparse_categorical_crossentropy")
    pair = {
        "features": clips(2, 3, 2, 2, 8).astype("float16"),
        "conjugate": clips(2, 3, 2, 2, 8, seed=1).astype("float16"),
    }
    model.fit(pair, np.arange(2), verbose=0)
    assert seen == {"bfloat16"}


def test_hands_its_arguments_to_the_pooling():
    arguments = {
        "rho": 12.0,
        "alpha": 2.0,
        "beta": 3.0,
        "kernel_size": (1, 3, 3),
        "use_attention_map": False,
        "transformation": "identity",
        "theta_rank": 3,
    }
    config = ActX(3, **arguments).pooling.get_config()
    assert {name: config[name] for name in arguments} == arguments


def test_has_the_weights_of_the_paper_s_table_1():
    model = ActX(13)
    model.build((None, None, 8, 11, 1024))
    # theta; phi and psi; h. The paper: 13.4 M with the 12.3 M of I3D.
    expected = 1024 * 1025 + 2 * 1024 + (2 * 1024 + 1) * 13
    trained = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert trained == expected
    assert round(expected / 1e6, 1) == 1.1


def test_docstring_example():
    names = {
        "keras": keras,
        "actx_tf": actx_tf,
        "features": clips(8, 3, 2, 4, 5),
        "conjugates": clips(8, 3, 2, 4, 5, seed=1),
        "labels": np.arange(8),
        "test_features": clips(2, 5, 2, 4, 5),
    }
    for example in doctest.DocTestParser().get_examples(ActX.__doc__):
        exec(example.source, names)
    assert names["maps"].shape == (2, 5, 2, 4)
