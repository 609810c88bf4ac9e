"""A training step of ActX beside PyTorch's and beside the arithmetic.

    KERAS_BACKEND=tensorflow python -m benchmarks.train_step

At the paper's sizes: feature maps of --time x 8 x 11 x 1024, frozen, in float16
as a feature store has them, with the masks that `make_pair_dataset` gives.
"exact" matches each pair in the step, "stored" is given its similarities.
PyTorch's step is benchmarks/actx_in_torch.py, eager, and with --compile also
compiled.

The products of a step take 8 N^2 D + 4 N D^2 flops a clip (stored: 4 N D^2).
The floor is their time at the rate that the product of theta has in the same
run, in float32. With --peak=SIZE it is their share of the rate that a product
of two matrices of SIZE x SIZE has, of the same dtype: the faster of PyTorch's
and the backend's. "tf32" is float32 whose products may be of TensorFloat-32,
which GPUs from Ampere on have; "float32" allows none.

The data is on the device before, and the steps are compiled. Medians of steps
that alternate; on a GPU --in_a_row starts some before it awaits the last, as
`fit` does.
"""

import argparse
import sys

import keras
import numpy as np
import torch
from keras import layers
from keras import ops

from actx_tf.models import ActX
from benchmarks import actx_in_torch
from benchmarks import measuring

HEIGHT, WIDTH, CHANNELS, CLASSES = 8, 11, 1024, 8
SETTINGS = {"rho": 30.0, "alpha": 1.0, "beta": 1.0, "gamma": 20.0}
DTYPES = ("float32", "tf32", "bfloat16")
KINDS = ("exact", "stored")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--time", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--in_a_row", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peak", type=int, metavar="SIZE")
    kinds = [f"{kind}, {dtype}" for dtype in DTYPES for kind in KINDS]
    parser.add_argument(
        "--steps",
        nargs="*",
        choices=kinds,
        metavar="STEP",
        default=[name for name in kinds if "tf32" not in name],
        help=f"of {'; '.join(kinds)}. PyTorch's first one is the reference",
    )
    arguments = parser.parse_args()
    clips, labels = make_pairs(arguments.batch, arguments.time)
    theta = arguments.batch * arguments.time * HEIGHT * WIDTH * CHANNELS
    dtypes = dict.fromkeys(x.split(", ")[1] for x in arguments.steps)
    products = make_products(clips, dtypes, arguments.peak)
    makers = {name: make for name, (make, _) in products.items()}
    steps = {}  # name -> kind and dtype
    makers["average pooling"] = lambda: average_pooling(clips, labels)
    for name, make in STEPS.items():
        if "compiled" in name and not arguments.compile:
            continue
        for which in arguments.steps:
            kind, dtype = steps[f"{name}, {which}"] = which.split(", ")
            makers[f"{name}, {which}"] = (
                lambda make=make, kind=kind, dtype=dtype: make(
                    pick(clips, kind), labels, dtype
                )
            )
    runs, errors = measuring.keep_those_that_run(makers)
    seconds = measuring.median_seconds(
        runs, arguments.repeats, in_a_row=arguments.in_a_row
    )

    rates = {}  # dtype -> flops a second of the fastest product
    for name, (_, flops) in products.items():
        if name in seconds:
            dtype = name.split(", ")[-1]
            rates[dtype] = max(rates.get(dtype, 0), flops / seconds[name])
    if not arguments.peak:
        rates = dict.fromkeys(DTYPES, rates["float32"])
    name = f"PyTorch{' compiled' if arguments.compile else ''}"
    reference = f"{name}, {arguments.steps[0]}"
    print(
        f"\n{measuring.device_name()}, {arguments.batch} pairs of "
        f"{arguments.time} x {HEIGHT} x {WIDTH} x {CHANNELS}\n"
    )
    measuring.print_head(
        "",
        "ms",
        "TFLOP/s",
        "share of the peak" if arguments.peak else "time / floor",
        f"{reference} / it",
    )
    for name in makers:
        if name in errors:
            measuring.print_row(name, errors[name], "", "", "")
            continue
        rate = share = ""
        flops = products[name][1] if name in products else None
        if name in steps:
            kind, dtype = steps[name]
            locations = arguments.time * HEIGHT * WIDTH
            flops = 4 * theta * CHANNELS
            flops += 8 * theta * locations if kind == "exact" else 0
            share = flops / seconds[name] / rates.get(dtype, np.nan)
            share = f"{share if arguments.peak else 1 / share:.2f}"
        if flops:
            rate = f"{flops / seconds[name] / 1e12:.3g}"
        ratio = seconds.get(reference, np.nan) / seconds[name]
        measuring.print_row(
            name, f"{1e3 * seconds[name]:.3f}", rate, share, f"{ratio:.2f}"
        )
    if errors:
        sys.exit(f"{len(errors)} of {len(makers)} did not run")


