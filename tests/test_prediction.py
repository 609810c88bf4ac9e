"""Video files and a model, from the library and by `actx predict`."""

import numpy as np
import pytest

from actx_tf.backbones import make_backbone
from actx_tf.data import synthetic
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.prediction import predict_video
from actx_tf.visualization import resize_map
from tests.harness import ROOT
from tests.harness import run_actx
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
def served(tmp_path_factory):
    served = make_served(tmp_path_factory.mktemp("models") / "wave")
    folder = served.path.parent
    served.model.save(folder / "model.keras")
    served.backbone.save(folder / "backbone.keras")
    return served


def test_the_maps_of_a_trained_model_lie_on_the_actors(built_in, tmp_path):
    lift = []
    for i in range(5):
        path = write_lossless(tmp_path / f"{i}.mp4", built_in.videos[i])
        attended = predict_video(path, DEMO)
        np.testing.assert_array_equal(attended.frames, built_in.videos[i])
        acting = built_in.actor_masks[i]
        action = resize_map(attended.action_map, acting.shape, attended.centers)
        lift.append(action[acting].sum() / action.sum() / acting.mean())
    assert np.median(lift) > 5  # as dense there as everywhere would be 1


def test_files_and_objects_give_the_same(video, served):
    folder = served.path.parent
    expected = predict_video(video, served.model, served.backbone)
    for arguments in (
        (served.path,),
        (folder,),
        (folder / "model.keras", folder / "backbone.keras"),
    ):
        attended = predict_video(video, *map(str, arguments))
        for name in ("action_map", "context_map", "scores"):
            np.testing.assert_allclose(
                getattr(attended, name), getattr(expected, name), atol=1e-5
            )
        for a, b in zip(attended.centers, expected.centers, strict=True):
            np.testing.assert_array_equal(a, b)
    assert expected.answer in served.model.class_names
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


def test_what_lacks_is_told(video, served, tmp_path):
    with pytest.raises(ValueError, match="`backbone` must be given"):
        predict_video(video, served.model)
    with pytest.raises(FileNotFoundError, match="none"):
        predict_video(video, tmp_path / "none")


def test_the_command_writes_figures_and_films(video, served, tmp_path):
    result = run_actx(
        "predict",
        video,
        f"--model={DEMO}",
        f"--maps={tmp_path}",
    )
    assert result.returncode == 0, result.stderr
    scores = [line.split() for line in result.stdout.splitlines()[:5]]
    assert float(scores[0][0]) >= float(scores[1][0])
    assert scores[0][1] in synthetic.CLASS_NAMES
    names = {"maps.png", "maps.gif", "maps.mp4", "action_share.png"}
    assert {path.name for path in tmp_path.iterdir()} == names

    result = run_actx(
        "predict",
        video,
        f"--model={served.path.parent / 'model.keras'}",
        f"--maps={tmp_path / 'out'}",
    )
    assert result.returncode == 1
    assert "--save_backbone" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()
