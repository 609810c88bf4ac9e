"""Whether ActX trained on the GPU is as good as trained on the CPU.

    KERAS_BACKEND=jax python -m benchmarks.accuracy_by_device

Trains ActX by `fit` on the features of the built-in set, whole in memory, on
the device that the backend finds and on the CPU, with the same seeds and data
and matching each pair in the step. Fails if the mean accuracies differ by more
than the seeds' spread, the larger of the standard deviations.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys

RUNS = {
    "float32": {},
    "mixed_bfloat16": {},
    # As if there were no GPU.
    "float32, CPU": {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--train_clips", type=int, default=800)
    parser.add_argument("--test_clips", type=int, default=300)
    parser.add_argument("--policy", help=argparse.SUPPRESS)  # of one run
    arguments = parser.parse_args()
    if arguments.policy:
        print(json.dumps(accuracies(arguments)), flush=True)
        return

    processes = {
        name: subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.accuracy_by_device"),
                *sys.argv[1:],
                f"--policy={name.split(', ')[0]}",
            ],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, environment in RUNS.items()
    }
    found = {}
    for name, process in processes.items():
        output, _ = process.communicate()
        if process.returncode:
            sys.exit(f"the run of {name} failed")
        # The last line: what is before it, libraries have printed.
        device, found[name] = json.loads(output.splitlines()[-1])
        row = f"{statistics.mean(found[name]):.3f} ± {spread(found[name]):.3f}"
        seeds = ", ".join(f"{x:.3f}" for x in found[name])
        if len(found) == 1:
            print("\n| | accuracy | each seed |\n| --- | --- | --- |")
        dtype = name.split(", ")[0]
        print(f"| {device}, {dtype} | {row} | {seeds} |", flush=True)
    on_cpu = found.pop("float32, CPU")
    for name, values in found.items():
        difference = statistics.mean(values) - statistics.mean(on_cpu)
        if abs(difference) > max(spread(values), spread(on_cpu)):
            sys.exit(f"{name} differs from the CPU by {difference:.3f}")


def spread(values):
    return statistics.stdev(values) if len(values) > 1 else 1.0


def accuracies(arguments):
    """Returns the device and the accuracy on the test clips of each seed."""
    import keras
    import numpy as np

    from actx_tf.models import ActX
    from benchmarks.measuring import device_name

    synthetic = built_in_set()
    backbone = synthetic.backbone()

    def features_of(part, size):
        clips = synthetic.make_part(part, size)
        features = [
            np.array(backbone.predict(x, batch_size=100, verbose=0))
            for x in (clips.videos, clips.conjugates)
        ]
        return *features, clips.labels

    features, conjugates, labels = features_of("train", arguments.train_clips)
    test, _, test_labels = features_of("test", arguments.test_clips)
    found = []
    for seed in range(arguments.seeds):
        keras.utils.set_random_seed(seed)
        model = ActX(len(synthetic.CLASS_NAMES), dtype=arguments.policy)
        model.compile(
            keras.optimizers.Adam(1e-2),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.fit(
            {"features": features, "conjugate": conjugates},
            labels,
            batch_size=32,
            epochs=arguments.epochs,
            verbose=0,
        )
        logits = model.predict(test, batch_size=100, verbose=0)["logits"]
        found.append(float(np.mean(np.argmax(logits, -1) == test_labels)))
    return device_name(), found


def built_in_set():
    """The module `actx_tf.data.synthetic`, without its package.

    Which imports TensorFlow; the module does not.
    """
    import actx_tf

    path = pathlib.Path(actx_tf.__file__).with_name("data") / "synthetic.py"
    spec = importlib.util.spec_from_file_location("synthetic", path)
    sys.modules["synthetic"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
