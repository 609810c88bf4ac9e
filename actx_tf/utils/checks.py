"""What arguments must be; an error says so of those that are not."""

import math
import numbers
from typing import Any

from actx_tf.ops.types import Shape


def check_positive(name: str, value: int) -> None:
    """Raises a `ValueError` unless the value is an integer above 0."""
    if not is_number(value, numbers.Integral) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value!r}"
        )


def check_above_zero(name: str, value: float, unit: str = "") -> None:
    """Raises a `ValueError` unless the value is a finite number above 0."""
    if not (is_number(value) and 0 < value < math.inf):
        of = f" ({unit})" if unit else ""
        raise ValueError(
            f"`{name}` must be positive and finite{of}. "
            f"Received: {name}={value!r}"
        )


def check_share(name: str, value: float, above_zero: bool = False) -> None:
    """Raises a `ValueError` unless the value is in [0, 1], or in (0, 1]."""
    interval = "(0, 1]" if above_zero else "[0, 1]"
    if not (is_number(value) and 0 <= value <= 1) or above_zero and not value:
        raise ValueError(
            f"`{name}` must be in {interval}. Received: {name}={value!r}"
        )


def check_not_negative(name: str, value: float) -> None:
    """Raises a `ValueError` unless the value is a finite number >= 0."""
    if not (is_number(value) and value >= 0 and math.isfinite(value)):
        raise ValueError(
            f"`{name}` must be a finite number >= 0. Received: {name}={value!r}"
        )


def check_number(name: str, value: float) -> None:
    """Raises a `ValueError` unless the value is a number, and not NaN."""
    if not is_number(value) or value != value:
        raise ValueError(
            f"`{name}` must be a number. Received: {name}={value!r}"
        )


def check_rate(name: str, value: float) -> None:
    """Raises `ValueError` unless the value is a number in [0, 1)."""
    if not is_number(value) or not 0 <= value < 1:
        raise ValueError(
            f"`{name}` must be a number in [0, 1). Received: {name}={value}"
        )


def is_number(value: Any, kind: type = numbers.Real) -> bool:
    """Whether the value is a number, of the kind, and no boolean."""
    return isinstance(value, kind) and not isinstance(value, bool)


def check_feature_map(
    name: str, shape: Shape, known_channels: bool = False
) -> None:
    """Raises a `ValueError` unless the shape is that of a feature map.

    Args:
        name: Name of the argument that has the shape.
        shape: The shape.
        known_channels: Whether the number of channels must be known. Defaults
            to `False`.
    """
    if len(shape) != 5 or (known_channels and shape[-1] is None):
        known = " with a known number of channels" if known_channels else ""
        raise ValueError(
            f"`{name}` must have the shape (batch, time, height, width, "
            f"channels){known}. Received: {name}.shape={tuple(shape)}"
        )
