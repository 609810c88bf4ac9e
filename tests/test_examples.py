"""The examples as a user runs them: a process each, real flags."""

import ast
import csv
import importlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from actx_tf.backbones import Backbone
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import synthetic
from actx_tf.export import read_metadata
from tests.described import describe
from tests.harness import run_actx
from tests.harness import run_example

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_is_short_and_uses_what_is_public(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 100
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            modules |= {(node.module, name.name) for name in node.names}
        elif isinstance(node, ast.Import):
            assert not any(n.name.startswith("actx_tf.") for n in node.names)
    for module, name in modules:
        if module.startswith("actx_tf"):
            assert module not in ("actx_tf.cli", "actx_tf.utils")
            assert module.count(".") <= 1, f"{module} is not public"
            # What a subpackage exports is named twice: `import x as x`.
            assert name in dir(importlib.import_module(module))


def test_quick_start(tmp_path):
    result = run_example("quick_start.py", f"--output={tmp_path}", "--epochs=1")
    assert result.returncode == 0, result.stderr
    accuracies = re.findall(r"accuracy (\S+)", result.stdout)
    assert len(accuracies) == 4
    assert all(0 <= float(accuracy) <= 1 for accuracy in accuracies)
    assert (tmp_path / "attention.gif").stat().st_size > 10_000


def test_train_on_the_built_in_set(tmp_path):
    result = run_example(
        "train_actx.py",
        f"--output={tmp_path}",
        "--train_clips=64",
        "--test_clips=40",
        "--epochs=2",
        "--patience=3",
        "--class_weight=balanced",
        "--seeds=1",
    )
    assert result.returncode == 0, result.stderr
    assert "localization AUC" in result.stdout
    with open(tmp_path / "results.csv", encoding="utf-8") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"average pooling", "max pooling", "ActX"}
    assert 0 <= float(rows["ActX"]["mAP"]) <= 1
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    for name in ("accuracy", "mAP", "localization AUC"):
        assert f"| {name} | {float(rows['ActX'][name]):.3f} | 0." in card
    assert "Each of the 64 training clips has a conjugate" in card

    videos = synthetic.make_part("test", 2).videos
    features = synthetic.backbone().predict(videos, verbose=0)
    model = keras.models.load_model(tmp_path / "actx.keras")
    served = tf.saved_model.load(str(tmp_path / "saved_model" / "1"))
    answers = served.signatures["video"](
        frames=tf.constant(videos), lengths=tf.constant([16, 16])
    )
    expected = tf.nn.softmax(model.predict(features, verbose=0)["logits"])
    np.testing.assert_allclose(answers["scores"], expected, atol=1e-5)
    names = np.array(synthetic.CLASS_NAMES, "S")
    assert list(answers["label"].numpy()) == list(
        names[np.argmax(expected, axis=-1)]
    )
    assert (tmp_path / "attention.png").stat().st_size > 10_000
    assert any((tmp_path / "tensorboard").rglob("events.*"))
    assert (tmp_path / "history" / "ActX-0.csv").exists()


def make_store(folder, labels="ab"):
    """Stores of 12 clips in two classes, of flow 11; no video files."""
    rng = np.random.default_rng(0)
    lines = ["clip,file,label,split,conjugates"]
    for i in range(12):
        label, split = labels[i % 2], "train" if i < 8 else "test"
        conjugates = f"c{i + 1}" if i % 2 == 0 else ""
        lines.append(f"c{i},c{i}.mp4,{label},{split},{conjugates}")
    (folder / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    for name, step_shape in (
        ("store", (2, 2, 4)),
        ("flow", (2, 2, 6)),
        ("masks", (2, 2, 1)),
        ("boxes", (1, 3, 4)),
    ):
        made_by = name
        if name in ("store", "flow"):
            made_by = describe("random", step_shape[-1])
        with FeatureStoreWriter(folder / name, made_by) as writer:
            for i in range(11 if name == "flow" else 12):
                height, width, channels = step_shape
                if name != "boxes":
                    width += i % 2  # frames of different shapes
                size = (3 + i % 3, height, width, channels)
                writer.add(
                    f"c{i}",
                    np.sort(rng.random(size=size)),
                    label=labels[i % 2],
                    split="train" if i < 8 else "test",
                    frame_rate=16.0,
                    frames=12,
                )


def save_backbone(path, **description):
    """One that fits the store, unless it is described otherwise."""
    network = keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.Conv3D(4, (4, 8, 8), (4, 8, 8), padding="same"),
            keras.layers.LayerNormalization(),
        ]
    )
    Backbone(network, describe("random", 4, **description)).save(path)
    return path


def test_train_on_a_store_keeps_the_model_when_videos_are_gone(tmp_path):
    make_store(tmp_path)
    backbone = save_backbone(tmp_path / "backbone.keras")
    result = run_actx(
        "train",
        f"--features={tmp_path / 'store'}",
        f"--index={tmp_path / 'index.csv'}",
        "--background=b",
        f"--backbone={backbone}",
        f"--output={tmp_path / 'out'}",
        "--epochs=1",
        "--seeds=1",
    )
    assert result.returncode == 0, result.stderr
    assert "(paired)" in result.stdout
    assert "no figure" in result.stderr
    assert (tmp_path / "out" / "actx.keras").exists()
    version = tmp_path / "out" / "saved_model" / "1"
    metadata = read_metadata(version)
    assert metadata["class_names"] == ["a", "b"]
    assert metadata["backbone"] == describe("random", 4)
    model = keras.models.load_model(tmp_path / "out" / "actx.keras")
    assert model.class_names == ["a", "b"]
    assert model.activation == "softmax"
    assert model.description == describe("random", 4)
    assert "video" in tf.saved_model.load(str(version)).signatures


