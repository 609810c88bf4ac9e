"""What the classifier is given of the context: F_c, or its mean."""

import keras
import numpy as np
import pytest

from actx_tf.models import ActX
from actx_tf.models import context_switch
from actx_tf.models import load_model
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import to_numpy

FEATURES = clips(6, 3, 2, 4, 5)
CONJUGATE = clips(6, 4, 3, 2, 5, seed=1)
LABELS = np.array([0, 2, 1, 1, 0, 2])


def compiled(rate=0.0, **kwargs):
    """Without a step of learning, so that the features stay."""
    keras.utils.set_random_seed(0)
    model = ActX(3, conjugate_weight=1.0, **kwargs)
    model.compile(
        optimizer=keras.optimizers.SGD(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.build((None, 3, 2, 4, 5))
    return model


def fit(model, features=FEATURES, conjugate=CONJUGATE, **kwargs):
    pair = {"features": features, "conjugate": conjugate}
    model.fit(pair, LABELS[: len(features)], shuffle=False, verbose=0, **kwargs)


def context_features(model, features=FEATURES, mask=None):
    pooled = to_numpy(model.pooling(features, mask=mask))
    return np.split(pooled, 2, axis=-1)


def head(model, action, context):
    kernel, bias = map(to_numpy, (model.head.kernel, model.head.bias))
    return np.concatenate([action, context], axis=-1) @ kernel + bias


def test_the_mean_is_that_of_the_training_clips():
    model = compiled()
    fit(model, batch_size=3, epochs=2)
    _, of_context = context_features(model)
    # The conjugates, which L_n asks about, do not count.
    assert_close(model.context_switch.mean, of_context.mean(axis=0))


def test_padding_does_not_count():
    mask = np.arange(3) < np.array([[3], [1], [2], [3], [2], [1]])
    model = compiled()
    pair = {"features": FEATURES, "mask": mask, "conjugate": CONJUGATE}
    model.fit(pair, LABELS, verbose=0)
    _, of_context = context_features(model, mask=mask)
    assert_close(model.context_switch.mean, of_context.mean(axis=0))


def test_the_mean_follows_features_that_change(monkeypatch):
    monkeypatch.setattr(context_switch, "_MEMORY", 4)
    model = compiled()
    fit(model)
    fit(model, 3.0 * FEATURES, epochs=16)
    _, of_context = context_features(model, 3.0 * FEATURES)
    expected = of_context.mean(axis=0)
    actual = to_numpy(model.context_switch.mean)
    np.testing.assert_allclose(actual, expected, rtol=0.05)


def test_the_switch_changes_answers_without_training():
    model = compiled()
    fit(model)
    action, of_context = context_features(model)
    mean = of_context.mean(axis=0, keepdims=True).repeat(6, axis=0)
    for context, given in (("keep", of_context), ("mean", mean)) * 2:
        model.context = context
        logits = model.predict(FEATURES, verbose=0)["logits"]
        assert_close(logits, head(model, action, given))
    model.context = "keep"
    answers = model.classify(FEATURES, context="mean")
    assert_close(answers["logits"], head(model, action, mean))


def test_the_switch_is_saved(tmp_path):
    model = compiled(context_dropout=0.25)
    fit(model)
    model.context = "mean"
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.context == "mean"
    assert loaded.context_switch.dropout == 0.25
    expected = model.predict(FEATURES, verbose=0)["logits"]
    assert_close(loaded.predict(FEATURES, verbose=0)["logits"], expected)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exporting needs TensorFlow"
)
def test_both_are_served_whatever_the_model_answers(tmp_path):
    import tensorflow as tf

    from actx_tf.export import export_saved_model
    from actx_tf.export.trained_model import ExportedModel

    model = compiled()
    path = export_saved_model(model, tmp_path / "untrained")
    assert "mean_context" not in ExportedModel(path).signatures
    fit(model)
    model.context = "mean"
    served = ExportedModel(export_saved_model(model, tmp_path / "trained"))
    signatures = tf.saved_model.load(str(served.path)).signatures
    lengths = np.full(6, 3, "int32")
    for name, context in (
        ("keep_context", "keep"),
        ("mean_context", "mean"),
        ("serving_default", "mean"),
    ):
        logits = to_numpy(model.classify(FEATURES, context=context)["logits"])
        scores = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        outputs = signatures[name](features=FEATURES, lengths=lengths)
        assert_close(outputs["scores"], scores)


def test_training_keeps_the_context_whatever_is_answered():
    kept, mean = compiled(rate=0.1), compiled(rate=0.1, context="mean")
    fit(kept, epochs=3)
    fit(mean, epochs=3)
    for one, other in zip(kept.weights, mean.weights, strict=True):
        assert_close(one, to_numpy(other))


def test_dropout_gives_some_clips_the_mean():
    switch = compiled(context_dropout=0.3).context_switch
    switch.mean.assign(np.full(5, 7.0))
    pooled = clips(4000, 10)
    answered = to_numpy(switch(pooled, training=True, counted=False))
    assert_close(answered[:, :5], pooled[:, :5])  # F_s is never dropped
    dropped = (answered[:, 5:] == 7.0).all(axis=-1)
    assert dropped.mean() == pytest.approx(0.3, abs=0.03)
    assert_close(answered[~dropped], pooled[~dropped])
    assert_close(switch(pooled, training=False), pooled)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="`context` must be one of"):
        ActX(3, context="drop")
    with pytest.raises(ValueError, match="`context_dropout` must be"):
        ActX(3, context_dropout=1.0)
    model = compiled()
    with pytest.raises(ValueError, match="`context` must be one of"):
        model.context = "drop"
    with pytest.raises(ValueError, match="until the model is trained"):
        model.context = "mean"
    assert model.context == "keep"
