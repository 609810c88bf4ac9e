"""Work that is killed at random moments and begun again.

The environment variable KILLS says how often each kind of work is killed.
"""

import contextlib
import json
import os
import random
import shutil
import time

import keras
import numpy as np
import tensorflow as tf

from actx_tf import export
from actx_tf import training
from actx_tf.cli.main import main
from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import store_similarities
from actx_tf.models import ACF
from tests.described import describe
from tests.harness import PROCESSES
from tests.harness import ROOT
from tests.harness import clips as random_maps
from tests.harness import run_actx
from tests.harness import run_command
from tests.test_examples import make_store
from tests.test_extraction import extract
from tests.test_extraction import write_video
from tests.test_training import make_data
from tests.test_training import make_model

KILLS = int(os.environ.get("KILLS", "0"))


def kill_at_random(target, args, kills, has_begun, longest, after=None):
    """Runs a process and kills it, until it was killed so often.

    It is killed up to `longest` seconds after `has_begun()`; where it ends
    before, it was not. `after()` is called behind each end.
    """
    moments = random.Random(0)
    killed = 0
    while killed < (KILLS or kills):
        process = PROCESSES.Process(target=target, args=args)
        process.start()
        while process.is_alive() and not has_begun():
            time.sleep(0.01)
        process.join(moments.uniform(0.0, longest))
        process.kill()
        process.join()
        assert process.exitcode in (0, -9)
        killed += process.exitcode != 0
        if after is not None:
            after()


def test_extraction(tmp_path):
    file = str(tmp_path / "long.mp4")
    write_video(file, num_frames=24, rate=12)
    starts = np.arange(50) / 50
    clips = [
        Clip(f"clip {start}", file, "run", "train", start=start, end=1 + start)
        for start in starts.tolist()
    ]
    expected = tmp_path / "expected"
    extract(clips, expected)
    kill_a_writer(extract, (clips,), tmp_path / "f", expected, kills=6)


def test_precomputation(tmp_path):
    names = list(map(str, range(30)))
    with FeatureStoreWriter(tmp_path / "f", describe(channels=4)) as writer:
        for i, name in enumerate(names):
            features = random_maps(2, 2, 2, 4, seed=i)
            writer.add(name, features, "run", "train", 16.0, 8)
    clips = [
        Clip(name, "", "run", "train", (other,))
        for name, other in zip(names, names[::-1], strict=True)
    ]
    expected = tmp_path / "expected"
    precompute(clips, tmp_path / "f", expected)
    kill_a_writer(
        precompute,
        (clips, tmp_path / "f"),
        tmp_path / "s",
        expected,
        kills=4,
    )


def precompute(clips, features, path):
    with FeatureStore(features) as store:
        store_similarities(clips, store, path, progress=False)


def kill_a_writer(write, args, path, expected, kills):
    """Of a store; what it wrote is then what it would have in one go."""
    lock = path / "lock"
    finished = set()  # how many clips were, at each kill
    numbers = random.Random(0)
    wanted = 0  # that a process is to finish before it is killed

    def journaled():
        lines = [
            len(journal.read_bytes().splitlines())
            for journal in path.glob("*.journal")
        ]
        return sum(lines) - len(lines)

    def has_begun():
        with contextlib.suppress(FileNotFoundError):  # finished meanwhile
            return lock.exists() and journaled() >= wanted
        return True

    def note():
        nonlocal wanted
        wanted = numbers.randrange(6)
        count = journaled()
        if list(path.glob("*.h5")):
            with FeatureStore(path) as store:  # whole, whenever it is read
                count += len(store)
        finished.add(count)
        if path.exists() and not lock.exists():
            # Finished before the kill: again from the start.
            assert_same_store(path, expected)
            shutil.rmtree(path)
        lock.unlink(missing_ok=True)  # a killed one's; tells the next's begin

    kill_at_random(write, (*args, path), kills, has_begun, 0.05, note)
    assert len(finished) > kills / 4  # at moments that differ
    write(*args, path)
    assert_same_store(path, expected)
    assert all(file.suffix == ".h5" for file in path.iterdir())


def assert_same_store(path, expected_path):
    with FeatureStore(path) as store, FeatureStore(expected_path) as expected:
        assert sorted(store) == sorted(expected)
        for clip in expected:
            np.testing.assert_array_equal(store[clip], expected[clip])
            assert store.attributes(clip) == expected.attributes(clip)


EPOCHS = 30


