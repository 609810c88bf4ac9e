"""I3DResNet34 against PyTorch: of clips, and inflated from images."""

import h5py
import numpy as np
import pytest
import torch

from actx_tf.backbones import I3DResNet34
from actx_tf.cli import extract
from actx_tf.cli.main import make_parser
from tests.harness import assert_close
from tests.harness import clips
from tests.i3d_in_torch import randomize
from tests.resnet_in_torch import ResNet34

ANY_SIZE = (None, None, None, 3)
PLAIN = {"include_preprocessing": False}


def to_torch(clip):
    return torch.tensor(clip).permute(0, 4, 1, 2, 3)


@pytest.fixture(scope="module")
def images():
    return randomize(ResNet34(2))


@pytest.fixture(scope="module")
def images_path(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "resnet34.pth"
    torch.save(images.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def of_clips(tmp_path_factory):
    port = randomize(ResNet34(3))
    path = tmp_path_factory.mktemp("clips") / "resnet34.pth"
    torch.save(port.state_dict(), path)
    return port, path


@pytest.fixture(scope="module")
def of_images(images_path):
    """Inflated; no test changes it."""
    return I3DResNet34(images_path, ANY_SIZE, **PLAIN)


def test_equals_pytorch(of_clips):
    port, path = of_clips
    backbone = I3DResNet34(path, ANY_SIZE, **PLAIN)
    for shape in ((1, 16, 64, 64, 3), (2, 21, 67, 98, 3)):
        clip = clips(*shape)
        with torch.no_grad():
            features = port.features(to_torch(clip)).permute(0, 2, 3, 4, 1)
        assert_close(backbone(clip), features.numpy(), 1e-4)


def test_a_still_clip_gives_what_its_image_gives(images, of_images):
    image = clips(1, 32, 48, 3)
    # Long enough for a step that sees no end of the clip.
    clip = np.repeat(image[:, np.newaxis], 496, axis=1)
    features = of_images(clip)
    with torch.no_grad():
        expected = images.features(torch.tensor(image).permute(0, 3, 1, 2))
    assert_close(features[:, 31], expected.permute(0, 2, 3, 1).numpy(), 1e-4)


def test_images_are_normalized_as_torchvision_does(images_path, of_images):
    frames = np.random.default_rng(0).uniform(0, 255, (1, 8, 32, 32, 3))
    frames = frames.astype("float32")
    mean = np.array([0.485, 0.456, 0.406], "float32")
    deviation = np.array([0.229, 0.224, 0.225], "float32")
    assert_close(
        I3DResNet34(images_path, ANY_SIZE)(frames),
        of_images((frames / 255 - mean) / deviation),
        1e-4,
    )


def test_flow_of_equal_channels_is_a_grey_clip(images_path, of_images):
    grey = np.repeat(clips(1, 16, 32, 32, 1), 3, axis=-1)
    flow = I3DResNet34(images_path, (None, None, None, 2))
    assert_close(flow(grey[..., :2]), of_images(grey), 1e-4)
    assert "flow" in flow.name


def test_files_of_arrays(images, of_images, tmp_path):
    arrays = {k: v.numpy() for k, v in images.state_dict().items()}
    np.savez(tmp_path / "resnet34.npz", **arrays)
    with h5py.File(tmp_path / "resnet34.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    for name in ("resnet34.npz", "resnet34.h5"):
        model = I3DResNet34(tmp_path / name)
        assert model.name == of_images.name  # the weights' checksum
        for weight, value in zip(
            model.get_weights(), of_images.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(weight, value)


def test_the_command_makes_the_same_backbone(images_path):
    flags = make_parser().parse_args(
        [
            *("extract", "--index=a.csv", "--output=f", "--size=32"),
            *("--backbone=i3d_resnet34", f"--weights={images_path}"),
        ]
    )
    made = extract.make_backbone(
        flags.backbone, extract.backbone_settings(flags)
    )
    expected = I3DResNet34(images_path, ANY_SIZE, size=32)
    assert made.description == expected.description


def test_mistakes_are_told(images, tmp_path):
    arrays = {k: v.numpy() for k, v in images.state_dict().items()}

    def load(changes):
        changed = {**arrays, **changes}
        np.savez(
            tmp_path / "a.npz",
            **{k: v for k, v in changed.items() if v is not None},
        )
        return I3DResNet34(tmp_path / "a.npz")

    with pytest.raises(ValueError, match="'layer3.5.bn2.weight' is missing"):
        load({"layer3.5.bn2.weight": None})
    with pytest.raises(ValueError, match="left over: .'layer3.6.conv1.weight'"):
        load({"layer3.6.conv1.weight": np.zeros(3)})
    with pytest.raises(ValueError, match="'bn1.bias' must fit"):
        load({"bn1.bias": np.zeros(3)})
    with pytest.raises(FileNotFoundError, match="nowhere.npz"):
        I3DResNet34(tmp_path / "nowhere.npz")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["conv1.weight"] = h5py.ExternalLink("other.h5", "/conv1.weight")
    with pytest.raises(ValueError, match="is a link"):
        I3DResNet34(tmp_path / "link.h5")
