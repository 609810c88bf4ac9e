"""Which layers of a backbone are trained, and how fast."""

from collections.abc import Sequence

import keras
import numpy as np

from actx_tf.backbones.backbone import Backbone
from actx_tf.models import PairedModel

_PARTS = 8  # of the trained layers, from the clip to the feature map


def choose_trained(backbone: Backbone, frozen: Sequence[str] = ()) -> None:
    """Trains all layers but batch normalization, and those that are named.

    Batch normalization keeps its statistics, too.

    Args:
        backbone: The backbone.
        frozen: What the names of layers begin with that are not trained.
            Defaults to none.

    Raises:
        ValueError: If no layer has such a name.
    """
    layers = _layers(backbone)
    for prefix in frozen:
        if not any(layer.name.startswith(prefix) for layer in layers):
            names = [layer.name for layer in layers]
            raise ValueError(
                "`frozen` must be what names of layers begin with, such as "
                f"{', '.join(names[:: max(1, len(names) // 4)])}. "
                f"Received: {prefix!r}"
            )
    backbone.trainable = True
    for layer in layers:
        layer.trainable = not (
            isinstance(layer, keras.layers.BatchNormalization)
            or layer.name.startswith(tuple(frozen))
        )


def make_optimizer(
    model: PairedModel,
    learning_rate: float,
    backbone_rate: float = 0.01,
    layer_decay: float = 1.0,
) -> keras.optimizers.Optimizer:
    """Makes Adam with a learning rate for the head and others for the backbone.

    Args:
        model: A model that is built, with a `Backbone`.
        learning_rate: Of all that is not in the backbone.
        backbone_rate: That of the backbone's last layers, as a share of it.
            Defaults to `0.01`.
        layer_decay: What the rate is multiplied by, from each eighth of the
            trained layers to the eighth before it. Defaults to `1`.

    Raises:
        ValueError: If a layer of the backbone has the name of another one.
    """
    layers = _layers(model.backbone)
    layers = [layer for layer in layers if layer.trainable_weights]
    # From the feature map on: of few layers, the last one has the whole rate.
    parts = np.array_split(np.arange(len(layers))[::-1], _PARTS)
    optimizers = {}
    rate = learning_rate * backbone_rate
    slow = None
    for part in parts:
        if slow is None or layer_decay != 1:
            slow = keras.optimizers.Adam(rate)
        rate *= layer_decay
        for place in part:
            for weight in layers[place].trainable_weights:
                optimizers[weight.path] = slow
    # Keras tells weights apart by their paths.
    paths = [weight.path for weight in model.trainable_weights]
    for path in optimizers:
        if paths.count(path) > 1:
            raise ValueError(
                "`backbone` must have no layer of the same name as another "
                f"one, or as one of the model's. Received: two of {path}"
            )
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.Adam(learning_rate), optimizers
        )
    )


def _layers(backbone):
    """The layers that have weights of their own, from the clip on."""
    layers = [
        layer
        for layer in backbone._flatten_layers(include_self=False)
        if layer.weights and not list(layer._flatten_layers(include_self=False))
    ]
    return layers[::-1]  # Keras lists those of a model within a model backwards
