from typing import Any

import keras
from keras import ops

from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.masks import zero_padding
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_feature_map
from actx_tf.utils.checks import check_positive


@keras.saving.register_keras_serializable(package="actx_tf")
class AttentionalPooling(keras.layers.Layer):
    """Classifies a clip by top-down and bottom-up attention.

    ```
    logits_k = mean_i sum_p (F_i . a_kp) (F_i . b_p)
             = sum_p trace(F^T F b_p a_kp^T) / number of locations
    ```

    A classifier of second-order features whose weights have a low rank: the
    top-down maps F a_kp look for a class, the bottom-up maps F b_p for what
    stands out, whatever the class. Maps and logits are float32 whatever the
    dtype policy.

    As in the paper there are no biases. The paper sums over the locations; the
    mean, which its released code takes, suits clips of any length. That code
    also has biases and drops features out.

    Args:
        num_classes: Number of logits.
        rank: Number of bottom-up maps, and of top-down maps for each class.
            Defaults to `1`.

    Call arguments:
        features: The feature map F.
        mask: Optional booleans, True where a location is real:
            `(batch, time)` or `(batch, time, height, width)`. Defaults to
            `None`: all are.
        return_attention_maps: Whether to return maps too. Defaults to `False`.

    Input shape: `(batch, time, height, width, channels)`.

    Output shape: `(batch, num_classes)`, logits. With
    `return_attention_maps=True` a tuple `(logits, class_maps, bottom_up_map)`:
    `class_maps`, `(batch, time, height, width, num_classes)`, are the products
    of both kinds of maps, summed over the rank; their means are the logits.
    `bottom_up_map` has the shape `(batch, time, height, width)`, and at a rank
    above 1 a last axis of that size. The top-down maps alone are
    `layer.top_down(features)`.

    Masking: maps are zero where the mask is False, and what stands there
    changes no output. The output has no mask.

    Raises:
        ValueError: If an argument is not a positive integer, or the input is
            not a feature map with a known number of channels.

    Example:

    >>> features = np.random.normal(size=(2, 10, 8, 11, 64)).astype("float32")
    >>> pooling = actx_tf.layers.AttentionalPooling(num_classes=8)
    >>> pooling(features).shape
    TensorShape([2, 8])

    Reference:
        - Girdhar and Ramanan, Attentional Pooling for Action Recognition,
          NeurIPS 2017.
    """

    def __init__(self, num_classes: int, rank: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive("num_classes", num_classes)
        check_positive("rank", rank)
        self.num_classes = num_classes
        self.rank = rank
        self.supports_masking = True
        self.top_down = self._product(rank * num_classes, "top_down")
        self.bottom_up = self._product(rank, "bottom_up")

    def build(self, input_shape: Shape) -> None:
        check_feature_map("features", input_shape, known_channels=True)
        self.input_spec = keras.layers.InputSpec(
            ndim=5, axes={-1: input_shape[-1]}
        )
        self.top_down.build(input_shape)
        self.bottom_up.build(input_shape)

    def call(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        return_attention_maps: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        locations = ops.shape(features)[:-1]
        real = ops.ones(locations, "float32")
        if mask is not None:
            mask = broadcast_mask(mask, locations)
            real = ops.cast(mask, "float32")
            features = zero_padding(features, mask)
        top_down = ops.cast(self.top_down(features), "float32")
        bottom_up = ops.cast(self.bottom_up(features), "float32")
        logits = ops.matmul(
            ops.reshape(bottom_up, (locations[0], 1, -1)),
            ops.reshape(top_down, (locations[0], -1, self.num_classes)),
        )
        count = ops.sum(real, axis=(1, 2, 3))[:, None]
        logits = logits[:, 0] / ops.maximum(count, 1.0)
        if not return_attention_maps:
            return logits
        top_down = ops.reshape(
            top_down, (*locations, self.rank, self.num_classes)
        )
        class_maps = ops.sum(bottom_up[..., None] * top_down, axis=-2)
        if self.rank == 1:
            bottom_up = bottom_up[..., 0]
        return logits, class_maps, bottom_up

    def _product(self, units, name):
        """Of each location's features with learned vectors."""
        return keras.layers.Dense(
            units, use_bias=False, dtype=self.dtype_policy, name=name
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.num_classes)

    def compute_output_spec(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        return_attention_maps: bool = False,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, ...]:
        shapes = [self.compute_output_shape(features.shape)]
        if return_attention_maps:
            locations = features.shape[:-1]
            ranks = () if self.rank == 1 else (self.rank,)
            shapes += [(*locations, self.num_classes), (*locations, *ranks)]
        specs = [keras.KerasTensor(shape, "float32") for shape in shapes]
        return tuple(specs) if return_attention_maps else specs[0]

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> None:
        return None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "rank": self.rank,
        }
