"""What a training step of ActX spends its time on, on a GPU under JAX.

    KERAS_BACKEND=jax python -m benchmarks.kernels

The kernels that the profiler saw, the longest first, and what all of them
take: the rest of a step's time is spent between them. Sizes as in
benchmarks/train_step.py.
"""

import argparse
import collections
import pathlib
import sys
import tempfile
import time

import jax

from benchmarks import measuring
from benchmarks import train_step

STEPS = 10


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--time", type=int, default=10)
    parser.add_argument("--batch", type=int, default=36)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--kind", default="exact", choices=train_step.KINDS)
    parser.add_argument("--rows", type=int, default=25)
    arguments = parser.parse_args()
    clips, labels = train_step.make_pairs(arguments.batch, arguments.time)
    clips = train_step.pick(clips, arguments.kind)
    step = train_step.keras_step(clips, labels, arguments.dtype)
    for _ in range(3):
        measuring.wait(step())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            began = time.perf_counter()
            for _ in range(STEPS):
                result = step()
            measuring.wait(result)
            elapsed = 1e6 * (time.perf_counter() - began) / STEPS
        kernels = microseconds(folder)
    if not kernels:
        sys.exit("the profiler saw no kernel of a GPU")
    total = sum(sum(times) for times in kernels.values()) / STEPS
    print(
        f"\n{measuring.device_name()}, {arguments.kind}, {arguments.dtype}: "
        f"{elapsed:.0f} us a step, {total:.0f} of them in kernels\n"
    )
    measuring.print_head("kernel", "calls a step", "us a step", "share")
    longest = sorted(kernels.items(), key=lambda item: -sum(item[1]))
    for name, times in longest[: arguments.rows]:
        spent = sum(times) / STEPS
        measuring.print_row(
            name[:80].replace("|", "/"),
            f"{len(times) / STEPS:g}",
            f"{spent:.1f}",
            f"{spent / total:.3f}",
        )


def microseconds(folder):
    """The durations of each kernel in a profile, by name."""
    kernels = collections.defaultdict(list)
    for path in pathlib.Path(folder).rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            if not plane.name.startswith("/device:GPU"):
                continue
            for line in plane.lines:
                if line.name.startswith("Stream"):
                    for event in line.events:
                        kernels[event.name].append(event.duration_ns / 1e3)
    return kernels


if __name__ == "__main__":
    main()
