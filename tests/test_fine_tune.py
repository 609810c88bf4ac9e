"""examples/fine_tune.py as a user runs it."""

import csv

import keras
import numpy as np
import pytest
import torch

import actx_tf  # noqa: F401
from actx_tf.backbones import InceptionI3D
from tests.harness import run_example
from tests.i3d_in_torch import InceptionI3d
from tests.i3d_in_torch import randomize
from tests.test_extraction import write_video


def run(*flags):
    return run_example("fine_tune.py", *flags)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    lines = ["clip,file,label,split,conjugates"]
    for i in range(6):
        write_video(folder / f"c{i}.mp4", num_frames=12 + 2 * i)
        split = "train" if i < 4 else "test"
        conjugate = f"c{i + 1}" if i % 2 == 0 else ""
        lines.append(f"c{i},c{i}.mp4,{'ab'[i % 2]},{split},{conjugate}")
    lines.append("gone,gone.mp4,a,train,")
    (folder / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    torch.save(randomize(InceptionI3d()).state_dict(), folder / "i3d.pt")
    return folder


def test_trains_what_is_not_frozen(folder, tmp_path):
    flags = [
        f"--index={folder / 'index.csv'}",
        f"--weights={folder / 'i3d.pt'}",
        "--background=b",
        "--size=32,32",
        "--frame_rate=12",
        "--crop_frames=16",
        "--batch_size=2",
        f"--output={tmp_path / 'out'}",
    ]
    first = []
    for epochs in (1, 2):  # the second goes on after the first
        result = run(*flags, f"--epochs={epochs}")
        assert result.returncode == 0, result.stderr
        assert "left out: " in result.stderr
        with open(tmp_path / "out" / "history.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == epochs
        first.append(rows[0])
    assert first[0] == first[1]
    assert {"val_accuracy", "similarity_loss"} <= set(rows[0])

    model = keras.saving.load_model(tmp_path / "out" / "actx.keras")
    assert model.class_names == ["a", "b"]
    assert model.description.sampling == {
        "frame_rate": 12.0,
        "num_frames": None,
        "size": (32, 32),
    }
    before = InceptionI3D(False, folder / "i3d.pt", (None, 32, 32, 3))
    changed = set()
    for layer, trained in zip(
        before.network.layers, model.backbone.network.layers, strict=True
    ):
        for old, new in zip(layer.weights, trained.weights, strict=True):
            if not np.array_equal(old, new):
                changed.add(layer.name)
    assert changed == {
        layer.name
        for layer in before.network.layers
        if layer.name.startswith("Mixed_5")
        and isinstance(layer, keras.layers.Conv3D)
    }
    # Adam's first steps are as long as the learning rate: the backbone's.
    old = before.network.get_layer("Mixed_5c_Branch_0_Conv3d_0a_1x1").kernel
    new = model.backbone.network.get_layer(
        "Mixed_5c_Branch_0_Conv3d_0a_1x1"
    ).kernel
    assert 0 < np.max(np.abs(old - new)) < 1e-4


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--index=nowhere.csv"], "nowhere.csv"),
        (["--frozen=Mixed_9"], "`frozen` must be"),
        (["--crop_frames=0"], "`crop_frames` must be"),
        (["--size=31,32"], "`size` must be"),
        (["--frame_rate=nan"], "`frame_rate` must be"),
        (["--weights=nowhere.pt"], "nowhere.pt"),
    ],
)
def test_what_is_wrong_is_one_clear_line(folder, tmp_path, flags, words):
    result = run(
        f"--index={folder / 'index.csv'}",
        "--size=32,32",
        *flags,
        f"--output={tmp_path / 'out'}",
    )
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
