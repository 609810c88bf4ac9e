"""Requests of frames, which SavedModels answer in bounded memory."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from actx_tf.backbones import make_backbone
from actx_tf.client import ask_in_parts
from actx_tf.data import VideoError
from actx_tf.data.extraction import FeatureExtractor
from actx_tf.export import export_saved_model
from actx_tf.export import read_metadata
from actx_tf.models import ActX
from actx_tf.prediction import VideoPredictor
from actx_tf.prediction.windows import WindowMeans
from tests.described import whole_backbone
from tests.harness import assert_close
from tests.harness import run_fresh
from tests.long_requests import ask_signatures
from tests.long_requests import encode
from tests.long_requests import expected_scores
from tests.served import Served
from tests.test_prediction import films

CLASS_NAMES = ("wave", "jump", "pushing — away")
SIDE = 16
# Of the feature maps: of 4 x 4 x 4 values a step, and copies of them.
MEMORY = 150 * 4 * 4 * 4 * 4 * 4 / 2**30
refused = functools.partial(pytest.raises, tf.errors.InvalidArgumentError)


def strided_backbone(size=SIDE, **kwargs):
    """A step of 4 frames that sees up to 9 more; it pads as I3D does."""
    return make_backbone(
        keras.Sequential(
            [
                keras.Input((None, size, size, 3)),
                keras.layers.Conv3D(4, (7, 3, 3), 2, padding="same"),
                keras.layers.MaxPooling3D(3, 2, padding="same"),
                keras.layers.Conv3D(4, (3, 1, 1), padding="same"),
                keras.layers.LayerNormalization(),
            ]
        ),
        **kwargs,
    )


def export(folder, backbone, **kwargs):
    description = backbone.description
    model = ActX(3, class_names=CLASS_NAMES, rho=40.0, description=description)
    model.build((None, None, None, None, description.channels))
    path = export_saved_model(model, folder, backbone=backbone, **kwargs)
    return Served(model, backbone, path)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("models")
    return export(folder, strided_backbone(), memory=MEMORY)


@pytest.fixture(scope="module")
def signatures(served):
    loaded = tf.saved_model.load(str(served.path))
    yield loaded.signatures


def window_of(served):
    """No less than half of a window is new, however little memory there is."""
    window = served.backbone.description.frames_in_memory(MEMORY)
    description = served.backbone.description
    assert window == 4 * (description.receptive_radius + 4) > 16
    return window


def video_of(count, side=SIDE):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, side, side, 3), np.uint8)


def test_clips_around_windows_are_answered_as_the_whole(served, tmp_path):
    """Of all lengths modulo the stride, by TensorFlow alone."""
    window = window_of(served)
    counts = [*range(window - 1, window + 6), 2 * window + 1, 4 * window + 3]
    videos = [video_of(count) for count in counts]
    np.savez(tmp_path / "in.npz", *videos)
    run_fresh(
        """
import sys
sys.modules["keras"] = sys.modules["actx_tf"] = None
import numpy as np, tensorflow as tf
path, folder = sys.argv[1:]
signatures = tf.saved_model.load(path).signatures
answers = {}
with np.load(folder + "/in.npz") as videos:
    for clip, video in videos.items():
        frames = tf.constant(video[None])
        images = [[tf.io.encode_png(f).numpy() for f in video]]
        lengths = tf.constant([len(video)])
        for name, inputs in (
            ("video_features", {"frames": frames}),
            ("video", {"frames": frames, "lengths": lengths}),
            ("jpeg", {"frames": tf.constant(images), "lengths": lengths}),
        ):
            for key, value in signatures[name](**inputs).items():
                answers[f"{clip} {name} {key}"] = value.numpy()
