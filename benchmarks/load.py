"""How long answers take when several clients ask at once.

    python -m benchmarks.load --clients 1 8 64

ActX on feature maps of --time x 8 x 11 x 1024 (the signature
`unpadded_attention`). Each client asks for one clip, and again as soon as it
has the answer, until --requests are answered. Clients are threads that call

- the signature, of the SavedModel in this process,
- TensorFlow's C++ loader, in a process that has no Python of TensorFlow,
- MLServer, by gRPC, in a process of its own.

The median and the 99th percentile of the time of an answer, and the answers a
second, all beside a call of the signature when nobody else asks, which takes
all cores.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import importlib.util
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.measuring import in_new_process
from benchmarks.measuring import median_seconds
from benchmarks.measuring import print_head
from benchmarks.measuring import print_row

CHANNELS = 1024
SIGNATURE = "unpadded_attention"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--time", type=int, default=10, help="steps")
    parser.add_argument("--requests", type=int, default=300, help="of a row")
    flags = parser.parse_args()
    features = np.random.default_rng(0).normal(
        size=(1, flags.time, 8, 11, CHANNELS)
    )
    features = features.astype("float32")
    print_head("asked", "clients", "median", "99%", "answers a second")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path, names = in_new_process(export, folder / "wave")
        alone = in_new_process(seconds_alone, path, features)
        for asking, place in (
            (signature, path),
            (c_loader, (path, names)),
            (mlserver, (path, folder)),
        ):
            for clients in flags.clients:
                seconds, total = in_new_process(
                    measure, asking, place, features, clients, flags.requests
                )
                print_row(
                    asking.__name__,
                    str(clients),
                    f"{np.median(seconds) / alone:.2f}",
                    f"{np.percentile(seconds, 99) / alone:.2f}",
                    f"{len(seconds) / total * alone:.2f}",
                )


def export(folder):
    """Returns the path of a SavedModel, and its tensors' names in the graph."""
    from actx_tf.export import export_saved_model
    from actx_tf.models import ActX
    from tests.test_export import signature_defs

    model = ActX(8)
    model.build((None, None, None, None, CHANNELS))
    path = export_saved_model(model, folder)
    definition = signature_defs(path)[SIGNATURE]
    return path, (
        definition.inputs["features"].name,
        [output.name for output in definition.outputs.values()],
    )


def seconds_alone(path, features):
    with signature(path, features) as ask:
        return median_seconds({"alone": ask}, repeats=50)["alone"]


def measure(asking, place, features, clients, count):
    """Returns the seconds of each answer, and of all."""
    numbers = iter(range(count))
    lock = threading.Lock()

    def client(_):
        seconds = []
        while True:
            with lock:
                if next(numbers, None) is None:
                    return seconds
            began = time.perf_counter()
            ask()
            seconds.append(time.perf_counter() - began)

    with (
        asking(place, features) as ask,
        concurrent.futures.ThreadPoolExecutor(clients) as pool,
    ):
        ask()
        began = time.perf_counter()
        seconds = sum(pool.map(client, range(clients)), [])
        total = time.perf_counter() - began
    return seconds, total


@contextlib.contextmanager
def signature(path, features):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def ask():
        answer = loaded.signatures[SIGNATURE](features=tf.constant(features))
        return {name: value.numpy() for name, value in answer.items()}

    yield ask


@contextlib.contextmanager
def c_loader(place, features):
    from tests.tensorflow_c import Session

    path, (fed, fetched) = place
    (folder,) = importlib.util.find_spec(
        "tensorflow"
    ).submodule_search_locations
    session = Session(f"{folder}/libtensorflow_cc.so.2", path)
    yield functools.partial(session.run, {fed: features}, fetched)
    assert "tensorflow" not in sys.modules


@contextlib.contextmanager
def mlserver(place, features):
    from mlserver.grpc import dataplane_pb2

    from tests.mlserver_process import run_mlserver
    from tests.test_mlserver import stub_of

    request = dataplane_pb2.ModelInferRequest(model_name="wave")
    request.parameters["signature"].string_param = SIGNATURE
    request.inputs.add(name="features", datatype="FP32", shape=features.shape)
    request.raw_input_contents.append(features.tobytes())
    with run_mlserver(*place) as server, stub_of(server) as stub:
        yield functools.partial(stub.ModelInfer, request, timeout=300)


if __name__ == "__main__":
    main()
