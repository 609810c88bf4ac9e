import contextlib
import dataclasses
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import threading
import time

import h5py
import numpy as np
import pytest

from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import feature_store_writer
from tests.described import describe
from tests.harness import PROCESSES

NET = describe("net", frame_rate=12.5, size=256)


def features(seed=0, time=3, channels=5):
    random = np.random.default_rng(seed)
    return random.normal(size=(time, 2, 4, channels))


def add(writer, clip, array=None, **arguments):
    arguments = {
        "label": "run",
        "split": "train",
        "frame_rate": 12.5,
        "frames": 11,
        **arguments,
    }
    writer.add(clip, features() if array is None else array, **arguments)


def files_of(path):
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "features"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("made_by", [NET, "masks"])
def test_round_trip(path, dtype, made_by):
    arrays = {f"clip {k} ä.mp4": features(k, time=k + 1) for k in range(3)}
    with FeatureStoreWriter(path, made_by, dtype) as writer:
        for number, (clip, array) in enumerate(arrays.items()):
            scene = {"scene": "s1"} if number else {}
            add(writer, clip, array, frames=number + 1, **scene)
    [file] = path.iterdir()  # no journal, no lock is left

    for whole in (path, file):
        with FeatureStore(whole) as store:
            assert (store.path, store.made_by) == (whole, made_by)
            assert store.description == (NET if made_by == NET else None)
            assert (store.channels, store.dtype) == (5, dtype)
            assert list(store) == sorted(arrays) and len(store) == 3
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
                "frames": 2,
            }
            assert store.attributes("clip 0 ä.mp4")["scene"] == ""


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_views_are_what_is_read(path, dtype):
    with FeatureStoreWriter(path, NET, dtype) as writer:
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


def only_file(path):
    [file] = path.rglob("*.h5")
    return file


def test_views_of_data_in_pieces(path):
    with FeatureStoreWriter(path, NET) as writer:
        add(writer, "a", features(time=5))
    with h5py.File(only_file(path), "r+") as file:
        array, attributes = file["a"][()], dict(file["a"].attrs)
        del file["a"]
        file.create_dataset("a", data=array, compression="gzip")
        file["a"].attrs.update(attributes)
    with FeatureStore(path) as store:
        np.testing.assert_array_equal(store.view("a", 2), array[2:])


def test_missing_clip_names_clip_and_file(path):
    with FeatureStoreWriter(path, NET) as writer:
        add(writer, "a")
    with FeatureStore(path) as store:
        assert "b" not in store and store.get("b") is None
        for read in (store.__getitem__, store.shape, store.attributes):
            with pytest.raises(KeyError, match="'b'.*features"):
                read("b")
    with pytest.raises(ValueError, match="features.*closed"):
        store["a"]


def test_threads_read_at_once(path):
    for part in range(2):
        with FeatureStoreWriter(path, describe(channels=8), "float32") as w:
            for k in range(4 * part, 4 * part + 4):
                add(w, str(k), np.full((20, 4, 4, 8), k))
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


# Several files.


def test_adding_to_a_store_leaves_what_is_there(path):
    with FeatureStoreWriter(path, NET) as writer:
        add(writer, "b", features(1))
    before = files_of(path)
    with FeatureStoreWriter(path, NET) as writer:
        assert "b" in writer and "a" not in writer and len(writer) == 1
        with pytest.raises(ValueError, match="'b' is there already"):
            add(writer, "b")
        add(writer, "a", features(2))
    assert before.items() < files_of(path).items()
    with FeatureStore(path) as store:
        assert list(store) == ["a", "b"]
        for seed, clip in ((1, "b"), (2, "a")):
            np.testing.assert_array_equal(
                store[clip], features(seed).astype(np.float16)
            )


def bytes_written():
    counts = pathlib.Path("/proc/self/io").read_text()
    return int(re.search(r"wchar: (\d+)", counts)[1])


