"""From the logits of classes to their probabilities."""

from keras import ops

from actx_tf.ops.types import Tensor

# "sigmoid" is for clips that can be of several classes.
ACTIVATIONS = {"softmax": ops.softmax, "sigmoid": ops.sigmoid}


def check_activation(activation: str) -> None:
    """Raises a `ValueError` unless this is the name of an activation."""
    if activation not in tuple(ACTIVATIONS):
        raise ValueError(
            f"`activation` must be one of {tuple(ACTIVATIONS)}. "
            f"Received: activation={activation!r}"
        )


def class_probabilities(logits: Tensor, activation: str = "softmax") -> Tensor:
    """Returns the probabilities of classes.

    Args:
        logits: Floats `(..., classes)`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.

    Returns:
        Tensor of the shape of `logits`, float32.

    Raises:
        ValueError: If there is no such activation.
    """
    check_activation(activation)
    return ACTIVATIONS[activation](ops.cast(logits, "float32"))
