from typing import Any

import keras
from keras import ops

from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.masks import zero_padding
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor


@keras.saving.register_keras_serializable(package="actx_tf")
class MaskPooling(keras.layers.Layer):
    """Pools a clip with weights that are given, such as a mask of people.

    ```
    pooled = sum_i w_i F_i / sum_i w_i          (PoseMask of Table 1)
    ```

    The weights are normalized in float32 whatever the dtype policy. There is
    nothing to learn. A clip whose weights sum to 0, where nobody was found, is
    average pooled over its real locations.

    Call arguments:
        features: The feature map F.
        weights: Numbers >= 0, `(batch, time, height, width)`: a binary or a
            soft mask at the size of the feature map.
        mask: Optional booleans, True where a location is real:
            `(batch, time)` or `(batch, time, height, width)`. Defaults to
            `None`: all are.

    Input shape: `(batch, time, height, width, channels)`.

    Output shape: `(batch, channels)`.

    Masking: what is masked has no weight. A clip that is fully masked becomes
    zero. The output has no mask.

    Raises:
        ValueError: If `features` is not of rank 5, or `weights` has another
            batch, time, height or width.

    Example:

    >>> features = np.random.normal(size=(2, 10, 8, 11, 64)).astype("float32")
    >>> people = np.random.uniform(size=(2, 10, 8, 11)) > 0.7
    >>> actx_tf.layers.MaskPooling()(features, people).shape
    TensorShape([2, 64])

    Reference:
        - Wang et al., Attentive Action and Context Factorization, BMVC 2020.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.input_spec = keras.layers.InputSpec(ndim=5)
        # Float32 weights stay float32 under a mixed policy.
        self.autocast = False

    def build(self, features_shape: Shape, weights_shape: Shape) -> None:
        _check_weights(features_shape, weights_shape)

    def call(
        self, features: Tensor, weights: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        _check_weights(features.shape, weights.shape)
        features = ops.cast(features, self.compute_dtype)
        batch, channels = ops.shape(features)[0], features.shape[-1]
        weights = ops.cast(weights, "float32")
        everywhere = ops.ones_like(weights)
        if mask is not None:
            mask = broadcast_mask(mask, ops.shape(features)[:-1])
            weights = ops.where(mask, weights, 0.0)
            everywhere = ops.cast(mask, "float32")
            # A weight of zero does not remove a NaN.
            features = zero_padding(features, mask)
        weights = ops.where(_total(weights) == 0, everywhere, weights)
        total = _total(weights)  # zero where all is masked
        weights = weights / ops.where(total == 0, 1.0, total)
        pooled = ops.matmul(
            ops.reshape(ops.cast(weights, features.dtype), (batch, 1, -1)),
            ops.reshape(features, (batch, -1, channels)),
        )
        return ops.reshape(pooled, (batch, channels))

    def compute_output_shape(
        self, features_shape: Shape, weights_shape: Shape
    ) -> Shape:
        return (features_shape[0], features_shape[-1])

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> None:
        return None


def _total(weights):
    return ops.sum(weights, axis=(1, 2, 3), keepdims=True)


def _check_weights(features_shape, weights_shape):
    """Raises unless the sizes that are known agree."""
    features_shape, weights_shape = tuple(features_shape), tuple(weights_shape)
    if len(weights_shape) != len(features_shape) - 1 or any(
        None not in sizes and sizes[0] != sizes[1]
        for sizes in zip(features_shape, weights_shape, strict=False)
    ):
        raise ValueError(
            "`weights` must have the shape of `features` without its channels, "
            f"{features_shape[:-1]}. Received: weights.shape={weights_shape}"
        )
