"""What holds for every layer, and for the losses in the form of a layer."""

import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

import actx_tf.models
from actx_tf.layers import AttentionalPooling
from actx_tf.layers import AttNorm
from actx_tf.layers import EigenEvolutionPooling
from actx_tf.layers import FactorizedAttentionPooling
from actx_tf.layers import MaskPooling
from actx_tf.layers import PercentileShift
from actx_tf.layers import RegionPooling
from tests.harness import PairLosses
from tests.harness import PoolingOfOne
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import run_fresh
from tests.harness import run_layer_test
from tests.harness import to_numpy

MAP = (2, 4, 3, 5)  # (batch, time, height, width)
FEATURES = (*MAP, 6)
WITH_MAPS = {"return_attention_maps": True}

# Name: class, arguments, shape of the input, arguments of the call.
CASES = {
    "att_norm": (AttNorm, {}, MAP, {}),
    "att_norm_of_steps": (AttNorm, {"axis": (2, 3)}, MAP, {}),
    "att_norm_of_features": (AttNorm, {"epsilon": 1e-3}, FEATURES, {}),
    "shift": (PercentileShift, {}, MAP, {}),
    "shift_of_steps": (
        PercentileShift,
        {"rho": 75, "axis": (-2, -1)},
        MAP,
        {},
    ),
    "pooling": (FactorizedAttentionPooling, {}, FEATURES, {}),
    "pooling_with_maps": (FactorizedAttentionPooling, {}, FEATURES, WITH_MAPS),
    "pooling_kernel_3": (
        FactorizedAttentionPooling,
        {"kernel_size": 3, "alpha": 3.0, "beta": 0.5},
        FEATURES,
        WITH_MAPS,
    ),
    "pooling_without_s_att": (
        FactorizedAttentionPooling,
        {"use_attention_map": False, "kernel_size": (1, 3, 3)},
        FEATURES,
        WITH_MAPS,
    ),
    "pooling_identity": (
        FactorizedAttentionPooling,
        {"transformation": "identity"},
        FEATURES,
        WITH_MAPS,
    ),
    "pooling_low_rank": (
        FactorizedAttentionPooling,
        {"transformation": "low_rank", "theta_rank": 3, "kernel_size": 3},
        FEATURES,
        {},
    ),
    "attentional": (AttentionalPooling, {"num_classes": 4}, FEATURES, {}),
    "attentional_with_map": (
        AttentionalPooling,
        {"num_classes": 4},
        FEATURES,
        WITH_MAPS,
    ),
    "attentional_rank_2": (
        AttentionalPooling,
        {"num_classes": 3, "rank": 2},
        FEATURES,
        WITH_MAPS,
    ),
    "mask": (PoolingOfOne, {"pooling": "MaskPooling"}, FEATURES, {}),
    "regions": (PoolingOfOne, {"pooling": "RegionPooling"}, FEATURES, {}),
    "evolution": (
        PoolingOfOne,
        {"pooling": "EigenEvolutionPooling"},
        FEATURES,
        {},
    ),
    "losses": (PairLosses, {}, FEATURES, {}),
    "losses_xi": (PairLosses, {"gamma": 1.0, "xi": 0.3}, FEATURES, {}),
}
every_case = pytest.mark.parametrize(
    "layer_class, init_kwargs, shape, call_kwargs", CASES.values(), ids=CASES
)


def make(layer_class, init_kwargs, shape, **kwargs):
    """A built layer, with the same weights each time."""
    keras.utils.set_random_seed(0)
    layer = layer_class(**init_kwargs, **kwargs)
    layer.build(shape)
    return layer


def call(layer, x, **kwargs):
    """The outputs as a list."""
    return keras.tree.flatten(layer(x, **kwargs))


