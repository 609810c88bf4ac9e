import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from actx_tf.layers.att_norm import AttNorm
from actx_tf.layers.percentile_shift import PercentileShift
from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.masks import zero_padding
from actx_tf.ops.thin_products import scores
from actx_tf.ops.thin_products import weighted_sums
from actx_tf.ops.types import Shape
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_feature_map
from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_positive

TRANSFORMATIONS = ("convolution", "low_rank", "identity")


@keras.saving.register_keras_serializable(package="actx_tf")
class FactorizedAttentionPooling(keras.layers.Layer):
    """Splits a clip into action and context and pools each part.

    ```
    S_act = sigmoid(alpha * PercentileShift(AttNorm(phi(F))))       (Eq. 6)
    S_att = softmax(beta * AttNorm(psi(F)))                         (Eq. 6)
    S = S_act * S_att,   C = 1 - S_act                              (Eq. 5)
    theta(F) = relu(F + conv3d(F))                                  (Sec. 3.3)
    F_s = sum_i S_i theta(F)_i / sum_i S_i,   F_c likewise with C   (Sec. 3.3)
    ```

    phi and psi are convolutions with one filter and no bias (AttNorm would
    remove it); the convolution of theta keeps the number of channels. Maps are
    computed and returned in float32 whatever the dtype policy.

    Args:
        rho: Percentage of S_act above 0.5, in [0, 100]. Defaults to `30.0`.
        alpha: Sharpness of the border between action and context, >= 0: 0
            makes S_act 0.5 everywhere, large values make it binary. Defaults
            to `1.0`.
        beta: Sharpness of S_att, >= 0: 0 makes it uniform (average pooling),
            large values select one location (max pooling). Defaults to `1.0`.
        kernel_size: Size of the kernels of phi, psi and theta: one integer,
            or three for time, height and width. Defaults to `1`.
        use_attention_map: If False, S = S_act, which is "w/o Satt" of Table 1.
            Defaults to `True`.
        transformation: `"convolution"`, theta of the paper, the default;
            `"low_rank"`, where two convolutions with `theta_rank` channels
            between them take the place of its one: the second begins at zero,
            so that theta begins as relu(F) and leaves it as far as the training
            says; or `"identity"`, theta(F) = F, which has nothing to learn. The
            last two are ours and learn few clips less by heart. The paper
            leaves the choice open ("other transformation functions are also
            plausible", Sec. 3.3).
        theta_rank: Channels within a `"low_rank"` theta. Defaults to `32`.

    Call arguments:
        features: The feature map F.
        mask: Optional booleans, True where a location is real:
            `(batch, time)` or `(batch, time, height, width)`. Defaults to
            `None`: all are.
        return_attention_maps: Whether to return S and C too. Defaults to
            `False`.
        keep_time: Whether to pool each step by itself, for a layer that pools
            time, such as `EigenEvolutionPooling`. Steps keep their share of
            the maps: the mean over a clip's real steps is what is returned
            otherwise. Defaults to `False`.

    Input shape: `(batch, time, height, width, channels)`.

    Output shape: `(batch, 2 * channels)`, F_s and F_c side by side; with
    `keep_time=True` `(batch, time, 2 * channels)`. With
    `return_attention_maps=True` a tuple `(pooled, action_map, context_map)`,
    the maps S and C of shape `(batch, time, height, width)`.

    Masking: both maps are zero where the mask is False, and what stands there
    changes no output. The output has no mask.

    Raises:
        ValueError: If an argument is out of range, or the input is not a
            feature map with a known number of channels.

    Example:

    >>> features = np.random.normal(size=(2, 10, 8, 11, 64)).astype("float32")
    >>> pooling = actx_tf.layers.FactorizedAttentionPooling()
    >>> pooling(features).shape
    TensorShape([2, 128])

    Reference:
        - Wang et al., Attentive Action and Context Factorization, BMVC 2020.
    """

    def __init__(
        self,
        rho: float = 30.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        kernel_size: int | Sequence[int] = 1,
        use_attention_map: bool = True,
        transformation: str = "convolution",
        theta_rank: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_not_negative("alpha", alpha)
        check_not_negative("beta", beta)
        check_positive("theta_rank", theta_rank)
        if transformation not in TRANSFORMATIONS:
            raise ValueError(
                f"`transformation` must be one of {TRANSFORMATIONS}. "
                f"Received: transformation={transformation!r}"
            )
        self.rho = rho
        self.alpha = alpha
        self.beta = beta
        self.kernel_size = kernel_size
        self.use_attention_map = use_attention_map
        self.transformation = transformation
        self.theta_rank = theta_rank
        self.supports_masking = True

        self.phi = self._confidence("phi")
        self.psi = self._confidence("psi") if use_attention_map else None
        # Have as many filters as F has channels: see `build`.
        self.theta = None
        self.theta_narrow = None  # the first of two, if theta is of low rank
        # Under bfloat16, rounding between the two would tie what the
        # percentile has to rank.
        self.att_norm = AttNorm(dtype="float32", name="att_norm")
        self.percentile_shift = PercentileShift(
            rho, dtype="float32", name="percentile_shift"
        )

    def build(self, input_shape: Shape) -> None:
        check_feature_map("features", input_shape, known_channels=True)
        self.input_spec = keras.layers.InputSpec(
            ndim=5, axes={-1: input_shape[-1]}
        )
        channels, theta_shape = input_shape[-1], input_shape
        if self.transformation == "convolution":
            self.theta = self._convolution(channels, "theta")
        if self.transformation == "low_rank":
            self.theta_narrow = self._convolution(
                self.theta_rank, "theta_narrow", use_bias=False
            )
            self.theta = self._convolution(
                channels, "theta", kernel_size=1, kernel_initializer="zeros"
            )
            theta_shape = (*input_shape[:-1], self.theta_rank)
        for convolution, shape in (
            (self.phi, input_shape),
            (self.psi, input_shape),
            (self.theta_narrow, input_shape),
            (self.theta, theta_shape),
        ):
            if convolution is not None:
                convolution.build(shape)
        self.att_norm.build(input_shape[:-1])
        self.percentile_shift.build(input_shape[:-1])

    def call(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        return_attention_maps: bool = False,
        keep_time: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        if mask is not None:
            mask = broadcast_mask(mask, ops.shape(features)[:-1])
            # Kernels larger than 1 would carry padding into real locations.
            features = zero_padding(features, mask)
        scale = None
        if self.compute_dtype == "float16":
            # Sums of products pass its 65504. AttNorm undoes a scale of phi
            # and psi, and theta of a scaled clip is theta, scaled.
            scale = _scale(features)
            features = features / scale
        action_map, context_map, logits = self._attention_maps(
            self._phi_and_psi(features), mask
        )
        pooled = self._pool(features, logits, mask, keep_time, scale)
        if return_attention_maps:
            return pooled, action_map, context_map
        return pooled

    def attend_after(
        self, features: Tensor, earlier: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Answers a window of a clip that goes on, by what was seen so far.

        AttNorm and PercentileShift are those of the earlier steps and the
        window together; S_att and the pooling are over the window, and kernels
        larger than 1 see nothing beyond it. In float32 whatever the dtype
        policy.

        Args:
            features: The feature map F of the window.
            earlier: The confidences of the steps before it, one window's after
                the other's, float32 `(batch, steps, height, width, maps)`.
                There may be none.

        Returns:
            A tuple `(pooled, action_map, context_map, confidences)`: of the
            window, as of the call; and phi(F) and psi(F), before AttNorm, which
            later windows are given: `(batch, time, height, width, maps)`, of
            two maps, or phi alone with `use_attention_map=False`.
        """
        features = ops.cast(features, "float32")
        confidences = self._phi_and_psi(features)
        action_map, context_map, logits = self._attention_maps(
            ops.concatenate([earlier, confidences], axis=1),
            mask=None,
            steps=ops.shape(features)[1],
        )
        pooled = self._pool(features, logits, None, False, None)
        return pooled, action_map, context_map, confidences

    def _phi_and_psi(self, features):
        kernels = [self.phi.kernel]
        if self.psi is not None:
            kernels.append(self.psi.kernel)
        # One product for both: F is read once.
        return _scores(features, ops.concatenate(kernels, axis=-1))

    def _attention_maps(self, phi_and_psi, mask, steps=None):
        """S and C of Eqs. 5 and 6, and logits of S / sum S and C / sum C.

        S is a product of two maps that can be largest at different places, and
        then sums to almost nothing: its logits keep what its values lose.
        """
        confidence = self.att_norm(phi_and_psi[..., 0], mask=mask)
        confidence = self.alpha * self.percentile_shift(confidence, mask=mask)
        if steps is not None:
            confidence = confidence[:, -steps:]
        action_map = ops.sigmoid(confidence)
        context_map = 1.0 - action_map
        action_logits = ops.log_sigmoid(confidence)
        context_logits = ops.log_sigmoid(-confidence)
        if mask is not None:
            action_map = ops.where(mask, action_map, 0.0)
            context_map = ops.where(mask, context_map, 0.0)
        if self.use_attention_map:
            attention = self.beta * self.att_norm(
                phi_and_psi[..., 1], mask=mask
            )
            if steps is not None:
                attention = attention[:, -steps:]
            # Not `*=`: PyTorch needs the sigmoid's own output for the gradient.
            action_map = action_map * _softmax_over_locations(attention, mask)
            action_logits = action_logits + attention
        return action_map, context_map, (action_logits, context_logits)

    def _pool(self, features, logits, mask, keep_time, scale):
        """F_s and F_c of Sec. 3.3, or each step's part in them."""
        batch, time, height, width, channels = ops.shape(features)
        # Not -1: in an empty batch, a worker's last share, it could be any.
        locations = time * height * width
        transformed = self._transform(features, scale)
        weights = ops.stack(
            [_softmax_over_locations(x, mask) for x in logits], axis=1
        )
        weights = ops.reshape(weights, (batch, 2, locations))
        weights = ops.cast(weights, transformed.dtype)
        if not keep_time:
            transformed = ops.reshape(transformed, (batch, locations, channels))
            pooled = weighted_sums(weights, transformed)
            pooled = ops.reshape(pooled, (batch, 2 * channels))
            return pooled if scale is None else pooled * scale[:, 0, 0, 0]
        weights = ops.reshape(weights, (batch, 2, time, height * width))
        pooled = weighted_sums(
            ops.transpose(weights, (0, 2, 1, 3)),
            ops.reshape(transformed, (batch, time, height * width, channels)),
        )
        pooled = ops.reshape(pooled, (batch, time, 2 * channels))
        if scale is not None:
            pooled = pooled * scale[:, 0, 0]
        if mask is None:
            return pooled * ops.cast(time, pooled.dtype)
        steps = ops.cast(ops.any(mask, axis=(2, 3)), pooled.dtype)
        return pooled * ops.sum(steps, axis=1)[:, None, None]

    def _transform(self, features, scale):
        """theta(F) of Sec. 3.3, `(..., channels)`: locations may be flat."""
        if self.theta is None:
            return features
        kernel, bias = self.theta.kernel, self.theta.bias
        if scale is not None:
            bias = bias / scale
        if self.theta_narrow is not None:
            narrow = _convolve(features, self.theta_narrow.kernel)
            return _relu(features + _convolve(narrow, kernel) + bias)
        if scale is not None or not _is_product(kernel):
            return _relu(features + _convolve(features, kernel) + bias)
        # F is added by the identity in the kernel, and TensorFlow fuses what
        # follows the product: a tenth of a training step in bfloat16.
        channels = features.shape[-1]
        kernel = ops.reshape(kernel, (channels, channels))
        kernel = kernel + ops.eye(channels, dtype=kernel.dtype)
        flat = ops.reshape(features, (-1, channels))
        return _relu(ops.matmul(flat, kernel) + bias)

    def _confidence(self, name):
        return self._convolution(1, name, use_bias=False)

    def _convolution(self, filters, name, kernel_size=None, **kwargs):
        return keras.layers.Conv3D(
            filters,
            kernel_size or self.kernel_size,
            padding="same",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], 2 * input_shape[-1])

    def compute_output_spec(
        self,
        features: Tensor,
        mask: Tensor | None = None,
        return_attention_maps: bool = False,
        keep_time: bool = False,
    ) -> keras.KerasTensor | tuple[keras.KerasTensor, ...]:
        shape = self.compute_output_shape(features.shape)
        if keep_time:
            shape = (shape[0], features.shape[1], shape[1])
        pooled = keras.KerasTensor(shape, self.compute_dtype)
        if not return_attention_maps:
            return pooled
        maps = [
            keras.KerasTensor(features.shape[:-1], "float32") for _ in range(2)
        ]
        return (pooled, *maps)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> None:
        return None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rho": self.rho,
            "alpha": self.alpha,
            "beta": self.beta,
            "kernel_size": self.kernel_size,
            "use_attention_map": self.use_attention_map,
            "transformation": self.transformation,
            "theta_rank": self.theta_rank,
        }


def _convolve(features, kernel):
    """A 3D convolution; one of size 1 as the product that it is, not slower."""
    if not _is_product(kernel):
        return ops.conv(
            features, kernel, padding="same", data_format="channels_last"
        )
    channels, filters = kernel.shape[3:]
    filtered = ops.matmul(
        ops.reshape(features, (-1, channels)),
        ops.reshape(kernel, (channels, filters)),
    )
    return ops.reshape(filtered, (*ops.shape(features)[:-1], filters))


def _scores(features, kernel):
    """The same, of few filters."""
    if not _is_product(kernel):
        return _convolve(features, kernel)
    channels, filters = kernel.shape[3:]
    batch, *sizes = ops.shape(features)[:-1]
    filtered = scores(
        ops.reshape(features, (batch, math.prod(sizes), channels)),
        ops.reshape(kernel, (channels, filters)),
    )
    return ops.reshape(filtered, (batch, *sizes, filters))


def _relu(x):
    """ReLU with a gradient of its output, which JAX takes of its input.

    A product and what follows it are one kernel if nothing else needs the
    product.
    """
    if keras.backend.backend() != "jax":
        return ops.relu(x)

    @ops.custom_gradient
    def run(x):
        output = ops.relu(x)

        def gradient(upstream):
            return ops.where(output > 0, upstream, ops.zeros_like(upstream))

        return output, gradient

    return run(x)


def _is_product(kernel):
    return tuple(kernel.shape[:3]) == (1, 1, 1)


def _scale(features):
    """What makes each clip's features at most 8, if they are larger."""
    largest = ops.max(ops.abs(features), axis=(1, 2, 3, 4), keepdims=True)
    return ops.stop_gradient(ops.maximum(largest / 8.0, 1.0))


def _softmax_over_locations(logits, mask):
    """Softmax over time, height and width; zero where `mask` is False."""
    shape = ops.shape(logits)
    if mask is not None:
        logits = ops.where(mask, logits, -1e9)
    weights = ops.softmax(ops.reshape(logits, (shape[0], -1)), axis=-1)
    weights = ops.reshape(weights, shape)
    if mask is not None:
        weights = ops.where(mask, weights, 0.0)
    return weights
