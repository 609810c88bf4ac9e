"""Layers, losses, metrics and models where TensorFlow is not installed."""

import os
import subprocess
import sys

import pytest

from tests.harness import ROOT

BACKENDS = ("tensorflow", "jax", "torch")

TRAIN = """
import sys
backend, model_path, answers = sys.argv[1:]
if backend != "tensorflow":
    sys.modules["tensorflow"] = None  # as where it is not installed
import keras
import numpy as np
import actx_tf.layers, actx_tf.losses, actx_tf.metrics, actx_tf.models

assert keras.backend.backend() == backend
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
features = rng.normal(size=(8, 3, 2, 2, 5)).astype("float32")
pairs = {"features": features, "conjugate": features[::-1].copy()}
labels = np.arange(8) % 3
model = actx_tf.models.ActX(3, class_names=["run", "jump", "none"])
model.compile(
    keras.optimizers.Adam(0.05),
    "sparse_categorical_crossentropy",
    metrics=["accuracy", actx_tf.metrics.MeanClassAccuracy(3)],
)
history = model.fit(pairs, labels, epochs=8, verbose=0).history
assert history["loss"][-1] < history["loss"][0], history
logs = model.evaluate(pairs, labels, verbose=0, return_dict=True)
assert {"similarity_loss", "difference_loss", "accuracy"} <= set(logs)
outputs = model.predict(features, verbose=0)
model.save(model_path)
steps = map(keras.ops.convert_to_numpy, model.optimizer.variables)
steps = {f"optimizer {i}": value for i, value in enumerate(steps)}
np.savez(answers, features=features, **outputs, **steps)
print("done")
"""

GO_ON = """
import sys
backend, *trained = sys.argv[1:]
if backend != "tensorflow":
    sys.modules["tensorflow"] = None
import keras
import numpy as np
import actx_tf.models

assert keras.backend.backend() == backend
for path in trained:
    model = actx_tf.models.load_model(path)
    # What is compiled is as this backend wants it, not the one before.
    fresh = actx_tf.models.ActX(3)
    fresh.compile()
    assert model.jit_compile == fresh.jit_compile
    with np.load(path.replace(".keras", ".npz")) as answers:
        expected = dict(answers)
    features = expected.pop("features")
    found = model.predict(features, verbose=0)
    for i, variable in enumerate(model.optimizer.variables):
        found[f"optimizer {i}"] = keras.ops.convert_to_numpy(variable)
    assert set(found) == set(expected), (set(found) ^ set(expected))
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5)
    # With the optimizer's moments as they were, the training goes on.
    pairs = {"features": features, "conjugate": features[::-1].copy()}
    labels = np.arange(8) % 3
    before = model.evaluate(pairs, labels, verbose=0, return_dict=True)
    model.fit(pairs, labels, verbose=0)
    after = model.evaluate(pairs, labels, verbose=0, return_dict=True)
    assert after["loss"] < before["loss"], (before, after)
    assert int(model.optimizer.iterations) == 9
print("done")
"""


def run_on(backend, *arguments, code=TRAIN):
    result = subprocess.run(
        [sys.executable, "-c", code, backend, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def test_trained_on_one_backend_goes_on_on_the_others(tmp_path):
    for backend in BACKENDS:
        pytest.importorskip(backend)
    trained = {name: tmp_path / f"{name}.keras" for name in BACKENDS}
    for name, path in trained.items():
        assert run_on(name, path, path.with_suffix(".npz")) == "done\n"
    for name in BACKENDS:
        others = [trained[other] for other in BACKENDS if other != name]
        assert run_on(name, *others, code=GO_ON) == "done\n"


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
    run_on("tensorflow", code=code)


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
    assert run_on("jax", code=code) == "done\n"


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_misspelled_key_does_no_harm(backend):
    pytest.importorskip(backend)
    code = """
import sys
import numpy as np
import actx_tf
features = np.ones((4, 3, 2, 2, 5), "float32")
labels = np.arange(4) % 2
model = actx_tf.models.ActX(2)
model.compile("adam", "sparse_categorical_crossentropy")
model.fit({"features": features, "conjugate": features}, labels, verbose=0)
before = model.predict(features, verbose=0)["logits"]
try:
    model.fit({"features": features, "conjugates": features}, labels, verbose=0)
except ValueError as error:
    assert "did you mean 'conjugate'" in str(error), error
else:
    raise AssertionError
np.testing.assert_array_equal(
    model.predict(features, verbose=0)["logits"], before
)
model.fit({"features": features, "conjugate": features}, labels, verbose=0)
print("good")
"""
    assert run_on(backend, code=code) == "good\n"
