"""What the tests share; the only importer of Keras' own test harness."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import ops
from keras.src.testing.test_case import TestCase

from actx_tf import layers
from actx_tf import losses
from actx_tf.cli.start import start
from actx_tf.ops.masks import broadcast_mask

ROOT = Path(__file__).parents[1]

# Its processes are forks of one that has imported what takes long to import.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        *("tests.harness", "actx_tf.cli.main", "actx_tf.experiments"),
        *("av", "cv2", "matplotlib", "tqdm.keras", "tensorboard.summary.v2"),
        *("pytest", "torch"),
    ]
)


def run_layer_test(layer_class, init_kwargs, **kwargs):
    TestCase().run_layer_test(layer_class, init_kwargs, **kwargs)


def clips(*shape, seed=0):
    """Standard normal values, the same for the same seed."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def gradients(function, tensors, upstream):
    """Of the sum of what comes out times `upstream`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tensors = list(map(tf.convert_to_tensor, tensors))
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total = tf.reduce_sum(upstream * function(*tensors))
        return tape.gradient(total, tensors)
    if keras.backend.backend() == "jax":
        import jax

        def total(*tensors):
            return ops.sum(upstream * function(*tensors))

        return jax.jit(jax.grad(total, argnums=range(len(tensors))))(*tensors)
    # On the device that Keras runs on.
    tensors = [ops.convert_to_tensor(x).requires_grad_() for x in tensors]
    upstream = ops.convert_to_tensor(upstream)
    ops.sum(upstream * function(*tensors)).backward()
    return [x.grad for x in tensors]


def assert_shapes_are_known_before(layer, features, **kwargs):
    """What a layer says of symbolic features is so of an array like them."""
    before = layer(keras.KerasTensor(features.shape), **kwargs)
    for x, y in zip(
        keras.tree.flatten(before),
        keras.tree.flatten(layer(features, **kwargs)),
        strict=True,
    ):
        assert tuple(x.shape) == tuple(y.shape)
        assert x.dtype == keras.backend.standardize_dtype(y.dtype)


def to_numpy(x):
    return ops.convert_to_numpy(x).astype("float64")


def assert_close(actual, expected, tolerance=2e-5):
    """The largest error, relative to the largest magnitude expected."""
    actual, expected = to_numpy(actual), to_numpy(expected)
    assert actual.shape == expected.shape
    scale = np.max(np.abs(expected)) or 1.0
    error = np.max(np.abs(actual - expected)) / scale
    assert error <= tolerance, f"relative error {error:.1e}"


def run_fresh(code, *arguments, warm=True):
    """Runs Python code in a process of its own and returns its output.

    A warm one is a fork of a process that has imported Keras, its backend and
    the layers, and has computed nothing: what takes seconds to import is not
    imported again. What is about imports takes a cold one.
    """
    if warm and keras.backend.backend() == "tensorflow":
        result = _run(run_code, code, arguments, ROOT)
    else:
        result = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
            capture_output=True,
            text=True,
        )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def run_example(script, *flags, cwd=None):
    """Runs a script, of examples/ if its path is not whole, with flags.

    Returns what `subprocess.run` would.
    """
    return _run(run_script, ROOT / "examples" / script, flags, cwd)


def run_actx(*arguments, cwd=None):
    """The same of the command `actx`."""
    return _run(run_command, "actx", arguments, cwd)


def _run(become, path, flags, cwd):
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        process = PROCESSES.Process(
            target=become, args=(path, flags, cwd or ROOT, outputs)
        )
        process.start()
        process.join(300)
        if process.is_alive():
            process.kill()
            process.join()
        stdout, stderr = (output.read_text("utf-8") for output in outputs)
    return subprocess.CompletedProcess(
        [path, *flags], process.exitcode, stdout, stderr
    )


def run_script(path, flags, cwd, outputs):
    """Becomes the script: the process' outputs go to two files."""
    _begin(path, flags, cwd, outputs)
    sys.path[0] = str(path.parent)
    runpy.run_path(str(path), run_name="__main__")


def run_code(code, flags, cwd, outputs):
    """Becomes a Python process that runs this code."""
    _begin("-c", flags, cwd, outputs)
    namespace = {"__name__": "__main__"}
    exec(compile(code, "<string>", "exec"), namespace)  # code of the tests