def make_pairs(batch, time, with_conjugates=True):
    """Inputs of a step, NumPy, as `make_pair_dataset` makes them."""
    random = np.random.default_rng(0)
    shape = (batch, time, HEIGHT, WIDTH, CHANNELS)
    clips = {
        "features": make_features(random, shape),
        "mask": np.ones(shape[:-1], bool),
    }
    if with_conjugates:
        clips |= {
            "conjugate": make_features(random, shape),
            "conjugate_mask": np.ones(shape[:-1], bool),
            "conjugate_similarity": random.uniform(size=shape[:-1]),
            "has_conjugate": np.ones(batch, bool),
        }
    return clips, np.arange(batch) % CLASSES


def make_features(random, shape):
    features = np.empty(shape, "float16")
    for step in np.ndindex(shape[:2]):  # little memory beside the result
        values = random.standard_normal(shape[2:], "float32")
        np.maximum(values, 0, out=features[step], casting="same_kind")
    return features


def pick(clips, kind):
    left_out = {
        "exact": {"conjugate_similarity"},
        "stored": {"conjugate", "conjugate_mask"},
    }[kind]
    return {key: x for key, x in clips.items() if key not in left_out}


def keras_step(clips, labels, dtype):
    policy = "mixed_bfloat16" if dtype == "bfloat16" else "float32"
    model = ActX(CLASSES, **SETTINGS, dtype=policy)
    return _keras_step(model, clips, labels, dtype)


def average_pooling(clips, labels):
    inputs = keras.Input((None, HEIGHT, WIDTH, CHANNELS))
    pooled = layers.GlobalAveragePooling3D()(inputs)
    model = keras.Model(inputs, layers.Dense(CLASSES)(pooled))
    return _keras_step(model, clips["features"], labels)


def _keras_step(model, clips, labels, dtype="float32"):
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    if isinstance(clips, dict):
        clips = {key: ops.convert_to_tensor(x) for key, x in clips.items()}
    else:
        clips = ops.convert_to_tensor(clips)
    labels = ops.convert_to_tensor(labels)
    step = _steps_of_fit(model, (clips, labels))
    return _in_precision(step, dtype)


def _steps_of_fit(model, batch):
    """A step as `fit` makes them, which leaves the losses on the device.

    TensorFlow's is `train_on_batch`, which awaits them.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return lambda: np.array(model.train_on_batch(*batch))
    model.train_on_batch(*batch)  # builds all
    if backend == "torch":
        return lambda: model.train_function([batch])["loss"]
    state = tuple(
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )

    def step():
        nonlocal state
        logs, state = model.train_function(state, iter([batch]))
        return logs["loss"]

    return step


def torch_step(clips, labels, dtype, compiled=False):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = actx_in_torch.ActX(CLASSES, CHANNELS, **SETTINGS).to(device)
    step = actx_in_torch.make_step(model, dtype == "bfloat16", compiled)
    names = {"conjugate_similarity": "similarity"}
    tensors = {
        names.get(key, key): torch.tensor(x, device=device)
        for key, x in clips.items()
        if x.dtype != bool
    }
    labels = torch.tensor(labels, device=device)
    return _in_precision(lambda: step(labels, **tensors), dtype)


def compiled_torch_step(clips, labels, dtype):
    return torch_step(clips, labels, dtype, compiled=True)


STEPS = {
    "ActX": keras_step,
    "PyTorch": torch_step,
    "PyTorch compiled": compiled_torch_step,
}


def make_products(clips, dtypes, peak):
    """Functions that make products, and the flops of each, by name.

    That of theta in float32, or products of the size of `peak`.
    """
    if not peak:
        locations = clips["features"].size // CHANNELS
        return {
            "product of theta, float32": (
                lambda: make_product(clips["features"]),
                2 * locations * CHANNELS**2,
            )
        }
    return {
        f"product of {peak}, {by}, {dtype}": (
            lambda make=make, dtype=dtype: make(peak, dtype),
            2 * peak**3,
        )
        for dtype in dtypes
        for by, make in (
            ("backend", _large_product),
            ("PyTorch", _large_torch_product),
        )
    }


def make_product(features):
    flat = ops.cast(ops.reshape(features, (-1, CHANNELS)), "float32")
    kernel = keras.random.normal((CHANNELS, CHANNELS))
    product = compiled(ops.matmul)
    # The last value, to wait for the device.
    return lambda: ops.convert_to_numpy(product(flat, kernel)[-1, -1])


def compiled(function):
    """What JAX compiles; other backends run each operation as it is called."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def _large_product(size, dtype):
    name = "bfloat16" if dtype == "bfloat16" else "float32"
    x, y = (
        ops.cast(keras.random.normal((size, size), seed=seed), name)
        for seed in (0, 1)
    )
    product = compiled(ops.matmul)
    return _in_precision(lambda: product(x, y), dtype)


def _large_torch_product(size, dtype):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    x, y = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
    return _in_precision(lambda: torch.matmul(x, y), dtype)


def _in_precision(run, dtype):
    def run_in_precision():
        with measuring.tf32(dtype != "float32"):
            return run()

    return run_in_precision


if __name__ == "__main__":
    main()
