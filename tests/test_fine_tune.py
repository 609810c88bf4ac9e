"""Training of a backbone along with the attention, on video files."""

import csv
import dataclasses
import re

import keras
import numpy as np
import pytest
from keras import layers

from actx_tf.backbones import InceptionI3D
from actx_tf.backbones import MobileNetV2Clip
from actx_tf.backbones import make_backbone
from actx_tf.data import Clip
from actx_tf.data import find_readable
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.experiments import FineTuningSettings
from actx_tf.experiments import TrainingSettings
from actx_tf.experiments import fine_tune
from actx_tf.experiments import fine_tuning
from actx_tf.experiments import trained_layers
from actx_tf.experiments.scene_answers import given_answers
from actx_tf.experiments.trained_layers import choose_trained
from actx_tf.experiments.trained_layers import make_optimizer
from actx_tf.experiments.view_scores import view_scores
from actx_tf.models import ActX
from actx_tf.prediction import predict_video
from tests.harness import assert_close
from tests.harness import run_actx
from tests.harness import run_example
from tests.harness import run_fresh
from tests.harness import to_numpy
from tests.lossless import write_lossless

SETTINGS = TrainingSettings(epochs=1, learning_rate=1e-2)
# What is begun with is what comes out; without L_n there is less to trace.
STILL = TrainingSettings(epochs=1, learning_rate=0.0, conjugate_weight=0.0)


