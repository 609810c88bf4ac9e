"""Files that are broken, huge or hostile, at every entry that reads one.

An entry may read a file, or raise an error of the kinds below that names it.
Nothing else: no other exception, crash or hang, no memory beyond a limit, no
code run, no other file read or written. The entries run in processes of their
own, many files to a process. `MUTATIONS=3000 pytest tests/test_bad_input.py`
tries more than the suite does.
"""

import io
import json
import os
import pickle
import re
import resource
import signal
import socket
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import annotations
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import video_duration
from actx_tf.export import read_metadata
from actx_tf.foreign_files import load_keras_model
from actx_tf.models import MobileNetV2Clip
from actx_tf.models import inception_i3d_weights
from actx_tf.models.state_dict import read_state_dict
from tests.harness import PROCESSES

av = pytest.importorskip("av")

MUTATIONS = int(os.environ.get("MUTATIONS", 30))  # of each format
SECONDS = 20  # for a file
BYTES = 2 * 2**30  # beyond what the process takes before
ERRORS = ("FileNotFoundError", "ValueError", "VideoError")
READ = "read"

SECRET = b"\x2a" * 4096  # in another file of the machine


# The entries.


def read_store(path):
    with FeatureStore(path) as store:
        for clip in store:
            assert SECRET[:64] not in store[clip].tobytes()
            store.attributes(clip)
        store.check()


def add_to_store(path):
    before = path.read_bytes()
    try:
        with FeatureStoreWriter(path, "net") as writer:
            add(writer, "new")
    except ValueError:
        assert path.read_bytes() == before
        raise


def read_video(path):
    video_duration(path)
    read_clip(path)
    read_clip(path, num_frames=3, size=32)
    if not path.name.startswith("image"):
        read_clip(path, frame_rate=5.0, size=32, start=0.3, end=0.9)


def read_arrays(path):
    for array in read_state_dict(path).values():
        assert SECRET[:64] not in array.tobytes()


def read_weights_of_mobilenet(path):
    MobileNetV2Clip(weights=path, input_shape=(None, 32, 32, 3))


def read_checkpoint(path):
    inception_i3d_weights.read(path.with_suffix(""), "rgb")


def read_metadata_of(path):
    (path.parent / "assets").mkdir(exist_ok=True)
    target = path.parent / "assets" / "actx_tf.json"
    target.unlink(missing_ok=True)
    os.link(path, target)
    read_metadata(path.parent)


def read_hacs(path):
    folder = path.parent / "HACS_v1.1.1"
    folder.mkdir(exist_ok=True)
    target = folder / f"HACS_{path.stem}_v1.1.1{path.suffix}"
    target.unlink(missing_ok=True)
    os.link(path, target)
    annotations.read_hacs(path.parent, part=path.stem)


ENTRIES = {
    "index.csv": read_clip_index,
    "store.h5": read_store,
    "added.h5": add_to_store,
    "clip.mp4": read_video,
    "clip.mkv": read_video,
    "clip.avi": read_video,
    "clip.ts": read_video,
    "image.png": read_video,
    "image.jpg": read_video,
    "state.npz": read_arrays,
    "state.pt": read_arrays,
    "state.h5": read_arrays,
    "mobilenet.npz": read_weights_of_mobilenet,
    "model.keras": load_keras_model,
    "i3d.ckpt.index": read_checkpoint,
    "settings.json": read_metadata_of,
    "clips.csv": read_hacs,
    "segments.json": read_hacs,
}


# Good files of each kind.


def add(writer, clip):
    features = np.random.default_rng(0).normal(size=(3, 2, 2, 5))
    writer.add(clip, features, "run", "train", 25.0, 8, 24)


def good_store(path):
    with FeatureStoreWriter(path, "net") as writer:
        for clip in ("a", "b"):
            add(writer, clip)


def good_video(path):
    codec, pixels = {
        ".mp4": ("libx264", "yuv420p"),
        ".mkv": ("libx264", "yuv420p"),
        ".avi": ("mpeg4", "yuv420p"),
        ".ts": ("mpeg2video", "yuv420p"),
        ".png": ("png", "rgb24"),
        ".jpg": ("mjpeg", "yuvj420p"),
    }[path.suffix]
    image = path.suffix in (".png", ".jpg")
    kind = {"format": "image2", "options": {"update": "1"}} if image else {}
    with av.open(str(path), "w", **kind) as container:
        stream = container.add_stream(codec, rate=20)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pixels
        rng = np.random.default_rng(0)
        for number in range(1 if image else 20):
            picture = rng.integers(0, 20, (48, 64, 3), "uint8")
            frame = av.VideoFrame.from_ndarray(picture + 5 * np.uint8(number))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def good_arrays(path):
    arrays = {"fc.weight": clips(4, 3), "fc.bias": clips(4)}
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression="gzip")
    else:
        torch = pytest.importorskip("torch")
        tensors = {name: torch.tensor(x) for name, x in arrays.items()}
        torch.save(tensors, path)


