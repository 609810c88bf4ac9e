"""Layers, losses, metrics and models where TensorFlow is not installed."""

import os
import subprocess
import sys

import pytest

from tests.harness import ROOT

CODE = """
import sys
sys.modules["tensorflow"] = None  # as where it is not installed
import keras
import numpy as np
import actx_tf.layers, actx_tf.losses, actx_tf.metrics, actx_tf.models

assert keras.backend.backend() == sys.argv[1]
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
expected = model.predict(features, verbose=0)
model.save(sys.argv[2])
loaded = actx_tf.models.load_model(sys.argv[2])
for name, value in loaded.predict(features, verbose=0).items():
    np.testing.assert_allclose(value, expected[name], atol=1e-6)
loaded.fit(pairs, labels, verbose=0)
np.savez(sys.argv[3], features=features, **expected)
print("done")
"""


def run_on(backend, *arguments, code=CODE):
    result = subprocess.run(
        [sys.executable, "-c", code, backend, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_trains_saves_and_answers_the_same_elsewhere(backend, tmp_path):
    pytest.importorskip(backend)
    model, answers = tmp_path / "actx.keras", tmp_path / "answers.npz"
    assert run_on(backend, model, answers) == "done\n"
    code = """
import sys
import numpy as np
import actx_tf
model = actx_tf.models.load_model(sys.argv[2])
with np.load(sys.argv[3]) as answers:
    outputs = model.predict(answers["features"], verbose=0)
    for name, value in outputs.items():
        np.testing.assert_allclose(value, answers[name], atol=1e-5)
print("same")
"""
    assert run_on("tensorflow", model, answers, code=code) == "same\n"


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
