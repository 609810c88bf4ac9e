from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from actx_tf.layers.map_axes import resolve_axis
from actx_tf.layers.map_axes import validate_axis
from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor


@keras.saving.register_keras_serializable(package="actx_tf")
class AttNorm(keras.layers.Layer):
    """Normalizes confidence maps over time and space, each clip by itself.

    ```
    AttNorm(x) = (x - mean(x)) / sqrt(var(x) + epsilon)      (Sec. 3.4)
    ```

    Mean and population variance are taken over `axis`, never over the batch,
    in float32 whatever the dtype policy. There are no weights.

    Args:
        axis: The axis or axes to normalize over, without the batch axis 0.
            Defaults to `(1, 2, 3)`: time, height and width.
        epsilon: Positive number, added to the variance, so that a constant
            map becomes zeros. Defaults to `1e-6`.

    Call arguments:
        x: Tensor with any axes after the batch axis.
        mask: Optional booleans over the leading axes of `x`, True where a
            value is real: `(batch, time)` or up to the shape of `x`. Defaults
            to `None`: all are.

    Input shape: `(batch, time, height, width)` with the default `axis`.

    Output shape: that of the input.

    Masking: masked values take no part in the statistics and become zero.

    Raises:
        ValueError: If `axis` holds the batch axis or one that the input does
            not have, or `epsilon` is not positive.

    Example:

    >>> x = np.random.normal(3.0, 2.0, size=(2, 10, 8, 11)).astype("float32")
    >>> y = actx_tf.layers.AttNorm()(x)     # mean 0, deviation 1 in each clip

    Reference:
        - Wang et al., Attentive Action and Context Factorization, BMVC 2020.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = (1, 2, 3),
        epsilon: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        validate_axis(axis)
        if not epsilon > 0:
            raise ValueError(
                f"`epsilon` must be positive. Received: epsilon={epsilon}"
            )
        self.axis = axis
        self.epsilon = epsilon
        self.supports_masking = True
        # Float32 inputs stay float32 under a mixed policy.
        self.autocast = False

    def build(self, input_shape: Shape) -> None:
        resolve_axis(self.axis, len(input_shape))

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        axis = resolve_axis(self.axis, len(x.shape))
        x = ops.cast(x, "float32")
        if mask is None:
            centered = x - ops.mean(x, axis=axis, keepdims=True)
            variance = ops.mean(ops.square(centered), axis=axis, keepdims=True)
        else:
            mask = broadcast_mask(mask, ops.shape(x))
            count = ops.sum(ops.cast(mask, "float32"), axis=axis, keepdims=True)
            count = ops.maximum(count, 1.0)
            x = ops.where(mask, x, 0.0)
            mean = ops.sum(x, axis=axis, keepdims=True) / count
            centered = ops.where(mask, x - mean, 0.0)
            variance = (
                ops.sum(ops.square(centered), axis=axis, keepdims=True) / count
            )
        normalized = centered * ops.rsqrt(variance + self.epsilon)
        return ops.cast(normalized, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
        }
