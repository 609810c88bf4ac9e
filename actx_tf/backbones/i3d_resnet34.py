"""ResNet-34 inflated to three dimensions, the backbone of Table 3."""

import os

import keras
import numpy as np
from keras import layers

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.channels_last import channels_last
from actx_tf.backbones.clip_settings import clip_settings
from actx_tf.backbones.clip_settings import stream_of
from actx_tf.backbones.make_backbone import make_backbone
from actx_tf.backbones.max_pooling_3d import MaxPooling3D
from actx_tf.backbones.state_dict import checksum
from actx_tf.backbones.state_dict import read_state_dict

_BLOCKS = (3, 4, 6, 3)  # of each stage
# What images of torchvision's weights are normalized with.
_MEAN = np.array([0.485, 0.456, 0.406])
_DEVIATION = np.array([0.229, 0.224, 0.225])
_BYTES_PER_PIXEL = 110.0  # as measured
_PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@channels_last()
def I3DResNet34(
    weights: str | os.PathLike | None = None,
    input_shape: tuple[int | None, ...] = (None, 224, 224, 3),
    include_preprocessing: bool = True,
    name: str | None = None,
    *,
    frame_rate: float | None = 25.0,
    num_frames: int | None = None,
    size: int | tuple[int, int] | None = None,
    flow_method: str = "dis",
) -> Backbone | keras.Model:
    """ResNet-34 with its kernels inflated over time (I3D-Res34).

    The paper names this backbone and leaves its strides open. Here they are
    those of InceptionI3D, in the places where Wang et al. have them: the first
    convolution, the first pooling, and a pooling over time alone after the
    first stage halve the time. Every 3x3 kernel becomes 3x3x3, the 7x7 one
    7x7x7, and a 1x1 one stays so in time. Layers are named as in torchvision,
    with `_` for `.`: `"layer1_0_conv1"`; a block ends in `"layer1_0"`. Padding
    is symmetric, as there.

    Args:
        weights: Path of the weights; `None` for random ones, the default. A
            file (see `state_dict.read_state_dict`) of arrays named and laid
            out as in torchvision's ResNet-34. Kernels of images are inflated:
            repeated over time and divided by the length, so that a still clip
            gives the responses of its image. Kernels of clips, `(out, in,
            time, height, width)`, are taken as they are. With two input
            channels and kernels of three, each gets the mean of the three
            times 3/2. The classifier (`fc`) is left unread.
        input_shape: (frames, height, width, channels) of a clip; each of the
            first three can be `None`. Three channels for RGB, two for optical
            flow. Defaults to `(None, 224, 224, 3)`.
        include_preprocessing: Whether RGB values are in [0, 255] and are
            normalized by the model, as torchvision's weights want it; if not,
            they are to be normalized already. Flow always is in [-1, 1].
            Defaults to `True`.
        name: Name of the model. By default it tells the stream and the
            weights (by a checksum), and so names features made with it.
        frame_rate: Frames per second that the backbone sees; `None` for those
            of the file. Defaults to `25`.
        num_frames: Frames that it sees of a clip, evenly over it, in the place
            of a rate. Defaults to those of `input_shape`, if any.
        size: (height, width) of the frames that it sees, or the length of
            their shorter side. Defaults to those of `input_shape`; where these
            are free, to a shorter side of 256.
        flow_method: `"dis"` or `"tvl1"`, the method of the flow; unused for
            RGB. Defaults to `"dis"`.

    Input shape:
        `(batch, frames, height, width, 3)`: RGB values; or `(batch, frames,
        height, width, 2)`: flow, as of `actx_tf.data.optical_flow`.

    Output shape:
        The feature map, `(batch, ceil(frames / 8), ceil(height / 32),
        ceil(width / 32), 512)`. None of its values is negative. A step sees up
        to 241 frames before or after those that it covers.

    Returns:
        A `Backbone`; without the preprocessing a plain `keras.Model`: what
        that is shown is up to you.

    Raises:
        FileNotFoundError: If there is no file of weights.
        ValueError: If an argument or the file of weights is wrong.

    Example:

    ```python
    backbone = actx_tf.backbones.I3DResNet34("resnet34.pth")
    features = backbone(clip)  # (1, 80, 224, 224, 3) -> (1, 10, 7, 7, 512)
    ```

    Reference:
        - He et al., Deep Residual Learning for Image Recognition, CVPR 2016
        - Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model
          and the Kinetics Dataset, CVPR 2017 (inflation)
        - Wang et al., Non-local Neural Networks, CVPR 2018 (strides)
    """
    stream = stream_of(input_shape)
    settings = clip_settings(
        input_shape,
        frame_rate=frame_rate,
        num_frames=num_frames,
        size=size,
        default_rate=25.0,
        default_size=256,
    )
    state = None if weights is None else read_state_dict(weights)
    if name is None:
        tag = "untrained" if state is None else checksum(state)
        name = f"i3d_resnet34_{stream}_{tag}"

    clip = keras.Input(input_shape, name="clip")
    x = clip
    if include_preprocessing and stream == "rgb":
        # Not Rescaling: it looks for the channels where keras.json says.
        x = layers.Normalization(
            -1,
            mean=(255 * _MEAN).tolist(),
            variance=((255 * _DEVIATION) ** 2).tolist(),
            name="normalization",
        )(x)
    x = _conv(x, "conv1", 64, 7, strides=2)
    x = _norm(x, "bn1")
    x = layers.Activation("relu", name="relu")(x)
    x = layers.ZeroPadding3D(1, name="maxpool_pad")(x)  # nothing is negative
    x = MaxPooling3D(3, 2, name="maxpool")(x)
    for stage, blocks in enumerate(_BLOCKS, 1):
        if stage == 2:
            x = layers.ZeroPadding3D((1, 0, 0), name="pool2_pad")(x)
            x = MaxPooling3D((3, 1, 1), (2, 1, 1), name="pool2")(x)
        for block in range(blocks):
            halve = stage > 1 and block == 0
            filters = 64 * 2 ** (stage - 1)
            x = _block(x, f"layer{stage}_{block}", filters, halve)
    model = keras.Model(clip, x, name=name)
    if weights is not None and state is not None:
        _assign(model, state, os.fspath(weights))
    if not include_preprocessing:
        return model
    return make_backbone(
        model,
        stream=stream,
        flow_method=flow_method if stream == "flow" else None,
        name=name,
        bytes_per_pixel=_BYTES_PER_PIXEL,
        **settings,
    )


