"""Runs a training on the workers of a Ray cluster."""

import os
from collections.abc import Callable
from pathlib import Path

from actx_tf.utils.optional import import_optional


def train_on_ray(
    train: Callable[[], object],
    storage: str | os.PathLike,
    *,
    workers: int = 2,
    cpus_per_worker: int = 1,
    gpus_per_worker: int = 0,
    retries: int = 3,
) -> None:
    """Calls a function on each worker of a Ray cluster.

    On each worker TF_CONFIG names all of them, as
    `tf.distribute.MultiWorkerMirroredStrategy` wants it, and the current folder
    is that of here. Ray is started on this machine, unless it runs already or
    the environment variable RAY_ADDRESS names a cluster: its machines share a
    file system.

    Where a worker is lost, all begin again: the function should go on from
    what it left.

    Args:
        train: Function without arguments that can be pickled, such as
            `functools.partial(train_actx, ..., strategy="multi_worker")`.
        storage: Path of a folder for what Ray keeps.
        workers: Number of workers. Defaults to `2`.
        cpus_per_worker: Cores of each. Defaults to `1`.
        gpus_per_worker: GPUs of each. Defaults to `0`.
        retries: How often to begin again. Defaults to `3`.

    Raises:
        ImportError: If Ray is missing.
        RuntimeError: If it fails once more after that.
    """
    ray = import_optional("ray", "Training on Ray")
    from ray import train as ray_train
    from ray.train.tensorflow import TensorflowTrainer

    resources = {"CPU": cpus_per_worker}
    if gpus_per_worker:
        resources["GPU"] = gpus_per_worker
    trainer = TensorflowTrainer(
        _train_on_worker,
        train_loop_config={"train": train, "folder": os.getcwd()},
        scaling_config=ray_train.ScalingConfig(
            num_workers=workers,
            use_gpu=gpus_per_worker > 0,
            resources_per_worker=resources,
        ),
        run_config=ray_train.RunConfig(
            storage_path=str(Path(storage).absolute()),
            failure_config=ray_train.FailureConfig(max_failures=retries),
        ),
    )
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    try:
        trainer.fit()
    except ray_train.TrainingFailedError as error:
        raise RuntimeError(f"training on Ray failed: {error}") from error


def _train_on_worker(config):
    os.chdir(config["folder"])
    config["train"]()
