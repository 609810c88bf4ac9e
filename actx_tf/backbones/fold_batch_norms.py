"""Folds batch normalization into the layers before it, for inference."""

import collections
from typing import TypeVar

import keras
import numpy as np
from keras import layers

from actx_tf.backbones.adapted_network import AdaptedNetwork
from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.max_pooling_3d import MaxPooling3D
from actx_tf.backbones.tracing import is_functional

Network = TypeVar("Network", bound=keras.layers.Layer)

# Each output channel is a product with weights of its own.
_PRODUCTS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
)
_OF_THE_TRAINING = ("_initializer", "_regularizer", "_constraint")
# 255 shades, less a mean, are more than bfloat16 tells apart.
_OF_THE_INPUT = (layers.Rescaling, layers.Normalization)


def fold_batch_norms(
    network: Network, dtype_policy: str | None = None
) -> Network:
    """Returns a network for inference, without its batch normalization.

    At inference batch normalization multiplies each channel and adds to it:
    so do the kernel and the bias of the convolution or dense layer before it,
    which can do both at once. Up to rounding the outputs are the same.

    It stays where it does not follow such a layer alone: where the layer has
    an activation, is used twice, or something else sees its output too. Models
    within the model are folded, too.

    Args:
        network: A functional or sequential model, or a backbone of one. Any
            other is returned as it is.
        dtype_policy: Policy of Keras' own layers, such as `"mixed_bfloat16"`.
            `Rescaling` and `Normalization` then compute in float32, and layers
            of your own as they did. Defaults to `None`: all do.

    Returns:
        A network with weights of its own: what is trained later does not
        change it. It is `network` itself if nothing is changed in it. Do not
        train it.

    Raises:
        ValueError: If `dtype_policy` is given, and no layer can follow it.

    Example:

    ```python
    faster = fold_batch_norms(backbone, "mixed_bfloat16")
    features = faster(clip)
    ```
    """
    copier = _Copier(dtype_policy)
    copy = copier.copy(network)
    if copier.changes:
        return copy
    if dtype_policy is not None and not _computes_in(dtype_policy, network):
        raise ValueError(
            "`network` must be a functional or sequential model with layers of "
            f"Keras' own, to compute in {dtype_policy}. "
            f"Received: network={network.name}"
        )
    return network


def _computes_in(dtype_policy, network):
    dtype = keras.DTypePolicy(dtype_policy).compute_dtype
    weighted = [
        layer
        for layer in network._flatten_layers(include_self=False)
        if layer.weights
    ]
    return bool(weighted) and all(
        layer.compute_dtype == dtype for layer in weighted
    )


class _Copier:
    def __init__(self, policy):
        self.changes = 0
        self._policy = policy

    def copy(self, network):
        """Returns a copy; the network itself if its layers are not known."""
        if type(network) is Backbone:
            inner = self.copy(network.network)
            return Backbone(inner, network.description, name=network.name)
        if type(network) is AdaptedNetwork:
            inner = self.copy(network.network)
            return AdaptedNetwork(inner, **network.options, name=network.name)
        if type(network) is keras.Sequential and network.built:
            (clip,), (made,) = network.inputs, network.outputs
            network = keras.Model(clip, made, name=network.name)
        return self._copy_graph(network) if is_functional(network) else network

    def _copy_graph(self, model):
        # What stands before each normalization that goes.
        products = _products_before(model)
        self.changes += len(products)
        copies = {}

        def copied(layer):
            if layer not in products:
                folded = layer in products.values()
                copies[layer] = self._copy_layer(layer, folded)
            return copies.get(layer, layer)

        def called(layer, *args, **kwargs):
            return args[0] if layer in products else layer(*args, **kwargs)

        copy = keras.models.clone_model(
            model, clone_function=copied, call_function=called
        )
        for layer, other in copies.items():
            is_copy = other is not layer and not _is_model(layer)
            if is_copy and layer not in products.values():
                other.set_weights(layer.get_weights())
        for normalization, product in products.items():
            _assign(copies[product], product, normalization)
        return copy

    def _copy_layer(self, layer, folded):
        if _is_model(layer):
            return self.copy(layer)
        kind = type(layer)
        # What other layers need to be copied is not known: they are shared.
        if not isinstance(
            layer, layers.Layer
        ) or not kind.__module__.startswith(("keras.", "actx_tf.")):
            return layer
        config = layer.get_config()
        if folded:
            config = {
                key: value
                for key, value in config.items()
                if not key.endswith(_OF_THE_TRAINING)
            } | {"use_bias": True}
        follows = self._policy is not None and _can_follow(kind)
        if follows:
            policy = "float32" if kind in _OF_THE_INPUT else self._policy
            config["dtype"] = policy
        try:
            copy = kind.from_config(config)
        except Exception:  # it holds a function, which Keras does not load
            return layer
        self.changes += follows and layer.dtype_policy.name != policy
        return copy


def _is_model(layer):
    return type(layer) is keras.Sequential or is_functional(layer)


def _can_follow(kind):
    """Whether a kind of layer computes in any dtype that it is given."""
    return kind.__module__.startswith("keras.") or kind is MaxPooling3D


def _products_before(model):
    """{batch normalization: the layer that it can be folded into}."""
    nodes = [
        node
        for group in model._nodes_by_depth.values()
        for node in group
        if not node.is_input
    ]
    uses = collections.Counter(node.operation for node in nodes)
    seen = collections.Counter(
        id(tensor) for node in nodes for tensor in node.input_tensors
    )
    seen.update(id(tensor) for tensor in model.outputs)
    found = {}
    for node in nodes:
        layer = node.operation
        if type(layer) is not layers.BatchNormalization:
            continue
        (tensor,) = node.input_tensors
        product = tensor._keras_history.operation
        arguments = node.arguments
        if (
            type(product) in _PRODUCTS
            and product.activation is keras.activations.linear
            and uses[layer] == uses[product] == seen[id(tensor)] == 1
            and _axis(layer, tensor) == _axis_of_channels(product, tensor)
            and not _is_adapted(product)
            # A call may ask for the statistics of the batch.
            and len(arguments.args) == 1
            and not arguments.kwargs.get("training")
        ):
            found[layer] = product
    return found


def _axis(normalization, tensor):
    return normalization.axis % len(tensor.shape)


def _axis_of_channels(product, tensor):
    if getattr(product, "data_format", None) == "channels_first":
        return 1
    return len(tensor.shape) - 1


def _is_adapted(product):
    """Whether its kernel is not, or not all, what it multiplies by."""
    return bool(
        getattr(product, "lora_enabled", False)
        or getattr(product, "quantization_mode", None)
    )


def _assign(copy, product, normalization):
    """Gives a layer the weights of a product and its normalization."""

    def values(variable, default):
        if variable is None:
            return np.float64(default)
        return np.asarray(keras.ops.convert_to_numpy(variable), "float64")

    factor = values(normalization.gamma, 1.0) / np.sqrt(
        values(normalization.moving_variance, 1.0) + normalization.epsilon
    )
    shift = values(product.bias, 0.0) - values(normalization.moving_mean, 0.0)
    kernel = values(product.kernel, 1.0)
    depthwise = isinstance(
        product, (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
    )
    # Its last two axes are those of the channels.
    per_channel = factor.reshape(kernel.shape[-2:]) if depthwise else factor
    copy.kernel.assign(kernel * per_channel)
    copy.bias.assign(values(normalization.beta, 0.0) + shift * factor)
