"""Backbones of ONNX files, against the networks they were exported from."""

import zipfile

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import torch
from onnx import TensorProto
from onnx import helper

from actx_tf.backbones import from_onnx
from actx_tf.backbones.description import Axis
from actx_tf.data.extraction import FeatureExtractor
from actx_tf.models import ActX
from actx_tf.utils.untrusted_files import load_keras_model
from tests.harness import assert_close
from tests.harness import run_fresh
from tests.onnx_network import write

CLIP = np.random.default_rng(0).uniform(0, 255, (2, 12, 24, 32, 3))
CLIP = CLIP.astype("float32")


@pytest.fixture(scope="module")
def layer():
    torch.manual_seed(0)
    return torch.nn.Conv3d(3, 5, (9, 4, 4), (9, 4, 4))


def weights_of(layer):
    return [
        ("w", layer.weight.detach().numpy()),
        ("b", layer.bias.detach().numpy()),
    ]


@pytest.fixture(scope="module")
def of_clips(layer, tmp_path_factory):
    """What PyTorch exports: channels first."""
    return write(
        tmp_path_factory.mktemp("onnx") / "clips.onnx",
        [
            helper.make_node(
                "Conv",
                ["x", "w", "b"],
                ["y"],
                kernel_shape=(9, 4, 4),
                strides=(9, 4, 4),
            )
        ],
        ("n", 3, "t", "h", "w"),
        ("n", 5, "s", "r", "c"),
        weights_of(layer),
    )


def expected(layer, clip):
    x = torch.tensor(clip / 127.5 - 1).float().permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        return layer(x).permute(0, 2, 3, 4, 1).numpy()


def make(path, **options):
    options = {"layout": "channels_first", "value_range": (-1, 1), **options}
    return from_onnx(path, **options)


def test_equals_pytorch(layer, of_clips):
    backbone = make(of_clips, frame_rate=9.0)
    assert_close(backbone(CLIP), expected(layer, CLIP), 1e-5)
    description = backbone.description
    assert description.frames_per_step == 9
    assert description.time == Axis(((9, 9, (0, 0)),))
    assert description.height == Axis(((4, 4, (0, 0)),))
    assert description.channels == 5
    assert description.name.startswith("clips_")
    assert "ONNX Runtime" in backbone.export_obstacle


def test_in_a_graph(layer, of_clips):
    backbone = make(of_clips)
    function = tf.function(
        backbone,
        input_signature=[tf.TensorSpec((None, None, None, None, 3))],
    )
    features = function(CLIP)
    assert features.shape[-1] == 5
    assert_close(features, expected(layer, CLIP), 1e-5)
    concrete = function.get_concrete_function()
    assert concrete.structured_outputs.shape.as_list()[-1] == 5


def test_a_file_in_a_fresh_process(layer, of_clips, tmp_path):
    backbone = make(of_clips, num_frames=12)
    backbone.save(tmp_path / "backbone.keras")
    np.save(tmp_path / "clip.npy", CLIP)
    np.save(tmp_path / "features.npy", backbone(CLIP))
    digest = run_fresh(
        "import sys, numpy as np\n"
        "from actx_tf.utils.untrusted_files import load_keras_model\n"
        "model = load_keras_model(sys.argv[1] + '/backbone.keras')\n"
        "clip, features = (np.load(f'{sys.argv[1]}/{n}.npy')\n"
        "                  for n in ('clip', 'features'))\n"
        "np.testing.assert_allclose(model(clip), features, 1e-5, 1e-5)\n"
        "print(model.description.digest)",
        tmp_path,
    )
    assert digest.strip() == backbone.description.digest


def test_long_clips_are_run_in_windows(layer, of_clips):
    rng = np.random.default_rng(1)
    clip = rng.integers(0, 256, (100, 8, 8, 3), "uint8")
    extractor = FeatureExtractor(make(of_clips), window=36)
    features, count = extractor(iter(clip), lambda: len(clip))
    assert count == 100
    assert_close(features, expected(layer, clip[None])[0], 1e-5)


def test_a_model_holds_it(of_clips, tmp_path):
    model = ActX(2, backbone=make(of_clips))
    model.build((None, None, 24, 32, 3))
    model.save(tmp_path / "model.keras")
    loaded = load_keras_model(tmp_path / "model.keras")
    assert loaded.backbone.description == model.backbone.description
    assert_close(loaded(CLIP)["logits"], model(CLIP)["logits"], 1e-5)


def test_a_network_of_one_image_runs_frame_by_frame(tmp_path):
    path = write(
        tmp_path / "image.onnx",
        [
            helper.make_node(
                "AveragePool",
                ["x"],
                ["y"],
                kernel_shape=(8, 8),
                strides=(8, 8),
            )
        ],
        (1, 3, 24, 32),
        (1, 3, 3, 4),
    )
    backbone = make(path, frame_by_frame=True)
    assert backbone.description.size == (24, 32)
    assert backbone.description.frames_per_step == 1
    pool = keras.layers.AveragePooling3D((1, 8, 8))
    assert_close(backbone(CLIP), pool(CLIP / 127.5 - 1), 1e-5)


def test_weights_in_files_beside_it_are_taken_along(layer, tmp_path):
    path = write(
        tmp_path / "clips.onnx",
        [helper.make_node("Conv", ["x", "w", "b"], ["y"], strides=(9, 4, 4))],
        ("n", 3, "t", "h", "w"),
        ("n", 5, "s", "r", "c"),
        weights_of(layer),
        save_as_external_data=True,
        size_threshold=0,
    )
    assert len(list(tmp_path.iterdir())) > 1
    backbone = make(path)
    for file in tmp_path.iterdir():
        file.unlink()
    backbone.save(tmp_path / "backbone.keras")
    loaded = load_keras_model(tmp_path / "backbone.keras")
    assert_close(loaded(CLIP), expected(layer, CLIP), 1e-5)


def replace(path, content):
    """Puts another ONNX file into a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in entries if name.endswith(".onnx"))
    entries[name] = content
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in entries.items():
            archive.writestr(name, value)


def test_a_file_that_names_another_file_is_refused(layer, of_clips, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4 * 432 * 5))
    backbone = make(of_clips)
    backbone.save(tmp_path / "backbone.keras")
    model = onnx.load(of_clips)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(secret))
    replace(tmp_path / "backbone.keras", model.SerializeToString())
    with pytest.raises(ValueError, match="'w' lie in another file"):
        load_keras_model(tmp_path / "backbone.keras")


def test_mistakes_are_told(of_clips, tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be an ONNX file"):
        from_onnx(tmp_path / "nowhere.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ValueError, match="text.onnx: not an ONNX file"):
        from_onnx(tmp_path / "text.onnx")
    with pytest.raises(ValueError, match="order of `layout`.*Conv node"):
        from_onnx(of_clips)  # of PyTorch
    backbone = make(of_clips)
    backbone.save(tmp_path / "backbone.keras")
    replace(tmp_path / "backbone.keras", b"no network")
    with pytest.raises(ValueError, match="not a whole ONNX file"):
        load_keras_model(tmp_path / "backbone.keras")
    pair = helper.make_graph(
        [helper.make_node("Add", ["x", "z"], ["y"])],
        "pair",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 3))
            for name in "xz"
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 3))],
    )
    onnx.save(
        helper.make_model(
            pair, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
        ),
        tmp_path / "pair.onnx",
    )
    with pytest.raises(ValueError, match="must take one tensor"):
        from_onnx(tmp_path / "pair.onnx")
