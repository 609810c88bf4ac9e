"""How the locations of a feature map see a clip, from the network's layers."""

import dataclasses
import math
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from actx_tf.backbones.adapted_network import AdaptedNetwork
from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.description import Axis
from actx_tf.backbones.max_pooling_3d import MaxPooling3D

AXES = ("time", "height", "width")


@dataclasses.dataclass(frozen=True)
class Trace:
    """What the layers of a network tell of it.

    Attributes:
        time: How the steps of the feature map see the frames of a clip.
        height: How its rows see the rows of a frame.
        width: How its columns see the columns of a frame.
        bytes_per_pixel: The most that the inputs and the outputs of a layer
            take together, for each pixel of each frame.
    """

    time: Axis
    height: Axis
    width: Axis
    bytes_per_pixel: float


def trace(network: keras.layers.Layer) -> Trace | None:
    """Follows the layers of a network from the clip to the feature map.

    Known are Keras' convolutions, poolings, paddings, croppings and what sees
    one place alone, and functional and sequential models of them, nested or
    not. Any other layer can tell it by a method `receptive_stages()`: a
    dictionary from `"time"`, `"height"` and `"width"` to the stages (see
    `Axis`) that it adds to what its first input sees. If its output has five
    axes, they are those of a clip; if it has four, the frames lie in the
    batch.

    Args:
        network: From `(batch, frames, height, width, colors)` to a feature
            map `(batch, time, height, width, channels)`.

    Returns:
        A `Trace`, or `None` if a layer is not known.
    """
    tracer = _Tracer()
    clip = _Seen(dict.fromkeys(AXES, Axis()), AXES)
    try:
        (features,) = tracer.apply(network, [clip])
    except _Unknown:
        return None
    if features.places != AXES or None in features.axes.values():
        return None
    return Trace(**features.axes, bytes_per_pixel=tracer.most_bytes)


