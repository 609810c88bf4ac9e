"""Layers, losses, metrics and models where TensorFlow is not installed."""

import os
import subprocess
import sys

import pytest

from tests.harness import ROOT
from tests.harness import run_fresh

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # as where it is not installed
"""

# Its arguments: the paths of models to go on with, and that of its own, which
# is not trained where it is "-".
TRAIN = """
import sys
import keras
import numpy as np
import actx_tf.layers, actx_tf.losses, actx_tf.metrics, actx_tf.models

*trained, own = sys.argv[1:]
labels = np.arange(8) % 3


def train_own():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8, 3, 2, 2, 5)).astype("float32")
    pairs = {"features": features, "conjugate": features[::-1].copy()}
    model = actx_tf.models.ActX(3, class_names=["run", "jump", "none"])
    model.compile(
        keras.optimizers.Adam(0.05),
        "sparse_categorical_crossentropy",
        metrics=["accuracy", actx_tf.metrics.MeanClassAccuracy(3)],
    )
    history = model.fit(pairs, labels, epochs=7, verbose=0).history
    assert history["loss"][-1] < history["loss"][0], history

    # A misspelled key does no harm.
    before = model.predict(features, verbose=0)["logits"]
    wrong = {"features": features, "conjugates": features}
    try:
        model.fit(wrong, labels, verbose=0)
    except ValueError as error:
        assert "did you mean 'conjugate'" in str(error), error
    else:
        raise AssertionError
    after = model.predict(features, verbose=0)["logits"]
    np.testing.assert_array_equal(before, after)

    model.fit(pairs, labels, verbose=0)
    logs = model.evaluate(pairs, labels, verbose=0, return_dict=True)
    assert {"similarity_loss", "difference_loss", "accuracy"} <= set(logs)
    outputs = model.predict(features, verbose=0)
    model.save(own)
    steps = map(keras.ops.convert_to_numpy, model.optimizer.variables)
    steps = {f"optimizer {i}": value for i, value in enumerate(steps)}
    answers = own.replace(".keras", ".npz")
    np.savez(answers, features=features, **outputs, **steps)


if own != "-":
    train_own()
for path in trained:
    model = actx_tf.models.load_model(path)
    # What is compiled is as this backend wants it, not the one before.
    fresh = actx_tf.models.ActX(3)
    fresh.compile()
    assert model.jit_compile == fresh.jit_compile
    with np.load(path.replace(".keras", ".npz")) as answers:
        expected = dict(answers)
    features = expected.pop("features")
    found = model(features)
    steps = model.optimizer.variables
    found |= {f"optimizer {i}": value for i, value in enumerate(steps)}
    assert set(found) == set(expected), (set(found) ^ set(expected))
    for name, value in found.items():
        value = keras.ops.convert_to_numpy(value)
        np.testing.assert_allclose(value, expected[name], atol=1e-5)
    # With the optimizer's moments as they were, the training goes on.
    pairs = {"features": features, "conjugate": features[::-1].copy()}
    history = model.fit(pairs, labels, epochs=2, verbose=0).history
    first, second = history["loss"]  # each before its step
    assert second < first, history
    assert int(model.optimizer.iterations) == 10
print(keras.backend.backend())
"""


def run_on(backend, code, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def test_trained_on_one_backend_goes_on_on_the_others(tmp_path):
    pytest.importorskip("jax")
    pytest.importorskip("torch")
    # In the end each has gone on with what each other has trained.
    for backend, before, trains in (
        ("tensorflow", (), True),
        ("jax", ("tensorflow",), True),
        ("torch", ("tensorflow", "jax"), True),
        ("tensorflow", ("jax", "torch"), False),
        ("jax", ("torch",), False),
    ):
        paths = [tmp_path / f"{name}.keras" for name in before]
        paths.append(tmp_path / f"{backend}.keras" if trains else "-")
        if backend == "tensorflow":
            found = run_fresh(TRAIN, *paths)
        else:
            found = run_on(backend, WITHOUT_TENSORFLOW + TRAIN, *paths)
        assert found == f"{backend}\n"


def test_the_package_itself_loads_nothing():
    code = """
import sys
import actx_tf
assert actx_tf.__version__ and "layers" in dir(actx_tf)
assert not {"keras", "tensorflow", "numpy"} & set(sys.modules)
try:
    actx_tf.layer
except AttributeError as error:
    assert "layer" in str(error)
else:
    raise AssertionError
"""
    run_fresh(code, warm=False)


def test_what_needs_tensorflow_says_so():
    """Of a JAX user who has TensorFlow installed."""
    pytest.importorskip("jax")
    code = """
import numpy as np
import actx_tf
from actx_tf.data import synthetic

model = actx_tf.models.ActX(3)
model.build((None, None, None, None, 64))
features = np.zeros((1, 2, 2, 2, 64), "float32")
for call in (
    lambda: actx_tf.training.fit(model, lambda **which: None),
    lambda: actx_tf.callbacks.AttentionMapLogger("logs", features),
    lambda: actx_tf.export.export_saved_model(model, "served"),
    lambda: actx_tf.export.export_litert(model, "model.tflite"),
    lambda: actx_tf.data.extract_features([], synthetic.backbone(), "store"),
):
    try:
        call()
    except RuntimeError as error:
        assert "needs Keras' TensorFlow backend" in str(error), error
        assert "Received: the backend jax" in str(error), error
    else:
        raise AssertionError
print("done")
"""
    assert run_on("jax", code) == "done\n"
