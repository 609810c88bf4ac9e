"""The context of `actx predict`, and the windows of the training's crops."""

import csv

import keras
import numpy as np
import pytest

from actx_tf import predict
from actx_tf.cli.main import main
from actx_tf.data import synthetic
from actx_tf.export import export_saved_model
from actx_tf.export import read_metadata
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.models import load_model
from actx_tf.prediction import VideoPredictor
from tests.served import CHANNELS
from tests.served import loaded_once as loaded_once  # a fixture
from tests.test_prediction import films

pytestmark = pytest.mark.usefixtures("loaded_once")
CROP_STEPS = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained ActX as two files, and an average pooling."""
    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    backbone = synthetic.backbone()
    about = {"description": backbone.description, "crop_steps": CROP_STEPS}
    model = ActX(3, class_names=["a", "b", "c"], **about)
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, run_eagerly=True)
    rng = np.random.default_rng(0)
    clips = rng.random((6, 3, 2, 2, CHANNELS), dtype="float32")
    pairs = {"features": clips, "conjugate": clips[::-1]}
    model.fit(pairs, np.arange(6) % 3, epochs=2, verbose=0)
    model.save(folder / "actx.keras")
    backbone.save(folder / "backbone.keras")
    export_saved_model(model, folder / "actx", backbone=backbone)
    other = ACF(3, **about)
    other.build((None, None, None, None, CHANNELS))
    export_saved_model(other, folder / "acf", backbone=backbone)
    films(folder, 120)
    return folder


@pytest.fixture(scope="module")
def as_saved(folder):
    """With the context that they were saved with: SavedModel and `.keras`."""
    return predictors(folder)


def predictors(folder, **options):
    """Of the SavedModel, and of the `.keras` file."""
    return [
        VideoPredictor(folder / "actx", **options),
        VideoPredictor(
            folder / "actx.keras", folder / "backbone.keras", **options
        ),
    ]


def test_a_context_is_that_of_a_model_saved_with_it(folder, as_saved):
    video = folder / "long.mp4"
    model = load_model(folder / "actx.keras")
    answered = {}
    for context in ("keep", "mean"):
        model.context = context
        expected = VideoPredictor(model, folder / "backbone.keras")
        whole, windows = expected(video), expected.timeline(video)
        answered[context] = whole.scores
        for predictor in predictors(folder, context=context):
            for got, own in (
                (predictor(video), whole),
                (predictor.timeline(video), windows),
            ):
                for name in ("scores", "action_map", "context_map"):
                    np.testing.assert_allclose(
                        getattr(got, name), getattr(own, name), atol=1e-5
                    )
    assert np.abs(answered["keep"] - answered["mean"]).max() > 1e-3
    # The file says nothing of it: the model is as it was saved.
    np.testing.assert_allclose(
        as_saved[0](video).scores,
        answered["keep"],
        atol=1e-5,
    )


def test_a_model_without_a_switch_refuses_it(folder):
    untrained = ActX(3)
    untrained.build((None, None, None, None, CHANNELS))
    backbone = folder / "backbone.keras"
    VideoPredictor(untrained, backbone, context="keep")
    for model in (folder / "acf", untrained):
        with pytest.raises(ValueError, match="`context` must be None.*trained"):
            VideoPredictor(model, backbone, context="mean")
    with pytest.raises(ValueError, match="`context` must be one of"):
        VideoPredictor(folder / "actx", context="none")


def test_a_stream_refuses_it(folder):
    predictor = VideoPredictor(folder / "actx", context="mean")
    with pytest.raises(ValueError, match="`context` must be None for a stream"):
        predictor.stream(folder / "long.mp4")


def test_the_command_takes_a_context(folder, tmp_path, capsys):
    video, table = folder / "long.mp4", tmp_path / "scores.csv"
    arguments = ["predict", str(video), f"--output={table}"]
    model = f"--model={folder / 'actx'}"
    assert main([*arguments, model, "--context=mean"]) == 0
    (row,) = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    assert row["model"].endswith("context=mean")
    expected = predict(video, folder / "actx", context="mean")
    for name, score in expected.scores[str(video)].items():
        assert float(row[f"score_{name}"]) == pytest.approx(score, abs=1e-6)
    # A table is of one context.
    assert main([*arguments, model]) == 1
    assert "context=mean" in capsys.readouterr().err
    for flags, code, words in (
        (
            [str(video), f"--model={folder / 'acf'}"],
            1,
            "--context must be None",
        ),
        ([f"--stream={video}", model], 2, "--context is for files"),
    ):
        assert main(["predict", *flags, "--context=mean"]) == code
        error = capsys.readouterr().err
        assert words in error and "Traceback" not in error


def test_windows_are_as_long_as_the_crops_of_the_training(folder, as_saved):
    version = folder / "actx" / "1"
    assert read_metadata(version)["crop_steps"] == CROP_STEPS
    assert load_model(folder / "actx.keras").crop_steps == CROP_STEPS
    video = folder / "long.mp4"
    rate = as_saved[0](video).frame_rate
    stride = synthetic.backbone().description.frames_per_step
    seconds = CROP_STEPS * stride / rate
    for predictor in (*as_saved, VideoPredictor(folder / "acf")):
        timeline = predictor.timeline(video)
        assert timeline.window == pytest.approx(seconds)
        given = predictor.timeline(video, window=seconds)
        np.testing.assert_array_equal(timeline.scores, given.scores)


def test_crops_have_a_length():
    for model in (ActX, ACF):
        with pytest.raises(ValueError, match="`crop_steps` must"):
            model(3, crop_steps=0)
