"""Products of a feature map with few vectors.

Each is a plain `ops.matmul`; its gradient is written out because a product
that is thin on the wrong side is five to ten times slower in TensorFlow on a
CPU: half of a training step on stored similarities.
"""

import keras
from keras import ops

from actx_tf.ops.types import Tensor


def scores(features: Tensor, kernel: Tensor) -> Tensor:
    """Returns `features @ kernel`: how well each location fits each filter.

    Args:
        features: The vectors of the clips' N locations, `(batch, N, D)`.
        kernel: K filters, `(D, K)`: a small K.

    Returns:
        Tensor `(batch, N, K)`.
    """

    @ops.custom_gradient
    def run(features, kernel):
        def gradient(*arguments, upstream=None):
            upstream = _upstream(arguments, upstream)
            # Clip by clip: JAX on a GPU copies the features for one sum over
            # all locations.
            of_clips = ops.matmul(_transpose(upstream), features)
            return (
                ops.matmul(upstream, _transpose(kernel)),
                _transpose(ops.sum(of_clips, axis=0)),
            )

        return ops.matmul(features, kernel), gradient

    return run(features, kernel)


def weighted_sums(weights: Tensor, features: Tensor) -> Tensor:
    """Returns `weights @ features`: the locations' sums under each map.

    Args:
        weights: K maps, `(..., K, N)`: a small K, the same leading axes.
        features: The vectors of N locations, `(..., N, D)`.

    Returns:
        Tensor `(..., K, D)`.
    """

    @ops.custom_gradient
    def run(weights, features):
        def gradient(*arguments, upstream=None):
            upstream = _upstream(arguments, upstream)
            return (
                _transpose(ops.matmul(features, _transpose(upstream))),
                _outer(weights, upstream),
            )

        return ops.matmul(weights, features), gradient

    return run(weights, features)


def _outer(weights, vectors):
    """Returns `weights^T @ vectors`: each location's part of K vectors."""
    if keras.backend.backend() != "jax":
        return ops.matmul(_transpose(weights), vectors)
    # What is no product can be fused with what follows it.
    return sum(
        weights[..., k, :, None] * vectors[..., k, None, :]
        for k in range(weights.shape[-2])
    )


def _upstream(arguments, upstream):
    # Keras calls a gradient with the upstream gradient alone, or under PyTorch
    # with the arguments and the keyword.
    return arguments[0] if upstream is None else upstream


def _transpose(x):
    return ops.swapaxes(x, -1, -2)
