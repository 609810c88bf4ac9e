"""How the benchmarks measure time and memory, and print what they measured."""

import contextlib
import multiprocessing
import pathlib
import re
import resource
import statistics
import sys
import time


def cpu_seconds():
    """Returns the processor's time of this process and those it has ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(
            resource.getrusage,
            (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN),
        )
    )


def median_seconds(
    runs, repeats, patience=10.0, in_a_row=1, clock=time.perf_counter
):
    """Returns the median seconds of each of the functions, by name.

    They alternate, so that whatever else the machine does meets all alike.
    One that takes longer than `patience`, in seconds, is called once more and
    no further. Of a function that only starts something on a GPU, `in_a_row`
    are started before the end of the last is awaited, as training does; the
    seconds are those of one. On a busy machine the `clock` can be
    `cpu_seconds`, of functions that run on one core.
    """
    seconds = {}
    for name, run in runs.items():
        first = _seconds(run)  # tracing, and what grows with use
        if first < patience:
            _seconds(run, in_a_row, clock)
        seconds[name] = [_seconds(run, in_a_row, clock)]
    for _ in range(repeats - 1):
        for name, run in runs.items():
            if seconds[name][0] < patience:
                seconds[name].append(_seconds(run, in_a_row, clock))
    return {name: statistics.median(times) for name, times in seconds.items()}


def keep_those_that_run(makers):
    """Makes and calls each function once, and says on stderr how long it took.

    Args:
        makers: Functions that return the function to measure, by name.

    Returns:
        The functions that ran, and of the others the error in one line, both
        by name: one that runs out of memory loses none of the others.
    """
    runs, errors = {}, {}
    for name, make in makers.items():
        began = time.perf_counter()
        try:
            run = make()
            wait(run())
            first = time.perf_counter() - began
            runs[name] = run
            outcome = f"{first:.1f} s at first, then {_seconds(run):.4f} s"
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            outcome = errors[name] = f"{type(error).__name__}: {lines[0][:150]}"
            runs.pop(name, None)
        print(f"{name}: {outcome}", file=sys.stderr, flush=True)
    return runs, errors


def wait(result):
    """Waits for what was started on a GPU: what JAX or PyTorch returned."""
    # Without importing what the benchmark does not use.
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
    if "jax" in sys.modules:
        import jax

        jax.block_until_ready(result)


@contextlib.contextmanager
def tf32(allowed):
    """Whether products in float32 may be of TensorFloat-32, on a GPU that has
    it, in PyTorch and in the backend."""
    import keras
    import torch

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    backend = keras.backend.backend()
    if backend == "jax" and not allowed:  # JAX's default allows it
        import jax

        with jax.default_matmul_precision("highest"):
            yield
        return
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(allowed)
    yield


def device_name():
    """Returns the backend, and the name of its GPU or "CPU"."""
    import keras

    backend = keras.backend.backend()
    name = "CPU"
    if backend == "jax":
        import jax

        if jax.default_backend() == "gpu":
            name = jax.devices()[0].device_kind
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            name = torch.cuda.get_device_name()
    else:
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU")[:1]:
            details = tf.config.experimental.get_device_details(gpu)
            name = details.get("device_name", "GPU")
    return f"{backend} on {name}"


def print_row(*cells):
    """Prints a row of a Markdown table."""
    print("|", " | ".join(cells), "|", flush=True)


def print_head(*cells):
    """Prints the first two lines of a Markdown table."""
    print_row(*cells)
    print_row(*["---"] * len(cells))


def in_new_process(function, *arguments):
    """Returns what the function returns, run where nothing ran before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_mebibytes(backend=None):
    """Returns the most memory that this process has held.

    Of the GPU, if the backend, by default Keras', uses one; of the machine
    otherwise.
    """
    import keras

    peak = None
    backend = backend or keras.backend.backend()
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


def _seconds(run, in_a_row=1, clock=time.perf_counter):
    began = clock()
    for _ in range(in_a_row):
        result = run()
    wait(result)
    return (clock() - began) / in_a_row
