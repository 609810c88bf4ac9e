"""`actx evaluate`, `predict`, `export` and `view` of a model of either form."""

import contextlib
import csv
import io
import json
import shutil
import types

import numpy as np
import pytest

from actx_tf.cli.main import main
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import synthetic
from actx_tf.experiments import evaluate_stored
from actx_tf.experiments import video_scores
from actx_tf.experiments.video_scores import find_videos
from actx_tf.experiments.video_scores import score_videos
from actx_tf.export import ExportedModel
from actx_tf.export import export_saved_model
from actx_tf.export import load_trained
from actx_tf.models import ACF
from actx_tf.models import ActX
from actx_tf.prediction import predict_video
from tests.described import describe
from tests.lossless import write_lossless
from tests.served import CHANNELS
from tests.served import CLASS_NAMES
from tests.served import loaded_once as loaded_once  # a fixture

pytestmark = pytest.mark.usefixtures("loaded_once")
NUM_CLIPS = 12


@pytest.fixture(scope="module")
def made(served, tmp_path_factory):
    """A model, its backbone, a store, an index, and videos."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(served.path.parent, folder / "wave")
    served.model.save(folder / "model.keras")
    served.backbone.save(folder / "backbone.keras")
    clips = synthetic.make_part("test", NUM_CLIPS).videos
    features = served.backbone.predict(clips, verbose=0)
    lines = ["clip,file,label,split,conjugates"]
    labels = [CLASS_NAMES[i % 3] for i in range(NUM_CLIPS)]
    with FeatureStoreWriter(
        folder / "features", served.backbone.description
    ) as writer:
        for i, label in enumerate(labels):
            lines.append(f"c{i},c{i}.mp4,{label},test,")
            # Of different lengths.
            writer.add(f"c{i}", features[i][: 2 + i % 3], label, "test", 8.0, 8)
        writer.add("strange", features[0], "dance", "test", 8.0, 16)
    lines.append("unstored,u.mp4,wave,test,")
    lines.append("strange,c0.mp4,dance,test,")
    (folder / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    videos = folder / "videos"
    (videos / "more").mkdir(parents=True)
    for path, clip in zip(
        ("b.mp4", "a.mp4", "more/c.mp4"), clips, strict=False
    ):
        write_lossless(videos / path, clip)
    (videos / "broken.mp4").write_text("no video")
    (videos / "notes.txt").write_text("no video either")
    return types.SimpleNamespace(
        folder=folder,
        served=served,
        features=features,
        labels=labels,
        videos=videos,
    )


def actx(*arguments):
    """Runs the command in this process, where TensorFlow is loaded."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return types.SimpleNamespace(
        returncode=code, stdout=out.getvalue(), stderr=err.getvalue()
    )


