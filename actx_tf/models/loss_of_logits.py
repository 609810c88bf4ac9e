"""Losses and metrics of `compile`: none takes logits for probabilities."""

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
_OF_PROBABILITIES = (
    keras.losses.Dice,
    keras.losses.KLDivergence,
    keras.losses.Poisson,
    keras.losses.Tversky,
)
# What else Keras calls them. The first two are known to `compile` alone, which
# takes one of several by the shapes.
_ALIASES = {
    "ce": None,
    "crossentropy": None,
    "bce": keras.losses.BinaryCrossentropy,
    "kld": keras.losses.KLDivergence,
}
_METRICS = {
    keras.metrics.AUC: "from_logits=True",
    keras.metrics.BinaryAccuracy: "threshold=0.0",
    keras.metrics.BinaryCrossentropy: "from_logits=True",
    keras.metrics.CategoricalCrossentropy: "from_logits=True",
    keras.metrics.Precision: "thresholds=0.0",
    keras.metrics.Recall: "thresholds=0.0",
    keras.metrics.SparseCategoricalCrossentropy: "from_logits=True",
}
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
    if isinstance(loss, str) and loss.lower() in _ALIASES:
        kind = _ALIASES[loss.lower()]
        if kind is None:
            raise ValueError(
                "`loss` must say which cross-entropy it is, such as "
                f"'sparse_categorical_crossentropy'. Received: loss={loss!r}"
            )
        loss = kind.__name__
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


def check_metrics(metrics: Any) -> None:
    """Looks whether metrics that take probabilities would be given logits.

    Those that compare the largest logits, such as accuracy, or rank them, do
    not need to know.

    Args:
        metrics: What `compile` was given: names, functions,
            `keras.metrics.Metric`, or `None`; alone or as a list.

    Raises:
        ValueError: If one takes probabilities.
    """
    if not isinstance(metrics, (list, tuple)):
        metrics = [metrics]
    for metric in metrics:
        if isinstance(metric, (list, tuple)):
            check_metrics(metric)
            continue
        if isinstance(metric, str) and metric.lower() in _ALIASES:
            raise ValueError(
                "`metrics` must take logits, which the model returns. "
                f"Received: {metric!r}, which takes probabilities"
            )
        for kind, remedy in _METRICS.items():
            if metric in _metric_names(kind) or (
                isinstance(metric, kind) and not _takes_logits(metric)
            ):
                raise ValueError(
                    "`metrics` must take logits, which the model returns. "
                    f"Received: {kind.__name__}, which takes probabilities; "
                    f"pass keras.metrics.{kind.__name__}({remedy})"
                )


def _takes_logits(metric):
    config = metric.get_config()
    if config.get("from_logits"):
        return True
    # Logits are above 0 where scores are above 0.5.
    return config.get("threshold", config.get("thresholds")) in (0, 0.0, [0.0])


def _metric_names(kind):
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
    function = getattr(keras.metrics, snake, None)
    return tuple(x for x in (kind.__name__, snake, function) if x is not None)
