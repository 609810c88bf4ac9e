import json
import os
import pickle
import re
import struct
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.tools import saved_model_cli as saved_model_cli_script

import actx_tf
from actx_tf.backbones import make_backbone
from actx_tf.data import synthetic
from actx_tf.export import export_saved_model
from actx_tf.export import parse_metadata
from actx_tf.export import read_metadata
from actx_tf.models import ACF
from actx_tf.models import ActX
from tests.harness import ROOT
from tests.harness import clips as random_clips
from tests.harness import run_example
from tests.harness import run_fresh
from tests.served import CHANNELS
from tests.served import CLASS_NAMES
from tests.served import make_served
from tests.served import pad
from tests.served import random_features

SCORES = {"scores", "label_index", "label"}
MAPS = SCORES | {"action_map", "context_map"}
SIGNATURES = {
    "serving_default": SCORES,
    "unpadded": SCORES,
    "attention": MAPS,
    "unpadded_attention": MAPS,
    "video": MAPS,
    "jpeg": MAPS,
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return make_served(
        tmp_path_factory.mktemp("models") / "actx",
        max_steps=50,
    )


@pytest.fixture(scope="module")
def signatures(served):
    loaded = tf.saved_model.load(str(served.path))
    yield loaded.signatures


def small_model(**kwargs):
    model = ActX(3, **kwargs)
    model.build((None, None, None, None, 8))
    return model


def without_maps(**kwargs):
    """A model with few signatures."""
    model = ACF(2, units=4, **kwargs)
    model.build((None, None, None, None, 8))
    return model


def make_videos(*lengths, size=(48, 48)):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (n, *size, 3), dtype="uint8") for n in lengths]


def make_requests():
    """Requests by number: the signature, its inputs, and the clips in them."""
    short, long = random_features(3, 2, 5), random_features(9, 2, 5, seed=1)
    features, lengths = pad([short, long])
    one = random_features(1, 4, 1, seed=2)
    videos = make_videos(11, 6)
    frames, frame_counts = pad(videos)
    jpegs = np.array([[encode(f) for f in clip] for clip in frames], object)
    decoded = [
        np.stack([decode(f) for f in clip[:n]])
        for clip, n in zip(jpegs, frame_counts, strict=True)
    ]
    padded = {"features": features, "lengths": lengths}
    return [
        ("serving_default", padded, [short, long]),
        ("attention", padded, [short, long]),
        ("unpadded", {"features": long[None]}, [long]),
        (
            "unpadded_attention",
            {"features": np.stack([one] * 3)},
            [one] * 3,
        ),
        ("video", {"frames": frames, "lengths": frame_counts}, videos),
        ("jpeg", {"frames": jpegs, "lengths": frame_counts}, decoded),
    ]


def decode(image):
    """The method of libjpeg that is exact; others differ by some levels."""
    return tf.io.decode_jpeg(image, dct_method="INTEGER_ACCURATE").numpy()


def encode(frame):
    return tf.io.encode_jpeg(frame).numpy()


def claim(side):
    """A small JPEG that claims to be a square of this side."""
    jpeg = encode(np.zeros((8, 8, 3), "uint8"))
    size = struct.pack(">HH", side, side)
    return jpeg.replace(struct.pack(">HH", 8, 8), size, 1)


def claim_png(side):
    """A small PNG that claims to be a square of this side."""
    png = tf.io.encode_png(np.zeros((8, 8, 3), "uint8")).numpy()
    size = struct.pack(">II", side, side)
    return png.replace(struct.pack(">II", 8, 8), size, 1)


