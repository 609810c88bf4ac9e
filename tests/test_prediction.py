"""Video files and a model, from the library and by `actx predict`."""

import weakref

import numpy as np
import pytest

from actx_tf.backbones import make_backbone
from actx_tf.cli.main import main
from actx_tf.data import ClipFrames
from actx_tf.data import VideoError
from actx_tf.data import synthetic
from actx_tf.data.extraction import WindowedNetwork
from actx_tf.experiments.video_scores import score_videos
from actx_tf.experiments.video_segments import segment_videos
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.prediction import VideoPredictor
from actx_tf.prediction import predict_video
from actx_tf.visualization import resize_map
from tests.described import whole_backbone
from tests.harness import ROOT
from tests.lossless import write_lossless
from tests.served import CHANNELS
from tests.served import make_served

DEMO = ROOT / "saved_models" / "demo"


@pytest.fixture(scope="module")
def built_in():
    return synthetic.make_part("test", 24)


@pytest.fixture(scope="module")
def video(built_in, tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    return write_lossless(folder / "clip.mp4", built_in.videos[0])


@pytest.fixture(scope="module")
def files(served, tmp_path_factory):
    """The model and its backbone, as paths."""
    folder = tmp_path_factory.mktemp("files")
    served.model.save(folder / "model.keras")
    served.backbone.save(folder / "backbone.keras")
    return folder / "model.keras", folder / "backbone.keras"


def test_the_maps_of_a_trained_model_lie_on_the_actors(built_in, tmp_path):
    lift = []
    predict = VideoPredictor(DEMO)
    for i in range(5):
        path = write_lossless(tmp_path / f"{i}.mp4", built_in.videos[i])
        attended = predict(path)
        np.testing.assert_array_equal(attended.frames, built_in.videos[i])
        acting = built_in.actor_masks[i]
        action = resize_map(attended.action_map, acting.shape, attended.centers)
        lift.append(action[acting].sum() / action.sum() / acting.mean())
    assert np.median(lift) > 4  # as dense there as everywhere would be 1


def test_files_and_objects_give_the_same(video, served, files):
    expected = predict_video(video, served.model, served.backbone)
    for arguments in (
        (served.path.parent,),
        files,
    ):
        attended = predict_video(video, *map(str, arguments))
        for name in ("action_map", "context_map", "scores"):
            np.testing.assert_allclose(
                getattr(attended, name), getattr(expected, name), atol=1e-5
            )
        for a, b in zip(attended.centers, expected.centers, strict=True):
            np.testing.assert_array_equal(a, b)
    assert expected.label in served.model.class_names
    assert expected.frame_rate == pytest.approx(8)


def test_a_portrait_of_another_rate_keeps_its_shape(tmp_path):
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (30, 70, 42, 3), np.uint8)
    path = write_lossless(tmp_path / "portrait.mp4", video, rate=30)
    network = synthetic.backbone().network
    backbone = make_backbone(network, frame_rate=12.0, size=(48, 48))
    model = ActX(2, backbone=backbone)
    model.build((None, None, 48, 48, 3))
    prediction = predict_video(path, model, start=0.2, end=0.7)
    assert prediction.frames.shape == (6, 70, 42, 3)
    assert prediction.frame_rate == 12
    assert prediction.action_map.shape == (2, 6, 6)
    middles = (0.2 + (np.arange(6) + 0.5) / 12) * 30
    np.testing.assert_array_equal(prediction.frames, video[middles.astype(int)])


def test_a_model_without_maps_has_scores(video, served):
    model = ACF(2, class_names=["a", "b"])
    model.build((None, None, None, None, CHANNELS))
    prediction = predict_video(video, model, served.backbone)
    assert prediction.scores.sum() == pytest.approx(1)
    assert prediction.action_map is None and prediction.centers is None


def test_scores_that_are_not_finite_are_no_answer(video, served):
    model = ACF(2, class_names=["a", "b"])
    model.build((None, None, None, None, CHANNELS))
    model.head.bias.assign([0.0, np.nan])
    predictor = VideoPredictor(model, served.backbone)
    for ask in (
        predictor,
        predictor.timeline,
        lambda video: list(predictor.stream(video)),
    ):
        with pytest.raises(VideoError, match="not finite: nan of '"):
            ask(video)
    # One such video does not end the answers to others.
    for answer in (score_videos, segment_videos):
        found, failed = answer([video], model, backbone=served.backbone)
        assert not found
        assert [name for name, _ in failed] == [str(video)]


def test_bfloat16_answers_nearly_the_same(video, served, monkeypatch):
    monkeypatch.setattr(
        "actx_tf.data.compute_dtype._multiplies_bfloat16", lambda: True
    )
    exact, rounded = (
        VideoPredictor(served.model, served.backbone, compute_dtype=name)
        for name in ("float32", "bfloat16")
    )
    difference = np.abs(exact(video).scores - rounded(video).scores).max()
    assert 0 < difference < 0.02
    with pytest.raises(ValueError, match="float32 for a SavedModel"):
        VideoPredictor(served.path, compute_dtype="bfloat16")


