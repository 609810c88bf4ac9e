"""Extraction with Ray, on this machine with two workers."""

import contextlib
import functools

import keras
import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import extract_features
from actx_tf.data import extract_features_on_ray
from tests.test_extraction import make_backbone
from tests.test_extraction import write_video

ray = pytest.importorskip("ray")

SETTINGS = {"size": (16, 24), "frames_per_step": 2, "progress": False}


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
        assert store.backbone == expected.backbone
        for clip in store:
            np.testing.assert_array_equal(store[clip], expected[clip])
            assert store.attributes(clip) == expected.attributes(clip)


@pytest.fixture
def cluster():
    ray.init(log_to_driver=False)
    yield
    ray.shutdown()


def test_two_workers_make_the_store_of_one_process(clips, cluster, tmp_path):
    expected = extract_features(
        clips, make_backbone(), tmp_path / "one.h5", **SETTINGS
    )
    # What an interrupted run has left is kept.
    extract_features(clips[:2], make_backbone(), tmp_path / "r.h5", **SETTINGS)
    failed = extract_features_on_ray(
        clips, make_backbone, tmp_path / "r.h5", num_workers=2, **SETTINGS
    )
    assert failed == expected
    assert [clip.clip for clip, _ in failed] == ["broken"]
    assert_same_store(tmp_path / "r.h5", tmp_path / "one.h5")
    assert not (tmp_path / "r.h5.parts").exists()

    # A worker that fails ends the run; the others' clips are kept.
    broken = functools.partial(make_broken_backbone, tmp_path)
    with pytest.raises(RuntimeError, match="out of order"):
        extract_features_on_ray(
            clips, broken, tmp_path / "f.h5", num_workers=2, **SETTINGS
        )
    failed = extract_features_on_ray(
        clips, make_backbone, tmp_path / "f.h5", num_workers=3, **SETTINGS
    )
    assert [clip.clip for clip, _ in failed] == ["broken"]
    assert_same_store(tmp_path / "f.h5", tmp_path / "one.h5")


def make_broken_backbone(folder):
    """The first is for the name, the next one works, and all others don't."""
    for name in ("first", "second"):
        with contextlib.suppress(FileExistsError):
            (folder / name).touch(exist_ok=False)  # by one process alone
            return make_backbone()
    raise OSError("the network is out of order")


def test_wrong_number_of_workers(clips, tmp_path):
    with pytest.raises(ValueError, match="`num_workers` must be.*=0"):
        extract_features_on_ray(
            clips, make_backbone, tmp_path / "f.h5", num_workers=0, **SETTINGS
        )
    assert not list(tmp_path.iterdir())


def test_a_backbone_of_another_name_is_refused(clips, tmp_path):
    extract_features(clips[:1], make_backbone(), tmp_path / "f.h5", **SETTINGS)
    with pytest.raises(ValueError, match="`backbone` must be 'means'"):
        extract_features_on_ray(
            clips,
            lambda: keras.Sequential([keras.Input((4,))], name="other"),
            tmp_path / "f.h5",
            **SETTINGS,
        )
