"""MLServer, which speaks version 2 of the inference protocol, as a server."""

import concurrent.futures
import contextlib
import json
import re
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import requests

pytest.importorskip("mlserver")

import grpc  # noqa: E402
from mlserver.grpc import dataplane_pb2 as pb  # noqa: E402
from mlserver.grpc import dataplane_pb2_grpc  # noqa: E402

from tests.harness import ROOT  # noqa: E402
from tests.served import make_served  # noqa: E402
from tests.served import pad  # noqa: E402
from tests.served import random_features  # noqa: E402
from tests.test_export import bad_requests  # noqa: E402
from tests.test_export import encode  # noqa: E402

DATATYPES = {
    "float32": ("FP32", "fp32_contents"),
    "int32": ("INT32", "int_contents"),
    "int64": ("INT64", "int64_contents"),
    "uint8": ("UINT8", "uint_contents"),
    "object": ("BYTES", "bytes_contents"),
}
CONTENTS = dict(DATATYPES.values())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return make_served(tmp_path_factory.mktemp("models") / "wave", max_steps=50)


@pytest.fixture(scope="module")
def server(served, tmp_path_factory):
    """The ports of REST and gRPC of a server that runs."""
    folder = tmp_path_factory.mktemp("mlserver")
    with contextlib.ExitStack() as sockets:
        free = [sockets.enter_context(socket.socket()) for _ in range(3)]
        for s in free:
            s.bind(("127.0.0.1", 0))
        rest, grpc_port, metrics = (s.getsockname()[1] for s in free)
    settings = {
        "host": "127.0.0.1",
        "http_port": rest,
        "grpc_port": grpc_port,
        "metrics_port": metrics,
        "parallel_workers": 0,
        "grpc_max_message_length": 1 << 28,
    }
    model = {
        "name": "wave",
        "implementation": "tests.mlserver_runtime.SavedModelRuntime",
        "parameters": {"uri": str(served.path)},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    log = folder / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
                "from mlserver.cli import main; main()",
                "start",
                str(folder),
            ],
            stdout=output,
            stderr=output,
        )
    try:
        ready = f"http://127.0.0.1:{rest}/v2/models/wave/ready"
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(ready, timeout=5).ok:
                    break
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.2)
        yield rest, grpc_port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask_by_rest(port, signature, inputs):
    response = requests.post(
        f"http://127.0.0.1:{port}/v2/models/wave/infer",
        json={
            "parameters": {"signature": signature},
            "inputs": [
                {
                    "name": name,
                    "shape": x.shape,
                    "datatype": DATATYPES[x.dtype.name][0],
                    "data": x.ravel().tolist(),
                }
                for name, x in inputs.items()
            ],
        },
        timeout=120,
    )
    if not response.ok:
        raise RuntimeError(f"{response.status_code}: {response.text}")
    answers = {}
    for output in response.json()["outputs"]:
        data = output["data"]
        if output["datatype"] == "BYTES":
            answers[output["name"]] = [text.encode() for text in data]
        else:
            answers[output["name"]] = np.reshape(data, output["shape"])
    return answers


def ask_by_grpc(stub, signature, inputs):
    request = pb.ModelInferRequest(model_name="wave")
    request.parameters["signature"].string_param = signature
    for name, x in inputs.items():
        datatype, contents = DATATYPES[x.dtype.name]
        tensor = request.inputs.add(name=name, datatype=datatype, shape=x.shape)
        getattr(tensor.contents, contents).extend(x.ravel().tolist())
    answers = {}
    for output in stub.ModelInfer(request, timeout=120).outputs:
        values = list(getattr(output.contents, CONTENTS[output.datatype]))
        answers[output.name] = values
        if output.datatype != "BYTES":
            answers[output.name] = np.reshape(values, output.shape)
    return answers


@pytest.fixture(scope="module")
def stub(server):
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server[1]}", unlimited) as channel:
        yield dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)


def make_request(number):
    """A request of clips of any sizes: the signature, inputs and clips."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(1, 4, 2)
    clips = [
        random_features(steps, height, width, seed=number)
        for steps in rng.integers(1, 9, rng.integers(1, 4))
    ]
    features, lengths = pad(clips)
    kind = number % 5
    if kind < 2:
        name = ("serving_default", "attention")[kind]
        return name, {"features": features, "lengths": lengths}, clips
    if kind < 4:
        name = ("unpadded", "unpadded_attention")[kind - 2]
        return name, {"features": clips[0][None]}, clips[:1]
    videos = [
        rng.integers(0, 256, (n, 8 * height, 16, 3), dtype="uint8")
        for n in (5, 9)
    ]
    frames, lengths = pad(videos)
    return "video", {"frames": frames, "lengths": lengths}, videos


def test_200_requests_at_once_are_answered_as_the_model_does(
    served, server, stub
):
    made = [make_request(number) for number in range(200)]

    def ask(number):
        # Half of each signature by REST, half by gRPC.
        signature, inputs, _ = made[number]
        if number // 5 % 2:
            return ask_by_rest(server[0], signature, inputs)
        return ask_by_grpc(stub, signature, inputs)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(len(made))))
    for (_, _, clips), answer in zip(made, answers, strict=True):
        served.check(answer, clips)


def test_jpegs(served, stub):
    frames = np.full((1, 6, 40, 40, 3), 80, "uint8")  # kept by JPEG
    jpegs = np.array([[encode(frame) for frame in frames[0]]], object)
    lengths = np.array([6], "int32")
    answers = ask_by_grpc(stub, "jpeg", {"frames": jpegs, "lengths": lengths})
    served.check(answers, frames)


def test_bad_requests_are_told_why_and_the_server_goes_on(served, server, stub):
    good, inputs, clips = make_request(0)
    for case, (signature, bad, message) in bad_requests().items():
        with pytest.raises(grpc.RpcError) as error:
            ask_by_grpc(stub, signature, bad)
        assert error.value.code() != grpc.StatusCode.UNAVAILABLE, case
        told = error.value.details()
        assert re.search(message, told, re.DOTALL), f"{case}: {told}"
        served.check(ask_by_grpc(stub, good, inputs), clips)
    for case in ("channels", "zero length"):
        signature, bad, message = bad_requests()[case]
        with pytest.raises(RuntimeError, match=f"(?s)^[45]00.*{message}"):
            ask_by_rest(server[0], signature, bad)
    served.check(ask_by_rest(server[0], good, inputs), clips)
