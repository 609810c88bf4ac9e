"""Trains a method of the paper's tables from a seed."""

import functools
import os
from collections.abc import Callable
from collections.abc import Sequence

import keras
import tensorflow as tf

from actx_tf.data.clip_index import Clip
from actx_tf.experiments.class_weights import balanced_weights
from actx_tf.experiments.class_weights import weigh_clips
from actx_tf.experiments.fitting import compile_model
from actx_tf.experiments.fitting import fit
from actx_tf.experiments.fitting import reproducible
from actx_tf.experiments.methods import METHODS
from actx_tf.experiments.run_data import RunData
from actx_tf.experiments.run_data import pick_inputs
from actx_tf.settings import TrainingSettings


def train_method(
    name: str,
    data: RunData,
    settings: TrainingSettings,
    *,
    seed: int,
    output: str | os.PathLike,
    run: str,
    validate: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    resumable: bool = False,
) -> tuple[keras.Model, float]:
    """Trains a method from a seed.

    Args:
        name: Name of the method, one of `METHODS`.
        data: The data.
        settings: The settings.
        seed: Seed of all that is random.
        output: Path of the folder of its logs and its checkpoint.
        run: Name of the run in it.
        validate: Whether to evaluate the model on the validation part after
            each epoch, if there is one; with `patience` that is done anyway.
            Defaults to `False`.
        strategy: Of several devices. Defaults to one device.
        resumable: As in `fit`. Defaults to `False`.

    Returns:
        The model, a copy for this device alone if the strategy has several;
        and the seconds of a training step.

    Raises:
        ValueError: If the settings do not go with the data.
        FloatingPointError: As `fit`.
        ConnectionError: As `fit`.
    """
    check_settings(settings, data)
    method = METHODS[name]
    strategy = strategy or tf.distribute.get_strategy()
    pairs = "conjugate" in method.inputs
    inputs = (*method.inputs, "clip", "conjugate_clip")
    if pairs:  # which may be stored in the place of the conjugates
        inputs = (*inputs, "conjugate_similarity")
    weigh = make_weigher(settings, data)

    def make_training(**which):
        batches = data.make_training(
            seed, pairs, conjugates=settings.conjugate_weight > 0, **which
        )
        batches = pick_inputs(batches, inputs)
        if method.mix is not None:
            batches = _mixed(batches, method.mix, seed, **which)
        return weigh(batches)

    make_validation, most_clips = None, len(data.training)
    validate = validate or settings.patience is not None
    if validate and (part := data.validation):
        most_clips = max(most_clips, len(part.labels))

        def make_validation(**which):
            clips = part.make_dataset(**which)
            return weigh(pick_inputs(clips, method.inputs))

    with reproducible(settings, seed):
        with strategy.scope():
            model = method.build(data.task, settings)
            compile_model(model, data.task, settings, most_clips)
        seconds = fit(
            model,
            make_training,
            settings.epochs,
            output,
            run,
            make_validation=make_validation,
            patience=settings.patience,
            shown=data.validation,
            resumable=resumable,
        )
        if strategy.num_replicas_in_sync > 1:
            trained, model = model, method.build(data.task, settings)
            clips = pick_inputs(data.test.make_dataset(), method.inputs)
            model(next(iter(clips))[0])  # makes its weights
            model.set_weights(trained.get_weights())
    return model, seconds


def check_settings(settings: TrainingSettings, data: RunData) -> None:
    """Raises `ValueError` if the settings do not go with the data."""
    if settings.class_weight is not None and data.task.is_multi_label:
        raise ValueError(
            "`class_weight` must be left out where a clip can be of several "
            "classes, for it would have several weights. "
            f"Received: class_weight={settings.class_weight!r}"
        )
    part = data.validation
    check_patience(settings, part.clips if part else (), data.test.clips)


def check_patience(
    settings: TrainingSettings, validation: Sequence[Clip], test: Sequence[Clip]
) -> None:
    """Raises `ValueError` if `patience` has no clips of its own to watch.

    Clips that choose the epoch would make figures of themselves too good.
    """
    if settings.patience is None:
        return
    tested = {clip.clip for clip in test}
    if not validation or any(clip.clip in tested for clip in validation):
        raise ValueError(
            "`patience` must be left out unless there are clips of the split "
            "validation, and other clips that the figures are of. "
            f"Received: patience={settings.patience}, and "
            + (
                "figures of the validation clips"
                if validation
                else "no clip of validation"
            )
        )


def make_weigher(
    settings: TrainingSettings, data: RunData
) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """Returns what gives batches the weights of `class_weight`, if there is.

    Those of validation get them too, so that what `patience` watches is what
    is trained.
    """
    if settings.class_weight is None:
        return lambda dataset: dataset
    weights = balanced_weights(data.training, data.task.class_names)
    return functools.partial(weigh_clips, weights=weights)


def _mixed(batches, mix, seed, epoch=0, shard=0, num_shards=1):
    """Mixes the clips of each batch: by the seed, the epoch and its number."""
    fold_in = tf.random.experimental.stateless_fold_in

    def mix_batch(number, batch):
        inputs, label = batch
        place = number * num_shards + shard
        drawn = fold_in(tf.cast([seed, epoch], tf.int64), place)
        return mix(inputs, drawn), label

    return batches.enumerate().map(mix_batch)
