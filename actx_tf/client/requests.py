"""Requests to TF Serving, by REST and by gRPC.

They are meant to be copied: `predict_by_rest` takes the standard library and
NumPy alone.
"""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
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


def _to_json(value):
    """Nested lists with bytes as TF Serving takes them, in base64."""
    if isinstance(value, list):
        return [_to_json(part) for part in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value
