"""From the logits of classes to their scores."""

from keras import ops

from actx_tf.ops.types import Tensor

ACTIVATIONS = ("softmax", "sigmoid")


def scores(logits: Tensor, activation: str) -> Tensor:
    """Returns the scores of classes.

    Args:
        logits: Floats `(..., classes)`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes.

    Returns:
        Tensor of the shape of `logits`, float32, in [0, 1].

    Raises:
        ValueError: If `activation` is neither.
    """
    check_activation(activation)
    return getattr(ops, activation)(ops.cast(logits, "float32"))


def check_activation(activation: str) -> None:
    """Raises a `ValueError` if there is no such activation."""
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {ACTIVATIONS}. "
            f"Received: activation={activation!r}"
        )
