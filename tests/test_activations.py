import numpy as np
import pytest
from scipy import special

from actx_tf.ops.activations import scores
from tests.harness import assert_close
from tests.harness import clips

LOGITS = clips(3, 5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scores_equal_scipy(dtype):
    logits = LOGITS.astype(dtype)
    softmax = scores(logits, "softmax")
    assert_close(softmax, special.softmax(logits.astype("float32"), axis=-1))
    sigmoid = scores(logits, "sigmoid")
    assert_close(sigmoid, special.expit(logits.astype("float32")))
    for answers in (softmax, sigmoid):
        assert "float32" in str(answers.dtype)


def test_large_logits_stay_finite():
    logits = np.array([[1e4, 0.0, -1e4]])
    for activation in ("softmax", "sigmoid"):
        answers = scores(logits, activation)
        assert float(answers[0, 0]) == 1
        assert float(answers[0, 2]) == 0


@pytest.mark.parametrize("activation", ["relu", None, ["softmax"]])
def test_other_activations_are_refused(activation):
    with pytest.raises(ValueError, match="`activation` must be one of"):
        scores(LOGITS, activation)
