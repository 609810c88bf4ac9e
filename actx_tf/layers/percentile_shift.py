from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from actx_tf.layers.map_axes import resolve_axis
from actx_tf.layers.map_axes import validate_axis
from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import is_number


@keras.saving.register_keras_serializable(package="actx_tf")
class PercentileShift(keras.layers.Layer):
    """Shifts confidence maps so that `rho` percent of each is positive.

    ```
    PercentileShift(x) = x - percentile(x, 100 - rho)      (Percent, Sec. 3.4)
    ```

    The percentile is taken over `axis` with linear interpolation, each clip by
    itself, in float32 whatever the dtype policy. There are no weights. The
    paper subtracts "the rho percentile" and calls rho the percentage of
    positive values; here `rho` is that percentage.

    Args:
        rho: Percentage of positive values, in [0, 100]. Defaults to `30.0`,
            the paper's starting point.
        axis: The axis or axes that form one map, without the batch axis 0.
            Defaults to `(1, 2, 3)`: time, height and width.

    Call arguments:
        x: Tensor with any axes after the batch axis.
        mask: Optional booleans over the leading axes of `x`, True where a
            value is real: `(batch, time)` or up to the shape of `x`. Defaults
            to `None`: all are.

    Input shape: `(batch, time, height, width)` with the default `axis`.

    Output shape: that of the input.

    Masking: masked values take no part in the percentile and become zero.

    Raises:
        ValueError: If `rho` is outside [0, 100], or `axis` holds the batch
            axis or one that the input does not have.

    Example:

    >>> x = np.random.normal(size=(2, 10, 8, 11)).astype("float32")
    >>> y = actx_tf.layers.PercentileShift(rho=30.0)(x)
    >>> float(np.mean(y > 0))               # 264 of 880 locations
    0.3

    Reference:
        - Wang et al., Attentive Action and Context Factorization, BMVC 2020.
    """

    def __init__(
        self,
        rho: float = 30.0,
        axis: int | Sequence[int] = (1, 2, 3),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not is_number(rho) or not 0 <= rho <= 100:
            raise ValueError(
                f"`rho` must be a percentage in [0, 100]. Received: rho={rho!r}"
            )
        validate_axis(axis)
        self.rho = rho
        self.axis = axis
        self.supports_masking = True
        # Float32 inputs stay float32 under a mixed policy.
        self.autocast = False

    def build(self, input_shape: Shape) -> None:
        resolve_axis(self.axis, len(input_shape))

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        ndim = len(x.shape)
        axis = resolve_axis(self.axis, ndim)
        x = ops.cast(x, "float32")
        if mask is not None:
            mask = broadcast_mask(mask, ops.shape(x))
            # Masked values come after all others.
            ranked = ops.sort(self._flatten(ops.where(mask, x, 3e38), axis))
            count = ops.sum(
                ops.cast(self._flatten(mask, axis), "float32"),
                axis=(-1,),
                keepdims=True,
            )
        else:
            ranked = ops.sort(self._flatten(x, axis))
            count = ops.zeros_like(ranked[..., :1]) + ops.cast(
                ops.shape(ranked)[-1], "float32"
            )
        last = ops.maximum(count - 1.0, 0.0)
        position = last * (100.0 - self.rho) / 100.0
        lower = ops.floor(position)
        upper = ops.minimum(lower + 1.0, last)
        low = ops.take_along_axis(ranked, ops.cast(lower, "int32"), axis=-1)
        high = ops.take_along_axis(ranked, ops.cast(upper, "int32"), axis=-1)
        percentile = low + (position - lower) * (high - low)
        shape = [
            1 if i in axis else size for i, size in enumerate(ops.shape(x))
        ]
        shifted = x - ops.reshape(percentile, shape)
        if mask is not None:
            shifted = ops.where(mask, shifted, 0.0)
        return ops.cast(shifted, self.compute_dtype)

    def _flatten(self, x, axis):
        """Moves `axis` to the end, as a single axis."""
        kept = [i for i in range(len(x.shape)) if i not in axis]
        shape = ops.shape(x)
        return ops.reshape(
            ops.transpose(x, kept + list(axis)), [shape[i] for i in kept] + [-1]
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rho": self.rho, "axis": self.axis}