class _Unknown(Exception):
    """A layer of which it is not known what it sees."""


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What the entries of a tensor see of a clip.

    Attributes:
        axes: Of each axis of the clip; `None` where it is pooled as a whole.
        places: The axes of the tensor between the batch and the channels.
        in_batch: The axes of the clip that lie in the batch.
    """

    axes: Mapping[str, Axis | None]
    places: tuple[str, ...]
    in_batch: tuple[str, ...] = ()

    def with_stages(self, stages: Mapping[str, Sequence[tuple]]) -> "_Seen":
        axes = dict(self.axes)
        for name, more in stages.items():
            for stage in more:
                axis = axes[name]
                axes[name] = axis and axis.then(*stage)
        return dataclasses.replace(self, axes=axes)

    def at_places(self, stages: Sequence[tuple]) -> "_Seen":
        """With one more stage for each of the places."""
        if len(stages) != len(self.places):
            raise _Unknown
        return self.with_stages(
            {
                name: [stage]
                for name, stage in zip(self.places, stages, strict=True)
            }
        )

    def seeing_all(self) -> "_Seen":
        """With entries that each see all of the places."""
        axes = {
            name: dataclasses.replace(axis, sees_all=True)
            if axis is not None and name in self.places
            else axis
            for name, axis in self.axes.items()
        }
        return dataclasses.replace(self, axes=axes)

    def bytes_per_pixel(self, channels: int) -> float:
        names = (*self.places, *self.in_batch)
        strides = [axis.stride for n in names if (axis := self.axes[n])]
        if len(strides) < len(AXES):
            return 0.0  # it is pooled: next to nothing
        return 4.0 * channels / math.prod(strides)


class _Tracer:
    def __init__(self):
        self.most_bytes = 0.0

    def apply(self, layer, seen, ranks=(5,)):
        """Returns what the outputs of a layer see.

        Args:
            layer: A layer or another operation.
            seen: What its inputs see, a list.
            ranks: Of its outputs, the numbers of axes.
        """
        if isinstance(layer, Backbone):
            return self.apply(layer.network, seen)
        if isinstance(layer, AdaptedNetwork):
            return [self._adapted(layer, *seen)]
        if hasattr(layer, "receptive_stages"):
            return [_as_told(layer, seen[0], *ranks)]
        # What subclasses do is not known.
        if type(layer) is keras.Sequential:
            return self._in_graph(_functional(layer), seen)
        if is_functional(layer):
            return self._in_graph(layer, seen)
        if type(layer) is layers.TimeDistributed:
            return [self._of_slices(layer.layer, *seen)]
        if type(layer) in _LAYERS:
            return [_LAYERS[type(layer)](layer, *seen)]
        if _is_elementwise(layer):
            return [_union(layer, *seen)]
        raise _Unknown

    def _in_graph(self, model, seen):
        if len(model.inputs) != len(seen):
            raise _Unknown
        known = {
            id(tensor): one
            for tensor, one in zip(model.inputs, seen, strict=True)
        }
        # As Keras itself runs through the graph.
        for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
            for node in nodes:
                if node.is_input:
                    continue
                inputs = [known[id(tensor)] for tensor in node.input_tensors]
                ranks = [len(tensor.shape) for tensor in node.outputs]
                outputs = self.apply(node.operation, inputs, ranks)
                if len(outputs) != len(ranks):
                    raise _Unknown
                for tensor, one in zip(node.outputs, outputs, strict=True):
                    known[id(tensor)] = one
                self._weigh(
                    [*node.input_tensors, *node.outputs], [*inputs, *outputs]
                )
        return [known[id(tensor)] for tensor in model.outputs]

    def _weigh(self, tensors, seen):
        taken = sum(
            one.bytes_per_pixel(tensor.shape[-1])
            for tensor, one in zip(tensors, seen, strict=True)
        )
        self.most_bytes = max(self.most_bytes, taken)

    def _of_slices(self, layer, seen):
        """Applies a layer to each slice of the first place."""
        if seen.in_batch or not seen.places:
            raise _Unknown
        first, *others = seen.places
        slices = _Seen(seen.axes, tuple(others), (first,))
        (slices,) = self.apply(layer, [slices], [len(others) + 2])
        return _Seen(slices.axes, (first, *slices.places))

    def _adapted(self, adapted, seen):
        if (
            adapted.tokens is not None
            or adapted.layout != "channels_last"
            or adapted.input_key is not None
            or adapted.output_key is not None
        ):
            raise _Unknown
        if adapted.frame_by_frame:
            return self._of_slices(adapted.network, seen)
        (seen,) = self.apply(adapted.network, [seen])
        return seen


def _as_told(layer, seen, rank):
    seen = seen.with_stages(layer.receptive_stages())
    if rank == 5:
        return _Seen(seen.axes, AXES)
    if rank == 4:
        return _Seen(seen.axes, AXES[1:], AXES[:1])
    raise _Unknown


def _functional(sequential):
    try:
        return keras.Model(sequential.inputs, sequential.outputs)
    except (AttributeError, ValueError) as error:  # it is not built
        raise _Unknown from error


def is_functional(layer: keras.layers.Layer) -> bool:
    """Whether it is a functional model, whose graph tells all that it does."""
    call = getattr(type(layer), "call", None)
    return getattr(call, "__qualname__", "") == "Functional.call"


def _is_elementwise(operation):
    """Whether it is one of `keras.ops` that sees one place alone."""
    kind = type(operation)
    return (
        kind.__module__.startswith("keras.src.ops.")
        and kind.__name__ in _ELEMENTWISE_OPERATIONS
    )


def _convolution(layer, seen):
    dilations = layer.dilation_rate
    if isinstance(dilations, int):
        dilations = [dilations] * len(layer.kernel_size)
    stages = []
    for kernel, stride, dilation in zip(
        layer.kernel_size, layer.strides, dilations, strict=True
    ):
        kernel = dilation * (kernel - 1) + 1
        padding = {"same": None, "valid": (0, 0), "causal": (kernel - 1, 0)}
        stages.append((kernel, stride, padding[layer.padding]))
    return _at_places(layer, seen, stages)


def _pooling(layer, seen):
    padding = {"same": None, "valid": (0, 0)}[layer.padding]
    sizes = zip(layer.pool_size, layer.strides, strict=True)
    return _at_places(layer, seen, [(*size, padding) for size in sizes])


def _padding(layer, seen):
    return _at_places(layer, seen, [(1, 1, p) for p in _pairs(layer.padding)])


def _cropping(layer, seen):
    paddings = [(-a, -b) for a, b in _pairs(layer.cropping)]
    return _at_places(layer, seen, [(1, 1, p) for p in paddings])


def _pairs(sizes):
    return sizes if isinstance(sizes[0], (tuple, list)) else (sizes,)


def _at_places(layer, seen, stages):
    _check_format(layer)
    return seen.at_places(stages)


def _check_format(layer):
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise _Unknown


def _global_pooling(layer, seen):
    _check_format(layer)
    axes = {**seen.axes, **dict.fromkeys(seen.places)}
    return _Seen(axes, seen.places if layer.keepdims else (), seen.in_batch)


def _one_place(layer, seen):
    return seen


def _along_axis(layer, seen):
    """Of a layer that sees all that lies along its axis."""
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    is_channels = set(axes) <= {-1, len(seen.places) + 1}
    return seen if is_channels else seen.seeing_all()


def _all_places(layer, seen):
    return seen.seeing_all()


def _reshape(layer, seen):
    """Gives places back to what was pooled, as squeeze and excitation does."""
    sizes = layer.target_shape[:-1]
    names = tuple(name for name in AXES if name not in seen.in_batch)
    if seen.places or set(sizes) != {1} or len(sizes) != len(names):
        raise _Unknown
    return _Seen(seen.axes, names, seen.in_batch)


def _concatenation(layer, *seen):
    if layer.axis not in (-1, len(seen[0].places) + 1):
        raise _Unknown
    return _union(layer, *seen)


def _union(layer, *seen):
    """What is seen where several tensors meet, location by location."""
    if len({(one.places, one.in_batch) for one in seen}) != 1:
        raise _Unknown
    axes = {
        name: _union_of_axes([one.axes[name] for one in seen]) for name in AXES
    }
    return dataclasses.replace(seen[0], axes=axes)


def _union_of_axes(axes):
    located = [axis for axis in axes if axis is not None]
    if not located:
        return None
    # What is pooled meets every location.
    sees_all = None in axes or any(axis.sees_all for axis in located)
    # What they have in common, and how they go on.
    common = 0
    for stages in zip(*(axis.stages for axis in located), strict=False):
        if len(set(stages)) > 1:
            break
        common += 1
    union = Axis(located[0].stages[:common], sees_all)
    branches = [Axis(axis.stages[common:]) for axis in located]
    for stage in _widest(branches).stages:
        union = union.then(*stage)
    return union


def _widest(branches):
    """An axis whose locations see all that those of the branches see."""
    if len({branch.stride for branch in branches}) > 1:
        raise _Unknown
    # From some size on, all repeats with the stride.
    stride = max(branch.stride for branch in branches)
    longest = max(sum(map(abs, branch.ends(stride))) for branch in branches)
    sizes = range(stride * (longest + 2), stride * (longest + 3) + 1)
    counts = {tuple(map(branch.count, sizes)) for branch in branches}
    if len(counts) > 1:
        raise _Unknown
    ends = [[branch.ends(size) for size in sizes] for branch in branches]
    firsts, lasts = np.moveaxis(np.array(ends), -1, 0)
    widest = (firsts == firsts.min(axis=0)) & (lasts == lasts.max(axis=0))
    if widest.all(axis=1).any():
        return branches[int(np.argmax(widest.all(axis=1)))]
    if any(stage[2] is None for branch in branches for stage in branch.stages):
        raise _Unknown
    # No padding depends on the size.
    (counts,) = counts
    least = next(i for i in range(1, len(sizes)) if counts[i] > counts[i - 1])
    return Axis.of_one_stage(
        (int(firsts.min()), int(lasts.max())),
        stride,
        counts[least],
        sizes[least],
    )


_ELEMENTWISE_OPERATIONS = {
    *("Absolute", "Add", "Cast", "Clip", "Divide", "Elu", "Exp", "Gelu"),
    *("HardSigmoid", "HardSilu", "LeakyRelu", "Log", "Maximum", "Minimum"),
    *("Multiply", "Negative", "Power", "Relu", "Relu6", "Sigmoid", "Silu"),
    *("Softplus", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide"),
}
_LAYERS = {
    **dict.fromkeys(
        (
            *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
            *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
            *(layers.SeparableConv1D, layers.SeparableConv2D),
        ),
        _convolution,
    ),
    **dict.fromkeys(
        (
            *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
            *(layers.AveragePooling1D, layers.AveragePooling2D),
            *(layers.AveragePooling3D, MaxPooling3D),
        ),
        _pooling,
    ),
    **dict.fromkeys(
        (
            *(layers.GlobalMaxPooling1D, layers.GlobalAveragePooling1D),
            *(layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D),
            *(layers.GlobalMaxPooling3D, layers.GlobalAveragePooling3D),
        ),
        _global_pooling,
    ),
    **dict.fromkeys(
        (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D),
        _padding,
    ),
    **dict.fromkeys(
        (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D), _cropping
    ),
    **dict.fromkeys(
        (
            *(layers.Activation, layers.ActivityRegularization),
            *(layers.AlphaDropout, layers.BatchNormalization, layers.Dense),
            *(layers.Dropout, layers.ELU, layers.GaussianDropout),
            *(layers.GaussianNoise, layers.Identity, layers.LeakyReLU),
            *(layers.Normalization, layers.PReLU, layers.ReLU),
            *(layers.Rescaling, layers.SpatialDropout1D),
            *(layers.SpatialDropout2D, layers.SpatialDropout3D),
        ),
        _one_place,
    ),
    **dict.fromkeys(
        (
            *(layers.LayerNormalization, layers.RMSNormalization),
            *(layers.Softmax, layers.UnitNormalization),
        ),
        _along_axis,
    ),
    layers.GroupNormalization: _all_places,
    layers.Reshape: _reshape,
    layers.Concatenate: _concatenation,
    **dict.fromkeys(
        (
            *(layers.Add, layers.Average, layers.Maximum, layers.Minimum),
            *(layers.Multiply, layers.Subtract),
        ),
        _union,
    ),
}
