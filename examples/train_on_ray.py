r"""Trains on several machines: train_actx.py on the workers of a Ray cluster.

    python examples/train_on_ray.py --workers=2 --features=features \
        --index=index.csv --output=runs/mine

Takes the flags of train_actx.py too, but for `--strategy`; each worker computes
an equal part of each batch. Ray is started on this machine, unless RAY_ADDRESS
names a cluster: its machines share a file system, on which the files and
`--output` lie. Where a worker is lost, all begin again at the last epoch, up to
`--retries` times; the same command goes on after that, too.
"""

import functools
import sys
from pathlib import Path

import run_flags
import train_actx  # noqa: F401, its flags
from absl import app
from absl import flags

from actx_tf import experiments

FLAGS = flags.FLAGS
flags.DEFINE_integer("workers", 2, "workers of the cluster", lower_bound=1)
flags.DEFINE_integer("cpus_per_worker", 1, "cores of each", lower_bound=1)
flags.DEFINE_integer("gpus_per_worker", 0, "GPUs of each", lower_bound=0)
flags.DEFINE_integer("retries", 3, "how often to begin again", lower_bound=0)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if FLAGS["strategy"].present:
        raise app.UsageError("--strategy is multi_worker here: leave it out")
    output = Path(FLAGS.output).absolute()
    train = functools.partial(
        experiments.train_actx,
        run_flags.data_settings(),
        run_flags.training_settings(),
        output=output,
        seeds=FLAGS.seeds,
        strategy="multi_worker",
    )
    print(f"to watch: tensorboard --logdir={output / 'tensorboard'}")
    experiments.train_on_ray(
        train,
        output / "ray",
        workers=FLAGS.workers,
        cpus_per_worker=FLAGS.cpus_per_worker,
        gpus_per_worker=FLAGS.gpus_per_worker,
        retries=FLAGS.retries,
    )
    rows = experiments.read_rows(output / "results.csv")
    print(experiments.format_table(experiments.summarize(rows)))
    print(f"\nwritten to {output}: what train_actx.py writes, ray/")


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")
