"""Forms of the matching of Eq. 2 and of the pooling, beside each other.

    KERAS_BACKEND=jax python -m benchmarks.attention_forms

Which form is the fastest depends on the device: what `actx_tf` has was chosen
on CPUs and for memory. Clips of --time x 8 x 11 locations with 1024 channels,
--batch pairs. Three tables:

- eta of Eq. 2 of a clip by itself: `attend` in blocks of some numbers of
  queries, and what the backends have for attention.
- `conjugate_similarity` of pairs, in other forms with the same result.
- theta, the ReLU and the pooling by two maps, with their gradient.

"error" is the relative one of what comes out, in Euclidean length, from the
same computed in float32 without TensorFloat-32 by the first form. Compilation
and the copies to the device are left out. Medians of runs that alternate.
"""

import argparse
import contextlib

import keras
import numpy as np
from keras import ops

from actx_tf import losses
from actx_tf.ops import streaming_attention
from actx_tf.ops import thin_products
from benchmarks import measuring
from benchmarks import train_step

# Forms whose gradient costs more time to compile than it could teach.
_WITHOUT_GRADIENT = (
    "softmax of float32 scores",
    "scaled_dot_product_attention",  # one of those that are named
)
GAMMA = train_step.SETTINGS["gamma"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--time", type=int, default=10)
    parser.add_argument("--batch", type=int, default=36)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--in_a_row", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16", help="or float32")
    parser.add_argument(
        "--tables",
        nargs="*",
        choices=TABLES,
        default=list(TABLES),
    )
    arguments = parser.parse_args()
    locations = arguments.time * train_step.HEIGHT * train_step.WIDTH
    for name in arguments.tables:
        title, forms, tensors = TABLES[name](arguments.batch, locations)
        print(
            f"\n{measuring.device_name()}, {arguments.batch} clips of "
            f"{locations} x {train_step.CHANNELS}, {arguments.dtype}: {title}\n"
        )
        compare(forms, tensors, arguments)


def compare(forms, tensors, arguments):
    """Prints the table of the functions, called with the tensors.

    Args:
        forms: The functions, by name; the first is in use.
        tensors: NumPy arrays, float32.
        arguments: Those of the command.
    """
    _, first = next(iter(forms.items()))
    with measuring.tf32(False):
        expected = first(*map(ops.convert_to_tensor, tensors))
        expected = [_to_numpy(x) for x in keras.tree.flatten(expected)]
    tensors = [ops.cast(x, arguments.dtype) for x in tensors]

    def maker(form):
        def make():
            run = train_step.compiled(form)
            return lambda: run(*tensors)

        return make

    runs, errors = measuring.keep_those_that_run(
        {name: maker(form) for name, form in forms.items()}
    )
    seconds = measuring.median_seconds(
        runs, arguments.repeats, in_a_row=arguments.in_a_row
    )
    measuring.print_head("", "ms", "first / it", "error")
    for name in forms:
        if name in errors:
            measuring.print_row(name, errors[name], "", "")
            continue
        ratio = seconds.get(next(iter(forms)), np.nan) / seconds[name]
        found = [_to_numpy(x) for x in keras.tree.flatten(runs[name]())]
        error = max(map(_distance, found, expected))
        measuring.print_row(
            name, f"{1e3 * seconds[name]:.3f}", f"{ratio:.2f}", f"{error:.0e}"
        )


