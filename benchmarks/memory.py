"""Peak memory of a training step of ActX, as the clips get longer.

    KERAS_BACKEND=tensorflow python -m benchmarks.memory

Pairs of feature maps of T x 8 x 11 x 1024, frozen, in float16. Each row is a
process of its own. "step" is what its peak grows by over a step at T = 1, which
has the weights, the optimizer and the libraries: inputs of the step included.
PyTorch's step is benchmarks/actx_in_torch.py, which holds all scores at once.
"""

import argparse

from benchmarks import train_step
from benchmarks.measuring import in_new_process
from benchmarks.measuring import peak_mebibytes

STEPS = {
    "exact, float32": (train_step.keras_step, "exact", "float32"),
    "exact, bfloat16": (train_step.keras_step, "exact", "bfloat16"),
    "stored, float32": (train_step.keras_step, "stored", "float32"),
    "PyTorch, exact, float32": (train_step.torch_step, "exact", "float32"),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--time", type=int, nargs="*", default=[10, 20, 40, 80])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument(
        "--steps",
        nargs="*",
        choices=STEPS,
        default=[name for name in STEPS if "bfloat16" not in name],
    )
    arguments = parser.parse_args()
    print(f"{arguments.batch} pairs of T x 8 x 11 x 1024, MiB")
    print(f"{'':24}{'T':>4}{'process':>10}{'step':>8}  step / T = shortest's")
    for name in arguments.steps:
        first = None
        for time in arguments.time:
            base, peak = in_new_process(measure, name, arguments.batch, time)
            first = peak - base if first is None else first
            ratio = (peak - base) / first if first else float("nan")
            print(
                f"{name:24}{time:4}{peak:10.0f}{peak - base:8.0f}{ratio:10.2f}",
                flush=True,
            )


def measure(name, batch, time):
    """Returns the peaks of this process: of T = 1, and then of `time`."""
    make, kind, dtype = STEPS[name]
    peaks = []
    for length in (1, time):
        clips, labels = train_step.make_pairs(batch, length)
        step = make(train_step.pick(clips, kind), labels, dtype)
        del clips
        step()
        step()
        peaks.append(peak_mebibytes())
    return peaks


if __name__ == "__main__":
    main()
