"""The tests of the layers and the losses on what the backend runs on.

    KERAS_BACKEND=jax python -m benchmarks.conformance

Those that `make test` runs on each backend, but for the metrics and for files
that need TensorFlow where there is none; one row a file. They compare with
NumPy in float64, up to rounding of float32: products in TensorFloat-32, which
GPUs from Ampere on would compute, are turned off.
"""

import argparse
import collections
import importlib.util
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

from benchmarks import measuring

ROOT = pathlib.Path(__file__).parents[1]
METRICS = ("classification", "localization")
WITHOUT_TF32 = {
    "NVIDIA_TF32_OVERRIDE": "0",  # in cuBLAS and cuDNN
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
}
OUTCOMES = ("PASSED", "FAILED", "ERROR", "SKIPPED")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--files", nargs="*", default=files())
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"]
    if arguments.workers > 1 and importlib.util.find_spec("xdist"):
        command += ["--dist=worksteal", f"--numprocesses={arguments.workers}"]
    process = subprocess.Popen(
        [*command, *arguments.files],
        cwd=ROOT,
        env={**os.environ, **WITHOUT_TF32},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # with its workers
    )
    # What it found until then still counts.
    timer = threading.Timer(arguments.seconds, stop, [process])
    timer.start()
    counts = collections.defaultdict(collections.Counter)
    total = None
    for line in process.stdout:
        print(line, end="", file=sys.stderr, flush=True)
        items = re.search(r"(?:collected |\[)(\d+) items", line)
        total = int(items[1]) if items else total
        # The summary at the end names them once more, without a percentage.
        match = re.search(rf"\b({'|'.join(OUTCOMES)})\b.*\d%\]", line) or (
            re.search(rf"\d%\] ({'|'.join(OUTCOMES)}) ", line)
        )
        if match:
            file = re.search(r"tests/test_(\w+)\.py", line)[1]
            counts[file][match[1]] += 1
    status = process.wait()
    timer.cancel()

    print(f"\n{measuring.device_name()}\n")
    measuring.print_head("tests of", "passed", "failed", "skipped")
    sums = collections.Counter()
    for file, outcomes in sorted(counts.items()):
        sums += outcomes
        print_outcomes(file, outcomes)
    print_outcomes("all", sums)
    if status:
        ran = sum(sums.values())
        sys.exit(f"pytest ended with {status}; {ran} of {total} tests ran")


def print_outcomes(name, outcomes):
    failed = outcomes["FAILED"] + outcomes["ERROR"]
    measuring.print_row(
        name,
        *(f"{x}" for x in (outcomes["PASSED"], failed)),
        f"{outcomes['SKIPPED']}",
    )


def files():
    makefile = (ROOT / "Makefile").read_text()
    variable = re.search(r"BACKEND_TESTS := (.*?)\n\n", makefile, re.DOTALL)[1]
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    return [
        file
        for file in re.findall(r"tests/test_\w+\.py", variable)
        if not file.endswith(tuple(f"test_{name}.py" for name in METRICS))
        and (
            has_tensorflow
            or not re.search(
                "^import tensorflow", (ROOT / file).read_text(), re.MULTILINE
            )
        )
    ]


def stop(process):
    os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
