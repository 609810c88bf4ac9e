"""A training step of ActX beside PyTorch's and beside the arithmetic.

    KERAS_BACKEND=tensorflow python -m benchmarks.train_step

At the paper's sizes: feature maps of --time x 8 x 11 x 1024, frozen, in float16
as a feature store has them, with the masks that `make_pair_dataset` gives.
"exact" matches each pair in the step, "stored" is given its similarities.
PyTorch's step is benchmarks/actx_in_torch.py, eager.

The floor is the time of the step's products alone, 8 N^2 D + 4 N D^2 flops a
clip (stored: 4 N D^2), at the rate that the product of theta has in the same
run. Medians of steps that alternate.
"""

import argparse

import keras
import numpy as np
import torch
from keras import layers
from keras import ops

from actx_tf.models import ActX
from benchmarks import actx_in_torch
from benchmarks.measuring import median_seconds

HEIGHT, WIDTH, CHANNELS, CLASSES = 8, 11, 1024, 8
SETTINGS = {"rho": 30.0, "alpha": 1.0, "beta": 1.0, "gamma": 20.0}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--time", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    clips, labels = make_pairs(arguments.batch, arguments.time)
    backend = keras.backend.backend()
    runs = {"product of theta": make_product(clips["features"])}
    steps = {}  # name -> whether the step matches pairs
    runs["average pooling"] = average_pooling(clips, labels)
    for dtype in ("float32", "bfloat16"):
        for kind in ("exact", "stored"):
            name = f"ActX, {kind}, {dtype}"
            steps[name] = kind == "exact"
            runs[name] = keras_step(pick(clips, kind), labels, dtype)
    for dtype in ("float32", "bfloat16"):
        for kind in ("exact", "stored"):
            name = f"PyTorch, {kind}, {dtype}"
            steps[name] = kind == "exact"
            runs[name] = torch_step(pick(clips, kind), labels, dtype)
    seconds = median_seconds(runs, arguments.repeats)

    locations = arguments.time * HEIGHT * WIDTH
    theta = arguments.batch * 2 * locations * CHANNELS**2
    matching = arguments.batch * 8 * locations**2 * CHANNELS
    rate = theta / seconds["product of theta"]
    reference = seconds["PyTorch, exact, float32"]
    print(
        f"{backend}, {arguments.batch} pairs of {arguments.time} x {HEIGHT} x "
        f"{WIDTH} x {CHANNELS}; product of theta {rate / 1e9:.0f} GFLOP/s"
    )
    print(f"{'':26}  ms a step  / floor  PyTorch exact float32 / it")
    for name, time in seconds.items():
        share = ""
        if name in steps:
            flops = 2 * theta + (matching if steps[name] else 0)
            share = f"{time * rate / flops:.2f}"
        print(f"{name:26}{1e3 * time:11.1f}{share:>9}{reference / time:28.2f}")


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
    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[dtype]
    model = ActX(CLASSES, **SETTINGS, dtype=policy)
    return _keras_step(model, clips, labels)


def average_pooling(clips, labels):
    inputs = keras.Input((None, HEIGHT, WIDTH, CHANNELS))
    pooled = layers.GlobalAveragePooling3D()(inputs)
    model = keras.Model(inputs, layers.Dense(CLASSES)(pooled))
    return _keras_step(model, clips["features"], labels)


def _keras_step(model, clips, labels):
    model.compile(
        optimizer="adam",
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    if isinstance(clips, dict):
        clips = {key: ops.convert_to_tensor(x) for key, x in clips.items()}
    else:
        clips = ops.convert_to_tensor(clips)
    labels = ops.convert_to_tensor(labels)
    return lambda: np.array(model.train_on_batch(clips, labels))


def torch_step(clips, labels, dtype):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = actx_in_torch.ActX(CLASSES, CHANNELS, **SETTINGS).to(device)
    step = actx_in_torch.make_step(model, autocast=dtype == "bfloat16")
    names = {"conjugate_similarity": "similarity"}
    tensors = {
        names.get(key, key): torch.tensor(x, device=device)
        for key, x in clips.items()
        if x.dtype != bool
    }
    labels = torch.tensor(labels, device=device)
    return lambda: step(labels, **tensors)


def make_product(features):
    flat = ops.cast(ops.reshape(features, (-1, CHANNELS)), "float32")
    kernel = keras.random.normal((CHANNELS, CHANNELS))
    product = ops.matmul
    if keras.backend.backend() == "jax":
        import jax

        product = jax.jit(product)
    # The last value, to wait for the device.
    return lambda: ops.convert_to_numpy(product(flat, kernel)[-1, -1])


if __name__ == "__main__":
    main()
