"""Features of InceptionI3D: where the time goes, PyTorch beside it, memory.

    python -m benchmarks.extraction
    taskset -c 0 python -m benchmarks.extraction --one_core  # on a busy machine

Networks: the same weights and frames in all, one clip of --seconds at 25 frames
a second as `actx extract` sees it: H.264 of 640 x 360 that is written for it.
"unfolded" is the backbone as it is, the others what `actx extract` runs in
float32 and bfloat16. PyTorch's network is the one of the tests. Medians of
--repeats runs that alternate, as the unfolded network's time / it.

Shares: what each part of the extraction of that clip takes alone. They overlap:
frames are read while the network runs. The last row is the extraction of
several such clips. FFmpeg's own decoding is PyAV's, without times and pixels.

Memory: `extract_features` on a video of each of --lengths frames, in windows
of --window frames, each in a process of its own; its peak is that of all the
process, TensorFlow included. Frames at a window's borders are computed twice.
"""

import argparse
import dataclasses
import functools
import itertools
import os
import pathlib
import tempfile
import time

import av
import numpy as np

from actx_tf.data.video_writing import write_video
from benchmarks.measuring import cpu_seconds
from benchmarks.measuring import in_new_process
from benchmarks.measuring import median_seconds
from benchmarks.measuring import peak_mebibytes
from benchmarks.measuring import print_head
from benchmarks.measuring import print_row

SIZE = 256  # the shorter side that I3D sees
CLIPS = 4  # of an extraction


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile, too"
    )
    parser.add_argument(
        "--one_core",
        action="store_true",
        help="one thread, and the processor's time in place of the clock's",
    )
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument(
        "--lengths", type=int, nargs="*", default=[250, 500, 1000, 2000]
    )
    parser.add_argument("--window", type=int, default=384)
    arguments = parser.parse_args()
    clock = time.perf_counter
    if arguments.one_core:
        clock = cpu_seconds
        os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        video = folder / "clip.mp4"
        write_blocks(video, round(25 * arguments.seconds), (90, 160))
        compare(folder, video, arguments, clock)
    if arguments.lengths:
        measure_memory(arguments.lengths, arguments.size, arguments.window)


def compare(folder, video, arguments, clock):
    import torch

    from actx_tf.backbones import InceptionI3D
    from actx_tf.data import Clip
    from actx_tf.data import seen_frames
    from tests.i3d_in_torch import InceptionI3d
    from tests.i3d_in_torch import randomize

    if arguments.one_core:
        torch.set_num_threads(1)
    port = randomize(InceptionI3d()).eval()
    torch.save(port.state_dict(), folder / "i3d.pt")
    backbone = InceptionI3D(
        False, folder / "i3d.pt", (None, None, None, 3), size=SIZE
    )
    clip = Clip("clip", str(video), "none", "train", end=arguments.seconds)
    seen = seen_frames(backbone.description, video, end=arguments.seconds)
    frames = np.stack(list(seen))

    networks = our_networks(backbone)
    runs = {name: lambda run=run: run(frames) for name, run in networks.items()}
    runs |= torch_networks(port, frames, arguments.compile)
    with torch.inference_mode():
        features = {name: run() for name, run in runs.items()}
        medians = median_seconds(runs, arguments.repeats, np.inf, clock=clock)
    count, height, width = frames.shape[:3]
    print(f"{count} frames of {width} x {height}\n")
    print_head("network", "speed", "cosine to the first")
    first = next(iter(runs))
    for name, median in medians.items():
        print_row(
            name,
            f"{medians[first] / median:.2f}",
            f"{cosine(features[first], features[name]):.5f}",
        )
    parts = parts_of(clip, backbone.description, features[first], folder)
    parts |= extractions_of(clip, backbone, folder)
    parts = median_seconds(parts, arguments.repeats, np.inf, clock=clock)
    print_shares(parts, medians)


def our_networks(backbone):
    import tensorflow as tf

    from actx_tf.data import FeatureExtractor

    unfolded = tf.function(
        lambda clip: backbone(clip, training=False),
        input_signature=[tf.TensorSpec((1, None, None, None, 3))],
    )
    networks = {
        "unfolded, float32": lambda frames: unfolded(
            frames[np.newaxis].astype("float32")
        )[0].numpy()
    }
    for dtype in ("float32", "bfloat16"):
        extractor = FeatureExtractor(backbone, compute_dtype=dtype)
        networks[f"folded, {dtype}"] = lambda frames, extractor=extractor: (
            extractor(frames, lambda: len(frames))[0]
        )
    return networks


