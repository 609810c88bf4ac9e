"""The axes that a layer over maps takes."""

from collections.abc import Sequence


def validate_axis(axis: int | Sequence[int]) -> None:
    """Raises unless `axis` is an integer or a sequence of integers, not 0."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not axes or not all(isinstance(a, int) for a in axes) or 0 in axes:
        raise ValueError(
            "`axis` must be an integer or a sequence of integers without the "
            f"batch axis 0. Received: axis={axis}"
        )


def resolve_axis(axis: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Returns `axis` as a sorted tuple of axes in [1, ndim)."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    resolved = sorted({a + ndim if a < 0 else a for a in axes})
    if resolved[0] < 1 or resolved[-1] >= ndim or len(resolved) < len(axes):
        raise ValueError(
            f"`axis` must name different axes of an input of rank {ndim}, "
            f"without the batch axis 0. Received: axis={axis}"
        )
    return tuple(resolved)