def _conv(x, name, filters, kernel_size, strides=1):
    if kernel_size > 1:
        x = layers.ZeroPadding3D(kernel_size // 2, name=f"{name}_pad")(x)
    return layers.Conv3D(
        filters, kernel_size, strides, use_bias=False, name=name
    )(x)


def _norm(x, name):
    return layers.BatchNormalization(epsilon=1e-5, name=name)(x)


def _block(x, name, filters, halve):
    strides = (1, 2, 2) if halve else 1
    y = _conv(x, f"{name}_conv1", filters, 3, strides)
    y = _norm(y, f"{name}_bn1")
    y = layers.Activation("relu", name=f"{name}_relu1")(y)
    y = _conv(y, f"{name}_conv2", filters, 3)
    y = _norm(y, f"{name}_bn2")
    if halve:
        x = _conv(x, f"{name}_downsample_0", filters, 1, strides)
        x = _norm(x, f"{name}_downsample_1")
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.Activation("relu", name=name)(y)


def _assign(model, state, path):
    """Gives the arrays to the layers of the network."""
    spare = {name for name in state if not name.endswith("num_batches_tracked")}
    spare -= {"fc.weight", "fc.bias"}
    values = []
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{layer.name.replace('_', '.')}.{_PARTS[variable.name]}"
            if name not in state:
                raise ValueError(f"{path}: {name!r} is missing.")
            spare.discard(name)
            array = _to_keras(state[name], variable.shape)
            if array.shape != tuple(variable.shape):
                raise ValueError(
                    f"{path}: {name!r} must fit a variable of the shape "
                    f"{tuple(variable.shape)}. "
                    f"Received: shape={state[name].shape}"
                )
            values.append((variable, array))
    if spare:
        raise ValueError(f"{path}: arrays are left over: {sorted(spare)}")
    for variable, array in values:
        variable.assign(array)


def _to_keras(array, shape):
    """Turns a kernel, and inflates one of images."""
    if array.ndim < 4:
        return array
    if array.ndim == 4 and len(shape) == 5:
        length = shape[0]
        array = np.repeat(array[:, :, np.newaxis], length, axis=2) / length
    array = np.transpose(array, (*range(2, array.ndim), 1, 0))
    if array.shape[-2] == 3 and shape[-2] == 2:
        array = np.repeat(np.sum(array, -2, keepdims=True) / 2, 2, axis=-2)
    return array
