import numpy as np
import pytest
from keras import ops

from actx_tf.ops import thin_products
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import gradients


@pytest.mark.parametrize(
    "product, shapes",
    [
        (thin_products.scores, [(3, 7, 5), (5, 2)]),
        (thin_products.weighted_sums, [(3, 2, 7), (3, 7, 5)]),
        (thin_products.weighted_sums, [(3, 4, 2, 7), (3, 4, 7, 5)]),
    ],
)
def test_equals_the_plain_product(product, shapes):
    tensors = [clips(*shape, seed=i) for i, shape in enumerate(shapes)]
    expected = np.matmul(*tensors)
    assert_close(product(*tensors), expected)
    upstream = clips(*expected.shape, seed=2)
    for actual, expected in zip(
        gradients(product, tensors, upstream),
        gradients(ops.matmul, tensors, upstream),
        strict=True,
    ):
        assert_close(actual, expected)
