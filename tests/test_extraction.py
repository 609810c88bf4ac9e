import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from actx_tf import backbones
from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.description import Axis
from actx_tf.cli.main import main
from actx_tf.data import Clip
from actx_tf.data import ClipFrames
from actx_tf.data import FeatureExtractor
from actx_tf.data import FeatureStore
from actx_tf.data import extract_features
from actx_tf.data import optical_flow
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import seen_frames
from tests.described import describe
from tests.harness import run_actx
from tests.i3d_in_torch import InceptionI3d
from tests.i3d_in_torch import randomize
from tests.lossless import write_lossless

av = pytest.importorskip("av")
pytest.importorskip("cv2")
pytest.importorskip("tqdm")

ROOT = pathlib.Path(__file__).parents[1]
SIZE = (16, 24)


def write_video(path, num_frames=12, rate=12, texture=None):
    """Brighter from frame to frame; or a texture that moves to the right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number in range(num_frames):
            image = np.full((32, 48, 3), 20 + 10 * number, np.uint8)
            if texture is not None:
                image = np.roll(texture, 2 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make_backbone(name="means", scale=1.0, **sees):
    """The mean color of blocks of 2 frames, 8 rows and 8 columns."""
    sees = {"size": SIZE, **sees}
    channels = 2 if sees.get("stream") == "flow" else 3
    description = dataclasses.replace(
        describe(name, channels, **sees),
        # What does not fill a block is left out.
        time=Axis(((2, 2, (0, 0)),)),
        height=Axis(((8, 8, (0, 0)),)),
        width=Axis(((8, 8, (0, 0)),)),
    )
    sides = description.size if isinstance(description.size, tuple) else ()
    frames = keras.Input((None, *(sides or (None, None)), channels))
    means = keras.layers.AveragePooling3D((2, 8, 8))(frames)
    means = keras.layers.Rescaling(scale)(means)
    return Backbone(keras.Model(frames, means, name=name), description)


FLOW = {"stream": "flow", "flow_method": "dis"}


@pytest.fixture
def clips(tmp_path):
    names = ("a", "b", "broken", "missing", "c")
    for number, name in enumerate(names):
        path = tmp_path / f"{name}.mp4"
        if name == "broken":
            path.write_text("no video")
        elif name != "missing":
            write_video(path, num_frames=8 + 2 * number)
    return [
        Clip(
            name,
            str(tmp_path / f"{name}.mp4"),
            "run",
            "train",
            extra={"scene": f"scene of {name}"} if name != "c" else {},
        )
        for name in names
    ]


def extract(clips, path, backbone=None, **arguments):
    return extract_features(
        clips, backbone or make_backbone(), path, progress=False, **arguments
    )


def test_extraction(clips, tmp_path):
    failed = extract(clips, tmp_path / "f", dtype="float32")
    assert [clip.clip for clip, _ in failed] == ["broken", "missing"]
    for clip, message in failed:
        assert clip.file in message
    with FeatureStore(tmp_path / "f") as store:
        assert sorted(store) == ["a", "b", "c"]
        assert store.description == make_backbone().description
        for clip in clips:
            if clip.clip not in store:
                continue
            frames, rate = read_clip(clip.file, size=SIZE)
            count = len(frames) // 2
            expected = frames.reshape(count, 2, 2, 8, 3, 8, 3).mean((1, 3, 5))
            np.testing.assert_allclose(store[clip.clip], expected, rtol=1e-4)
            assert store.attributes(clip.clip) == {
                "label": "run",
                "split": "train",
                "scene": clip.extra.get("scene", ""),
                "frame_rate": rate,
                "frames": len(frames),
            }


@pytest.mark.parametrize(
    "change",
    [{}, {"start": 0.25}, {"end": 0.5}, {"box": (0, 0, 32, 32)}],
)
def test_a_clip_that_changed_is_told(clips, tmp_path, change):
    store = tmp_path / "f"
    extract(clips[:2], store)
    assert not extract(clips[:2], store)  # once more, nothing is wrong
    with FeatureStore(store) as before:
        old = before["a"]
    changed = dataclasses.replace(clips[0], **change)
    if not change:
        write_video(clips[0].file, num_frames=20)
    [(clip, message)] = extract([changed, *clips[1:2], clips[4]], store)
    assert clip == changed and "are stored, of another file or part" in message
    with FeatureStore(store) as after:
        np.testing.assert_array_equal(after["a"], old)
        assert set(after) == {"a", "b", "c"}
    # A video that is gone needs no reading again.
    os.remove(clips[0].file)
    assert not extract([changed], store)


def test_sampling(clips, tmp_path):
    extract(clips[:1], tmp_path / "rate", make_backbone(frame_rate=6))
    with FeatureStore(tmp_path / "rate") as store:
        assert store.shape("a")[0] == 2  # 8 frames at 12 / s, 4 at 6 / s
        assert store.attributes("a")["frame_rate"] == 6
    extract(clips[:1], tmp_path / "frames", make_backbone(num_frames=6))
    with FeatureStore(tmp_path / "frames") as store:
        assert store.shape("a")[0] == 3
        assert store.attributes("a")["frame_rate"] == pytest.approx(9)


@pytest.mark.parametrize("sees", [{}, FLOW])
def test_windows_give_what_the_whole_clip_gives(moving_clip, tmp_path, sees):
    backbone = make_backbone(**sees)
    whole, windows = tmp_path / "whole", tmp_path / "windows"
    extract([moving_clip], whole, backbone, dtype="float32")
    extract([moving_clip], windows, backbone, dtype="float32", window=5)
    with FeatureStore(whole) as whole, FeatureStore(windows) as windows:
        (name,) = whole
        np.testing.assert_allclose(windows[name], whole[name], 1e-5)
        assert windows.attributes(name) == whole.attributes(name)


def largest_run(backbone, frames, **arguments):
    """How many frames the network is shown at once, at most."""
    shown = []
    call = backbone.call

    def noting(clip, training=None):
        tf.py_function(lambda n: shown.append(int(n)), [tf.shape(clip)[1]], [])
        return call(clip, training)

    backbone.call = noting
    FeatureExtractor(backbone, **arguments)(frames, lambda: len(frames))
    return max(shown)


def test_memory_bounds_what_is_shown_at_once():
    frames = np.zeros((5000, *SIZE, 3), "uint8")
    backbone = make_backbone()
    least = 4 * backbone.description.frames_per_step
    assert largest_run(backbone, frames, memory=1e-6) == least
    for memory in (0.05, 0.2):
        backbone = make_backbone()
        most = backbone.description.frames_in_memory(memory)
        assert most - 2 < largest_run(backbone, frames, memory=memory) <= most
    assert largest_run(make_backbone(), frames, window=100) <= 100


def attends_to_all():
    """Each step is the mean of the whole clip."""
    frames = keras.Input((None, *SIZE, 3))
    means = keras.layers.AveragePooling3D((2, 8, 8))(frames)
    mean = keras.ops.mean(means, axis=1, keepdims=True)
    model = keras.Model(frames, 0 * means + mean, name="attends")
    description = describe("attends", 3, 2, size=SIZE)
    time = dataclasses.replace(description.time, sees_all=True)
    return Backbone(model, dataclasses.replace(description, time=time))


def test_a_backbone_that_sees_all_is_shown_all(moving_clip, tmp_path):
    # However little memory there is, its steps are those of the whole clip.
    extract([moving_clip], tmp_path / "f", attends_to_all(), memory=1e-6)
    frames, _ = read_clip(moving_clip.file, size=SIZE)
    with FeatureStore(tmp_path / "f") as store:
        np.testing.assert_allclose(
            store["moving"].mean((0, 1, 2)), frames.mean((0, 1, 2)), rtol=1e-2
        )
    with pytest.raises(ValueError, match="`window` must be None.*window=8"):
        extract([moving_clip], tmp_path / "f", attends_to_all(), window=8)


def test_shorter_side(clips, tmp_path):
    extract(clips[:1], tmp_path / "f", make_backbone(size=16))
    with FeatureStore(tmp_path / "f") as store:
        assert store.shape("a") == (4, 2, 3, 3)


@pytest.mark.parametrize("sees", [{"frame_rate": 6.0}, {"num_frames": 5}, FLOW])
def test_what_is_seen_is_what_is_stored(moving_clip, tmp_path, sees):
    backbone = make_backbone(**sees)
    extract([moving_clip], tmp_path / "f", backbone, dtype="float32")
    frames = seen_frames(backbone.description, moving_clip.file)
    features, count = FeatureExtractor(backbone)(frames, frames.count)
    assert count == frames.count() == len(list(frames))
    with FeatureStore(tmp_path / "f") as store:
        np.testing.assert_array_equal(features, store["moving"])
        known = store.attributes("moving")
        assert known["frames"] == count
        assert known["frame_rate"] == frames.frame_rate


def test_stored_clips_are_not_read_again(clips, tmp_path):
    extract(clips[:2], tmp_path / "f")
    for clip in clips[:2]:
        pathlib.Path(clip.file).unlink()
    failed = extract(clips, tmp_path / "f")
    assert [clip.clip for clip, _ in failed] == ["broken", "missing"]
    with FeatureStore(tmp_path / "f") as store:
        assert sorted(store) == ["a", "b", "c"]


def test_interrupt_keeps_finished_clips(clips, tmp_path, monkeypatch):
    read = []

    def interrupted(path, *arguments, **part):
        if path == clips[4].file:
            raise KeyboardInterrupt
        read.append(path)
        return ClipFrames(path, *arguments, **part)

    monkeypatch.setattr("actx_tf.data.backbone_input.ClipFrames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(clips, tmp_path / "f")
    with FeatureStore(tmp_path / "f") as store:
        assert list(store) == ["a", "b"]
    monkeypatch.setattr("actx_tf.data.backbone_input.ClipFrames", ClipFrames)
    for clip in clips[:2]:
        pathlib.Path(clip.file).unlink()
    extract(clips, tmp_path / "f")
    with FeatureStore(tmp_path / "f") as store:
        assert sorted(store) == ["a", "b", "c"]


@pytest.fixture
def moving_clip(tmp_path):
    random = np.random.default_rng(0)
    texture = random.integers(40, 216, (8, 12, 3)).repeat(4, 0).repeat(4, 1)
    write_video(tmp_path / "moving.mp4", texture=texture.astype("uint8"))
    return Clip("moving", str(tmp_path / "moving.mp4"), "run", "train")


def test_a_part_of_a_file(moving_clip, tmp_path):
    part = {"start": 0.25, "end": 0.75, "box": (8, 4, 40, 28)}
    clip = dataclasses.replace(moving_clip, **part)
    assert not extract([clip], tmp_path / "f", dtype="float32")
    frames, _ = read_clip(clip.file, size=SIZE, **part)
    assert len(frames) == 6
    expected = frames.reshape(3, 2, 2, 8, 3, 8, 3).mean((1, 3, 5))
    with FeatureStore(tmp_path / "f") as store:
        np.testing.assert_allclose(store[clip.clip], expected, rtol=1e-4)


def test_flow(moving_clip, clips, tmp_path):
    failed = extract(
        [moving_clip, *clips],
        tmp_path / "f",
        make_backbone(frame_rate=6, **FLOW),
        dtype="float32",
    )
    assert [clip.clip for clip, _ in failed] == ["broken", "missing"]
    # From one sampled frame to the next, at the size that is sampled.
    frames, _ = read_clip(moving_clip.file, frame_rate=6, size=SIZE)
    flow = optical_flow(frames)
    expected = flow.reshape(3, 2, 2, 8, 3, 8, 2).mean((1, 3, 5))
    with FeatureStore(tmp_path / "f") as store:
        assert sorted(store) == ["a", "b", "c", "moving"]
        np.testing.assert_allclose(store["moving"], expected, atol=1e-5)
        assert store.attributes("moving")["frames"] == len(frames)
        # 2 pixels a frame to the right, at half the size and half the rate.
        motion = 20 * np.median(store["moving"], axis=(0, 1, 2))
        np.testing.assert_allclose(motion, (2, 0), atol=0.1)


def test_flow_of_a_single_frame(tmp_path):
    write_video(tmp_path / "one.mp4", num_frames=1)
    description = make_backbone(**FLOW).description
    [flow] = seen_frames(description, tmp_path / "one.mp4")
    assert flow.shape == (*SIZE, 2) and not flow.any()


@pytest.mark.parametrize(
    ("sees", "words"),
    [
        ({"frame_rate": 6.0}, "frame_rate=6.0 .not None"),
        ({"size": 16}, "size=16 .not .16, 24"),
        ({"num_frames": 8}, "num_frames=8"),
        (FLOW, "stream=flow .not rgb"),
        ({"name": "other"}, "name=other .not means"),
    ],
)
def test_other_features_are_not_added(clips, tmp_path, sees, words):
    # Nor are those of a finished store kept as if they were these.
    for some in (clips[:1], clips):
        extract(clips[:1], tmp_path / "f")
        with pytest.raises(
            ValueError, match=f"another way.*Received: .*{words}"
        ):
            extract(some, tmp_path / "f", make_backbone(**sees))


def with_batch_norm():
    """Two products of blocks of 2 frames, 8 rows and 8 columns."""
    keras.utils.set_random_seed(0)
    frames = keras.Input((None, *SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(frames)
    x = keras.layers.Conv3D(8, (2, 8, 8), (2, 8, 8), use_bias=False)(x)
    normalization = keras.layers.BatchNormalization()
    x = keras.layers.Dense(3)(keras.layers.ReLU()(normalization(x)))
    normalization.moving_mean.assign(np.linspace(-1, 1, 8))
    normalization.moving_variance.assign(np.linspace(0.1, 2, 8))
    description = make_backbone().description
    return Backbone(keras.Model(frames, x), description)


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """Returns a function that makes this a processor with such flags."""

    def become(flags):
        path = tmp_path / "cpuinfo"
        path.write_text(f"processor : 0\nflags : fpu {flags} sse\n")
        monkeypatch.setattr("actx_tf.data.compute_dtype._CPU_INFO", path)

    become("avx512_bf16")
    return become


@pytest.mark.parametrize("made_in", ["float32", "mixed_bfloat16"])
def test_the_arithmetic_is_what_was_asked(
    moving_clip, tmp_path, processor, made_in
):
    keras.config.set_dtype_policy(made_in)
    backbone = with_batch_norm()
    keras.config.set_dtype_policy("float32")
    for name in ("float32", "bfloat16"):
        arguments = {"dtype": "float32", "compute_dtype": name}
        extract([moving_clip], tmp_path / name, backbone, **arguments)
    frames, _ = read_clip(moving_clip.file, size=SIZE)
    exact = Backbone.from_config(with_batch_norm().get_config())
    exact.set_weights(backbone.get_weights())
    expected = exact(frames[np.newaxis].astype("float32"), training=False)[0]
    error = {}
    for name in ("float32", "bfloat16"):
        with FeatureStore(tmp_path / name) as store:
            assert store.compute_dtype == name
            assert store.description == backbone.description
            error[name] = np.abs(store["moving"] - expected).max()
    largest = np.abs(expected).max()
    assert error["float32"] < 1e-5 * largest
    assert 1e-4 * largest < error["bfloat16"] < 0.02 * largest


def test_a_store_has_one_arithmetic(clips, tmp_path, processor):
    path, backbone = tmp_path / "f", with_batch_norm()
    assert not extract(clips[:1], path, backbone, compute_dtype="bfloat16")
    assert not extract(clips[:1], path, backbone, compute_dtype="bfloat16")
    words = "compute_dtype='float32' .not 'bfloat16'"
    with pytest.raises(ValueError, match=words):
        extract(clips[:2], path, backbone)
    with pytest.raises(ValueError, match="`compute_dtype` must be.*'float8'"):
        extract(clips[:2], path, backbone, compute_dtype="float8")
    with FeatureStore(path) as store:
        assert list(store) == ["a"]


def test_a_window_is_longer_where_frames_take_less(processor):
    windows = [
        FeatureExtractor(
            with_batch_norm(), memory=0.05, compute_dtype=name
        ).window
        for name in ("float32", "bfloat16")
    ]
    assert windows[1] == pytest.approx(1.5 * windows[0], abs=1)


def test_a_processor_without_bfloat16_is_told(processor):
    for flags in ("avx512_bf16", "amx_bf16 amx_tile", "asimd bf16"):
        processor(flags)
        FeatureExtractor(with_batch_norm(), compute_dtype="bfloat16")
    processor("avx512f")
    with pytest.warns(RuntimeWarning, match="much longer than float32.*exact"):
        FeatureExtractor(with_batch_norm(), compute_dtype="bfloat16")


def test_a_network_of_no_keras_layers_has_its_own_arithmetic(processor):
    backbone = backbones.make_backbone(
        lambda clip: clip[:, ::2, ::8, ::8], size=SIZE, name="every eighth"
    )
    FeatureExtractor(backbone)
    with pytest.raises(ValueError, match="`network` must be a functional"):
        FeatureExtractor(backbone, compute_dtype="bfloat16")


def test_frames_resized_in_another_way_are_refused(clips, tmp_path):
    backbone = make_backbone(resizing="nearest")
    with pytest.raises(ValueError, match="resizing='nearest'"):
        extract(clips, tmp_path / "f", backbone)
    assert not (tmp_path / "f").exists()


def test_features_that_overflow(clips, tmp_path):
    loud = make_backbone(scale=1e4)
    failed = extract(clips[:1], tmp_path / "f", loud)
    assert "finite in float16" in failed[0][1]
    assert not extract(clips[:1], tmp_path / "f", loud, dtype="float32")


def scale_of(size):
    frames = keras.Input((None, *size, 3))
    return keras.Model(frames, keras.layers.Rescaling(2)(frames))


@pytest.mark.parametrize(
    ("backbone", "kind", "words"),
    [
        (scale_of(SIZE), TypeError, "`backbone` must be a Backbone"),
        (
            Backbone(scale_of((99, 99)), describe(channels=3, size=SIZE)),
            ValueError,
            "99",
        ),
        (
            Backbone(scale_of(SIZE), describe(channels=4, size=SIZE)),
            ValueError,
            "width, 4., as its description says",
        ),
    ],
)
def test_a_backbone_that_does_not_fit_fails_at_once(
    clips, tmp_path, backbone, kind, words
):
    with pytest.raises(kind, match=words):
        extract(clips, tmp_path / "f", backbone)
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize("memory", [0, -1.0, float("nan"), float("inf")])
def test_wrong_memory(memory):
    with pytest.raises(ValueError, match="`memory`.*Received"):
        FeatureExtractor(make_backbone(), memory=memory)


# The example: its own process, as its user sees it.


def write_index(tmp_path, names):
    rows = [f"{name},{name}.mp4,run,train,\n" for name in names]
    path = tmp_path / "index.csv"
    path.write_text("clip,file,label,split,conjugates\n" + "".join(rows))
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    network = keras.applications.MobileNetV2(
        (32, 32, 3), include_top=False, weights=None
    )
    arrays = {}
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            name = layer.name
            arrays[f"{name}/kernel"] = layer.kernel.numpy()
        elif isinstance(layer, keras.layers.BatchNormalization):
            arrays[f"{name}/bias"] = layer.beta.numpy()
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_the_command(clips, tmp_path, weights, stream):
    result = run_actx(
        "extract",
        f"--index={write_index(tmp_path, ['a', 'broken', 'b'])}",
        f"--output={tmp_path / 'f'}",
        f"--weights={weights}",
        "--size=32,64",
        "--frame_rate=6",
        f"--stream={stream}",
        f"--save_backbone={tmp_path / 'backbone.keras'}",
    )
    assert result.returncode == 0, result.stderr
    backbone = keras.saving.load_model(tmp_path / "backbone.keras")
    assert "2 of 3 clips are stored" in result.stdout
    assert "failed: broken: " in result.stdout
    with FeatureStore(tmp_path / "f") as store:
        assert sorted(store) == ["a", "b"]
        assert store.shape("a") == (1, 1, 2, 2560)
        assert store.description == backbone.description
        assert store.description.stream == stream
        if stream == "rgb":
            frames, _ = read_clip(clips[0].file, frame_rate=6, size=(32, 64))
            np.testing.assert_allclose(
                store["a"],
                backbone.predict(frames[None].astype("float32"), verbose=0)[0],
                rtol=2e-3,
                atol=1e-3,
            )


def test_the_command_with_ray(clips, tmp_path):
    backbone = make_backbone(frame_rate=6.0)
    backbone.save(tmp_path / "backbone.keras")
    result = run_actx(
        "extract",
        "--engine=ray",
        f"--index={write_index(tmp_path, ['a', 'broken', 'b'])}",
        f"--output={tmp_path / 'f'}",
        f"--backbone={tmp_path / 'backbone.keras'}",
    )
    assert result.returncode == 0, result.stderr
    assert "2 of 3 clips are stored" in result.stdout
    assert "failed: broken: " in result.stdout
    expected = [clip for clip in clips if clip.clip in ("a", "b")]
    assert not extract(expected, tmp_path / "here", backbone)
    with (
        FeatureStore(tmp_path / "f") as store,
        FeatureStore(tmp_path / "here") as here,
    ):
        assert sorted(store) == ["a", "b"]
        assert store.description == backbone.description
        for clip in store:
            np.testing.assert_array_equal(store[clip], here[clip])


def test_the_command_with_i3d(clips, tmp_path):
    port = randomize(InceptionI3d(classes=3))
    torch.save(port.state_dict(), tmp_path / "i3d.pt")
    result = run_actx(
        "extract",
        f"--index={write_index(tmp_path, ['a', 'b'])}",
        f"--output={tmp_path / 'f'}",
        "--backbone=inception_i3d",
        f"--weights={tmp_path / 'i3d.pt'}",
        "--size=40",
    )
    assert result.returncode == 0, result.stderr
    frames, rate = read_clip(clips[0].file, frame_rate=25, size=40)
    inputs = torch.tensor(frames / 127.5 - 1, dtype=torch.float32)
    with torch.no_grad():
        expected = port.features(inputs.permute(3, 0, 1, 2)[None])
    with FeatureStore(tmp_path / "f") as store:
        features = store["a"].astype("float32")
        np.testing.assert_allclose(
            features, expected[0].permute(1, 2, 3, 0), rtol=2e-2, atol=1e-2
        )
        assert store.description.frames_per_step == 8
        assert store.attributes("a")["frame_rate"] == rate == 25


def test_the_command_fails_if_every_clip_fails(clips, tmp_path, weights):
    result = run_actx(
        "extract",
        f"--index={write_index(tmp_path, ['broken', 'missing'])}",
        f"--output={tmp_path / 'f'}",
        f"--weights={weights}",
        "--size=32,32",
    )
    assert result.returncode == 1
    assert "failed: missing: " in result.stdout


def test_the_command_refuses_to_mix_settings(
    clips, tmp_path, weights, capsys, processor
):
    def run(*arguments):
        capsys.readouterr()
        code = main(["extract", *arguments])
        return code, *capsys.readouterr()

    index = write_index(tmp_path, ["a", "b"])
    flags = [
        f"--output={tmp_path / 'f'}",
        f"--weights={weights}",
        f"--index={index}",
        f"--save_backbone={tmp_path / 'backbone.keras'}",
    ]
    first = ["--size=32", "--frame_rate=6"]
    code, _, error = run(*flags, *first)
    assert code == 0, error
    backbone = (tmp_path / "backbone.keras").read_bytes()
    # The store is whole: nothing is missing, and yet it is not what was asked.
    for others, *words in (
        (
            ["--size=64", "--frames_per_step=2"],
            "frame_rate=16.0 (not 6.0)",
            "size=64 (not 32)",
            "time=steps of 2 ",
        ),
        ([*first, "--compute_dtype=bfloat16"], "compute_dtype='bfloat16'"),
    ):
        code, _, error = run(*flags, *others)
        assert code == 1
        assert all(word in error for word in words), error
    code, printed, _ = run(*flags, *first)
    assert code == 0 and "2 of 2 clips" in printed
    # So is what is not the backbone of another store.
    code, _, error = run(*flags, f"--output={tmp_path / 'g'}")
    assert code == 1 and "of another network" in error
    assert not (tmp_path / "g").exists()
    # What is refused, or done already, leaves the backbone's file as it is.
    assert (tmp_path / "backbone.keras").read_bytes() == backbone


def test_the_command_with_a_saved_backbone(clips, tmp_path):
    backbone = make_backbone(frame_rate=6.0)
    backbone.save(tmp_path / "backbone.keras")
    flags = [
        f"--index={write_index(tmp_path, ['a'])}",
        f"--output={tmp_path / 'f'}",
        f"--backbone={tmp_path / 'backbone.keras'}",
        "--dtype=float32",
    ]
    result = run_actx("extract", *flags)
    assert result.returncode == 0, result.stderr
    frames, _ = read_clip(clips[0].file, frame_rate=6.0, size=SIZE)
    with FeatureStore(tmp_path / "f") as store:
        assert store.description == backbone.description
        np.testing.assert_allclose(
            store["a"].mean(), frames[:4].mean(), rtol=1e-3
        )
    scale_of(SIZE).save(tmp_path / "backbone.keras")
    result = run_actx("extract", *flags)
    assert result.returncode == 1
    assert "not a Backbone" in result.stderr


def test_weights_that_cannot_be_downloaded_are_one_sentence(tmp_path):
    (tmp_path / "index.csv").write_text(
        "clip,file,label,split,conjugates\na,a.mp4,run,train,\n"
    )
    nobody = "http://127.0.0.1:9"  # answers there
    result = subprocess.run(
        [sys.executable, "-m", "actx_tf.cli.start", "extract"]
        + ["--index=index.csv", "--output=features"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KERAS_HOME": str(tmp_path / "keras"),
            "https_proxy": nobody,
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("actx extract: error: the weights of ImageNet")
    assert re.search(r"from https://\S+\.h5: .* does not answer \(.*\);", line)
    assert "refused" in line and "None" not in line
    assert line.endswith("give --weights the path of an .npz file of them")
    assert not (tmp_path / "features").exists()


def test_index_and_extraction_agree(clips, tmp_path):
    # What an index gives is what extraction takes.
    path = write_index(tmp_path, ["a"])
    assert not extract(read_clip_index(path), tmp_path / "f")


def test_a_clip_too_short_for_the_network_is_listed_and_no_other_is_lost(
    tmp_path,
):
    """TensorFlow gives what lies in the memory, and no error."""
    network = keras.Sequential(
        [
            keras.Input((None, None, None, 3)),
            keras.layers.Conv3D(4, 3, 2),
            keras.layers.Conv3D(4, 3, 2),
        ]
    )
    backbone = backbones.make_backbone(network, size=(32, 32), name="valid")
    rng = np.random.default_rng(0)
    clips = []
    for length in (12, 6, 1, 13):
        video = rng.integers(0, 256, (length, 32, 32, 3), np.uint8)
        path = write_lossless(tmp_path / f"{length}.mp4", video)
        clips.append(Clip(str(length), str(path), "a", "train"))
    failed = extract_features(
        clips, backbone, tmp_path / "store", progress=False
    )
    assert [clip.clip for clip, _ in failed] == ["6", "1"]
    assert all("too few" in message for _, message in failed)
    with FeatureStore(tmp_path / "store") as store:
        assert store.shape("12") == (2, 7, 7, 4)
        assert store.shape("13") == (2, 7, 7, 4)


def test_a_network_that_is_not_as_described_is_refused(tmp_path):
    class OneStep(keras.layers.Layer):
        def call(self, x):
            return keras.ops.mean(x, axis=1, keepdims=True)

    network = keras.Sequential([keras.Input((None, 8, 8, 3)), OneStep()])
    description = describe(channels=3, frames_per_step=2, size=(8, 8))
    backbone = Backbone(network, description)
    video = np.zeros((8, 8, 8, 3), np.uint8)
    path = write_lossless(tmp_path / "clip.mp4", video)
    with pytest.raises(ValueError, match="`backbone` must make the feature"):
        extract_features(
            [Clip("clip", str(path), "a", "train")],
            backbone,
            tmp_path / "store",
            progress=False,
        )
