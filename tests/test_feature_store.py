import pathlib
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest

from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter


def features(seed=0, time=3, channels=5):
    random = np.random.default_rng(seed)
    return random.normal(size=(time, 2, 4, channels))


def add(writer, clip, array=None, **arguments):
    arguments = {
        "label": "run",
        "split": "train",
        "frame_rate": 12.5,
        "stride": 4,
        "frames": 11,
        **arguments,
    }
    writer.add(clip, features() if array is None else array, **arguments)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "features.h5"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_round_trip(path, dtype):
    arrays = {f"clip {k} ä.mp4": features(k, time=k + 1) for k in range(3)}
    with FeatureStoreWriter(path, "net", dtype) as writer:
        for number, (clip, array) in enumerate(arrays.items()):
            scene = {"scene": "s1"} if number else {}
            add(writer, clip, array, frames=number + 1, **scene)
    assert list(path.parent.iterdir()) == [path]  # no part, no lock is left

    with FeatureStore(path) as store:
        assert (store.backbone, store.channels) == ("net", 5)
        assert store.dtype == dtype
        assert sorted(store) == sorted(arrays) and len(store) == 3
        for clip, array in arrays.items():
            assert store[clip].dtype == dtype
            np.testing.assert_array_equal(store[clip], array.astype(dtype))
            assert store.shape(clip) == array.shape
            np.testing.assert_array_equal(
                store.read(clip, 1, 2), array.astype(dtype)[1:2]
            )
        assert store.attributes("clip 1 ä.mp4") == {
            "label": "run",
            "split": "train",
            "scene": "s1",
            "frame_rate": 12.5,
            "stride": 4,
            "frames": 2,
        }
        assert store.attributes("clip 0 ä.mp4")["scene"] == ""


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_views_are_what_is_read(path, dtype):
    with FeatureStoreWriter(path, "net", dtype) as writer:
        for number in range(3):
            add(writer, str(number), features(number, time=5))
    with FeatureStore(path) as store:
        views = {clip: store.view(clip, 1, 4) for clip in store}
        steps = {clip: store.read(clip, 1, 4) for clip in store}
        assert store.view("0").shape == store.shape("0")
    for clip, view in views.items():  # they outlive the store
        np.testing.assert_array_equal(view, steps[clip])
        with pytest.raises(ValueError, match="read-only"):
            view[:] = 0


def test_views_of_data_in_pieces(path):
    with FeatureStoreWriter(path, "net") as writer:
        add(writer, "a", features(time=5))
    with h5py.File(path, "r+") as file:
        array, attributes = file["a"][()], dict(file["a"].attrs)
        del file["a"]
        file.create_dataset("a", data=array, compression="gzip")
        file["a"].attrs.update(attributes)
    with FeatureStore(path) as store:
        np.testing.assert_array_equal(store.view("a", 2), array[2:])


def test_missing_clip_names_clip_and_file(path):
    with FeatureStoreWriter(path, "net") as writer:
        add(writer, "a")
    with FeatureStore(path) as store:
        assert "b" not in store and store.get("b") is None
        for read in (store.__getitem__, store.shape, store.attributes):
            with pytest.raises(KeyError, match="'b'.*features.h5"):
                read("b")
    with pytest.raises(ValueError, match="features.h5.*closed"):
        store["a"]


def test_threads_read_at_once(path):
    with FeatureStoreWriter(path, "net", "float32") as writer:
        for k in range(8):
            add(writer, str(k), np.full((20, 4, 4, 8), k))
    wrong = []
    with FeatureStore(path) as store:

        def read(seed):
            for k in np.random.default_rng(seed).integers(0, 8, 100):
                if not (store[str(k)] == k).all():
                    wrong.append(k)

        threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_adding_to_a_store(path):
    with FeatureStoreWriter(path, "net") as writer:
        add(writer, "a", features(1))
    with FeatureStoreWriter(path, "net") as writer:
        assert "a" in writer and "b" not in writer
        with pytest.raises(ValueError, match="'a' is there already"):
            add(writer, "a")
        add(writer, "b", features(2))
    with FeatureStore(path) as store:
        assert sorted(store) == ["a", "b"]
        np.testing.assert_array_equal(
            store["a"], features(1).astype(np.float16)
        )


def test_nothing_added_writes_nothing(path):
    with FeatureStoreWriter(path, "net"):
        pass
    assert not list(path.parent.iterdir())


def test_an_exception_keeps_finished_clips(path):
    with pytest.raises(KeyboardInterrupt):
        with FeatureStoreWriter(path, "net") as writer:
            add(writer, "a")
            raise KeyboardInterrupt
    assert not path.exists()
    with FeatureStoreWriter(path, "net") as writer:
        assert "a" in writer
        add(writer, "b")
    with FeatureStore(path) as store:
        assert sorted(store) == ["a", "b"]


