"""Files that are broken, huge or hostile, at every entry that reads one.

An entry may read a file, or raise an error of the kinds below that names it.
Nothing else: no other exception, crash or hang, no memory beyond a limit, no
code run, no other file read or written. The entries run in processes of their
own, many files to a process. `MUTATIONS=3000 pytest tests/test_bad_input.py`
tries more than the suite does.
"""

import json
import os
import pickle
import re
import resource
import shutil
import signal
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from onnx import helper

from actx_tf.backbones import MobileNetV2Clip
from actx_tf.backbones import from_onnx
from actx_tf.backbones import inception_i3d_weights
from actx_tf.backbones.state_dict import read_state_dict
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import VideoError
from actx_tf.data import annotations
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import read_segments
from actx_tf.data import video_duration
from actx_tf.data import write_segments
from actx_tf.export import read_metadata
from actx_tf.models import load_model
from actx_tf.segments import Segment
from benchmarks.measuring import peak_mebibytes
from tests.described import describe
from tests.harness import PROCESSES
from tests.harness import run_example
from tests.onnx_network import write as write_onnx

av = pytest.importorskip("av")

MUTATIONS = int(os.environ.get("MUTATIONS", 20))  # of each format
SECONDS = 60  # for a file
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
    [file] = alone(path)
    before = file.read_bytes()
    try:
        with FeatureStoreWriter(file.parent, NET) as writer:
            add(writer, "new")
    finally:
        assert file.read_bytes() == before


def save_the_killed_writer_s_clips(path):
    journal, _ = alone(path, killed(path))
    with FeatureStoreWriter(journal.parent, NET):
        pass
    with FeatureStore(journal.parent) as store:
        assert SECRET[:64] not in b"".join(x.tobytes() for x in store.values())
        store.check()


def alone(*paths):
    """Moves files into a folder of their own: all in it is of a store."""
    folder = paths[0].with_name(f"store of {paths[0].name}")
    folder.mkdir()
    return [path.rename(folder / path.name) for path in paths]


def killed(path):
    """The file beside a journal, and the journal beside that file."""
    suffix = ".journal" if path.suffix == ".writing" else ".h5.writing"
    return path.with_name(f"killed{suffix}")


def read_video(path):
    video_duration(path)
    read_clip(path)
    read_clip(path, num_frames=3, size=160)
    if not path.name.startswith("image"):
        read_clip(path, frame_rate=5.0, size=32, start=0.3, end=0.9)


def read_arrays(path):
    for array in read_state_dict(path).values():
        assert SECRET[:64] not in array.tobytes()


def read_weights_of_mobilenet(path):
    MobileNetV2Clip(weights=path, input_shape=(None, 32, 32, 3))


def read_onnx(path):
    from_onnx(path, layout="channels_first")


def read_checkpoint(path):
    inception_i3d_weights.read(path.with_suffix(""), "rgb")


def read_metadata_of(path):
    (path.parent / "assets").mkdir(exist_ok=True)
    target = path.parent / "assets" / "actx_tf.json"
    target.unlink(missing_ok=True)
    target.symlink_to(path)
    read_metadata(path.parent)


def read_hacs(path):
    folder = path.parent / "HACS_v1.1.1"
    folder.mkdir(exist_ok=True)
    target = folder / f"HACS_{path.stem}_v1.1.1{path.suffix}"
    target.unlink(missing_ok=True)
    target.symlink_to(path)
    annotations.read_hacs(path.parent, part=path.stem)


def read_activitynet(path):
    annotations.read_activitynet(path.parent, path.name).clips("background")


ENTRIES = {
    "index.csv": read_clip_index,
    "store.h5": read_store,
    "added.h5": add_to_store,
    "killed.journal": save_the_killed_writer_s_clips,
    "killed.h5.writing": save_the_killed_writer_s_clips,
    "clip.mp4": read_video,
    "clip.mkv": read_video,
    "clip.avi": read_video,
    "clip.ts": read_video,
    "clip.m3u8": read_video,
    "image.png": read_video,
    "image.jpg": read_video,
    "state.npz": read_arrays,
    "state.pt": read_arrays,
    "state.h5": read_arrays,
    "mobilenet.npz": read_weights_of_mobilenet,
    "model.keras": load_model,
    "network.onnx": read_onnx,
    "i3d.ckpt.index": read_checkpoint,
    "settings.json": read_metadata_of,
    "clips.csv": read_hacs,
    "segments.json": read_hacs,
    "activitynet.json": read_activitynet,
    "found.csv": read_segments,
    "found.json": read_segments,
    "found.coco.json": read_segments,
}


