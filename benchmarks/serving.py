"""How long an answer takes, beside the product that no answer can do without.

    python -m benchmarks.serving

The SavedModel's `serving_default`, ActX on feature maps of --time x 8 x 11 x
1024, beside the matrix product of theta (1024 x 1024 at each location) alone:
both in TensorFlow, on the same clips, in runs that alternate; medians.
"""

import argparse
import tempfile

import tensorflow as tf

from actx_tf.export import export_saved_model
from actx_tf.models import ActX
from benchmarks.measuring import median_seconds

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
            runs = {
                "theta": lambda: product(features, lengths),  # noqa: B023
                "served": lambda: serve(  # noqa: B023
                    features=features,  # noqa: B023
                    lengths=lengths,  # noqa: B023
                ),
            }
            seconds = median_seconds(runs, arguments.repeats)
            alone, served = seconds["theta"], seconds["served"]
            print(
                f"{steps:4d}  {batch:5d}  {1e3 * alone / batch:22.1f}"
                f"  {served / alone:29.2f}"
            )


if __name__ == "__main__":
    main()
