"""Windows over the feature maps of videos, and segments of them."""

import dataclasses

import keras
import numpy as np
import pytest

from actx_tf import visualization
from actx_tf.backbones import make_backbone
from actx_tf.data import VideoError
from actx_tf.data import read_clip
from actx_tf.data import synthetic
from actx_tf.data import video_duration
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.prediction import Timeline
from actx_tf.prediction import VideoPredictor
from actx_tf.prediction.windows import answer_in_windows
from tests.harness import clips as random_clips
from tests.lossless import write_lossless
from tests.served import CHANNELS
from tests.served import CLASS_NAMES
from tests.served import loaded_once as loaded_once  # a fixture
from tests.served import make_served
from tests.test_prediction import films
from tests.test_prediction import held as held

pytestmark = pytest.mark.usefixtures("loaded_once")


@pytest.mark.parametrize(
    ("total", "window", "hop"),
    [(23, 5, 2), (23, 5, 5), (20, 5, 5), (3, 5, 2), (5, 5, 1), (8, 1, 1)],
)
def test_each_step_gets_the_mean_of_its_windows(total, window, hop):
    features = random_clips(total, 2, 3, 4)

    def answers(clips):
        return {
            "scores": clips.mean((1, 2, 3)),
            "action_map": clips[..., 0] / clips.shape[1],
        }

    def parts():
        for begin in range(0, total, 4):
            yield features[begin : begin + 4]

    found = answer_in_windows(answers, parts(), window, hop)
    last = max(0, total - window)
    begins = {*range(0, last + 1, hop), last}
    for step in range(total):
        around = [
            features[begin : begin + window]
            for begin in begins
            if begin <= step < begin + window
        ]
        scores = [clip.mean((0, 1, 2)) for clip in around]
        np.testing.assert_allclose(
            found["scores"][step], np.mean(scores, 0), atol=1e-6
        )
        shares = [1 / len(clip) for clip in around]
        np.testing.assert_allclose(
            found["action_map"][step],
            features[step, ..., 0] * np.mean(shares),
            atol=1e-6,
        )
    assert len(found["scores"]) == len(found["action_map"]) == total


def test_one_window_is_the_whole_answer(served, tmp_path):
    path, _ = films(tmp_path, 38)
    for predictor in (
        served.predictor,
        VideoPredictor(served.model, served.backbone),
    ):
        whole = predictor(path, start=0.5)
        for window in (100.0, None):  # 10 steps are 5 seconds
            timeline = predictor.timeline(path, window=window, start=0.5)
            assert timeline.window >= 34 / 8
            for scores in timeline.scores:
                np.testing.assert_allclose(scores, whole.scores, atol=1e-5)
            np.testing.assert_allclose(
                timeline.action_map, whole.action_map, atol=1e-5
            )
            np.testing.assert_allclose(
                timeline.context_map, whole.context_map, atol=1e-5
            )
            for a, b in zip(timeline.centers, whole.centers, strict=True):
                np.testing.assert_array_equal(a, b)
            times = timeline.times
            assert (times[0], times[-1]) == (0.5, pytest.approx(38 / 8))
            np.testing.assert_allclose(np.diff(times)[1:-1], 0.5)


def test_windows_of_a_long_video_are_clips_to_the_model(served, tmp_path, held):
    path, video = films(tmp_path, 120)
    features = np.asarray(served.backbone(video[None]))[0]
    # 1 second is 2 steps; the backbone is run in its shortest windows.
    predictor = VideoPredictor(served.path, memory=0.01)
    timeline = predictor.timeline(path, window=1.0)
    window = served.backbone.description.frames_in_memory(0.01)
    assert 0 < held[0] <= window + 1 + 2 * 16 + 2 < 120
    assert timeline.window == pytest.approx(1.0)
    assert timeline.class_names == list(CLASS_NAMES)
    of_windows = [
        served.answer(features[begin : begin + 2])["scores"]
        for begin in range(29)
    ]
    for step in range(30):
        around = of_windows[max(0, step - 1) : step + 1]
        np.testing.assert_allclose(
            timeline.scores[step], np.mean(around, 0), atol=1e-5
        )


