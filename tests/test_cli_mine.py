"""`actx mine` as a user runs it."""

import keras
import numpy as np
import pytest

from actx_tf.backbones import make_backbone
from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.data import write_masks
from tests.harness import run_actx
from tests.lossless import write_lossless
from tests.moving_square import moving_square
from tests.test_camera import panned
from tests.test_video import write_video


@pytest.fixture
def folder(tmp_path):
    """An index of an action within its file, one that fills it, and others."""
    write_video(tmp_path / "a.mp4", num_frames=40, rate=20)
    write_video(tmp_path / "b.mp4", num_frames=10, rate=20)
    rows = (
        ("a", "a.mp4", "run", "train", 0.6, 1.2),
        ("b", "b.mp4", "run", "train", 0.0, None),
        ("n", "n.mp4", "background", "train", 0.0, None),
        ("t", "t.mp4", "run", "test", 0.0, None),
    )
    write_clip_index(
        tmp_path / "index.csv",
        [
            Clip(name, str(tmp_path / file), label, split, (), start, end)
            for name, file, label, split, start, end in rows
        ],
    )
    return tmp_path


def run(folder, *flags):
    return run_actx("mine", *flags, cwd=folder)


FILES = ("--index=index.csv", "--output=mined.csv")


@pytest.mark.parametrize(
    ("flags", "expected", "count"),
    [
        (
            ("--way=before_and_after",),
            {"a": ("a.before", "a.after")},
            "1 clips have 2 conjugates",
        ),
        (
            (
                "--way=crops",
                "--crop_seconds=0.2",
                "--min_seconds=0.1",
                "--num_crops=2",
            ),
            {
                f"{clip}.crop{i}": (
                    f"{clip}.crop{i}.before",
                    f"{clip}.crop{i}.after",
                )
                for clip in "ab"
                for i in (0, 1)
            },
            "4 clips have 8 conjugates",
        ),
    ],
)
def test_stretches(folder, flags, expected, count):
    result = run(folder, *FILES, *flags)
    assert result.returncode == 0, result.stderr
    assert count in result.stdout
    is_missing = "b" not in {name[0] for name in expected}
    assert ("missing: b (run): no stretch of 0.5" in result.stdout) == (
        is_missing
    )
    clips = read_clip_index(folder / "mined.csv")
    found = {c.clip: c.conjugates for c in clips if c.conjugates}
    assert found == expected
    assert {"n", "t"} <= {c.clip for c in clips}


def test_splits(folder):
    write_video(folder / "t.mp4", num_frames=40, rate=20)
    flags = ("--way=crops", "--crop_seconds=0.3", "--min_seconds=0.1")
    result = run(folder, *FILES, *flags, "--splits=test,train")
    assert result.returncode == 0, result.stderr
    clips = read_clip_index(folder / "mined.csv")
    paired = {c.clip: c.split for c in clips if c.conjugates}
    assert paired == {
        "a.crop0": "train",
        "b.crop0": "train",
        "t.crop0": "test",
    }
    result = run(folder, *FILES, *flags, "--splits=tset", "--force")
    assert result.returncode == 1
    assert "an action clip of the split 'tset' (--splits)" in result.stderr
    assert "['test', 'train']" in result.stderr


