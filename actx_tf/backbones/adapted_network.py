"""Any network from clips, as one from RGB values to feature maps."""

import numbers
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor

# Which axes of a clip (batch, frames, height, width, colors) it takes, in turn.
_LAYOUTS = {
    "channels_last": (0, 1, 2, 3, 4),
    "channels_first": (0, 4, 1, 2, 3),
    "frames_first": (0, 1, 4, 2, 3),
}


class AdaptationError(ValueError):
    """What a network returns is not what the arguments say."""


@keras.saving.register_keras_serializable(package="actx_tf")
class AdaptedNetwork(keras.layers.Layer):
    """A network, and what lies between it and a backbone's input and output.

    `make_backbone` makes it, which see for the arguments.

    Args:
        network: A Keras layer or model, or a function of a tensor.
        value_range: What it takes for black and white, each a number or one
            for each color. Defaults to `(0.0, 255.0)`, the values as they are.
        layout: Order of the axes of what it takes and returns.
        frame_by_frame: Whether it takes images.
        tokens: (time, height, width) of the tokens that it returns.
        prefix_tokens: Number of tokens before these.
        input_key: Key of the clip, if it takes a dictionary.
        output_key: Key or number of the feature map, if it returns several
            tensors.

    Input shape:
        `(batch, frames, height, width, colors)`.

    Output shape:
        `(batch, time, height, width, channels)`.
    """

    def __init__(
        self,
        network: keras.layers.Layer | Callable,
        value_range: Sequence = (0.0, 255.0),
        layout: str = "channels_last",
        frame_by_frame: bool = False,
        tokens: Sequence[int | None] | None = None,
        prefix_tokens: int = 0,
        input_key: str | None = None,
        output_key: str | int | None = None,
        **kwargs: Any,
    ) -> None:
        # The network casts: 255 shades are more than bfloat16 tells apart.
        super().__init__(autocast=False, **kwargs)
        _check_layout(layout)
        _check_tokens(tokens, prefix_tokens, frame_by_frame)
        self.network = network
        self.value_range = _plain_range(value_range)
        self.layout = layout
        self.frame_by_frame = frame_by_frame
        self.tokens = tokens
        self.prefix_tokens = prefix_tokens
        self.input_key = input_key
        self.output_key = output_key
        self.built = getattr(network, "built", True)

    def call(self, clip: Tensor) -> Tensor:
        x = ops.cast(clip, "float32")
        if self.rescales:
            black, white = (
                ops.convert_to_tensor(value, "float32")
                for value in self.value_range
            )
            x = x * ((white - black) / 255) + black
        if self.frame_by_frame:
            x = ops.reshape(x, (-1, *ops.shape(x)[2:]))
        x = ops.transpose(x, self._order)
        y = self.network(x if self.input_key is None else {self.input_key: x})
        y = self._pick(y)
        if self.tokens is not None:
            y = self._to_map(y)
        else:
            self._check_rank(y)
            order = self._order
            y = ops.transpose(y, [order.index(i) for i in range(len(order))])
        if self.frame_by_frame:
            frames = ops.shape(clip)[1]
            y = ops.reshape(y, (-1, frames, *ops.shape(y)[-3:]))
        return y

    @property
    def rescales(self) -> bool:
        """Whether the network takes other values than [0, 255]."""
        return self.value_range != [0.0, 255.0]

    @property
    def adapts(self) -> bool:
        """Whether it does anything that the network alone does not do."""
        plain = AdaptedNetwork(self.network)
        is_layer = isinstance(self.network, keras.layers.Layer)
        return not is_layer or self.options != plain.options

    @property
    def options(self) -> dict[str, Any]:
        """The arguments but the network."""
        return {
            "value_range": self.value_range,
            "layout": self.layout,
            "frame_by_frame": self.frame_by_frame,
            "tokens": self.tokens,
            "prefix_tokens": self.prefix_tokens,
            "input_key": self.input_key,
            "output_key": self.output_key,
        }

    @property
    def clip_shape(self) -> Shape:
        """(frames, height, width, colors) that the network's input says.

        `None` where it says nothing.

        Raises:
            ValueError: If it takes no clips, or no images frame by frame.
        """
        shape = getattr(self.network, "input_shape", None)
        if isinstance(shape, dict):
            shape = shape.get(self.input_key)
        if not isinstance(shape, tuple) or isinstance(shape[0], (tuple, list)):
            return (None,) * 4
        order = self._order
        if len(shape) != len(order):
            expected = "images" if self.frame_by_frame else "clips"
            raise ValueError(
                f"`network` must take {expected}, of {len(order)} axes with "
                "the batch; one of images needs `frame_by_frame`. "
                f"Received: an input of the shape {shape}"
            )
        _, *sizes = (shape[order.index(i)] for i in range(len(order)))
        return (None, *sizes) if self.frame_by_frame else tuple(sizes)

    def map_shape(self, clip_shape: Shape) -> Shape:
        """(time, height, width, channels) that it makes of a clip's shape."""
        shape = (1, *clip_shape)
        network: Any = self.network
        if self.built and not self.adapts:  # layer by layer, which is fast
            return tuple(network.compute_output_shape(shape)[1:])
        clip = keras.KerasTensor(shape, "float32")
        return tuple(self.compute_output_spec(clip).shape[1:])

    @property
    def _order(self):
        order = _LAYOUTS[self.layout]
        if not self.frame_by_frame:
            return list(order)
        return [axis - (axis > 1) for axis in order if axis != 1]

    def _pick(self, outputs):
        key = self.output_key
        if isinstance(outputs, dict):
            keys = sorted(outputs)
        elif isinstance(outputs, (list, tuple)):
            keys = list(range(len(outputs)))
        elif key is None:
            return outputs
        else:
            keys = [None]
        if key not in keys:
            raise AdaptationError(
                f"`output` must be one of {keys}, which of the network's "
                f"outputs is the feature map. Received: output={key!r}"
            )
        return outputs[key]

    def _check_rank(self, features):
        if len(features.shape) == len(self._order):
            return
        of_each = " of each frame" if self.frame_by_frame else ""
        raise AdaptationError(
            f"`network` must make a feature map of {len(self._order)} axes"
            f"{of_each}, or tokens; then `tokens` must say how many of them "
            "lie along time, height and width, and `prefix_tokens` how many "
            "come before. "
            f"Received: an output of the shape {tuple(features.shape)}"
        )

    def _to_map(self, tokens):
        shape = tuple(tokens.shape)
        time, height, width = self.tokens
        # The tokens of a clip, or of each of its steps.
        expected = {
            3: (None if time is None else time * height * width,),
            4: (time, height * width),
        }.get(len(shape), ())
        found = [size or None for size in shape[1:-1]]
        if found and found[-1] is not None:
            found[-1] -= self.prefix_tokens
        if not expected or any(
            None not in pair and len(set(pair)) > 1
            for pair in zip(found, expected, strict=True)
        ):
            raise AdaptationError(
                "`tokens` must be (time, height, width) of the network's "
                "output, (batch, tokens, channels) or (batch, time, tokens, "
                "channels), after `prefix_tokens`. "
                f"Received: tokens={tuple(self.tokens)}, "
                f"prefix_tokens={self.prefix_tokens}, and an output of the "
                f"shape {shape}"
            )
        tokens = tokens[..., self.prefix_tokens :, :]
        sizes = (-1 if time is None else time, height, width)
        batch, *_, channels = ops.shape(tokens)
        return ops.reshape(tokens, (batch, *sizes, channels))

    def get_config(self) -> dict[str, Any]:
        if not isinstance(self.network, keras.layers.Layer):
            raise ValueError(
                "A backbone of a function cannot be saved: `network` must be "
                f"a Keras layer or model. Received: network={self.network}"
            )
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            **self.options,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AdaptedNetwork":
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})


