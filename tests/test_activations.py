import numpy as np
import pytest
from scipy import special

from actx_tf.ops.activations import class_probabilities
from tests.harness import assert_close
from tests.harness import clips

LOGITS = clips(3, 5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_probabilities_equal_scipy(dtype):
    logits = LOGITS.astype(dtype)
    softmax = class_probabilities(logits)
    assert_close(softmax, special.softmax(logits.astype("float32"), axis=-1))
    sigmoid = class_probabilities(logits, "sigmoid")
    assert_close(sigmoid, special.expit(logits.astype("float32")))
    for probabilities in (softmax, sigmoid):
        assert "float32" in str(probabilities.dtype)


def test_large_logits_stay_finite():
    logits = np.array([[1e4, 0.0, -1e4]])
    for activation in ("softmax", "sigmoid"):
        probabilities = class_probabilities(logits, activation)
        assert float(probabilities[0, 0]) == 1
        assert float(probabilities[0, 2]) == 0


@pytest.mark.parametrize("activation", ["relu", None, ["softmax"]])
def test_other_activations_are_refused(activation):
    with pytest.raises(ValueError, match="`activation` must be one of"):
        class_probabilities(LOGITS, activation)
