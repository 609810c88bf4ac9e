"""Size, latency and error of one model in several runtimes.

    python -m benchmarks.runtimes

ActX on a feature map of 10 x 8 x 11 x 1024, one clip, maps returned, on two
threads: TensorFlow's SavedModel (`unpadded_attention`), LiteRT, ONNX Runtime
and OpenVINO, told to compute in float32. Medians of runs that alternate; errors
are the largest against Keras.
"""

import functools
import pathlib
import tempfile

import numpy as np
import onnxruntime
import openvino
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from actx_tf.export import export_litert
from actx_tf.export import export_onnx
from actx_tf.export import export_saved_model
from actx_tf.models import ActX
from benchmarks.measuring import median_seconds

THREADS = 2
REPEATS = 30


def main():
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    model = ActX(8)
    model.build((None, None, None, None, 1024))
    features = np.random.default_rng(0).normal(size=(1, 10, 8, 11, 1024))
    features = features.astype("float32")
    outputs = model.predict(features, verbose=0)
    expected = {
        "scores": np.array(tf.nn.softmax(outputs["logits"])),
        "action_map": outputs["action_map"],
        "context_map": outputs["context_map"],
    }
    with tempfile.TemporaryDirectory() as folder:
        runs, sizes = load_all(model, pathlib.Path(folder))
    errors = {
        name: max(
            np.abs(np.asarray(run(features)[key]) - value).max()
            for key, value in expected.items()
        )
        for name, run in runs.items()
    }
    seconds = median_seconds(
        {name: functools.partial(run, features) for name, run in runs.items()},
        REPEATS,
    )
    print(f"{'':24s}  megabytes  time / TensorFlow's  largest error")
    for name, time in seconds.items():
        print(
            f"{name:24s}  {sizes[name] / 1e6:9.2f}  "
            f"{time / seconds['TensorFlow']:18.2f}  {errors[name]:13.1e}"
        )


def load_all(model, folder):
    """Returns functions by name that take features, and files' bytes."""
    runs, sizes = {}, {}
    path = export_saved_model(model, folder / "saved_model")
    signature = tf.saved_model.load(str(path)).signatures["unpadded_attention"]
    runs["TensorFlow"] = lambda x: signature(features=tf.constant(x))
    sizes["TensorFlow"] = sum(
        file.stat().st_size for file in path.rglob("*") if file.is_file()
    )
    for name, float16 in (("LiteRT", False), ("LiteRT, float16 weights", True)):
        path = folder / "model.tflite"
        export_litert(model, path, float16=float16)
        sizes[name] = path.stat().st_size
        interpreter = Interpreter(
            model_content=path.read_bytes(), num_threads=THREADS
        )
        runner = interpreter.get_signature_runner()
        runs[name] = lambda x, run=runner: run(features=x)
    path = folder / "model.onnx"
    export_onnx(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(path, options)
    names = [output.name for output in session.get_outputs()]
    runs["ONNX Runtime"] = lambda x: dict(
        zip(names, session.run(None, {"features": x}), strict=True)
    )
    sizes["ONNX Runtime"] = path.stat().st_size
    network = openvino.convert_model(path)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": THREADS,
    }
    compiled = openvino.compile_model(network, "CPU", settings)
    runs["OpenVINO"] = lambda x: {
        key.get_any_name(): value
        for key, value in compiled({"features": x}).items()
    }
    sizes["OpenVINO"] = path.stat().st_size
    return runs, sizes


if __name__ == "__main__":
    main()
