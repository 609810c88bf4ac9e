"""Descriptions of backbones that make what a test needs."""

import keras

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.description import Axis
from actx_tf.backbones.description import BackboneDescription


def describe(
    name="net", channels=5, frames_per_step=4, receptive_radius=0, **arguments
):
    """Steps of some frames that see as many more to both sides.

    Locations of 8 by 8 pixels.
    """
    kernel = frames_per_step + 2 * receptive_radius
    return BackboneDescription(
        name,
        channels,
        Axis(((kernel, frames_per_step, receptive_radius),)),
        Axis(((8, 8, 0),)),
        Axis(((8, 8, 0),)),
        **arguments,
    )


def whole_backbone(**arguments):
    """Steps of two frames of 48 by 48 pixels, each of which sees all the clip.

    A pixel takes 100 bytes.
    """
    network = keras.Sequential(
        [
            keras.Input((None, 48, 48, 3)),
            keras.layers.AveragePooling3D((2, 48, 48)),
            keras.layers.Lambda(
                lambda x: x - keras.ops.mean(x, axis=1, keepdims=True)
            ),
        ]
    )
    time, space = (
        Axis(((size, size, 0),), sees_all=size == 2) for size in (2, 48)
    )
    description = BackboneDescription(
        "sees all", 3, time, space, space, bytes_per_pixel=100.0, **arguments
    )
    return Backbone(network, description)
