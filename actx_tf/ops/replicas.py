"""The replicas of `tf.distribute`, for which Keras has no word.

TensorFlow is asked only where it is Keras' backend: on the others there is one
replica.
"""

import keras

from actx_tf.ops.types import Tensor


def num_replicas() -> int:
    """How many copies of the model share a batch now."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(value: Tensor) -> Tensor:
    """Adds up a value of each replica.

    Args:
        value: This replica's.

    Returns:
        The sum of all replicas' values, for each of them.
    """
    if (replica := _replica()) is None:
        return value
    import tensorflow as tf

    return replica.all_reduce(tf.distribute.ReduceOp.SUM, value)


def gather_from_replicas(rows: Tensor) -> Tensor:
    """Joins the rows of all replicas.

    Args:
        rows: This replica's, `(rows, ...)`.

    Returns:
        All rows, one replica's after another's, for each of them.
    """
    replica = _replica()
    return rows if replica is None else replica.all_gather(rows, axis=0)


def _replica():
    """The replica that computes this, if it is one of several."""
    if num_replicas() == 1:
        return None
    import tensorflow as tf

    return tf.distribute.get_replica_context()
