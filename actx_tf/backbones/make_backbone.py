"""Makes a backbone of any network."""

import dataclasses
import json
import math
import re
from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np

from actx_tf.backbones.adapted_network import AdaptedNetwork
from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.clip_settings import clip_settings
from actx_tf.backbones.description import Axis
from actx_tf.backbones.description import BackboneDescription
from actx_tf.backbones.probing import probe
from actx_tf.backbones.state_dict import checksum
from actx_tf.backbones.tracing import trace

# What a pixel of a frame takes in a network whose layers are not known: half as
# much again as a network of wide bottlenecks, such as R(2+1)D's.
_BYTES_PER_PIXEL = 500.0
_COLORS = {"rgb": 3, "flow": 2}
_MEASURED = ("time", "height", "width", "channels")


def make_backbone(
    network: keras.layers.Layer | Callable,
    *,
    frame_rate: float | None = None,
    num_frames: int | None = None,
    size: int | tuple[int, int] | None = None,
    stream: str = "rgb",
    flow_method: str | None = None,
    value_range: Sequence = (0.0, 255.0),
    layout: str = "channels_last",
    frame_by_frame: bool = False,
    tokens: tuple[int | None, int, int] | None = None,
    prefix_tokens: int = 0,
    input: str | None = None,
    output: str | int | None = None,
    name: str | None = None,
    bytes_per_pixel: float | None = None,
) -> Backbone:
    """Makes a backbone of any network from clips to feature maps.

    What its locations see is followed through the layers where they are known,
    and found from the network's answers to random clips otherwise: see "Traced
    or probed" in docs/backbones.md, also for what of it is approximate.

    A network of images runs over the frames of a clip, each for itself, with
    `frame_by_frame`. One that returns tokens, such as DINOv2, VideoMAE, V-JEPA
    or VideoPrism, becomes one of feature maps with `tokens`.

    Args:
        network: A Keras layer or model, or a function of a tensor; a backbone
            of a function cannot be saved.
        frame_rate: Frames per second that it should see. At most one of
            `frame_rate` and `num_frames` can be given; without both, it sees
            the frames of the file.
        num_frames: Number of frames that it should see of a clip, evenly over
            it. Defaults to that of the network's input, if that is fixed.
        size: (height, width) of the frames that it should see, or the length
            of their shorter side, where the aspect ratio is kept. Defaults to
            that of the network's input; where it is free, to that of the file.
        stream: `"rgb"` or `"flow"`. Defaults to `"rgb"`.
        flow_method: `"dis"` or `"tvl1"`, needed for flow.
        value_range: What the network takes for black and for white, each a
            number or one for each color: (-1, 1), (0, 1), or, where a mean is
            taken away and a deviation divided by, both of values in [0, 1],
            `(-mean / deviation, (1 - mean) / deviation)`. The backbone itself
            takes [0, 255], the default. Flow always is in [-1, 1].
        layout: Order of the axes of what the network takes and returns:
            `"channels_last"`, (batch, frames, height, width, channels), the
            default; `"channels_first"`, (batch, channels, frames, height,
            width); or `"frames_first"`, (batch, frames, channels, height,
            width). Frame by frame the same without the frames. Channels of
            tokens always are last.
        frame_by_frame: Whether the network takes images, (batch, height,
            width, colors). A step of the feature map then is a frame. Defaults
            to `False`.
        tokens: (time, height, width), how many of the tokens that the network
            returns lie along each axis. Its output is (batch, tokens,
            channels), of which those of the first step come first and, of
            them, those of the first row; or (batch, time, tokens, channels).
            Time can be `None`: as many as there are. Of images it is 1. Needs
            a `size` of height and width and, unless time is `None`,
            `num_frames`. Defaults to `None`: it returns feature maps.
        prefix_tokens: Number of class and register tokens that come before
            these and are dropped. Defaults to `0`.
        input: Key of the clip, for a network that takes a dictionary.
        output: Key or number of the feature map, or of the tokens, for a
            network that returns several tensors.
        name: Names the network and its weights, and so tells features made
            with it from others. Defaults to the network's name with a checksum
            of its weights.
        bytes_per_pixel: Memory that it needs for each pixel of each frame that
            it is shown at once. Defaults to what the inputs and outputs of a
            layer take; where the layers are not known, to 500.

    Returns:
        A `Backbone`.

    Raises:
        ValueError: If an argument is wrong, or the network makes no feature
            map of such clips.

    Example:

    ```python
    video = make_backbone(
        network,  # (batch, 16, 224, 224, 3) -> (batch, 1568, 768)
        num_frames=16,
        size=(224, 224),
        value_range=(-1, 1),
        tokens=(8, 14, 14),
    )
    images = make_backbone(
        vit,  # (batch, 224, 224, 3) -> (batch, 257, 768)
        frame_rate=4.0,
        size=(224, 224),
        frame_by_frame=True,
        tokens=(1, 16, 16),
        prefix_tokens=1,
    )
    ```
    """
    if isinstance(network, Backbone):
        raise ValueError(
            "`network` must not be a backbone already. "
            f"Received: network={network.name}"
        )
    if stream not in _COLORS:
        raise ValueError(
            f"`stream` must be one of {tuple(_COLORS)}. "
            f"Received: stream={stream!r}"
        )
    adapted = AdaptedNetwork(
        network,
        value_range=value_range,
        layout=layout,
        frame_by_frame=frame_by_frame,
        tokens=tokens,
        prefix_tokens=prefix_tokens,
        input_key=input,
        output_key=output,
    )
    if stream == "flow" and adapted.rescales:
        raise ValueError(
            "`value_range` cannot be given for flow, which always is in "
            f"[-1, 1]. Received: value_range={value_range}"
        )
    *shape, colors = adapted.clip_shape
    if colors not in (None, _COLORS[stream]):
        raise ValueError(
            f"`stream` must be what `network` takes. Received: stream={stream}"
            f", which has {_COLORS[stream]} channels, and a network of {colors}"
        )
    settings = clip_settings(
        shape, frame_rate=frame_rate, num_frames=num_frames, size=size
    )
    # A wrong argument is told before the network is run.
    draft = BackboneDescription(
        name=name or _name(adapted),
        channels=1,
        time=Axis(),
        height=Axis(),
        width=Axis(),
        stream=stream,
        flow_method=flow_method,
        bytes_per_pixel=bytes_per_pixel or _BYTES_PER_PIXEL,
        **settings,
    )
    seen = _seen_shape(draft)
    if tokens is not None:
        shape = _shape_of_tokens(shape, seen, tokens, frame_by_frame)
    measured = _trace(adapted, shape, stream)
    if measured is None:
        probed = probe(adapted.call, fixed=shape, seen=seen, stream=stream)
        measured = {name: getattr(probed, name) for name in _MEASURED}
    if bytes_per_pixel is not None:
        measured["bytes_per_pixel"] = bytes_per_pixel
    description = dataclasses.replace(draft, **measured)
    return Backbone(adapted if adapted.adapts else network, description)


