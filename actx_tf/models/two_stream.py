import math

import keras
from keras import ops

_ACTIVATIONS = {"softmax": ops.softmax, "sigmoid": ops.sigmoid}


@keras.saving.register_keras_serializable(package="actx_tf")
class TwoStream(keras.Model):
    """Late fusion of a model of RGB and a model of optical flow.

    ```
    scores = (p_rgb + flow_weight * p_flow) / (1 + flow_weight)
    ```

    p are the class probabilities of each stream. The streams are trained
    apart and fused afterwards: the fusion has no weights of its own, runs them
    as at test, and is not trainable, so that `fit` changes neither of them.

    `evaluate` hands the scores to the loss and the metrics of `compile`: they
    are probabilities, `from_logits=False`.

    Args:
        rgb: Keras model of the RGB stream. It returns logits
            `(batch, classes)`, or a dictionary with `"logits"`, such as `ActX`.
        flow: Keras model of the flow stream, for the same classes.
        flow_weight: float >= 0. Weight of the flow's probabilities, beside 1
            for those of RGB. Defaults to `1.0`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.

    Call arguments:
        inputs: a dictionary of `"rgb"` and `"flow"`: what each stream takes.

    Output shape: a dictionary of `"scores"`, `(batch, classes)`, float32.

    Raises:
        TypeError: if a stream is not a Keras model.
        ValueError: if an argument is wrong, an input is missing, or the
            streams differ in the number of classes.

    Example:

    >>> model = actx_tf.models.TwoStream(rgb_model, flow_model)
    >>> model.compile(loss="sparse_categorical_crossentropy",
    ...               metrics=["accuracy"])
    >>> model.evaluate({"rgb": rgb_features, "flow": flow_features}, labels)

    Reference:

    - Simonyan and Zisserman, Two-Stream Convolutional Networks for Action
      Recognition in Videos, NeurIPS 2014.
    """

    def __init__(
        self, rgb, flow, flow_weight=1.0, activation="softmax", **kwargs
    ):
        # Before the streams are set: they themselves stay trainable.
        super().__init__(**{"trainable": False, **kwargs})
        for name, stream in (("rgb", rgb), ("flow", flow)):
            if not isinstance(stream, keras.Model):
                raise TypeError(
                    f"`{name}` must be a Keras model. Received: {name}={stream}"
                )
        if not (flow_weight >= 0 and math.isfinite(flow_weight)):
            raise ValueError(
                "`flow_weight` must be a finite number >= 0. "
                f"Received: flow_weight={flow_weight}"
            )
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {tuple(_ACTIVATIONS)}. "
                f"Received: activation={activation!r}"
            )
        self.rgb = rgb
        self.flow = flow
        self.flow_weight = flow_weight
        self.activation = activation
        self.built = rgb.built and flow.built  # there is nothing else

    def call(self, inputs):
        if not isinstance(inputs, dict) or not {"rgb", "flow"} <= set(inputs):
            keys = sorted(inputs) if isinstance(inputs, dict) else type(inputs)
            raise ValueError(
                '`inputs` must be a dictionary with the keys "rgb" and "flow". '
                f"Received: inputs={keys}"
            )
        rgb = self._probabilities(self.rgb, inputs["rgb"])
        flow = self._probabilities(self.flow, inputs["flow"])
        if rgb.shape[-1] != flow.shape[-1]:
            raise ValueError(
                "`rgb` and `flow` must have equally many classes. Received: "
                f"{rgb.shape[-1]} and {flow.shape[-1]} classes"
            )
        scores = (rgb + self.flow_weight * flow) / (1.0 + self.flow_weight)
        return {"scores": scores}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The loss of `compile`, of the scores."""
        scores = y_pred["scores"]
        return super().compute_loss(x, y, scores, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The metrics of `compile`, of the scores."""
        return super().compute_metrics(x, y, y_pred["scores"], sample_weight)

    def _probabilities(self, stream, inputs):
        outputs = stream(inputs, training=False)
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs
        return _ACTIVATIONS[self.activation](ops.cast(logits, "float32"))

    def get_config(self):
        return {
            **super().get_config(),
            "rgb": keras.saving.serialize_keras_object(self.rgb),
            "flow": keras.saving.serialize_keras_object(self.flow),
            "flow_weight": self.flow_weight,
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, config):
        streams = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("rgb", "flow")
        }
        return cls(**{**config, **streams})
