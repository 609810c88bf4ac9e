"""Epochs that are functions of their number, and shares of their batches."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from actx_tf.utils.checks import check_positive

_READERS = 4  # in parallel


def make_epoch(
    num_examples: int,
    to_example: Callable[[tf.Tensor, tf.Tensor], Any],
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int | tf.Tensor | None = None,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """Makes an epoch's batches, or one share of each of them.

    The order is a function of the seed and of the epoch's number alone, so
    that training can be resumed at any epoch. Of each batch, every shard has
    an equal part, and of a last, smaller batch one that is at most one example
    larger than another's: put side by side, the shards' parts are the batch.

    Args:
        num_examples: Number of examples of the epoch, of all shards together.
        to_example: Function of an example's place and of the epoch's number,
            both int64 tensors, that returns the example. It must depend on
            these two alone.
        batch_size: Number of examples of a batch, of all shards together.
        shuffle: Whether the order changes with each epoch. Defaults to
            `False`: by place.
        seed: Seed of the order. Defaults to `0`.
        epoch: The epoch's number, from 0 on. Defaults to `None`: the dataset
            counts how often it was iterated over.
        shard: Which share is read, from 0 on. Defaults to `0`.
        num_shards: Number of shares. Defaults to `1`.

    Returns:
        A dataset of as many batches as there are without shards: a last one is
        empty where it has no example for this shard.

    Raises:
        ValueError: If an argument is out of its range, or the shards cannot
            have equal parts of a batch.
    """
    check_positive("batch_size", batch_size)
    check_positive("num_shards", num_shards)
    if shard not in range(num_shards):
        raise ValueError(
            f"`shard` must be an integer in [0, num_shards={num_shards}). "
            f"Received: shard={shard}"
        )
    if batch_size % num_shards:
        raise ValueError(
            f"`batch_size` must be a multiple of num_shards={num_shards}, "
            "which share each batch equally. "
            f"Received: batch_size={batch_size}"
        )
    for name, number in (("seed", seed), ("epoch", epoch)):
        if isinstance(number, (int, np.integer)) and number < 0:
            raise ValueError(
                f"`{name}` must be an integer >= 0. Received: {name}={number}"
            )
    numbers = itertools.count()

    def draw(number):
        number = next(numbers) if number < 0 else number
        places = np.arange(num_examples)
        if shuffle:
            np.random.default_rng([seed, number]).shuffle(places)
        return share(places), np.array(number)

    def share(places):
        batches = np.split(places, range(batch_size, len(places), batch_size))
        parts = [np.array_split(batch, num_shards)[shard] for batch in batches]
        return np.concatenate(parts)

    def to_order(number):
        places, number = tf.numpy_function(draw, [number], (tf.int64, tf.int64))
        places, number = tf.ensure_shape(places, [None]), tf.reshape(number, [])
        return places, tf.fill(tf.shape(places), number)

    number = tf.cast(-1 if epoch is None else epoch, tf.int64)
    order = tf.data.Dataset.from_tensors(number).map(to_order).unbatch()
    examples = order.map(
        to_example, num_parallel_calls=_READERS, deterministic=True
    )
    batches = examples.batch(batch_size // num_shards)
    num_batches = -(-num_examples // batch_size)
    num_own = len(share(np.arange(num_examples)))
    if num_own <= (num_batches - 1) * (batch_size // num_shards):
        batches = batches.concatenate(_empty_batch(batches.element_spec))
    batches = batches.apply(
        tf.data.experimental.assert_cardinality(num_batches)
    )
    return without_tuner(batches.prefetch(2))


def without_tuner(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the dataset with TensorFlow's tuner of pipelines switched off.

    The tuner wakes after 10 ms, 20 ms, 40 ms, ... up to a minute, and with all
    cores at work the end of an epoch often waits for it: an epoch of 5.2 s
    then takes 10.2 s.

    Args:
        dataset: The dataset.

    Returns:
        The same elements.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _empty_batch(specs):
    return tf.data.Dataset.from_tensors(
        tf.nest.map_structure(
            lambda spec: tf.zeros([0, *spec.shape[1:]], spec.dtype), specs
        )
    )
