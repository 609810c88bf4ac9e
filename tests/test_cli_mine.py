"""`actx mine` as a user runs it."""

import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from tests.harness import run_actx
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


def test_nearest(folder):
    pytest.importorskip("faiss")
    with FeatureStoreWriter(folder / "features", "test") as writer:
        for name in "ant":
            features = np.ones((2, 1, 1, 3))
            writer.add(name, features, "run", "train", 25.0, 16)
    result = run(folder, *FILES, "--way=nearest", "--features=features")
    assert result.returncode == 0, result.stderr
    assert "missing: b (run): it has no embedding" in result.stdout
    clips = read_clip_index(folder / "mined.csv")
    assert {c.clip: c.conjugates for c in clips} == {
        "a": ("n",),
        "b": (),
        "n": (),
        "t": (),
    }


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
        (("--way=crops", "--num_crops=0"), "--num_crops: must be"),
        (
            ("--way=before_and_after", "--output=../{folder}/index.csv"),
            "--output must be another file than --index",
        ),
        (("--way=crops", "--crop_seconds=9"), "no conjugate was found"),
    ],
)
def test_wrong_input(folder, flags, words):
    index = (folder / "index.csv").read_bytes()
    flags = [flag.format(folder=folder.name) for flag in flags]
    result = run(folder, *FILES, *flags)
    assert result.returncode == (1 if "no conjugate" in words else 2)
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert not (folder / "mined.csv").exists()
    assert (folder / "index.csv").read_bytes() == index
