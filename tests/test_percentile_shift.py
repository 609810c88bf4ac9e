import keras
import numpy as np
import pytest

from actx_tf.layers import PercentileShift
from tests import reference
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import to_numpy

RHOS = [0, 0.0, 12.5, 30.0, 33.3, 50, 99.9, 100]


@pytest.mark.parametrize("rho", RHOS)
def test_equals_numpy_percentile_for_each_clip(rho):
    x = clips(3, 5, 4, 3)
    x[2] = np.round(x[2])  # ties
    y = PercentileShift(rho)(x)
    percentile = np.percentile(x, 100 - rho, axis=(1, 2, 3), keepdims=True)
    assert_close(y, x - percentile)
    assert_close(y, [reference.percent(clip, rho) for clip in x])


def test_masked_places_of_a_step_take_no_part():
    x = clips(2, 3, 4, 5)
    mask = clips(2, 3, 4, 5, seed=1) > 0
    y = to_numpy(PercentileShift(30.0, axis=(2, 3))(x, mask=mask))
    for step, shifted, kept in zip(
        *(values.reshape(6, 20) for values in (x, y, mask)), strict=True
    ):
        assert_close(shifted[kept], step[kept] - np.percentile(step[kept], 70))
        assert not shifted[~kept].any()


def test_one_place_and_none_become_zero():
    x = 7.0 + clips(2, 5)
    mask = np.zeros((2, 5), "bool")
    mask[1, 2] = True
    assert not to_numpy(PercentileShift(axis=1)(x, mask=mask)).any()


def test_a_mask_goes_on_to_the_layer_after_it():
    x = clips(2, 3, 4)
    x[1, 2] = 0.0
    layer = PercentileShift(axis=-1)
    assert layer.supports_masking
    y = layer(keras.layers.Masking()(x))
    mask = to_numpy(y._keras_mask)
    assert mask.tolist() == [[True] * 3, [True, True, False]]


@pytest.mark.parametrize("rho", RHOS)
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_rho_percent_of_each_clip_is_positive(rho, steps):
    x = clips(4, steps, 4, 3)
    share = np.mean(to_numpy(PercentileShift(rho)(x)) > 0, axis=(1, 2, 3))
    np.testing.assert_allclose(share, rho / 100, atol=1 / (12 * steps))


def test_extremes_leave_nothing_or_all_but_the_smallest_positive():
    x = clips(2, 5, 4, 3)
    assert np.max(to_numpy(PercentileShift(0)(x))) == 0
    assert np.min(to_numpy(PercentileShift(100)(x))) == 0


@pytest.mark.parametrize("axis", [(2, 3), (-2, -1), [3, 2], 1, -1])
def test_other_axes(axis):
    x = clips(2, 5, 4, 3)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    percentile = np.percentile(x, 80, axis=axes, keepdims=True)
    assert_close(PercentileShift(20.0, axis=axis)(x), x - percentile)


def test_each_clip_of_a_padded_batch_has_its_own_count():
    x = clips(3, 6, 4, 3)
    lengths = [6, 4, 1]
    mask = np.arange(6) < np.array(lengths)[:, None]
    y = to_numpy(PercentileShift(30.0)(x, mask=mask))
    for clip, shifted, length in zip(x, y, lengths, strict=True):
        assert_close(shifted[:length], reference.percent(clip[:length], 30.0))
        assert np.all(shifted[length:] == 0)


def test_ranks_in_float32_under_a_half_policy():
    # All of these are the same bfloat16.
    x = 1.0 + 1e-4 * clips(1, 10, 4, 5)
    y = to_numpy(PercentileShift(30.0, dtype="mixed_bfloat16")(x))
    assert np.sum(y > 0) == 60


@pytest.mark.parametrize("rho", [-0.1, 100.1, float("nan"), float("inf")])
def test_rejects_rho_that_is_no_percentage(rho):
    with pytest.raises(ValueError, match=r"`rho` must be .* Received: rho="):
        PercentileShift(rho)


def test_rejects_an_axis_that_is_none_or_that_the_input_lacks():
    with pytest.raises(ValueError, match="`axis` must be an integer"):
        PercentileShift(axis=0)
    with pytest.raises(ValueError, match="`axis` must name different axes"):
        PercentileShift()(clips(2, 5, 4))