def sees_brightness(class_names=("none", "bright"), **options):
    """A model that calls bright frames "bright", and its backbone."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((None, 48, 48, 3)),
            keras.layers.AveragePooling3D((4, 24, 24)),
        ]
    )
    backbone = make_backbone(network, frame_rate=8.0, size=(48, 48))
    model = ActX(
        2,
        class_names=class_names,
        description=backbone.description,
        transformation="identity",
        **options,
    )
    model.build((None, None, None, None, 3))
    model.head.set_weights(
        [
            np.array([[0, 0.1]] * 6, "float32"),
            np.array([-5.0, -60.0], "float32"),
        ]
    )
    return model, backbone


def a_bright_stretch(path):
    """A minute of still frames, with brighter ones from 25 to 30 seconds."""
    video = np.full((480, 48, 48, 3), 10, np.uint8)
    video[200:240] = 240
    return write_lossless(path, video)


def test_a_fight_in_the_middle_is_found_where_it_is(tmp_path):
    """Still frames, with a clip that moves put among them."""
    model, backbone = sees_brightness(background=["none"])
    path = a_bright_stretch(tmp_path / "day.mp4")
    timeline = VideoPredictor(model, backbone).timeline(path, window=1.0)
    (segment,) = timeline.segments(thresholds=[0.5])
    assert segment.label == "bright"
    assert segment.start == pytest.approx(200 / 8, abs=0.5)
    assert segment.end == pytest.approx(240 / 8, abs=0.5)
    # Whoever says what is nothing, is asked.
    labels = {x.label for x in timeline.segments(background=())}
    assert labels == {"none", "bright"}


def test_networks_that_see_a_number_of_frames_are_run_in_each_window(tmp_path):
    network = synthetic.backbone().network
    backbone = make_backbone(network, num_frames=8, size=(48, 48))
    model = ACF(2, class_names=["a", "b"], description=backbone.description)
    model.build((None, None, None, None, CHANNELS))
    path, _ = films(tmp_path, 80)
    predictor = VideoPredictor(model, backbone)
    timeline = predictor.timeline(path, window=4.0, overlap=0.5, end=9.0)
    # Windows at 0, 1.67, 3.33 and 5 seconds: as far apart, and no farther.
    begins = np.linspace(0, 5, 4)
    np.testing.assert_allclose(
        timeline.times, sorted([*begins, *(begins + 4)]), atol=1e-5
    )
    of_windows = np.array(
        [predictor(path, start=t, end=t + 4.0).scores for t in begins.tolist()]
    )
    for step, middle in enumerate(
        (timeline.times[1:] + timeline.times[:-1]) / 2
    ):
        around = of_windows[(begins <= middle) & (middle < begins + 4)]
        np.testing.assert_allclose(
            timeline.scores[step], around.mean(0), atol=1e-5
        )
    assert timeline.action_map is None
    short = predictor.timeline(path, window=100.0)
    np.testing.assert_allclose(short.times, [0, 10])
    assert predictor(path).scores == pytest.approx(short.scores[0], abs=1e-6)
    with pytest.raises(ValueError, match="`window` must be given in seconds"):
        predictor.timeline(path)


def test_windows_that_memory_cannot_hold_are_refused(served, tmp_path):
    path, _ = films(tmp_path, 120)
    predictor = VideoPredictor(served.path, memory=2e-4)
    assert len(predictor.timeline(path, window=1.0).scores) == 30
    with pytest.raises(VideoError, match="long.mp4.*shorter.*windows"):
        predictor.timeline(path, window=10.0)
    few = make_served(tmp_path / "few", max_steps=12)
    predictor = VideoPredictor(few.path)
    assert len(predictor.timeline(path, window=6.0).scores) == 30
    with pytest.raises(VideoError, match="the SavedModel takes 12"):
        predictor.timeline(path, window=7.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 0}, "`window` must be positive and finite"),
        ({"window": "2"}, "`window` must be positive and finite"),
        ({"window": 0.2}, "`window` must be a step, 0.5 seconds"),
        (
            {"overlap": 1.0},
            r"`overlap` must be a number in \[0, 1\)",
        ),
        ({"overlap": np.nan}, "`overlap` must be"),
    ],
)
def test_wrong_windows(served, tmp_path, options, words):
    path, _ = films(tmp_path, 24)
    with pytest.raises(ValueError, match=words):
        served.predictor.timeline(path, **options)


def test_segments_of_a_timeline():
    timeline = Timeline(
        times=np.arange(5.0),
        scores=np.array([[0.1, 0.9], [0.8, 0.2], [0.9, 0.1], [0.2, 0.8]]),
        class_names=["run", "none"],
        background=["none"],
        window=1.0,
        num_frames=8,
        frame_rate=2.0,
    )
    (segment,) = timeline.segments(thresholds=[0.5], contrast=0.0)
    assert (segment.start, segment.end, segment.label) == (1.0, 3.0, "run")
    assert segment.score == pytest.approx((0.8 + 0.9) / 2)
    # Of those within one another, the best that overlap too much is left.
    nested = {"thresholds": [0.5, 0.85], "iou": 0.5}
    for contrast, starts in ((0.0, [2.0, 1.0]), (1.0, [1.0, 2.0])):
        found = timeline.segments(**nested, contrast=contrast)
        assert [x.start for x in found] == starts
        assert [x.end for x in found] == [3.0, 3.0]
    assert timeline.segments(thresholds=[0.5, 0.85]) == found[:1]
    assert timeline.segments(background=["run", "none"]) == []
    assert timeline.segments(min_seconds=3.0) == timeline.segments(
        thresholds=[0.1, 0.2], min_seconds=3.0
    )


def test_where_a_model_sees_nothing_no_action_scores():
    rng = np.random.default_rng(0)
    timeline = Timeline(
        times=np.cumsum(rng.integers(1, 4, 41)) / 4,
        scores=rng.random((40, 3)),
        class_names=["run", "none", "jump"],
        background=["none"],
        window=1.0,
        num_frames=8,
        frame_rate=2.0,
    )
    found = timeline.stretches_of_nothing(max_score=0.6, min_seconds=0.5)
    assert found == sorted(found)
    seconds = np.diff(timeline.times)
    quiet = (timeline.scores[:, [0, 2]] <= 0.6).all(axis=1)
    inside = np.any(
        [
            (start <= timeline.times[:-1]) & (timeline.times[1:] <= end)
            for start, end in found
        ],
        axis=0,
    )
    assert inside.any() and not inside[~quiet].any()
    # What is left out is too short: a step between two that are not quiet.
    (left_out,) = np.nonzero(quiet & ~inside)
    assert (seconds[left_out] < 0.5).all()
    for start, end in found:
        assert end - start >= 0.5
    assert timeline.stretches_of_nothing(max_score=1.0) == [
        (timeline.times[0], timeline.times[-1])
    ]
    assert timeline.stretches_of_nothing(max_score=0.0) == []
    with pytest.raises(ValueError, match="`max_score` must be"):
        timeline.stretches_of_nothing(max_score=-1)


def test_a_film_over_time_is_that_of_the_whole(served, tmp_path, monkeypatch):
    """Of one window, it is the film that the whole answer has."""
    path, video = films(tmp_path, 30)
    whole = served.predictor(path)
    timeline = served.predictor.timeline(path, window=100.0)
    images = {}

    def keep(path, frames, frame_rate):
        images[path.name[:2]] = list(map(np.asarray, frames))
        path.write_bytes(b"a film")

    monkeypatch.setattr(visualization.films, "_write_mp4", keep)
    visualization.save_attention_video(
        tmp_path / "a.mp4",
        video,
        whole.action_map,
        whole.context_map,
        8.0,
        whole.centers,
        f"{whole.label} ({whole.scores.max():.2f})",
    )
    visualization.save_timeline_video(tmp_path / "b.mp4", timeline, path)
    (a, b) = images.values()
    assert len(a) == len(b) == 30
    for one, other in zip(a, b, strict=True):
        difference = np.abs(one.astype(int) - other)
        assert difference.max() <= 1


def test_a_film_holds_a_frame_at_a_time(served, tmp_path, held):
    path, _ = films(tmp_path, 150)
    timeline = served.predictor.timeline(path, window=2.0)
    held[0] = 0
    output = tmp_path / "maps.mp4"
    visualization.save_timeline_video(output, timeline, path, side=64)
    assert held[0] <= 4
    _, rate = read_clip(output)
    assert rate == pytest.approx(8)
    assert video_duration(output) == pytest.approx(150 / 8)
    with pytest.raises(ValueError, match="`path` must end in .mp4"):
        visualization.save_timeline_video("maps.gif", timeline, path)
    bare = dataclasses.replace(timeline, action_map=None)
    with pytest.raises(ValueError, match="`timeline` must have maps"):
        visualization.save_timeline_video(output, bare, path)
