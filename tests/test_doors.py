"""One clip through all doors: the same scores, the maps at the same place.

No door has a flag that says how the video is read: the description of the
backbone does. The reference is the network on the frames that the description
names, read and run here.
"""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest

from actx_tf import backbones
from actx_tf import visualization
from actx_tf.cli.main import make_parser
from actx_tf.client import ask
from actx_tf.client import predict_by_grpc
from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import extract_features
from actx_tf.data import read_clip
from actx_tf.export import export_litert
from actx_tf.export import export_onnx
from actx_tf.export import export_saved_model
from actx_tf.models import ActX
from actx_tf.prediction import predict_video
from tests.lossless import write_lossless

CLASSES = ["run", "jump", "none"]
CHANNELS = 6
# Steps of 8 frames, but where a case asks for another number.
SIGHTS = {
    "renamed, 16 frames/s, 224 x 224": {
        "frame_rate": 16.0,
        "size": (224, 224),
        "name": "my_own_network",
    },
    "25 frames/s, shorter side 256": {"frame_rate": 25.0, "size": 256},
    "16 frames evenly": {"num_frames": 16, "size": (96, 112)},
    "9 frames a step": {"frame_rate": 20.0, "frames_per_step": 9, "size": 96},
}
OTHERS = ["SavedModel", "ONNX", "VideoPrism"]


