"""How the benchmarks measure time."""

import statistics
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


def _seconds(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
