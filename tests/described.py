"""Descriptions of backbones that make what a test needs."""

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
