"""The clients of TF Serving, against it or a stand-in (tests/tf_serving.py)."""

import contextlib
import dataclasses
import http.server
import io
import itertools
import json
import socket
import threading
import time

import keras
import numpy as np
import pytest
from PIL import Image

from actx_tf import client
from actx_tf.backbones.backbone import Backbone
from actx_tf.client.asking import encode_frame
from actx_tf.data import VideoError
from actx_tf.data import synthetic
from actx_tf.export import export_saved_model
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.prediction import predict_video
from actx_tf.visualization import prediction_figure
from tests.harness import ROOT
from tests.harness import run_actx
from tests.harness import run_fresh
from tests.lossless import write_lossless
from tests.served import CHANNELS
from tests.served import CLASS_NAMES
from tests.served import pad
from tests.served import random_features

pytest.importorskip("tensorflow_serving")

from tests.tf_serving import serve  # noqa: E402

KINDS = ("rest", "grpc")
PREDICT = {"rest": client.predict_by_rest, "grpc": client.predict_by_grpc}


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
    """A portrait at 16 frames a second, larger than what the model sees."""
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (32, 10, 6, 3), np.uint8)
    video = video.repeat(9, axis=1).repeat(9, axis=2)
    folder = tmp_path_factory.mktemp("video")
    return write_lossless(folder / "clip.mp4", video, rate=16)


@pytest.fixture
def servers_of(tmp_path):
    """Serves a model for a test; returns its addresses, one a kind."""
    with contextlib.ExitStack() as stack:

        def start(model, **kwargs):
            export_saved_model(model, tmp_path / "model", **kwargs)
            return stack.enter_context(serve(tmp_path / "model", "model"))

        yield start


def test_a_server_answers_what_the_model_itself_does(
    served, servers, video_file
):
    parts = [{}, {"start": 0.5, "end": 1.25}]
    predictions = [predict_video(video_file, served.path, **x) for x in parts]
    for kind, (part, expected) in itertools.product(
        KINDS, zip(parts, predictions, strict=True)
    ):
        asked = client.ask(video_file, servers[kind], "wave", **part)
        for name in ("scores", "action_map", "context_map"):
            np.testing.assert_allclose(
                getattr(asked, name), getattr(expected, name), atol=1e-5
            )
        for a, b in zip(asked.centers, expected.centers, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(asked.frames, expected.frames)
        assert asked.frame_rate == expected.frame_rate
        assert asked.class_names == list(CLASS_NAMES)
        assert asked.label == expected.label


@pytest.mark.parametrize("kind", KINDS)
def test_jpegs_are_smaller_and_lose_detail(servers, video_file, kind):
    exact = client.ask(video_file, servers[kind], "wave")
    small = client.ask(video_file, servers[kind], "wave", quality=80)
    assert 0 < np.abs(small.scores - exact.scores).max() < 0.1


@pytest.mark.parametrize("shape", [(1, 1), (35, 21)])
def test_images_of_frames(shape):
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (3, *shape, 3), np.uint8)
    for quality, most in ((None, 0), (100, 8), (10, 255)):
        images = [encode_frame(frame, quality) for frame in frames]
        decoded = np.stack([Image.open(io.BytesIO(image)) for image in images])
        error = np.abs(decoded.astype(int) - frames).max()
        assert error <= most and (quality is None) == (error == 0)
    best = [encode_frame(frame, 100) for frame in frames]
    assert sum(map(len, images)) <= sum(map(len, best))


def test_what_is_sent_is_what_the_backbone_is_described_to_see(
    servers_of, video_file
):
    known = synthetic.backbone()
    description = dataclasses.replace(known.description, num_frames=7, size=24)
    backbone = Backbone(known.network, description)
    model = ActX(2, backbone=backbone, activation="sigmoid")
    model.build((None, None, None, None, 3))
    expected = predict_video(video_file, model)
    for server in servers_of(model):
        asked = client.ask(video_file, server, "model")
        assert asked.frames.shape == (7, 90, 54, 3)
        # The shorter side is 24 pixels: 40 x 24, in steps of 8.
        assert asked.action_map.shape == (2, 5, 3)
        assert asked.class_names == ["0", "1"]
        assert asked.scores.sum() != pytest.approx(1)
        np.testing.assert_allclose(asked.scores, expected.scores, atol=1e-5)


