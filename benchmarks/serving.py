"""How long an answer takes, beside the product that no answer can do without.

    python -m benchmarks.serving
    python -m benchmarks.serving --long_requests=200

The SavedModel's `serving_default`, ActX on feature maps of --time x 8 x 11 x
1024, beside the matrix product of theta (1024 x 1024 at each location) alone:
both in TensorFlow, on the same clips, in runs that alternate; medians.

With --long_requests, in its place: so many parts of long videos (signature
`windows`), every fourth of them a bad one, are sent to MLServer and to
TensorFlow's C++ loader. The memory that each holds after the first 20 and at
the end; and whether the answers are those of the first time.
"""

import argparse
import functools
import pickle
import re
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from actx_tf.export import export_saved_model
from actx_tf.models import ActX
from benchmarks.measuring import median_seconds

CHANNELS = 1024


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--time", type=int, nargs="*", default=[10])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 36])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--long_requests", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.long_requests:
        ask_of_long_videos(arguments.long_requests)
        return
    model = ActX(8)
    model.build((None, None, None, None, CHANNELS))
    weights = tf.random.normal((CHANNELS, CHANNELS))

    @tf.function(reduce_retracing=True)
    def product(features, lengths):
        return tf.matmul(tf.reshape(features, (-1, CHANNELS)), weights)

    with tempfile.TemporaryDirectory() as folder:
        path = export_saved_model(model, folder)
        loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    print("time  batch  theta alone, ms a clip  serving_default / theta alone")
    for steps in arguments.time:
        for batch in arguments.batch:
            features = tf.random.normal((batch, steps, 8, 11, CHANNELS))
            lengths = tf.fill([batch], steps)
            runs = {
                "theta": lambda: product(features, lengths),  # noqa: B023
                "served": lambda: serve(  # noqa: B023
                    features=features,  # noqa: B023
                    lengths=lengths,  # noqa: B023
                ),
            }
            seconds = median_seconds(runs, arguments.repeats)
            alone, served = seconds["theta"], seconds["served"]
            print(
                f"{steps:4d}  {batch:5d}  {1e3 * alone / batch:22.1f}"
                f"  {served / alone:29.2f}"
            )


def ask_of_long_videos(count):
    """Prints what servers hold while they are asked; nothing may fail."""
    import grpc

    from tests import long_requests
    from tests.mlserver_process import run_mlserver
    from tests.served import make_served
    from tests.tensorflow_c import held_bytes
    from tests.test_export import run_in_c
    from tests.test_mlserver import ask_by_grpc
    from tests.test_mlserver import stub_of

    max_steps = 50
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        served = make_served(folder / "wave", max_steps=max_steps)
        loaded = tf.saved_model.load(str(served.path))
        video = np.random.default_rng(0).integers(
            0, 256, (1200, 48, 48, 3), np.uint8
        )
        good = long_requests.record(
            functools.partial(long_requests.ask_signatures, loaded.signatures),
            long_requests.encode(video),
            window=10,
            hop=5,
            part=160,
        )
        bad = list(long_requests.bad_requests(max_steps).values())
        sent = [
            bad[k // 4 % len(bad)] if k % 4 == 3 else good[k % len(good)]
            for k in range(count)
        ]
        answers, memory = [], []
        with (
            run_mlserver(served.path, folder) as server,
            stub_of(server) as stub,
        ):
            for name, inputs, _ in sent:
                try:
                    answers.append(ask_by_grpc(stub, name, inputs))
                except grpc.RpcError as error:
                    answers.append(error.details())
                memory.append(held_bytes(server.process))
        report("MLServer", sent, answers, memory)
        requests = [(name, inputs) for name, inputs, _ in sent]
        answers = run_in_c(served, requests, folder)
        memory = pickle.loads((folder / "job.memory").read_bytes())
        report("C++ loader", sent, answers, memory)


def report(server, sent, answers, memory):
    """Prints a line; fails if an answer is not what it should be."""
    refused, largest = 0, 0.0
    for (_, _, expected), answer in zip(sent, answers, strict=True):
        if isinstance(expected, str):
            refused += 1
            assert re.search(expected, answer, re.DOTALL), answer
        else:
            difference = answer["scores"] - expected["scores"]
            largest = max(largest, np.abs(difference).max())
    first, last = (size / 2**20 for size in (memory[19], memory[-1]))
    print(
        f"{server}: {len(sent)} requests, {refused} of them bad and refused; "
        f"largest error of a score {largest:.0e}; {first:.0f} MiB after 20, "
        f"{last:.0f} MiB at the end"
    )


if __name__ == "__main__":
    main()
