"""The same answers from LiteRT, ONNX Runtime and OpenVINO."""

import sys

import keras
import numpy as np
import pytest

from actx_tf.export import export_litert
from actx_tf.export import export_onnx
from actx_tf.models import ACF
from actx_tf.models import ActX
from tests.harness import clips

SHAPES = [(1, 5, 3, 4, 8), (3, 2, 7, 1, 8), (2, 1, 1, 1, 8)]


def make_model(kind=ActX, **kwargs):
    keras.utils.set_random_seed(5)
    model = kind(3, **kwargs)
    model.build((None, None, None, None, 8))
    return model


def run_litert(path):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(path))
    run = interpreter.get_signature_runner()
    return lambda features: run(features=features)


def run_onnx(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]

    def run(features):
        return dict(
            zip(names, session.run(None, {"features": features}), strict=True)
        )

    return run


def run_openvino(path):
    openvino = pytest.importorskip("openvino")
    compiled = openvino.compile_model(
        openvino.convert_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    def run(features):
        answers = compiled({"features": features})
        return {key.get_any_name(): value for key, value in answers.items()}

    return run


RUNTIMES = {
    "LiteRT": (export_litert, run_litert),
    "ONNX Runtime": (export_onnx, run_onnx),
    "OpenVINO": (export_onnx, run_openvino),
}


def check(model, run, activation, tolerance=1e-5):
    for shape in SHAPES:
        features = clips(*shape)
        # Not `predict`, which would be traced for each size.
        outputs = model(features, training=False)
        outputs = {name: np.array(value) for name, value in outputs.items()}
        answers = run(features)
        expected = {"scores": np.array(activation(outputs["logits"]))}
        for name in ("action_map", "context_map"):
            if name in outputs:
                expected[name] = outputs[name]
        assert answers.keys() == expected.keys()
        for name, value in expected.items():
            assert answers[name].shape == value.shape
            np.testing.assert_allclose(answers[name], value, atol=tolerance)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", [ActX, ACF])
def test_answers_as_the_model(runtime, kind, tmp_path):
    export, load = RUNTIMES[runtime]
    model = make_model(kind)
    export(model, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    check(model, load(tmp_path / "model"), keras.ops.softmax)


def test_a_clip_of_several_classes(tmp_path):
    model = make_model(activation="sigmoid")
    export_onnx(model, tmp_path / "model")
    check(model, run_onnx(tmp_path / "model"), keras.ops.sigmoid)


def test_a_model_that_was_trained_on_pairs(tmp_path):
    model = ActX(3)
    loss = keras.losses.SparseCategoricalCrossentropy(True)
    model.compile("sgd", loss, run_eagerly=True)
    x = {"features": clips(4, 2, 2, 2, 8), "conjugate": clips(4, 3, 2, 2, 8)}
    model.fit(x, np.arange(4) % 3, verbose=0)
    export_litert(model, tmp_path / "model")
    check(model, run_litert(tmp_path / "model"), keras.ops.softmax)


def test_smaller_weights(tmp_path):
    smaller = {"float16": 2, "int8": 1}  # bytes of each
    keras.utils.set_random_seed(5)
    model = ActX(3)
    model.build((None, None, None, None, 64))
    sizes, scores = {}, {}
    for name in ("float32", *smaller):
        export_litert(model, tmp_path / name, weights=name)
        sizes[name] = (tmp_path / name).stat().st_size
        scores[name] = run_litert(tmp_path / name)(clips(1, 3, 2, 2, 64))[
            "scores"
        ]
    for weights, bytes_each in smaller.items():
        # Of theta, the only large kernel.
        saved = 64 * 64 * (4 - bytes_each)
        assert 0.9 * saved < sizes["float32"] - sizes[weights]
        assert 0 < np.abs(scores[weights] - scores["float32"]).max() < 1e-2


def test_other_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`weights` must be one of.*'int4'"):
        export_litert(make_model(), tmp_path / "model", weights="int4")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("export", [export_litert, export_onnx])
def test_wrong_arguments_write_nothing(export, tmp_path):
    with pytest.raises(ValueError, match="`model` must be built"):
        export(ActX(3), tmp_path / "model")
    assert not any(tmp_path.iterdir())


def test_without_tf2onnx(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r"actx_tf\[onnx\]"):
        export_onnx(make_model(), tmp_path / "model")
