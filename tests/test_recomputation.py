"""Activations that are computed again give the same gradients."""

import keras
import numpy as np
import pytest
from keras import layers

from actx_tf.backbones import InceptionI3D
from actx_tf.backbones import MobileNetV2Clip
from actx_tf.backbones import make_backbone
from actx_tf.backbones import recomputation
from actx_tf.experiments.trained_layers import choose_trained
from tests.harness import run_fresh


def make(*more):
    network = keras.Sequential(
        [keras.Input((None, 32, 32, 3)), *more, layers.Conv3D(4, 1)]
    )
    return make_backbone(network, frame_rate=8.0)


def gradients(backbone, clip, is_traced=True):
    import tensorflow as tf

    def run():
        with tf.GradientTape() as tape:
            features = backbone(clip, training=True)
            loss = tf.reduce_sum(features**2)
        weights = [weight.value for weight in backbone.trainable_weights]
        return features, tape.gradient(loss, weights)

    return tf.function(run)() if is_traced else run()


@pytest.mark.parametrize(
    "make_network",
    [
        lambda: InceptionI3D(False, None, (None, None, None, 3), size=32),
        lambda: MobileNetV2Clip(None, (None, 32, 32, 3)),  # models in models
        lambda: make(*(layers.Conv3D(n, 1) for n in (64, 8, 64))),
    ],
    ids=["I3D", "MobileNetV2", "sequential"],
)
def test_gradients_are_the_same(make_network):
    backbone = make_network()
    choose_trained(backbone, ["Conv3d_1a"] if "i3d" in backbone.name else [])
    clip = np.random.default_rng(0).integers(0, 256, (2, 9, 32, 32, 3))
    clip = clip.astype("uint8")
    # I3D is traced where its memory is measured.
    is_traced = "i3d" not in backbone.name
    expected, expected_gradients = gradients(backbone, clip, is_traced)
    names = [weight.path for weight in backbone.weights]
    backbone.recompute_activations()
    assert [weight.path for weight in backbone.weights] == names
    features, found = gradients(backbone, clip, is_traced)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
    assert len(found) == len(expected_gradients) > 2
    for one, other in zip(found, expected_gradients, strict=True):
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())
    # Nothing of it is saved, and nothing is when it answers.
    assert "recompute" not in str(backbone.get_config())


def test_i3d_is_cut_between_its_blocks():
    network = InceptionI3D(False, None, (None, 224, 224, 3)).network
    parts = recomputation._cut(list(recomputation._steps(network)), network)
    ends = [part[-1].node.operation.name for part in parts]
    assert ends[:3] == ["MaxPool3d_2a_3x3", "MaxPool3d_3a_3x3", "Mixed_3b"]
    assert ends[-1] == "Mixed_5c" and len(ends) == 11


def test_it_takes_less_memory():
    code = """
import re, sys
import numpy as np, tensorflow as tf
from actx_tf.backbones import InceptionI3D
from actx_tf.experiments.trained_layers import choose_trained
from tests.test_recomputation import gradients
backbone = InceptionI3D(False, None, (None, 224, 224, 3))
choose_trained(backbone)
clip = np.zeros((1, 32, 224, 224, 3), "uint8")
if sys.argv[1] == "again":
    backbone.recompute_activations()
gradients(backbone, clip)
status = open("/proc/self/status").read()
print(int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]) // 1024)
"""
    kept, again = (int(run_fresh(code, how)) for how in ("kept", "again"))
    print(kept, again)
    assert kept - again > 100  # MiB; half of the clip of a training


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda: make(layers.Dropout(0.5)), "must do the same twice.*Dropout"),
        (lambda: make(layers.BatchNormalization()), "must do the same twice"),
        (lambda: make(layers.ReLU()), "must have tensors that carry"),
        (
            lambda: make_backbone(
                lambda clip: clip[:, :, ::8, ::8], size=(32, 32)
            ),
            "must be a functional Keras model",
        ),
    ],
)
def test_what_would_not_be_the_same_is_refused(network, words):
    with pytest.raises(ValueError, match=words):
        network().recompute_activations()
