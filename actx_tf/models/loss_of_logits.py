"""Cross-entropies of `compile`, so that none takes logits for probabilities."""

import re
from typing import Any

import keras

_OF_ONE = (
    keras.losses.CategoricalCrossentropy,
    keras.losses.CategoricalFocalCrossentropy,
    keras.losses.SparseCategoricalCrossentropy,
)
_OF_SEVERAL = (
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
)
_OF_PROBABILITIES = (keras.losses.KLDivergence, keras.losses.Poisson)
_EXPECTED = {_OF_ONE: "softmax", _OF_SEVERAL: "sigmoid"}


def loss_of_logits(loss: Any, activation: str) -> Any:
    """Returns the loss, a cross-entropy by name as one that takes logits.

    Args:
        loss: What `compile` was given: a name, a function, a
            `keras.losses.Loss`, or `None`.
        activation: The model's, `"softmax"` or `"sigmoid"`.

    Raises:
        ValueError: If a loss takes probabilities, or is not that of the
            activation.
    """
    if isinstance(loss, (dict, list, tuple)):
        raise ValueError(
            "`loss` must be one loss, that of the logits. "
            f"Received: loss={loss!r}"
        )
    for kind in _OF_PROBABILITIES:
        if loss in _names(kind) or isinstance(loss, kind):
            raise ValueError(
                "`loss` must take logits, which the model returns. "
                f"Received: {kind.__name__}, which takes probabilities"
            )
    for kinds, expected in _EXPECTED.items():
        for kind in kinds:
            if loss in _names(kind):
                loss = kind(from_logits=True)
        if not isinstance(loss, kinds):
            continue
        name = type(loss).__name__
        if not loss.get_config().get("from_logits"):
            raise ValueError(
                "`loss` must take logits, which the model returns. "
                f"Received: {name}(from_logits=False); pass "
                f"keras.losses.{name}(from_logits=True)"
            )
        if activation != expected:
            raise ValueError(
                f"`loss` must be that of activation={activation!r}, which "
                "makes the model's scores: clips of one class take softmax, "
                "and clips of several take sigmoid. "
                f"Received: loss={name}"
            )
    return loss


def _names(kind):
    """What Keras takes for this loss besides an instance: names, functions."""
    snake = re.sub(r"(?<=[a-zL])(?=[A-Z])", "_", kind.__name__).lower()
    return kind.__name__, snake, getattr(keras.losses, snake)
