"""Features of InceptionI3D: speed beside PyTorch, memory beside the length.

    python -m benchmarks.extraction

Speed: the same weights and the same frames in both, one clip of --frames
frames of --size x --size, all cores, medians of runs that alternate. PyTorch's
network is the one of the tests, in its fastest layout here.

Memory: `extract_features` on a video of each of --lengths frames, in windows
of --window frames, each in a process of its own; its peak is that of all the
process, TensorFlow included. Frames at a window's borders are computed twice.
"""

import argparse
import pathlib
import tempfile
import time

import av
import numpy as np

from benchmarks.measuring import in_new_process
from benchmarks.measuring import median_seconds
from benchmarks.measuring import peak_mebibytes


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--lengths", type=int, nargs="*", default=[250, 500, 1000, 2000]
    )
    parser.add_argument("--window", type=int, default=384)
    arguments = parser.parse_args()
    compare_speed(arguments.frames, arguments.size, arguments.repeats)
    measure_memory(arguments.lengths, arguments.size, arguments.window)


def compare_speed(num_frames, size, repeats):
    import tensorflow as tf
    import torch

    from actx_tf.backbones import InceptionI3D
    from tests.i3d_in_torch import InceptionI3d
    from tests.i3d_in_torch import randomize

    port = randomize(InceptionI3d())
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "i3d.pt"
        torch.save(port.state_dict(), path)
        model = InceptionI3D(
            False, path, (None, size, size, 3), include_preprocessing=False
        )
    network = tf.function(
        lambda frames: model(frames, training=False), reduce_retracing=True
    )
    frames = np.random.default_rng(0).uniform(
        -1, 1, (1, num_frames, size, size, 3)
    )
    frames = frames.astype("float32")
    inputs = torch.tensor(frames).permute(0, 4, 1, 2, 3)
    layouts = {
        "PyTorch": inputs.contiguous(),
        "PyTorch, channels last": inputs.to(
            memory_format=torch.channels_last_3d
        ),
    }
    runs = {"InceptionI3D": lambda: network(frames).numpy()}
    for name, layout in layouts.items():
        runs[name] = lambda layout=layout: port.features(layout).numpy()

    with torch.inference_mode():
        outputs = {name: run() for name, run in runs.items()}
        medians = median_seconds(runs, repeats)
    fastest = min(medians[name] for name in layouts)
    expected = outputs["PyTorch"].transpose(0, 2, 3, 4, 1)
    error = np.abs(outputs["InceptionI3D"] - expected).max() / expected.max()
    print(f"{num_frames} frames of {size} x {size}; relative error {error:.1e}")
    print(f"{'':24}{'frames/s':>10}  speed / the faster PyTorch's")
    for name, median in medians.items():
        print(f"{name:24}{num_frames / median:10.1f}{fastest / median:8.2f}")


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
        write_video(file, length)
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


def write_video(file, length):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), "uint8")
    noise = noise.repeat(4, axis=0).repeat(4, axis=1)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = noise.shape[:2]
        for number in range(length):
            image = np.roll(noise, 2 * number, axis=1)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    main()