def test_a_backbone_that_saw_other_frames_is_refused(tmp_path):
    make_store(tmp_path)
    backbone = save_backbone(tmp_path / "other.keras", frame_rate=25.0)
    result = run_example(
        "train_actx.py",
        f"--features={tmp_path / 'store'}",
        f"--index={tmp_path / 'index.csv'}",
        f"--backbone={backbone}",
        f"--output={tmp_path / 'out'}",
    )
    assert result.returncode == 1
    assert "frame_rate=25.0 (not None)" in result.stderr
    assert not (tmp_path / "out").exists()


METHODS = {
    "average pooling",
    "average pooling + BE",
    "average pooling + StillMix",
    "average pooling + FAME",
    "max pooling",
    "PoseMask",
    "k-Region",
    "Attentional",
    "ACF",
    "ActX w/o S_att",
    "ActX",
    "EEP + average",
    "EEP + ActX",
}


def read_results(folder):
    with open(folder / "results.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_compare_on_the_built_in_set(tmp_path):
    result = run_example(
        "compare_methods.py",
        f"--output={tmp_path}",
        "--train_clips=32",
        "--test_clips=40",
        "--epochs=1",
        "--seeds=1",
    )
    assert result.returncode == 0, result.stderr
    rows = read_results(tmp_path)
    assert len(rows) == len(METHODS)
    assert {row["method"] for row in rows} == METHODS
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    for row in rows:
        assert all(0 <= float(row[key]) <= 1 for key in ("mAP", "mAcc"))
        assert float(row["seconds a step"]) > 0
        assert f"{float(row['mAP']):.3f}" in lines[row["method"]]
        known = row["method"].partition(" +")[0] in {
            "average pooling",
            "PoseMask",
            "Attentional",
            "ActX",
            "ActX w/o S_att",
        }
        assert bool(row["localization AUC"]) == known
    assert "55.4" in lines["ActX"]  # the paper's
    weights = {row["method"]: int(row["weights"]) for row in rows}
    assert weights["average pooling"] == 65 * 8
    assert weights["ActX"] == 64 * 65 + 2 * 64 + 129 * 8
    assert weights["ActX w/o S_att"] == weights["ActX"] - 64


def test_compare_two_streams_of_a_store(tmp_path):
    make_store(tmp_path)
    methods = {"PoseMask", "k-Region", "ActX", "EEP + ActX"}
    flags = [
        f"--features={tmp_path / 'store'}",
        f"--index={tmp_path / 'index.csv'}",
        f"--pose_masks={tmp_path / 'masks'}",
        f"--boxes={tmp_path / 'boxes'}",
        f"--flow_features={tmp_path / 'flow'}",
        "--background=b",
        f"--output={tmp_path / 'out'}",
        "--crop_steps=2",
        "--epochs=1",
        "--seeds=1",
        f"--methods={','.join(methods)}",
    ]
    result = run_example("compare_methods.py", *flags)
    assert result.returncode == 0, result.stderr
    rows = read_results(tmp_path / "out")
    for stream in ("RGB", "flow", "RGB + flow"):
        found = {row["method"] for row in rows if row["stream"] == stream}
        assert found == methods
        assert f"\n{stream}\n" in result.stdout
    assert "63.1" in result.stdout  # the paper's ActX with both streams
    # The streams are of the same clips.
    assert "1 of 12 clips are left out" in result.stderr

    # As if killed after the flow's ActX: EEP + ActX is to be trained again.
    path = tmp_path / "out" / "results.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    num_kept = len(lines) - len(methods) - 1
    assert lines[num_kept - 1].startswith("flow,ActX,")
    path.write_text("".join(lines[:num_kept]), encoding="utf-8")
    result = run_example("compare_methods.py", *flags)
    assert result.returncode == 0, result.stderr
    for before, after in zip(rows, read_results(tmp_path / "out"), strict=True):
        assert after | {"seconds a step": ""} == before | {"seconds a step": ""}


def test_compare_clips_of_several_classes(tmp_path):
    make_store(tmp_path, labels=("a|b", "b"))
    result = run_example(
        "compare_methods.py",
        f"--features={tmp_path / 'store'}",
        f"--index={tmp_path / 'index.csv'}",
        "--multi_label",
        f"--output={tmp_path / 'out'}",
        "--epochs=1",
        "--seeds=1",
        "--methods=average pooling,ActX",
    )
    assert result.returncode == 0, result.stderr
    rows = read_results(tmp_path / "out")
    assert [row["method"] for row in rows] == ["average pooling", "ActX"]
    assert "accuracy" not in rows[0]
    assert all(0 <= float(row["mAP"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--methods=ActY"], "'ActY'"),
        (["--features=none.h5", "--index=none.csv"], "none.h5"),
        (["--alpha=-1"], "`alpha` must be"),
        (["--rank=0"], "rank"),
        (["--components=0"], "components"),
        (["--flow_features=flow"], "`features`"),
    ],
)
def test_compare_refuses_wrong_flags_in_one_line(flags, message, tmp_path):
    result = run_example(
        "compare_methods.py", *flags, f"--output={tmp_path / 'out'}"
    )
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--features=none.h5", "--index=none.csv"], "none.h5"),
        (["--features=none.h5"], "`index`"),
        (["--multi_label"], "`multi_label`"),
        (["--rho=130", "--train_clips=8"], "`rho` must be a percentage"),
        (["--epochs=0"], "epochs"),
    ],
)
def test_wrong_flags_are_one_clear_line(flags, message, tmp_path):
    result = run_example(
        "train_actx.py", *flags, f"--output={tmp_path / 'out'}"
    )
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