@pytest.mark.skipif(
    not os.path.exists("/proc/self/io"), reason="the system does not count"
)
def test_a_store_that_is_resumed_is_written_once(path):
    array = np.random.default_rng(0).normal(size=(10, 8, 8, 64))
    before = bytes_written()
    for run in range(4):
        with FeatureStoreWriter(path, "maps") as writer:
            for number in range(20):
                add(writer, f"{run} {number}", array)
    written = bytes_written() - before
    size = sum(map(len, files_of(path).values()))
    assert size > 80 * array.size * 2
    assert written < 1.2 * size + 2**16


def test_a_large_store_is_several_files(path, monkeypatch):
    monkeypatch.setattr(feature_store_writer, "_MOST_BYTES", 1000)
    clips = [str(number) for number in range(9)]
    with FeatureStoreWriter(path, NET) as writer:
        for seed, clip in enumerate(clips):
            add(writer, clip, features(seed))  # 240 bytes
        with FeatureStore(path) as store:  # what is finished can be read
            assert list(store) == clips[:5]
    assert len(list(path.iterdir())) == 2
    with FeatureStore(path) as store:
        for seed, clip in enumerate(clips):
            np.testing.assert_array_equal(
                store[clip], features(seed).astype("float16")
            )


def test_folders_of_several_writers_are_one_store(path, tmp_path):
    with FeatureStoreWriter(path, NET) as writer:
        for number in range(2):
            with FeatureStoreWriter(path / f"worker-{number}", NET) as worker:
                add(worker, f"clip {number}", features(number))
        add(writer, "clip")
    with FeatureStore(path) as store:
        assert list(store) == ["clip", "clip 0", "clip 1"]
    with FeatureStoreWriter(path, NET) as writer:
        assert len(writer) == 3
    # A copy of a folder is a copy of the store; so is one within another.
    shutil.copytree(path / "worker-1", tmp_path / "copy" / "inside")
    for folder in ("copy", "copy/inside"):
        with FeatureStore(tmp_path / folder) as store:
            assert list(store) == ["clip 1"]
            np.testing.assert_array_equal(
                store["clip 1"], features(1).astype("float16")
            )


@pytest.mark.parametrize(
    ("made_by", "dtype", "words"),
    [
        (dataclasses.replace(NET, frame_rate=8.0), "float16", "frame_rate=8.0"),
        (dataclasses.replace(NET, size=(8, 8)), "float16", r"size=\(8, 8\)"),
        (dataclasses.replace(NET, channels=6), "float16", "channels=6"),
        (NET, "float32", "dtype='float32'"),
        ("net", "float16", "made_by='net' .not the backbone 'net'"),
    ],
)
def test_features_that_do_not_belong_together(path, made_by, dtype, words):
    other = path.with_name("other")
    channels = getattr(made_by, "channels", 5)
    for folder, kind in ((path, (NET, "float16")), (other, (made_by, dtype))):
        with FeatureStoreWriter(folder, *kind) as writer:
            size = channels if folder is other else 5
            add(writer, folder.name, features(channels=size))
    before = files_of(path)
    with pytest.raises(ValueError, match=f"another way.*Received: .*{words}"):
        FeatureStoreWriter(path, made_by, dtype)
    assert files_of(path) == before
    # Nor are they read together.
    other.rename(path / "other")
    with pytest.raises(ValueError, match=f"features/other/.*{words}"):
        FeatureStore(path)


def test_another_estimate_of_memory_makes_no_other_features(path):
    with FeatureStoreWriter(path, NET) as writer:
        add(writer, "a")
    other = dataclasses.replace(NET, bytes_per_pixel=60.0)
    assert other.digest == NET.digest
    with FeatureStoreWriter(path, other) as writer:
        add(writer, "b")
    with FeatureStore(path) as store:
        assert list(store) == ["a", "b"]


def test_a_clip_in_two_files(path):
    for name in "ab":
        with FeatureStoreWriter(
            path / name if path.exists() else path, NET
        ) as w:
            add(w, "x", label="run")
            add(w, name)
    with FeatureStore(path) as store:  # both say the same of it
        assert list(store) == ["a", "b", "x"]
    with FeatureStoreWriter(path / "c", NET) as writer:
        add(writer, "x", label="walk")
    with pytest.raises(ValueError, match="/c/.*'x'.*'run'.*'walk'"):
        FeatureStore(path)


