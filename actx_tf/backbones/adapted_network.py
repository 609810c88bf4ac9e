"""Any network from clips, as one from RGB values to feature maps."""

from collections.abc import Callable
from collections.abc import Sequence

import keras
from keras import ops

# Where the frames, rows, columns and colors of a clip are in what it takes.
_LAYOUTS = {
    "channels_last": (0, 1, 2, 3, 4),
    "channels_first": (0, 4, 1, 2, 3),
    "frames_first": (0, 1, 4, 2, 3),
}
LAYOUTS = tuple(_LAYOUTS)


@keras.saving.register_keras_serializable(package="actx_tf")
class AdaptedNetwork(keras.layers.Layer):
    """A network with what lies between it and a backbone's input and output.

    See `make_backbone`, which makes it, for the arguments.

    Args:
        network: A Keras layer or model, or a function of a tensor.
        value_range: What it takes for black and white; `None` for the values
            as they are.
        layout: Order of the axes of what it takes and returns.
        frame_by_frame: Whether it takes images.
        tokens: (time, height, width) of the tokens that it returns.
        prefix_tokens: Number of tokens before these.
        input: Key of the clip, if it takes a dictionary.
        output: Key of the feature map, if it returns several tensors.

    Input shape:
        `(batch, frames, height, width, colors)`.

    Output shape:
        `(batch, time, height, width, channels)`.
    """

    def __init__(
        self,
        network: keras.layers.Layer | Callable,
        value_range: Sequence | None = None,
        layout: str = "channels_last",
        frame_by_frame: bool = False,
        tokens: Sequence[int | None] | None = None,
        prefix_tokens: int = 0,
        input: str | None = None,
        output: str | int | None = None,
        **kwargs,
    ):
        # The network casts: 255 shades are more than bfloat16 tells apart.
        super().__init__(autocast=False, **kwargs)
        self.network = network
        self.value_range = value_range
        self.layout = layout
        self.frame_by_frame = frame_by_frame
        self.tokens = tokens
        self.prefix_tokens = prefix_tokens
        self.input_key = input
        self.output_key = output
        self.built = getattr(network, "built", True)

    def call(self, clip):
        x = ops.cast(clip, "float32")
        if self.value_range is not None:
            black, white = (
                ops.convert_to_tensor(value, "float32")
                for value in self.value_range
            )
            x = x * ((white - black) / 255) + black
        order = _LAYOUTS[self.layout]
        if self.frame_by_frame:
            x = ops.reshape(x, (-1, *ops.shape(x)[2:]))
            # As of a clip, without the frames.
            order = [axis - (axis > 1) for axis in order if axis != 1]
        x = ops.transpose(x, order)
        y = self.network(x if self.input_key is None else {self.input_key: x})
        y = self._pick(y)
        if self.tokens is not None:
            y = self._to_map(y)
        else:
            self._check(y, len(order))
            y = ops.transpose(y, [order.index(i) for i in range(len(order))])
        if self.frame_by_frame:
            if len(y.shape) == 5:
                y = y[:, 0]
            y = ops.reshape(y, (-1, ops.shape(clip)[1], *ops.shape(y)[1:]))
        return y

    def _pick(self, outputs):
        if isinstance(outputs, dict):
            choice = sorted(outputs)
        elif isinstance(outputs, (list, tuple)):
            choice = list(range(len(outputs)))
        else:
            if self.output_key is not None:
                raise ValueError(
                    "`output` must be None for a network that returns one "
                    f"tensor. Received: output={self.output_key!r}"
                )
            return outputs
        if self.output_key not in choice:
            raise ValueError(
                "`output` must say which of the network's outputs is the "
                f"feature map: one of {choice}. "
                f"Received: output={self.output_key!r}"
            )
        return outputs[self.output_key]

    def _check(self, features, rank):
        if len(features.shape) == rank:
            return
        expected = {
            5: "a feature map (batch, time, height, width, channels)",
            4: "a feature map (batch, height, width, channels) of each frame",
        }[rank]
        raise ValueError(
            f"`network` must make {expected}, or tokens (batch, tokens, "
            "channels): then `tokens` must say how many of them lie in time, "
            "height and width, and `prefix_tokens` how many come before. "
            f"Received: an output of the shape {tuple(features.shape)}"
        )

    def _to_map(self, tokens):
        shape = tuple(tokens.shape)
        expected = None
        if None not in self.tokens:
            expected = self.prefix_tokens
            expected += self.tokens[0] * self.tokens[1] * self.tokens[2]
        if len(shape) != 3 or (
            None not in (shape[1], expected) and shape[1] != expected
        ):
            raise ValueError(
                "`tokens` must be (time, height, width) of the network's "
                "output (batch, tokens, channels) after its `prefix_tokens`. "
                f"Received: tokens={tuple(self.tokens)}, "
                f"prefix_tokens={self.prefix_tokens}, and an output of the "
                f"shape {shape}"
            )
        sizes = [-1 if size is None else size for size in self.tokens]
        tokens = tokens[:, self.prefix_tokens :]
        batch, _, channels = ops.shape(tokens)
        return ops.reshape(tokens, (batch, *sizes, channels))

    def get_config(self):
        if not isinstance(self.network, keras.layers.Layer):
            raise ValueError(
                "a backbone of a function cannot be saved: make it of a Keras "
                f"layer or model. Received: network={self.network}"
            )
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "value_range": self.value_range,
            "layout": self.layout,
            "frame_by_frame": self.frame_by_frame,
            "tokens": self.tokens,
            "prefix_tokens": self.prefix_tokens,
            "input": self.input_key,
            "output": self.output_key,
        }

    @classmethod
    def from_config(cls, config):
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})