def test_killed_between_merge_and_cleaning_up(path):
    with pytest.raises(KeyboardInterrupt):
        with FeatureStoreWriter(path, "net") as writer:
            add(writer, "a")
            raise KeyboardInterrupt
    parts = path.with_name("features.h5.parts")
    path.write_bytes(next(parts.glob("*.h5")).read_bytes())
    with FeatureStoreWriter(path, "net"):
        pass
    with FeatureStore(path) as store:
        assert list(store) == ["a"]
    assert not parts.exists()


WRITE = """if True:
    import sys
    import types
    import numpy as np
    # Past the packages, which would import TensorFlow each time.
    for name in ("actx_tf", "actx_tf.data"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [name.replace(".", "/")]
    from actx_tf.data.feature_store import FeatureStoreWriter
    with FeatureStoreWriter(sys.argv[1], "net", "float32") as writer:
        for k in range(int(sys.argv[2])):
            if str(k) in writer:
                continue
            writer.add(
                str(k), np.full((4, 8, 8, 64), k), "run", "train", 25.0, 4, 16
            )
            print(k, flush=True)
    print("merged", flush=True)
"""


def start_writing(path, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
    )


def test_kill_at_any_moment_loses_nothing(path):
    random = np.random.default_rng(0)
    count = 60
    finished = set()
    for clips_before_kill in (1, 7, 20):
        process = start_writing(path, count)
        for _ in range(clips_before_kill):
            finished.add(process.stdout.readline().strip())
        time.sleep(random.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        # What was said before the kill has been finished, too.
        finished.update(process.communicate()[0].split())
        if path.exists():
            FeatureStore(path).close()  # whole

    finished.discard("merged")
    with FeatureStoreWriter(path, "net", "float32") as writer:
        assert all(clip in writer for clip in finished)
        assert len(writer) <= len(finished) + 3  # one unsaid at each kill
    with FeatureStore(path) as store:
        assert set(store) >= finished
        for clip, array in store.items():
            assert (array == int(clip)).all() and array.shape == (4, 8, 8, 64)

    process = start_writing(path, count)
    assert process.communicate()[0].split()[-1] == "merged"
    assert process.returncode == 0
    with FeatureStore(path) as store:
        assert sorted(map(int, store)) == list(range(count))


def test_kill_while_merging(path):
    for delay in (0.0, 0.005, 0.02):
        process = start_writing(path, 30)
        for line in process.stdout:
            if line.strip() == "29":
                break
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if path.exists():
            with FeatureStore(path) as store:
                assert len(store) == 30
        with FeatureStoreWriter(path, "net", "float32") as writer:
            assert len(writer) == 30
        with FeatureStore(path) as store:
            assert len(store) == 30
            assert all((array == int(k)).all() for k, array in store.items())
        assert list(path.parent.iterdir()) == [path]
        path.unlink()


@pytest.mark.parametrize("left", ["store", "parts"])
def test_features_that_do_not_belong_together(path, left):
    class Stop(Exception):
        pass

    try:
        with FeatureStoreWriter(path, "net") as writer:
            add(writer, "a")
            if left == "parts":
                raise Stop
    except Stop:
        pass
    before = {p: p.stat().st_mtime_ns for p in path.parent.rglob("*")}
    for backbone, dtype, name in (
        ("other", "float16", "backbone"),
        ("net", "float32", "dtype"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be.*Received"):
            FeatureStoreWriter(path, backbone, dtype)
    after = {p: p.stat().st_mtime_ns for p in path.parent.rglob("*")}
    assert after == before
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(ValueError, match="must have 5 channels.*'b'"):
            add(writer, "b", features(channels=6))
    with FeatureStore(path) as store:
        assert list(store) == ["a"]


def test_two_writers_at_once(path):
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(RuntimeError, match="another writer"):
            FeatureStoreWriter(path, "net")
        add(writer, "a")
        other = start_writing(path, 1)
        other.communicate()
        assert other.returncode
    assert path.exists()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3, 4)),
        np.zeros((0, 2, 3, 4)),
        np.zeros((2, 3, 4, 0)),
        np.full((1, 1, 1, 1), np.nan),
        np.full((1, 1, 1, 1), np.inf),
        np.full((1, 1, 1, 1), 1e5),  # infinite in float16
    ],
)
def test_wrong_features(path, array):
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(ValueError, match="`features`.*'a'"):
            add(writer, "a", array)
        assert "a" not in writer
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("clip", ["", ".", "..", "a/b", "a\0", "\ud800", 3])
def test_wrong_names(path, clip):
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(ValueError, match="`clip` must be a name"):
            add(writer, clip)


