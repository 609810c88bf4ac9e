import keras
import pytest

from actx_tf.backbones.max_pooling_3d import MaxPooling3D
from tests.harness import assert_close
from tests.harness import clips
from tests.harness import run_layer_test

CLIP = clips(2, 5, 6, 7, 3)


@pytest.mark.parametrize("pool_size", [3, 2, (1, 3, 3), (3, 1, 1)])
@pytest.mark.parametrize("strides", [1, 2, (1, 2, 2), (2, 1, 1)])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_equals_keras_layer(pool_size, strides, padding):
    arguments = (pool_size, strides, padding)
    assert_close(
        MaxPooling3D(*arguments)(CLIP),
        keras.layers.MaxPooling3D(*arguments)(CLIP),
        tolerance=0,
    )


def test_is_a_layer():
    run_layer_test(
        MaxPooling3D,
        {"pool_size": (3, 3, 3), "strides": 2, "padding": "same"},
        input_shape=CLIP.shape,
        expected_output_shape=(2, 3, 3, 4, 3),
    )