def test_nearest(folder):
    pytest.importorskip("faiss")
    with FeatureStoreWriter(folder / "features", "test") as writer:
        for name in "ant":
            features = np.ones((2, 1, 1, 3))
            writer.add(name, features, "run", "train", 25.0, 16)
    result = run(folder, *FILES, "--way=nearest", "--features=features")
    assert result.returncode == 0, result.stderr
    assert "missing: b (run): its features are not there" in result.stdout
    assert "1 clips of background are the background" in result.stdout
    # All ones, as far as the values are.
    assert "lowest 1.000, median 1.000, highest 1.000" in result.stdout
    assert "   1.000  a  n\n" in result.stdout
    assert "\n      a and n\n" in result.stdout
    assert "note: 1 pairs look alike everywhere" in result.stdout
    clips = read_clip_index(folder / "mined.csv")
    assert {
        c.clip: (c.conjugates, c.conjugate_similarities) for c in clips
    } == {
        "a": (("n",), (1.0,)),
        "b": ((), ()),
        "n": ((), ()),
        "t": ((), ()),
    }
    # What people may have edited is kept.
    before = (folder / "mined.csv").read_bytes()
    flags = (*FILES, "--way=nearest", "--features=features")
    result = run(folder, *flags)
    assert result.returncode == 1 and "--force writes over" in result.stderr
    assert (folder / "mined.csv").read_bytes() == before
    (folder / "mined.csv").write_text("edited")
    assert run(folder, *flags, "--force").returncode == 0
    assert (folder / "mined.csv").read_bytes() == before


def test_scenes_and_a_threshold(tmp_path):
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    scenes = {"home": random.normal(size=8), "shop": random.normal(size=8)}
    rows = (
        ("fall1", "fall", "home", 0.1),
        ("fall2", "fall", "shop", 0.1),
        ("fall3", "fall", "street", 0.1),
        ("fall4", "fall", "", 0.1),
        *((f"none{i}", "none", "home", 0.1 * i) for i in range(4)),
        ("none4", "none", "", 0.1),
        ("none5", "none", "", 0.1),
    )
    with FeatureStoreWriter(tmp_path / "features", "test") as writer:
        for name, label, scene, noise in rows:
            features = scenes.get(scene, scenes["home"])
            features = features + noise * random.normal(size=(4, 2, 2, 8))
            writer.add(name, features, label, "train", 25.0, 16)
    write_clip_index(
        tmp_path / "index.csv",
        [
            Clip(name, f"{name}.mp4", label, "train", extra={"scene": scene})
            for name, label, scene, _ in rows
        ],
    )
    flags = (*FILES, "--features=features", "--background=none")
    printed = run(tmp_path, *flags, "--same=scene").stdout
    assert "6 clips of none are the background" in printed
    assert "2 clips of none are no conjugates: its `scene` is empty" in printed
    assert "missing: fall4 (fall): its `scene` is empty" in printed
    assert "in the same `scene`, 'shop'" in printed
    assert printed.count("missing: ") == 3
    mined = {c.clip: c for c in read_clip_index(tmp_path / "mined.csv")}
    assert {name for name, c in mined.items() if c.conjugates} == {"fall1"}

    printed = run(tmp_path, *flags, "--min_similarity=0.9", "--force").stdout
    assert "0.9 is the smallest that is taken" in printed  # the shop
    assert "missing: fall2" in printed and printed.count("missing: ") == 1
    printed = run(tmp_path, *flags, "--num_neighbors=6", "--force").stdout
    assert "      fall2 and none" in printed and "and 1 more\n" in printed
    assert "note: 6 pairs look alike nowhere: do they show one" in printed


