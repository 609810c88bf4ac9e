import math

import keras
import tensorflow as tf
from keras import ops

from actx_tf.backbones.description import BackboneDescription
from actx_tf.ops.activations import check_activation


class PairedModel(keras.Model):
    """A classifier that is trained on pairs of an action and a conjugate clip.

    ```
    L = L_c + similarity_weight * L_s + difference_weight * L_d       (Eq. 1)
    ```

    Called on one clip, the model is what is served. Called on a pair, it also
    returns each sample's L_s and L_d, and `compute_loss` adds them to the loss
    given to `compile`. Everything else of `fit` and `evaluate` is Keras' own:
    gradients, loss scaling, XLA, metrics, distribution.

    A subclass writes `classify(features, mask)`, which returns a dictionary
    with `"logits"`, and `pair_losses(outputs, pair)`, which returns L_s and
    L_d, each of shape `(batch,)`. `features` and `pair` hold feature maps, the
    backbone behind them.

    `fit` logs `loss`, `classification_loss` (L_c and any regularization),
    `similarity_loss`, `difference_loss` and the metrics of `compile`, which
    receive the logits. L_c is a mean over the clips of the global batch, and
    L_s and L_d are means over its pairs, whatever parts of it the replicas get;
    `sample_weight` and `class_weight` apply to L_c.

    Args:
        similarity_weight: float >= 0. Weight of L_s. Defaults to `1.0`.
        difference_weight: float >= 0. Weight of L_d. Defaults to `1.0`.
        backbone: optional Keras model, clip -> feature map
            `(batch, time, height, width, channels)`. It is trained along
            unless its `trainable` is False. Defaults to `None`: the inputs are
            feature maps.
        description: optional `actx_tf.backbones.BackboneDescription` of what
            made the feature maps: it is saved with the model, so that whoever
            has the model knows how videos are read for it. Defaults to the
            backbone's own, or `None`.
        class_names: optional sequence of distinct strings, the names of the
            classes, in the order of the logits. Saved with the model. Defaults
            to `None`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes: what makes scores of the logits. Saved with the model; the
            loss of `compile` should agree with it. Defaults to `"softmax"`.

    Call arguments:
        inputs: the clips, or a dictionary with
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
        mask: the mask where `inputs` is not a dictionary.

    Raises:
        ValueError: if a weight is negative, or a dictionary has no
            `"features"`.
    """

    def __init__(
        self,
        similarity_weight=1.0,
        difference_weight=1.0,
        backbone=None,
        description=None,
        class_names=None,
        activation="softmax",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_activation(activation)
        for name, weight in (
            ("similarity_weight", similarity_weight),
            ("difference_weight", difference_weight),
        ):
            if not (weight >= 0 and math.isfinite(weight)):
                raise ValueError(
                    f"`{name}` must be a finite number >= 0. "
                    f"Received: {name}={weight}"
                )
        self.similarity_weight = similarity_weight
        self.difference_weight = difference_weight
        self.backbone = backbone
        self.description = _description_of(description, backbone)
        self.class_names = _distinct_names(class_names)
        self.activation = activation
        self.supports_masking = True
        self._loss_means = {
            name: keras.metrics.Mean(name=name)
            for name in (
                "classification_loss",
                "similarity_loss",
                "difference_loss",
            )
        }

    def classify(self, features, mask=None):
        """Returns what is served for feature maps: at least `"logits"`."""
        raise NotImplementedError

    def pair_losses(self, outputs, pair):
        """Returns L_s and L_d of each sample, `(batch,)` each."""
        raise NotImplementedError

    def call(self, inputs, mask=None, training=None):
        pair = inputs
        if not isinstance(inputs, dict):
            pair = {"features": inputs, "mask": mask}
        elif "features" not in inputs:
            raise ValueError(
                "`inputs` must be clips or a dictionary with the key "
                f'"features". Received: inputs with the keys {sorted(inputs)}'
            )
        pair = {key: value for key, value in pair.items() if value is not None}
        if "has_conjugate" in pair:
            # Zeros, for whatever stands there could make the gradient NaN.
            for key in {"conjugate", "conjugate_similarity"} & pair.keys():
                pair[key] = _keep(pair["has_conjugate"], pair[key])
        if self.backbone is not None:
            for key in {"features", "conjugate"} & pair.keys():
                pair[key] = self.backbone(pair[key], training=training)
        outputs = self.classify(pair["features"], pair.get("mask"))
        if {"conjugate", "conjugate_similarity"} & pair.keys():
            losses = self.pair_losses(outputs, pair)
            outputs["similarity_loss"], outputs["difference_loss"] = losses
        return outputs

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Eq. 1. See `keras.Model.compute_loss`."""
        logits = y_pred["logits"]
        loss = super().compute_loss(x, y, logits, sample_weight, training)
        # Keras scales a loss by 1 / replicas, since gradients are summed.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        count = ops.shape(logits)[0]
        self._loss_means["classification_loss"].update_state(
            loss * replicas, sample_weight=count
        )
        if replicas > 1:
            # Each clip of the global batch counts alike, also where the
            # replicas' parts of it differ in size.
            count = ops.cast(count, loss.dtype)
            loss *= replicas * count / _sum_over_replicas(count)
        if "similarity_loss" in y_pred:
            loss += self._loss_of_pairs(x, y_pred)
        if replicas > 1:
            # The value that Keras logs is that of the global batch.
            value = _sum_over_replicas(loss) / replicas
            loss += ops.stop_gradient(value - loss)
        return loss

    def _loss_of_pairs(self, x, y_pred):
        """This replica's part of the two losses' means over all pairs."""

        is_pair = ops.ones_like(y_pred["similarity_loss"])
        if x.get("has_conjugate") is not None:
            is_pair = ops.cast(x["has_conjugate"], is_pair.dtype)
        num_pairs = ops.maximum(_sum_over_replicas(ops.sum(is_pair)), 1.0)
        loss = 0.0
        for name, weight in (
            ("similarity_loss", self.similarity_weight),
            ("difference_loss", self.difference_weight),
        ):
            values = ops.where(is_pair > 0, y_pred[name], 0.0)
            loss += weight * ops.sum(values) / num_pairs
            self._loss_means[name].update_state(values, sample_weight=is_pair)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The metrics of `compile`, on the logits."""
        return super().compute_metrics(x, y, y_pred["logits"], sample_weight)

    def compute_mask(self, inputs, mask=None):
        return None

    def get_config(self):
        return {
            **super().get_config(),
            "similarity_weight": self.similarity_weight,
            "difference_weight": self.difference_weight,
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "description": self.description and self.description.to_dict(),
            "class_names": self.class_names,
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, config):
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})


def check_class_names(class_names, num_classes):
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


def _keep(samples, values):
    """Zeros where the booleans `samples`, `(batch,)`, are False."""
    shape = [-1] + [1] * (len(values.shape) - 1)
    samples = ops.reshape(ops.cast(samples, "bool"), shape)
    return ops.where(samples, values, ops.zeros_like(values))


def _sum_over_replicas(value):
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