def test_models_without_maps_answer_scores(servers_of, video_file):
    model = ACF(2)
    model.build((None, None, None, None, CHANNELS))
    for server in servers_of(model, backbone=synthetic.backbone()):
        asked = client.ask(video_file, server, "model")
        assert asked.scores.sum() == pytest.approx(1, abs=1e-5)
        assert asked.action_map is asked.context_map is asked.centers is None
        with pytest.raises(ValueError, match="must have maps"):
            prediction_figure(asked)


def test_models_that_take_no_frames(servers_of, video_file):
    # It knows what its features are made of, and has no backbone.
    description = synthetic.backbone().description
    model = ACF(2, description=description)
    model.build((None, None, None, None, CHANNELS))
    for server in servers_of(model):
        assert client.describe(server, "model")["backbone"] == description
        with pytest.raises(client.ServingError, match="no frames"):
            client.ask(video_file, server, "model")


def test_models_that_do_not_describe_themselves(tmp_path, video_file):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.export(tmp_path / "other" / "1", verbose=False)
    with serve(tmp_path / "other", "other") as addresses:
        for server in addresses:
            with pytest.raises(
                client.ServingError, match="does not say how it sees"
            ):
                client.ask(video_file, server, "other")


def test_what_cannot_be_asked(servers, video_file):
    for server in servers.values():
        with pytest.raises(client.ServingError, match="(?i)not found"):
            client.ask(video_file, server, "weave")
        with pytest.raises(VideoError, match="none.mp4"):
            client.ask("none.mp4", server, "wave")
        with pytest.raises(ValueError, match="`version` and `label`"):
            client.ask(video_file, server, "wave", version=1, label="stable")
        with pytest.raises(ValueError, match="`quality`"):
            client.ask(video_file, server, "wave", quality=101)
    for address in ("localhost", "http://", "http://a b:1", "http://[::1"):
        with pytest.raises(client.ServingError, match="cannot be reached"):
            client.predict_by_rest(address, "wave", "unpadded", {})


def test_rest_takes_the_standard_library_and_numpy_alone(servers):
    """`actx_tf/client/requests.py` is a file to copy."""
    path = ROOT / "actx_tf" / "client" / "requests.py"
    printed = run_fresh(
        """if True:
        import json, runpy, sys
        import numpy as np
        known = set(sys.modules)
        functions = runpy.run_path(sys.argv[1])
        features = np.ones((1, 2, 2, 2, int(sys.argv[3])), np.float32)
        answers = functions["predict_by_rest"](
            sys.argv[2], "wave", "unpadded", {"features": features}
        )
        loaded = {name.partition(".")[0] for name in set(sys.modules) - known}
        print(json.dumps(sorted(loaded - sys.stdlib_module_names - {"numpy"})))
        print(answers["scores"].sum())
        """,
        path,
        servers["rest"],
        CHANNELS,
        warm=False,
    )
    others, total = printed.splitlines()
    assert json.loads(others) == []
    assert float(total) == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module")
def prediction(served, video_file):
    return predict_video(video_file, served.path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_scores_and_draws_maps(
    servers, video_file, prediction, tmp_path, kind
):
    result = run_actx(
        "ask",
        video_file,
        f"--server={servers[kind]}",
        "--name=wave",
        f"--output={tmp_path / 'maps.png'}",
    )
    assert result.returncode == 0, result.stderr
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    order = np.argsort(-prediction.scores)
    assert [name for _, name in lines[:3]] == [CLASS_NAMES[i] for i in order]
    np.testing.assert_allclose(
        [float(score) for score, _ in lines[:3]],
        prediction.scores[order],
        atol=6e-4,
    )
    assert (tmp_path / "maps.png").stat().st_size > 10_000


def test_a_server_that_cannot_be_reached_is_one_clear_line(video_file):
    nobody = "--server=http://127.0.0.1:1"
    result = run_actx("ask", video_file, "--name=wave", nobody)
    assert result.returncode == 1
    assert "cannot be reached" in result.stderr
    assert result.stderr.count("\n") == 1