@pytest.fixture
def moving(tmp_path):
    """An index of a square that moves, and a camera; masks; a network."""
    frames, masks, _ = moving_square(24)
    write_lossless(tmp_path / "a.mp4", frames)
    write_lossless(tmp_path / "b.mp4", panned(2, 16))
    write_clip_index(
        tmp_path / "index.csv",
        [
            Clip(name, str(tmp_path / f"{name}.mp4"), "run", "train")
            for name in "ab"
        ],
    )
    write_masks(tmp_path / "masks.npz", [("a", masks)])
    network = keras.Sequential(
        [keras.Input((None, 32, 32, 3)), keras.layers.Conv3D(4, (2, 8, 8), 8)]
    )
    backbone = make_backbone(network, frame_rate=8.0, value_range=(-1, 1))
    backbone.save(tmp_path / "backbone.keras")
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--way=frozen", "--at=0.25"), {"a.frozen", "b.frozen"}),
        (("--way=emptied",), {"a.emptied"}),
        (("--way=emptied", "--masks=masks.npz"), {"a.emptied"}),
    ],
)
def test_made_videos_are_clips_like_others(moving, flags, names):
    result = run(moving, *FILES, *flags, "--videos=made")
    assert result.returncode == 0, result.stderr
    without = 2 - len(names)
    assert f"{len(names)} clips have {len(names)} conjugates" in result.stdout
    assert (", 1 without any" in result.stdout) == bool(without)
    assert ("missing: b (run): its camera moves" in result.stdout) == (
        bool(without)
    )
    files = {path.name for path in (moving / "made").iterdir()}
    assert files == {f"{name}.mp4" for name in names}
    result = run_actx(
        "extract",
        *("--index=mined.csv", "--output=features"),
        "--backbone=backbone.keras",
        cwd=moving,
    )
    assert result.returncode == 0, result.stderr
    clips = read_clip_index(moving / "mined.csv")
    assert {c.clip for c in clips} == {"a", "b"} | names
    with FeatureStore(moving / "features") as store:
        assert set(store) == {"a", "b"} | names
        for clip in clips:
            for name in clip.conjugates:
                assert store.shape(name) == store.shape(clip.clip)
            if clip.clip == "a.frozen":
                held = store[clip.clip]
                assert len(held) > 1 and (held == held[0]).all()


def test_labels_are_listed_once(folder):
    with FeatureStoreWriter(folder / "features", "test") as writer:
        writer.add("a", np.ones((2, 1, 1, 3)), "run", "train", 25.0, 16)
    flags = ("--features=features", "--background=None")
    result = run(folder, *FILES, *flags)
    assert result.returncode == 1 and not result.stdout
    assert "its labels are background, run" in result.stderr
    result = run(folder, *FILES, *flags[1:], "--way=before_and_after")
    assert "(--background): all show an action, background, run" in (
        result.stdout
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--way=nearest",), "needs --features"),
        (
            ("--way=nearest", "--min_seconds=1"),
            "--min_seconds is not for --way=nearest, but for before_and_after",
        ),
        (
            ("--way=crops", "--num_neighbors=3"),
            "--num_neighbors is not for --way=crops, but for nearest",
        ),
        (("--way=crops", "--same=scene"), "--same is not for --way=crops"),
        (("--min_similarity=2",), "in [-1, 1], not '2'"),
        (("--way=crops", "--num_crops=0"), "--num_crops: must be"),
        (
            ("--way=before_and_after", "--output=../{folder}/index.csv"),
            "--output must be another path than --index",
        ),
        (
            ("--way=crops", "--crop_seconds=9"),
            "no conjugate was found for any of 4 clips; the lines above",
        ),
        (
            ("--way=crops", "--crop_seconds=9", "--background=rnu"),
            "no conjugate was found for any of 4 clips; is --background=rnu",
        ),
        (("--way=frozen",), "--way=frozen needs --videos, a folder"),
        (("--way=emptied", "--videos=index.csv"), "(--videos) is a file"),
        (
            ("--way=frozen", "--videos=v", "--masks=m.npz"),
            "--masks is not for --way=frozen, but for emptied",
        ),
        (("--way=crops", "--videos=v"), "--videos is not for --way=crops"),
        (("--way=frozen", "--videos=v", "--at=2"), "--at: must be in [0, 1]"),
        (
            ("--way=emptied", "--videos=v", "--masks=m"),
            "no file at m (--masks)",
        ),
    ],
)
def test_wrong_input(folder, flags, words):
    index = (folder / "index.csv").read_bytes()
    flags = [flag.format(folder=folder.name) for flag in flags]
    result = run(folder, *FILES, *flags)
    failures = ("no conjugate", "is a file", "no file at")
    is_failure = any(failure in words for failure in failures)
    assert result.returncode == (1 if is_failure else 2)
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert not (folder / "mined.csv").exists()
    assert (folder / "index.csv").read_bytes() == index