@pytest.mark.parametrize(
    "argument, value",
    [
        ("frame_rate", 0.0),
        ("frame_rate", float("nan")),
        ("stride", 0),
        ("frames", -1),
        ("label", None),
        ("scene", "a\0"),
    ],
)
def test_wrong_attributes(path, argument, value):
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(ValueError, match=f"`{argument}`.*'a'"):
            add(writer, "a", **{argument: value})


def test_wrong_writer_arguments(path):
    with pytest.raises(ValueError, match="`dtype`.*Received"):
        FeatureStoreWriter(path, "net", "int8")
    with pytest.raises(ValueError, match="`backbone`.*Received"):
        FeatureStoreWriter(path, "")
    assert not list(path.parent.iterdir())


def test_files_that_are_no_stores(path):
    with pytest.raises(FileNotFoundError, match="features.h5"):
        FeatureStore(path)
    path.write_text("no HDF5")
    with pytest.raises(ValueError, match="features.h5.*HDF5"):
        FeatureStore(path)
    with pytest.raises(ValueError, match="features.h5.*HDF5"):
        FeatureStoreWriter(path, "net")
    assert path.read_text() == "no HDF5"
    h5py.File(path, "w").close()
    with pytest.raises(ValueError, match="not a feature store"):
        FeatureStore(path)

    path.unlink()
    with FeatureStoreWriter(path, "net", "float32") as writer:
        add(writer, "a", np.ones((50, 8, 8, 16)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="not a whole HDF5 file"):
        FeatureStore(path)


def change(file, what):
    if what == "version":
        file.attrs["version"] = 99
    elif what == "header":
        del file.attrs["backbone"]
    elif what == "soft link":
        file["b"] = h5py.SoftLink("/a")
    elif what == "external link":
        file["b"] = h5py.ExternalLink("other.h5", "a")


@pytest.mark.parametrize(
    "what, words",
    [
        ("version", "version=99"),
        ("header", "backbone"),
        ("soft link", "'b' is a link"),
        ("external link", "'b' is a link"),
    ],
)
def test_changed_stores(path, what, words):
    with FeatureStoreWriter(path, "net") as writer:
        add(writer, "a")
    with h5py.File(path, "a") as file:
        change(file, what)
    with pytest.raises(ValueError, match=f"features.h5.*{words}"):
        FeatureStore(path)


def test_datasets_that_are_no_feature_maps(path):
    (path.parent / "secret").write_bytes(bytes(100))
    with FeatureStoreWriter(path, "net") as writer:
        add(writer, "a")
    with h5py.File(path, "a") as file:
        file.create_group("group")
        file["flat"] = np.zeros(3, np.float16)
        file["wide"] = np.zeros((1, 1, 1, 6), np.float16)
        file["double"] = np.zeros((1, 1, 1, 5))
        file.create_dataset(
            "outside",
            (1, 1, 1, 5),
            np.float16,
            external=[(str(path.parent / "secret"), 0, 10)],
        )
        layout = h5py.VirtualLayout((3, 2, 4, 5), np.float16)
        layout[:] = h5py.VirtualSource("other.h5", "a", (3, 2, 4, 5))
        file.create_virtual_dataset("virtual", layout)
    with FeatureStore(path) as store:
        assert store["a"].shape == (3, 2, 4, 5)
        for clip in set(store) - {"a"}:
            with pytest.raises(ValueError, match=f"{clip}.*not a feature map"):
                store[clip]
        with pytest.raises(ValueError, match="not a feature map"):
            store.shape("flat")


def test_stores_in_the_folder_of_parts_are_merged(path):
    # What several processes do that write one store together.
    with FeatureStoreWriter(path, "net") as writer:
        for number in range(2):
            part = writer.parts / f"worker-{number}.h5"
            with FeatureStoreWriter(part, "net") as worker:
                add(worker, f"clip {number}")
    with FeatureStore(path) as store:
        assert list(store) == ["clip 0", "clip 1"]
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_workers_parts_are_merged(path):
    with pytest.raises(KeyboardInterrupt):
        with FeatureStoreWriter(path, "net") as writer:
            with FeatureStoreWriter(writer.parts / "w.h5", "net") as worker:
                add(worker, "clip")
                raise KeyboardInterrupt
    with FeatureStoreWriter(path, "net") as writer:
        assert "clip" in writer
    with FeatureStore(path) as store:
        assert list(store) == ["clip"]
    assert list(path.parent.iterdir()) == [path]


def test_a_store_of_another_network_is_not_merged(path):
    with pytest.raises(ValueError, match="`backbone` must be 'other'"):
        with FeatureStoreWriter(path, "net") as writer:
            part = writer.parts / "worker.h5"
            with FeatureStoreWriter(part, "other") as worker:
                add(worker, "clip")
    assert not path.exists()
