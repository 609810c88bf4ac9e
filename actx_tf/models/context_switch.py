"""The context feature as it is, or its mean over training in its place."""

from typing import Any

import keras
from keras import ops

from actx_tf.ops.replicas import sum_over_replicas
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor

CONTEXTS = ("keep", "mean")
# Batches that the mean looks back on.
_MEMORY = 100


def check_context(context: str) -> None:
    """Raises `ValueError` for what is no choice."""
    if context not in CONTEXTS:
        raise ValueError(
            f"`context` must be one of {CONTEXTS}. Received: context={context}"
        )


class ContextSwitch(keras.layers.Layer):
    """Hands on F_s and F_c, or F_s and the mean of F_c.

    The mean is over the clips of training: of all so far in the first batches,
    later of about the last 100, since F_c moves with theta.

    Args:
        context: `"keep"`, F_c as it is, or `"mean"`. In training it is kept.
        dropout: Share of the clips in training for which the mean takes the
            place of F_c.
        **kwargs: See `keras.layers.Layer`.

    Call arguments:
        pooled: F_s and F_c side by side, `(batch, 2 * channels)`.
        training: Whether the mean is counted, and F_c dropped.
        context: Takes the place of the layer's own.
        counted: Whether the clips count in the mean. Defaults to `True`.

    Output shape: `(batch, 2 * channels)`.
    """

    def __init__(self, context: str, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.context = context
        self.dropout = dropout
        self.supports_masking = True
        if dropout > 0:
            self.random = keras.random.SeedGenerator()

    def build(self, input_shape: Shape) -> None:
        statistic = {
            "initializer": "zeros",
            "dtype": "float32",
            "trainable": False,
            "autocast": False,  # PyTorch would assign to a copy
            "aggregation": "mean",
        }
        self.mean = self.add_weight(
            name="mean", shape=(input_shape[-1] // 2,), **statistic
        )
        self.batches = self.add_weight(name="batches", shape=(), **statistic)

    def call(
        self,
        pooled: Tensor,
        training: bool | None = None,
        context: str | None = None,
        counted: bool = True,
    ) -> Tensor:
        action, of_context = ops.split(pooled, 2, axis=-1)
        if training:
            if counted:
                self._count(of_context)
            if self.dropout == 0:
                return pooled
        elif (context or self.context) == "keep":
            return pooled
        mean = ops.zeros_like(of_context) + ops.cast(self.mean, pooled.dtype)
        if training:
            chance = keras.random.uniform(
                (ops.shape(pooled)[0], 1), seed=self.random
            )
            mean = ops.where(chance < self.dropout, mean, of_context)
        return ops.concatenate([action, mean], axis=-1)

    def is_known(self) -> bool:
        """Returns whether there is a mean: whether it was trained."""
        return self.built and float(ops.convert_to_numpy(self.batches)) > 0

    def _count(self, of_context):
        of_context = ops.stop_gradient(ops.cast(of_context, "float32"))
        clips = ops.cast(ops.shape(of_context)[0], "float32")
        total = sum_over_replicas(ops.sum(of_context, axis=0))
        clips = sum_over_replicas(clips)
        mean = total / ops.maximum(clips, 1.0)
        batches = self.batches + ops.cast(clips > 0, "float32")
        share = 1.0 / ops.clip(batches, 1.0, _MEMORY)
        share = ops.where(clips > 0, share, 0.0)
        self.mean.assign(self.mean + share * (mean - self.mean))
        self.batches.assign(batches)

    def compute_output_shape(self, input_shape: Shape, **kwargs: Any) -> Shape:
        return input_shape
