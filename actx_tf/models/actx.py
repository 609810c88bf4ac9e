from collections.abc import Sequence
from typing import Any

import keras

from actx_tf import losses
from actx_tf.backbones.description import BackboneDescription
from actx_tf.layers import FactorizedAttentionPooling
from actx_tf.models.context_switch import ContextSwitch
from actx_tf.models.context_switch import check_context
from actx_tf.models.paired_model import PairedModel
from actx_tf.models.paired_model import check_class_names
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_number
from actx_tf.utils.checks import check_positive
from actx_tf.utils.checks import check_rate


@keras.saving.register_keras_serializable(package="actx_tf")
class ActX(PairedModel):
    """Attentive action and context factorization.

    ```
    h(F_s, F_c) = Dense([F_s, F_c])                                 (Sec. 3.3)
    L = L_c + similarity_weight * L_s + difference_weight * L_d       (Eq. 1)
    ```

    One clip in: class scores and the maps of action and context out. For the
    clips and pairs that the model takes, and what `fit` logs, see
    `PairedModel`.

    Args:
        num_classes: Number of logits.
        rho: Percentage of a clip that is action, in [0, 100]. Defaults to
            `30.0`.
        alpha: Sharpness of the border between action and context, >= 0.
            Defaults to `1.0`.
        beta: Sharpness of the attention within the action, >= 0. Defaults to
            `1.0`.
        gamma: Sharpness of the matching of Eq. 2, >= 0. The paper gives
            no value; the default is ours. Defaults to `20.0`.
        xi: Similarity up to which L_s is zero (Eq. 3). The paper gives
            no value; the default is ours. Defaults to `0.0`.
        similarity_weight: Weight of L_s, >= 0. Defaults to `1.0`.
        difference_weight: Weight of L_d, >= 0. Defaults to `1.0`.
        kernel_size: Size of the kernels of phi, psi and theta: one integer, or
            three for time, height and width. Defaults to `1`.
        use_attention_map: Whether there is S_att. False is "w/o Satt" of Table
            1. Defaults to `True`.
        transformation: Form of theta: see `FactorizedAttentionPooling`.
            Defaults to `"convolution"`.
        theta_rank: Channels within a `"low_rank"` one. Defaults to `32`.
        backbone: Optional Keras model, clip -> feature map. Defaults to
            `None`: the inputs are feature maps.
        description: Optional description of what made the feature maps.
            Defaults to the backbone's own, or `None`: see `PairedModel`.
        class_names: Optional names of the classes. Defaults to `None`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.
        background: See `PairedModel`. Defaults to none.
        conjugate_weight: See `PairedModel`. Defaults to `0.0`.
        crop_steps: See `PairedModel`. Defaults to `None`.
        context: What h is given of the context: `"keep"`, F_c, or `"mean"`, its
            mean over the training clips: the answer then depends on the action
            alone. It can be changed without training, `model.context = "mean"`,
            and is saved with the model. Defaults to `"keep"`.
        context_dropout: Share of the training clips for which h is given the
            mean of F_c, in [0, 1): `"mean"` then costs less where the scene
            may tell the class. Defaults to `0.0`.

    Input shape: `(batch, time, height, width, channels)`, or a dictionary: see
        `PairedModel`.

    Output shape: a dictionary of `"logits"`, `(batch, num_classes)`, float32,
        and `"action_map"` and `"context_map"`, `(batch, time, height, width)`,
        float32. For a pair also `"similarity_loss"` and `"difference_loss"`,
        `(batch,)`.

    Masking: what is masked changes no output; both maps are zero there.

    Raises:
        ValueError: If an argument is wrong.

    Example:

    >>> model = actx_tf.models.ActX(num_classes=8)
    >>> model.compile(
    ...     optimizer="adam",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     metrics=["accuracy"],
    ... )
    >>> model.fit({"features": features, "conjugate": conjugates}, labels)
    >>> maps = model.predict(test_features)["action_map"]

    Reference:

    - Wang et al., Attentive Action and Context Factorization, BMVC 2020.
    """

    def __init__(
        self,
        num_classes: int,
        rho: float = 30.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 20.0,
        xi: float = 0.0,
        similarity_weight: float = 1.0,
        difference_weight: float = 1.0,
        kernel_size: int | Sequence[int] = 1,
        use_attention_map: bool = True,
        transformation: str = "convolution",
        theta_rank: int = 32,
        backbone: keras.Model | None = None,
        description: BackboneDescription | dict[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        activation: str = "softmax",
        background: Sequence[str] = (),
        conjugate_weight: float = 0.0,
        crop_steps: int | None = None,
        context: str = "keep",
        context_dropout: float = 0.0,
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
            conjugate_weight,
            crop_steps,
            **kwargs,
        )
        check_positive("num_classes", num_classes)
        check_class_names(class_names, num_classes)
        check_not_negative("gamma", gamma)
        check_number("xi", xi)
        check_context(context)
        check_rate("context_dropout", context_dropout)
        self.num_classes = num_classes
        self.rho = rho
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.xi = xi
        self.kernel_size = kernel_size
        self.use_attention_map = use_attention_map
        self.transformation = transformation
        self.theta_rank = theta_rank
        self.pooling = FactorizedAttentionPooling(
            rho=rho,
            alpha=alpha,
            beta=beta,
            kernel_size=kernel_size,
            use_attention_map=use_attention_map,
            transformation=transformation,
            theta_rank=theta_rank,
            dtype=self.dtype_policy,
            name="pooling",
        )
        self.context_switch = ContextSwitch(
            context,
            context_dropout,
            dtype=self.dtype_policy,
            name="context_switch",
        )
        self.head = keras.layers.Dense(
            num_classes, dtype="float32", name="head"
        )

    def build(self, input_shape: Shape | dict[str, Shape]) -> None:
        shape = self.feature_shape(input_shape)
        self.pooling.build(shape)
        shape = self.pooling.compute_output_shape(shape)
        self.context_switch.build(shape)
        self.head.build(shape)

    @property
    def context(self) -> str:
        """What h is given of the context, `"keep"` or `"mean"`."""
        return self.context_switch.context

    @context.setter
    def context(self, context: str) -> None:
        check_context(context)
        if context == "mean" and not self.context_switch.is_known():
            raise ValueError(
                "`context` must be 'keep' until the model is trained: there is "
                f"no mean yet. Received: context={context}"
            )
        self.context_switch.context = context
        # Both have been traced with the former one.
        self.test_function = self.predict_function = None

    def classify(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        training: bool | None = False,
        context: str | None = None,
    ) -> dict[str, Tensor]:
        """See `PairedModel`; `context` takes the place of the model's own."""
        return self._classify(
            features, mask, training=training, context=context
        )

    def classify_conjugate(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        training: bool | None = False,
    ) -> dict[str, Tensor]:
        """See `PairedModel`; conjugates do not count in the mean of F_c."""
        return self._classify(features, mask, training=training, counted=False)

    def classify_after(
        self, features: Tensor, earlier: Tensor
    ) -> dict[str, Tensor]:
        """Answers a window of a clip that goes on, by what was seen so far.

        Args:
            features: Feature map of the window.
            earlier: The `"confidences"` that were returned for the steps before
                it: see `FactorizedAttentionPooling.attend_after`.

        Returns:
            As `classify`, and `"confidences"`.
        """
        *of_window, confidences = self.pooling.attend_after(features, earlier)
        return {**self._answer(*of_window), "confidences": confidences}

    def _classify(self, features, mask, **of_switch):
        pooled, action_map, context_map = self.pooling(
            features, mask=mask, return_attention_maps=True
        )
        return self._answer(pooled, action_map, context_map, **of_switch)

    def _answer(self, pooled, action_map, context_map, **of_switch):
        pooled = self.context_switch(pooled, **of_switch)
        return {
            "logits": self.head(pooled),
            "action_map": action_map,
            "context_map": context_map,
        }

    def pair_losses(
        self, outputs: dict[str, Tensor], pair: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        similarity = pair.get("conjugate_similarity")
        if similarity is None:
            similarity = losses.conjugate_similarity(
                pair["features"],
                pair["conjugate"],
                gamma=self.gamma,
                mask=pair.get("mask"),
                conjugate_mask=pair.get("conjugate_mask"),
            )
        # Both maps are zero where the clip is masked.
        return (
            losses.action_similarity(
                outputs["action_map"], similarity, xi=self.xi
            ),
            losses.context_difference(outputs["context_map"], similarity),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "rho": self.rho,
            "alpha": self.alpha,
            "beta": self.beta,
            "gamma": self.gamma,
            "xi": self.xi,
            "kernel_size": self.kernel_size,
            "use_attention_map": self.use_attention_map,
            "transformation": self.transformation,
            "theta_rank": self.theta_rank,
            "context": self.context,
            "context_dropout": self.context_switch.dropout,
        }
