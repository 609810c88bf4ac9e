"""MLServer, which speaks version 2 of the inference protocol, as a server."""

import concurrent.futures
import contextlib
import functools
import re

import numpy as np
import pytest
import requests

pytest.importorskip("mlserver")

import grpc  # noqa: E402
from mlserver.grpc import dataplane_pb2 as pb  # noqa: E402
from mlserver.grpc import dataplane_pb2_grpc  # noqa: E402

from actx_tf.client import ask_in_parts  # noqa: E402
from actx_tf.prediction.windows import WindowMeans  # noqa: E402
from tests import long_requests  # noqa: E402
from tests.mlserver_process import run_mlserver  # noqa: E402
from tests.served import make_served  # noqa: E402
from tests.served import pad  # noqa: E402
from tests.served import random_features  # noqa: E402
from tests.tensorflow_c import held_bytes  # noqa: E402
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
    """A server that runs."""
    folder = tmp_path_factory.mktemp("mlserver")
    with run_mlserver(served.path, folder) as running:
        yield running


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


@contextlib.contextmanager
def stub_of(server):
    unlimited = [("grpc.max_receive_message_length", -1)]
    address = f"127.0.0.1:{server.grpc}"
    with grpc.insecure_channel(address, unlimited) as channel:
        yield dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture(scope="module")
def stub(server):
    with stub_of(server) as stub:
        yield stub


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


def test_60_requests_at_once_are_answered_as_the_model_does(
    served, server, stub
):
    made = [make_request(number) for number in range(60)]

    def ask(number):
        # Half of each signature by REST, half by gRPC.
        signature, inputs, _ = made[number]
        if number // 5 % 2:
            return ask_by_rest(server.rest, signature, inputs)
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
            ask_by_rest(server.rest, signature, bad)
    served.check(ask_by_rest(server.rest, good, inputs), clips)


def test_long_videos_with_bad_requests_at_flat_memory(served, server, stub):
    """200 requests: a video over and over, in parts."""
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (120, 48, 48, 3), np.uint8)
    images = long_requests.encode(video)
    expected = long_requests.expected_scores(served, video, 5, 2)
    bad = list(long_requests.bad_requests(50).values())
    ask = functools.partial(ask_by_grpc, stub)
    count, memory = 0, []

    def counted(signature, inputs):
        nonlocal count
        count += 1
        if count % 4 == 0:
            name, wrong, message = bad[count // 4 % len(bad)]
            with pytest.raises((grpc.RpcError, RuntimeError)) as error:
                ask(name, wrong)
            assert re.search(message, str(error.value), re.DOTALL)
            count += 1
        outputs = ask(signature, inputs)
        memory.append(held_bytes(server.process))
        return outputs

    while count < 200:
        means = WindowMeans()
        for answers in ask_in_parts(counted, images, 120, 5, 2, 48):
            begins = answers.pop("begins").tolist()
            means.add(begins, answers, 5)
        np.testing.assert_allclose(
            means.result()["scores"], expected, atol=1e-5
        )
    assert memory[-1] - memory[19] < 0.1 * memory[19]
