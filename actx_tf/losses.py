"""The losses between an action clip and its conjugate clip (Sec. 3.2), and
those of ACF, which compares pooled features.

Plain functions in `keras.ops`, one value a sample. Softmaxes, cosines and
divisions are computed in float32 whatever the inputs' dtype; so are the
products of Eq. 2, but for inputs in bfloat16.
"""

import math
from collections.abc import Sequence

import keras
from keras import ops

from actx_tf.ops.activations import check_activation
from actx_tf.ops.device import is_on_gpu
from actx_tf.ops.masks import broadcast_mask
from actx_tf.ops.masks import zero_padding
from actx_tf.ops.streaming_attention import attend
from actx_tf.ops.types import Tensor
from actx_tf.utils.checks import check_feature_map
from actx_tf.utils.checks import check_not_negative

# Squared length under which a feature vector counts as zero.
_TINY = 1e-12


def match_features(
    features: Tensor,
    reference: Tensor,
    gamma: float = 20.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Expresses each feature vector by the most similar ones of a clip.

    ```
    eta(F_k, F') = sum_j softmax_j(gamma * cos<F_k, F'_j>) F'_j      (Eq. 2)
    ```

    Args:
        features: The feature map F,
            `(batch, time, height, width, channels)`.
        reference: The feature map F', of any time, height and width.
        gamma: How much the most similar vectors outweigh the others, >= 0.
            The paper gives no value; the default is ours. Defaults to `20.0`.
        mask: Optional booleans, True where a location of `reference` is real:
            `(batch, time)` or `(batch, time, height, width)`. Defaults to
            `None`: all are.

    Returns:
        Tensor of the shape of `features`, float32. Zeros for a sample whose
        `reference` is fully masked.

    Raises:
        ValueError: If the inputs are not feature maps of the same number of
            channels, or `gamma` is negative or not finite.
    """
    _check_feature_maps(features=features, reference=reference)
    check_not_negative("gamma", gamma)
    flat, keep = _flatten_masked(reference, mask)
    queries, keys = (_unit(x, gamma**0.5) for x in (_flatten(features), flat))
    matched = ops.cast(attend(queries, keys, flat, keep), "float32")
    return ops.reshape(matched, ops.shape(features))


def conjugate_similarity(
    features: Tensor,
    conjugate: Tensor,
    gamma: float = 20.0,
    mask: Tensor | None = None,
    conjugate_mask: Tensor | None = None,
    matched: Tensor | None = None,
) -> Tensor:
    """Measures how much of each location is also in the conjugate clip.

    ```
    similarity_k = cos<eta(F_k, F), eta(F_k, F')>               (Sec. 3.2)
    ```

    Low for action, high for context. It depends on no weight but those of the
    backbone.

    Args:
        features: The feature map F of the action clip,
            `(batch, time, height, width, channels)`.
        conjugate: The feature map F' of the conjugate clip, of any time,
            height and width.
        gamma: As in `match_features`. Defaults to `20.0`.
        mask: Optional booleans, True where a location of `features` is real:
            `(batch, time)` or `(batch, time, height, width)`. Defaults to
            `None`: all are.
        conjugate_mask: The same for `conjugate`.
        matched: Optional, eta(F_k, F), which does not depend on the conjugate:
            `match_features(features, features, gamma, mask)`, computed once
            for several. Defaults to `None`: it is computed here.

    Returns:
        Tensor of shape `(batch, time, height, width)`, float32, in [-1, 1]:
        zero where `mask` is False or the conjugate is fully masked.

    Raises:
        ValueError: As `match_features`.
    """
    _check_feature_maps(features=features, conjugate=conjugate)
    check_not_negative("gamma", gamma)
    clips = {
        "features": features,
        "conjugate": conjugate,
        "mask": mask,
        "conjugate_mask": conjugate_mask,
        "matched": matched,
    }
    clips = {key: x for key, x in clips.items() if x is not None}
    similarity = _each_clip(
        lambda clips: _similarity(gamma=gamma, **clips), clips
    )
    return ops.reshape(similarity, ops.shape(features)[:-1])


def action_similarity(
    action_map: Tensor,
    similarity: Tensor,
    xi: float = 0.0,
    mask: Tensor | None = None,
) -> Tensor:
    """The loss L_s: what is action must not be in the conjugate clip.

    ```
    L_s = sum_k S_k max(0, similarity_k - xi) / sum_k S_k            (Eq. 3)
    ```

    Args:
        action_map: The map S, `(batch, time, height, width)`.
        similarity: `conjugate_similarity` of the pair, of the same shape.
        xi: Similarity up to which nothing is lost. The paper gives no value;
            the default is ours. Defaults to `0.0`.
        mask: Optional booleans, True where a location is real:
            `(batch, time)` or `(batch, time, height, width)`. Defaults to
            `None`: all are.

    Returns:
        Tensor of shape `(batch,)`, float32. Zero where the map sums to zero.
    """
    similarity = ops.cast(similarity, "float32")
    return _weighted_mean(ops.maximum(similarity - xi, 0.0), action_map, mask)


def context_difference(
    context_map: Tensor, similarity: Tensor, mask: Tensor | None = None
) -> Tensor:
    """The loss L_d: what is context must be in the conjugate clip.

    ```
    L_d = sum_k C_k (1 - similarity_k) / sum_k C_k                   (Eq. 4)
    ```

    Args:
        context_map: The map C, `(batch, time, height, width)`.
        similarity: `conjugate_similarity` of the pair, of the same shape.
        mask: Optional booleans, True where a location is real:
            `(batch, time)` or `(batch, time, height, width)`. Defaults to
            `None`: all are.

    Returns:
        Tensor of shape `(batch,)`, float32. Zero where the map sums to zero.
    """
    similarity = ops.cast(similarity, "float32")
    return _weighted_mean(1.0 - similarity, context_map, mask)


def named_action(
    logits: Tensor,
    activation: str = "softmax",
    background: Sequence[int] = (),
) -> Tensor:
    """The loss L_n: what shows no action must not be named one.

    ```
    L_n = KL(u || softmax(h)),  u uniform                      (no background)
    L_n = -log sum_{k in background} softmax(h)_k              (background)
    L_n = -mean_k log(1 - sigmoid(h_k)),  k an action          (sigmoid)
    ```

    Ours: of the logits h of the conjugate clip. The paper asks of a pair where
    the action is; this asks that the scene alone give no answer.

    Args:
        logits: Logits of a clip without action, `(batch, classes)`.
        activation: `"softmax"`, or `"sigmoid"` where a clip can be of several
            classes. Defaults to `"softmax"`.
        background: Places of the classes that show no action. Defaults to
            none.

    Returns:
        Tensor of shape `(batch,)`, float32, >= 0. Zero where no action is
        named.

    Raises:
        ValueError: If `activation` is neither, or `background` is not of some
            of the classes.
    """
    check_activation(activation)
    logits = ops.cast(logits, "float32")
    count = logits.shape[-1]
    actions = [k for k in range(count) if k not in background]
    if not actions or not set(background) <= set(range(count)):
        raise ValueError(
            f"`background` must be of some of the {count} classes, counted "
            f"from 0, not of all. Received: background={background}"
        )
    if activation == "sigmoid":
        return ops.mean(ops.softplus(ops.take(logits, actions, -1)), axis=-1)
    log_scores = ops.log_softmax(logits, axis=-1)
    if background:
        of_none = ops.take(log_scores, list(background), axis=-1)
        return -ops.logsumexp(of_none, axis=-1)
    return -ops.mean(log_scores, axis=-1) - math.log(count)


def pooled_action_similarity(
    action: Tensor, conjugate_action: Tensor, xi: float = 0.0
) -> Tensor:
    """ACF's loss on action features: those of a pair must differ.

    ```
    L_s = max(0, cos<f(a), f(a')> - xi)
    ```

    Args:
        action: Action features of the action clip, `(batch, units)`.
        conjugate_action: Action features of the conjugate clip, of the same
            shape.
        xi: Similarity up to which nothing is lost. Defaults to `0.0`.

    Returns:
        Tensor of shape `(batch,)`, float32.

    Reference:
        - Wang and Hoai, Pulling Actions out of Context, CVPR 2018; with the
          cosine distance that Table 1 of the ActX paper compares with.
    """
    return ops.maximum(_cosine(action, conjugate_action) - xi, 0.0)


def pooled_context_difference(
    context: Tensor, conjugate_context: Tensor
) -> Tensor:
    """ACF's loss on context features: those of a pair must agree.

    ```
    L_d = 1 - cos<g(a), g(a')>
    ```

    Args:
        context: Context features of the action clip, `(batch, units)`.
        conjugate_context: Context features of the conjugate clip, of the same
            shape.

    Returns:
        Tensor of shape `(batch,)`, float32.

    Reference:
        As `pooled_action_similarity`.
    """
    return 1.0 - _cosine(context, conjugate_context)


def _each_clip(function, clips):
    """Returns `function(clips)`, a dictionary of tensors, clip by clip.

    So what it computes on the way stays in a CPU's cache. JAX on a CPU, and any
    GPU, are faster on the whole batch.
    """
    if (
        keras.backend.backend() != "tensorflow"
        or is_on_gpu()
        or clips["features"].shape[0] == 1
    ):
        return function(clips)
    return ops.map(
        lambda clip: function({key: x[None] for key, x in clip.items()})[0],
        clips,
    )


def _similarity(
    gamma, features, conjugate, mask=None, conjugate_mask=None, matched=None
):
    """`conjugate_similarity` of each location, flat: `(batch, N)`."""
    features, keep = _flatten_masked(features, mask)
    conjugate, keep_conjugate = _flatten_masked(conjugate, conjugate_mask)
    # gamma * cos<x, z> is the product of two vectors of this length.
    length = gamma**0.5
    queries = _unit(features, length)
    if matched is None:
        matched = attend(queries, queries, features, keep)
    else:
        matched = _flatten(matched)
    in_conjugate = attend(
        queries, _unit(conjugate, length), conjugate, keep_conjugate
    )
    cosine = _cosine(matched, in_conjugate)
    return cosine if keep is None else ops.where(keep, cosine, 0.0)


def _weighted_mean(values, weights, mask):
    weights = ops.cast(weights, "float32")
    if mask is not None:
        keep = broadcast_mask(mask, ops.shape(weights))
        weights = ops.where(keep, weights, 0.0)
        values = ops.where(keep, values, 0.0)
    axis = tuple(range(1, len(weights.shape)))
    # A sharp S sums to next to nothing: what counts is its shape.
    largest = ops.max(weights, axis=axis, keepdims=True)
    largest = ops.where(largest > 0, largest, 1.0)
    weights = weights / ops.stop_gradient(largest)
    total = ops.maximum(ops.sum(weights, axis=axis), 1.0)  # 1 is the largest
    return ops.sum(weights * values, axis=axis) / total


def _cosine(x, z):
    x, z = (ops.cast(vectors, "float32") for vectors in (x, z))
    product = ops.sum(x * z, axis=-1, keepdims=True)
    return (product * _inverse_length(x) * _inverse_length(z))[..., 0]


def _unit(x, length):
    """Vectors of this length, float32; zeros stay, with a finite gradient."""
    x = ops.cast(x, "float32")
    return x * (length * _inverse_length(x))


def _inverse_length(x):
    square = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return ops.rsqrt(ops.maximum(square, _TINY))


def _flatten(features):
    """`(batch, time * height * width, channels)`, float32 or bfloat16."""
    if keras.backend.standardize_dtype(features.dtype) != "bfloat16":
        features = ops.cast(features, "float32")
    shape = ops.shape(features)
    return ops.reshape(features, (*_flat_sizes(shape[:-1]), shape[-1]))


def _flatten_masked(features, mask):
    """The same, zero where they are masked; and the mask, flat, or None."""
    if mask is None:
        return _flatten(features), None
    shape = ops.shape(features)[:-1]
    mask = broadcast_mask(mask, shape)
    # Before all else, as the pooling does: a compiler sees that it is the same.
    features = zero_padding(features, mask)
    return _flatten(features), ops.reshape(mask, _flat_sizes(shape))


def _flat_sizes(shape):
    """`(batch, time * height * width)`, one of them perhaps -1.

    The second is a number where it can be: of an empty batch, which a replica
    can get, TensorFlow maps no clips of unknown size.
    """
    batch, *sizes = shape
    if all(isinstance(size, int) for size in sizes):
        return -1, math.prod(sizes)
    return batch, -1


def _check_feature_maps(**maps):
    for name, value in maps.items():
        check_feature_map(name, value.shape)
    (first, a), (second, b) = maps.items()
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"`{first}` and `{second}` must have the same number of channels. "
            f"Received: {first}.shape={tuple(a.shape)}, "
            f"{second}.shape={tuple(b.shape)}"
        )
