from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from actx_tf.ops.masks import zero_padding
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_positive


@keras.saving.register_keras_serializable(package="actx_tf")
class EigenEvolutionPooling(keras.layers.Layer):
    """Pools a sequence by functions of time that are learned from data by PCA.

    ```
    pooled_jc = sum_t g_j(t) f_c(t) / sqrt(num_steps)      (EEP of Table 2)
    ```

    f_c is the course of channel c over the clip, resampled to `num_steps`
    values by linear interpolation, whatever the clip's length. The courses of
    all channels of all clips are what `adapt` sees; their first principal
    components are the functions g_j. What is projected are the values
    themselves, not centered: the mean course would add a constant, which a
    `Dense` layer that follows has anyway. With this scale a g that is constant
    means average pooling, and `num_steps` does not matter to the magnitudes.

    For the features of a clip as a whole, put it after average pooling over
    height and width or `FactorizedAttentionPooling` with `keep_time=True`.

    The layer has the weights `components`, `(num_components, num_steps)`, of
    length 1, orthogonal, with the largest value positive, and
    `explained_variance_ratio`, `(num_components,)`. They are not trained, and
    are saved with the model.

    Args:
        num_components: Number of functions. Defaults to `3`.
        num_steps: Number of values of a function, at least `num_components`;
            the default is ours. Of clips with many more steps, some take no
            part. Defaults to `32`.

    Call arguments:
        x: The features of each step.
        mask: Optional booleans `(batch, time)`, True where a step is real.
            Defaults to `None`: all are.

    Input shape: `(batch, time, channels)`.

    Output shape: `(batch, num_components * channels)`, the channels of the
    first function first.

    Masking: the functions span a clip's real steps, whatever stands between or
    after them. A clip that is fully masked becomes zero. The output has no
    mask.

    Raises:
        ValueError: If an argument is out of range, the input is not of rank 3,
            or the layer is called before it was adapted.

    Example:

    >>> pooling = actx_tf.layers.EigenEvolutionPooling()
    >>> pooling.adapt(np.random.normal(size=(20, 10, 64)))
    >>> pooling(np.random.normal(size=(2, 25, 64)).astype("float32")).shape
    TensorShape([2, 192])

    Reference:
        - Wang, Tran and Hoai, Eigen Evolution Pooling for Human Action
          Recognition, arXiv 1708.05465, 2017.
        - Wang, Tran and Hoai, Eigen-Evolution Dense Trajectory Descriptors,
          FG 2018.
    """

    def __init__(
        self, num_components: int = 3, num_steps: int = 32, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_positive("num_components", num_components)
        check_positive("num_steps", num_steps)
        if num_steps < num_components:
            raise ValueError(
                "`num_steps` must be an integer >= `num_components`, "
                f"{num_components}. Received: num_steps={num_steps}"
            )
        self.num_components = num_components
        self.num_steps = num_steps
        self.supports_masking = True
        self.input_spec = keras.layers.InputSpec(ndim=3)
        self.components: Any = None  # see `build`
        self.explained_variance_ratio: Any = None
        self.is_adapted = False

    def build(self, input_shape: Shape | None = None) -> None:
        self.components = self._statistic(
            "components", (self.num_components, self.num_steps)
        )
        self.explained_variance_ratio = self._statistic(
            "explained_variance_ratio", (self.num_components,)
        )

    def adapt(self, data: np.ndarray | Iterable[Any]) -> None:
        """Learns the functions of time from clips.

        A second call starts from nothing. One batch at a time is held in
        memory.

        Args:
            data: Array `(clips, time, channels)`, or an iterable, such as a
                `tf.data.Dataset`, of batches: arrays of such a shape, or pairs
                of one and its mask, booleans `(clips, time)`. Time may change
                from batch to batch.

        Raises:
            ValueError: If `data` has another shape, holds a value that is not
                finite, or does not hold more functions, clips times channels,
                than `num_components`.
        """
        count = 0
        mean = np.zeros(self.num_steps)
        scatter = np.zeros((self.num_steps, self.num_steps))
        for functions in self._resampled_clips(data):
            channels = functions.shape[1]
            new_mean = functions.mean(axis=1)
            centered = functions - new_mean[:, None]
            shift = new_mean - mean
            share = channels / (count + channels)
            scatter += centered @ centered.T
            scatter += np.outer(shift, shift) * count * share
            mean += shift * share
            count += channels
        if count <= self.num_components:
            raise ValueError(
                "`data` must hold more functions, clips times channels, than "
                f"`num_components`, {self.num_components}. "
                f"Received: data with {count} functions"
            )
        variances, vectors = np.linalg.eigh(scatter)
        components = vectors.T[::-1][: self.num_components]
        largest = np.argmax(np.abs(components), axis=1)[:, None]
        components *= np.sign(np.take_along_axis(components, largest, axis=1))
        ratio = variances[::-1] / max(np.trace(scatter), 1e-300)
        if not self.built:
            self.build()
        self.components.assign(components)
        self.explained_variance_ratio.assign(ratio[: self.num_components])
        self.is_adapted = True

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not self.is_adapted:
            raise ValueError(
                "EigenEvolutionPooling must be adapted before it is called: "
                "call `adapt(data)`, or load the weights of a layer that was. "
                f"Received: is_adapted={self.is_adapted}"
            )
        batch, time = ops.shape(x)[:2]
        if mask is None:
            mask = ops.ones((batch, time), "bool")
        mask = ops.cast(mask, "bool")
        x = zero_padding(x, mask)
        weights = ops.matmul(
            ops.cast(self.components, "float32") / self.num_steps**0.5,
            self._interpolation(mask),
        )
        pooled = ops.matmul(ops.cast(weights, x.dtype), x)
        return ops.reshape(pooled, (batch, self.num_components * x.shape[-1]))

    def _resampled_clips(self, data):
        """Yields `(num_steps, channels)` of each clip, in float64."""
        for batch in [data] if hasattr(data, "shape") else data:
            is_pair = isinstance(batch, tuple | list) and len(batch) == 2
            x, mask = batch if is_pair else (batch, None)
            x = ops.convert_to_numpy(x)
            if x.ndim != 3:
                raise ValueError(
                    "`data` must hold clips of the shape (clips, time, "
                    f"channels). Received: data with the shape {x.shape}"
                )
            if mask is None:
                mask = np.ones(x.shape[:2], "bool")
            mask = ops.convert_to_numpy(mask)
            if mask.shape != x.shape[:2] or mask.dtype != "bool":
                raise ValueError(
                    "`data` must hold masks that are boolean, of the shape "
                    f"(clips, time), {x.shape[:2]}. Received: data with a mask "
                    f"of the shape {mask.shape} and dtype {mask.dtype}"
                )
            weights = self._interpolation(ops.convert_to_tensor(mask))
            weights = ops.convert_to_numpy(weights)
            for clip, real, weight in zip(x, mask, weights, strict=True):
                if not real.any():
                    continue
                steps = clip[real].astype("float64")
                if not np.all(np.isfinite(steps)):
                    raise ValueError(
                        "`data` must be finite where it is not masked. "
                        "Received: data with NaN or infinity"
                    )
                yield weight[:, real] @ steps

    def _interpolation(self, mask):
        """Weights of the steps in each resampled value.

        `(batch, time)` -> `(batch, num_steps, time)`. Values and steps are
        means over equal parts of the clip, placed at their middles.
        """
        real = ops.cast(mask, "float32")
        length = ops.sum(real, axis=1, keepdims=True)
        middle = ops.arange(self.num_steps, dtype="float32") + 0.5
        position = middle / self.num_steps * length - 0.5
        position = ops.maximum(ops.minimum(position, length - 1.0), 0.0)
        step = ops.cumsum(real, axis=1) - 1.0
        distance = ops.abs(position[:, :, None] - step[:, None, :])
        return ops.maximum(1.0 - distance, 0.0) * real[:, None, :]

    def _statistic(self, name, shape):
        return self.add_weight(
            name=name,
            shape=shape,
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        self.is_adapted = bool(np.any(ops.convert_to_numpy(self.components)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.num_components * input_shape[-1])

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> None:
        return None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "num_steps": self.num_steps,
        }
