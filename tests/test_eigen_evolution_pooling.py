import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from actx_tf.layers import EigenEvolutionPooling
from actx_tf.layers import FactorizedAttentionPooling
from tests import reference
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import run_fresh
from tests.harness import to_numpy


def smooth_clips(num_clips, time, channels=4, seed=0):
    """Courses with a mean, a slope and a wave, of different strengths."""
    rng = np.random.default_rng(seed)
    t = (np.arange(time)[:, None] + 0.5) / time
    shape = (num_clips, 1, channels)
    mean, slope, wave = rng.normal(size=(3, *shape)) * [
        [[[3]]],
        [[[2]]],
        [[[1]]],
    ]
    x = 5 + mean + slope * t + wave * np.sin(6 * t)
    return (x + 0.1 * rng.normal(size=x.shape)).astype("float32")


def adapted(data, *args, **kwargs):
    layer = EigenEvolutionPooling(*args, **kwargs)
    layer.adapt(data)
    return layer


def with_components(components):
    """A layer whose functions are given."""
    layer = EigenEvolutionPooling(*np.shape(components))
    layer.adapt(smooth_clips(10, 8, 20))
    layer.components.assign(components)
    return layer


def assert_basis_is_pca(layer, functions, tolerance=2e-5):
    pca = PCA(layer.num_components).fit(functions)
    components = to_numpy(layer.components)
    signs = np.sign(np.sum(components * pca.components_, axis=1))[:, None]
    assert_close(components, signs * pca.components_, tolerance)
    assert_close(
        layer.explained_variance_ratio, pca.explained_variance_ratio_, tolerance
    )


@pytest.mark.parametrize("num_components, num_steps", [(1, 1), (3, 8), (3, 20)])
def test_basis_is_scikit_learns_pca(num_components, num_steps):
    x = smooth_clips(30, 8)
    layer = adapted(x, num_components, num_steps)
    functions = [reference.evolution(clip, num_steps) for clip in x]
    assert_basis_is_pca(layer, np.concatenate(functions))


def test_basis_is_pca_of_clips_of_every_length():
    lengths = [1, 3, 8, 8, 12, 40]
    x = [smooth_clips(10, time, seed=time) for time in lengths]
    functions = [reference.evolution(clip, 8) for clips in x for clip in clips]
    assert_basis_is_pca(adapted(x, 3, 8), np.concatenate(functions))


def test_padding_and_batching_change_no_basis():
    x = [smooth_clips(10, time, seed=time) for time in (3, 8, 12)]
    expected = adapted(x, 3, 8)
    padded = np.concatenate(
        [
            np.pad(
                batch,
                ((0, 0), (0, 12 - batch.shape[1]), (0, 0)),
                constant_values=np.nan,
            )
            for batch in x
        ]
    )
    mask = ~np.isnan(padded[..., 0])
    # A clip that is fully masked, before others and alone.
    padded = np.concatenate((padded[:7], padded[:1], padded[7:]))
    mask = np.insert(mask, 7, False, axis=0)
    batches = [
        (padded[:7], mask[:7]),
        (padded[7:], mask[7:]),
        (padded[7:8], mask[7:8]),
    ]
    for data in (batches, iter(batches), [list(pair) for pair in batches]):
        layer = adapted(data, 3, 8)
        assert_close(layer.components, expected.components)
        assert_close(
            layer.explained_variance_ratio, expected.explained_variance_ratio
        )


def test_adapts_to_arrays_tensors_and_datasets_alike():
    x = smooth_clips(12, 8)
    expected = adapted(x, 3, 8).components
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(5)
    mask = np.ones((12, 8), "bool")
    pairs = tf.data.Dataset.from_tensor_slices((x, mask)).batch(5)
    for data in (keras.ops.convert_to_tensor(x), dataset, pairs):
        assert_close(adapted(data, 3, 8).components, expected)


def test_far_means_cost_no_digits():
    x = smooth_clips(30, 8).astype("float64")
    expected = adapted(x, 3, 8)
    far = adapted(x + 1e6, 3, 8)
    assert_close(far.components, expected.components)


def test_adapting_again_starts_anew():
    layer = adapted(smooth_clips(30, 8, seed=1), 3, 8)
    layer.adapt(smooth_clips(30, 8))
    expected = adapted(smooth_clips(30, 8), 3, 8)
    assert_close(layer.components, expected.components, tolerance=0)


def test_functions_are_orthonormal_with_the_largest_value_positive():
    components = to_numpy(adapted(smooth_clips(30, 8), 5, 16).components)
    assert_close(components @ components.T, np.eye(5))
    assert np.all(components.max(axis=1) == np.abs(components).max(axis=1))


@pytest.mark.parametrize("time", [1, 2, 8, 20])
def test_equals_the_projections_of_each_clip(time):
    layer = adapted(smooth_clips(30, 8), 3, 16)
    x = smooth_clips(3, time, seed=1)
    components = to_numpy(layer.components)
    expected = [
        reference.eigen_evolution_pooling(clip, components) for clip in x
    ]
    assert_close(layer(x), expected)
    assert layer.supports_masking
    assert layer.compute_output_shape((None, time, 4)) == (None, 3 * 4)
    assert layer(keras.Input((None, 4))).shape == (None, 3 * 4)


def test_padding_between_and_behind_the_steps_changes_nothing():
    layer = adapted(smooth_clips(30, 8), 3, 16)
    x = smooth_clips(1, 5, seed=1)
    padded = np.full((1, 9, 4), np.nan, "float32")
    real = [0, 2, 3, 6, 7]
    padded[:, real] = x
    mask = np.isin(np.arange(9), real)[None]
    assert_close(layer(padded, mask=mask), layer(x))
    assert not np.any(to_numpy(layer(padded, mask=np.zeros((1, 9), "bool"))))


