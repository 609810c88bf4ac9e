"""How the benchmarks measure time and memory."""

import multiprocessing
import pathlib
import re
import resource
import statistics
import sys
import time


def median_seconds(runs, repeats, patience=10.0):
    """Returns the median seconds of each of the functions, by name.

    They alternate, so that whatever else the machine does meets all alike.
    One that takes longer than `patience`, in seconds, is called once more and
    no further.
    """
    seconds = {}
    for name, run in runs.items():
        first = _seconds(run)  # tracing, and what grows with use
        if first < patience:
            _seconds(run)
        seconds[name] = [_seconds(run)]
    for _ in range(repeats - 1):
        for name, run in runs.items():
            if seconds[name][0] < patience:
                seconds[name].append(_seconds(run))
    return {name: statistics.median(times) for name, times in seconds.items()}


def in_new_process(function, *arguments):
    """Returns what the function returns, run where nothing ran before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_mebibytes():
    """Returns the most memory that this process has held.

    Of the GPU, if the backend uses one; of the machine otherwise.
    """
    import keras

    peak = None
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    elif backend == "jax":
        import jax

        if jax.default_backend() == "gpu":
            peak = jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    else:
        import torch

        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated()
    if peak is None:
        peak = _peak_of_machine_memory()
    return peak / 2**20


def _peak_of_machine_memory():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # ru_maxrss would begin at what the process that started this one held.
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 2**10


def _seconds(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