def test_what_lacks_is_told(video, served, tmp_path):
    with pytest.raises(ValueError, match="`backbone` must be given"):
        predict_video(video, served.model)
    with pytest.raises(FileNotFoundError, match="none"):
        predict_video(video, tmp_path / "none")


def test_the_command_writes_figures_and_films(video, files, tmp_path, capsys):
    flags = ["predict", str(video)]
    assert main([*flags, f"--model={DEMO}", f"--maps={tmp_path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    scores = [line.split() for line in lines[:5]]
    assert float(scores[0][0]) >= float(scores[1][0])
    assert scores[0][1] in synthetic.CLASS_NAMES
    names = {"maps.png", "maps.gif", "maps.mp4", "action_share.png"}
    assert {path.name for path in tmp_path.iterdir()} == names

    maps = tmp_path / "out"
    assert main([*flags, f"--model={files[0]}", f"--maps={maps}"]) == 1
    error = capsys.readouterr().err
    assert "--save_backbone" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def films(tmp_path, count, size=(48, 48), name="long.mp4"):
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (count, *size, 3), np.uint8)
    return write_lossless(tmp_path / name, video), video


@pytest.fixture
def held(monkeypatch):
    """Counts the frames that a reader has given out and that are still held."""
    alive, most = set(), [0]

    def counted(read):
        def frames(self, pixels=True):
            for frame in read(self, pixels):
                if pixels:
                    frame = frame.view(Frame)
                    alive.add(id(frame))
                    weakref.finalize(frame, alive.discard, id(frame))
                    most[0] = max(most[0], len(alive))
                yield frame

        return frames

    monkeypatch.setattr(ClipFrames, "_read", counted(ClipFrames._read))
    return most


class Frame(np.ndarray):
    """An array that can be watched."""


def test_no_more_frames_than_a_window_are_held(served, files, held, tmp_path):
    most = []
    memory = 1e-6  # the shortest window there is
    window = served.backbone.description.frames_in_memory(memory)
    for model in (served.path, files[0]):
        backbone = None
        if model.suffix == ".keras":
            backbone = served.backbone
        predictor = VideoPredictor(model, backbone, memory=memory)
        predictor._model._memory = 1.0  # of the feature map
        for count in (4 * window, 16 * window):
            path, video = films(tmp_path, count)
            held[0] = 0
            scores = predictor(path).scores
            most.append(held[0])
            expected = served.answer_video(video)["scores"]
            np.testing.assert_allclose(scores, expected, atol=1e-5)
    # The window's, the one after it, and what is read ahead.
    assert max(most) <= window + 1 + 2 * 16 + 2
    assert len(set(most)) <= 3


def test_what_is_too_long_is_refused_before_it_is_run(
    served, tmp_path, monkeypatch
):
    path, _ = films(tmp_path, 80)
    for model in (served.path, served.model):
        predictor = VideoPredictor(model, served.backbone, memory=2e-4)
        with monkeypatch.context() as patch:
            patch.setattr(WindowedNetwork, "_run", None)  # is not called
            with pytest.raises(VideoError, match="long.mp4.*20 steps.*whole"):
                predictor(path)
        predictor(path, end=1.0)


def test_a_saved_model_takes_no_more_steps_than_it_says(tmp_path):
    served = make_served(tmp_path / "few", max_steps=10)
    path, _ = films(tmp_path, 44)
    with pytest.raises(VideoError, match="the SavedModel takes 10 "):
        served.predictor(path)
    served.predictor(path, end=5.0)


def test_a_network_that_sees_all_is_shown_what_memory_holds(tmp_path):
    backbone = whole_backbone()
    model = ActX(2, description=backbone.description)
    model.build((None, None, None, None, 3))
    path, _ = films(tmp_path, 40)
    of_20 = 20 * 48 * 48 * 100 / 2**30
    predictor = VideoPredictor(model, backbone, memory=of_20)
    predictor(path, end=2.5)
    with pytest.raises(VideoError, match="more than 20 frames are too many"):
        predictor(path, end=2.75)


def test_shown_frames_are_read_when_wanted_and_few(served, tmp_path):
    path, video = films(tmp_path, 1200, (24, 24))
    prediction = served.predictor(path)
    assert prediction.num_frames == 1200
    frames = prediction.frames
    assert frames.shape == (500, 24, 24, 3)
    assert frames is prediction.frames
    # Evenly: each is the one on display at the middle of its time.
    middles = (np.arange(500) + 0.5) * 1200 / 500
    np.testing.assert_array_equal(frames, video[middles.astype(int)])
    assert len(frames) / prediction.frame_rate == pytest.approx(1200 / 8)
    unread = served.predictor(path)
    path.unlink()
    with pytest.raises(VideoError, match="long.mp4"):
        _ = unread.frames