def run_command(path, flags, cwd, outputs):
    """Becomes the command `actx`."""
    _begin(path, flags, cwd, outputs)
    sys.exit(start())


def run_interrupted(moment, flags, cwd, outputs, counted):
    """Becomes the command, which gets Ctrl-C at its `moment`-th look.

    Of looks at files in `cwd`; writes their number to `counted`.
    """
    looks = 0
    kinds = ("open", "os.listdir", "os.mkdir", "os.rename", "os.remove")

    def look(event, arguments):
        nonlocal looks
        if event in kinds and f"{cwd}/" in f"{arguments[0]}/":
            looks += 1
            if looks == moment:
                signal.raise_signal(signal.SIGINT)

    sys.addaudithook(look)
    try:
        run_command("actx", flags, cwd, outputs)
    finally:
        counted.write_text(str(looks))


def _begin(path, flags, cwd, outputs):
    for descriptor, output in enumerate(outputs, start=1):
        with open(output, "wb") as file:
            os.dup2(file.fileno(), descriptor)
    os.chdir(cwd)
    sys.argv = [str(path), *map(str, flags)]
    # Tests that run in the background of a shell ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@keras.saving.register_keras_serializable(package="tests")
class PairLosses(keras.layers.Layer):
    """L_s and L_d as a layer, for the tests that hold for every layer.

    The clip is the first half of the channels and its conjugate the second.
    The first channel of each stands for S and C.
    """

    def __init__(self, gamma=10.0, xi=0.0, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma
        self.xi = xi
        self.supports_masking = True

    def call(self, x, mask=None):
        features, conjugate = ops.split(x, 2, axis=-1)
        similarity = losses.conjugate_similarity(
            features, conjugate, self.gamma, mask, conjugate_mask=mask
        )
        action_map, context_map = (
            # What is padded must not get a gradient from here.
            ops.stop_gradient(ops.sigmoid(clip[..., 0]))
            for clip in (features, conjugate)
        )
        l_s = losses.action_similarity(action_map, similarity, self.xi, mask)
        l_d = losses.context_difference(context_map, similarity, mask)
        return ops.stack([l_s, l_d], axis=-1)

    def compute_mask(self, inputs, mask=None):
        return None

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma, "xi": self.xi}


@keras.saving.register_keras_serializable(package="tests")
class PoolingOfOne(keras.layers.Layer):
    """A pooling of two inputs, or of steps, as a layer of a feature map alone.

    `MaskPooling` gets the first channel as its weights, `RegionPooling` two
    boxes a step from the first location. `EigenEvolutionPooling` gets the
    averages of the steps; it is adapted to random clips, as other layers have
    random weights.
    """

    def __init__(self, pooling, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.kind = pooling
        self.pooling = getattr(layers, pooling)(dtype=self.dtype_policy)

    def build(self, input_shape):
        if self.kind == "MaskPooling":
            self.pooling.build(input_shape, input_shape[:-1])
        elif self.kind == "RegionPooling":
            self.pooling.build(input_shape, (*input_shape[:2], 2, 4))
        else:
            self.pooling.adapt(np.random.normal(size=(5, 6, 4)))

    def call(self, x, mask=None):
        # What is padded must not get a gradient from these.
        if self.kind == "MaskPooling":
            weights = ops.stop_gradient(ops.sigmoid(x[..., 0]))
            return self.pooling(x, weights, mask=mask)
        if self.kind == "RegionPooling":
            corners = ops.stop_gradient(ops.sigmoid(x[:, :, 0, 0, :4]))
            corners = ops.stack([corners, corners[..., ::-1]], axis=2)
            boxes = 0.5 * corners + np.array([0, 0, 0.5, 0.5], "float32")
            return self.pooling(x, boxes, mask=mask)
        if mask is None:
            return self.pooling(ops.mean(x, axis=(2, 3)))
        mask = broadcast_mask(mask, ops.shape(x)[:-1])
        count = ops.sum(ops.cast(mask, x.dtype), axis=(2, 3))[..., None]
        x = ops.where(mask[..., None], x, ops.zeros_like(x))
        x = ops.sum(x, axis=(2, 3)) / ops.maximum(count, 1.0)
        return self.pooling(x, mask=ops.any(mask, axis=(2, 3)))

    def compute_mask(self, inputs, mask=None):
        return None

    def get_config(self):
        return {**super().get_config(), "pooling": self.kind}