def gradients(layer, x, **kwargs):
    """Of a sum over the outputs' cubes, by the input and each weight."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = 0.0
        for output in call(layer, x, **kwargs):
            # Cubes: what AttNorm returns has a constant sum, also of squares.
            loss += tf.reduce_sum(tf.cast(output, "float32") ** 3)
    return tape.gradient(loss, [x, *layer.trainable_weights])


def assert_finite(tensors):
    for tensor in tensors:
        assert np.all(np.isfinite(to_numpy(tensor)))


@every_case
def test_keeps_the_contract_of_keras(
    layer_class, init_kwargs, shape, call_kwargs
):
    # Its training step knows no arguments of the call.
    run_layer_test(
        layer_class, init_kwargs, input_shape=shape, supports_masking=True
    )


@every_case
def test_symbolic_output_is_the_eager_one(
    layer_class, init_kwargs, shape, call_kwargs
):
    for policy in ("float32", "mixed_bfloat16"):
        layer = make(layer_class, init_kwargs, shape, dtype=policy)
        symbolic = call(layer, keras.KerasTensor(shape), **call_kwargs)
        eager = call(layer, clips(*shape), **call_kwargs)
        for spec, value in zip(symbolic, eager, strict=True):
            assert spec.shape == tuple(value.shape)
            assert spec.dtype == value.dtype.name


def test_keras_file_in_a_fresh_process(tmp_path):
    for name, (*spec, shape, call_kwargs) in CASES.items():
        layer = make(*spec, shape)
        # Batch and time are unknown.
        x = keras.Input((None, *shape[2:]))
        mask = keras.Input((None,), dtype="bool")
        outputs = layer(x, mask=mask, **call_kwargs)
        model = keras.Model([x, mask], keras.tree.flatten(outputs))
        model.save(tmp_path / f"{name}.keras")

        x = clips(3, 6, *shape[2:])
        mask = np.arange(6) < [[6], [4], [2]]
        outputs = [to_numpy(y) for y in call(model, [x, mask])]
        assert_close(outputs[0], call(layer, x, mask=mask, **call_kwargs)[0])
        np.savez(tmp_path / f"{name}.npz", *outputs, x=x, mask=mask)
    code = """
import sys, pathlib, keras, numpy as np
import actx_tf, tests.harness
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.models.load_model(path)
    data = dict(np.load(path.with_suffix(".npz")))
    x, mask = data.pop("x"), data.pop("mask")
    for y, expected in zip(
        keras.tree.flatten(model([x, mask])), data.values(), strict=True
    ):
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    print(path.stem)
"""
    assert run_fresh(code, tmp_path).split() == sorted(CASES)


def test_saved_model_without_keras(tmp_path):
    def server(layer, call_kwargs):
        return lambda x, mask: call(layer, x, mask=mask, **call_kwargs)

    archive = keras.export.ExportArchive()
    for name, (*spec, shape, call_kwargs) in CASES.items():
        layer = make(*spec, shape)
        serve = server(layer, call_kwargs)
        unknown = [None] * 4 + list(shape[4:])
        archive.track(layer)
        archive.add_endpoint(
            name,
            serve,
            input_signature=[
                tf.TensorSpec(unknown),
                tf.TensorSpec([None, None], "bool"),
            ],
        )
        for i, sizes in enumerate([(2, 4, 3, 5), (1, 7, 2, 6)]):
            x = clips(*sizes, *shape[4:])
            mask = np.arange(sizes[1]) < np.full((sizes[0], 1), 3)
            outputs = [to_numpy(y) for y in serve(x, mask)]
            np.savez(tmp_path / f"{name}.{i}.npz", *outputs, x=x, mask=mask)
    archive.write_out(tmp_path / "saved", verbose=False)
    code = """
