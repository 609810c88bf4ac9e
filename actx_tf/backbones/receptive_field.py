"""Where in a clip the locations of a backbone's feature map look."""

from collections.abc import Sequence

import numpy as np

from actx_tf.backbones.backbone import Backbone


def location_centers(
    backbone: Backbone,
    map_shape: Sequence[int],
    clip_shape: Sequence[int | None] = (None, None, None),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`BackboneDescription.centers` of what a backbone says of itself."""
    return backbone.description.centers(map_shape, clip_shape)
