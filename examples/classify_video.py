r"""Asks TF Serving what a video file shows, by REST or by gRPC.

    python examples/classify_video.py --video=jump.mp4 --model=jump \
        --server=http://localhost:8501 --figure=jump.png

    python examples/classify_video.py --video=jump.mp4 --model=jump \
        --server=localhost:8500

A server's address that begins with http:// or https:// is asked by REST, any
other by gRPC. The model is one that `export_saved_model` wrote with a
backbone: the server answers how a video is read for it.

Prints the largest scores. `--figure` draws the action and the context map over
the frames. To ask from a program of your own, see `actx_tf.client`.
"""

import sys

import numpy as np
from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("video", None, "video file", required=True)
flags.DEFINE_string("server", "http://localhost:8501", "address of the server")
flags.DEFINE_string("model", None, "the model's name", required=True)
flags.DEFINE_integer("version", None, "its version; by default the latest")
flags.DEFINE_string("label", None, "or a label of a version, such as stable")
flags.DEFINE_float("start", 0.0, "where the clip begins, in seconds", 0.0)
flags.DEFINE_float("end", None, "where it ends, in seconds", 0.0)
flags.DEFINE_integer(
    "quality",
    None,
    "quality of JPEGs, which are small and lose detail; by default PNGs",
    lower_bound=1,
    upper_bound=100,
)
flags.DEFINE_float(
    "timeout", 60.0, "seconds to wait for the answer", lower_bound=0.001
)
flags.DEFINE_string("figure", None, "image to draw the maps to")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if FLAGS.version is not None and FLAGS.label is not None:
        sys.exit("error: at most one of --version and --label")
    # Imported late: a wrong flag is reported at once.
    from actx_tf import client
    from actx_tf import visualization

    try:
        prediction = client.ask(
            FLAGS.video,
            FLAGS.server,
            FLAGS.model,
            version=FLAGS.version,
            label=FLAGS.label,
            start=FLAGS.start,
            end=FLAGS.end,
            quality=FLAGS.quality,
            timeout=FLAGS.timeout,
        )
        for i in np.argsort(-prediction.scores)[:5]:
            print(f"{prediction.scores[i]:.3f}  {prediction.class_names[i]}")
        if FLAGS.figure:
            figure = visualization.prediction_figure(prediction)
            figure.savefig(FLAGS.figure, bbox_inches="tight")
            print(f"written: {FLAGS.figure}")
    except (ImportError, OSError, client.ServingError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main)