def torch_networks(port, frames, compiled):
    import torch

    clip = torch.tensor(frames[np.newaxis].astype("float32") / 127.5 - 1)
    clip = clip.permute(0, 4, 1, 2, 3)
    last = clip.to(memory_format=torch.channels_last_3d)

    def run(network, clip, bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            features = network(clip)
        return features[0].float().permute(1, 2, 3, 0).numpy()

    networks = {"": port.features}
    if compiled:
        networks[", compiled"] = torch.compile(port.features)
    runs = {}
    for kind, network in networks.items():
        for layout, shaped in (
            ("", clip.contiguous()),
            (", channels last", last),
        ):
            for dtype in ("float32", "bfloat16"):
                runs[f"PyTorch, {dtype}{layout}{kind}"] = (
                    lambda network=network, shaped=shaped, dtype=dtype: run(
                        network, shaped, dtype == "bfloat16"
                    )
                )
    return runs


def parts_of(clip, description, features, folder):
    from actx_tf.data import ClipFrames
    from actx_tf.data import FeatureStoreWriter
    from actx_tf.data import seen_frames

    count = ClipFrames(clip.file, end=clip.end, frame_rate=25.0).count()

    def ffmpeg():
        with av.open(clip.file) as container:
            for number, _ in enumerate(container.decode(video=0), 1):
                if number == count:
                    return

    def frames(size):
        sampling = {**description.sampling, "size": size}
        for _ in ClipFrames(clip.file, **sampling, end=clip.end):
            pass

    def seen():
        for _ in seen_frames(description, clip.file, end=clip.end):
            pass

    writer = FeatureStoreWriter(folder / "written", description)
    numbers = itertools.count()

    def write():
        writer.add(str(next(numbers)), features, "none", "train", 25.0, count)

    return {
        "FFmpeg": ffmpeg,
        "frames": lambda: frames(None),
        "seen": seen,
        "write": write,
    }


def extractions_of(clip, backbone, folder):
    from actx_tf.data import FeatureExtractor
    from actx_tf.data import FeatureStoreWriter
    from actx_tf.data.extraction import store_clips

    def extract(extractor, writer, numbers):
        clips = [
            dataclasses.replace(clip, clip=str(next(numbers)))
            for _ in range(CLIPS)
        ]
        for _, message in store_clips(clips, extractor, writer):
            if message:
                raise RuntimeError(message)

    runs = {}
    for dtype in ("float32", "bfloat16"):
        extractor = FeatureExtractor(backbone, compute_dtype=dtype)
        writer = FeatureStoreWriter(
            folder / dtype, backbone.description, compute_dtype=dtype
        )
        numbers = itertools.count()
        runs[dtype] = functools.partial(extract, extractor, writer, numbers)
    return runs


def print_shares(parts, networks):
    rows = {
        "decode": parts["FFmpeg"],
        "times and pixels": parts["frames"] - parts["FFmpeg"],
        "resize": parts["seen"] - parts["frames"],
        "network": None,
        "write": parts["write"],
    }
    columns = {}
    for name in ("unfolded, float32", "folded, float32", "folded, bfloat16"):
        columns[name] = {**rows, "network": networks[name]}
    print()
    print_head("share of", *columns)
    totals = {name: sum(column.values()) for name, column in columns.items()}
    for row in rows:
        shares = (columns[name][row] / totals[name] for name in columns)
        print_row(row, *(f"{share:.3f}" for share in shares))
    today = totals["unfolded, float32"]
    print_row(
        "all, speed", *(f"{today / total:.2f}" for total in totals.values())
    )
    print_row(
        "extraction, speed",
        "",
        *(f"{CLIPS * today / parts[d]:.2f}" for d in ("float32", "bfloat16")),
    )


def cosine(a, b):
    a, b = a.ravel().astype("float64"), b.ravel().astype("float64")
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def measure_memory(lengths, size, window):
    print(f"\n{'frames':>8}{'peak memory (MiB)':>20}{'seconds/frame':>16}")
    for length in lengths:
        peak, seconds = in_new_process(extract, length, size, window)
        print(f"{length:8}{peak:20.0f}{seconds / length:16.3f}", flush=True)


def extract(length, size, window):
    """Returns the peak memory of this process and the time it took."""
    from actx_tf.backbones import InceptionI3D
    from actx_tf.data import Clip
    from actx_tf.data import extract_features

    backbone = InceptionI3D(False, None, (None, size, size, 3))
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "clip.mp4"
        write_blocks(file, length)
        begin = time.perf_counter()
        failed = extract_features(
            [Clip("clip", str(file), "none", "train")],
            backbone,
            pathlib.Path(folder) / "features",
            window=window,
            progress=False,
        )
        seconds = time.perf_counter() - begin
    if failed:
        raise RuntimeError(failed)
    return peak_mebibytes(), seconds


def write_blocks(file, length, blocks=(60, 80)):
    """Writes H.264 of blocks of 4 x 4 pixels that move to the right."""
    noise = np.random.default_rng(0).integers(0, 256, (*blocks, 3), "uint8")
    noise = noise.repeat(4, axis=0).repeat(4, axis=1)
    frames = (np.roll(noise, 2 * number, axis=1) for number in range(length))
    write_video(file, frames, 25, encoding={})


if __name__ == "__main__":
    main()
