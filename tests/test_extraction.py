import dataclasses
import os
import pathlib

import keras
import numpy as np
import pytest
import torch

from actx_tf.data import Clip
from actx_tf.data import ClipFrames
from actx_tf.data import FeatureStore
from actx_tf.data import extract_features
from actx_tf.data import optical_flow
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from tests.harness import run_example
from tests.i3d_in_torch import InceptionI3d
from tests.i3d_in_torch import randomize

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


def make_backbone(name="means", scale=1.0, channels=3):
    """The mean color of blocks of 2 frames, 8 rows and 8 columns."""
    frames = keras.Input((None, *SIZE, channels))
    means = keras.layers.AveragePooling3D((2, 8, 8))(frames)
    means = keras.layers.Rescaling(scale)(means)
    return keras.Model(frames, means, name=name)


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
        clips,
        backbone or make_backbone(),
        path,
        size=SIZE,
        frames_per_step=2,
        progress=False,
        **arguments,
    )


def test_extraction(clips, tmp_path):
    failed = extract(clips, tmp_path / "f.h5", dtype="float32")
    assert [clip.clip for clip, _ in failed] == ["broken", "missing"]
    for clip, message in failed:
        assert clip.file in message
    with FeatureStore(tmp_path / "f.h5") as store:
        assert sorted(store) == ["a", "b", "c"]
        assert (store.backbone, store.channels) == ("means", 3)
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
                "stride": 2,
                "frames": len(frames),
            }


def test_sampling(clips, tmp_path):
    extract(clips[:1], tmp_path / "rate.h5", frame_rate=6)
    with FeatureStore(tmp_path / "rate.h5") as store:
        assert store.shape("a")[0] == 2  # 8 frames at 12 / s, 4 at 6 / s
        assert store.attributes("a")["frame_rate"] == 6
    extract(clips[:1], tmp_path / "frames.h5", num_frames=6)
    with FeatureStore(tmp_path / "frames.h5") as store:
        assert store.shape("a")[0] == 3
        assert store.attributes("a")["frame_rate"] == pytest.approx(9)


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_windows_give_what_the_whole_clip_gives(moving_clip, tmp_path, stream):
    backbone = make_backbone(channels=3 if stream == "rgb" else 2)
    kwargs = {"stream": stream, "dtype": "float32"}
    extract([moving_clip], tmp_path / "whole.h5", backbone, **kwargs)
    kwargs |= {"window": 5, "reach": 0}
    extract([moving_clip], tmp_path / "windows.h5", backbone, **kwargs)
    with FeatureStore(tmp_path / "whole.h5") as whole:
        with FeatureStore(tmp_path / "windows.h5") as windows:
            (name,) = whole
            np.testing.assert_allclose(windows[name], whole[name], 1e-5)
            assert windows.attributes(name) == whole.attributes(name)


def test_a_window_needs_the_reach(clips, tmp_path):
    with pytest.raises(ValueError, match="`window` and `reach`"):
        extract(clips, tmp_path / "f.h5", window=5)


def test_shorter_side(clips, tmp_path):
    frames = keras.Input((None, None, None, 3))
    means = keras.layers.AveragePooling3D((2, 8, 8))(frames)
    extract_features(
        clips[:1],
        keras.Model(frames, means, name="means"),
        tmp_path / "f.h5",
        size=16,
        frames_per_step=2,
        progress=False,
    )
    with FeatureStore(tmp_path / "f.h5") as store:
        assert store.shape("a") == (4, 2, 3, 3)


def test_stored_clips_are_not_read_again(clips, tmp_path):
    extract(clips[:2], tmp_path / "f.h5")
    for clip in clips[:2]:
        pathlib.Path(clip.file).unlink()
    failed = extract(clips, tmp_path / "f.h5")
    assert [clip.clip for clip, _ in failed] == ["broken", "missing"]
    with FeatureStore(tmp_path / "f.h5") as store:
        assert sorted(store) == ["a", "b", "c"]