import sys, pathlib
sys.modules["keras"] = None  # as if it were not installed
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1] + "/saved")
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.npz")):
    data = dict(np.load(path))
    x, mask = data.pop("x"), data.pop("mask")
    name, _ = path.stem.split(".")
    outputs = getattr(loaded, name)(x, mask)
    for y, expected in zip(outputs, data.values(), strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    print(path.stem)
"""
    assert len(run_fresh(code, tmp_path).split()) == 2 * len(CASES)


@every_case
def test_xla_equals_eager(layer_class, init_kwargs, shape, call_kwargs):
    layer = make(layer_class, init_kwargs, shape)
    x = tf.constant(clips(*shape))
    mask = tf.constant(np.arange(shape[1]) < [[4], [2]])

    @tf.function(jit_compile=True)
    def compiled(x, mask):
        return (
            call(layer, x, mask=mask, **call_kwargs),
            gradients(layer, x, **call_kwargs),
        )

    outputs, slopes = compiled(x, mask)
    eager = call(layer, x, mask=mask, **call_kwargs)
    for actual, expected in zip(outputs, eager, strict=True):
        assert_close(actual, expected)
    for actual, expected in zip(
        slopes, gradients(layer, x, **call_kwargs), strict=True
    ):
        assert_close(actual, expected, tolerance=1e-4)


@pytest.mark.parametrize(
    "policy, tolerance, as_global",
    [
        ("float16", 0.01, False),
        ("float16", 0.01, True),
        ("mixed_float16", 0.01, False),
        ("bfloat16", 0.05, False),
        ("mixed_bfloat16", 0.05, False),
        ("mixed_bfloat16", 0.05, True),
    ],
)
@every_case
def test_half_precision(
    layer_class, init_kwargs, shape, call_kwargs, policy, tolerance, as_global
):
    x = clips(*shape)
    exact = make(layer_class, init_kwargs, shape)
    if as_global:
        previous = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            layer = make(layer_class, init_kwargs, shape)
        finally:
            keras.config.set_dtype_policy(previous)
    else:
        layer = make(layer_class, init_kwargs, shape, dtype=policy)
    layer.set_weights(exact.get_weights())
    for weight in layer.weights:
        assert weight.dtype == layer.variable_dtype

    outputs = call(layer, x, **call_kwargs)
    # Maps, logits and losses stay float32; what other layers take does not.
    is_half = [layer_class not in (PairLosses, AttentionalPooling)]
    is_half += [False] * (len(outputs) - 1)
    for output, half, expected in zip(
        outputs, is_half, call(exact, x, **call_kwargs), strict=True
    ):
        assert output.dtype.name == (layer.compute_dtype if half else "float32")
        assert_close(tf.cast(output, "float32"), expected, tolerance)
    assert_finite(gradients(layer, x, **call_kwargs))


FILLS = {
    "large": lambda clip: 1e4,
    "nan": lambda clip: np.nan,
    "first_value": lambda clip: clip.flat[0],  # what TF Serving pads with
}


@pytest.mark.parametrize("spatial", [False, True])
@every_case
def test_a_padded_clip_is_as_good_as_alone(
    layer_class, init_kwargs, shape, call_kwargs, spatial
):
    """Holds each clip against itself in a batch with longer or larger ones."""
    layer = make(layer_class, init_kwargs, shape)
    sizes = [(6, 3, 4), (4, 3, 4), (2, 3, 4), (1, 3, 4)]
    if spatial:
        sizes = [(6, 4, 4), (4, 3, 5), (2, 1, 2), (1, 1, 1)]
    largest = np.max(sizes, axis=0)
    alone = [clips(*size, *shape[4:], seed=i) for i, size in enumerate(sizes)]
    expected = [call(layer, clip[None], **call_kwargs) for clip in alone]
    mask = np.zeros((4, *largest), "bool")
    for i, (time, height, width) in enumerate(sizes):
        mask[i, :time, :height, :width] = True
    given = mask if spatial else mask[:, :, 0, 0]
    for fill in FILLS.values():
        padded = np.stack(
            [np.full((*largest, *shape[4:]), fill(clip)) for clip in alone]
        ).astype("float32")
        for i, clip in enumerate(alone):
            padded[i][mask[i]] = clip.reshape(-1, *shape[4:])
        outputs = call(layer, padded, mask=given, **call_kwargs)
        for i, (time, height, width) in enumerate(sizes):
            for output, wanted in zip(outputs, expected[i], strict=True):
                clip = to_numpy(output)[i]
                if clip.ndim >= 3:
                    real = clip[:time, :height, :width].copy()
                    clip[:time, :height, :width] = 0
                    assert not np.any(clip)
                    clip = real
                assert_close(clip[None], wanted)
        assert_finite(gradients(layer, padded, mask=given, **call_kwargs))


EXTREMES = {
    "constant": (np.ones(FEATURES), None),
    "zeros": (np.zeros(FEATURES), None),
    "single_step": (clips(2, 1, 3, 5, 6), None),
    "single_location": (clips(2, 1, 1, 1, 6), None),
    "large": (1e4 * clips(*FEATURES), None),
    "small": (1e-4 * clips(*FEATURES), None),
    "fully_padded": (clips(*FEATURES), [[True] * 4, [False] * 4]),
}


@pytest.mark.parametrize("x, mask", EXTREMES.values(), ids=EXTREMES)
@every_case
def test_stays_finite(layer_class, init_kwargs, shape, call_kwargs, x, mask):
    layer = make(layer_class, init_kwargs, shape)
    x = (x if len(shape) == 5 else x[..., 0]).astype("float32")
    mask = None if mask is None else np.array(mask)
    outputs = call(layer, x, mask=mask, **call_kwargs)
    assert_finite(outputs)
    assert_finite(gradients(layer, x, mask=mask, **call_kwargs))
    if mask is not None:
        assert not any(np.any(to_numpy(output)[1]) for output in outputs)


@every_case
def test_a_clip_does_not_see_its_batch(
    layer_class, init_kwargs, shape, call_kwargs
):
    layer = make(layer_class, init_kwargs, shape)
    x = clips(3, *shape[1:])
    x[2] *= 1e3
    together = call(layer, x, **call_kwargs)
    for i in range(3):
        alone = call(layer, x[i : i + 1], **call_kwargs)
        for output, expected in zip(together, alone, strict=True):
            assert_close(output[i : i + 1], expected)


@pytest.mark.parametrize(
    "layer_class",
    [
        AttNorm,
        PercentileShift,
        FactorizedAttentionPooling,
        AttentionalPooling,
        MaskPooling,
        RegionPooling,
        EigenEvolutionPooling,
    ],
)
def test_docstring_example(layer_class):
    names = {"np": np, "keras": keras, "actx_tf": actx_tf}
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(layer_class, globs=names)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