def read(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def evaluate(made, model, **more):
    return evaluate_stored(
        made.folder / model,
        features=made.folder / "features",
        index=made.folder / "index.csv",
        **more,
    )


def test_load_trained(made, tmp_path):
    assert isinstance(load_trained(made.folder / "model.keras"), ActX)
    for path in (made.folder / "wave", made.served.path):
        model = load_trained(path)
        assert isinstance(model, ExportedModel)
        assert tuple(model.class_names) == CLASS_NAMES
        assert model.takes_videos
    with pytest.raises(FileNotFoundError, match="no .keras file and no Saved"):
        load_trained(tmp_path)
    with pytest.raises(ValueError, match="PairedModel.*Received: Backbone"):
        load_trained(made.folder / "backbone.keras")


def test_evaluate(made, tmp_path):
    sklearn = pytest.importorskip("sklearn.metrics")
    results = []
    for model in ("model.keras", "wave"):
        output = tmp_path / "scores.csv"
        result = actx(
            "evaluate",
            f"--features={made.folder / 'features'}",
            f"--index={made.folder / 'index.csv'}",
            f"--model={made.folder / model}",
            f"--output={output}",
        )
        assert result.returncode == 0, result.stderr
        assert f"{NUM_CLIPS} clips of the split test" in result.stdout
        assert "left out: unstored: not in" in result.stdout
        assert "does not know the class 'dance'" in result.stdout
        results.append((result.stdout, read(output)))
    (printed, rows), (other, other_rows) = results
    scores = np.array(
        [[float(row[f"score_{name}"]) for name in CLASS_NAMES] for row in rows]
    )
    assert other == printed
    for row, other_row in zip(rows, other_rows, strict=True):
        assert row["answer"] == other_row["answer"]
        assert [float(row[f"score_{n}"]) for n in CLASS_NAMES] == (
            pytest.approx(
                [float(other_row[f"score_{n}"]) for n in CLASS_NAMES],
                abs=1e-5,
            )
        )
    for i, row in enumerate(rows):
        stored = made.features[i][: 2 + i % 3].astype("float16")
        expected = made.served.answer(stored.astype("float32"))
        np.testing.assert_allclose(scores[i], expected["scores"], atol=1e-5)
        assert row["label"] == made.labels[i]
    truth = np.arange(NUM_CLIPS) % 3
    member = np.eye(3)[truth]
    lines = map(str.split, printed.splitlines())
    figures = dict(words for words in lines if len(words) == 2)
    answers = np.argmax(scores, axis=-1)
    assert float(figures["accuracy"]) == pytest.approx(
        np.mean(answers == truth), abs=6e-4
    )
    assert float(figures["mAcc"]) == pytest.approx(
        sklearn.balanced_accuracy_score(truth, answers), abs=6e-4
    )
    assert float(figures["mAP"]) == pytest.approx(
        sklearn.average_precision_score(member, scores), abs=6e-4
    )


def test_background_does_not_count_for_the_mean(made, tmp_path):
    sklearn = pytest.importorskip("sklearn.metrics")
    model = load_trained(made.folder / "model.keras")
    model = ActX.from_config({**model.get_config(), "background": ["wave"]})
    model.build((None, None, None, None, made.features[0].shape[-1]))
    model.save(tmp_path / "model.keras")
    export_saved_model(model, tmp_path / "served")
    for path in (tmp_path / "model.keras", tmp_path / "served"):
        found = evaluate(made, path)
        member = np.eye(3)[np.arange(NUM_CLIPS) % 3]
        kept = [i for i, name in enumerate(CLASS_NAMES) if name != "wave"]
        expected = sklearn.average_precision_score(
            member[:, kept], found.scores[:, kept]
        )
        assert found.figures["mAP"] == pytest.approx(expected, abs=1e-5)
        expected = sklearn.f1_score(
            member.argmax(axis=-1),
            found.scores.argmax(axis=-1),
            labels=kept,
            average="macro",
        )
        assert found.figures["mF1"] == pytest.approx(expected)


def test_what_cannot_be_evaluated(made, tmp_path):
    with pytest.raises(ValueError, match="`split` must be one of .'test'."):
        evaluate(made, "model.keras", split="train")
    other = describe("other", CHANNELS)
    with FeatureStoreWriter(tmp_path / "features", other) as writer:
        writer.add("c0", made.features[0], "wave", "test", 8.0, 16)
    for model in ("model.keras", "wave"):
        with pytest.raises(
            ValueError, match="`model` must be trained on features"
        ):
            evaluate_stored(
                made.folder / model,
                features=tmp_path / "features",
                index=made.folder / "index.csv",
            )


def predict(made, *flags):
    return actx("predict", made.videos, *flags)


def test_predict_a_folder(made, tmp_path):
    output = tmp_path / "scores.csv"
    model = f"--model={made.folder / 'wave'}"
    result = predict(made, model, f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert "videos that have scores: 3 of 4" in result.stdout
    (failed,) = (
        line
        for line in result.stdout.splitlines()
        if line.startswith("failed: ")
    )
    assert failed.count("broken.mp4") == 1
    rows = read(output)
    names = ("a.mp4", "b.mp4", "more/c.mp4")
    assert [row["video"] for row in rows] == [
        str(made.videos / name) for name in names
    ]
    for row in rows:
        expected = made.served.predictor(row["video"])
        assert row["label"] == expected.label
        assert [float(row[f"score_{n}"]) for n in CLASS_NAMES] == (
            pytest.approx(expected.scores, abs=1e-5)
        )
    # The .keras file and its backbone say the same, and JSON holds the same.
    backbone = f"--backbone={made.folder / 'backbone.keras'}"
    path = tmp_path / "scores.json"
    keras_model = f"--model={made.folder / 'model.keras'}"
    result = predict(made, keras_model, backbone, f"--output={path}")
    assert result.returncode == 0, result.stderr
    for row, other in zip(rows, json.loads(path.read_text()), strict=True):
        assert (row["video"], row["label"]) == (other["video"], other["label"])
        for name in CLASS_NAMES:
            assert other[f"score_{name}"] == pytest.approx(
                float(row[f"score_{name}"]), abs=1e-5
            )
    # A table holds the answers of one model to one stretch.
    before = output.read_bytes()
    for flags in (
        [keras_model, backbone],
        [model, "--start=0.5"],
        [model, "--end=1"],
    ):
        result = predict(made, *flags, f"--output={output}")
        assert result.returncode == 1
        assert "begun with other settings" in result.stderr
        assert result.stderr.count("\n") == 1
        assert output.read_bytes() == before


def test_a_table_is_gone_on_with(made, tmp_path, monkeypatch):
    videos = find_videos(made.videos)
    model = made.served.path
    score_videos(videos, model, tmp_path / "whole.csv", progress=False)

    class Interrupted(video_scores.VideoPredictor):
        def __call__(self, video, **stretch):
            if video.endswith("b.mp4"):
                raise KeyboardInterrupt
            return super().__call__(video, **stretch)

    output = tmp_path / "scores.csv"
    with monkeypatch.context() as patch:
        patch.setattr(video_scores, "VideoPredictor", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            score_videos(videos, model, output, progress=False)
    assert [row["video"] for row in read(output)] == [
        str(made.videos / "a.mp4")
    ]
    rows, failed = score_videos(videos, model, output, progress=False)
    assert len(rows) == 3 and len(failed) == 1
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()

    # What is there is not made again: not even a model is loaded.
    whole = [video for video in videos if video.name != "broken.mp4"]
    monkeypatch.setattr(video_scores, "VideoPredictor", None)
    again, failed = score_videos(whole, model, output, progress=False)
    assert again == rows and failed == []


def test_a_video_that_was_replaced_is_answered_anew(made, tmp_path):
    videos = tmp_path / "videos"
    shutil.copytree(made.videos, videos)
    (videos / "broken.mp4").unlink()
    output = tmp_path / "scores.csv"
    arguments = {"model": made.served.path, "progress": False}
    before, _ = score_videos(find_videos(videos), output=output, **arguments)
    shutil.copy(videos / "b.mp4", videos / "a.mp4")
    (videos / "more" / "c.mp4").write_text("no video any more")
    paths = find_videos(videos)
    rows, failed = score_videos(paths, output=output, **arguments)
    expected, _ = score_videos(paths, **arguments)
    assert rows == expected
    assert [row["video"] for row in rows] == [str(path) for path in paths[:2]]
    assert rows[1] == before[1] and rows[0] != before[0]
    assert [path for path, _ in failed] == [str(videos / "more" / "c.mp4")]
    assert len(read(output)) == 2


@pytest.mark.parametrize("content", ["", "clip,label\na,b\n", "[1]", "{}"])
@pytest.mark.parametrize("name", ["notes.csv", "notes.json"])
def test_what_is_no_table_is_left_alone(made, tmp_path, content, name):
    output = tmp_path / name
    output.write_text(content)
    with pytest.raises(ValueError, match="something else than scores"):
        score_videos(
            find_videos(made.videos), made.served.path, output, progress=False
        )
    assert output.read_text() == content


def test_maps_of_a_folder(made, tmp_path):
    videos = tmp_path / "videos"
    (videos / "more").mkdir(parents=True)
    shutil.copy(made.videos / "a.mp4", videos / "more")
    shutil.copy(made.videos / "b.mp4", videos)
    result = actx(
        "predict",
        videos,
        f"--model={made.folder / 'wave'}",
        f"--maps={tmp_path / 'maps'}",
    )
    assert result.returncode == 0, result.stderr
    for video in ("more/a.mp4", "b.mp4"):
        assert (tmp_path / "maps" / video / "maps.png").exists()


def test_nothing_to_predict(made, tmp_path):
    result = actx("predict", tmp_path, f"--model={made.folder / 'wave'}")
    assert result.returncode == 1 and "no video at" in result.stderr
    (tmp_path / "broken.mp4").write_text("no video")
    result = actx("predict", tmp_path, f"--model={made.folder / 'wave'}")
    assert result.returncode == 1
    assert "videos that have scores: 0 of 1" in result.stdout
    result = actx("predict", tmp_path, f"--model={made.folder / 'model.keras'}")
    assert result.returncode == 1
    assert "--backbone must be given" in result.stderr


def test_export(made, tmp_path):
    flags = [
        f"--model={made.folder / 'model.keras'}",
        f"--backbone={made.folder / 'backbone.keras'}",
    ]
    # A version is there: that of another training, say.
    shutil.copytree(made.served.path, tmp_path / "saved" / "1")
    result = actx("export", *flags, f"--output={tmp_path / 'saved'}")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "saved" / "2" / "saved_model.pb").exists()
    video = made.videos / "a.mp4"
    np.testing.assert_allclose(
        predict_video(video, tmp_path / "saved").scores,
        made.served.predictor(video).scores,
        atol=1e-6,
    )
    path = tmp_path / "jump.tflite"
    result = actx("export", flags[0], "--format=litert", f"--output={path}")
    assert result.returncode == 0, result.stderr
    half = tmp_path / "half.tflite"
    actx(
        *("export", flags[0], "--format=litert", "--weights=float16"),
        f"--output={half}",
    )
    assert half.stat().st_size < path.stat().st_size
    # Not what made its features.
    network = made.served.backbone
    other = tmp_path / "other.keras"
    type(network)(network.network, describe("other", CHANNELS)).save(other)
    result = actx(
        *("export", flags[0], f"--backbone={other}"),
        f"--output={tmp_path / 'wrong'}",
    )
    assert result.returncode == 1
    assert "actx export: error: --backbone must be" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "wrong").exists()


def test_a_page_of_a_saved_model(made, tmp_path):
    index = tmp_path / "index.csv"
    shutil.copy(made.videos / "a.mp4", tmp_path / "c0.mp4")
    index.write_text("clip,file,label,split,conjugates\nc0,c0.mp4,jump,test,\n")
    pages = []
    for model in ("model.keras", "wave"):
        path = tmp_path / f"{model}.html"
        result = actx(
            "view",
            f"--features={made.folder / 'features'}",
            f"--index={index}",
            f"--model={made.folder / model}",
            f"--output={path}",
        )
        assert result.returncode == 0, result.stderr
        text = path.read_text(encoding="utf-8")
        pages.append(
            json.loads(text.split('id="data">')[1].split("</script")[0])
        )
    [clip], [other] = (page["clips"] for page in pages)
    assert clip["scores"] == pytest.approx(other["scores"], abs=2e-3)


def test_a_model_without_maps_is_evaluated_and_not_shown(made, tmp_path):
    model = ACF(3, class_names=CLASS_NAMES)
    model.build((None, None, None, None, CHANNELS))
    model.save(tmp_path / "acf.keras")
    flags = [
        f"--features={made.folder / 'features'}",
        f"--index={made.folder / 'index.csv'}",
        f"--model={tmp_path / 'acf.keras'}",
    ]
    assert actx("evaluate", *flags).returncode == 0
    result = actx("view", *flags, f"--output={tmp_path / 'p.html'}")
    assert result.returncode == 1
    assert result.stderr.count("actx view: error: ") == 1
    assert "Traceback" not in result.stderr
