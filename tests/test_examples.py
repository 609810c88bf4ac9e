"""The examples as a user runs them: a process each, real flags."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import actx_tf
from actx_tf.data import FeatureStoreWriter

ROOT = Path(__file__).parents[1]


def run(script, *args):
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / script), *args],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_train_on_the_built_in_set(tmp_path):
    result = run(
        "train_actx.py",
        f"--output={tmp_path}",
        "--train_clips=64",
        "--epochs=2",
        "--seeds=1",
    )
    assert result.returncode == 0, result.stderr
    assert "localization AUC" in result.stdout
    with open(tmp_path / "results.csv", encoding="utf-8") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"average pooling", "max pooling", "ActX"}
    assert 0 <= float(rows["ActX"]["mAP"]) <= 1

    features = np.random.default_rng(0).normal(size=(2, 4, 6, 6, 64))
    features = features.astype("float32")
    model = keras.models.load_model(tmp_path / "actx.keras")
    served = tf.saved_model.load(str(tmp_path / "saved_model" / "1"))
    np.testing.assert_allclose(
        served.signatures["serving_default"](features=features)["logits"],
        model.predict(features, verbose=0)["logits"],
        rtol=1e-4,
        atol=1e-5,
    )
    assert (tmp_path / "attention.png").stat().st_size > 10_000
    assert any((tmp_path / "tensorboard").rglob("events.*"))
    assert (tmp_path / "history" / "ActX-0.csv").exists()


def make_store(folder, labels="ab"):
    """A store of 12 clips in two classes; no video files."""
    rng = np.random.default_rng(0)
    lines = ["clip,file,label,split,conjugates"]
    with FeatureStoreWriter(folder / "store.h5", backbone="random") as writer:
        for i in range(12):
            label, split = labels[i % 2], "train" if i < 8 else "test"
            writer.add(
                f"c{i}",
                rng.normal(size=(3 + i % 3, 2, 2, 4)),
                label=label,
                split=split,
                frame_rate=16.0,
                stride=4,
                frames=12,
            )
            conjugates = f"c{i + 1}" if i % 2 == 0 else ""
            lines.append(f"c{i},c{i}.mp4,{label},{split},{conjugates}")
    (folder / "index.csv").write_text("\n".join(lines), encoding="utf-8")


def test_train_on_a_store_keeps_the_model_when_videos_are_gone(tmp_path):
    make_store(tmp_path)
    result = run(
        "train_actx.py",
        f"--features={tmp_path / 'store.h5'}",
        f"--index={tmp_path / 'index.csv'}",
        "--background=b",
        f"--output={tmp_path / 'out'}",
        "--epochs=1",
        "--seeds=1",
    )
    assert result.returncode == 0, result.stderr
    assert "(paired)" in result.stdout
    assert "no figure" in result.stdout
    assert (tmp_path / "out" / "actx.keras").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--features=none.h5", "--index=none.csv"], "none.h5"),
        (["--features=none.h5"], "--index"),
        (["--rho=130", "--train_clips=8"], "`rho` must be a percentage"),
        (["--epochs=0"], "epochs"),
    ],
)
def test_wrong_flags_are_one_clear_line(flags, message, tmp_path):
    result = run("train_actx.py", *flags, f"--output={tmp_path / 'out'}")
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_readme_python_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    scope = {}
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)
    assert (tmp_path / "models" / "jump" / "1" / "saved_model.pb").exists()
    assert scope["actx_tf"] is actx_tf


def test_readme_commands_have_their_flags():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    commands = re.findall(
        r"^python (examples/\S+)((?:\\\n|.)*)$", "\n".join(blocks), re.MULTILINE
    )
    assert len(commands) >= 2
    for script, flags in commands:
        source = (ROOT / script).read_text(encoding="utf-8")
        for flag in re.findall(r"--(\w+)", flags):
            assert re.search(rf'DEFINE_\w+\(\s*"{flag}"', source), flag