def test_channels_of_other_maps_are_those_of_the_first(path):
    for clip in ("a", "b"):
        with FeatureStoreWriter(path, "masks") as writer:
            with pytest.raises(ValueError, match="must have 5 channels.*'c'"):
                if clip == "a":
                    add(writer, "a")
                add(writer, "c", features(channels=6))
    with pytest.raises(ValueError, match="must have 5 channels.*'c'"):
        with FeatureStoreWriter(path.with_name("new"), NET) as writer:
            add(writer, "c", features(channels=6))


# Writers that do not end as they should.


def test_nothing_added_writes_nothing(path):
    with FeatureStoreWriter(path, NET):
        pass
    assert not path.exists()


def test_an_exception_keeps_finished_clips(path):
    with pytest.raises(KeyboardInterrupt):
        with FeatureStoreWriter(path, NET) as writer:
            add(writer, "a")
            raise KeyboardInterrupt
    with FeatureStore(path) as store:
        assert list(store) == ["a"]
    with FeatureStoreWriter(path, NET) as writer:
        assert "a" in writer
        add(writer, "b")
    with FeatureStore(path) as store:
        assert list(store) == ["a", "b"]


def test_an_interruption_within_add(path, monkeypatch):
    def interrupted(dataset, attributes):
        if dataset.name == "/b":
            raise KeyboardInterrupt
        set_attributes(dataset, attributes)

    set_attributes = feature_store_writer.set_attributes
    monkeypatch.setattr(feature_store_writer, "set_attributes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        with FeatureStoreWriter(path, NET) as writer:
            add(writer, "a")
            add(writer, "b")
    assert len(list(path.iterdir())) == 1
    with FeatureStore(path) as store:
        assert list(store) == ["a"]
        store.attributes("a")


def _write(path, count, sender):
    with FeatureStoreWriter(path, "net", "float32") as writer:
        for k in range(count):
            if str(k) in writer:
                continue
            add(writer, str(k), np.full((4, 8, 8, 64), k))
            sender.send(str(k))
    sender.send("finished")


def start_writing(path, count):
    """A process that writes clips, and what it says of each when it is safe."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_write, args=(path, count, sender))
    process.start()
    sender.close()
    return process, receiver


def rest_of(process, receiver):
    """What it still says until it ends."""
    words = []
    with contextlib.suppress(EOFError, OSError):  # killed within a word
        while True:
            words.append(receiver.recv())
    process.join()
    return words


def test_kill_at_any_moment_loses_nothing(path):
    random = np.random.default_rng(0)
    count = 40
    finished = set()
    for clips_before_kill in (1, 7, 13):
        process, receiver = start_writing(path, count)
        for _ in range(clips_before_kill):
            finished.add(receiver.recv())
        time.sleep(random.uniform(0, 0.01))
        process.kill()
        # What was said before the kill has been finished, too.
        finished.update(rest_of(process, receiver))
        if list(path.rglob("*.h5")):
            FeatureStore(path).close()  # whole

    finished.discard("finished")
    with FeatureStoreWriter(path, "net", "float32") as writer:
        assert all(clip in writer for clip in finished)
        assert len(writer) <= len(finished) + 3  # one unsaid at each kill
    with FeatureStore(path) as store:
        assert set(store) >= finished
        for clip, array in store.items():
            assert (array == int(clip)).all() and array.shape == (4, 8, 8, 64)
            assert store.attributes(clip)["label"] == "run"

    process, receiver = start_writing(path, count)
    assert rest_of(process, receiver)[-1] == "finished"
    assert process.exitcode == 0
    assert all(file.suffix == ".h5" for file in path.iterdir())
    with FeatureStore(path) as store:
        assert sorted(map(int, store)) == list(range(count))


def test_kill_while_a_file_is_finished(path):
    for delay in (0.0, 0.002, 0.005):
        process, receiver = start_writing(path, 10)
        while receiver.recv() != "9":
            pass
        time.sleep(delay)
        process.kill()
        process.join()
        for _ in range(2):
            with FeatureStoreWriter(path, "net", "float32") as writer:
                assert len(writer) == 10
        with FeatureStore(path) as store:
            assert len(store) == 10
            assert all((array == int(k)).all() for k, array in store.items())
        assert len(list(path.iterdir())) == 1
        shutil.rmtree(path)


def leave_a_draft(path, made_by=NET, clips="ab"):
    """What a process leaves that is killed after it has added clips."""
    process = PROCESSES.Process(
        target=_add_and_be_killed, args=(path, made_by, clips)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not list(path.rglob("*.h5"))


def _add_and_be_killed(path, made_by, clips):
    with FeatureStoreWriter(path, made_by) as writer:
        for seed, clip in enumerate(clips):
            add(writer, clip, features(seed), scene=f"of {clip}")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_s_clips_are_saved(path):
    path.mkdir()
    leave_a_draft(path / "worker")
    with pytest.raises(FileNotFoundError, match="no feature store"):
        FeatureStore(path)
    with FeatureStoreWriter(path, NET) as writer:
        assert "a" in writer and "b" in writer
    with FeatureStore(path) as store:
        for seed, clip in enumerate("ab"):
            np.testing.assert_array_equal(
                store[clip], features(seed).astype("float16")
            )
            assert store.attributes(clip) == {
                "label": "run",
                "split": "train",
                "scene": f"of {clip}",
                "frame_rate": 12.5,
                "frames": 11,
            }
    assert list(files_of(path)) == ["worker/000001.h5"]


def test_a_killed_writer_of_other_features(path):
    leave_a_draft(path)
    before = files_of(path)
    other = dataclasses.replace(NET, num_frames=8, frame_rate=None)
    with pytest.raises(ValueError, match="another way.*num_frames=8"):
        FeatureStoreWriter(path, other)
    assert {**before, "lock": b""} == {**files_of(path), "lock": b""}


@pytest.mark.parametrize("damage", ["torn line", "no JSON", "bits", "short"])
def test_damage_to_what_a_killed_writer_left(path, damage):
    """The system can fail along with the process: what is whole is saved."""
    leave_a_draft(path)
    [journal] = path.glob("*.journal")
    [draft] = path.glob("*.writing")
    lines = journal.read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[-1])
    if damage == "torn line":
        journal.write_bytes(b"".join(lines)[:-5])
    elif damage == "no JSON":
        lines[-1] = b"\0" * 50 + b"\n"
        journal.write_bytes(b"".join(lines))
    elif damage == "bits":
        with open(draft, "r+b") as file:
            file.seek(entry["offset"])
            file.write(b"x")
    else:
        os.truncate(draft, entry["offset"] + 10)
    with FeatureStoreWriter(path, NET) as writer:
        assert "a" in writer and "b" not in writer
        add(writer, "b")
    with FeatureStore(path) as store:
        assert list(store) == ["a", "b"]
        store.check()


CHANGES = {
    "offset": (-1, 2**70, "0", None),
    "shape": ([3, 2, 4, 6], [-3, -2, 4, 5], [3, 2, 4], [2**40] * 4, 3, "ab"),
    "clip": ("../a", "", 3),
    "checksum": (0, "0"),
    "attributes": ({}, [], {"label": 3}),
}


@pytest.mark.parametrize("field", CHANGES)
def test_journals_that_lie(path, field):
    for value in CHANGES[field]:
        for good in (["a"], ["a", "b"]):
            leave_a_draft(path)
            [journal] = path.glob("*.journal")
            header, first, last = journal.read_text().splitlines()
            lie = json.dumps({**json.loads(last), field: value})
            lines = [header, first, lie]
            if len(good) == 2:  # what follows is read all the same
                lines += ["{", first, last]
            journal.write_text("\n".join(lines) + "\n")
            with FeatureStoreWriter(path, NET) as writer:
                assert [clip for clip in "ab" if clip in writer] == good
                assert len(writer) == len(good)
            with FeatureStore(path) as store:
                assert list(store) == good
            shutil.rmtree(path)


@pytest.mark.parametrize("suffix", ["journal", "h5.writing", "h5"])
def test_links_to_other_files_are_not_followed(path, suffix):
    leave_a_draft(path)
    if suffix == "h5":
        with FeatureStoreWriter(path, NET):
            pass
    [file] = path.glob(f"*.{suffix}")
    elsewhere = path.with_name("elsewhere")
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    with pytest.raises(ValueError, match=f"{file.name}: is a link"):
        FeatureStoreWriter(path, NET)
    if suffix == "h5":
        with pytest.raises(ValueError, match=f"{file.name}: is a link"):
            FeatureStore(path)


def test_a_lock_that_is_a_link_empties_no_file(path):
    path.mkdir()
    other = path.with_name("other")
    other.write_text("precious")
    (path / "lock").symlink_to(other)
    with pytest.raises(ValueError, match="lock: is a link"):
        FeatureStoreWriter(path, NET)
    assert other.read_text() == "precious"


def _fill_the_disk(path, sender):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    try:
        with FeatureStoreWriter(path, "maps", "float32") as writer:
            for number in range(100):
                add(writer, str(number), np.full((10, 8, 8, 32), number))
    except OSError as error:
        sender.send(str(error))


def test_a_disk_that_is_full(path):
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_fill_the_disk, args=(path, sender))
    process.start()
    message = receiver.recv()
    process.join()
    assert process.exitcode == 0
    assert "features" in message and "cannot be written" in message
    with FeatureStoreWriter(path, "maps", "float32") as writer:
        count = len(writer)
    assert count == 12  # of 80 kB each
    with FeatureStore(path) as store:
        assert all((array == int(clip)).all() for clip, array in store.items())


def test_two_writers_at_once(path):
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(RuntimeError, match="another writer"):
            FeatureStoreWriter(path, "net")
        add(writer, "a")
        other, receiver = start_writing(path, 1)
        assert rest_of(other, receiver) == []
        assert other.exitcode == 1
    with FeatureStore(path) as store:
        assert list(store) == ["a"]


# What is refused.


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((2, 3, 4)), r"\(2, 3, 4\)"),
        (np.zeros((0, 2, 3, 4)), r"\(0, 2, 3, 4\)"),
        (np.zeros((2, 3, 4, 0)), r"\(2, 3, 4, 0\)"),
        (np.full((1, 1, 1, 1), np.nan), "NaN"),
        (np.full((1, 1, 1, 1), np.inf), "infinite"),
        # It is infinite in float16.
        (np.full((1, 1, 1, 1), 1e5), r"up to 1e\+05, which .*float32"),
    ],
)
def test_wrong_features(path, array, words):
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(ValueError, match=f"`features`.*{words}") as error:
            add(writer, "a", array)
        assert "clip 'a'" in str(error.value)
        assert "a" not in writer
    assert not path.exists()


@pytest.mark.parametrize(
    "clip", ["", ".", "..", "a/b", "a\0", "\ud800", 3, "a" * 10_001]
)
def test_wrong_names(path, clip):
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(ValueError, match="`clip` must be a name"):
            add(writer, clip)


@pytest.mark.parametrize(
    "argument, value",
    [
        ("frame_rate", 0.0),
        ("frame_rate", float("nan")),
        ("frames", -1),
        ("label", None),
        ("scene", "a\0"),
        ("scene", "\ud800"),
    ],
)
def test_wrong_attributes(path, argument, value):
    with FeatureStoreWriter(path, "net") as writer:
        with pytest.raises(ValueError, match=f"`{argument}`.*'a'"):
            add(writer, "a", **{argument: value})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("net", "int8"), "`dtype`.*Received: dtype='int8'"),
        (("",), "`made_by`.*Received: made_by=''"),
        ((3,), "`made_by`.*Received: made_by=3"),
        (("x" * 60_001,), "`made_by` must take at most"),
    ],
)
def test_wrong_writer_arguments(path, arguments, words):
    with pytest.raises(ValueError, match=words):
        FeatureStoreWriter(path, *arguments)
    assert not path.exists()


def test_files_that_are_no_stores(path):
    with pytest.raises(FileNotFoundError, match="no feature store at"):
        FeatureStore(path)
    path.mkdir()
    with pytest.raises(FileNotFoundError, match="no feature store at"):
        FeatureStore(path)
    file = path / "a.h5"
    file.write_text("no HDF5")
    for open_it in (
        lambda: FeatureStore(path),
        lambda: FeatureStore(file),
        lambda: FeatureStoreWriter(path, "net"),
        lambda: FeatureStoreWriter(file, "net"),
    ):
        with pytest.raises(ValueError, match="a.h5: not a whole HDF5"):
            open_it()
    assert file.read_text() == "no HDF5"
    h5py.File(file, "w").close()
    with pytest.raises(ValueError, match="a.h5: not a feature store"):
        FeatureStore(path)

    file.unlink()
    with FeatureStoreWriter(path, "net", "float32") as writer:
        add(writer, "a", np.ones((50, 8, 8, 16)))
    with pytest.raises(ValueError, match="`path` must be a folder"):
        FeatureStoreWriter(only_file(path), "net", "float32")
    os.truncate(only_file(path), only_file(path).stat().st_size // 2)
    with pytest.raises(ValueError, match="not a whole HDF5 file"):
        FeatureStore(path)


def test_names_and_what_they_are_made_from_have_so_many_bytes(path):
    longest = "ä" * 5000
    with FeatureStoreWriter(path, NET) as writer:
        add(writer, longest, made_from=longest)
        add(writer, "a")
        for name in ("clip", "made_from"):
            arguments = {"clip": "b", name: longest + "a"}
            with pytest.raises(
                ValueError, match=f"`{name}` must .*10000 bytes"
            ):
                add(writer, **arguments)
    with FeatureStore(path) as store:
        assert list(store) == ["a", longest]
        assert store.made_from(longest) == longest
        assert store.made_from("a") == ""


@pytest.mark.parametrize("version", [1, 2])
def test_stores_of_earlier_versions(path, version):
    with h5py.File(path, "w") as file:  # a single file, as it was
        header = {"format": "actx_tf features", "version": version}
        header |= {"made_by": '"net"', "dtype": "float16", "channels": 5}
        file.attrs.update(header)
    for reader in (FeatureStore, lambda path: FeatureStoreWriter(path, "net")):
        with pytest.raises(
            ValueError,
            match=f"features: is of format {version}, .*extract.*again",
        ):
            reader(path)


def change(file, what):
    if what == "version":
        file.attrs["version"] = 99
    elif what == "version 0":
        file.attrs["version"] = 0
    elif what == "half a version":
        file.attrs["version"] = 3.5
    elif what == "header":
        del file.attrs["made_by"]
    elif what == "field":
        file.attrs["made_by"] = json.dumps({"name": "net"})
    elif what == "channels":
        file.attrs["channels"] = 6
    elif what == "soft link":
        file["b"] = h5py.SoftLink("/a")
    elif what == "external link":
        file["b"] = h5py.ExternalLink("other.h5", "a")


@pytest.mark.parametrize(
    "what, words",
    [
        ("version", "later version.*update actx_tf"),
        ("version 0", "version must be a whole number.*version=0"),
        ("half a version", "version must be a whole number.*version=3.5"),
        ("header", "`made_by` is missing"),
        ("field", "description of a backbone"),
        ("channels", "`channels` must be 5"),
        ("soft link", "'b' is a link"),
        ("external link", "'b' is a link"),
    ],
)
def test_changed_stores(path, what, words):
    with FeatureStoreWriter(path, NET) as writer:
        add(writer, "a")
    with h5py.File(only_file(path), "a") as file:
        change(file, what)
    with pytest.raises(ValueError, match=f"000000.h5.*{words}"):
        FeatureStore(path)


def test_datasets_that_are_no_feature_maps(path):
    with FeatureStoreWriter(path, "net") as writer:
        add(writer, "a")
    (path / "secret").write_bytes(bytes(100))
    with h5py.File(only_file(path), "a") as file:
        file.create_group("group")
        file["flat"] = np.zeros(3, np.float16)
        file["wide"] = np.zeros((1, 1, 1, 6), np.float16)
        file["no steps"] = np.zeros((0, 1, 1, 5), np.float16)
        file["double"] = np.zeros((1, 1, 1, 5))
        file.create_dataset(
            "outside",
            (1, 1, 1, 5),
            np.float16,
            external=[(str(path / "secret"), 0, 10)],
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