np.savez(folder + "/out.npz", **answers)
""",
        served.path,
        tmp_path,
        warm=False,
    )
    extractor = FeatureExtractor(served.backbone, memory=MEMORY)
    assert extractor.window == window
    with np.load(tmp_path / "out.npz", allow_pickle=True) as saved:
        answers = {}
        for key, value in saved.items():
            clip, name, output = key.split()
            answers.setdefault((clip, name), {})[output] = value
    for number, video in enumerate(videos):
        clip = f"arr_{number}"
        features = answers[clip, "video_features"]["features"][0]
        assert_close(features, served.backbone(video[None])[0], 1e-5)
        ours, _ = extractor(iter(video), functools.partial(len, video))
        assert_close(features, ours, 1e-5)
        for name in ("video", "jpeg"):
            served.check(answers[clip, name], [video])


def test_clips_of_a_batch_are_resized_and_padded(served, signatures):
    window = window_of(served)
    videos = [video_of(n, 24) for n in (3 * window + 2, window, 5)]
    lengths = [len(video) for video in videos]
    frames = np.zeros((3, max(lengths), 24, 24, 3), np.uint8)
    images = np.full((3, max(lengths)), b"no image", object)
    for number, video in enumerate(videos):
        frames[number, : len(video)] = video
        images[number, : len(video)] = encode(video)
    for name, clips in (("video", frames), ("jpeg", images)):
        answers = signatures[name](
            frames=tf.constant(clips), lengths=tf.constant(lengths)
        )
        served.check({k: v.numpy() for k, v in answers.items()}, videos)


@pytest.mark.parametrize(("hop", "most"), [(5, 150), (1, 150)])
def test_parts_of_long_videos_are_run_in_windows(served, signatures, hop, most):
    """What does not fit in memory is left to the next request."""
    video = video_of(5 * window_of(served) + 2)
    ask = functools.partial(ask_signatures, signatures)
    means = WindowMeans()
    asked = 0
    for answers in ask_in_parts(
        ask, encode(video), len(video), 10, hop, len(video)
    ):
        begins = answers.pop("begins").tolist()
        assert len(begins) * 10 <= most
        means.add(begins, answers, 10)
        asked += 1
    assert (asked > 1) == (hop == 1)
    np.testing.assert_allclose(
        means.result()["scores"],
        expected_scores(served, video, 10, hop),
        atol=1e-5,
    )


def test_memory_does_not_grow_with_a_clip(tmp_path):
    """The peak of a clip of four windows is that of one, in one process."""
    network = keras.Sequential(
        [
            keras.Input((None, 64, 64, 3)),
            keras.layers.Conv3D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv3D(8, (1, 8, 8), (4, 8, 8), padding="same"),
        ]
    )
    backbone = make_backbone(network)
    served = export(tmp_path / "model", backbone, memory=0.25)
    window = backbone.description.frames_in_memory(0.25)
    assert window > 4 * (backbone.description.receptive_radius + 4)
    figures = run_fresh(
        """
import json, re, sys
import numpy as np, tensorflow as tf
path, window = sys.argv[1], int(sys.argv[2])
signatures = tf.saved_model.load(path).signatures
image = tf.io.encode_jpeg(np.zeros((512, 512, 3), np.uint8)).numpy()

def peak():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\\s*(\\d+)", file.read())[1]) * 2**10

def ask(count):
    lengths = tf.constant([count])
    frames = tf.zeros((1, count, 64, 64, 3), tf.uint8)
    signatures["video"](frames=frames, lengths=lengths)
    del frames
    frames = tf.constant([[image] * count])
    signatures["jpeg"](frames=frames, lengths=lengths)

ask(4)
peaks = [peak()]
for count in (window, window, 4 * window):
    ask(count)
    peaks.append(peak())
