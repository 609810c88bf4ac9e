"""Masks of feature maps: True where a location is real."""

from keras import ops

from actx_tf.ops.device import is_on_gpu
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor


def broadcast_mask(mask: Tensor, shape: Shape) -> Tensor:
    """Broadcasts a mask over leading axes to `shape`, as booleans.

    A mask of shape `(batch, time)` holds for all of a step's locations.

    Args:
        mask: Booleans, or numbers that are not zero where True.
        shape: Shape of what is masked; its sizes can be tensors.

    Returns:
        Booleans of this shape.

    Raises:
        ValueError: If the mask has more axes than `shape`.
    """
    mask = ops.cast(mask, "bool")
    if len(mask.shape) > len(shape):
        raise ValueError(
            f"`mask` must have at most the rank {len(shape)} of what it masks. "
            f"Received: mask.shape={tuple(mask.shape)}"
        )
    for _ in range(len(shape) - len(mask.shape)):
        mask = ops.expand_dims(mask, -1)
    return ops.broadcast_to(mask, shape)


def zero_padding(features: Tensor, mask: Tensor) -> Tensor:
    """Puts zeros where a mask is False.

    On a CPU a copy of the features is made only where something is masked: it
    costs a tenth of a training step on stored similarities. On a GPU a branch
    makes a copy either way, and the step waits for it.

    Args:
        features: Numbers `(..., channels)`.
        mask: Booleans of all locations, `(...)`.

    Returns:
        Tensor of the shape of `features`.
    """

    def zeroed():
        return ops.where(mask[..., None], features, ops.zeros_like(features))

    if is_on_gpu():
        return zeroed()
    return ops.cond(ops.all(mask), lambda: features, zeroed)