def bad_requests():
    """Requests that cannot be answered, and what the error must say."""
    clip = random_features(1, 4, 2, 2)
    lengths = np.array([4], "int32")
    frames = np.zeros((1, 8, 40, 40, 3), "uint8")
    no_jpeg = np.array([[b"no JPEG"] * 2], object)
    nan = clip.copy()
    nan[0, 2, 1, 1, 7] = np.nan
    long = np.zeros((1, 10_000, 1, 1, CHANNELS), "float32")

    def features(value, lengths=lengths):
        return {"features": value, "lengths": lengths}

    return {
        "rank": ("serving_default", features(clip[0]), r"fed_features.*shape"),
        "rank of lengths": (
            "attention",
            features(clip, lengths[0]),
            r"fed_lengths.*shape",
        ),
        "channels": (
            "serving_default",
            features(clip[..., :7]),
            r"fed_features.*2,2,7\].*\?,64",
        ),
        "dtype": (
            "serving_default",
            features(clip.astype("int64")),
            "to be (a )?float.* int64",
        ),
        "NaN": ("unpadded", {"features": nan}, "`features` must be finite"),
        "infinity": (
            "attention",
            features(clip * np.inf),
            "`features` must be fin",
        ),
        "zero length": (
            "serving_default",
            features(clip, lengths * 0),
            "`lengths` must be at least 1",
        ),
        "more than was sent": (
            "attention",
            features(clip, lengths + 1),
            "`lengths` must be at most what is sent",
        ),
        "lengths of other clips": (
            "serving_default",
            features(clip, np.array([4, 4], "int32")),
            "`lengths` must have one entry a clip",
        ),
        "no step": (
            "unpadded",
            {"features": clip[:, :0]},
            "`features` must not be empty",
        ),
        "no clip": (
            "serving_default",
            features(clip[:0], lengths[:0]),
            "`features` must not be empty",
        ),
        "10,000 steps": (
            "serving_default",
            features(long),
            "`features` must have at most 50 steps",
        ),
        "10,000 frames": (
            "video",
            {
                "frames": np.zeros((1, 10_000, 1, 1, 3), "uint8"),
                "lengths": lengths,
            },
            "`frames` must have at most 200 frames",
        ),
        "channels of frames": (
            "video",
            {"frames": frames[..., :1], "lengths": lengths},
            r"fed_frames.*40,1\].*\?,3",
        ),
        "no JPEG": (
            "jpeg",
            {"frames": no_jpeg, "lengths": np.array([2], "int32")},
            "Invalid JPEG data",
        ),
        "JPEG of 4 gigapixels": (
            "jpeg",
            {
                "frames": np.array([[claim(65_500)]], object),
                "lengths": np.array([1], "int32"),
            },
            "`frames` must have at most 33554432 pixels each",
        ),
        "PNG of 4 gigapixels": (
            "jpeg",
            {
                "frames": np.array([[claim_png(65_500)]], object),
                "lengths": np.array([1], "int32"),
            },
            "`frames` must have at most 33554432 pixels each",
        ),
        "the beginning of a PNG": (
            "jpeg",
            {
                "frames": np.array([[claim_png(8)[:12]]], object),
                "lengths": np.array([1], "int32"),
            },
            "`frames` must be whole images",
        ),
        "JPEG of 67 megapixels, the first of two": (
            "jpeg",
            {
                "frames": np.array(
                    [[claim(2**13), encode(frames[0, 0])]], object
                ),
                "lengths": np.array([2], "int32"),
            },
            "`frames` must have at most 33554432 pixels each",
        ),
    }


@pytest.mark.parametrize("number", range(len(SIGNATURES)))
def test_answers_as_the_model(served, signatures, number):
    name, inputs, clips = make_requests()[number]
    answers = signatures[name](
        **{key: tf.constant(value) for key, value in inputs.items()}
    )
    assert answers.keys() == SIGNATURES[name]
    served.check({k: v.numpy() for k, v in answers.items()}, clips)


