"""Work that is killed at random moments and begun again."""

import random
import time

import numpy as np

from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from tests.harness import PROCESSES
from tests.test_extraction import extract
from tests.test_extraction import write_video

KILLS = 10


def test_extraction(tmp_path):
    file = str(tmp_path / "long.mp4")
    write_video(file, num_frames=24, rate=12)
    starts = np.arange(100) / 100
    clips = [
        Clip(f"clip {start}", file, "run", "train", start=start, end=1 + start)
        for start in starts.tolist()
    ]
    expected = tmp_path / "expected.h5"
    extract(clips, expected)

    path = tmp_path / "f.h5"
    parts = tmp_path / "f.h5.parts"
    lock = parts / "lock"
    moments = random.Random(0)
    killed = 0
    finished = set()  # how many clips were, at each kill
    while killed < KILLS:
        if path.exists():  # finished before the kill: again from the start
            assert_same_store(path, expected)
            path.unlink()
        lock.unlink(missing_ok=True)  # a killed one's; tells the next's begin
        process = PROCESSES.Process(target=extract, args=(clips, path))
        process.start()
        while process.is_alive() and not lock.exists():
            time.sleep(0.01)
        process.join(moments.uniform(0.0, 1.0))
        process.kill()
        process.join()
        if process.exitcode != 0:
            killed += 1
            finished.add(len(list(parts.glob("*.h5"))))
    assert len(finished) > KILLS / 2  # at moments that differ
    extract(clips, path)
    assert_same_store(path, expected)
    assert not parts.exists()


def assert_same_store(path, expected_path):
    with FeatureStore(path) as store, FeatureStore(expected_path) as expected:
        assert sorted(store) == sorted(expected)
        for clip in expected:
            np.testing.assert_array_equal(store[clip], expected[clip])
            assert store.attributes(clip) == expected.attributes(clip)
