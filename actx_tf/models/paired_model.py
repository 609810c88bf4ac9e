import difflib
import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.description import BackboneDescription
from actx_tf.losses import named_action
from actx_tf.models.loss_of_logits import check_metrics
from actx_tf.models.loss_of_logits import loss_of_logits
from actx_tf.ops.activations import check_activation
from actx_tf.ops.replicas import num_replicas
from actx_tf.ops.replicas import sum_over_replicas
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_positive

_KEYS = (
    "features",
    "mask",
    "conjugate",
    "conjugate_mask",
    "conjugate_similarity",
    "has_conjugate",
)
_CONJUGATES = {"conjugate", "conjugate_similarity"}


class PairedModel(keras.Model):
    """A classifier that is trained on pairs of an action and a conjugate clip.

    ```
    L = L_c + similarity_weight * L_s + difference_weight * L_d       (Eq. 1)
            + conjugate_weight * L_n                                  (ours)
    ```

    Called on one clip, the model is what is served. Called on a pair, it also
    returns each sample's L_s and L_d, and `compute_loss` adds them to the loss
    given to `compile`. Everything else of `fit` and `evaluate` is Keras' own:
    gradients, loss scaling, XLA, metrics, distribution.

    A subclass writes `classify(features, mask)`, which returns a dictionary
    with `"logits"`, and `pair_losses(outputs, pair)`, which returns L_s and
    L_d, each of shape `(batch,)`. `features` and `pair` hold feature maps: the
    backbone has been run.

    `fit` logs `loss`, `classification_loss` (L_c and any regularization),
    `similarity_loss`, `difference_loss`, `conjugate_loss` (L_n, if it has a
    weight) and the metrics of `compile`, which receive the logits. L_c is a
    mean over the clips of the global batch, the others are means over its
    pairs, whatever parts of it the replicas get; `sample_weight` and
    `class_weight` apply to L_c. Losses of pairs are not logged where no
    conjugates are given, and are NaN where no clip had one.

    Args:
        similarity_weight: Weight of L_s, >= 0. Defaults to `1.0`.
        difference_weight: Weight of L_d, >= 0. Defaults to `1.0`.
        backbone: Optional Keras model, clip -> feature map
            `(batch, time, height, width, channels)`. It is trained along
            unless its `trainable` is False. Defaults to `None`: the inputs are
            feature maps.
        description: Optional `actx_tf.backbones.BackboneDescription` of what
            made the feature maps: it is saved with the model, so that whoever
            has the model knows how videos are read for it. Defaults to the
            backbone's own, or `None`.
        class_names: Optional distinct names of the classes, in the order of
            the logits. Saved with the model. Defaults
            to `None`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes: what makes scores of the logits. Saved with the model; the
            loss of `compile` should agree with it. Defaults to `"softmax"`.
        background: Those of `class_names` that show no action. Saved with the
            model, for whoever evaluates it. Defaults to none.
        conjugate_weight: Weight of L_n, >= 0: the conjugate clip must not be
            named an action, see `actx_tf.losses.named_action`. It needs the
            conjugate clips themselves, not their similarities alone. Defaults
            to `0.0`, without which there is no L_n: Eq. 1 of the paper.
        crop_steps: Steps of the stretches of a feature map that the model is
            trained on. Saved with the model: long videos are answered in
            windows of that many. Defaults to `None`: not known.

    Call arguments:
        inputs: The clips, or a dictionary with
            `"features"`: the clips, as feature maps or, with a backbone, as
            what the backbone takes;
            `"mask"`: optional, boolean, True where a location of the feature
            map is real, `(batch, time)` or `(batch, time, height, width)`;
            `"conjugate"`, `"conjugate_mask"`: optional, the conjugate clips;
            `"conjugate_similarity"`: optional, a map computed beforehand that
            takes the place of the conjugate clips;
            `"has_conjugate"`: optional, boolean `(batch,)`, False where a clip
            has none. L_s and L_d are means over the others, and what stands
            in the place of a missing conjugate changes nothing.
            On several replicas train with `actx_tf.training.fit`: Keras' own
            `fit` takes no booleans there (it averages the first batch).
        mask: The mask where `inputs` is not a dictionary.

    Raises:
        ValueError: If an argument is wrong, or a dictionary has no
            `"features"` or a key that is not known.
    """

    def __init__(
        self,
        similarity_weight: float = 1.0,
        difference_weight: float = 1.0,
        backbone: keras.Model | None = None,
        description: BackboneDescription | dict[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        activation: str = "softmax",
        background: Sequence[str] = (),
        conjugate_weight: float = 0.0,
        crop_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_activation(activation)
        check_not_negative("conjugate_weight", conjugate_weight)
        check_not_negative("similarity_weight", similarity_weight)
        check_not_negative("difference_weight", difference_weight)
        if crop_steps is not None:
            check_positive("crop_steps", crop_steps)
        self.similarity_weight = similarity_weight
        self.difference_weight = difference_weight
        self.conjugate_weight = conjugate_weight
        self.crop_steps = crop_steps
        self.backbone = backbone
        self.description = _description_of(description, backbone)
        self.class_names = _distinct_names(class_names)
        self.activation = activation
        self.background = _names_among(background, self.class_names)
        self.supports_masking = True
        self._loss_means = {
            name: _Mean(name=name)
            for name in ("classification_loss", *self._pair_weights())
        }
        self._pairs_seen = True

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *args: Any,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """See `keras.Model.compile`.

        A cross-entropy that is given by its name takes logits here; one that
        takes probabilities, or does not fit `activation`, is refused. So are
        metrics of probabilities.
        """
        loss = loss_of_logits(loss, self.activation)
        named = [kwargs.get(x) for x in ("metrics", "weighted_metrics")]
        check_metrics([*args[1:3], *named])  # by place, or by name
        self._jit_compile_given = jit_compile
        super().compile(
            optimizer, loss, *args, jit_compile=jit_compile, **kwargs
        )

    def get_compile_config(self) -> dict[str, Any]:
        """See `keras.Model`, which writes what holds on this backend alone."""
        config = _of_any_backend(super().get_compile_config())
        if config:
            config["jit_compile"] = self._jit_compile_given
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """See `keras.Model`, which leaves this to whoever has a `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        *args: Any,
        class_weight: dict[int, float] | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """See `keras.Model.fit`."""
        if class_weight is not None and self.activation == "sigmoid":
            raise ValueError(
                "`class_weight` must be None where a clip can be of several "
                "classes: Keras would weigh it by the first of them; pass "
                f"`sample_weight`. Received: class_weight={class_weight}"
            )
        # Beforehand: after an error in the step JAX has lost the weights.
        pair = args[0] if args else kwargs.get("x")
        if isinstance(pair, dict):
            _check_keys(pair)
        history = super().fit(*args, class_weight=class_weight, **kwargs)
        measured = history.history.get("similarity_loss", [math.nan])
        if (
            isinstance(pair, dict)
            and _CONJUGATES & pair.keys()
            and (all(map(math.isnan, measured)))
        ):
            warnings.warn(
                f"no clip that {self.name} was trained on has a conjugate "
                "(has_conjugate is False everywhere): L_s and L_d were not "
                "measured.",
                stacklevel=2,
            )
        self.rename_trained_backbone()
        return history

    def rename_trained_backbone(self) -> None:
        """Gives a backbone that was trained along a name of its own.

        Its features are no longer those of the network that it was: no store
        takes both. `fit` calls this.
        """
        if isinstance(self.backbone, Backbone) and (
            self.backbone.trainable_variables
        ):
            self.backbone.name_by_weights()
            self.description = self.backbone.description

    def feature_shape(self, input_shape: Shape | dict[str, Shape]) -> Shape:
        """Shape of the feature maps, of what the model is built for."""
        if isinstance(input_shape, dict):
            _check_keys(input_shape)
            shape = input_shape["features"]
        else:
            shape = input_shape
        if self.backbone is not None:
            shape = self.backbone.compute_output_shape(shape)
        return shape

    def classify(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        training: bool | None = False,
    ) -> dict[str, Tensor]:
        """Returns what is served for feature maps: at least `"logits"`."""
        raise NotImplementedError

    def classify_conjugate(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        training: bool | None = False,
    ) -> dict[str, Tensor]:
        """The same for feature maps of conjugates, for L_n."""
        return self.classify(features, mask, training)

    def pair_losses(
        self, outputs: dict[str, Tensor], pair: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Returns L_s and L_d of each sample, `(batch,)` each."""
        raise NotImplementedError

    def call(
        self,
        inputs: Tensor | dict[str, Tensor],
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> dict[str, Tensor]:
        pair = inputs
        if not isinstance(inputs, dict):
            pair = {"features": inputs, "mask": mask}
        _check_keys(pair)
        pair = {key: value for key, value in pair.items() if value is not None}
        if "has_conjugate" in pair:
            pair["has_conjugate"] = _flat(pair["has_conjugate"])
            # Zeros, for whatever stands there could make the gradient NaN.
            for key in _CONJUGATES & pair.keys():
                pair[key] = _keep(pair["has_conjugate"], pair[key])
        for key in {"features", "conjugate"} & pair.keys():
            if self.backbone is not None:
                pair[key] = self.backbone(pair[key], training=training)
            # Keras does so but for the training step under JAX, which would
            # match a store's float16 in float32.
            pair[key] = ops.cast(pair[key], self.compute_dtype)
        # Said to each layer: Keras' training step under JAX tells none.
        outputs = self.classify(pair["features"], pair.get("mask"), training)
        if _CONJUGATES & pair.keys():
            losses = self.pair_losses(outputs, pair)
            outputs["similarity_loss"], outputs["difference_loss"] = losses
            if self.conjugate_weight > 0:
                outputs["conjugate_loss"] = self._conjugate_loss(pair, training)
        return outputs

    def _pair_weights(self):
        """Weights of the losses of pairs, by the names that `fit` logs."""
        weights = {
            "similarity_loss": self.similarity_weight,
            "difference_loss": self.difference_weight,
        }
        if self.conjugate_weight > 0:
            weights["conjugate_loss"] = self.conjugate_weight
        return weights

    def _conjugate_loss(self, pair, training):
        if "conjugate" not in pair:
            raise ValueError(
                '`inputs` must have the key "conjugate" where '
                f"conjugate_weight={self.conjugate_weight}. "
                f"Received: inputs with the keys {sorted(pair)}"
            )
        answer = self.classify_conjugate(
            pair["conjugate"], pair.get("conjugate_mask"), training
        )
        names = self.class_names or []
        background = [names.index(name) for name in self.background]
        return named_action(answer["logits"], self.activation, background)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Eq. 1. See `keras.Model.compute_loss`."""
        logits = y_pred["logits"]
        loss = super().compute_loss(x, y, logits, sample_weight, training)
        loss = ops.cast(loss, "float32")  # whatever floatx is
        # Keras scales a loss by 1 / replicas, since gradients are summed.
        replicas = num_replicas()
        count = ops.shape(logits)[0]
        self._loss_means["classification_loss"].update_state(
            loss * replicas, sample_weight=count
        )
        if replicas > 1:
            # Each clip of the global batch counts alike, also where the
            # replicas' parts of it differ in size.
            count = ops.cast(count, loss.dtype)
            loss *= replicas * count / sum_over_replicas(count)
        self._pairs_seen = "similarity_loss" in y_pred
        if self._pairs_seen:
            loss += self._loss_of_pairs(x, y_pred)
        elif training:
            warnings.warn(
                f"{self.name} is trained on clips without conjugates: L_s and "
                'L_d are not measured. Give fit() the "conjugate" clips.',
                stacklevel=1,  # those of Keras are not shown
            )
        if replicas > 1:
            # The value that Keras logs is that of the global batch.
            value = sum_over_replicas(loss) / replicas
            loss += ops.stop_gradient(value - loss)
        return loss

    def _loss_of_pairs(self, x, y_pred):
        """This replica's part of the two losses' means over all pairs."""

        is_pair = ops.ones_like(y_pred["similarity_loss"])
        if x.get("has_conjugate") is not None:
            is_pair = ops.cast(_flat(x["has_conjugate"]), is_pair.dtype)
        num_pairs = ops.maximum(sum_over_replicas(ops.sum(is_pair)), 1.0)
        loss = 0.0
        for name, weight in self._pair_weights().items():
            values = ops.where(is_pair > 0, y_pred[name], 0.0)
            loss += weight * ops.sum(values) / num_pairs
            self._loss_means[name].update_state(values, sample_weight=is_pair)
        return loss

    def compute_metrics(
        self,
        x: Any,
        y: Any,
        y_pred: dict[str, Tensor],
        sample_weight: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The metrics of `compile`, on the logits."""
        return super().compute_metrics(x, y, y_pred["logits"], sample_weight)

    def get_metrics_result(self) -> dict[str, Tensor]:
        """See `keras.Model`; without the losses of pairs if none was given."""
        results = super().get_metrics_result()
        for name in self._pair_weights():
            if not self._is_measured(name):
                results.pop(name, None)
        return results

    def _is_measured(self, name):
        try:
            # The sum reads what may be a variable of several replicas.
            return float(self._loss_means[name].count + 0.0) > 0
        # In a graph, where only what it is made of can tell.
        except (AttributeError, TypeError):
            return self._pairs_seen

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        return None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "similarity_weight": self.similarity_weight,
            "difference_weight": self.difference_weight,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "description": self.description and self.description.to_dict(),
            "class_names": self.class_names,
            "activation": self.activation,
            "background": self.background,
            "conjugate_weight": self.conjugate_weight,
            "crop_steps": self.crop_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PairedModel":
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


def _flat(has_conjugate):
    """`(batch,)`, also of a column, which would pair each clip with all."""
    shape = tuple(has_conjugate.shape)
    if len(shape) > 2 or shape[1:] not in ((), (1,)):
        raise ValueError(
            f"`has_conjugate` must have the shape (batch,). Received: {shape}"
        )
    return ops.reshape(has_conjugate, (-1,))


class _Mean(keras.metrics.Mean):
    """A mean that is NaN, and not 0, where nothing was measured."""

    def result(self):
        return ops.where(self.count > 0, super().result(), float("nan"))


def _of_any_backend(config):
    """Names optimizers, and those within them, as all backends do."""
    if not isinstance(config, dict):
        return config
    config = {key: _of_any_backend(value) for key, value in config.items()}
    # On PyTorch they are subclasses, which need PyTorch.
    if str(config.get("module")).startswith("keras.src.backend."):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config


def _check_keys(pair):
    if "features" not in pair:
        raise ValueError(
            "`inputs` must be clips or a dictionary with the key "
            f'"features". Received: inputs with the keys {sorted(pair)}'
        )
    for key in pair:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"`inputs` must have no other keys than {_KEYS}. "
                f"Received: {key!r}{hint}"
            )


def check_class_names(
    class_names: Sequence[str] | None, num_classes: int
) -> None:
    """Raises `ValueError` if names are given, and not one a class."""
    if class_names is not None and len(class_names) != num_classes:
        raise ValueError(
            f"`class_names` must name {num_classes} classes. "
            f"Received: class_names={list(class_names)}"
        )


def _description_of(description, backbone):
    own = getattr(backbone, "description", None)
    if description is None:
        return own
    if not isinstance(description, BackboneDescription):
        description = BackboneDescription.from_dict(description)
    if own is not None and own != description:
        raise ValueError(
            "`description` must be that of `backbone`. "
            f"Received: {', '.join(own.differences(description))}"
        )
    return description


def _distinct_names(class_names):
    if class_names is None:
        return None
    names = [str(name) for name in class_names]
    if isinstance(class_names, str) or len(set(names)) < len(names):
        raise ValueError(
            "`class_names` must be distinct names. "
            f"Received: class_names={class_names!r}"
        )
    return names


def _names_among(background, class_names):
    names = [str(name) for name in background]
    if isinstance(background, str) or not set(names) <= set(class_names or ()):
        raise ValueError(
            f"`background` must be names of `class_names`, {class_names}. "
            f"Received: background={background!r}"
        )
    return names


def _keep(samples, values):
    """Zeros where the booleans `samples`, `(batch,)`, are False."""
    shape = [-1] + [1] * (len(values.shape) - 1)
    samples = ops.reshape(ops.cast(samples, "bool"), shape)
    return ops.where(samples, values, ops.zeros_like(values))