def clips(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def good_model(path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)


def good_checkpoint(path):
    import tensorflow as tf

    name = "RGB/inception_i3d/Conv3d_1a_7x7/conv_3d/w"
    tf.raw_ops.SaveV2(
        prefix=str(path.with_suffix("")),
        tensor_names=[name],
        shape_and_slices=[""],
        tensors=[clips(2, 2, 2, 3, 4)],
    )


def text(content):
    return lambda path: path.write_text(content, encoding="utf-8")


SETTINGS = {
    "actx_tf": "1",
    "class_names": ["a", "b"],
    "activation": "softmax",
    "channels": 8,
    "max_steps": 10,
    "backbone": None,
    "frames_per_step": None,
    "frame_size": None,
    "frame_rate": 16.0,
}
INDEX = "clip,file,label,split,conjugates,start,end,box\n" + "".join(
    f"c{k},v.mp4,run,train,{'c0' if k else ''},0.5,1.5,0 0 8 8\n"
    for k in range(5)
)
CLIPS = "classname,youtube_id,subset,start,end,label\n" + "".join(
    f"Archery,video{k},training,15.5,17.5,1\n" for k in range(5)
)
SEGMENTS = {
    "database": {
        "video": {
            "subset": "training",
            "annotations": [{"label": "Archery", "segment": [1.0, 2.5]}],
        }
    }
}
GOOD = {
    "index.csv": text(INDEX),
    "store.h5": good_store,
    "added.h5": good_store,
    "clip.mp4": good_video,
    "clip.mkv": good_video,
    "clip.avi": good_video,
    "clip.ts": good_video,
    "image.png": good_video,
    "image.jpg": good_video,
    "state.npz": good_arrays,
    "state.pt": good_arrays,
    "state.h5": good_arrays,
    "model.keras": good_model,
    "i3d.ckpt.index": good_checkpoint,
    "settings.json": text(json.dumps(SETTINGS)),
    "clips.csv": text(CLIPS),
    "segments.json": text(json.dumps(SEGMENTS)),
}


# What can happen.


def outcomes(entry, paths):
    """Returns what each file did to an entry: `READ`, an error, or an end."""
    results = []
    while len(results) < len(paths):
        receiver, sender = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(
            target=_run, args=(entry, paths[len(results) :], sender)
        )
        process.start()
        sender.close()
        try:
            while True:
                results.append(receiver.recv())
        except EOFError:
            process.join()
        if process.exitcode:
            name = signal.Signals(-process.exitcode).name
            results.append(f"killed by {name}")
    return dict(zip(paths, results, strict=True))


def _run(entry, paths, sender):
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)  # FFmpeg has much to say
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for path in paths:
        signal.alarm(SECONDS)
        try:
            ENTRIES[entry](path)
        except BaseException as error:
            kind = type(error).__name__
            sender.send(f"{kind}: {error}")
        else:
            sender.send(READ)


def assert_harmless(entry, paths):
    for path, outcome in outcomes(entry, paths).items():
        assert outcome == READ or outcome.startswith(ERRORS), (path, outcome)
        if outcome != READ:
            stem = path.name.split(".")[0]
            assert stem in outcome or "actx_tf.json" in outcome, outcome


@pytest.mark.parametrize("entry", GOOD)
def test_good_files_are_read(tmp_path, entry):
    GOOD[entry](tmp_path / entry)
    assert outcomes(entry, [tmp_path / entry]) == {tmp_path / entry: READ}


# Random damage.


def mutate(data, rng):
    """A copy of the bytes with damage of one of five kinds."""
    data = bytearray(data)
    place = int(rng.integers(len(data)))
    length = int(rng.integers(1, 1 + min(64, len(data))))
    kind = rng.integers(5)
    if kind == 0:  # bits are flipped
        for flipped in rng.integers(len(data), size=rng.integers(1, 20)):
            data[flipped] ^= 1 << rng.integers(8)
    elif kind == 1:  # a number is made extreme
        number = rng.choice([0, 1, 2**15, 2**31 - 1, 2**32 - 1, 2**24])
        data[place : place + 4] = struct.pack(rng.choice(["<I", ">I"]), number)
    elif kind == 2:  # the end is missing
        del data[place:]
    elif kind == 3:  # a part is missing
        del data[place : place + length]
    else:  # a part is there twice, elsewhere
        goal = int(rng.integers(len(data)))
        data[goal:goal] = data[place : place + length]
    return bytes(data)


@pytest.mark.parametrize("entry", GOOD)
def test_random_damage(tmp_path, entry):
    suffix = entry.partition(".")[2]
    good = tmp_path / entry
    GOOD[entry](good)
    data = good.read_bytes()
    rng = np.random.default_rng(0)
    paths = []
    for number in range(MUTATIONS):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / entry
        path.write_bytes(mutate(data, rng))
        if entry.startswith("i3d"):
            values = good.with_suffix(".data-00000-of-00001")
            os.link(values, path.with_suffix(values.suffix))
        paths.append(path)
    assert suffix and len(set(paths)) == MUTATIONS
    assert_harmless(entry, paths)


@pytest.mark.parametrize("entry", GOOD)
def test_truncated_at_every_tenth(tmp_path, entry):
    good = tmp_path / entry
    GOOD[entry](good)
    data = good.read_bytes()
    paths = []
    for tenth in range(10):
        folder = tmp_path / str(tenth)
        folder.mkdir()
        (folder / entry).write_bytes(data[: len(data) * tenth // 10])
        paths.append(folder / entry)
    assert_harmless(entry, paths)
