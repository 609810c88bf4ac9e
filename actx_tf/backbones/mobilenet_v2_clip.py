"""A backbone that needs no 3D network: MobileNetV2 over the frames."""

import os
from typing import Any

import keras
import numpy as np
from keras import ops

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.channels_last import channels_last
from actx_tf.backbones.clip_settings import clip_settings
from actx_tf.backbones.clip_settings import stream_of
from actx_tf.backbones.make_backbone import make_backbone
from actx_tf.backbones.state_dict import checksum
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_positive
from actx_tf.utils.untrusted_files import read_npz

_BYTES_PER_PIXEL = 240.0  # as measured


@channels_last()
def MobileNetV2Clip(
    weights: str | os.PathLike | None = "imagenet",
    input_shape: tuple[int | None, ...] = (None, 224, 224, 3),
    frames_per_step: int = 4,
    *,
    frame_rate: float | None = 16.0,
    num_frames: int | None = None,
    size: int | tuple[int, int] | None = None,
    flow_method: str = "dis",
) -> Backbone:
    """MobileNetV2 over the frames of a clip: what is seen, and what moves.

    `frames_per_step` frames make one step of the feature map. Half of its
    channels are the mean of the frames' features (appearance); the other
    half are the mean absolute difference of the features of successive
    frames (motion). See `AppearanceAndMotion` for what happens at the end of
    a clip and at the borders of steps.

    With two channels it is the network of the flow stream. Its first
    convolution, which is made for three, has the mean of their kernels for
    each channel (cross-modality initialization; Wang et al.), times 3/2: the
    same value in both channels gives the response that a grey image of that
    value gives. All other weights are as they are; they have seen images
    alone, and fit flow less well than a network that was trained on it.

    Args:
        weights: `"imagenet"`, which downloads Keras' weights; `None`, for
            random ones; or the path of an `.npz` file that holds
            `<layer>/kernel` and `<layer>/bias` of every convolution, named as
            in Keras, with the batch normalization folded into them
            (`predictions/*` is left unread). Defaults to `"imagenet"`.
        input_shape: (frames, height, width, channels) of a clip; each of the
            first three can be `None`. Three channels for RGB, two for optical
            flow. Defaults to `(None, 224, 224, 3)`.
        frames_per_step: Number of frames in a step. Defaults to `4`.
        frame_rate: Frames per second that the backbone sees; `None` for those
            of the file. Defaults to `16`.
        num_frames: Frames that it sees of a clip, evenly over it, in the place
            of a rate. Defaults to those of `input_shape`, if any.
        size: (height, width) of the frames that it sees, or the length of
            their shorter side. Defaults to those of `input_shape`; where these
            are free, to a shorter side of 256.
        flow_method: `"dis"` or `"tvl1"`, the method of the flow; unused for
            RGB. Defaults to `"dis"`.

    Input shape:
        `(batch, frames, height, width, 3)`: RGB values in [0, 255]; or
        `(batch, frames, height, width, 2)`: flow in [-1, 1], as of
        `actx_tf.data.optical_flow`.

    Output shape:
        `(batch, ceil(frames / frames_per_step), ceil(height / 32),
        ceil(width / 32), 2560)`: appearance in the first 1280 channels,
        motion in the others; none is negative. Where `input_shape` leaves the
        size free, Keras' network rounds down in four of five halvings.

    Returns:
        A `Backbone`. Its name tells the weights (those of a file by a
        checksum), `frames_per_step` and, for flow, the stream, and so names
        features made with it.

    Raises:
        ConnectionError: If the weights of ImageNet cannot be downloaded.
        FileNotFoundError: If there is no file of weights.
        ValueError: If an argument or the file of weights is wrong.

    Example:

    ```python
    backbone = actx_tf.backbones.MobileNetV2Clip()
    features = backbone(clip)  # (1, 40, 224, 224, 3) -> (1, 10, 7, 7, 2560)
    ```

    Reference:
        - Sandler et al., MobileNetV2: Inverted Residuals and Linear
          Bottlenecks, CVPR 2018
        - Wang et al., Temporal Segment Networks, ECCV 2016
    """
    stream = stream_of(input_shape)
    settings = clip_settings(
        input_shape,
        frame_rate=frame_rate,
        num_frames=num_frames,
        size=size,
        default_rate=16.0,
        default_size=256,
    )
    merge = AppearanceAndMotion(frames_per_step, name="appearance_and_motion")
    arrays = None
    if weights is None or weights == "imagenet":
        name = weights or "untrained"
    else:
        arrays = _read_arrays(weights)
        name = f"weights_{checksum(arrays)}"

    try:
        network = keras.applications.MobileNetV2(
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
            input_shape=(*input_shape[1:3], 3),
        )
    except Exception as error:  # what Keras raises has no kind of its own
        if "URL fetch failure" not in str(error):
            raise
        address, _, reason = str(error).partition(": ")
        address = address.removeprefix("URL fetch failure on ")
        raise ConnectionError(
            f"the weights of ImageNet could not be downloaded from {address}: "
            "the network or the address does not answer "
            f"({reason.removeprefix('None -- ')}); put that file into the "
            "folder models of ~/.keras (or of KERAS_HOME), or give `weights` "
            "the path of an .npz file of them"
        ) from None
    if arrays is not None:
        _load_folded(network, arrays, weights)

    clip = keras.Input(input_shape, name="clip")
    frames = FramesToBatch(name="frames_to_batch")(clip)
    name = f"mobilenet_v2_clip_{name}_{frames_per_step}f"
    if stream == "flow":
        network = _adapt_to_flow(network)
        name += "_flow"
    else:
        frames = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(
            frames
        )
    model = keras.Model(clip, merge(network(frames), clip), name=name)
    return make_backbone(
        model,
        stream=stream,
        flow_method=flow_method if stream == "flow" else None,
        name=name,
        bytes_per_pixel=_BYTES_PER_PIXEL,
        **settings,
    )