def _plain_range(value_range):
    """Black and white, as numbers or lists that JSON can hold."""
    received = f"Received: value_range={value_range!r}"
    try:
        black, white = (np.asarray(value, "float64") for value in value_range)
        differ = (black != white) & np.isfinite(black) & np.isfinite(white)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`value_range` must be what the network takes for black and for "
            f"white, each a number or one for each color. {received}"
        ) from error
    if differ.shape not in ((), (3,)) or not differ.all():
        raise ValueError(
            "`value_range` must be two different finite values, each a number "
            f"or one for each of the three colors. {received}"
        )
    return [black.tolist(), white.tolist()]


def _check_layout(layout):
    if layout not in _LAYOUTS:
        raise ValueError(
            f"`layout` must be one of {tuple(_LAYOUTS)}. "
            f"Received: layout={layout!r}"
        )


def _check_tokens(tokens, prefix_tokens, frame_by_frame):
    if not _is_count(prefix_tokens, 0) or (prefix_tokens and tokens is None):
        raise ValueError(
            "`prefix_tokens` must be a whole number >= 0, and 0 without "
            f"`tokens`. Received: prefix_tokens={prefix_tokens}"
        )
    if tokens is None:
        return
    if (
        not isinstance(tokens, (tuple, list))
        or len(tokens) != 3
        or not (tokens[0] is None or _is_count(tokens[0], 1))
        or not all(_is_count(count, 1) for count in tokens[1:])
    ):
        raise ValueError(
            "`tokens` must be (time, height, width), whole numbers, of which "
            f"time may be None. Received: tokens={tokens}"
        )
    if frame_by_frame and tokens[0] != 1:
        raise ValueError(
            "`tokens` of images must be (1, height, width). "
            f"Received: tokens={tokens}"
        )


def _is_count(value, least):
    return isinstance(value, numbers.Integral) and value >= least
