"""The clients of TF Serving, against it or a stand-in (tests/tf_serving.py)."""

import http.server
import importlib.util
import socket
import threading
import time

import cv2
import numpy as np
import pytest

from actx_tf.data import read_clip
from actx_tf.data import synthetic
from tests.harness import ROOT
from tests.harness import run_example
from tests.served import CLASS_NAMES
from tests.served import make_served
from tests.served import pad
from tests.served import random_features

pytest.importorskip("tensorflow_serving")

from tests.tf_serving import serve  # noqa: E402

KINDS = ("rest", "grpc")


def load_client():
    path = ROOT / "examples" / "classify_video.py"
    spec = importlib.util.spec_from_file_location("classify_video", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


client = load_client()
PREDICT = {"rest": client.predict_by_rest, "grpc": client.predict_by_grpc}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return make_served(tmp_path_factory.mktemp("models") / "wave")


@pytest.fixture(scope="module")
def servers(served):
    with serve(served.path.parent, "wave") as (rest, grpc):
        yield {"rest": rest, "grpc": grpc}


def to_bytes(answers):
    """Answers in JSON hold text."""
    label = answers["label"]
    if label.dtype.kind == "U":
        answers = {**answers, "label": np.char.encode(label, "utf-8")}
    return answers


@pytest.mark.parametrize("kind", KINDS)
def test_answers_of_every_signature_are_the_model_s(served, servers, kind):
    short, long = random_features(3, 2, 5), random_features(9, 2, 5, seed=1)
    features, lengths = pad([short, long])
    video = synthetic.make_part("test", 1).videos[0]
    frames = video[None]
    for signature, inputs, clips in (
        ("serving_default", (features, lengths), [short, long]),
        ("attention", (features, lengths), [short, long]),
        ("unpadded", (long[None],), [long]),
        ("unpadded_attention", (short[None],), [short]),
        ("video", (frames, np.array([16], "int32")), [video]),
    ):
        first = "frames" if signature == "video" else "features"
        answers = PREDICT[kind](
            servers[kind],
            "wave",
            signature,
            dict(zip((first, "lengths"), inputs, strict=False)),
        )
        served.check(to_bytes(answers), clips)


@pytest.mark.parametrize(
    ("kind", "version"),
    [("rest", {"version": 1}), ("rest", {"label": "stable"})]
    + [("grpc", {"version": 1}), ("grpc", {"label": "stable"})],
)
def test_versions_and_labels(served, servers, kind, version):
    clip = random_features(2, 2, 2)
    answers = PREDICT[kind](
        servers[kind], "wave", "unpadded", {"features": clip[None]}, **version
    )
    served.check(to_bytes(answers), [clip])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("model", "signature", "features", "chosen", "message"),
    [
        ("weave", "unpadded", (1, 2, 2, 2), {}, "not found"),
        ("wave", "unpadded", (1, 2, 2, 2), {"version": 7}, "not found"),
        ("wave", "unpadded", (1, 2, 2, 2), {"label": "old"}, "label"),
        ("wave", "packed", (1, 2, 2, 2), {}, "packed"),
        ("wave", "unpadded", (2, 2, 2), {}, "shape"),
        ("wave", "serving_default", (1, 2, 2, 2), {}, "lengths"),
    ],
)
def test_what_is_refused_is_told(
    servers, kind, model, signature, features, chosen, message
):
    with pytest.raises(client.ServingError, match=f"(?i){message}"):
        PREDICT[kind](
            servers[kind],
            model,
            signature,
            {"features": random_features(*features)},
            **chosen,
        )


def test_no_server():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(client.ServingError, match="cannot be reached"):
            client.predict_by_rest(f"http://{address}", "wave", "unpadded", {})
        with pytest.raises(client.ServingError, match="UNAVAILABLE"):
            client.predict_by_grpc(address, "wave", "unpadded", {}, timeout=5)


def test_a_server_that_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for kind, server in (("rest", f"http://{address}"), ("grpc", address)):
            began = time.monotonic()
            with pytest.raises(
                client.ServingError, match="no answer in|DEADLINE_EXCEEDED"
            ):
                PREDICT[kind](server, "wave", "unpadded", {}, timeout=0.5)
            assert time.monotonic() - began < 10


def test_another_server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(501, "a shop")

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as shop:
        threading.Thread(target=shop.handle_request, daemon=True).start()
        with pytest.raises(client.ServingError, match="501.*no TF Serving"):
            client.predict_by_rest(
                f"http://127.0.0.1:{shop.server_port}", "wave", "unpadded", {}
            )


@pytest.fixture(scope="module")
def video_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*"mp4v"), 16, (48, 48)
    )
    for frame in synthetic.make_part("test", 1).videos[0]:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


@pytest.mark.parametrize(
    ("kind", "signature"),
    [("rest", "jpeg"), ("grpc", "jpeg"), ("grpc", "video")],
)
def test_a_video_file_is_classified_and_drawn(
    served, servers, video_file, tmp_path, kind, signature
):
    result = run_example(
        "classify_video.py",
        f"--video={video_file}",
        f"--server={servers[kind]}",
        "--model=wave",
        f"--signature={signature}",
        f"--figure={tmp_path / 'maps.png'}",
    )
    assert result.returncode == 0, result.stderr
    label, scores = result.stdout.splitlines()[:2]
    frames, _ = read_clip(video_file)
    expected = served.answer_video(frames)
    assert label.startswith(expected["label"].decode())
    assert label.split(" (")[0] in CLASS_NAMES
    # JPEGs lose a little.
    tolerance = 0.05 if signature == "jpeg" else 1e-3
    np.testing.assert_allclose(
        [float(score) for score in scores.split()[1:]],
        expected["scores"],
        atol=tolerance,
    )
    assert (tmp_path / "maps.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--video=none.mp4"], "none.mp4"),
        (["--signature=video"], "needs gRPC"),
        (["--version=1", "--label=stable"], "at most one"),
        (["--server=http://127.0.0.1:1"], "cannot be reached"),
        (["--timeout=0"], "timeout"),
    ],
)
def test_wrong_flags_are_one_clear_line(video_file, flags, message):
    result = run_example(
        "classify_video.py", f"--video={video_file}", "--model=wave", *flags
    )
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
