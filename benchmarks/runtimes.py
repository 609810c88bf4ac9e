"""Size, latency and error of one model in several runtimes.

    python -m benchmarks.runtimes
    python -m benchmarks.runtimes --model=runs/mine/actx.keras \\
        --features=runs/mine/features --index=runs/mine/pairs.csv

ActX on a feature map of 10 x 8 x 11 x 1024, one clip, maps returned, on two
threads: TensorFlow's SavedModel (`unpadded_attention`), LiteRT, ONNX Runtime
and OpenVINO, told to compute in float32. Medians of runs that alternate; errors
are the largest against Keras. With a trained model on the test clips of an
index, the first of which is timed, and how many are named right.
"""

import argparse
import functools
import pathlib
import tempfile

import numpy as np
import onnxruntime
import openvino
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from actx_tf.data import FeatureStore
from actx_tf.data import read_clip_index
from actx_tf.export import export_litert
from actx_tf.export import export_onnx
from actx_tf.export import export_saved_model
from actx_tf.export.litert import WEIGHTS
from actx_tf.models import ActX
from actx_tf.models import load_model
from benchmarks.measuring import median_seconds

THREADS = 2
REPEATS = 30


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("model", "features", "index"):
        parser.add_argument(f"--{name}")
    flags = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    if flags.model:
        model = load_model(flags.model)
        clips = test_clips(flags.features, flags.index)
    else:
        model = ActX(8)
        model.build((None, None, None, None, 1024))
        noise = np.random.default_rng(0).normal(size=(10, 8, 11, 1024))
        clips = [(noise.astype("float32"), None)]
    with tempfile.TemporaryDirectory() as folder:
        runs, sizes = load_all(model, pathlib.Path(folder))
    errors = {name: 0.0 for name in runs}
    right = {name: 0 for name in runs}
    for features, label in clips:
        expected = answers_of_keras(model, features)
        for name, run in runs.items():
            answers = run(features[np.newaxis])
            for key, value in expected.items():
                error = np.abs(np.asarray(answers[key]) - value).max()
                errors[name] = max(errors[name], float(error))
            if label is not None:
                answer = np.argmax(answers["scores"])
                right[name] += model.class_names[answer] == label
    features = clips[0][0][np.newaxis]
    seconds = median_seconds(
        {name: functools.partial(run, features) for name, run in runs.items()},
        REPEATS,
    )
    print(f"{len(clips)} clips; the first has the shape {features.shape}")
    print(f"{'':24s}  megabytes  time / TensorFlow's  largest error  right")
    for name, time in seconds.items():
        print(
            f"{name:24s}  {sizes[name] / 1e6:9.2f}  "
            f"{time / seconds['TensorFlow']:18.2f}  {errors[name]:13.1e}  "
            f"{right[name] if flags.model else '':>5}"
        )


def test_clips(features, index):
    """(feature map, label) of the test clips of an index."""
    with FeatureStore(features) as store:
        return [
            (np.asarray(store[clip.clip], "float32"), clip.label)
            for clip in read_clip_index(index)
            if clip.split == "test"
        ]


def answers_of_keras(model, features):
    outputs = model.predict(features[np.newaxis], verbose=0)
    return {
        "scores": np.array(tf.nn.softmax(outputs["logits"])),
        "action_map": outputs["action_map"],
        "context_map": outputs["context_map"],
    }


def load_all(model, folder):
    """Returns functions by name that take features, and files' bytes."""
    runs, sizes = {}, {}
    path = export_saved_model(model, folder / "saved_model")
    signature = tf.saved_model.load(str(path)).signatures["unpadded_attention"]
    runs["TensorFlow"] = lambda x: signature(features=tf.constant(x))
    sizes["TensorFlow"] = sum(
        file.stat().st_size for file in path.rglob("*") if file.is_file()
    )
    for weights in WEIGHTS:
        name = "LiteRT"
        if weights != "float32":
            name += f", {weights} weights"
        path = folder / "model.tflite"
        export_litert(model, path, weights=weights)
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