@pytest.mark.parametrize("time, num_steps", [(1, 1), (1, 7), (8, 8), (4, 12)])
def test_a_constant_function_is_average_pooling(time, num_steps):
    """Where the values are as many as the steps, or a multiple."""
    layer = with_components(np.full((1, num_steps), num_steps**-0.5))
    x = clips(2, time, 5)
    assert_close(layer(x), x.mean(axis=1))


def test_one_step_and_one_value_are_the_step_and_the_middle():
    layer = adapted(smooth_clips(30, 8), 1, 1)
    x = clips(2, 5, 4)
    assert_close(layer(x), x[:, 2])
    assert_close(layer(x[:, :1]), x[:, 0])


def test_courses_that_are_constant_have_a_constant_first_function():
    x = np.repeat(clips(20, 1, 4), 6, axis=1)
    layer = adapted(x, 2, 8)
    assert_close(layer.components[:1], np.full((1, 8), 8**-0.5))
    assert_close(layer.explained_variance_ratio, [1.0, 0.0])
    pooled = to_numpy(layer(x))
    assert_close(pooled[:, :4], x[:, 0])
    np.testing.assert_allclose(pooled[:, 4:], 0, atol=1e-5)


def test_magnitudes_do_not_depend_on_the_number_of_values():
    x = smooth_clips(30, 64)
    coarse, fine = (to_numpy(adapted(x, 3, n)(x)) for n in (16, 64))
    assert_close(coarse, fine, tolerance=0.02)


def test_a_constant_function_behind_actx_is_actx():
    features = clips(2, 6, 3, 4, 5)
    mask = np.arange(6) < [[6], [3]]
    pooling = FactorizedAttentionPooling()
    steps = pooling(features, mask=mask, keep_time=True)
    layer = with_components(np.full((1, 6), 6**-0.5))
    assert_close(layer(steps, mask=mask), pooling(features, mask=mask))


def test_a_saved_model_is_adapted(tmp_path):
    layer = adapted(smooth_clips(30, 8), 3, 8)
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    x = smooth_clips(2, 5, seed=1)
    np.savez(tmp_path / "clip.npz", x=x, y=to_numpy(layer(x)))
    code = """
import sys, pathlib, keras, numpy as np
import actx_tf.models
folder = pathlib.Path(sys.argv[1])
data = np.load(folder / "clip.npz")
loaded = keras.models.load_model(folder / "model.keras")
fresh = keras.Sequential([actx_tf.layers.EigenEvolutionPooling(3, 8)])
fresh.build((None, None, 4))
fresh.load_weights(folder / "model.weights.h5")
for model in (loaded, fresh):
    y = model.predict(data["x"], verbose=0)
    np.testing.assert_allclose(y, data["y"], rtol=1e-5, atol=1e-6)
    print(model.layers[-1].explained_variance_ratio.shape)
"""
    assert run_fresh(code, tmp_path) == "(3,)\n(3,)\n"


def test_nothing_of_it_is_trained():
    layer = adapted(smooth_clips(30, 8), 3, 8)
    assert not layer.trainable_weights
    assert len(layer.weights) == 2


def test_rejects_a_call_before_it_is_adapted(tmp_path):
    match = r"must be adapted before it is called: call `adapt\(data\)`"
    x = smooth_clips(2, 5)
    layer = EigenEvolutionPooling()
    with pytest.raises(ValueError, match=match):
        layer(x)
    # Nor is it adapted by the weights of one that is not.
    model = keras.Sequential([keras.Input((None, 4)), layer])
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=match):
        model(x)
    layer.adapt(x)
    assert tuple(layer(x).shape) == (2, 12)


@pytest.mark.parametrize(
    "kwargs, match",
    [
        ({"num_components": 0}, "`num_components` must .*num_components=0"),
        ({"num_steps": 2}, "`num_steps` must .* 3. Received: num_steps=2"),
        ({"num_steps": float("nan")}, "`num_steps` must .* num_steps=nan"),
    ],
)
def test_rejects_numbers_out_of_range(kwargs, match):
    with pytest.raises(ValueError, match=match):
        EigenEvolutionPooling(**kwargs)


@pytest.mark.parametrize(
    "data, match",
    [
        ([], "`data` must hold more functions.* with 0 functions"),
        (np.ones((1, 5, 3)), "`data` must hold more functions.* 3 functions"),
        (np.ones((5, 3)), r"`data` must hold clips of the shape .*\(5, 3\)"),
        ([np.ones((5, 3))], "`data` must hold clips of the shape"),
        (np.full((2, 5, 3), np.nan), "`data` must be finite .* NaN"),
        ([(np.ones((2, 5, 3)), np.ones(2))], "masks that are boolean.*float64"),
        (
            [(np.ones((2, 5, 3)), np.ones((2, 4), "bool"))],
            r"masks .* shape \(2, 4\)",
        ),
    ],
    ids=str,
)
def test_rejects_data_that_it_cannot_adapt_to(data, match):
    layer = EigenEvolutionPooling()
    with pytest.raises(ValueError, match=match):
        layer.adapt(data)
    assert not layer.is_adapted


def test_rejects_what_is_no_sequence():
    layer = adapted(smooth_clips(30, 8))
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=5"):
        layer(clips(2, 5, 4, 3, 6))
