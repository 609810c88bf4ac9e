"""Extraction with Ray, on this machine with two workers."""

import contextlib
import functools
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import extract_features
from actx_tf.data import extract_features_on_ray
from tests.test_extraction import make_backbone
from tests.test_extraction import write_video

ray = pytest.importorskip("ray")

SETTINGS = {"progress": False}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for number in range(7):
        path = folder / f"{number}.mp4"
        write_video(path, num_frames=4 + number)
        found.append(Clip(str(number), str(path), "run", "train"))
    (folder / "broken.mp4").write_text("no video")
    found.insert(3, Clip("broken", str(folder / "broken.mp4"), "run", "train"))
    return found


def assert_same_store(path, expected_path):
    with FeatureStore(path) as store, FeatureStore(expected_path) as expected:
        assert list(store) == list(expected)
        assert store.made_by == expected.made_by
        for clip in store:
            np.testing.assert_array_equal(store[clip], expected[clip])
            assert store.attributes(clip) == expected.attributes(clip)


@pytest.fixture(scope="module")
def cluster():
    ray.init(log_to_driver=False)
    yield
    ray.shutdown()


def test_two_workers_make_the_store_of_one_process(clips, cluster, tmp_path):
    expected = extract_features(
        clips, make_backbone(), tmp_path / "one", **SETTINGS
    )
    # What an interrupted run has left is kept.
    extract_features(clips[:2], make_backbone(), tmp_path / "f", **SETTINGS)
    # A worker that fails ends the run; the others' clips are kept.
    broken = functools.partial(make_broken_backbone, tmp_path)
    with pytest.raises(RuntimeError, match="out of order"):
        extract_features_on_ray(
            clips, broken, tmp_path / "f", num_workers=2, **SETTINGS
        )
    failed = extract_features_on_ray(
        clips, make_backbone, tmp_path / "f", num_workers=2, **SETTINGS
    )
    assert failed == expected
    assert [clip.clip for clip, _ in failed] == ["broken"]
    assert_same_store(tmp_path / "f", tmp_path / "one")
    left = [file for file in (tmp_path / "f").rglob("*") if file.is_file()]
    assert all(file.suffix == ".h5" for file in left)


def make_broken_backbone(folder):
    """The first is for the name, the next one works, and all others don't."""
    for name in ("first", "second"):
        with contextlib.suppress(FileExistsError):
            (folder / name).touch(exist_ok=False)  # by one process alone
            return make_backbone()
    raise OSError("the network is out of order")


def test_a_worker_that_is_killed_is_begun_again(clips, cluster, tmp_path):
    expected = extract_features(
        clips, make_backbone(), tmp_path / "one", **SETTINGS
    )
    failed = extract_features_on_ray(
        clips,
        functools.partial(make_deadly_backbone, tmp_path / "died"),
        tmp_path / "f",
        num_workers=2,
        **SETTINGS,
    )
    assert (tmp_path / "died").exists()
    assert failed == expected
    assert_same_store(tmp_path / "f", tmp_path / "one")


def make_deadly_backbone(died):
    """Its process is killed, once, by the third clip of a worker."""
    backbone = make_backbone()
    call = backbone.call

    def kill(num_frames):
        with contextlib.suppress(FileExistsError):
            if num_frames == 8:
                died.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)

    def deadly(clip, training=None):
        tf.py_function(kill, [tf.shape(clip)[1]], [])
        return call(clip, training)

    backbone.call = deadly
    return backbone


def test_wrong_number_of_workers(clips, tmp_path):
    with pytest.raises(ValueError, match="`num_workers` must be.*=0"):
        extract_features_on_ray(
            clips, make_backbone, tmp_path / "f", num_workers=0, **SETTINGS
        )
    assert not list(tmp_path.iterdir())


def test_other_features_are_not_added(clips, tmp_path):
    extract_features(clips[:1], make_backbone(), tmp_path / "f", **SETTINGS)
    with pytest.raises(ValueError, match="another way.*frame_rate=8.0"):
        extract_features_on_ray(
            clips,
            lambda: make_backbone(frame_rate=8.0),
            tmp_path / "f",
            **SETTINGS,
        )
