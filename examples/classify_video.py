r"""Asks TF Serving what a video file shows, by REST or by gRPC.

    python examples/classify_video.py --video=jump.mp4 --model=jump \
        --server=http://localhost:8501 --figure=jump.png

    python examples/classify_video.py --video=jump.mp4 --model=jump \
        --server=localhost:8500 --signature=video

A server's address that begins with http:// or https:// is asked by REST, any
other by gRPC. The model is one that `export_saved_model` wrote with a
backbone. Give the frame rate and the size that it was trained with; the file
assets/actx_tf.json of the SavedModel names them.

Prints the class and the scores. `--figure` draws the action and the context map
over the frames. `predict_by_rest` and `predict_by_grpc` are meant to be copied.
"""

import base64
import sys

import numpy as np
from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("video", None, "video file", required=True)
flags.DEFINE_string("server", "http://localhost:8501", "address of the server")
flags.DEFINE_string("model", None, "the model's name", required=True)
flags.DEFINE_integer("version", None, "its version; by default the latest")
flags.DEFINE_string("label", None, "or a label of a version, such as stable")
flags.DEFINE_enum(
    "signature",
    "jpeg",
    ("jpeg", "video"),
    "how frames are sent: as JPEGs, or, by gRPC alone, as they are",
)
flags.DEFINE_integer("quality", 95, "of the JPEGs", lower_bound=1)
flags.DEFINE_float(
    "frame_rate",
    None,
    "frames per second that the model sees; by default all that there are",
    lower_bound=0.1,
)
flags.DEFINE_integer(
    "size", None, "length of the frames' shorter side, in pixels", lower_bound=1
)
flags.DEFINE_float(
    "timeout", 60.0, "seconds to wait for the answer", lower_bound=0.001
)
flags.DEFINE_string("figure", None, "image to draw the maps to")


class ServingError(Exception):
    """A request without an answer; the message says why."""


def predict_by_rest(
    server, model, signature, inputs, version=None, label=None, timeout=60.0
):
    """Returns the arrays that a signature answers, by name.

    `inputs` are arrays by name; those of objects hold bytes.
    """
    import requests

    chosen = f"/versions/{version}" if version else ""
    chosen = f"/labels/{label}" if label else chosen
    url = f"{server.rstrip('/')}/v1/models/{model}{chosen}:predict"
    body = {
        "signature_name": signature,
        "inputs": {name: to_json(x.tolist()) for name, x in inputs.items()},
    }
    try:
        response = requests.post(url, json=body, timeout=timeout)
    except requests.Timeout:
        raise ServingError(f"{server}: no answer in {timeout} s") from None
    except requests.ConnectionError as error:
        raise ServingError(f"{server} cannot be reached: {error}") from None
    try:
        answer = response.json()
    except requests.JSONDecodeError:
        answer = {"error": f"no TF Serving: {response.text[:200]!r}"}
    if not response.ok or "outputs" not in answer:
        raise ServingError(
            f"{url}: {response.status_code} {response.reason}: "
            f"{answer.get('error', answer)}"
        )
    return {name: np.array(x) for name, x in answer["outputs"].items()}


def to_json(value):
    """Nested lists with bytes as TF Serving takes them, in base64."""
    if isinstance(value, list):
        return [to_json(part) for part in value]
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return value


def predict_by_grpc(
    server, model, signature, inputs, version=None, label=None, timeout=60.0
):
    """Returns the arrays that a signature answers, by name.

    `inputs` are arrays by name; those of objects hold bytes.
    """
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version:
        request.model_spec.version.value = version
    if label:
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


def encode_jpegs(frames, quality):
    """Returns the bytes of each frame's JPEG, an array of objects."""
    import cv2

    encoded = np.empty(len(frames), object)
    for number, frame in enumerate(frames):
        _, jpeg = cv2.imencode(
            ".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        encoded[number] = jpeg.tobytes()
    return encoded


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if FLAGS.version and FLAGS.label:
        sys.exit("error: at most one of --version and --label")
    by_rest = FLAGS.server.startswith(("http://", "https://"))
    if by_rest and FLAGS.signature == "video":
        sys.exit("error: --signature=video needs gRPC: as JSON it is too long")
    from actx_tf.data import read_clip

    try:
        frames, _ = read_clip(
            FLAGS.video, frame_rate=FLAGS.frame_rate, size=FLAGS.size
        )
        sent = frames
        if FLAGS.signature == "jpeg":
            sent = encode_jpegs(frames, FLAGS.quality)
        predict = predict_by_rest if by_rest else predict_by_grpc
        answers = predict(
            FLAGS.server,
            FLAGS.model,
            FLAGS.signature,
            {
                "frames": sent[None],
                "lengths": np.array([len(frames)], np.int32),
            },
            FLAGS.version,
            FLAGS.label,
            FLAGS.timeout,
        )
    except (ImportError, ServingError, ValueError) as error:
        sys.exit(f"error: {error}")
    label = answers["label"][0]
    label = label.decode() if isinstance(label, bytes) else str(label)
    print(f"{label} ({answers['scores'][0].max():.3f})")
    print("scores:", *(f"{score:.3f}" for score in answers["scores"][0]))
    if FLAGS.figure:
        from actx_tf.visualization import attention_figure

        attention_figure(
            [frames], answers["action_map"], answers["context_map"], [label]
        ).savefig(FLAGS.figure, bbox_inches="tight")
        print(f"written: {FLAGS.figure}")


if __name__ == "__main__":
    app.run(main)
