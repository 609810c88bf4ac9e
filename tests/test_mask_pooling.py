import keras
import numpy as np
import pytest

from actx_tf.layers import MaskPooling
from tests import reference
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import to_numpy


def soft_mask(*shape):
    return np.random.default_rng(1).uniform(size=shape).astype("float32")


def test_equals_the_weighted_mean_for_each_clip():
    features, soft = clips(3, 5, 4, 3, 6), soft_mask(3, 5, 4, 3)
    for weights in (soft, soft > 0.7, (soft > 0.7).astype("int32")):
        expected = [
            reference.mask_pooling(clip, weight)
            for clip, weight in zip(features, weights, strict=True)
        ]
        assert_close(MaskPooling()(features, weights), expected)


def test_weights_that_are_all_one_are_average_pooling():
    features = clips(2, 5, 4, 3, 6)
    pooled = MaskPooling()(features, np.ones((2, 5, 4, 3)))
    assert_close(pooled, features.mean(axis=(1, 2, 3)))


def test_one_location_is_its_feature():
    features, weights = clips(1, 5, 4, 3, 6), np.zeros((1, 5, 4, 3))
    weights[0, 2, 1, 0] = 0.3
    assert_close(MaskPooling()(features, weights), features[:, 2, 1, 0])


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6])
def test_the_scale_of_the_weights_does_not_matter(scale):
    features, weights = clips(2, 5, 4, 3, 6), soft_mask(2, 5, 4, 3)
    expected = MaskPooling()(features, weights)
    assert_close(MaskPooling()(features, scale * weights), expected)


def test_a_clip_where_nobody_is_found_is_average_pooled():
    features, weights = clips(2, 5, 4, 3, 6), soft_mask(2, 5, 4, 3)
    weights[1] = 0
    pooled = MaskPooling()(features, weights)
    assert_close(pooled[0], reference.mask_pooling(features[0], weights[0]))
    assert_close(pooled[1], features[1].mean(axis=(0, 1, 2)))


def test_where_nobody_is_found_padding_is_no_part_of_the_average():
    features = clips(1, 5, 4, 3, 6)
    weights = np.zeros((1, 5, 4, 3))
    weights[:, 3:] = 1.0  # who is found in the padding is not there
    mask = np.arange(5)[None] < 3
    pooled = MaskPooling()(features, weights, mask=mask)
    assert_close(pooled, features[:, :3].mean(axis=(1, 2, 3)))


def test_padding_changes_nothing():
    features, weights = clips(1, 4, 3, 2, 6), soft_mask(1, 4, 3, 2)
    pad = ((0, 0), (0, 2), (0, 1), (0, 3))
    mask = np.pad(np.ones((1, 4, 3, 2), "bool"), pad)
    padded = MaskPooling()(
        np.pad(features, (*pad, (0, 0)), constant_values=np.nan),
        np.pad(weights, pad, constant_values=np.nan),
        mask=mask,
    )
    assert_close(padded, MaskPooling()(features, weights))


def test_a_clip_that_is_all_padding_is_zero():
    x, weights = clips(2, 3, 4, 5, 7), np.abs(clips(2, 3, 4, 5))
    mask = np.array([[True] * 3, [False] * 3])
    y = to_numpy(MaskPooling()(x, weights, mask=mask))
    assert not y[1].any()
    assert_close(y[:1], MaskPooling()(x[:1], weights[:1]))


def test_its_shape_is_known_before_it_runs():
    layer = MaskPooling()
    assert layer.supports_masking
    shape = layer.compute_output_shape((None, 3, 4, 5, 7), (None, 3, 4, 5))
    assert tuple(shape) == (None, 7)


def test_weights_stay_float32_under_a_half_policy():
    features, weights = clips(2, 5, 4, 3, 6), soft_mask(2, 5, 4, 3)
    # As a float16 these would be infinite.
    pooled = MaskPooling(dtype="mixed_float16")(features, 1e6 * weights)
    assert keras.backend.standardize_dtype(pooled.dtype) == "float16"
    assert_close(pooled, MaskPooling()(features, weights), tolerance=2e-3)


def test_a_nan_among_the_weights_is_seen():
    weights = soft_mask(1, 5, 4, 3)
    weights[0, 0, 0, 0] = np.nan
    assert np.all(
        np.isnan(to_numpy(MaskPooling()(clips(1, 5, 4, 3, 6), weights)))
    )


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (1, 5, 4, 3), (2, 5, 4, 3, 1)])
def test_rejects_weights_of_another_shape(shape):
    features = clips(2, 5, 4, 3, 6)
    match = r"`weights` must have the shape of `features`.* Received: weights"
    with pytest.raises(ValueError, match=match):
        MaskPooling()(features, np.ones(shape))
    layer = MaskPooling()
    layer(features, np.ones((2, 5, 4, 3)))
    with pytest.raises(ValueError, match=match):
        layer(features, np.ones(shape))
    with pytest.raises(ValueError, match=match):
        MaskPooling()(
            keras.Input((5, 4, 3, 6), 2), keras.Input(shape[1:], shape[0])
        )


def test_rejects_what_is_no_feature_map():
    with pytest.raises(ValueError, match="expected ndim=5, found ndim=4"):
        MaskPooling()(clips(2, 5, 4, 6), np.ones((2, 5, 4)))
