"""The replicas of `tf.distribute`, for which Keras has no word.

TensorFlow is asked only where it is Keras' backend: on the others there is one
replica.
"""

from typing import Any

import keras


def num_replicas() -> int:
    """How many copies of the model share a batch now."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value: Any) -> Any:
    """The sum of all replicas' values; within a step of each replica."""
    if num_replicas() == 1:
        return value
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