# Good files of each kind.


def add(writer, clip):
    features = np.random.default_rng(0).normal(size=(3, 2, 2, 5))
    writer.add(clip, features, "run", "train", 25.0, 24)


NET = describe("net", 5, frame_rate=25.0)


def good_store(path):
    folder = path.with_suffix("")
    with FeatureStoreWriter(folder, NET) as writer:
        for clip in ("a", "b"):
            add(writer, clip)
    [file] = folder.iterdir()
    file.rename(path)
    folder.rmdir()


def good_draft(path):
    folder = path.with_name("written")
    with FeatureStoreWriter(folder, NET) as writer:
        for clip in ("a", "b"):
            add(writer, clip)
        for file in folder.glob("000000.*"):
            shutil.copy(file, path.with_name(f"killed.{file.name[7:]}"))
    shutil.rmtree(folder)


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
    "background": [],
    "channels": 8,
    "max_steps": 10,
    "crop_steps": 4,
    "memory": 4.0,
    "signatures": ["serving_default", "video", "describe"],
    "backbone": describe(frame_rate=16.0, size=(64, 64)).to_dict(),
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


FOUND = {"video": [Segment(1.0, 2.5, "Archery", 0.75)], "still": []}


def good_segments(path):
    write_segments(path, FOUND)


def good_onnx(path):
    kernel = np.random.default_rng(0).normal(size=(2, 3, 2, 4, 4))
    write_onnx(
        path,
        [helper.make_node("Conv", ["x", "w"], ["y"], strides=(2, 4, 4))],
        ("n", 3, "t", "h", "w"),
        ("n", 2, "s", "r", "c"),
        [("w", kernel.astype("float32"))],
    )