def matching(batch, locations):
    """Forms of eta, of unit vectors whose products are up to gamma."""
    forms = {"attend": streaming_attention.attend}
    for blocks in (4, 2, 1):
        size = -(-locations // blocks)
        forms[f"attend, {blocks} blocks of {size}"] = _in_blocks(size)
    forms["softmax(QK^T)V"] = whole
    backend = keras.backend.backend()
    if backend == "jax":
        forms |= _of_jax()
    elif backend == "torch":
        forms |= _of_torch()
    keys = _unit(_features(batch, locations), GAMMA**0.5)
    tensors = keys, keys, _features(batch, locations)
    gradients = {
        f"{name}, with its gradient": _with_gradient(form)
        for name, form in forms.items()
        if "blocks of" not in name and name not in _WITHOUT_GRADIENT
    }
    return "eta of Eq. 2", forms | gradients, tensors


def similarity(batch, locations):
    """Forms of the similarity of pairs, without a gradient."""
    forms = {
        "conjugate_similarity": lambda features, conjugate: (
            losses.conjugate_similarity(
                _as_map(features), _as_map(conjugate), GAMMA
            )[:, :, 0, 0]
        ),
        "scaled scores": scaled_scores,
        "late division": late_division,
        "late division, one product": late_division_in_one_product,
    }
    tensors = _features(batch, locations), _features(batch, locations, seed=1)
    return "similarity of pairs", forms, tensors


def pooling(batch, locations):
    """Forms of ReLU(theta(F)) under two maps, and their gradients."""
    channels = train_step.CHANNELS
    random = np.random.default_rng(0)
    maps = random.uniform(size=(batch, 2, locations)).astype("float32")
    kernel = random.standard_normal((channels, channels), "float32") / 32
    forms = {
        "weighted_sums": thin_products.weighted_sums,
        "matmul": ops.matmul,
        "sum of products": lambda maps, features: ops.sum(
            maps[..., None] * features[:, None], axis=2
        ),
    }

    def with_theta(pool):
        def run(features, kernel, maps):
            flat = ops.reshape(features, (-1, channels))
            transformed = ops.relu(ops.matmul(flat, kernel))
            return pool(
                maps, ops.reshape(transformed, (batch, locations, channels))
            )

        return _with_gradient(run, constants=1)

    forms = {name: with_theta(pool) for name, pool in forms.items()}
    tensors = _features(batch, locations), kernel, maps / locations
    return "theta and pooling, with their gradient", forms, tensors


TABLES = {"similarity": similarity, "matching": matching, "pooling": pooling}


def whole(queries, keys, values):
    """The definition, with the backend's own gradient."""
    scores = ops.matmul(queries, ops.swapaxes(keys, 1, 2))
    weights = ops.softmax(ops.cast(scores, "float32"), axis=-1)
    return ops.matmul(ops.cast(weights, values.dtype), values)


def scaled_scores(features, conjugate):
    """Divides the scores by the vectors' lengths, and not the vectors."""
    inverses = [_inverse_lengths(x) for x in (features, conjugate)]

    def match(reference, inverse):
        scores = _scores(features, reference, inverses[0], inverse)
        weights = ops.cast(ops.softmax(scores, axis=-1), features.dtype)
        return ops.matmul(weights, reference)

    return _cosine(match(features, inverses[0]), match(conjugate, inverses[1]))


def late_division(features, conjugate):
    """Divides by the softmax' sum at the end; no score is above gamma."""
    inverses = [_inverse_lengths(x) for x in (features, conjugate)]

    def match(reference, inverse):
        scores = _scores(features, reference, inverses[0], inverse)
        weights = ops.exp(scores - GAMMA)
        sums = ops.sum(weights, axis=-1, keepdims=True)
        weights = ops.cast(weights, features.dtype)
        return ops.cast(ops.matmul(weights, reference), "float32") / sums

    return _cosine(match(features, inverses[0]), match(conjugate, inverses[1]))


def late_division_in_one_product(features, conjugate):
    """The same, with the scores of both clips in one product."""
    inverse = _inverse_lengths(features)
    both = ops.concatenate((features, conjugate), axis=1)
    scores = _scores(features, both, inverse, _inverse_lengths(both))
    weights = ops.exp(scores - GAMMA)
    parts = ops.split(weights, 2, axis=-1)
    matched = [
        ops.cast(
            ops.matmul(ops.cast(part, features.dtype), reference), "float32"
        )
        / ops.sum(part, axis=-1, keepdims=True)
        for part, reference in zip(parts, (features, conjugate), strict=True)
    ]
    return _cosine(*matched)


def _scores(features, reference, inverse, inverse_of_reference):
    """gamma times the cosine of each vector with each of the reference."""
    scores = ops.matmul(features, ops.swapaxes(reference, 1, 2))
    scores = ops.cast(scores, "float32") * inverse
    return scores * ops.swapaxes(GAMMA * inverse_of_reference, 1, 2)


def _inverse_lengths(x):
    x = ops.cast(x, "float32")
    return ops.rsqrt(ops.maximum(ops.sum(x * x, -1, keepdims=True), 1e-12))


def _cosine(x, z):
    """In one pass over both."""
    x, z = ops.cast(x, "float32"), ops.cast(z, "float32")
    xx, xz, zz = (ops.sum(a * b, axis=-1) for a, b in ((x, x), (x, z), (z, z)))
    return xz * ops.rsqrt(ops.maximum(xx, 1e-12) * ops.maximum(zz, 1e-12))


def _in_blocks(size):
    def run(*tensors):
        before = streaming_attention.max_queries
        streaming_attention.max_queries = lambda scores: size
        try:
            return streaming_attention.attend(*tensors)
        finally:
            streaming_attention.max_queries = before

    return run


def _of_jax():
    import jax

    def attention(implementation):
        def run(*tensors):
            heads = [x[:, :, None] for x in tensors]
            return jax.nn.dot_product_attention(
                *heads, scale=1.0, implementation=implementation
            )[:, :, 0]

        return run

    def float32_scores(queries, keys, values):
        scores = jax.numpy.einsum(
            "bnd,bmd->bnm", queries, keys, preferred_element_type="float32"
        )
        weights = jax.nn.softmax(scores).astype(values.dtype)
        return weights @ values

    return {
        "softmax of float32 scores": float32_scores,
        "jax.nn.dot_product_attention, xla": attention("xla"),
        "jax.nn.dot_product_attention, cudnn": attention("cudnn"),
    }


def _of_torch():
    import torch
    from torch.nn import attention
    from torch.nn import functional

    def sdpa(*backends):
        def run(*tensors):
            context = contextlib.nullcontext()
            if backends:
                context = attention.sdpa_kernel(list(backends))
            with context:
                heads = [x[:, None] for x in tensors]
                return functional.scaled_dot_product_attention(
                    *heads, scale=1.0
                )[:, 0]

        return run

    kernels = attention.SDPBackend
    return {
        "softmax(QK^T)V, torch.compile": torch.compile(whole, dynamic=False),
        "scaled_dot_product_attention": sdpa(),
        "scaled_dot_product_attention, flash": sdpa(kernels.FLASH_ATTENTION),
        "scaled_dot_product_attention, cudnn": sdpa(kernels.CUDNN_ATTENTION),
        "scaled_dot_product_attention, efficient": sdpa(
            kernels.EFFICIENT_ATTENTION
        ),
        "scaled_dot_product_attention, math": sdpa(kernels.MATH),
    }


def _with_gradient(function, constants=0):
    """Makes a function of what it returns and of a gradient.

    By all tensors but the first `constants`, of half the sum of squares: what
    comes from above is then the output, and no constant that a compiler uses.
    """
    if keras.backend.backend() == "jax":
        import jax

        def run(*tensors):
            def total(*tensors):
                output = function(*tensors)
                return _half_square(output), output

            which = range(constants, len(tensors))
            gradients, output = jax.grad(total, which, has_aux=True)(*tensors)
            return output, *gradients

        return run
    if keras.backend.backend() == "torch":

        def run(*tensors):
            leaves = [x.detach() for x in tensors]
            for leaf in leaves[constants:]:
                leaf.requires_grad_()
            output = function(*leaves)
            _half_square(output).backward()
            return output.detach(), *(x.grad for x in leaves[constants:])

        return run
    import tensorflow as tf

    @tf.function
    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors[constants:])
            output = function(*tensors)
            total = _half_square(output)
        return output, *tape.gradient(total, tensors[constants:])

    return run


def _half_square(x):
    return 0.5 * ops.sum(ops.square(ops.cast(x, "float32")))


def _features(batch, locations, seed=0):
    random = np.random.default_rng(seed)
    shape = (batch, locations, train_step.CHANNELS)
    return np.maximum(random.standard_normal(shape, "float32"), 0)


def _unit(x, length):
    return x * (length / np.linalg.norm(x, axis=-1, keepdims=True))


def _as_map(x):
    return x[:, :, None, None]


def _to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def _distance(x, expected):
    scale = np.linalg.norm(np.ravel(expected)) or 1.0
    return np.linalg.norm(np.ravel(x - expected)) / scale


if __name__ == "__main__":
    main()
