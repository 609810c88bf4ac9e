from typing import Any

import keras
from keras import ops

from actx_tf.layers.mask_pooling import MaskPooling
from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_positive


@keras.saving.register_keras_serializable(package="actx_tf")
class RegionPooling(keras.layers.Layer):
    """Pools a clip over boxes, such as a detector's k best regions.

    ```
    pooled = mean over boxes of mean_ij F(y_i, x_j)     (k-Region of Table 1)
    ```

    RoIAlign of each box in its step of the feature map, then the mean over the
    bins of a box and over all boxes of the clip. F(y, x) interpolates between
    the centers of the four nearest locations, and y_i, x_j are `samples`
    values each, evenly spaced within the box. There is nothing to learn.

    Since the samples form a grid, a box is an outer product of weights over
    height and width, and all boxes of a clip are one map of weights.

    Args:
        samples: Number of samples of a box along height and along width. P
            bins of R samples each way, RoIAlign's size and sampling ratio,
            have the mean of `samples=P * R`. Defaults to `14`: 7 x 7 bins of
            2 x 2 samples.

    Call arguments:
        features: The feature map F.
        boxes: Floats `(batch, time, k, 4)`: x1, y1, x2, y2 relative to the
            width and the height of the frame, in [0, 1]. What lies outside is
            cut off: pixels must be divided by the frame's size.
            Boxes of no area, such as all zeros, and boxes with a NaN are
            missing ones: steps with fewer than k are filled up with them. A
            clip without any box is average pooled.
        mask: Optional booleans, True where a location is real:
            `(batch, time)` or `(batch, time, height, width)`. Defaults to
            `None`: all are.

    Input shape: `(batch, time, height, width, channels)`.

    Output shape: `(batch, channels)`.

    Masking: boxes of masked steps do not count. Where rows or columns are
    masked, the frame is what is left of it. A clip that is fully masked becomes
    zero. The output has no mask.

    Raises:
        ValueError: If `samples` is not a positive integer, `features` is not
            of rank 5, or `boxes` has another shape.

    Example:

    >>> features = np.random.normal(size=(2, 10, 8, 11, 64)).astype("float32")
    >>> boxes = np.zeros((2, 10, 5, 4), "float32")
    >>> boxes[:, :, 0] = [0.1, 0.2, 0.5, 0.9]    # one in each step, of up to 5
    >>> actx_tf.layers.RegionPooling()(features, boxes).shape
    TensorShape([2, 64])

    Reference:
        - Wang et al., Attentive Action and Context Factorization, BMVC 2020.
        - He et al., Mask R-CNN, ICCV 2017; with the half-pixel offsets that
          Detectron2 calls `aligned=True`.
    """

    def __init__(self, samples: int = 14, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive("samples", samples)
        self.samples = samples
        self.supports_masking = True
        self.input_spec = keras.layers.InputSpec(ndim=5)
        # Eight bits are too few for coordinates.
        self.autocast = False
        self.pooling = MaskPooling(dtype=self.dtype_policy, name="pooling")

    def build(self, features_shape: Shape, boxes_shape: Shape) -> None:
        _check_boxes(features_shape, boxes_shape)
        self.pooling.build(features_shape, features_shape[:-1])

    def call(
        self, features: Tensor, boxes: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        _check_boxes(features.shape, boxes.shape)
        rows, columns = ops.shape(features)[2:4]
        height, width = rows, columns
        if mask is not None:
            mask = broadcast_mask(mask, ops.shape(features)[:-1])
            height = _count(ops.any(mask, axis=(1, 3)))
            width = _count(ops.any(mask, axis=(1, 2)))
        boxes = ops.cast(boxes, "float32")
        missing = ops.any(ops.isnan(boxes), axis=-1, keepdims=True)
        boxes = ops.clip(ops.where(missing, 0.0, boxes), 0.0, 1.0)
        x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
        over_height = self._weights(y1, y2, height, rows)
        over_width = self._weights(x1, x2, width, columns)
        found = ops.cast((x2 > x1) & (y2 > y1), "float32")
        weights = ops.matmul(
            ops.transpose(over_height * found[..., None], (0, 1, 3, 2)),
            over_width,
        )
        return self.pooling(features, weights, mask=mask)

    def _weights(self, start, end, size, cells):
        """The mean over the samples between `start` and `end`, as weights.

        Along one axis: `(batch, time, k)` -> `(batch, time, k, cells)`, of
        which the first `size` are real.
        """
        size = ops.cast(size, "float32")
        share = (ops.arange(self.samples, dtype="float32") + 0.5) / self.samples
        length = end - start
        position = start[..., None] + length[..., None] * share
        position = ops.minimum(position * size - 0.5, size - 1.0)
        position = ops.maximum(position, 0.0)[..., None]
        cell = ops.cast(ops.arange(cells), "float32")
        near = ops.maximum(1.0 - ops.abs(position - cell), 0.0)
        return ops.mean(near, axis=-2)

    def compute_output_shape(
        self, features_shape: Shape, boxes_shape: Shape
    ) -> Shape:
        return (features_shape[0], features_shape[-1])

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> None:
        return None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "samples": self.samples}


def _count(real):
    """The number of rows or columns of each clip, `(batch, 1, 1, 1)`."""
    count = ops.sum(ops.cast(real, "float32"), axis=-1)
    return ops.reshape(count, (-1, 1, 1, 1))


def _check_boxes(features_shape, boxes_shape):
    """Raises unless the sizes that are known agree."""
    shape = tuple(boxes_shape)
    expected = (*features_shape[:2], None, 4)
    if len(shape) != 4 or any(
        None not in sizes and sizes[0] != sizes[1]
        for sizes in zip(shape, expected, strict=True)
    ):
        raise ValueError(
            "`boxes` must have the shape (batch, time, k, 4) with the batch "
            f"and time of `features`, {tuple(features_shape)[:2]}. "
            f"Received: boxes.shape={shape}"
        )
