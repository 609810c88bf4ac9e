"""Weights of classes, so that rare ones count as much as common ones."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from actx_tf.data.clip_index import Clip


def balanced_weights(
    clips: Sequence[Clip], class_names: Sequence[str]
) -> np.ndarray:
    """Returns the weight of each class: clips / (classes * clips of it).

    As scikit-learn's `"balanced"`: the weights of all clips sum up to their
    number. Classes without a clip are not counted, and weigh 0.

    Args:
        clips: The training clips, each of one class.
        class_names: Names of the classes.

    Returns:
        Floats `(classes,)`.
    """
    labels = [clip.label for clip in clips]
    counts = np.array([labels.count(name) for name in class_names])
    classes = np.count_nonzero(counts)
    weights = len(clips) / (classes * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 0.0).astype("float32")


def weigh_clips(
    dataset: tf.data.Dataset, weights: np.ndarray
) -> tf.data.Dataset:
    """Returns the batches with the weight of each clip's class.

    Args:
        dataset: Batches of `(inputs, labels)`.
        weights: The weights of the classes, `(classes,)`.
    """

    def weigh(inputs, labels):
        return inputs, labels, tf.gather(weights, labels)

    return dataset.map(weigh)