GOOD = {
    "index.csv": text(INDEX),
    "store.h5": good_store,
    "added.h5": good_store,
    "killed.journal": good_draft,
    "killed.h5.writing": good_draft,
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
    "network.onnx": good_onnx,
    "i3d.ckpt.index": good_checkpoint,
    "settings.json": text(json.dumps(SETTINGS)),
    "clips.csv": text(CLIPS),
    "segments.json": text(json.dumps(SEGMENTS)),
    "activitynet.json": text(json.dumps(SEGMENTS)),
    "found.csv": good_segments,
    "found.json": good_segments,
    "found.coco.json": good_segments,
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


# Damage, and what is no file at all.


def link_to_itself(path):
    path.symlink_to(path)


NO_FILES = {
    "missing": lambda path: None,
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link to itself": link_to_itself,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


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
def test_damage(tmp_path, entry):
    """Good, cut at every tenth, damaged at random, and no file at all."""
    good = tmp_path / entry
    GOOD[entry](good)
    data = good.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [data[: len(data) * tenth // 10] for tenth in range(10)]
    damaged += [mutate(data, rng) for _ in range(MUTATIONS)]
    paths = []
    for number, content in enumerate(damaged):
        path = tmp_path / str(number) / entry
        path.parent.mkdir()
        path.write_bytes(content)
        if entry.startswith("i3d"):
            values = good.with_suffix(".data-00000-of-00001")
            os.link(values, path.with_suffix(values.suffix))
        elif entry.startswith("killed"):
            shutil.copy(killed(good), killed(path))
        paths.append(path)
    none = []
    for number, make in enumerate(NO_FILES.values()):
        none.append(tmp_path / f"none{number}" / entry)
        none[-1].parent.mkdir()
        make(none[-1])
        if entry.startswith("killed"):
            shutil.copy(killed(good), killed(none[-1]))
    if entry == "added.h5":  # a store that is missing is made
        none.clear()
    found = outcomes(entry, [good, *paths, *none])
    assert found.pop(good) == READ
    for path in none:
        outcome = found.pop(path)
        assert outcome.startswith((*ERRORS, "IsADirectoryError")), outcome
    for path, outcome in found.items():
        assert outcome == READ or outcome.startswith(ERRORS), (path, outcome)
        if outcome != READ:
            stem = path.name.split(".")[0]
            assert stem in outcome or "actx_tf.json" in outcome, outcome


# Hostile files. Each: the entry, what makes the file, and what the error says.


def hdf5(change, good=good_store):
    """Makes a good file and changes it."""

    def make(path):
        good(path)
        with h5py.File(path, "a") as file:
            change(file, path)

    return make


def link_out(file, path):
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["x"] = np.zeros((1, 1, 1, 5), "float16")
    file["bad"] = h5py.ExternalLink("other.h5", "x")


def store_outside(dtype, shape):
    def change(file, path):
        secret = path.with_name("secret")
        secret.write_bytes(SECRET)
        # An absolute name, and one that leaves the folder.
        for name in (str(secret), f"../{path.parent.name}/secret"):
            file.create_dataset(
                f"bad {name[:2]}".replace("/", ""),
                shape,
                dtype,
                external=[(name, 0, h5py.h5f.UNLIMITED)],
            )

    return change


def map_outside(file, path):
    layout = h5py.VirtualLayout((1, 1, 1, 5), "float16")
    layout[:] = h5py.VirtualSource("other.h5", "a", (1, 1, 1, 5))
    file.create_virtual_dataset("bad", layout)


def create(*args, **kwargs):
    def change(file, path):
        file.create_dataset("bad", *args, **kwargs)

    return change


TERABYTES = (10**6, 1000, 1000, 5)


def fill_a_chunk(file, path):
    """A map of one step that lies in a chunk of 100 MB, all zeros."""
    dataset = file.create_dataset(
        "bad",
        (1, 1, 1, 5),
        "float16",
        maxshape=(None, None, None, 5),
        chunks=(1, 1000, 10_000, 5),
        compression="gzip",
    )
    packed = zlib.compress(bytes(10**8), 1)
    dataset.id.write_direct_chunk((0, 0, 0, 0), packed)


def set_header(name, value):
    def change(file, path):
        file.attrs[name] = value

    return change


def set_attribute(name, value):
    def change(file, path):
        file["a"].attrs[name] = value

    return change


def link_in(file, path):
    file["bad"] = h5py.SoftLink("/a")


def refer(file, path):
    file["a"].attrs["label"] = file["b"].ref


NPY = b"\x93NUMPY\x01\x00"


def npz(**entries):
    """An archive of these bytes, or of repeated ones: (bytes, count)."""

    def make(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries.items():
                with archive.open(name, "w", force_zip64=True) as file:
                    if isinstance(content, tuple):
                        content, count = content
                        for _ in range(count):
                            file.write(content)
                    else:
                        file.write(content)

    return make


def npy_header(shape, dtype="<f4"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}"
    header = header.ljust(117) + "\n"
    return NPY + struct.pack("<H", len(header)) + header.encode()


class Payload:
    """Pickled, it is a command to make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled_npz(path):
    payload = np.array([Payload(path.with_name("run"))], object)
    np.savez(path, weights=payload)


def pickled_torch(path):
    path.write_bytes(pickle.dumps({"a": Payload(path.with_name("run"))}))


def pickled_torch_archive(path):
    payload = pickle.dumps({"a": Payload(path.with_name("run"))})
    npz(**{"a/data.pkl": payload, "a/version": b"3\n"})(path)


def keras_file(change=None, **entries):
    """A good model with another configuration, or with more entries."""

    def make(path):
        good_model(path)
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        if change is not None:
            config = json.loads(content["config.json"])
            change(config["config"]["layers"], path)
            content["config.json"] = json.dumps(config).encode()
        npz(**content, **entries)(path)

    return make


def add_lambda(layers, path):
    code = keras.layers.Lambda(lambda x: x)
    layers.append(keras.saving.serialize_keras_object(code))


def add_class(module, name, **config):
    def change(layers, path):
        layers.append(
            {
                "module": module,
                "class_name": name,
                "config": {
                    key: value.format(path.with_name("run"))
                    for key, value in config.items()
                },
                "registered_name": None,
            }
        )

    return change


def playlist(lines):
    """Names a video beside it, which is there."""

    def make(path):
        video = path.with_name("other.ts")
        good_video(video)
        path.write_text(lines.format(video=video, name=video.name))

    return make


HLS = (
    "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n"
    "{video}\n#EXT-X-ENDLIST\n"
)


def png(width, height):
    """A black image."""

    def chunk(kind, data):
        data = kind + data
        length = struct.pack(">I", len(data) - 4)
        return length + data + struct.pack(">I", zlib.crc32(data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + 3 * width) * height), 1)
    return lambda path: path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def small_video(size=(48, 64), times=(0, 1, 2)):
    """A lossless video with frames at these seconds."""

    def make(path):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=1)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            for time in times:
                picture = np.zeros((*size, 3), "uint8")
                frame = av.VideoFrame.from_ndarray(picture)
                frame.pts = time
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    return make


def sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), "float32"), format="fltp", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def sparse(path):
    """Four terabytes of zeros that take no room."""
    with open(path, "wb") as file:
        file.truncate(2**42)


HEADER = "clip,file,label,split,conjugates"


def million_columns(template):
    def make(path):
        columns = ",".join(map(str, range(10**6)))
        path.write_text(template.format(columns), encoding="utf-8")

    return make


def long_field(path):
    text(f"{HEADER}\na,{'v' * 10**8},run,train,\n")(path)


NOT_PLAIN = "not an array of numbers in the file"
HOSTILE = {
    "external link": ("store.h5", hdf5(link_out), "'bad' is a link"),
    "soft link": ("store.h5", hdf5(link_in), "'bad' is a link"),
    "external storage": (
        "store.h5",
        hdf5(store_outside("float16", (2, 2, 2, 5))),
        NOT_PLAIN,
    ),
    "virtual data set": ("store.h5", hdf5(map_outside), NOT_PLAIN),
    "compound type": (
        "store.h5",
        hdf5(create((1, 1, 1, 5), [("x", "f2"), ("y", "f4")])),
        NOT_PLAIN,
    ),
    "object references": (
        "store.h5",
        hdf5(create((1, 1, 1, 5), h5py.ref_dtype)),
        NOT_PLAIN,
    ),
    "region references": (
        "store.h5",
        hdf5(create((1, 1, 1, 5), h5py.regionref_dtype)),
        NOT_PLAIN,
    ),
    "strings": (
        "store.h5",
        hdf5(create((1, 1, 1, 5), h5py.string_dtype())),
        NOT_PLAIN,
    ),
    "nothing": ("store.h5", hdf5(create(dtype="float16")), "'bad'"),
    "terabytes": (
        "store.h5",
        hdf5(create(TERABYTES, "float16", chunks=(1, 1000, 1000, 5))),
        "'bad' claims 10000000000000 bytes, of which the file holds 0",
    ),
    "terabytes, deflated": (
        "store.h5",
        hdf5(create(TERABYTES, "float16", compression="gzip")),
        "'bad' claims",
    ),
    "huge chunk": ("store.h5", hdf5(fill_a_chunk), "'bad' claims"),
    "format of two": (
        "store.h5",
        hdf5(set_header("format", ["actx_tf features"] * 2)),
        "not a feature store",
    ),
    "version of two": (
        "store.h5",
        hdf5(set_header("version", [2, 2])),
        "format version",
    ),
    "channels of text": (
        "store.h5",
        hdf5(set_header("channels", "5")),
        "bad header.*channels",
    ),
    "description of text": (
        "store.h5",
        hdf5(set_header("made_by", "{net}")),
        "bad header.*Expecting property name",
    ),
    "description of brackets": (
        "store.h5",
        hdf5(set_header("made_by", "[" * 60_000)),
        "bad header.*recursion",
    ),
    "description of another kind": (
        "store.h5",
        hdf5(set_header("made_by", '{"name": "net"}')),
        "bad header.*must have the fields",
    ),
    "dtype of objects": (
        "store.h5",
        hdf5(set_header("dtype", "O")),
        "bad header.*dtype",
    ),
    "label of numbers": (
        "store.h5",
        hdf5(set_attribute("label", np.arange(5))),
        "'a'.*label",
    ),
    "label of nothing": (
        "store.h5",
        hdf5(set_attribute("label", h5py.Empty("S1"))),
        "'a'.*label",
    ),
    "label by reference": ("store.h5", hdf5(refer), "'a'.*label"),
    "weights, external storage": (
        "state.h5",
        hdf5(store_outside("float32", (8, 8)), good_arrays),
        NOT_PLAIN,
    ),
    "weights, external link": (
        "state.h5",
        hdf5(link_out, good_arrays),
        "'bad' is a link",
    ),
    "weights, terabytes": (
        "state.h5",
        hdf5(create(TERABYTES, "float32", chunks=True), good_arrays),
        "'bad' claims",
    ),
    "npz, pickle": ("state.npz", pickled_npz, "allow_pickle"),
    "npz, pickle for MobileNet": (
        "mobilenet.npz",
        pickled_npz,
        "allow_pickle",
    ),
    "npz, terabytes": (
        "state.npz",
        npz(**{"a.npy": npy_header((10**6, 10**6))}),
        "claims the shape",
    ),
    "npz, zeros": (
        "state.npz",
        npz(**{"a.npy": (bytes(10**7), 10)}),
        "claims 100000[0-9]{3} bytes",
    ),
    "npz, long header": (
        "state.npz",
        npz(**{"a.npy": NPY + b"\xff\xff" + b"(" * 65535}),
        "npz",
    ),
    "torch, pickle": ("state.pt", pickled_torch, "not a state dictionary"),
    "torch, pickle in an archive": (
        "state.pt",
        pickled_torch_archive,
        "not a state dictionary",
    ),
    "Lambda": ("model.keras", keras_file(add_lambda), "Lambda"),
    "os.system": (
        "model.keras",
        keras_file(add_class("os", "system", command="touch {}")),
        "not a safe one",
    ),
    "subprocess.Popen": (
        "model.keras",
        keras_file(add_class("subprocess", "Popen", args="touch {}")),
        "not a safe one",
    ),
    "keras.utils.get_file": (
        "model.keras",
        keras_file(add_class("keras.utils", "get_file", origin="file://{}")),
        "not a safe one",
    ),
    "entry that leaves": (
        "model.keras",
        keras_file(**{"../../run": b""}),
        "leaves the archive",
    ),
    "entry with an absolute name": (
        "model.keras",
        keras_file(**{"/tmp/run": b""}),
        "leaves the archive",
    ),
    "giant entry": (
        "model.keras",
        keras_file(**{"assets/a": (bytes(10**7), 10)}),
        "claims 10",
    ),
    "HLS of files": ("clip.m3u8", playlist(HLS), "clip.m3u8"),
    "HLS named mp4": ("clip.mp4", playlist(HLS), "clip.mp4"),
    "HLS named ts": ("clip.ts", playlist(HLS), "clip.ts"),
    "list of files": (
        "clip.mp4",
        playlist("ffconcat version 1.0\nfile {name}\n"),
        "clip.mp4",
    ),
    "text": ("clip.mp4", text("no video " * 100), "Invalid data"),
    "sound": ("clip.mp4", sound, "no video stream"),
    "no frames": ("clip.mkv", small_video(times=()), "clip.mkv"),
    "one pixel": ("clip.mkv", small_video((2, 2)), None),
    "line of pixels": (
        "clip.mkv",
        small_video((2, 16_000)),
        "would be resized to",
    ),
    "still of a year": (
        "clip.mkv",
        small_video(times=(0, 1, 31_536_000)),
        "on display for 31535999 seconds",
    ),
    "image of 140 megapixels": ("image.png", png(14_000, 10_000), "image.png"),
    "million columns": (
        "index.csv",
        million_columns("{0}\n"),
        "Missing: 'clip'",
    ),
    "million columns, twice": (
        "index.csv",
        million_columns(HEADER + ",{0},{0}\n"),
        "column named more than once",
    ),
    "field of 100 MB": (
        "index.csv",
        long_field,
        "index.csv:2: field larger",
    ),
    "quotes not closed": (
        "index.csv",
        text(f'{HEADER}\na,"v.mp4,run,train,\n' * 1000),
        "index.csv:2",
    ),
    "NUL": ("index.csv", text(f"{HEADER}\na,v\0,run,train,\n"), ":2:.*NUL"),
    "UTF-16": (
        "index.csv",
        lambda path: path.write_text(INDEX, encoding="utf-16"),
        "index.csv:1: not UTF-8",
    ),
    "name that leaves": (
        "index.csv",
        text(f"{HEADER}\n../../a,v.mp4,run,train,\n"),
        "plain name",
    ),
    "terabytes of zeros": ("index.csv", sparse, "1073741824 bytes"),
    "settings, a list": ("settings.json", text("[1]"), "`actx_tf` is missing"),
    "settings, deep": ("settings.json", text("[" * 10**5), "not JSON"),
    "settings, wrong kind": (
        "settings.json",
        text(json.dumps({**SETTINGS, "class_names": 3})),
        "`class_names`",
    ),
    "annotations, deep": (
        "segments.json",
        text('{"database":' + "[" * 10**5),
        "brackets",
    ),
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Returns, by the names of the cases, the file and what happened."""
    paths = {}
    for name, (entry, make, _) in HOSTILE.items():
        paths[name] = tmp_path_factory.mktemp("hostile") / entry
        make(paths[name])
    found = {}
    for entry in {entry for entry, _, _ in HOSTILE.values()}:
        chosen = [path for path in paths.values() if path.name == entry]
        found |= outcomes(entry, chosen)
    return {name: (path, found[path]) for name, path in paths.items()}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(hostile, name):
    path, outcome = hostile[name]
    words = HOSTILE[name][2]
    if words is None:
        assert outcome == READ
    else:
        assert outcome.startswith(ERRORS), outcome
        assert re.search(words, outcome), outcome
        assert "secret" not in outcome.replace(str(path), "")
    assert not path.with_name("run").exists()  # no code of a file was run


# What FFmpeg takes for something else than a file's name.

NAMES = ("pipe:0", "file:a1.jpg", "concat:a1.jpg|a2.jpg", "a%d.jpg", "-")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_videos_are_names_of_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for other in ("a1.jpg", "a2.jpg"):
        good_video(Path(other))
    with pytest.raises(VideoError, match="no such file"):
        read_clip(name)
    Path("a1.jpg").rename(name)
    frames, _ = read_clip(name)
    assert frames.shape == (1, 48, 64, 3)


def test_a_clip_that_begins_after_the_end_of_time(tmp_path):
    good_video(tmp_path / "clip.mp4")
    for start in (1e9, 1e15, 1e30, 1e300):
        with pytest.raises(VideoError, match="clip.mp4.*the video ends at"):
            read_clip(tmp_path / "clip.mp4", start=start)


def test_the_packets_of_a_long_video_are_not_held(tmp_path):
    path = tmp_path / "clip.mkv"
    noise = np.random.default_rng(0).integers(0, 256, (128, 192, 3), "uint8")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 128, 192, "bgr0"
        for _ in range(1000):
            frame = av.VideoFrame.from_ndarray(noise)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_memory_of_duration, args=(path, sender))
    process.start()
    seconds, taken = receiver.recv()
    process.join()
    assert seconds == pytest.approx(40.0)
    size = path.stat().st_size
    assert size > 30e6 and taken < size / 3


def _memory_of_duration(path, sender):
    before = peak_mebibytes()
    seconds = video_duration(path)
    sender.send((seconds, 2**20 * (peak_mebibytes() - before)))


# Flags that no run can honour.


@pytest.mark.parametrize(
    "flag", ["--zooms=nan", "--zooms=0", "--person_score=2"]
)
def test_flags_out_of_range(tmp_path, flag):
    names = ("features", "index", "model", "masks", "boxes")
    needed = [f"--{name}={tmp_path / name}" for name in names]
    result = run_example("extract_pose_masks.py", flag, *needed, cwd=tmp_path)
    name = flag[2:].partition("=")[0]
    said = result.stdout + result.stderr
    assert result.returncode and name in said, said
    assert "Traceback" not in result.stderr, result.stderr
    assert not list(tmp_path.iterdir())
