r"""Trains ActX and compares it with pooling on the same features.

What `actx train` does, as a script to change.

On the built-in data set, as `make demo` does:

    python examples/train_actx.py --output=runs/demo

On a feature store made by `actx extract`:

    python examples/train_actx.py --features=features --index=pairs.csv \
        --background=none --output=runs/mine

Prints one table: mean and standard deviation over the seeds. Writes to
`--output`: `settings.json`, `results.csv` (a row a run), `tensorboard/` and
`history/` (a log a run), and, of the first seed's ActX, `actx.keras`,
`saved_model/1/`, `model_card.md` and `attention.png`.

Run the same command again to go on after an interruption, with the run and the
epoch where it stopped; the table is that of an uninterrupted command. Other
flags need another `--output`.

`--strategy=mirrored` trains on all GPUs of this machine. With
`--strategy=multi_worker` the same command runs on each of several machines,
which share the file system of `--output`; the environment variable TF_CONFIG
names all of them to each (train_on_ray.py starts them on a Ray cluster).
"""

import sys

import run_flags
from absl import app
from absl import flags

from actx_tf import experiments

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/actx", "folder for what is written")
flags.DEFINE_string(
    "backbone",
    None,
    "what made the features, as `actx extract --save_backbone` wrote it: the "
    "SavedModel then takes videos too",
)
flags.DEFINE_string(
    "similarities",
    None,
    "what `actx similarities` wrote: a step then reads no conjugates",
)
flags.DEFINE_enum(
    "strategy",
    "none",
    ["none", "mirrored", "multi_worker"],
    "whether to train on all GPUs of this machine, or on several machines",
)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    rows = experiments.train_actx(
        run_flags.data_settings(),
        run_flags.training_settings(),
        output=FLAGS.output,
        seeds=FLAGS.seeds,
        strategy=FLAGS.strategy,
    )
    if not rows:
        return  # another worker is the chief
    print(experiments.format_table(experiments.summarize(rows)))
    print(
        f"\nwritten to {FLAGS.output}: results.csv, actx.keras, "
        "saved_model/, model_card.md, attention.png, history/, tensorboard/"
    )


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    except (ImportError, OSError, ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
