"""Latency, throughput and memory of ActX, by length and batch.

    KERAS_BACKEND=tensorflow python -m benchmarks.inference

Feature maps of T x 8 x 11 x 1024, in float16; class scores and both maps come
back to NumPy; the features are on the device before. A step of time covers 8
frames, at 25 frames a second 0.32 s of video. The product of theta (1024 x 1024
at each location), which no answer can do without, runs beside it in float32;
on a GPU that is of TensorFloat-32 where the backend's default is. Each row is a
process of its own; its peak memory is that of all the process, libraries
included. With --one_process all are in one, which starts sooner, from the
smallest to the largest: the peak is that so far.
"""

import argparse
import math

from keras import ops

from actx_tf.models import ActX
from benchmarks import train_step
from benchmarks.measuring import device_name
from benchmarks.measuring import in_new_process
from benchmarks.measuring import median_seconds
from benchmarks.measuring import peak_mebibytes
from benchmarks.measuring import print_head
from benchmarks.measuring import print_row

SIZES = ["1x10", "4x10", "36x10", "1x80", "4x80", "1x400", "1x2000"]
SECONDS_A_STEP = 8 / 25


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", nargs="*", default=SIZES, help="batch x T")
    parser.add_argument("--dtype", default="float32", help="or mixed_bfloat16")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--one_process", action="store_true")
    arguments = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in arguments.sizes]
    run = in_new_process
    if arguments.one_process:
        sizes.sort(key=math.prod)
        run = _run
    print(f"\n{run(device_name)}, {arguments.dtype}\n")
    print_head(
        "clips",
        "T",
        "ms a batch",
        "/ theta",
        "clips/s",
        "video s/s",
        "peak memory, MiB",
    )
    for batch, time in sizes:
        answer, theta, peak = run(
            measure, batch, time, arguments.dtype, arguments.repeats
        )
        print_row(
            f"{batch}",
            f"{time}",
            f"{1e3 * answer:.2f}",
            f"{answer / theta:.2f}",
            f"{batch / answer:.2f}",
            f"{batch * time * SECONDS_A_STEP / answer:.0f}",
            f"{peak:.0f}",
        )


def _run(function, *arguments):
    return function(*arguments)


def measure(batch, time, dtype, repeats):
    """Returns the seconds of an answer and of theta's product, and MiB."""
    model = ActX(8, dtype=dtype)
    clips, _ = train_step.make_pairs(batch, time, with_conjugates=False)
    features = ops.convert_to_tensor(clips["features"])
    del clips
    answer = {"answer": lambda: model.predict_on_batch(features)}
    seconds = median_seconds(answer, repeats)
    peak = peak_mebibytes()
    # Beside it in turn, after the memory was measured.
    runs = {"product": train_step.make_product(features), **answer}
    seconds = median_seconds(runs, repeats)
    return seconds["answer"], seconds["product"], peak


if __name__ == "__main__":
    main()
