"""Softmax attention in memory that grows linearly with the clips."""

from typing import Any

import keras
from keras import ops

from actx_tf.ops.device import is_on_gpu
from actx_tf.ops.types import Tensor

# Scores that are held at once, over the batch: 64 MiB in float32, 1 GiB on a
# GPU, which is slow at small products. But products of fewer queries are slow
# anywhere; their scores take half of what 1024 channels take.
_MAX_SCORES = 2**24
_MAX_SCORES_ON_GPU = 2**28
_MIN_QUERIES = 512


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Returns `softmax(queries @ keys^T) @ values`, block by block of queries.

    The scores of all queries are never held at once, neither here nor by the
    gradient, which computes those of each block again. Products are computed
    in the dtype of the values, the softmax in float32.

    Args:
        queries: Vectors `(batch, N, D)`.
        keys: Vectors `(batch, M, D)`.
        values: Vectors `(batch, M, E)`, float32 or bfloat16.
        mask: Optional booleans `(batch, M)`, True where a key is real.
            Defaults to `None`: all are.

    Returns:
        Tensor `(batch, N, E)`, of the dtype of `values`.

    Reference:
        - Rabe and Staats, Self-attention Does Not Need O(n^2) Memory, arXiv
          2112.05682, 2021.
    """
    queries, keys = (ops.cast(x, values.dtype) for x in (queries, keys))

    @ops.custom_gradient
    def run(queries, keys, values):
        def gradient(*arguments, upstream=None):
            # Keras calls it with the upstream gradient alone, or under PyTorch
            # with the arguments and the keyword.
            (upstream,) = arguments if upstream is None else (upstream,)
            return _gradient(queries, keys, values, mask, upstream)

        return _forward(queries, keys, values, mask), gradient

    return run(queries, keys, values)


def max_queries(scores: Any) -> Any:
    """How many queries a block has at most.

    Args:
        scores: Number of scores of one query, over the batch.

    Returns:
        An integer where `scores` is one, a tensor otherwise.
    """
    most = _MAX_SCORES_ON_GPU if is_on_gpu() else _MAX_SCORES
    size = 1 + most // scores
    if isinstance(size, int):
        return max(size, _MIN_QUERIES)
    return ops.maximum(size, _MIN_QUERIES)


def _forward(queries, keys, values, mask):
    count, size = _blocks(queries, keys)

    def attend_block(queries):
        return ops.matmul(_weights(queries, keys, mask), values)

    if _is_one(count):
        return attend_block(queries)
    batch, length, channels = ops.shape(queries)
    blocks = ops.reshape(
        _pad(queries, count * size), (batch, count, size, channels)
    )
    blocks = ops.map(attend_block, ops.swapaxes(blocks, 0, 1))
    output = ops.swapaxes(blocks, 0, 1)
    return ops.reshape(output, (batch, -1, values.shape[-1]))[:, :length]


def _gradient(queries, keys, values, mask, upstream):
    count, size = _blocks(queries, keys)

    def differentiate_block(queries, upstream):
        weights = _weights(queries, keys, mask)
        d_weights = ops.matmul(upstream, _transpose(values))
        inner = ops.sum(weights * d_weights, axis=-1, keepdims=True)
        d_scores = weights * (d_weights - inner)
        return (
            ops.matmul(d_scores, keys),
            ops.matmul(_transpose(d_scores), queries),
            ops.matmul(_transpose(weights), upstream),
        )

    if _is_one(count):
        return differentiate_block(queries, upstream)
    length = ops.shape(queries)[1]
    # What is added is zero upstream too: it changes no gradient.
    queries, upstream = (_pad(x, count * size) for x in (queries, upstream))

    def body(i, gradients):
        d_queries, d_keys, d_values = gradients
        block, *parts = differentiate_block(
            _block(queries, i, size), _block(upstream, i, size)
        )
        return (
            ops.slice_update(d_queries, (0, i * size, 0), block),
            d_keys + parts[0],
            d_values + parts[1],
        )

    d_queries, d_keys, d_values = ops.fori_loop(
        0, count, body, tuple(map(ops.zeros_like, (queries, keys, values)))
    )
    return d_queries[:, :length], d_keys, d_values


def _weights(queries, keys, mask):
    scores = ops.matmul(queries, _transpose(keys))
    scores = ops.cast(scores, "float32")
    if mask is not None:
        # Chosen, not added: JAX on a GPU then makes one kernel of it all.
        scores = ops.where(mask[:, None], scores, -1e9)
    weights = ops.softmax(scores, axis=-1)
    return ops.cast(weights, keys.dtype)


def _blocks(queries, keys):
    """The number of blocks, and of queries in each of them.

    Integers where the shapes are known, as always outside of graphs.
    """
    batch, length, _ = ops.shape(queries)
    scores = batch * ops.shape(keys)[1]  # of one query
    if keras.backend.backend() == "jax" and not isinstance(scores, int):
        return 1, length  # symbols, with which JAX infers shapes alone
    size = max_queries(scores)
    count = -(-length // size)
    return count, -(-length // count)


def _is_one(count):
    return isinstance(count, int) and count == 1


def _block(x, number, size):
    batch, _, channels = ops.shape(x)
    return ops.slice(x, (0, number * size, 0), (batch, size, channels))


def _pad(x, length):
    batch, known, channels = ops.shape(x)
    zeros = ops.zeros((batch, length - known, channels), x.dtype)
    return ops.concatenate((x, zeros), axis=1)


def _transpose(x):
    return ops.transpose(x, (0, 2, 1))