def test_features_of_frames_are_what_the_others_answer_of(served, signatures):
    videos = np.stack(make_videos(11, 11, size=(60, 50)))
    features = signatures["video_features"](frames=tf.constant(videos))
    assert features.keys() == {"features"}
    answers = signatures["unpadded_attention"](**features)
    served.check({k: v.numpy() for k, v in answers.items()}, list(videos))
    for frames, message in (
        (np.zeros((1, 201, 1, 1, 3), "uint8"), "at most 200 frames"),
        (np.zeros((1, 0, 8, 8, 3), "uint8"), "must not be empty"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signatures["video_features"](frames=tf.constant(frames))


def test_a_window_is_answered_by_what_was_seen_before(served, signatures):
    clips = random_features(2, 6, 3, 4)
    earlier = np.zeros((2, 0, 3, 4, 2), "float32")
    first = signatures["stream"](
        features=tf.constant(clips[:, :4]), earlier=tf.constant(earlier)
    )
    assert first.keys() == MAPS | {"confidences"}
    served.check(
        {k: v.numpy() for k, v in first.items() if k != "confidences"},
        list(clips[:, :4]),
    )
    second = signatures["stream"](
        features=tf.constant(clips[:, 4:]), earlier=first["confidences"]
    )
    whole = served.model(clips)
    # S_act, all but the softmax over the window, is that of the whole clip.
    np.testing.assert_allclose(
        second["context_map"], whole["context_map"][:, 4:], atol=1e-5
    )
    of_model = served.model.classify_after(clips[:, 4:], first["confidences"])
    np.testing.assert_allclose(
        second["scores"], tf.nn.softmax(of_model["logits"]), atol=1e-5
    )
    for bad, message in (
        (earlier[:1], "`earlier` must be of the clips"),
        (earlier[:, :, :2], "`earlier` must be of the clips"),
        (np.full((2, 1, 3, 4, 2), np.nan, "float32"), "must be finite"),
        (np.zeros((2, 51, 3, 4, 2), "float32"), "at most 50 steps"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signatures["stream"](
                features=tf.constant(clips), earlier=tf.constant(bad)
            )


def test_pngs_are_answered_as_the_frames_themselves(served, signatures):
    videos = make_videos(11, 6)
    frames, lengths = pad(videos)
    pngs = [[tf.io.encode_png(f).numpy() for f in clip] for clip in frames]
    answers = signatures["jpeg"](
        frames=tf.constant(pngs), lengths=tf.constant(lengths)
    )
    served.check({k: v.numpy() for k, v in answers.items()}, videos)


def test_what_is_padded_changes_nothing(signatures):
    clip = random_features(2, 4, 3, 3)
    alone = signatures["unpadded_attention"](features=tf.constant(clip))
    for fill in (0.0, clip.flat[0], 1e4, np.nan):
        padded = np.pad(
            clip, [(0, 0), (0, 3), *[(0, 0)] * 3], constant_values=fill
        )
        answers = signatures["attention"](
            features=tf.constant(padded), lengths=tf.constant([4, 4])
        )
        for name, value in answers.items():
            if name.endswith("_map"):
                assert not value[:, 4:].numpy().any()
                value = value[:, :4]
            if value.dtype == tf.string:
                assert (value == alone[name]).numpy().all()
            else:
                np.testing.assert_allclose(value, alone[name], atol=1e-6)


def signature_defs(path):
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0].signature_def


def run_in_c(served, requests, folder):
    """The answers of TensorFlow's C++ loader, which TF Serving uses too."""
    definitions = signature_defs(served.path)
    job = []
    for name, inputs in requests:
        definition = definitions[name]
        fed = {definition.inputs[key].name: x for key, x in inputs.items()}
        job.append((fed, [x.name for x in definition.outputs.values()]))
    (folder / "job").write_bytes(pickle.dumps(job))
    library = os.path.join(
        os.path.dirname(tf.__file__), "libtensorflow_cc.so.2"
    )
    script = ROOT / "tests" / "tensorflow_c.py"
    result = subprocess.run(
        [sys.executable, script, library, served.path, folder / "job"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    answers = pickle.loads((folder / "job.out").read_bytes())
    return [
        answer
        if isinstance(answer, str)
        else dict(zip(definitions[name].outputs, answer, strict=True))
        for (name, _), answer in zip(requests, answers, strict=True)
    ]


def test_c_api_answers_and_goes_on_after_bad_requests(served, tmp_path):
    good = make_requests()
    bad = bad_requests()
    requests = [(name, inputs) for name, inputs, _ in good]
    answers = run_in_c(
        served,
        [*requests, *[(name, inputs) for name, inputs, _ in bad.values()]]
        + requests,
        tmp_path,
    )
    for first in (0, len(good) + len(bad)):
        for (name, _, clips), answer in zip(
            good, answers[first:], strict=False
        ):
            assert answer.keys() == SIGNATURES[name]
            served.check(answer, clips)
    for (case, (_, _, message)), answer in zip(
        bad.items(), answers[len(good) :], strict=False
    ):
        assert isinstance(answer, str), f"{case}: answered"
        assert re.search(message, answer, re.DOTALL), f"{case}: {answer}"


def test_tensorflow_alone_answers(served, tmp_path):
    name, inputs, clips = make_requests()[1]
    np.savez(tmp_path / "in.npz", **inputs)
    run_fresh(
        """
import sys
sys.modules["keras"] = sys.modules["actx_tf"] = None
import numpy as np, tensorflow as tf
path, name, folder = sys.argv[1:]
inputs = {k: tf.constant(v) for k, v in np.load(folder + "/in.npz").items()}
answers = tf.saved_model.load(path).signatures[name](**inputs)
np.savez(folder + "/out.npz", **{k: v.numpy() for k, v in answers.items()})
""",
        served.path,
        name,
        tmp_path,
        warm=False,
    )
    with np.load(tmp_path / "out.npz", allow_pickle=True) as answers:
        served.check(dict(answers), clips)


def saved_model_cli(*arguments):
    result = run_example(saved_model_cli_script.__file__, *arguments)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def test_saved_model_cli_shows_runs_and_scans(served, tmp_path):
    shown = saved_model_cli("show", "--dir", served.path, "--all")
    for name, outputs in SIGNATURES.items():
        definition = shown.split(f"signature_def['{name}']")[1]
        definition = definition.split("signature_def")[0]
        for output in outputs:
            assert f"outputs['{output}']" in definition
    assert f"shape: (-1, -1, -1, -1, {CHANNELS})" in shown

    name, inputs, clips = make_requests()[0]
    for key, value in inputs.items():
        np.save(tmp_path / f"{key}.npy", value)
    saved_model_cli(
        "run",
        *("--dir", served.path, "--tag_set", "serve", "--signature_def", name),
        "--inputs",
        ";".join(f"{key}={tmp_path}/{key}.npy" for key in inputs),
        *("--outdir", tmp_path / "answers"),
    )
    answers = {
        path.stem: np.load(path, allow_pickle=True)
        for path in (tmp_path / "answers").iterdir()
    }
    assert answers.keys() == SCORES
    served.check(answers, clips)

    # It looks for operations that read or write files.
    scanned = saved_model_cli(
        "scan", "--dir", served.path, "--tag_set", "serve"
    )
    assert "does not contain the default denylisted ops" in scanned


def test_an_exported_model_says_what_it_sees(served, signatures):
    metadata = read_metadata(served.path)
    assert metadata == {
        "actx_tf": actx_tf.__version__,
        "class_names": list(CLASS_NAMES),
        "activation": "softmax",
        "background": [],
        "channels": CHANNELS,
        "max_steps": 50,
        "crop_steps": None,
        "memory": 4.0,
        "signatures": [
            *("serving_default", "unpadded"),
            *("attention", "unpadded_attention", "stream"),
            *("video", "jpeg", "video_features", "windows", "describe"),
        ],
        "backbone": served.backbone.description,
    }
    answer = signatures["describe"](about=tf.constant(["all", "of it"]))
    assert answer["description"].shape == (2,)
    for text in answer["description"].numpy():
        assert parse_metadata(text.decode(), "describe") == metadata
    with pytest.raises(FileNotFoundError):
        read_metadata(served.path.parent)


def test_a_model_of_features_knows_what_made_them(tmp_path):
    description = synthetic.backbone().description
    model = ACF(3, description=description)
    model.build((None, None, None, None, CHANNELS))
    metadata = read_metadata(export_saved_model(model, tmp_path))
    assert metadata["backbone"] == description
    assert "video" not in metadata["signatures"]


def test_a_clip_of_several_classes(tmp_path):
    model = without_maps(activation="sigmoid")
    path = export_saved_model(model, tmp_path)
    x = random_clips(2, 3, 2, 2, 8)
    answers = tf.saved_model.load(str(path)).signatures["unpadded"](
        features=tf.constant(x)
    )
    logits = model.predict(x, verbose=0)["logits"]
    np.testing.assert_allclose(
        answers["scores"], 1 / (1 + np.exp(-logits)), atol=1e-6
    )
    assert [label.decode() for label in answers["label"].numpy()] == [
        str(index) for index in logits.argmax(axis=-1)
    ]


def test_a_model_without_maps(tmp_path):
    model = without_maps()
    path = export_saved_model(model, tmp_path)
    signatures = tf.saved_model.load(str(path)).signatures
    assert set(signatures) == {"serving_default", "unpadded", "describe"}
    x = random_clips(2, 3, 2, 2, 8)
    logits = model.predict(x, verbose=0)["logits"]
    answers = signatures["serving_default"](
        features=tf.constant(np.repeat(x, 2, axis=1)[:, :3]),
        lengths=tf.constant([1, 1]),
    )
    expected = model.predict(x[:, :1], verbose=0)["logits"]
    assert not np.allclose(logits, expected)
    np.testing.assert_allclose(
        answers["scores"], tf.nn.softmax(expected), atol=1e-6
    )
    x[0, 0, 0, 0, 0] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be finite"):
        signatures["unpadded"](features=tf.constant(x))


def small_backbone(size, channels, frames_per_step=8, padding="same", **kwargs):
    network = keras.Sequential(
        [
            keras.Input((None, size, size, 3)),
            keras.layers.Conv3D(
                channels,
                3 if padding == "same" else (frames_per_step, 32, 32),
                (frames_per_step, 32, 32),
                padding=padding,
            ),
            keras.layers.LayerNormalization(),
        ]
    )
    return make_backbone(network, **kwargs)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [9, 16])
def test_steps_are_those_of_the_network(stride, padding, tmp_path):
    """Of any stride: 16 once became 15, and a step was made up."""
    backbone = small_backbone(
        64, channels=8, frames_per_step=stride, padding=padding
    )
    assert backbone.description.frames_per_step == stride
    model = without_maps(description=backbone.description)
    path = export_saved_model(model, tmp_path, backbone=backbone)
    signatures = tf.saved_model.load(str(path)).signatures
    videos = make_videos(3 * stride + 1, stride, size=(64, 64))
    frames, lengths = map(tf.constant, pad(videos))
    answers = signatures["video"](frames=frames, lengths=lengths)
    for clip, scores in zip(videos, answers["scores"], strict=True):
        features = backbone(clip[None].astype("float32"))
        logits = model(features)["logits"]
        np.testing.assert_allclose(scores, tf.nn.softmax(logits)[0], atol=1e-5)
    # Of the longer one.
    served = signatures["video_features"](frames=frames[:1])["features"]
    features = backbone(videos[0][None].astype("float32"))
    np.testing.assert_allclose(served, features, atol=1e-5)


def test_a_network_that_pads_time_and_clips_that_are_too_short(tmp_path):
    network = keras.Sequential(
        [
            keras.Input((None, 64, 64, 3)),
            keras.layers.ZeroPadding3D((2, 0, 0)),
            keras.layers.Conv3D(8, (7, 32, 32), (1, 32, 32)),
        ]
    )
    backbone = make_backbone(network)
    model = small_model(description=backbone.description)
    path = export_saved_model(model, tmp_path, backbone=backbone)
    serve = tf.saved_model.load(str(path)).signatures["video"]
    [video] = make_videos(9, size=(64, 64))
    answers = serve(frames=tf.constant(video[None]), lengths=tf.constant([9]))
    logits = model(backbone(video[None].astype("float32")))["logits"]
    np.testing.assert_allclose(
        answers["scores"], tf.nn.softmax(logits), atol=1e-5
    )
    assert answers["action_map"].shape[1] == 9 + 4 - 6
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="enough for a step: at least 3"
    ):
        short = video[None, :2]
        serve(frames=tf.constant(short), lengths=tf.constant([2]))


def test_a_backbone_of_one_size_and_a_model_that_holds_it(tmp_path):
    backbone = small_backbone(64, channels=8)
    model = ActX(2, backbone=backbone)
    model.build((None, None, 64, 64, 3))
    path = export_saved_model(model, tmp_path)
    assert read_metadata(path)["backbone"] == backbone.description
    assert backbone.description.size == (64, 64)
    [video] = make_videos(9, size=(64, 64))
    serve = tf.saved_model.load(str(path)).signatures["video"]
    answers = serve(frames=tf.constant(video[None]), lengths=tf.constant([9]))
    logits = model.predict(video[None].astype("float32"), verbose=0)["logits"]
    np.testing.assert_allclose(
        answers["scores"], tf.nn.softmax(logits), atol=1e-5
    )
    assert answers["action_map"].shape == (1, 2, 2, 2)
    larger = video.repeat(2, axis=1).repeat(2, axis=2)
    again = serve(frames=tf.constant(larger[None]), lengths=tf.constant([9]))
    assert again["action_map"].shape == (1, 2, 2, 2)


def test_warm_up_records_hold_a_request_for_each_signature(tmp_path):
    prediction_log_pb2 = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2"
    )
    features, [video] = random_features(2, 3, 2, 2), make_videos(5)
    served = make_served(
        tmp_path / "jump",
        samples={"features": features, "frames": video[None]},
    )
    records = tf.data.TFRecordDataset(
        str(served.path / "assets.extra" / "tf_serving_warmup_requests")
    )
    signatures = tf.saved_model.load(str(served.path)).signatures
    warmed = []
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        assert request.model_spec.name == "jump"
        warmed.append(request.model_spec.signature_name)
        answers = signatures[warmed[-1]](
            **{
                name: tf.constant(tf.make_ndarray(proto))
                for name, proto in request.inputs.items()
            }
        )
        if warmed[-1] not in ("jpeg", "video_features", "windows"):
            clips = [video] if warmed[-1] == "video" else features
            served.check({k: v.numpy() for k, v in answers.items()}, clips)
    others = ["stream", "video_features", "windows"]
    assert sorted(warmed) == sorted([*SIGNATURES, *others])


@pytest.mark.parametrize(
    "samples",
    [
        {"video": np.zeros((1, 4, 8, 8, 3))},
        {"frames": np.zeros((1, 4, 8, 8, 3))},
        {"features": np.zeros((1, 4, 8, 8, 3))},
        {"features": np.zeros((4, 8, 8, 8))},
    ],
)
def test_wrong_samples_are_refused_and_nothing_is_written(samples, tmp_path):
    model = small_model()
    with pytest.raises(ValueError, match="samples"):
        export_saved_model(model, tmp_path / "actx", samples=samples)
    assert not (tmp_path / "actx").exists()


def test_versions_ascend_and_nothing_else_is_left(tmp_path):
    model = without_maps()
    assert export_saved_model(model, tmp_path).name == "1"
    (tmp_path / "7").mkdir()
    assert export_saved_model(model, tmp_path, version=9).name == "9"
    for taken in (9, 8, 0):
        with pytest.raises(FileExistsError, match="above 9"):
            export_saved_model(model, tmp_path, version=taken)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"1", "7", "9"}


def test_no_half_a_version_is_ever_seen(tmp_path, monkeypatch):
    """What fails while writing leaves the folder as it was."""
    (tmp_path / "1").mkdir()

    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(json, "dumps", fail)
    with pytest.raises(OSError, match="No space"):
        export_saved_model(without_maps(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("max_steps", {"max_steps": 0}),
        ("memory", {"memory": 0}),
        ("memory", {"memory": "4"}),
        (
            "backbone",
            {"backbone": small_backbone(None, channels=7)},
        ),
    ],
)
def test_wrong_arguments_are_refused(name, kwargs, tmp_path):
    model = small_model()
    with pytest.raises(ValueError, match=f"`{name}` must"):
        export_saved_model(model, tmp_path / "actx", **kwargs)
    assert not (tmp_path / "actx").exists()


def test_a_network_that_does_not_say_what_it_sees_is_refused(tmp_path):
    network = small_backbone(64, channels=8).network
    with pytest.raises(TypeError, match="`backbone` must say what it sees"):
        export_saved_model(small_model(), tmp_path / "actx", backbone=network)
    assert not (tmp_path / "actx").exists()


def test_another_backbone_than_that_of_the_features_is_refused(tmp_path):
    backbone = small_backbone(64, channels=8, frame_rate=16.0)
    model = small_model(description=backbone.description)
    other = small_backbone(64, channels=8, frame_rate=8.0)
    with pytest.raises(ValueError, match=r"frame_rate=8.0 \(not 16.0\)"):
        export_saved_model(model, tmp_path / "actx", backbone=other)
    assert not (tmp_path / "actx").exists()


def test_unbuilt_model_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(ValueError, match="`model` must be built"):
        export_saved_model(ActX(3), tmp_path / "actx")
    assert not (tmp_path / "actx").exists()