@keras.saving.register_keras_serializable(package="actx_tf")
class FramesToBatch(keras.layers.Layer):
    """Makes each frame an image of its own.

    Input shape:
        `(batch, frames, height, width, channels)`.

    Output shape:
        `(batch * frames, height, width, channels)`.
    """

    def call(self, clip: Tensor) -> Tensor:
        return ops.reshape(clip, (-1, *ops.shape(clip)[2:]))

    def receptive_stages(self) -> dict:
        """See `tracing.trace`: the frames lie in the batch."""
        return {}

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, frames = input_shape[:2]
        known = batch is not None and frames is not None
        return (batch * frames if known else None, *input_shape[2:])


@keras.saving.register_keras_serializable(package="actx_tf")
class AppearanceAndMotion(keras.layers.Layer):
    """Joins the features of frames to steps: their mean and their change.

    Both halves are means over `frames_per_step` values. Frame t gives its
    features f(t) and the difference |f(t + 1) - f(t)|; the difference across
    the border of two steps so belongs to the earlier one. The last frame has
    no successor: it gives the difference of the frame before it again. Where
    frames do not fill the last step, both values of the last frame fill it.
    A clip of a single frame has the motion 0.

    Args:
        frames_per_step: Number of frames in a step.

    Call arguments:
        features: Features of each frame.
        clip: The clip; it only tells the number of frames.

    Input shape:
        `features`: `(batch * frames, height, width, channels)`; `clip`:
        `(batch, frames, ...)`.

    Output shape:
        `(batch, ceil(frames / frames_per_step), height, width,
        2 * channels)`: the mean in the first half of the channels, the
        change in the other.
    """

    def __init__(self, frames_per_step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive("frames_per_step", frames_per_step)
        self.frames_per_step = frames_per_step

    def call(self, features: Tensor, clip: Tensor) -> Tensor:
        frames = ops.shape(clip)[1]
        steps = -(-frames // self.frames_per_step)
        height, width, channels = ops.shape(features)[1:]
        features = ops.reshape(features, (-1, frames, height, width, channels))

        frame = ops.arange(steps * self.frames_per_step)
        last = frames - 1
        before = ops.minimum(frame, ops.maximum(last - 1, 0))
        after = ops.minimum(before + 1, last)
        change = ops.abs(
            ops.take(features, after, axis=1)
            - ops.take(features, before, axis=1)
        )
        features = ops.take(features, ops.minimum(frame, last), axis=1)

        both = ops.concatenate((features, change), axis=-1)
        both = ops.reshape(
            both,
            (-1, steps, self.frames_per_step, height, width, 2 * channels),
        )
        return ops.mean(both, axis=2)

    def receptive_stages(self) -> dict:
        """See `tracing.trace`: a frame and the next one, by steps."""
        steps = (self.frames_per_step, self.frames_per_step, 0)
        return {"time": [(2, 1, 0), steps]}

    def compute_output_shape(
        self, features_shape: Shape, clip_shape: Shape
    ) -> Shape:
        batch, frames = clip_shape[:2]
        if frames is not None:
            frames = -(-frames // self.frames_per_step)
        return (batch, frames, *features_shape[1:-1], 2 * features_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frames_per_step": self.frames_per_step}


def _read_arrays(path):
    """Returns the arrays of an .npz file, sorted by name."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            "`weights` must be 'imagenet', None, or the path of an .npz file. "
            f"Received: weights={os.fspath(path)!r}, which is no file"
        )
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise ValueError(
            f"`weights` must be an .npz file. "
            f"Received: weights={os.fspath(path)!r} ({error})"
        ) from error
    return {
        name: arrays[name]
        for name in sorted(arrays)
        if not name.startswith("predictions/")
    }


def _load_folded(network, arrays, path):
    """Sets each convolution, and its batch normalization to the bias."""
    path = os.fspath(path)
    convolutions = [
        layer for layer in network.layers if hasattr(layer, "kernel")
    ]
    # Each convolution of MobileNetV2 is followed by its normalization.
    normalizations = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    spare = set(arrays)
    for convolution, normalization in zip(
        convolutions, normalizations, strict=True
    ):
        values = {}
        for part, shape in (
            ("kernel", tuple(convolution.kernel.shape)),
            ("bias", tuple(normalization.beta.shape)),
        ):
            name = f"{convolution.name}/{part}"
            if name not in arrays:
                raise ValueError(f"{path}: array {name!r} is missing.")
            if arrays[name].shape != shape:
                raise ValueError(
                    f"{path}: array {name!r} must have the shape {shape}. "
                    f"Received: shape={arrays[name].shape}"
                )
            spare.remove(name)
            values[part] = arrays[name]
        convolution.kernel.assign(values["kernel"])
        ones = np.ones_like(values["bias"])
        normalization.gamma.assign(ones)
        normalization.beta.assign(values["bias"])
        normalization.moving_mean.assign(0 * ones)
        # Batch normalization divides by sqrt(variance + epsilon).
        normalization.moving_variance.assign(ones - normalization.epsilon)
    if spare:
        raise ValueError(f"{path}: spare arrays {sorted(spare)}.")


def _adapt_to_flow(network):
    """Returns the network for frames of two channels instead of three."""
    frames = keras.Input((*network.input_shape[1:3], 2))
    adapted = keras.models.clone_model(network, input_tensors=frames)
    kernel, *others = network.get_weights()
    kernel = np.repeat(np.sum(kernel, axis=2, keepdims=True) / 2, 2, axis=2)
    adapted.set_weights([kernel, *others])
    return adapted
