"""Scores of classes, from logits."""

from typing import Any

from keras import ops

ACTIVATIONS = ("softmax", "sigmoid")


def scores(logits: Any, activation: str) -> Any:
    """Returns the scores of classes, float32.

    Args:
        logits: `(..., classes)`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes.

    Raises:
        ValueError: if `activation` is neither.
    """
    check_activation(activation)
    return getattr(ops, activation)(ops.cast(logits, "float32"))


def check_activation(activation: str) -> None:
    """Raises `ValueError` if there is no such activation."""
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {ACTIVATIONS}. "
            f"Received: activation={activation!r}"
        )
