"""Where in a clip the locations of a backbone's feature map look."""

import re
from collections.abc import Sequence

import keras
import numpy as np

# Of each backbone, by what its name begins with, the layers that move the
# center of what a location sees, as (kernel, stride, padding before): those
# that stride, and those that see farther to one side. A padding of None is
# TensorFlow's "SAME", which depends on the size. Other layers see as far to
# both sides.
_LAYERS = {
    "inception_i3d": {
        "time": ((7, 2, None), (3, 2, None), (2, 2, None)),
        "space": ((7, 2, None), *[(3, 2, None)] * 3, (2, 2, None)),
    },
    "i3d_resnet34": {
        "time": ((7, 2, 3), (3, 2, 1), (3, 2, 1)),
        "space": ((7, 2, 3), *[(3, 2, 1)] * 4),
    },
    # Its steps are joined frames, each with its change to the next.
    "mobilenet_v2_clip": {
        "time": ((2, 1, 0), ("frames_per_step", "frames_per_step", 0)),
        "space": [(3, 2, None)] * 5,
    },
    "synthetic_backbone": {
        "time": ((2, 1, 0), (3, 2, None), (3, 2, None)),
        "space": [(3, 2, None)] * 3,
    },
}


def location_centers(
    backbone: keras.Model | str | None,
    map_shape: Sequence[int],
    clip_shape: Sequence[int | None] = (None, None, None),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The centers of what the locations of a feature map see.

    Location i of an axis sees the frames or pixels around `start + i *
    stride`, counted from 0. That is not the center of the i-th of equal
    cells: with I3D at even sizes the start is 23 pixels and 5 frames, where
    equal cells of 32 pixels and 8 frames would have 15.5 and 3.5.

    Args:
        backbone: The network that made the feature map, or its name, by which
            `InceptionI3D`, `I3DResNet34`, `MobileNetV2Clip` and that of the
            built-in data set are known. For any other, and `None`, the
            locations are taken as equal cells.
        map_shape: (time, height, width) of the feature map.
        clip_shape: (frames, height, width) of what the backbone saw. Each
            can be `None`, unknown: as much as the strides of the map cover,
            which is less than a stride too much.

    Returns:
        Three arrays, `(time,)`, `(height,)` and `(width,)`, as shares of the
        clip: 0 is its first edge and 1 its last, so that the center of pixel p
        of n is at (p + 0.5) / n. They hold for the clip at any other size or
        frame rate, too.

    Raises:
        ValueError: If a shape has not three sizes.
    """
    for name, shape in (("map_shape", map_shape), ("clip_shape", clip_shape)):
        if len(shape) != 3:
            raise ValueError(
                f"`{name}` must have three sizes: time, height and width. "
                f"Received: {name}={tuple(shape)}"
            )
    time, space = _layers_of(getattr(backbone, "name", backbone) or "")
    return tuple(
        _centers(layers, count, size)
        for layers, count, size in zip(
            (time, space, space), map_shape, clip_shape, strict=True
        )
    )


def _layers_of(name):
    """Returns the layers of time and of space; `None` for equal cells."""
    for prefix, layers in _LAYERS.items():
        if name.startswith(prefix):
            steps = re.search(r"_(\d+)f(?:_|$)", name)
            known = {"frames_per_step": int(steps[1]) if steps else 4}
            return tuple(
                [tuple(known.get(size, size) for size in layer) for layer in of]
                for of in (layers["time"], layers["space"])
            )
    return None, None


def _centers(layers, count, size):
    if layers is None:
        return (np.arange(count) + 0.5) / count
    if size is None:
        size = count * int(np.prod([stride for _, stride, _ in layers]))
    start, step, length = 0.0, 1, size
    for kernel, stride, before in layers:
        outputs = -(-length // stride)
        if before is None:
            padding = (outputs - 1) * stride + kernel - length
            before = max(padding, 0) // 2
        start += step * ((kernel - 1) / 2 - before)
        step *= stride
        length = outputs
    return (start + step * np.arange(count) + 0.5) / size