print(json.dumps(peaks))
""",
        served.path,
        window,
    )
    start, _, one, four = json.loads(figures.splitlines()[-1])
    sent = 4 * window * 64 * 64 * 3
    features = 4 * 4 * window * 8 * 8 * 8  # of four windows, and copies
    # As a whole it would take four times what one window takes.
    assert one - start > 2e8 > 4 * (sent + features)
    assert four - one < sent + features + 0.2 * (one - start)


def test_the_backbone_computes_in_bfloat16_if_it_is_told_to(
    served, signatures, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "actx_tf.data.compute_dtype._multiplies_bfloat16", lambda: True
    )
    backbone = served.backbone
    video = video_of(40)[np.newaxis]
    path = export(tmp_path / "model", backbone, compute_dtype="bfloat16").path
    loaded = tf.saved_model.load(str(path))
    made = {
        name: of["video_features"](frames=tf.constant(video))["features"]
        for name, of in (
            ("float32", signatures),
            ("bfloat16", loaded.signatures),
        )
    }
    made = {name: features.numpy() for name, features in made.items()}
    expected = backbone(video.astype("float32"), training=False).numpy()
    largest = np.abs(expected).max()
    assert_close(made["float32"], expected)
    assert made["bfloat16"].dtype == np.float32
    error = np.abs(made["bfloat16"] - expected).max()
    assert 1e-4 * largest < error < 0.05 * largest
    with pytest.raises(ValueError, match="`compute_dtype` must be.*'float8'"):
        export(tmp_path / "other", backbone, compute_dtype="float8")
    assert not (tmp_path / "other").exists()


def test_what_must_be_seen_as_a_whole_is_refused_if_it_does_not_fit(tmp_path):
    of_20 = 20.5 * 48 * 48 * 100 / 2**30
    served = export(
        tmp_path / "model", whole_backbone(size=(48, 48)), memory=of_20
    )
    loaded = tf.saved_model.load(str(served.path)).signatures
    ask = functools.partial(ask_signatures, loaded)
    assert read_metadata(served.path)["memory"] == of_20
    for name in ("video", "jpeg"):
        for count in (20, 21):
            video = video_of(count, 48)
            frames = video if name == "video" else np.array(encode(video))
            inputs = {"frames": frames[None], "lengths": np.int32([count])}
            if count == 20:
                served.check(ask(name, inputs), [video])
                continue
            with pytest.raises(
                RuntimeError,
                match="sees a clip as a whole, and x frames do not fit in the",
            ):
                ask(name, inputs)
    # The same of whoever asks with more memory of his own.
    path, _ = films(tmp_path, 40)
    predictor = VideoPredictor(served.path, memory=4.0)
    predictor(path, end=2.5)
    with pytest.raises(VideoError, match="more than 20 frames are too many"):
        predictor(path, end=2.75)


def test_a_clip_of_a_fixed_number_of_frames_always_fits(tmp_path):
    backbone = whole_backbone(size=(48, 48), num_frames=30)
    served = export(tmp_path / "model", backbone, memory=1e-4)
    serve = tf.saved_model.load(str(served.path)).signatures["video"]
    video = video_of(30, 48)
    answers = serve(frames=tf.constant(video[None]), lengths=tf.constant([30]))
    served.check({k: v.numpy() for k, v in answers.items()}, [video])


def test_feature_maps_that_do_not_fit_are_refused(served, signatures):
    """Of all clips of a request together."""
    serve = signatures["video_features"]
    for batch, count in ((1, 600), (3, 200)):
        frames = np.zeros((batch, count, SIDE, SIDE, 3), np.uint8)
        assert serve(frames=tf.constant(frames))["features"].shape[0] == batch
        frames = np.zeros((batch, count + 4, SIDE, SIDE, 3), np.uint8)
        with refused(match="feature maps of x steps do not fit"):
            serve(frames=tf.constant(frames))


def test_frames_too_large_for_a_window_are_refused(tmp_path):
    """Where the size is free; a short clip of them fits."""
    backbone = strided_backbone(None)
    bytes_per_pixel = backbone.description.bytes_per_pixel
    memory = 60 * 32 * 32 * bytes_per_pixel / 2**30
    served = export(tmp_path / "model", backbone, memory=memory)
    signatures = tf.saved_model.load(str(served.path)).signatures
    for count, side in ((200, 32), (10, 64)):
        video = video_of(count, side)
        answers = signatures["video"](
            frames=tf.constant(video[None]), lengths=tf.constant([count])
        )
        served.check({k: v.numpy() for k, v in answers.items()}, [video])
    images = encode(video_of(20, 64))
    with refused(match="`frames` must be smaller: a window takes y of them"):
        signatures["jpeg"](
            frames=tf.constant([images]), lengths=tf.constant([20])
        )


def test_images_of_a_clip_are_of_one_size(signatures):
    images = [*encode(video_of(8)), *encode(video_of(1, 24))]
    with refused(match="`frames` of a clip must be of one size"):
        signatures["jpeg"](
            frames=tf.constant([images]), lengths=tf.constant([9])
        )
