from fractions import Fraction

import numpy as np
import pytest

from actx_tf.utils.checks import check_above_zero
from actx_tf.utils.checks import check_feature_map
from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_positive
from actx_tf.utils.checks import check_share


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(1)])
def test_positive_integers_pass(value):
    check_positive("steps", value)


@pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, np.float32(2)])
def test_other_values_are_no_positive_integers(value):
    with pytest.raises(ValueError, match="`steps` .* Received: steps="):
        check_positive("steps", value)


def test_finite_numbers_from_zero_on():
    for value in (0, 0.0, 2.5, np.float32(3)):
        check_not_negative("alpha", value)
    for value in (-1e-9, float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ValueError, match="`alpha` .* Received: alpha="):
            check_not_negative("alpha", value)


def test_finite_numbers_above_zero():
    for value in (1, 1e-9, Fraction(25, 2), np.float32(3)):
        check_above_zero("memory", value, "GiB")
    for value in (0, -1, float("nan"), float("inf"), True, "1", None):
        with pytest.raises(
            ValueError, match=r"`memory` .*\(GiB\)\. Received: "
        ):
            check_above_zero("memory", value, "GiB")


def test_shares():
    for value in (0, 1, 0.5, np.float32(1)):
        check_share("share", value)
    for value in (-1e-9, 1.01, float("nan"), True, "0.5", None):
        for above_zero in (False, True):
            with pytest.raises(ValueError, match="`share` .* Received: share="):
                check_share("share", value, above_zero)
    check_share("share", 1e-9, above_zero=True)
    with pytest.raises(ValueError, match=r"`share` must be in \(0, 1\]"):
        check_share("share", 0, above_zero=True)


def test_shapes_of_feature_maps():
    for shape in ((2, 4, 3, 5, 6), (None, None, None, None, None)):
        check_feature_map("features", shape)
    check_feature_map("features", (None, None, 3, 5, 6), known_channels=True)
    message = r"`features` must .* Received: features.shape=\("
    for shape in ((2, 4, 3, 5), (1, 2, 4, 3, 5, 6), ()):
        for known_channels in (False, True):
            with pytest.raises(ValueError, match=message):
                check_feature_map("features", shape, known_channels)
    with pytest.raises(ValueError, match="known number of channels"):
        check_feature_map("features", (2, 4, 3, 5, None), known_channels=True)
