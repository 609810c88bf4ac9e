r"""Trains on several machines: train_actx.py on the workers of a Ray cluster.

    python examples/train_on_ray.py --workers=2 --features=features \
        --index=index.csv --output=runs/mine

Takes the flags of train_actx.py too; each worker computes an equal part of
each batch. Ray is started on this machine, unless RAY_ADDRESS names a cluster:
its machines share a file system, on which the files and `--output` lie. Where
a worker is lost, all begin again at the last epoch, up to `--retries` times;
the same command goes on after that, too.
"""

import os
import sys
from pathlib import Path

import train_actx  # noqa: F401, its flags
from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("workers", 2, "workers of the cluster", lower_bound=1)
flags.DEFINE_integer("cpus_per_worker", 1, "cores of each", lower_bound=1)
flags.DEFINE_integer("gpus_per_worker", 0, "GPUs of each", lower_bound=0)
flags.DEFINE_integer("retries", 3, "how often to begin again", lower_bound=0)


def train(config):
    """Runs on each worker; Ray has set TF_CONFIG there."""
    import runpy
    import sys

    os.chdir(config["folder"])
    script = config["script"]
    sys.path.insert(0, os.path.dirname(script))
    sys.argv = [script, *config["flags"], "--strategy=multi_worker"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        if error.code:
            raise RuntimeError(error.code) from error


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    try:
        import ray
        from ray import train as ray_train
        from ray.train.tensorflow import TensorflowTrainer
    except ImportError as error:
        sys.exit(f"error: Ray is needed: pip install actx_tf[ray] ({error})")
    own = FLAGS.flags_by_module_dict()[sys.argv[0]]
    given = [
        flag.serialize()
        for flags_of_one in FLAGS.flags_by_module_dict().values()
        for flag in flags_of_one
        if flag.present and flag not in own
    ]
    resources = {"CPU": FLAGS.cpus_per_worker}
    if FLAGS.gpus_per_worker:
        resources["GPU"] = FLAGS.gpus_per_worker
    output = Path(FLAGS.output).absolute()
    trainer = TensorflowTrainer(
        train,
        train_loop_config={
            "folder": os.getcwd(),
            "script": str(Path(__file__).with_name("train_actx.py").absolute()),
            "flags": given,
        },
        scaling_config=ray_train.ScalingConfig(
            num_workers=FLAGS.workers,
            use_gpu=FLAGS.gpus_per_worker > 0,
            resources_per_worker=resources,
        ),
        run_config=ray_train.RunConfig(
            storage_path=str(output / "ray"),
            failure_config=ray_train.FailureConfig(max_failures=FLAGS.retries),
        ),
    )
    print(f"to watch: tensorboard --logdir={output / 'tensorboard'}")
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    try:
        trainer.fit()
    except ray_train.TrainingFailedError as error:
        sys.exit(f"error: {error}")
    print((output / "results.csv").read_text(encoding="utf-8"))


if __name__ == "__main__":
    app.run(main)
