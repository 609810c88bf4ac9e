"""Peak memory and speed of `actx predict`, as a video gets longer.

    python -m benchmarks.long_video --seconds 10 60 600 3600

A video of --height rows in 16:9, at 25 frames a second, for each length: ten
seconds that are repeated. Each is answered by `actx predict --segments` in a
process of its own; its peak and its seconds are those of all the process,
TensorFlow's import included.

"alone" is the backbone's own product in the same run, on frames in memory, in
clips as long as the windows: what there would be without reading, without
windows that overlap and without a model. Both are given in seconds of video a
second, and their ratio.

The backbone is InceptionI3D, of random weights, on frames of --size x --size,
or --backbone, a .keras file; the model is an ActX of random weights.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from actx_tf.data.video_writing import write_video
from benchmarks.measuring import in_new_process
from benchmarks.measuring import print_head
from benchmarks.measuring import print_row

_RATE = 25
_LOOP = 10  # seconds


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, nargs="*", default=[10, 60, 600])
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--backbone", help=".keras file of a Backbone")
    parser.add_argument("--memory", type=float, default=1.0, help="GiB")
    parser.add_argument("--window", type=float, help="seconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model, backbone, window, speed = in_new_process(
            prepare,
            folder,
            arguments.backbone,
            arguments.size,
            arguments.memory,
        )
        print(
            f"\n{arguments.height} rows, windows of {window} frames; the "
            f"backbone alone: {speed:.2f} seconds of video a second\n"
        )
        print_head(
            "seconds of video",
            "peak memory, MiB",
            "seconds",
            "video / second",
            "of the backbone alone",
        )
        loop = folder / "loop.mp4"
        write_loop(loop, arguments.height)
        for seconds in arguments.seconds:
            video = folder / "video.mp4"
            repeat_video(loop, video, seconds)
            flags = [video, f"--model={model}", f"--backbone={backbone}"]
            flags += [f"--memory={arguments.memory}", "--segments"]
            if arguments.window:
                flags.append(f"--window={arguments.window}")
            # A process begins with the peak of the one that starts it.
            peak, took = in_new_process(run_command, "predict", *flags)
            print_row(
                f"{seconds}",
                f"{peak:.0f}",
                f"{took:.1f}",
                f"{seconds / took:.2f}",
                f"{seconds / took / speed:.2f}",
            )


def prepare(folder, backbone_path, size, memory):
    """Writes a model of random weights, and measures its backbone alone.

    Returns:
        The paths of the model and of its backbone, the frames of a window, and
        the seconds of video that the backbone makes features of in a second.
    """
    import keras

    from actx_tf.backbones import InceptionI3D
    from actx_tf.data import FeatureExtractor
    from actx_tf.models import ActX
    from actx_tf.models import load_model

    keras.utils.set_random_seed(0)
    if backbone_path is None:
        backbone = InceptionI3D(False, None, (None, size, size, 3))
    else:
        backbone = load_model(backbone_path)
    description = backbone.description
    model = ActX(
        2,
        class_names=["action", "nothing"],
        background=["nothing"],
        description=description,
    )
    model.build((None, None, None, None, description.channels))
    extractor = FeatureExtractor(backbone, memory=memory)
    window = extractor.window or description.num_frames or 64
    height, width = description.seen_size(720, 1280)
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (window, height, width, 3), "uint8")
    extractor(clip, lambda: window)
    began = time.perf_counter()
    for _ in range(3):
        extractor(clip, lambda: window)
    speed = 3 * window / (description.frame_rate or _RATE)
    speed /= time.perf_counter() - began
    model.save(folder / "model.keras")
    backbone.save(folder / "backbone.keras")
    return folder / "model.keras", folder / "backbone.keras", window, speed


def write_loop(path, height):
    """Writes ten seconds of moving noise, coded once."""
    width = height * 16 // 9
    noise = np.random.default_rng(0).integers(0, 256, (45, 80, 3), "uint8")
    scale = -(-height // 45)
    noise = noise.repeat(scale, axis=0).repeat(scale, axis=1)
    noise = noise[: height - height % 2, : width - width % 2]
    write_video(
        path,
        (np.roll(noise, 4 * number, axis=1) for number in range(_LOOP * _RATE)),
        _RATE,
        encoding={"g": f"{_RATE}", "bf": "0", "preset": "fast"},
    )


def repeat_video(source, path, seconds):
    """Writes the packets of a video again and again, for so many seconds."""
    with av.open(str(source)) as loop:
        stream = loop.streams.video[0]
        packets = [
            (bytes(packet), packet.pts, packet.dts, packet.is_keyframe)
            for packet in loop.demux(stream)
            if packet.size
        ]
        base = stream.time_base
        length = round(_LOOP / base)
        with av.open(str(path), "w") as container:
            copy = container.add_stream_from_template(stream)
            for number in range(seconds * _RATE):
                turn, place = divmod(number, len(packets))
                content, pts, dts, is_keyframe = packets[place]
                packet = av.Packet(content)
                packet.stream = copy
                packet.time_base = base
                packet.pts = pts + turn * length
                packet.dts = dts + turn * length
                packet.is_keyframe = is_keyframe
                container.mux(packet)


def run_command(*flags):
    """Runs `actx`; returns its peak memory in MiB, and its seconds."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "actx_tf.cli.start", *map(str, flags)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(printed[-2000:])
    unit = 1 if sys.platform == "darwin" else 2**10
    return usage.ru_maxrss * unit / 2**20, time.perf_counter() - began


if __name__ == "__main__":
    main()