def make_network(frames_per_step=8, sides=(None, None)):
    """Strides of other sizes, "same" padding: locations are no equal cells."""
    keras.utils.set_random_seed(4)
    clip = keras.Input((None, *sides, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(clip)
    x = keras.layers.Conv3D(
        4, (3, 7, 7), (1, 8, 8), padding="same", activation="relu"
    )(x)
    x = keras.layers.Conv3D(
        CHANNELS,
        (frames_per_step, 3, 3),
        (frames_per_step, 2, 2),
        padding="same",
    )(x)
    return keras.Model(clip, keras.layers.LayerNormalization()(x))


def make_backbone(case, folder):
    if case in SIGHTS:
        sight = dict(SIGHTS[case])
        size = sight["size"]
        network = make_network(
            sight.pop("frames_per_step", 8),
            size if isinstance(size, tuple) else (None, None),
        )
        return backbones.make_backbone(network, **sight)
    sight = {"frame_rate": 16.0, "size": (96, 128)}
    if case == "VideoPrism":
        return make_video_prism()
    network = make_network(sides=sight["size"])
    network(np.zeros((1, 8, *sight["size"], 3), "float32"))
    if case == "SavedModel":
        network.export(folder / "network", verbose=False)
        return backbones.from_saved_model(folder / "network", **sight)
    network.export(folder / "network.onnx", format="onnx", verbose=False)
    return backbones.from_onnx(folder / "network.onnx", **sight)


def make_video_prism():
    """As `from_preset` returns it, but small and with random weights."""
    keras_hub = pytest.importorskip("keras_hub")
    keras.utils.set_random_seed(4)
    network = keras_hub.models.VideoPrismBackbone(
        num_frames=4,
        patch_size=16,
        hidden_dim=8,
        intermediate_dim=16,
        num_heads=2,
        num_spatial_layers=1,
        num_temporal_layers=1,
        num_auxiliary_layers=0,
        image_shape=(64, 80, 3),
    )
    return backbones.make_backbone(
        network, value_range=(0, 1), tokens=(4, 4, 5)
    )


@dataclasses.dataclass(frozen=True)
class Case:
    """What a case's doors share, and what must come out of each."""

    name: str
    folder: object
    backbone: backbones.Backbone
    model: ActX
    frames: np.ndarray
    scores: np.ndarray
    action_map: np.ndarray
    centers: tuple

    @property
    def video(self):
        return self.folder / "clip.mp4"

    def check(self, scores, action_map=None, centers=None, map_tolerance=1e-3):
        np.testing.assert_allclose(np.squeeze(scores), self.scores, atol=1e-3)
        if action_map is not None:
            action_map = np.reshape(action_map, self.action_map.shape)
            most = self.action_map.max()
            np.testing.assert_allclose(
                action_map / most, self.action_map / most, atol=map_tolerance
            )
        if centers is not None:
            for axis, expected in zip(centers, self.centers, strict=True):
                np.testing.assert_allclose(axis, expected, atol=1e-5)


def make_video(path):
    """Smooth moving colors, 2.4 seconds at 25 frames/s, 160 x 120 pixels."""
    rng = np.random.default_rng(0)
    y, x, t = np.mgrid[0:120, 0:160, 0:60].astype("float32")
    waves = [
        np.sin(a * x / 30 + b * y / 30 + c * t / 8 + d)
        for a, b, c, d in rng.normal(size=(9, 4)) * 2
    ]
    colors = np.stack([sum(waves[i::3]) for i in range(3)], axis=-1)
    video = np.clip(127 + 50 * colors, 0, 255).astype(np.uint8)
    return write_lossless(path, np.moveaxis(video, 2, 0), rate=25)


@pytest.fixture(scope="module", params=[*SIGHTS, *OTHERS])
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors")
    make_video(folder / "clip.mp4")
    backbone = make_backbone(request.param, folder)
    description = backbone.description
    keras.utils.set_random_seed(7)
    model = ActX(3, rho=40.0, description=description, class_names=CLASSES)
    model.build((None, None, None, None, description.channels))
    # Scores that tell small changes of the frames.
    model.head.kernel.assign(1.5 * model.head.kernel)
    frames, _ = read_clip(folder / "clip.mp4", **description.sampling)
    features = backbone(frames[None].astype("float32"), training=False)
    outputs = model(features)
    scores = keras.ops.softmax(outputs["logits"])[0].numpy()
    assert 0.05 < scores.max() < 0.95
    action_map = outputs["action_map"][0].numpy()
    backbone.save(folder / "backbone.keras")
    model.save(folder / "actx.keras")
    return Case(
        request.param,
        folder,
        backbone,
        model,
        frames,
        scores,
        action_map,
        description.centers(action_map.shape, frames.shape[:3]),
    )


@pytest.fixture(scope="module")
def saved_model(case):
    if case.name == "ONNX":
        with pytest.raises(ValueError, match="ONNX"):
            export_saved_model(
                case.model, case.folder / "no", backbone=case.backbone
            )
        pytest.skip("what runs in ONNX Runtime cannot be served by TensorFlow")
    return export_saved_model(
        case.model, case.folder / "served", backbone=case.backbone
    )


def load_trained(case):
    """What was saved; of a SavedModel, which runs what it likes, not."""
    if case.name == "SavedModel":
        return case.folder / "actx.keras", case.backbone
    return case.folder / "actx.keras", case.folder / "backbone.keras"


def test_the_figure(case):
    prediction = predict_video(case.video, *load_trained(case))
    case.check(prediction.scores, prediction.action_map, prediction.centers)
    assert list(prediction.class_names) == CLASSES


def test_the_page(case):
    clip = Clip("clip", str(case.video), "jump", "test")
    assert not extract_features(
        [clip], case.backbone, case.folder / "features", progress=False
    )
    path = case.folder / "page.html"
    with FeatureStore(case.folder / "features") as store:
        assert store.description == case.backbone.description
        visualization.view_clips(
            case.model, store, [clip], path, progress=False
        )
    text = re.search(
        r'<script[^>]*type="application/json"[^>]*>(.*?)</script>',
        path.read_text("utf-8"),
        re.DOTALL,
    )
    [shown] = json.loads(text[1])["clips"]
    # Levels of 1 of 255 are what the page holds of a map.
    levels = np.frombuffer(
        __import__("base64").b64decode(shown["action"]["levels"]), np.uint8
    )
    case.check(
        shown["scores"],
        levels / 255 * shown["action"]["largest"],
        shown["centers"],
        map_tolerance=3e-3,
    )


def test_the_figure_of_a_saved_model(case, saved_model):
    prediction = predict_video(case.video, saved_model)
    case.check(prediction.scores, prediction.action_map, prediction.centers)


def test_the_client(case, saved_model):
    tf_serving = pytest.importorskip("tests.tf_serving")
    with tf_serving.serve(saved_model.parent, "served") as (rest, grpc):
        for server in (rest, grpc):
            answer = ask(case.video, server, "served")
            case.check(answer.scores, answer.action_map, answer.centers)
            assert list(answer.class_names) == CLASSES
        # A client of one's own may leave the size to the server.
        sampling = {**case.backbone.description.sampling, "size": None}
        own, _ = read_clip(case.video, **sampling)
        for frames, tolerance in ((case.frames, 1e-3), (own, 5e-2)):
            answers = predict_by_grpc(
                grpc,
                "served",
                "video",
                {
                    "frames": frames[None],
                    "lengths": np.array([len(frames)], np.int32),
                },
            )
            case.check(
                answers["scores"],
                answers["action_map"],
                map_tolerance=tolerance,
            )


@pytest.mark.parametrize("kind", ["LiteRT", "ONNX Runtime"])
def test_other_runtimes(case, kind):
    if case.name in OTHERS:
        pytest.skip("tried with the networks of Keras")
    path = case.folder / kind
    if kind == "LiteRT":
        litert = pytest.importorskip("ai_edge_litert.interpreter")
        export_litert(case.model, path, backbone=case.backbone)
        runner = litert.Interpreter(str(path)).get_signature_runner()
        answers = runner(frames=case.frames[None])
    else:
        onnxruntime = pytest.importorskip("onnxruntime")
        export_onnx(case.model, path, backbone=case.backbone)
        session = onnxruntime.InferenceSession(path)
        names = ["scores", "action_map"]
        values = session.run(names, {"frames": case.frames[None]})
        answers = dict(zip(names, values, strict=True))
    case.check(answers["scores"], answers["action_map"])


def test_no_door_has_a_flag_that_repeats_the_description():
    for name in ("predict", "ask", "view", "localize", "evaluate", "export"):
        flags = set(make_parser().commands[name].flags())
        assert not flags & {
            f"--{flag}"
            for flag in ("frame_rate", "num_frames", "size", "class_names")
        }
