"""A network from clips to feature maps, with its description."""

import dataclasses
import re
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras

from actx_tf.backbones.description import BackboneDescription
from actx_tf.backbones.recomputation import recomputed
from actx_tf.backbones.state_dict import checksum
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor


@keras.saving.register_keras_serializable(package="actx_tf")
class Backbone(keras.Model):
    """A network from clips to feature maps that says what it sees.

    `InceptionI3D`, `I3DResNet34` and `MobileNetV2Clip` return one;
    `make_backbone` makes one of any other network.

    Args:
        network: A Keras layer or model from `(batch, frames, height, width,
            colors)` to `(batch, time, height, width, channels)`.
        description: What it sees, or what `to_dict` of that returned.

    Input shape:
        `(batch, frames, height, width, 3)`: RGB values in [0, 255]; or
        `(batch, frames, height, width, 2)`: flow in [-1, 1].

    Output shape:
        `(batch, time, height, width, channels)`.
    """

    def __init__(
        self,
        network: keras.layers.Layer,
        description: BackboneDescription | Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        if not isinstance(description, BackboneDescription):
            description = BackboneDescription.from_dict(description)
        kwargs.setdefault("name", layer_name(description.name))
        # The network casts: 255 shades are more than bfloat16 tells apart.
        super().__init__(autocast=False, **kwargs)
        self.network = network
        self.description = description
        self.built = network.built
        self._recomputed: Callable | None = None

    @property
    def input_shape(self) -> Shape:
        """Shape of what it takes, `None` where a size is free."""
        size = self.description.size
        sides = size if isinstance(size, tuple) else (None, None)
        return (None, None, *sides, self.description.colors)

    @property
    def export_obstacle(self) -> str | None:
        """Why a SavedModel cannot hold it, a sentence; `None` if it can.

        It is that of a layer of its own that has such an attribute.
        """
        for layer in self._flatten_layers(include_self=False):
            if getattr(layer, "export_obstacle", None):
                return layer.export_obstacle
        return None

    def name_by_weights(self) -> None:
        """Names the description by the weights as they are now.

        For a backbone that was trained: see `PairedModel`.
        """
        arrays = {
            str(i): keras.ops.convert_to_numpy(weight)
            for i, weight in enumerate(self.weights)
        }
        name = re.sub(r"_trained_\w{8}$", "", self.description.name)
        self.description = dataclasses.replace(
            self.description, name=f"{name}_trained_{checksum(arrays)}"
        )

    def recompute_activations(self) -> None:
        """Trains in less memory from now on, and slower.

        Of the activations few are kept; the others are computed again when
        gradients need them. It is not saved.

        Raises:
            ValueError: If the network is no functional Keras model, cannot be
                cut in parts, or would not do the same again: it must have no
                dropout, and its batch normalization must be frozen.
        """
        self._recomputed = recomputed(self.network)

    def call(self, clip: Tensor, training: bool | None = None) -> Tensor:
        if training and self._recomputed is not None:
            return self._recomputed(clip, training)
        return self.network(clip, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *sizes, _ = input_shape
        axes = (
            self.description.time,
            self.description.height,
            self.description.width,
        )
        counts = (a.count(n) for a, n in zip(axes, sizes, strict=True))
        return (batch, *counts, self.description.channels)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "description": self.description.to_dict(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Backbone":
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})


def layer_name(name: str) -> str:
    """What TensorFlow takes for the name of a layer."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip("_-") or "network"
