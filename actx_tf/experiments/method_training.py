"""Trains a method of the paper's tables from a seed."""

import os

import keras
import tensorflow as tf

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
            each epoch, if there is one. Defaults to `False`.
        strategy: Of several devices. Defaults to one device.
        resumable: As in `fit`. Defaults to `False`.

    Returns:
        The model, a copy for this device alone if the strategy has several;
        and the seconds of a training step.

    Raises:
        FloatingPointError: As `fit`.
        ConnectionError: As `fit`.
    """
    method = METHODS[name]
    strategy = strategy or tf.distribute.get_strategy()
    pairs = "conjugate" in method.inputs
    inputs = (*method.inputs, "clip", "conjugate_clip")
    if pairs:  # which may be stored in the place of the conjugates
        inputs = (*inputs, "conjugate_similarity")

    def make_training(**which):
        batches = data.make_training(
            seed, pairs, conjugates=settings.conjugate_weight > 0, **which
        )
        batches = pick_inputs(batches, inputs)
        if method.mix is None:
            return batches
        return _mixed(batches, method.mix, seed, **which)

    make_validation, most_clips = None, len(data.training)
    if validate and (part := data.validation):
        most_clips = max(most_clips, len(part.labels))

        def make_validation(**which):
            return pick_inputs(part.make_dataset(**which), method.inputs)

    with reproducible(settings, seed):
        with strategy.scope():
            model = method.build(data.task, settings)
            compile_model(
                model, data.task, settings, data.test.scored, most_clips
            )
        seconds = fit(
            model,
            make_training,
            settings.epochs,
            output,
            run,
            make_validation=make_validation,
            shown=data.validation,
            resumable=resumable,
        )
        if strategy.num_replicas_in_sync > 1:
            trained, model = model, method.build(data.task, settings)
            clips = pick_inputs(data.test.make_dataset(), method.inputs)
            model(next(iter(clips))[0])  # makes its weights
            model.set_weights(trained.get_weights())
    return model, seconds


def _mixed(batches, mix, seed, epoch=0, shard=0, num_shards=1):
    """Mixes the clips of each batch: by the seed, the epoch and its number."""
    fold_in = tf.random.experimental.stateless_fold_in

    def mix_batch(number, batch):
        inputs, label = batch
        place = number * num_shards + shard
        drawn = fold_in(tf.cast([seed, epoch], tf.int64), place)
        return mix(inputs, drawn), label

    return batches.enumerate().map(mix_batch)
