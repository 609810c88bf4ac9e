r"""Shows what each hyperparameter of ActX does, on the built-in data set.

    python examples/sweep_hyperparameters.py --output=runs/sweep

Trains ActX with one hyperparameter changed at a time, the others at the
defaults of `actx train`, and draws accuracy and localization AUC of
the validation part: docs/hyperparameters.png. Writes to `--output`:
`settings.json`, `results.csv` (a row a run) and `hyperparameters.png`. After an
interruption the same command goes on with the next run; with more `--seeds`,
too.
"""

import sys

from absl import app
from absl import flags

from actx_tf import experiments

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/sweep", "folder for what is written")
flags.DEFINE_integer("seeds", 3, "runs of each value")
flags.DEFINE_integer("epochs", 40, "epochs of each run")
flags.DEFINE_float("learning_rate", 3e-3, "of Adam")
flags.DEFINE_integer("batch_size", 36, "pairs in a batch")
flags.DEFINE_integer("train_clips", 2400, "training pairs")
flags.DEFINE_integer("test_clips", 400, "clips of validation")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    experiments.sweep_hyperparameters(
        experiments.DataSettings(
            batch_size=FLAGS.batch_size,
            train_clips=FLAGS.train_clips,
            test_clips=FLAGS.test_clips,
        ),
        experiments.TrainingSettings(
            epochs=FLAGS.epochs, learning_rate=FLAGS.learning_rate
        ),
        output=FLAGS.output,
        seeds=FLAGS.seeds,
    )
    print(f"written to {FLAGS.output}: results.csv, hyperparameters.png")


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