def test_interrupt_keeps_finished_clips(clips, tmp_path, monkeypatch):
    read = []

    def interrupted(path, *arguments, **part):
        if path == clips[4].file:
            raise KeyboardInterrupt
        read.append(path)
        return ClipFrames(path, *arguments, **part)

    monkeypatch.setattr("actx_tf.data.extraction.ClipFrames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(clips, tmp_path / "f.h5")
    assert not (tmp_path / "f.h5").exists()
    monkeypatch.setattr("actx_tf.data.extraction.ClipFrames", ClipFrames)
    for clip in clips[:2]:
        pathlib.Path(clip.file).unlink()
    extract(clips, tmp_path / "f.h5")
    with FeatureStore(tmp_path / "f.h5") as store:
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
    assert not extract([clip], tmp_path / "f.h5", dtype="float32")
    frames, _ = read_clip(clip.file, size=SIZE, **part)
    assert len(frames) == 6
    expected = frames.reshape(3, 2, 2, 8, 3, 8, 3).mean((1, 3, 5))
    with FeatureStore(tmp_path / "f.h5") as store:
        np.testing.assert_allclose(store[clip.clip], expected, rtol=1e-4)


def test_flow(moving_clip, clips, tmp_path):
    failed = extract(
        [moving_clip, *clips],
        tmp_path / "f.h5",
        make_backbone(channels=2),
        stream="flow",
        dtype="float32",
        frame_rate=6,
    )
    assert [clip.clip for clip, _ in failed] == ["broken", "missing"]
    # From one sampled frame to the next, at the size that is sampled.
    frames, _ = read_clip(moving_clip.file, frame_rate=6, size=SIZE)
    flow = optical_flow(frames)
    expected = flow.reshape(3, 2, 2, 8, 3, 8, 2).mean((1, 3, 5))
    with FeatureStore(tmp_path / "f.h5") as store:
        assert sorted(store) == ["a", "b", "c", "moving"]
        np.testing.assert_allclose(store["moving"], expected, atol=1e-5)
        assert store.attributes("moving")["frames"] == len(frames)
        # 2 pixels a frame to the right, at half the size and half the rate.
        motion = 20 * np.median(store["moving"], axis=(0, 1, 2))
        np.testing.assert_allclose(motion, (2, 0), atol=0.1)


def test_streams_are_not_mixed(moving_clip, tmp_path):
    # Even if one network takes both.
    path = tmp_path / "f.h5"
    extract([moving_clip], path, make_backbone(channels=2), stream="flow")
    with pytest.raises(ValueError, match="`backbone`.*'means_dis'"):
        extract([moving_clip], path)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"stream": "depth"}, "`stream` must be.*Received: stream='depth'"),
        (
            {"stream": "flow", "flow_method": "guess"},
            "`method` must be.*Received: method='guess'",
        ),
    ],
)
def test_wrong_stream(moving_clip, tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        extract([moving_clip], tmp_path / "f.h5", **arguments)
    assert not list(tmp_path.glob("f.h5*"))


def test_features_that_overflow(clips, tmp_path):
    loud = make_backbone(scale=1e4)
    failed = extract(clips[:1], tmp_path / "f.h5", loud)
    assert "finite in float16" in failed[0][1]
    assert not extract(clips[:1], tmp_path / "f.h5", loud, dtype="float32")


def test_another_backbone_is_refused(clips, tmp_path):
    extract(clips[:1], tmp_path / "f.h5")
    with pytest.raises(ValueError, match="`backbone`.*'means'.*'other'"):
        extract(clips, tmp_path / "f.h5", make_backbone("other"))


def test_a_backbone_that_does_not_fit_fails_at_once(clips, tmp_path):
    frames = keras.Input((None, 99, 99, 3))
    model = keras.Model(frames, keras.layers.Rescaling(2)(frames))
    with pytest.raises(ValueError, match="99"):
        extract(clips, tmp_path / "f.h5", model)
    assert not list(tmp_path.glob("f.h5*"))


def test_both_samplings_are_refused(clips, tmp_path):
    with pytest.raises(ValueError, match="`num_frames`.*`frame_rate`"):
        extract(clips, tmp_path / "f.h5", num_frames=3, frame_rate=3)


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


@pytest.mark.parametrize(
    ("stream", "engine"), [("rgb", "local"), ("flow", "local"), ("rgb", "ray")]
)
def test_example(clips, tmp_path, weights, stream, engine):
    result = run_example(
        "extract_features.py",
        f"--engine={engine}",
        f"--index={write_index(tmp_path, ['a', 'broken', 'b'])}",
        f"--output={tmp_path / 'f.h5'}",
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
    with FeatureStore(tmp_path / "f.h5") as store:
        assert sorted(store) == ["a", "b"]
        assert store.shape("a") == (1, 1, 2, 2560)
        assert ("flow" in store.backbone) == (stream == "flow")
        if stream == "rgb":
            assert store.backbone == backbone.name
            frames, _ = read_clip(clips[0].file, frame_rate=6, size=(32, 64))
            np.testing.assert_allclose(
                store["a"],
                backbone.predict(frames[None].astype("float32"), verbose=0)[0],
                rtol=2e-3,
                atol=1e-3,
            )


def test_example_with_i3d(clips, tmp_path):
    port = randomize(InceptionI3d(classes=3))
    torch.save(port.state_dict(), tmp_path / "i3d.pt")
    result = run_example(
        "extract_features.py",
        f"--index={write_index(tmp_path, ['a', 'b'])}",
        f"--output={tmp_path / 'f.h5'}",
        "--backbone=inception_i3d",
        f"--weights={tmp_path / 'i3d.pt'}",
        "--size=40",
    )
    assert result.returncode == 0, result.stderr
    frames, rate = read_clip(clips[0].file, frame_rate=25, size=40)
    inputs = torch.tensor(frames / 127.5 - 1, dtype=torch.float32)
    with torch.no_grad():
        expected = port.features(inputs.permute(3, 0, 1, 2)[None])
    with FeatureStore(tmp_path / "f.h5") as store:
        features = store["a"].astype("float32")
        np.testing.assert_allclose(
            features, expected[0].permute(1, 2, 3, 0), rtol=2e-2, atol=1e-2
        )
        assert store.attributes("a")["stride"] == 8
        assert store.attributes("a")["frame_rate"] == rate == 25


def test_example_fails_if_every_clip_fails(clips, tmp_path, weights):
    result = run_example(
        "extract_features.py",
        f"--index={write_index(tmp_path, ['broken', 'missing'])}",
        f"--output={tmp_path / 'f.h5'}",
        f"--weights={weights}",
        "--size=32,32",
    )
    assert result.returncode == 1
    assert "failed: missing: " in result.stdout


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--index=nowhere.csv", "--output=f.h5"], "nowhere.csv"),
        (["--index=a.csv", "--output=f.h5", "--size=3"], "size"),
        (["--index=a.csv", "--output=f.h5", "--dtype=int8"], "dtype"),
        (["--output=f.h5"], "index"),
        (
            [
                f"--index={os.devnull}",
                "--output=f.h5",
                "--backbone=i3d_resnet34",
            ],
            "--weights",
        ),
        (
            [f"--index={os.devnull}", "--output=f.h5", "--size=9,9,9"],
            "size",
        ),
    ],
)
def test_example_tells_what_is_wrong(flags, words):
    result = run_example("extract_features.py", *flags)
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_index_and_extraction_agree(clips, tmp_path):
    # What an index gives is what extraction takes.
    path = write_index(tmp_path, ["a"])
    assert not extract(read_clip_index(path), tmp_path / "f.h5")