def _seen_shape(description):
    """(frames, height, width) that it is shown, as far as it is known."""
    size = description.size
    sides = size if isinstance(size, tuple) else (None, None)
    return (description.num_frames, *sides)


def _shape_of_tokens(shape, seen, tokens, frame_by_frame):
    """(frames, height, width): what makes so many tokens."""
    frames, height, width = seen
    if height is None:
        raise ValueError(
            "`size` must be (height, width) of the frames that make `tokens`. "
            f"Received: tokens={tokens}, and no height and width"
        )
    if frame_by_frame or tokens[0] is None:
        return (shape[0], height, width)
    if frames is None:
        raise ValueError(
            "`num_frames` must be the number of frames that make `tokens`, or "
            f"their time None. Received: tokens={tokens}, num_frames=None"
        )
    return (frames, height, width)


def _trace(adapted, shape, stream):
    """What the layers tell, or `None` if they are not known."""
    if not isinstance(adapted.network, keras.layers.Layer):
        return None
    colors = _COLORS[stream]
    # Sizes at which paddings of all kinds differ.
    clip_shape = [
        size or some for size, some in zip(shape, (365, 511, 733), strict=True)
    ]
    try:
        *counts, channels = adapted.map_shape((*clip_shape, colors))
    except Exception:  # whatever the network raises
        return None
    traced = trace(adapted)
    if traced is None:
        return None
    axes = {"time": traced.time, "height": traced.height, "width": traced.width}
    # A layer may have told something that is not so.
    for axis, size, count in zip(
        axes.values(), clip_shape, counts, strict=True
    ):
        if axis.count(size) != count:
            return None
    features = 4.0 * channels
    features /= math.prod(axis.stride for axis in axes.values())
    taken = max(traced.bytes_per_pixel, features) + 4.0 * colors
    return {**axes, "channels": channels, "bytes_per_pixel": taken}


def _name(adapted):
    """The network's name, with a checksum of its weights and what adapts it."""
    network = adapted.network
    kind = getattr(network, "__name__", type(network).__name__)
    name = getattr(network, "name", kind)
    # Keras counts the networks of a process: that says nothing.
    counted = re.fullmatch(r"(.+)_\d+", name)
    if counted and counted[1].replace("_", "") == kind.lower():
        name = counted[1]
    arrays = {
        f"weight {i}": keras.ops.convert_to_numpy(weight)
        for i, weight in enumerate(getattr(network, "weights", []))
    }
    if adapted.adapts:
        text = json.dumps(adapted.options, sort_keys=True)
        arrays["options"] = np.frombuffer(text.encode(), "uint8")
    return f"{name}_{checksum(arrays)}" if arrays else name
