"""How long an answer takes, beside the product that no answer can do without.

    python -m benchmarks.serving

The SavedModel's `serving_default`, ActX on feature maps of --time x 8 x 11 x
1024, beside the matrix product of theta (1024 x 1024 at each location) alone:
both in TensorFlow, on the same clips, in runs that alternate; medians.
"""

import argparse
import statistics
import tempfile
import time

import tensorflow as tf

from actx_tf.export import export_saved_model
from actx_tf.models import ActX

CHANNELS = 1024


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--time", type=int, nargs="*", default=[10])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 36])
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    model = ActX(8)
    model.build((None, None, None, None, CHANNELS))
    weights = tf.random.normal((CHANNELS, CHANNELS))

    @tf.function(reduce_retracing=True)
    def product(features, lengths):
        return tf.matmul(tf.reshape(features, (-1, CHANNELS)), weights)

    with tempfile.TemporaryDirectory() as folder:
        path = export_saved_model(model, folder)
        loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    print("time  batch  theta alone, ms a clip  serving_default / theta alone")
    for steps in arguments.time:
        for batch in arguments.batch:
            features = tf.random.normal((batch, steps, 8, 11, CHANNELS))
            lengths = tf.fill([batch], steps)
            runs = (
                lambda: product(features, lengths),  # noqa: B023
                lambda: serve(features=features, lengths=lengths),  # noqa: B023
            )
            alone, served = measure(runs, arguments.repeats)
            print(
                f"{steps:4d}  {batch:5d}  {1e3 * alone / batch:22.1f}"
                f"  {served / alone:29.2f}"
            )


def measure(runs, repeats):
    """Returns the median seconds of each."""
    for _ in range(3):  # tracing, and what grows with use
        for run in runs:
            run()
    seconds = [[] for _ in runs]
    for _ in range(repeats):
        for run, times in zip(runs, seconds, strict=True):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
    return map(statistics.median, seconds)


if __name__ == "__main__":
    main()
