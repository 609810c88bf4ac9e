import doctest

import keras
import numpy as np
import pytest

import actx_tf.models
from actx_tf import losses
from actx_tf.models import ACF
from tests import reference
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import to_numpy

PAIR = {
    "features": clips(3, 3, 2, 4, 6),
    "conjugate": clips(3, 4, 3, 2, 6, seed=1),  # another length and size
}
LABELS = np.array([0, 2, 1])


def make(**kwargs):
    keras.utils.set_random_seed(0)
    model = ACF(3, **kwargs)
    model(PAIR)
    for head in (model.action_head, model.context_head):
        head.bias.assign(clips(*head.bias.shape, seed=2))
    return model


def pooled_heads(model, clip):
    """f and g of a clip by the reference."""
    return [
        np.mean(
            np.maximum(0.0, reference.conv3d(clip, *map(to_numpy, weights))),
            axis=(0, 1, 2),
        )
        for weights in (model.action_head.weights, model.context_head.weights)
    ]


@pytest.mark.parametrize(
    "kwargs", [{}, {"units": 5, "kernel_size": 3}], ids=str
)
def test_equals_the_reference(kwargs):
    model = make(xi=0.1, **kwargs)
    outputs = model(PAIR)
    kernel, bias = map(to_numpy, model.head.weights)
    losses_of_pairs = []
    for i in range(3):
        action, context = pooled_heads(model, PAIR["features"][i])
        other_action, other_context = pooled_heads(model, PAIR["conjugate"][i])
        logits = np.concatenate([action, context]) @ kernel + bias
        assert_close(outputs["logits"][i], logits)
        assert_close(outputs["action_features"][i], action)
        assert_close(outputs["context_features"][i], context)
        cosines = [
            reference.unit(one) @ reference.unit(other)
            for one, other in (
                (action, other_action),
                (context, other_context),
            )
        ]
        losses_of_pairs.append((max(0.0, cosines[0] - 0.1), 1 - cosines[1]))
    for name, expected in zip(
        ("similarity_loss", "difference_loss"),
        np.transpose(losses_of_pairs),
        strict=True,
    ):
        # Differences of cosines: their error is that of values near 1.
        np.testing.assert_allclose(to_numpy(outputs[name]), expected, atol=2e-6)


def test_limits_of_the_losses():
    x = np.abs(clips(2, 5))
    assert_close(losses.pooled_action_similarity(x, 3 * x, xi=0.25), [0.75] * 2)
    assert_close(losses.pooled_action_similarity(x, -x), [0.0] * 2)
    difference = to_numpy(losses.pooled_context_difference(x, 3 * x))
    np.testing.assert_allclose(difference, 0.0, atol=1e-6)
    assert_close(losses.pooled_context_difference(x, -x), [2.0] * 2)
    assert_close(losses.pooled_context_difference(x, 0 * x), [1.0] * 2)


def test_has_the_weights_of_the_paper_s_table_1():
    model = ACF(13)
    model.build((None, None, 8, 11, 1024))
    # Two heads of 512 and h. The paper: 13.4 M with the 12.3 M of I3D.
    assert model.count_params() == 1024 * 1024 + 1024 + (1024 + 1) * 13


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_padding_of_either_clip_changes_no_output(kernel_size):
    model = make(kernel_size=kernel_size)
    padded = {
        name: np.pad(
            clip, ((0, 0), (0, 2), *[(0, 0)] * 3), constant_values=np.nan
        )
        for name, clip in PAIR.items()
    }
    masks = {
        "mask": np.arange(5) < np.full((3, 1), 3),
        "conjugate_mask": np.arange(6) < np.full((3, 1), 4),
    }
    outputs = model({**padded, **masks})
    for name, expected in model(PAIR).items():
        assert_close(outputs[name], expected)


def test_a_missing_conjugate_counts_in_the_classification_alone():
    def logs(pairs):
        model = make()
        model.compile(
            optimizer=keras.optimizers.SGD(0.1),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        history = model.fit(pairs, LABELS, batch_size=3, verbose=0).history
        for weight in model.weights:
            assert np.all(np.isfinite(to_numpy(weight)))
        return history

    conjugate = PAIR["conjugate"].copy()
    conjugate[1] = np.nan
    pairs = {
        **PAIR,
        "conjugate": conjugate,
        "has_conjugate": np.array([True, False, True]),
    }
    expected = to_numpy(make()(PAIR)["difference_loss"])
    assert logs(pairs)["difference_loss"][0] == pytest.approx(
        np.mean(expected[[0, 2]]), rel=1e-5
    )


def test_training_parts_actions_and_joins_contexts():
    rng = np.random.default_rng(0)
    scene, action = rng.normal(size=(2, 64, 1, 1, 1, 8)).astype("float32")
    noise = rng.normal(0, 0.1, size=(2, 64, 2, 3, 3, 8)).astype("float32")
    pairs = {
        "features": np.concatenate([scene + noise[0], action + noise[1]], -1),
        "conjugate": np.concatenate([scene + noise[1], -action + noise[0]], -1),
    }
    keras.utils.set_random_seed(0)
    model = ACF(2, units=8)
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    labels = np.arange(64) % 2
    history = model.fit(pairs, labels, epochs=30, verbose=0).history
    for name in ("similarity_loss", "difference_loss"):
        assert history[name][-1] < 0.5 * history[name][0]


def test_rejects_a_pair_without_its_conjugate_clip():
    similarity = np.ones((3, 3, 2, 4), "float32")
    pair = {
        "features": PAIR["features"],
        "conjugate_similarity": similarity,
    }
    with pytest.raises(ValueError, match='`inputs` must have the key "conju'):
        make()(pair)


def test_docstring_example():
    names = {
        "keras": keras,
        "actx_tf": actx_tf,
        "features": PAIR["features"],
        "conjugates": PAIR["conjugate"],
        "labels": LABELS,
    }
    for example in doctest.DocTestParser().get_examples(ACF.__doc__):
        exec(example.source, names)
    assert names["model"].optimizer.iterations.numpy() == 1
