"""What the metrics of a ranking share."""

from keras import ops

from actx_tf.ops.types import Tensor


def gains_by_score(scores: Tensor, signed: Tensor) -> Tensor:
    """Sums up what has the same score, from the largest score on.

    Args:
        scores: Floats `(rows, count)`.
        signed: Weights, floats of the same shape: positive ones gain.

    Returns:
        Tensor `(rows, count, 2)`: the positive weights of each distinct score
        of a row, and all of its weights without their sign. Zeros after these.
    """
    rows, count = ops.shape(scores)
    ranked, order = ops.top_k(scores, count)
    # One gather brings both.
    signed = ops.take_along_axis(signed, order, axis=1)
    gains = ops.stack([ops.relu(signed), ops.abs(signed)], axis=-1)
    new = ops.concatenate(
        [
            ops.zeros_like(ranked[:, :1], dtype="bool"),
            ranked[:, 1:] < ranked[:, :-1],
        ],
        axis=1,
    )
    step = ops.cumsum(ops.cast(new, "int32"), axis=1)
    step += count * ops.arange(rows, dtype="int32")[:, None]
    gains = ops.scatter_update(
        ops.zeros((rows * count, 2), dtype="float32"),
        ops.reshape(step, (-1, 1)),
        ops.reshape(gains, (-1, 2)),
        reduction="add",
    )
    return ops.reshape(gains, (rows, count, 2))