def tiny():
    """A backbone of two convolutions."""
    keras.utils.set_random_seed(3)
    network = keras.Sequential(
        [
            keras.Input((None, 32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv3D(8, (2, 8, 8), (2, 8, 8), name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Conv3D(6, 1, activation="relu", name="second"),
        ],
        name="tiny",
    )
    return make_backbone(network, frame_rate=8.0)


def make_index(
    folder, labels=("jump", "none", "run"), train=5, watched="validation"
):
    """Writes nine clips and their index; returns its path."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    clips = []
    for i in range(9):
        video = random.integers(0, 256, (6 + i, 40, 56, 3), np.uint8)
        path = write_lossless(folder / f"{i}.mp4", video)
        split = "train" if i < train else (watched, "test")[i % 2]
        conjugates = ("c1",) if split == "train" and i % 3 == 0 else ()
        label = labels[i % len(labels)]
        clips.append(Clip(f"c{i}", str(path), label, split, conjugates))
    gone = Clip("gone", str(folder / "gone.mp4"), labels[0], "train")
    write_clip_index(folder / "index.csv", [*clips, gone])
    return str(folder / "index.csv")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory):
    """An index without clips of validation."""
    return make_index(tmp_path_factory.mktemp("unwatched"), watched="test")


def data_settings(index, **settings):
    return FineTuningSettings(
        **{
            "index": index,
            "background": ("none",),
            "crop_frames": 4,
            "batch_size": 5,
            **settings,
        }
    )


def tune(index, output, settings=SETTINGS, backbone=tiny, **more):
    said = []
    model, figures = fine_tune(
        data_settings(index, **more),
        settings,
        output=output,
        backbone=backbone,
        report=said.append,
    )
    return model, figures, said


def history(output):
    path = output / "history" / "fine_tuning.csv"
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(index, tmp_path_factory):
    """A model that is trained in one go, for three epochs."""
    output = tmp_path_factory.mktemp("trained")
    settings = dataclasses.replace(SETTINGS, epochs=3)
    return output, *tune(index, output, settings)


def assert_same_weights(model, expected, tolerance=0.0):
    for weight, other in zip(model.weights, expected.weights, strict=True):
        assert_close(weight, other, tolerance)


def test_what_is_left_behind(trained, index):
    output, model, figures, said = trained
    assert said[0] == "clips: 9 of 10 can be read"
    rows = history(output)
    assert len(rows) == 3
    losses = [float(row["classification_loss"]) for row in rows]
    assert losses[-1] < losses[0]
    assert {"similarity_loss", "val_accuracy"} <= set(rows[0])
    with open(output / "scores.csv", encoding="utf-8") as file:
        scores = list(csv.DictReader(file))
    assert [row["clip"] for row in scores] == ["c5", "c7"]
    for row in scores:
        values = {
            name: float(row[f"score_{name}"]) for name in model.class_names
        }
        assert sum(values.values()) == pytest.approx(1)
        assert row["answer"] == max(values, key=values.get)
    # A table that `actx scene-report` takes, whatever a class is called.
    read = given_answers(output / "scores.csv")
    assert read.class_names == model.class_names
    right = np.mean([row["answer"] == row["label"] for row in scores])
    assert figures["accuracy"] == right
    card = (output / "model_card.md").read_text("utf-8")
    assert "| crop_frames | 4 |" in card and "| accuracy |" in card
    assert "1 more clips of the index were left out" in card

    loaded = keras.saving.load_model(output / "actx.keras")
    assert_same_weights(loaded, model)
    assert loaded.class_names == ["jump", "none", "run"]
    assert loaded.background == ["none"]
    assert "_trained_" in loaded.description.name


def test_a_crop_is_no_longer_than_the_longest_clip(index):
    said = []
    settings = data_settings(index, crop_frames=10**9)
    clips = read_clip_index(index)
    _, make_training, _, videos = fine_tuning._read(
        settings, clips, tiny(), None, said.append
    )
    longest = max(video.frames for video in videos.values())
    inputs, _ = make_training(epoch=0).element_spec
    assert inputs["features"].shape[1] == longest
    assert said[-1] == f"crop_frames: {longest}, for no clip is longer"


def test_goes_on_as_if_never_interrupted(trained, index, tmp_path):
    output, model, figures, _ = trained
    tune(index, tmp_path)
    assert len(history(tmp_path)) == 1
    settings = dataclasses.replace(SETTINGS, epochs=3)
    resumed, found, _ = tune(index, tmp_path, settings)
    assert history(tmp_path) == history(output)
    assert_same_weights(resumed, model)
    assert found == figures
    # With fewer epochs than are done, it ends where it is.
    ended, found, _ = tune(index, tmp_path)
    assert_same_weights(ended, model)
    with pytest.raises(ValueError, match="begun with other settings.*color"):
        tune(index, tmp_path, color=0.1)


def test_each_layer_has_its_learning_rate():
    """Adam's first step is as long as the learning rate."""
    model = ActX(2, backbone=tiny())
    model.build((None, None, 32, 32, 3))
    choose_trained(model.backbone)
    optimizer = make_optimizer(model, 1e-2, 0.1, layer_decay=0.5)
    weights = model.trainable_weights
    before = list(map(to_numpy, weights))
    optimizer.build(weights)
    optimizer.apply([keras.ops.ones(weight.shape) for weight in weights])
    expected = {"first": 5e-4, "second": 1e-3}
    for weight, old in zip(weights, before, strict=True):
        step = np.abs(to_numpy(weight) - old).max()
        rate = expected.get(weight.path.split("/")[-2], 1e-2)
        assert step == pytest.approx(rate, rel=1e-2), weight.path


def test_layers_are_in_the_order_of_the_network():
    """Those that the learning rate decays along."""
    backbone = InceptionI3D(False, None, (None, 32, 32, 3))
    names = [layer.name for layer in trained_layers._layers(backbone)]
    assert names == [x.name for x in backbone.network.layers if x.weights]
    backbone = MobileNetV2Clip(None, (None, 32, 32, 3))
    names = [layer.name for layer in trained_layers._layers(backbone)]
    assert names.index("Conv1") < names.index("block_1_expand")
    assert names.index("block_1_expand") < names.index("Conv_1")


def test_in_bfloat16_what_is_frozen_is_not_trained(unwatched, tmp_path):
    backbone = str(tmp_path / "tiny.keras")
    tiny().save(backbone)  # in float32
    settings = dataclasses.replace(SETTINGS, dtype_policy="mixed_bfloat16")

    def load():
        return keras.saving.load_model(backbone)

    output = tmp_path / "out"
    model, _, said = tune(
        unwatched, output, settings, load, frozen=("first",), recompute=False
    )
    second = model.backbone.network.get_layer("second")
    assert (second.compute_dtype, second.kernel.dtype) == (
        "bfloat16",
        "float32",
    )
    assert np.isfinite(float(history(output)[0]["loss"]))
    assert keras.config.dtype_policy().name == "float32"

    before = tiny()
    for old, new in zip(before.weights, model.backbone.weights, strict=True):
        trained = "second" in new.path
        moved = np.abs(to_numpy(new) - to_numpy(old)).max()
        assert (moved > 0) == trained, new.path
        assert moved < 1.01e-4  # one step, at its rate
    assert re.search(r"trained: 54 of [\d,]+ weights", said[-1])
    with pytest.raises(ValueError, match="`frozen` must be.*third"):
        tune(unwatched, tmp_path / "other", frozen=("third",))
    assert not (tmp_path / "other").exists()


def test_from_a_trained_model_to_other_classes(trained, tmp_path):
    output, before, *_ = trained
    classes = ("none", "sit", "stand", "walk")
    index = make_index(tmp_path / "clips", classes, watched="test")
    init = str(output / "actx.keras")
    model, _, said = tune(
        index, tmp_path / "out", STILL, backbone=None, init=init
    )
    assert model.class_names == ["none", "sit", "stand", "walk"]
    assert model.head.units == 4
    assert_same_weights(model.backbone, before.backbone)
    assert_same_weights(model.pooling, before.pooling)
    assert f"init: taken from {init}: the backbone and the attention" in said[1]
    assert "not taken: the head (39 weights), the context_switch" in said[2]


def test_from_parts_of_models(unwatched, tmp_path):
    # A backbone with another head, which describes itself.
    backbone = tiny()
    for weight in backbone.weights:
        weight.assign(weight + 1.0)
    classifier = keras.Sequential(
        [
            keras.Input((None, 32, 32, 3)),
            backbone,
            layers.GlobalAveragePooling3D(),
            layers.Dense(2, name="answers"),
        ]
    )
    classifier.save(tmp_path / "classifier.keras")
    model, _, said = tune(
        unwatched,
        tmp_path / "one",
        STILL,
        backbone=None,
        init=str(tmp_path / "classifier.keras"),
    )
    assert_same_weights(model.backbone, backbone)
    assert said[2] == "init: not taken: answers (14 weights)"

    # An ActX of stored features, with what made them.
    actx = ActX(
        2,
        transformation="low_rank",
        theta_rank=32,
        description=tiny().description,
    )
    actx.build((None, None, None, None, 6))
    actx.save(tmp_path / "actx.keras")
    init = str(tmp_path / "actx.keras")
    model, _, said = tune(unwatched, tmp_path / "two", STILL, init=init)
    assert_same_weights(model.pooling, actx.pooling)
    assert said[1].endswith(": the attention (pooling)")

    for refused, words in (
        ({"backbone": None}, "`backbone` must be given, unless `init` has"),
        (
            {"settings": dataclasses.replace(STILL, theta_rank=8)},
            "`theta_rank` must be that of `init`, 32",
        ),
        (
            {"backbone": lambda: make_backbone(tiny().network, frame_rate=4.0)},
            "`backbone` must be what made the features.*frame_rate=4",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            tune(unwatched, tmp_path / "out", **{"init": init, **refused})
    layers_alone = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    layers_alone.save(tmp_path / "dense.keras")
    with pytest.raises(ValueError, match="`init` must be the path of an ActX"):
        init = str(tmp_path / "dense.keras")
        tune(unwatched, tmp_path / "out", backbone=None, init=init)
    assert not (tmp_path / "out").exists()


def test_one_view_is_the_plain_answer_and_several_are_their_mean(trained):
    _, model, *_ = trained
    path = str(trained[0] / "long.mp4")
    random = np.random.default_rng(1)
    video = random.integers(0, 256, (16, 40, 56, 3), np.uint8)
    write_lossless(path, video)
    clip = Clip("long", path, "run", "test")
    videos, _ = find_readable([clip], model.description, progress=False)

    def scores(**views):
        [row] = view_scores(
            model, [videos["long"]], crop_frames=8, progress=False, **views
        )
        return row

    plain = predict_video(path, model).scores
    assert_close(scores(), plain, 1e-6)
    stretches = [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
    parts = [
        predict_video(path, model, start=start, end=end).scores
        for start, end in stretches
    ]
    assert_close(scores(temporal_views=3), np.mean(parts, axis=0), 1e-6)

    # Of parts of the frames: those of a file that shows the part alone.
    parts = []
    for x in (0, 4, 7):  # 49 by 35 of 56 by 40 pixels
        part = video[:, 2:37, x : x + 49]
        part = np.pad(part, ((0, 0), (0, 1), (0, 1), (0, 0)), "edge")
        file = write_lossless(f"{path}-{x}.mp4", part)
        box = Clip("part", str(file), "run", "test", box=(0, 0, 49, 35))
        found, _ = find_readable([box], model.description, progress=False)
        parts += list(view_scores(model, found.values(), progress=False))
    assert_close(scores(spatial_views=3), np.mean(parts, axis=0), 1e-6)


def test_two_devices_equal_one():
    code = """
import pathlib, tempfile
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
from actx_tf.experiments import fine_tuning
from tests import test_fine_tune as t
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    index = t.make_index(folder / "clips", train=6, watched="test")
    # An epoch has two steps, the last of fewer clips.
    one, *_ = t.tune(index, folder / "one", batch_size=4)
    fine_tuning.make_strategy = lambda name: two
    other, *_ = t.tune(index, folder / "two", batch_size=4)
    t.assert_same_weights(other, one, 1e-4)
    for size in (3, 5):
        try:
            t.tune(index, folder / "three", batch_size=size)
        except ValueError as error:
            assert "`batch_size` must be a multiple of 2" in str(error)
        else:
            raise AssertionError(size)
print("equal")
"""
    assert run_fresh(code) == "equal\n"


def test_the_command(index, tmp_path):
    tiny().save(tmp_path / "tiny.keras")
    flags = [
        f"--index={index}",
        "--background=none",
        f"--backbone={tmp_path / 'tiny.keras'}",
        "--crop_frames=4",
        "--sided=run",
        "--noflip",
        "--temporal_views=2",
        f"--output={tmp_path / 'out'}",
    ]
    result = run_actx("fine-tune", *flags, "--epochs=1")
    assert result.returncode == 0, result.stderr
    assert "left out: gone: " in result.stderr
    assert re.search(r"^accuracy: \d\.\d{3}$", result.stdout, re.MULTILINE)
    assert len(history(tmp_path / "out")) == 1
    init = f"--init={tmp_path / 'out' / 'actx.keras'}"
    result = run_actx(
        "fine-tune", *flags[:-1], f"--output={tmp_path / 'more'}", init
    )
    assert result.returncode == 1
    assert "error: --backbone must be given, unless --init" in result.stderr


def test_the_script(unwatched, tmp_path):
    result = run_example(
        "fine_tune.py",
        f"--index={unwatched}",
        "--background=none",
        "--weights=",
        "--size=32",
        "--crop_frames=8",
        "--epochs=1",
        f"--output={tmp_path / 'out'}",
    )
    assert result.returncode == 0, result.stderr
    assert len(history(tmp_path / "out")) == 1
