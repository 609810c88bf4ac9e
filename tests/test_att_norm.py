import keras
import numpy as np
import pytest

from actx_tf.layers import AttNorm
from tests import reference
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import to_numpy


@pytest.mark.parametrize("shift, scale", [(0, 1), (100, 1), (-3, 1e3)])
def test_equals_the_paper_for_each_clip(shift, scale):
    x = shift + scale * clips(3, 5, 4, 3)
    # A far mean costs digits of float32: of 100 +- 1, two of seven.
    tolerance = 2e-5 * max(1, abs(shift) / scale)
    assert_close(
        AttNorm()(x), [reference.att_norm(clip) for clip in x], tolerance
    )


def test_normalizes_each_step_by_itself_over_space():
    x = clips(2, 5, 4, 3)
    expected = [[reference.att_norm(step) for step in clip] for clip in x]
    for axis in ((2, 3), [-1, -2]):
        assert_close(AttNorm(axis=axis)(x), expected)


def test_a_single_axis_and_any_rank():
    x = clips(2, 6)
    expected = [reference.att_norm(clip) for clip in x]
    assert_close(AttNorm(axis=1)(x), expected)
    assert_close(AttNorm(axis=-1)(x), expected)


def test_does_not_depend_on_scale_and_shift():
    x = clips(2, 5, 4, 3)
    assert_close(AttNorm()(4.0 * x + 8.0), AttNorm()(x))


def test_masked_values_take_no_part_and_become_zero():
    x = clips(2, 5, 4, 3)
    mask = np.ones((2, 5), "bool")
    mask[1, 3:] = False
    x[1, 3:] = np.nan
    y = to_numpy(AttNorm()(x, mask=mask))
    assert_close(y[0], reference.att_norm(x[0]))
    assert_close(y[1, :3], reference.att_norm(x[1, :3]))
    assert np.all(y[1, 3:] == 0)


def test_a_clip_of_one_place_or_of_none_becomes_zero():
    x = 7.0 + clips(2, 5)
    mask = np.zeros((2, 5), "bool")
    mask[1, 2] = True
    assert np.all(to_numpy(AttNorm(axis=1)(x, mask=mask)) == 0)


def test_a_mask_goes_on_to_the_layer_after_it():
    x = clips(2, 3, 4)
    x[1, 2] = 0.0
    masked = keras.layers.Masking()(x)
    layer = AttNorm(axis=-1)
    assert layer.supports_masking
    y = layer(masked)
    mask = to_numpy(y._keras_mask)
    assert mask.tolist() == [[True] * 3, [True, True, False]]


def test_a_constant_map_becomes_zero():
    y = AttNorm()(np.full((2, 5, 4, 3), 7.0, "float32"))
    # The mean may be off by the last digit, and 1e-3 is what divides it.
    np.testing.assert_allclose(to_numpy(y), 0, atol=1e-3)


def test_keeps_float32_statistics_under_a_half_policy():
    # 2048 + 1 is not a float16.
    x = 4096.0 + clips(2, 5, 4, 3)
    y = AttNorm(dtype="mixed_float16")(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert_close(y, AttNorm()(x), tolerance=1e-3)


@pytest.mark.parametrize("axis", [0, (0, 1), (), (1.5,), "time"])
def test_rejects_an_axis_that_is_none(axis):
    with pytest.raises(ValueError, match=r"`axis` must be .*Received: axis="):
        AttNorm(axis=axis)


@pytest.mark.parametrize("axis", [(1, 2, 3), -3, (1, -2)])
def test_rejects_an_axis_that_the_input_lacks(axis):
    with pytest.raises(ValueError, match="`axis` must name different axes"):
        AttNorm(axis=axis)(clips(2, 5, 4))


@pytest.mark.parametrize("epsilon", [0.0, -1e-6, float("nan")])
def test_rejects_an_epsilon_that_is_not_positive(epsilon):
    with pytest.raises(ValueError, match="`epsilon` must be positive"):
        AttNorm(epsilon=epsilon)


def test_rejects_a_mask_of_higher_rank():
    with pytest.raises(ValueError, match="`mask` must have at most the rank"):
        AttNorm(axis=1)(clips(2, 5), mask=np.ones((2, 5, 1), "bool"))
