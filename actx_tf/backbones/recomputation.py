"""Runs a network so that its activations are computed again for gradients."""

import inspect
import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from actx_tf.ops.types import Tensor

# A tensor is kept if at least so many times its size was computed for it.
_LEAST_GAIN = 5
_SIZES = (1, 64, 224, 224)  # of a clip, where the network takes any


def recomputed(
    network: keras.layers.Layer,
) -> Callable[[Tensor, bool | None], Tensor]:
    """Returns a function that does what a network does, in less memory.

    The network is cut where a single tensor carries all that is known of the
    clip. Only these tensors are kept; what lies between two of them is computed
    again when gradients need it.

    Args:
        network: A functional or sequential model, also of such models.

    Returns:
        A function of a clip and of `training`.

    Raises:
        ValueError: If it is another network, cannot be cut, or would not be the
            same again: if it has random layers, or batch normalization that is
            trained.
    """
    if not _is_graph(network) or len(network.inputs) != 1:
        raise ValueError(
            "`network` must be a functional Keras model, to have its "
            f"activations computed again. Received: {network.name}, "
            f"{type(network).__name__}"
        )
    for layer in network._flatten_layers():
        if _differs_again(layer):
            raise ValueError(
                "`network` must do the same twice, to have its activations "
                f"computed again. Received: {network.name}, with the layer "
                f"{layer.name}, {type(layer).__name__}"
            )
    source = id(network.inputs[0])
    parts = _cut(list(_steps(network)), network)
    if len(parts) < 2:
        raise ValueError(
            "`network` must have tensors that carry all that is known of the "
            "clip, to have its activations computed again. "
            f"Received: {network.name}"
        )

    def run(clip, training=None):
        clip = ops.cast(clip, "float32")  # whole numbers have no gradient
        name, value = source, clip
        for part in parts:
            value = _run_again(part, source, clip, name, value, training)
            name = part[-1].outputs[0]
        return value

    return run


class _Step(NamedTuple):
    """A layer at work, or tensors that get other names.

    Attributes:
        node: The layer and its arguments; `None`: other names.
        inputs: Names of what it takes.
        outputs: Names of what it makes.
    """

    node: Any
    inputs: Sequence[int]
    outputs: Sequence[int]

    def run(self, known: dict[int, Any], apply: Callable[..., Any]) -> None:
        """Adds the outputs to the tensors that are known."""
        made = [known[name] for name in self.inputs]
        if self.node is not None:
            args, kwargs = self.node.arguments.fill_in(known)
            made = keras.tree.flatten(
                apply(self.node.operation, *args, **kwargs)
            )
        known |= dict(zip(self.outputs, made, strict=True))


def _run_again(part, source, clip, name, value, training):
    """Runs a part of the steps, and once more when gradients are needed."""

    def apply(layer, *args, **kwargs):
        # Keras tells it to layers, but not when they are run again.
        if "training" in inspect.signature(layer.call).parameters:
            kwargs["training"] = training
        return layer(*args, **kwargs)

    def run(value, clip):
        known = {source: clip, name: value}
        for step in part:
            step.run(known, apply)
        return known[part[-1].outputs[0]]

    return keras.remat(run)(value, clip)


def _is_graph(network):
    """Whether its `call` runs through a graph of layers."""
    call = getattr(type(network), "call", None)
    name = getattr(call, "__qualname__", "")
    return name in ("Functional.call", "Sequential.call") and network.built


def _differs_again(layer):
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.trainable
    rates = [getattr(layer, name, None) for name in ("rate", "stddev")]
    return hasattr(layer, "seed_generator") and 0 not in rates


def _steps(network) -> Iterator[_Step]:
    """The steps of a network, those of models within it in their places."""
    if isinstance(network, keras.Sequential):
        network = keras.Model(network.inputs, network.outputs)
    # As Keras itself runs through the graph.
    for _, nodes in sorted(network._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            if node.is_input:
                continue
            inputs = list(map(id, node.input_tensors))
            outputs = list(map(id, node.outputs))
            inner = node.operation
            if _is_graph(inner):
                yield _Step(None, inputs, list(map(id, inner.inputs)))
                yield from _steps(inner)
                yield _Step(None, list(map(id, inner.outputs)), outputs)
            else:
                yield _Step(node, inputs, outputs)


def _cut(steps, network):
    """Cuts the steps where one tensor is all that the next ones need."""
    source, target = id(network.inputs[0]), id(network.outputs[0])
    last_use = {target: len(steps)}
    for place, step in enumerate(steps):
        last_use |= dict.fromkeys(step.inputs, place)
    last_use[target] = len(steps)
    shape = network.inputs[0].shape
    sizes = zip(shape, (*_SIZES, None), strict=True)
    specs = {source: keras.KerasTensor([x or y for x, y in sizes])}
    parts, part, computed, alive = [], [], 0.0, set()
    for place, step in enumerate(steps):
        step.run(specs, lambda op, *a, **k: op.compute_output_spec(*a, **k))
        part.append(step)
        if step.node is not None:
            computed += sum(_size(specs[name]) for name in step.outputs)
        alive |= set(step.outputs)
        alive = {name for name in alive if last_use.get(name, -1) > place}
        if alive != {step.outputs[0]}:
            continue
        is_last = place == len(steps) - 1
        if is_last or computed >= _LEAST_GAIN * _size(specs[step.outputs[0]]):
            parts.append(part)
            part, computed = [], 0.0
    return parts


def _size(spec):
    return math.prod(spec.shape)
