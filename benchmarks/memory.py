"""Peak memory of a training step of ActX, as the clips get longer.

    KERAS_BACKEND=tensorflow python -m benchmarks.memory

Pairs of feature maps of T x 8 x 11 x 1024, frozen, in float16. Each kind of
step has a process of its own, from the shortest clips to the longest. "step" is
what its peak grows by over a step at T = 1, which has the weights, the
optimizer and the libraries: inputs of the step included. PyTorch's step is
benchmarks/actx_in_torch.py, which holds all scores at once.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor

from benchmarks import train_step
from benchmarks.measuring import device_name
from benchmarks.measuring import in_new_process
from benchmarks.measuring import peak_mebibytes
from benchmarks.measuring import print_head
from benchmarks.measuring import print_row
from benchmarks.measuring import wait

STEPS = {
    f"{name}, {kind}, {dtype}": (make, kind, dtype)
    for name, make in train_step.STEPS.items()
    for kind in train_step.KINDS
    for dtype in train_step.DTYPES
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--time", type=int, nargs="*", default=[10, 20, 40, 80])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--at_once", type=int, default=1, help="processes")
    parser.add_argument(
        "--steps",
        nargs="*",
        choices=STEPS,
        metavar="STEP",
        default=[
            "ActX, exact, float32",
            "ActX, stored, float32",
            "PyTorch, exact, float32",
        ],
        help=f"of {'; '.join(STEPS)}",
    )
    arguments = parser.parse_args()
    name = in_new_process(device_name)
    print(f"\n{name}, {arguments.batch} pairs of T x 8 x 11 x 1024, MiB\n")
    print_head("", "T", "process", "step", "step / shortest's")
    times = [1, *sorted(arguments.time)]

    def peaks_of(name):
        return in_new_process(measure, name, arguments.batch, times)

    with ThreadPoolExecutor(arguments.at_once) as threads:
        rows = threads.map(peaks_of, arguments.steps)
        for name, (base, *peaks) in zip(arguments.steps, rows, strict=True):
            for time, peak in zip(times[1:], peaks, strict=True):
                print_row(
                    name,
                    f"{time}",
                    f"{peak:.0f}",
                    f"{peak - base:.0f}",
                    f"{(peak - base) / max(peaks[0] - base, 1):.2f}",
                )


def measure(name, batch, times):
    """Returns the peak of this process after clips of each length, in MiB."""
    make, kind, dtype = STEPS[name]
    peaks = []
    for time in times:
        clips, labels = train_step.make_pairs(batch, time)
        step = make(train_step.pick(clips, kind), labels, dtype)
        del clips
        wait(step())
        wait(step())
        peaks.append(
            peak_mebibytes("torch" if name.startswith("PyTorch") else None)
        )
    return peaks


if __name__ == "__main__":
    main()
