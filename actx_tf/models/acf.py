from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from actx_tf import losses
from actx_tf.backbones.description import BackboneDescription
from actx_tf.layers import MaskPooling
from actx_tf.models.paired_model import PairedModel
from actx_tf.models.paired_model import check_class_names
from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.masks import zero_padding
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_feature_map
from actx_tf.utils.checks import check_number
from actx_tf.utils.checks import check_positive


@keras.saving.register_keras_serializable(package="actx_tf")
class ACF(PairedModel):
    """Action and context factorization with pooled features: a baseline.

    ```
    f(a) = mean_i relu(conv3d_f(F))_i,   g(a) likewise with conv3d_g
    h(f(a), g(a)) = Dense([f(a), g(a)])
    L_s = max(0, cos<f(a), f(a')> - xi),   L_d = 1 - cos<g(a), g(a')>
    L = L_c + similarity_weight * L_s + difference_weight * L_d
    ```

    Two heads, each pooled over the whole clip; nothing is localized. For the
    clips and pairs that the model takes, and what `fit` logs, see
    `PairedModel`. A `"conjugate_similarity"` cannot stand for the conjugate.

    Args:
        num_classes: Number of logits.
        units: Optional number of channels of each head. Defaults to `None`,
            half of the feature map's: as many weights as ActX's theta, which
            are the parameters that Table 1 counts.
        xi: Similarity up to which L_s is zero. Defaults to `0.0`.
        similarity_weight: Weight of L_s, >= 0. Defaults to `1.0`.
        difference_weight: Weight of L_d, >= 0. Defaults to `1.0`.
        kernel_size: Size of the kernels of both heads: one integer, or three
            for time, height and width. Defaults to `1`.
        backbone: Optional Keras model, clip -> feature map. Defaults to
            `None`: the inputs are feature maps.
        description: Optional description of what made the feature maps.
            Defaults to the backbone's own, or `None`: see `PairedModel`.
        class_names: Optional names of the classes. Defaults to `None`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.
        background: See `PairedModel`. Defaults to none.
        crop_steps: See `PairedModel`. Defaults to `None`.

    Input shape: `(batch, time, height, width, channels)`, or a dictionary: see
        `PairedModel`.

    Output shape: a dictionary of `"logits"`, `(batch, num_classes)`, float32,
        and `"action_features"` and `"context_features"`, `(batch, units)`. For
        a pair also `"similarity_loss"` and `"difference_loss"`, `(batch,)`.

    Masking: what is masked changes no output.

    Raises:
        ValueError: If an argument is out of range, or a pair has no conjugate
            clip.

    Example:

    >>> model = actx_tf.models.ACF(num_classes=8)
    >>> model.compile(
    ...     optimizer="adam",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ... )
    >>> model.fit({"features": features, "conjugate": conjugates}, labels)

    Reference:
        - Wang and Hoai, Pulling Actions out of Context: Explicit Separation
          for Effective Combination, CVPR 2018; on frozen feature maps, as
          Table 1 of the ActX paper compares it.
    """

    def __init__(
        self,
        num_classes: int,
        units: int | None = None,
        xi: float = 0.0,
        similarity_weight: float = 1.0,
        difference_weight: float = 1.0,
        kernel_size: int | Sequence[int] = 1,
        backbone: keras.Model | None = None,
        description: BackboneDescription | dict[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        activation: str = "softmax",
        background: Sequence[str] = (),
        crop_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            similarity_weight,
            difference_weight,
            backbone,
            description,
            class_names,
            activation,
            background,
            crop_steps=crop_steps,
            **kwargs,
        )
        check_positive("num_classes", num_classes)
        check_class_names(class_names, num_classes)
        if units is not None:
            check_positive("units", units)
        check_number("xi", xi)
        self.num_classes = num_classes
        self.units = units
        self.xi = xi
        self.kernel_size = kernel_size
        # As many filters as F asks for: see `build`.
        self.action_head: Any = None
        self.context_head: Any = None
        self.average = MaskPooling(dtype=self.dtype_policy, name="average")
        self.head = keras.layers.Dense(
            num_classes, dtype="float32", name="head"
        )

    def build(self, input_shape: Shape | dict[str, Shape]) -> None:
        shape = self.feature_shape(input_shape)
        check_feature_map("features", shape, known_channels=True)
        units = self.units or -(-shape[-1] // 2)
        self.action_head = self._convolution(units, "action_head")
        self.context_head = self._convolution(units, "context_head")
        for head in (self.action_head, self.context_head):
            head.build(shape)
        self.head.build((shape[0], 2 * units))

    def classify(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        training: bool | None = False,
    ) -> dict[str, Tensor]:
        action, context = self._pooled_heads(features, mask)
        return {
            "logits": self.head(ops.concatenate([action, context], axis=-1)),
            "action_features": action,
            "context_features": context,
        }

    def pair_losses(
        self, outputs: dict[str, Tensor], pair: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        if "conjugate" not in pair:
            raise ValueError(
                '`inputs` must have the key "conjugate": ACF compares pooled '
                "features. Received: inputs with the keys "
                f"{sorted(pair)}"
            )
        action, context = self._pooled_heads(
            pair["conjugate"], pair.get("conjugate_mask")
        )
        return (
            losses.pooled_action_similarity(
                outputs["action_features"], action, xi=self.xi
            ),
            losses.pooled_context_difference(
                outputs["context_features"], context
            ),
        )

    def _pooled_heads(self, features, mask):
        """f and g of a clip."""
        everywhere = ops.ones(ops.shape(features)[:-1])
        if mask is not None:
            mask = broadcast_mask(mask, ops.shape(features)[:-1])
            # Kernels larger than 1 would carry padding into real locations.
            features = zero_padding(features, mask)
        return [
            self.average(head(features), everywhere, mask=mask)
            for head in (self.action_head, self.context_head)
        ]

    def _convolution(self, filters, name):
        return keras.layers.Conv3D(
            filters,
            self.kernel_size,
            padding="same",
            activation="relu",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=name,
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "units": self.units,
            "xi": self.xi,
            "kernel_size": self.kernel_size,
        }