class Touch(keras.callbacks.Callback):
    """Tells that a checkpoint is to be lost by now."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        if epoch > 0:
            self.path.touch()


def train(folder):
    model = make_model()
    pairs, _ = make_data()
    history = training.fit(
        model,
        pairs,
        EPOCHS,
        callbacks=[Touch(folder / "begun")],
        checkpoint=folder / "checkpoint.npz",
    )
    np.savez(
        folder / "end.npz",
        *map(keras.ops.convert_to_numpy, model.variables),
        *map(keras.ops.convert_to_numpy, model.optimizer.variables),
        history=json.dumps(history),
    )


def test_training(tmp_path):
    expected, folder = (tmp_path / name for name in ("expected", "killed"))
    expected.mkdir()
    folder.mkdir()
    train_in_one_go = PROCESSES.Process(target=train, args=(expected,))
    train_in_one_go.start()
    begun, checkpoint = folder / "begun", folder / "checkpoint.npz"
    epochs = []  # that were safe, at each kill

    def note():
        begun.unlink(missing_ok=True)
        if not checkpoint.exists():
            return
        with np.load(checkpoint) as file:  # whole, whenever it is read
            epochs.append(json.loads(str(file["state"]))["epochs"])
        if epochs[-1] == EPOCHS:  # again from the start
            checkpoint.unlink()

    kill_at_random(train, (folder,), 2, begun.exists, 0.5, note)
    assert epochs
    train_in_one_go.join()
    # In a process of its own too: what ran before here could round otherwise.
    last = PROCESSES.Process(target=train, args=(folder,))
    last.start()
    last.join()
    with (
        np.load(folder / "end.npz") as end,
        np.load(expected / "end.npz") as expected_end,
    ):
        assert end.files == expected_end.files
        for name in end.files:
            np.testing.assert_array_equal(end[name], expected_end[name])


def make_built():
    """A model with few signatures."""
    model = ACF(3, units=4)
    model.build((None, None, None, None, 4))
    return model


def export_again_and_again(folder):
    model = make_built()
    (folder / "begun").touch()
    while True:
        export.export_saved_model(model, folder / "models")


def test_export(tmp_path):
    begun, models = tmp_path / "begun", tmp_path / "models"
    models.mkdir()
    seen = set()

    def note():
        begun.unlink(missing_ok=True)
        versions = [p for p in models.iterdir() if p.name.isdecimal()]
        for version in set(versions) - seen:
            # Loads the variables too, and compares their checksums.
            answers = tf.saved_model.load(str(version))
            clips = tf.constant(random_maps(1, 3, 2, 3, 4))
            scores = answers.signatures["unpadded"](features=clips)["scores"]
            np.testing.assert_allclose(np.sum(scores), 1.0, rtol=1e-5)
        seen.update(versions)

    kill_at_random(
        export_again_and_again, (tmp_path,), 2, begun.exists, 2.0, note
    )
    numbers = sorted(int(version.name) for version in seen)
    assert numbers == list(range(1, len(numbers) + 1))
    path = export.export_saved_model(make_built(), models)
    assert path.name == str(len(numbers) + 1)


def flags_of(folder):
    """Of `actx train` on a small store."""
    return [
        f"--features={folder.parent / 'store'}",
        f"--index={folder.parent / 'index.csv'}",
        "--background=b",
        "--epochs=4",
        "--seeds=1",
        "--batch_size=3",
        f"--output={folder}",
    ]


def command(folder):
    outputs = [folder.with_suffix(f".{name}") for name in ("out", "err")]
    run_command("actx", ["train", *flags_of(folder)], ROOT, outputs)


def test_train_actx(tmp_path, capsys):
    make_store(tmp_path)
    expected, folder = (tmp_path / name for name in ("expected", "killed"))
    in_one_go = PROCESSES.Process(target=command, args=(expected,))
    in_one_go.start()
    results = folder / "results.csv"
    rows = [b""]

    def note():
        rows.append(results.read_bytes() if results.exists() else b"")
        assert rows[-1].startswith(rows[-2])  # no run is lost
        if (folder / "actx.keras").exists():  # then it is whole
            keras.saving.load_model(folder / "actx.keras")
        if b"ActX" in rows[-1]:  # finished: again from the start
            shutil.rmtree(folder)
            rows.append(b"")

    def has_begun():
        return (folder / "settings.json").exists()

    kill_at_random(command, (folder,), 1, has_begun, 5.0, note)
    in_one_go.join()
    result = run_actx("train", *flags_of(folder))
    assert result.returncode == 0, result.stderr
    # What is printed first is the table.
    table = expected.with_suffix(".out").read_text().split("\n\n")[0]
    assert table == result.stdout.split("\n\n")[0]
    assert_same_outputs(folder, expected)

    # Nor is anything done that would mix runs of other settings.
    written = contents(folder)
    assert main(["train", *flags_of(folder), "--rho=20"]) == 1
    assert "rho=20.0 (then 30.0)" in capsys.readouterr().err
    assert contents(folder) == written


def contents(folder):
    """The bytes of each file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


def assert_same_outputs(folder, expected):
    """Equal but for what holds the time."""
    for name in (
        "results.csv",
        "history/ActX-0.csv",
        "history/max_pooling-0.csv",
    ):
        assert (folder / name).read_bytes() == (expected / name).read_bytes()
    model, other = (
        keras.saving.load_model(path / "actx.keras")
        for path in (folder, expected)
    )
    for weight, value in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(weight, value)
    names = [
        sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file())
        for path in (folder / "saved_model", expected / "saved_model")
    ]
    assert names[0] == names[1]
    assert not list((folder / "checkpoints").iterdir())
