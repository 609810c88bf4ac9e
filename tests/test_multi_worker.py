"""Two workers on this machine, as they would be on two."""

import collections
import contextlib
import json
import os
import signal
import socket
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from actx_tf import training
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from tests.harness import PROCESSES
from tests.harness import assert_close
from tests.test_training import make_data
from tests.test_training import make_features
from tests.test_training import make_model

EPOCHS = 3
BATCH_SIZE = 6  # of 7 clips: in the second batch one worker has none


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "features"
    with FeatureStoreWriter(path, "net", "float32") as writer:
        for name, steps in make_features().items():
            writer.add(name, steps, "run", "train", 25.0, 4 * len(steps))
    return path


def train(strategy, store, checkpoint=None, callbacks=()):
    with strategy.scope():
        model = make_model()
    pairs, whole = make_data(FeatureStore(store), batch_size=BATCH_SIZE)
    history = training.fit(
        model,
        pairs,
        EPOCHS,
        validation_data=whole,
        callbacks=callbacks,
        checkpoint=checkpoint,
    )
    return model, history


class SendSignal(keras.callbacks.Callback):
    def __init__(self, epoch, number):
        super().__init__()
        self.epoch = epoch
        self.number = number

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            os.kill(os.getpid(), self.number)


def recording(names):
    """`FeatureStore.view` that adds to these what is read."""
    read = FeatureStore.view

    def recorded(self, clip, start=0, stop=None):
        names.append(clip)
        return read(self, clip, start, stop)

    return recorded


def work(index, ports, store, folder, lost):
    """A worker; leaves what it read, what it learned or how it failed."""
    workers = [f"localhost:{port}" for port in ports]
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": workers},
            "task": {"type": "worker", "index": index},
        }
    )
    read = []
    FeatureStore.view = recording(read)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    callbacks = [SendSignal(*lost[1:])] if lost and lost[0] == index else []
    left = folder / f"worker-{index}"
    try:
        model, history = train(
            strategy, store, folder / "checkpoint.npz", callbacks
        )
    except tf.errors.OpError as error:
        left.with_suffix(".txt").write_text(str(error))
        sys.exit(1)
    np.savez(
        left.with_suffix(".npz"),
        *[keras.ops.convert_to_numpy(v) for v in model.variables],
    )
    left.with_suffix(".json").write_text(
        json.dumps({"history": history, "read": read})
    )


def free_ports(count):
    """As many, each another."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def start_workers(store, folder, ports, lost=None):
    """Starts two, one of them perhaps lost: its number, the epoch, the signal.

    Returns their processes.
    """
    processes = [
        PROCESSES.Process(target=work, args=(index, ports, store, folder, lost))
        for index in range(2)
    ]
    for process in processes:
        process.start()
    return processes


def join_workers(processes, lost=None):
    """Returns their exit codes; the one that is lost is not waited for."""
    try:
        for index, process in enumerate(processes):
            if index != lost:
                process.join(120)
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [process.exitcode for process in processes]


@pytest.fixture(scope="module")
def alone(store):
    """What one process learns, and what it reads."""
    read = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureStore, "view", recording(read))
        model, history = train(tf.distribute.get_strategy(), store)
    return model, history, read


def assert_equals(folder, alone):
    """Each worker holds the model of one process, to 5 digits."""
    expected, history, read = alone
    of_all = collections.Counter()
    for index in range(2):
        left = folder / f"worker-{index}"
        logs = json.loads(left.with_suffix(".json").read_text())
        assert set(logs["history"]) == set(history)
        for name, values in history.items():
            np.testing.assert_allclose(
                logs["history"][name], values, rtol=1e-5, err_msg=name
            )
        with np.load(left.with_suffix(".npz")) as values:
            for variable, key in zip(
                expected.variables, values.files, strict=True
            ):
                assert_close(values[key], variable, tolerance=1e-5)
        of_all.update(logs["read"])
        assert 0 < len(logs["read"]) < len(read)
    return of_all


def test_two_workers_equal_one_process_and_read_nothing_twice(
    store, alone, tmp_path
):
    assert join_workers(start_workers(store, tmp_path, free_ports(2))) == [0, 0]
    read_by_all = assert_equals(tmp_path, alone)
    assert read_by_all == collections.Counter(alone[2])


def test_a_lost_worker_ends_the_others_and_all_go_on_from_the_checkpoint(
    store, alone, tmp_path
):
    ways = (signal.SIGKILL, signal.SIGSTOP)
    folders = [tmp_path / way.name for way in ways]
    ports = free_ports(4)
    lost = []
    for way, folder in zip(ways, folders, strict=True):
        folder.mkdir()
        own = [ports.pop(), ports.pop()]
        lost.append(start_workers(store, folder, own, lost=(1, 1, way)))
    for workers, folder in zip(lost, folders, strict=True):
        exit_codes = join_workers(workers, lost=1)
        ended = time.time()
        assert exit_codes == [1, -signal.SIGKILL]
        assert "worker" in (folder / "worker-0.txt").read_text()
        checkpoint = folder / "checkpoint.npz"
        assert ended - checkpoint.stat().st_mtime < 60
        with np.load(checkpoint) as file:
            assert json.loads(str(file["state"]))["epochs"] == 1
    # By whatever it was lost: what it left is the same.
    assert join_workers(start_workers(store, folder, free_ports(2))) == [0, 0]
    read_by_all = assert_equals(folder, alone)
    assert read_by_all < collections.Counter(alone[2])  # two of three epochs
