"""One training of a compiled model, its logs and its checkpoint."""

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from actx_tf import training
from actx_tf.callbacks import AttentionMapLogger
from actx_tf.data.video import VideoError
from actx_tf.experiments import run_folder
from actx_tf.experiments.run_data import Part
from actx_tf.experiments.run_data import Task
from actx_tf.metrics import MeanAveragePrecision
from actx_tf.models import ActX
from actx_tf.settings import TrainingSettings
from actx_tf.utils.optional import import_optional

STRATEGIES = ("none", "mirrored", "multi_worker")


def make_strategy(name: str = "none") -> tf.distribute.Strategy:
    """Makes a strategy, before TensorFlow computes anything.

    Args:
        name: `"none"`; `"mirrored"`, all GPUs of this machine; or
            `"multi_worker"`, the machines that TF_CONFIG names. Defaults to
            `"none"`.

    Raises:
        ValueError: If there is no such strategy.
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {STRATEGIES}. Received: {name!r}"
        )
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


@contextlib.contextmanager
def reproducible(settings: TrainingSettings, seed: int) -> Iterator[None]:
    """Sets the seed, the dtype policy, and whether operations repeat.

    The policy is that of before at the end.
    """
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.dtype_policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def compile_model(
    model: keras.Model,
    task: Task,
    settings: TrainingSettings,
    most_clips: int,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Compiles a model of logits: loss, optimizer, and metrics to log.

    Args:
        model: The model.
        task: What it learns.
        settings: The settings.
        most_clips: Clips of the larger of training and validation.
        optimizer: The optimizer. Defaults to `None`: Adam.
    """
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    shown = "accuracy"
    if task.is_multi_label:
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        shown = MeanAveragePrecision(
            len(task.class_names),
            classes=np.flatnonzero(task.scored).tolist(),
            capacity=most_clips,
        )
    model.compile(
        optimizer=optimizer or keras.optimizers.Adam(settings.learning_rate),
        loss=loss,
        metrics=[shown],
    )


class _StepTimer(keras.callbacks.Callback):
    """Measures training steps."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.seconds.append(time.perf_counter() - self.began)

    @property
    def median(self) -> float:
        """Seconds; NaN if all steps were those of an interrupted training."""
        return statistics.median(self.seconds or [math.nan])


def fit(
    model: keras.Model,
    make_training: Callable[..., tf.data.Dataset],
    epochs: int,
    output: str | os.PathLike,
    run: str,
    *,
    make_validation: Callable[..., tf.data.Dataset] | None = None,
    shown: Part | None = None,
    patience: int | None = None,
    resumable: bool = False,
) -> float:
    """Trains a compiled model.

    Writes its logs to `<output>/history/<run>.csv` and
    `<output>/tensorboard/<run>`, of the run's name what a file name can hold,
    and a batch whose loss is not finite to `<output>/bad_batches/<run>.npz`.
    Of an `ActX` on one device, the maps of the first validation clips are
    logged too.

    Args:
        model: The model.
        make_training: As `make_dataset` of `actx_tf.training.fit`.
        epochs: Number of epochs.
        output: Path of the folder of all runs.
        run: Name of the run.
        make_validation: As `validation_data` of `actx_tf.training.fit`.
            Defaults to none.
        shown: The validation clips, over whose frames maps are drawn.
        patience: As of `actx_tf.training.fit`. Defaults to `None`.
        resumable: Whether to write a checkpoint after each epoch, and to go on
            from it; it stays until someone deletes it. Defaults to `False`.

    Returns:
        The median of the seconds of a training step.

    Raises:
        FloatingPointError: If a loss is not finite.
        ConnectionError: If another worker was lost. The same call on all
            workers goes on after the last epoch.
        ImportError: If tqdm is missing.
    """
    timer = _StepTimer()
    callbacks = [timer]
    name = run_folder.file_name(run)
    strategy = model.distribute_strategy
    if training.is_chief(strategy):
        import_optional("tqdm", "Training")
        from tqdm.keras import TqdmCallback

        callbacks += [
            TqdmCallback(verbose=0, desc=run),
            run_folder.HistoryFile(f"{output}/history/{name}.csv"),
            keras.callbacks.TensorBoard(f"{output}/tensorboard/{name}"),
        ]
        alone = strategy.num_replicas_in_sync == 1
        if alone and make_validation is not None and isinstance(model, ActX):
            maps = f"{output}/tensorboard/{name}/maps"
            callbacks.append(_map_logger(maps, make_validation(), shown))
    checkpoint = run_folder.checkpoint_path(output, run)
    try:
        training.fit(
            model,
            make_training,
            epochs,
            validation_data=make_validation,
            patience=patience,
            callbacks=callbacks,
            checkpoint=checkpoint if resumable else None,
            bad_batch=f"{output}/bad_batches/{name}.npz",
        )
    except FloatingPointError as error:
        raise FloatingPointError(f"{run}: {error}") from error
    except tf.errors.OpError as error:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        raise ConnectionError(
            f"{run}: a worker was lost; run the same on all of them to go on "
            f"after the last epoch: {error.message}"
        ) from error
    return timer.median


def _map_logger(folder, validation, shown):
    clips = next(iter(validation.unbatch().batch(4)))[0]
    frames = None  # the maps are drawn alone
    if shown is not None:
        with contextlib.suppress(VideoError):
            frames = shown.read_videos(np.arange(len(clips["features"])))
    return AttentionMapLogger(folder, clips, frames)
