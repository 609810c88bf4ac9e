"""Whatever keras.json sets: channels first, another floatx."""

import pytest

from tests.harness import run_fresh

CODE = """
import sys
import keras
import numpy as np
data_format, floatx = sys.argv[1:]
keras.config.set_image_data_format(data_format)
keras.config.set_floatx(floatx)
from actx_tf import backbones, layers, losses, models
from actx_tf.data import synthetic

rng = np.random.default_rng(0)
x = rng.normal(size=(2, 4, 3, 3, 6)).astype(floatx)
outputs = [
    layers.AttNorm()(x[..., 0]),
    layers.PercentileShift()(x[..., 0]),
    layers.FactorizedAttentionPooling(kernel_size=3)(x),
    layers.AttentionalPooling(3)(x),
    layers.MaskPooling()(x, np.ones(x.shape[:-1], floatx)),
    layers.RegionPooling()(x, np.sort(rng.random((2, 4, 2, 4))).astype(floatx)),
    losses.conjugate_similarity(x, x[::-1]),
    losses.action_similarity(x[..., 0] ** 2, x[..., 1]),
]
for kind in (models.ActX, models.ACF):
    model = kind(3)
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, None, ["accuracy"])
    pairs = {"features": x, "conjugate": x[::-1].copy()}
    model.fit(pairs, np.array([0, 1]), verbose=0)
    outputs += model.predict(x, verbose=0).values()
free = (None, None, None, 3)
for backbone, channels in (
    (backbones.InceptionI3D(False, input_shape=free), 1024),
    (backbones.I3DResNet34(input_shape=free), 512),
    (backbones.MobileNetV2Clip(None), 2560),
    (synthetic.backbone(), 64),
):
    _, _, height, width, _ = backbone.input_shape
    clip = 255 * rng.random((1, 8, height or 64, width or 64, 3))
    outputs.append(backbone(clip.astype(floatx)))
    assert outputs[-1].shape[-1] == channels
for output in outputs:
    assert np.all(np.isfinite(keras.ops.convert_to_numpy(output)))
assert keras.config.image_data_format() == data_format
print("done")
"""


@pytest.mark.parametrize(
    ("data_format", "floatx"),
    [("channels_first", "float64"), ("channels_last", "float16")],
)
def test_layers_losses_models_and_backbones(data_format, floatx):
    assert run_fresh(CODE, data_format, floatx) == "done\n"
