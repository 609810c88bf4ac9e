"""Requests to TF Serving, by REST and by gRPC.

They are meant to be copied: `predict_by_rest` and `ask_in_parts` take the
standard library and NumPy alone.
"""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping

import numpy as np


class ServingError(RuntimeError):
    """A request without an answer; the message says why."""


def predict_by_rest(
    server: str,
    model: str,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    version: int | None = None,
    label: str | None = None,
    timeout: float = 60.0,
) -> dict[str, np.ndarray]:
    """Asks TF Serving by REST.

    Args:
        server: Address of the server, such as `"http://localhost:8501"`.
        model: Name of the model.
        signature: Name of the signature.
        inputs: Arrays by name; those of objects hold bytes.
        version: Version of the model. Defaults to `None`: the latest.
        label: Or a label of a version. Defaults to `None`.
        timeout: Seconds to wait for the answer. Defaults to `60.0`.

    Returns:
        What the signature answers, arrays by name. TF Serving does not name an
        output that is the only one: it is called `"output"`.

    Raises:
        ServingError: If there is no answer.
    """
    chosen = "" if version is None else f"/versions/{version}"
    if label is not None:
        chosen = f"/labels/{urllib.parse.quote(label, safe='')}"
    name = urllib.parse.quote(model, safe="")
    url = f"{server.rstrip('/')}/v1/models/{name}{chosen}:predict"
    body = {
        "signature_name": signature,
        "inputs": {key: _to_json(x.tolist()) for key, x in inputs.items()},
    }
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(
            url, json.dumps(body).encode(), headers
        )
        try:
            response = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            response = error  # which says more
        with response:
            text = response.read()
    # ValueError is an address that is none.
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise ServingError(f"{server}: no answer in {timeout} s") from None
        raise ServingError(f"{server} cannot be reached: {reason!r}") from None
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = {"error": f"no TF Serving: {text[:200]!r}"}
    if not isinstance(answer, dict) or "outputs" not in answer:
        problem = answer.get("error") if isinstance(answer, dict) else None
        raise ServingError(
            f"{url}: {response.status} {response.reason}: {problem or answer}"
        )
    outputs = answer["outputs"]
    if not isinstance(outputs, dict):
        outputs = {"output": outputs}
    return {name: np.array(values) for name, values in outputs.items()}


def predict_by_grpc(
    server: str,
    model: str,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    version: int | None = None,
    label: str | None = None,
    timeout: float = 60.0,
) -> dict[str, np.ndarray]:
    """Asks TF Serving by gRPC.

    Args:
        server: Address of the server, such as `"localhost:8500"`.
        model: Name of the model.
        signature: Name of the signature.
        inputs: Arrays by name; those of objects hold bytes.
        version: Version of the model. Defaults to `None`: the latest.
        label: Or a label of a version. Defaults to `None`.
        timeout: Seconds to wait for the answer. Defaults to `60.0`.

    Returns:
        What the signature answers, arrays by name.

    Raises:
        ServingError: If there is no answer.
        ImportError: If tensorflow-serving-api is not installed.
    """
    try:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2
        from tensorflow_serving.apis import prediction_service_pb2_grpc
    except ImportError as error:
        raise ImportError(
            "Asking by gRPC needs tensorflow-serving-api: "
            "pip install actx_tf[serving]"
        ) from error

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    unlimited = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]
    with grpc.insecure_channel(server, unlimited) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            response = stub.Predict(request, timeout=timeout)
        except grpc.RpcError as error:
            raise ServingError(
                f"{server}, model {model}: {error.code().name}: "
                f"{error.details()}"
            ) from None
    return {
        name: tf.make_ndarray(value) for name, value in response.outputs.items()
    }


def ask_in_parts(
    ask: Callable[[str, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    images: Iterable[bytes],
    total: int,
    window: int,
    hop: int,
    part: int,
) -> Iterator[dict[str, np.ndarray]]:
    """Asks the signature `windows` about a clip of any length.

    Parts of the clip are sent one after the other. They overlap by what the
    windows at their ends see; the server says where the next one begins. No
    more images are held than a part has. A part is asked for once: what fails
    ends it all.

    Args:
        ask: Sends a request: `(signature, inputs) -> outputs`, arrays by name,
            such as `functools.partial(predict_by_rest, server, model)`.
        images: A PNG or JPEG of each frame of the clip, read as the model's
            `describe` says. They are taken as they are needed.
        total: Number of the frames.
        window: Steps of a window.
        hop: Steps from one window to the next.
        part: Number of the frames of a request. Too few for a window are
            refused by the server, which says how many are needed.

    Yields:
        Of each part, arrays by name: `begins`, int `(windows,)`, the steps
        with which its windows begin; `scores`, `(windows, classes)`; and, of a
        model with maps, `action_map` and `context_map`, `(windows, steps,
        height, width)`.

    Raises:
        ServingError: If a part is not answered; the message names its frames.
        ValueError: If there are fewer or more images than `total`.
    """
    images = iter(images)
    held: list[bytes] = []
    frame = begin = 0  # of the clip: with which the part, and its windows begin
    while begin >= 0:
        for image in images:
            held.append(image)
            if len(held) == part:
                break
        if len(held) < min(part, total - frame):
            raise ValueError(
                "`images` must be as many as `total`. "
                f"Received: {frame + len(held)} images, total={total}"
            )
        outputs = _ask_part(ask, held, frame, begin, total, window, hop)
        begins = np.asarray(outputs["begins"][0])
        yield {
            name: np.asarray(outputs[name][0], np.float32)[begins >= 0]
            for name in ("scores", "action_map", "context_map")
            if name in outputs
        } | {"begins": begins[begins >= 0]}
        begin = int(outputs["next_begin"][0])
        done = int(outputs["next_frame"][0]) - frame
        held = held[done:]
        frame += done
    if held or next(images, None) is not None:
        raise ValueError(
            "`images` must be as many as `total`. "
            f"Received: more images, total={total}"
        )


def _ask_part(ask, images, frame, begin, total, window, hop):
    numbers = {
        "lengths": len(images),
        "begin": begin,
        "total": total,
        "window": window,
        "hop": hop,
    }
    inputs = {name: np.array([n], np.int32) for name, n in numbers.items()}
    inputs["frames"] = np.array([images], object)
    where = f"frames {frame} to {frame + len(images) - 1} of {total}"
    try:
        outputs = ask("windows", inputs)
    except RuntimeError as error:
        raise ServingError(f"{where}: {error}") from error
    named = {"begins", "scores", "next_begin", "next_frame"}
    if missing := named - outputs.keys():
        raise ServingError(f"{where}: the answer has no {sorted(missing)}")
    if 0 <= outputs["next_begin"][0] <= begin:
        raise ServingError(f"{where}: the answer goes back in the video")
    return outputs


def _to_json(value):
    """Nested lists with bytes as TF Serving takes them, in base64."""
    if isinstance(value, list):
        return [_to_json(part) for part in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value
