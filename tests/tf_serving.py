"""TF Serving for the tests of the clients: the server itself, or a stand-in.

`TF_SERVING` names what serves: `stand-in` (the default), the binary
`tensorflow_model_server`, or `docker`.
"""

import base64
import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

SAVED_MODELS = Path(__file__).parents[1] / "saved_models"


@contextlib.contextmanager
def serve(base_dir, name, label="stable"):
    """Yields the addresses (REST, gRPC) of a server of `base_dir`."""
    kind = os.environ.get("TF_SERVING", "stand-in")
    if kind == "stand-in":
        with stand_in(base_dir, name, label) as addresses:
            yield addresses
    elif kind in ("tensorflow_model_server", "docker"):
        with real_server(kind, Path(base_dir), name, label) as addresses:
            yield addresses
    else:
        raise ValueError(f"TF_SERVING={kind}: no such server")


@contextlib.contextmanager
def real_server(kind, base_dir, name, label):
    if shutil.which(kind) is None:
        raise RuntimeError(f"{kind} is not installed")
    with socket.socket() as first, socket.socket() as second:
        for s in (first, second):
            s.bind(("127.0.0.1", 0))
        rest_port, grpc_port = (s.getsockname()[1] for s in (first, second))
    folder = base_dir.parent
    version = max(int(p.name) for p in base_dir.iterdir() if p.name.isdigit())
    shutil.copy(SAVED_MODELS / "batching.config", folder)
    (folder / "models.config").write_text(
        f"""model_config_list {{ config {{
            name: "{name}" base_path: "/models/{base_dir.name}"
            model_platform: "tensorflow"
            version_labels {{ key: "{label}" value: {version} }} }} }}"""
        if kind == "docker"
        else f"""model_config_list {{ config {{
            name: "{name}" base_path: "{base_dir}"
            model_platform: "tensorflow"
            version_labels {{ key: "{label}" value: {version} }} }} }}"""
    )
    root = "/models" if kind == "docker" else folder
    flags = [
        f"--model_config_file={root}/models.config",
        "--enable_batching",
        f"--batching_parameters_file={root}/batching.config",
        "--allow_version_labels_for_unavailable_models",
    ]
    if kind == "docker":
        command = ["docker", "run", "--rm", "-v", f"{folder}:/models:ro"]
        command += ["-p", f"127.0.0.1:{rest_port}:8501"]
        command += ["-p", f"127.0.0.1:{grpc_port}:8500"]
        command += ["tensorflow/serving", *flags]
    else:
        command = [kind, f"--rest_api_port={rest_port}", *flags]
        command += [f"--port={grpc_port}"]
    process = subprocess.Popen(command)
    try:
        status = f"http://127.0.0.1:{rest_port}/v1/models/{name}"
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError, urllib.error.HTTPError):
                if b"AVAILABLE" in urllib.request.urlopen(status).read():
                    break
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{rest_port}", f"127.0.0.1:{grpc_port}"
    finally:
        process.terminate()
        process.wait(30)


class Refused(Exception):
    """A request that is refused, and the code of gRPC for it."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class StandIn(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers as TF Serving does, one model, from TensorFlow alone."""

    def __init__(self, base_dir, name, label):
        versions = [p for p in Path(base_dir).iterdir() if p.name.isdigit()]
        path = max(versions, key=lambda version: int(version.name))
        self.name, self.version, self.label = name, int(path.name), label
        self.loaded = tf.saved_model.load(str(path))  # keeps the variables
        self.signatures = self.loaded.signatures

    def answer(self, request):
        spec = request.model_spec
        if spec.name != self.name or (
            spec.version.value not in (0, self.version)
        ):
            raise Refused(
                grpc.StatusCode.NOT_FOUND,
                "Servable not found for request: "
                f"{spec.name} {spec.version.value or 'latest'}",
            )
        if spec.version_label not in ("", self.label):
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Unrecognized servable version label: {spec.version_label}",
            )
        inputs = {
            name: tf.constant(tf.make_ndarray(proto))
            for name, proto in request.inputs.items()
        }
        signature = self.signature(spec.signature_name)
        _, specs = signature.structured_input_signature
        if missing := specs.keys() - inputs.keys():
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Missing but required: {sorted(missing)}",
            )
        try:
            outputs = signature(**inputs)
        except (tf.errors.OpError, TypeError) as error:
            raise Refused(
                grpc.StatusCode.INVALID_ARGUMENT, str(error)[:1000]
            ) from error
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def signature(self, name):
        if name not in self.signatures:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Serving signature key {name!r} not found.",
            )
        return self.signatures[name]

    def Predict(self, request, context):
        try:
            return self.answer(request)
        except Refused as error:
            context.abort(error.code, str(error))

    def answer_json(self, path, body):
        """The status and the answer of a POST request."""
        match = re.fullmatch(
            r"/v1/models/([^/:]+)"
            r"(?:/versions/(\d+)|/labels/([^/:]+))?:predict",
            path,
        )
        if match is None:
            return 404, {"error": f"Malformed request: POST {path}"}
        body = json.loads(body)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = match[1]
        request.model_spec.signature_name = body.get(
            "signature_name", "serving_default"
        )
        if match[2]:
            request.model_spec.version.value = int(match[2])
        if match[3]:
            request.model_spec.version_label = match[3]
        try:
            name = request.model_spec.signature_name
            _, specs = self.signature(name).structured_input_signature
            for key, value in body["inputs"].items():
                dtype = specs[key].dtype.as_numpy_dtype
                request.inputs[key].CopyFrom(
                    tf.make_tensor_proto(np.array(from_json(value), dtype))
                )
            outputs = self.answer(request).outputs
        except Refused as error:
            status = 404 if error.code == grpc.StatusCode.NOT_FOUND else 400
            return status, {"error": str(error)}
        arrays = {key: tf.make_ndarray(x) for key, x in outputs.items()}
        for key, array in arrays.items():
            if array.dtype == object:
                arrays[key] = np.char.decode(array.astype("S"), "utf-8")
        if len(arrays) == 1:  # TF Serving leaves out the name of an only output
            (arrays,) = arrays.values()
        return 200, {"outputs": arrays}


def from_json(value):
    if isinstance(value, list):
        return [from_json(part) for part in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value


@contextlib.contextmanager
def stand_in(base_dir, name, label):
    servicer = StandIn(base_dir, name, label)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = servicer.answer_json(self.path, body)
            answer = json.dumps(answer, default=np.ndarray.tolist).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    unlimited = [("grpc.max_receive_message_length", -1)]
    grpc_server = grpc.server(futures.ThreadPoolExecutor(2), options=unlimited)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        servicer, grpc_server
    )
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    grpc_server.start()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as rest:
        threading.Thread(target=rest.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{rest.server_port}", f"127.0.0.1:{port}"
        finally:
            rest.shutdown()
            grpc_server.stop(None).wait()
