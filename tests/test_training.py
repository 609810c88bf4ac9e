"""Training, taken up again or on two devices, is what one run would be."""

import functools

import keras
import numpy as np

from actx_tf import training
from actx_tf.data import Clip
from actx_tf.data import make_evaluation_dataset
from actx_tf.data import make_pair_dataset
from actx_tf.models import ActX
from tests.harness import assert_close
from tests.harness import clips as random_maps
from tests.harness import run_fresh

CLASSES = ("run", "jump", "none")
LENGTHS = (5, 3, 1, 6, 4, 5, 2)  # 7 clips: the last batch is smaller


def make_clips():
    """Some with conjugates, of which one is longer than the action clip."""
    conjugates = (("6",), (), ("3", "4"), ("1",), (), ("nowhere",), ("5",))
    return [
        Clip(str(i), f"{i}.mp4", CLASSES[i % 3], "train", names)
        for i, names in enumerate(conjugates)
    ]


def make_features():
    return {
        str(i): random_maps(steps, 2, 3, 4, seed=i)
        for i, steps in enumerate(LENGTHS)
    }


def make_data(features=None, **settings):
    """What `fit` takes: the training pairs, and the same clips whole."""
    arguments = (features or make_features(), make_clips(), CLASSES)
    pairs = functools.partial(
        make_pair_dataset,
        *arguments,
        **{"num_steps": 4, "batch_size": 4, "seed": 5, **settings},
    )
    whole = functools.partial(make_evaluation_dataset, *arguments, batch_size=4)
    return pairs, whole


def make_model(seed=0):
    keras.utils.set_random_seed(seed)
    model = ActX(3, gamma=3.0, difference_weight=5.0)
    model.compile(
        optimizer=keras.optimizers.Adam(0.05),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.build((None, 4, 2, 3, 4))  # while the seed holds
    return model


def fit(model, epochs, **arguments):
    """The history; validates on the training clips."""
    pairs, whole = make_data()
    return training.fit(
        model, pairs, epochs, validation_data=whole, **arguments
    )


def assert_same_training(one, other, tolerance=0.0):
    """Of pairs of (model, history)."""
    (model, history), (expected_model, expected) = one, other
    assert set(history) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=tolerance)
    variables = [*model.variables, *model.optimizer.variables]
    expected = [*expected_model.variables, *expected_model.optimizer.variables]
    for variable, value in zip(variables, expected, strict=True):
        assert_close(variable, value, tolerance)


def test_goes_on_from_the_checkpoint_as_if_never_interrupted(tmp_path):
    whole = make_model()
    history = fit(whole, 4)
    assert {len(values) for values in history.values()} == {4}
    assert "val_accuracy" in history and "similarity_loss" in history
    path = tmp_path / "folder" / "checkpoint.npz"
    for epochs in (1, 3, 4, 4):
        # What it goes on from takes the place of its own weights.
        model = make_model(seed=epochs - 1)
        resumed = fit(model, epochs, checkpoint=path)
        assert {len(values) for values in resumed.values()} == {epochs}
    assert_same_training((model, resumed), (whole, history))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_two_devices_equal_one():
    code = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
from tests import test_training as t
one = t.make_model()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    two = t.make_model()
t.assert_same_training((two, t.fit(two, 3)), (one, t.fit(one, 3)), 2e-5)
print("equal")
"""
    assert run_fresh(code) == "equal\n"
