"""Files of the segments of videos, which are gone on with; the command."""

import json
import shutil
import time

import numpy as np
import pytest

import actx_tf
from actx_tf.cli.main import main
from actx_tf.data import read_segments
from actx_tf.experiments import video_segments
from actx_tf.experiments.video_scores import find_videos
from actx_tf.experiments.video_segments import segment_videos
from actx_tf.prediction import VideoPredictor
from tests.harness import PROCESSES
from tests.harness import run_command
from tests.served import CLASS_NAMES
from tests.served import loaded_once as loaded_once  # a fixture
from tests.served import make_served
from tests.test_prediction import films

pytestmark = pytest.mark.usefixtures("loaded_once")
NAMES = ("found.csv", "found.json", "found.coco.json")
OPTIONS = {"window": 1.0, "thresholds": (0.3, 0.4), "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three videos, one of them in a folder, and one that is broken."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "more").mkdir()
    for number, name in enumerate(("a.mp4", "b.mp4", "more/c.mp4")):
        films(folder, 40 + 16 * number, name=name)
    (folder / "broken.mp4").write_text("no video")
    return folder


def test_a_folder_is_answered_as_its_videos_alone(served, folder, tmp_path):
    videos = find_videos(folder)
    expected = {
        str(video): served.predictor.timeline(video, window=1.0).segments(
            thresholds=(0.3, 0.4)
        )
        for video in videos
        if video.name != "broken.mp4"
    }
    assert len(expected) == 3 and all(expected.values())
    for name in NAMES:
        found, failed = segment_videos(
            videos, served.path, tmp_path / name, **OPTIONS
        )
        assert found == expected
        assert [video for video, _ in failed] == [str(folder / "broken.mp4")]
        assert read_segments(tmp_path / name) == expected
    alone, _ = segment_videos([videos[0]], served.path, **OPTIONS)
    assert alone == {str(videos[0]): expected[str(videos[0])]}


def test_python_says_the_same(served, folder):
    found = actx_tf.predict(folder, served.path)
    assert found.segments == {} and list(found.failed) == [
        str(folder / "broken.mp4")
    ]
    assert len(found.scores) == 3
    for video, scores in found.scores.items():
        assert list(scores.values()) == (
            served.predictor(video).scores.tolist()
        )
    video = str(folder / "a.mp4")
    of_one = actx_tf.predict(video, served.path)
    assert of_one.scores == {video: found.scores[video]}
    of_objects = actx_tf.predict(video, served.model, backbone=served.backbone)
    assert of_objects.scores[video] == pytest.approx(
        found.scores[video], abs=1e-5
    )
    found = actx_tf.predict(folder, served.path, segments=True, window=1.0)
    assert found.scores == {} and len(found.failed) == 1
    for video, segments in found.segments.items():
        timeline = served.predictor.timeline(video, window=1.0)
        assert segments == timeline.segments()


def test_a_file_is_gone_on_with(served, folder, tmp_path, monkeypatch):
    videos = find_videos(folder)
    arguments = (videos, served.path)
    whole = tmp_path / "whole.csv"
    segment_videos(*arguments, whole, **OPTIONS)
    asked = []

    class Interrupted(VideoPredictor):
        def timeline(self, video, **options):
            asked.append(video)
            if video.endswith("b.mp4") and len(asked) == 2:
                raise KeyboardInterrupt
            return super().timeline(video, **options)

    monkeypatch.setattr(video_segments, "VideoPredictor", Interrupted)
    output = tmp_path / "found.csv"
    with pytest.raises(KeyboardInterrupt):
        segment_videos(*arguments, output, **OPTIONS)
    assert list(read_segments(output)) == [str(folder / "a.mp4")]
    # A kill can come at any byte.
    with open(f"{output}.progress", "ab") as file:
        file.write(b'{"video": "x", "by')
    found, failed = segment_videos(*arguments, output, **OPTIONS)
    assert len(found) == 3 and len(failed) == 1
    assert not asked[2:].count(str(folder / "a.mp4"))
    assert output.read_bytes() == whole.read_bytes()
    # What is there is not made again, and not even a model is loaded.
    monkeypatch.setattr(video_segments, "VideoPredictor", None)
    good = [video for video in videos if video.name != "broken.mp4"]
    again, _ = segment_videos(good, served.path, output, **OPTIONS)
    assert again == found


def test_a_killed_command_goes_on(served, folder, tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(6):
        shutil.copy(folder / "a.mp4", videos / f"{number}.mp4")

    def flags(output):
        return (
            *("predict", str(videos), f"--model={served.path}", "--segments"),
            *("--window=1", f"--output={output}"),
        )

    output = tmp_path / "found.csv"
    progress = tmp_path / "found.csv.progress"
    outputs = [tmp_path / name for name in ("stdout", "stderr")]
    process = PROCESSES.Process(
        target=run_command, args=("actx", flags(output), tmp_path, outputs)
    )
    process.start()
    while process.is_alive() and not (
        progress.exists() and progress.read_bytes().count(b"\n") > 2
    ):
        time.sleep(0.01)
    process.kill()
    process.join()
    kept = progress.read_bytes()
    assert main(flags(output)) == 0
    said = capsys.readouterr().out
    assert "videos that have segments: 6 of 6" in said
    assert progress.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])
    assert main(flags(tmp_path / "whole.csv")) == 0
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_another_model_or_setting_is_refused(served, folder, tmp_path):
    output = tmp_path / "found.csv"
    video = [folder / "a.mp4"]
    segment_videos(video, served.path, output, **OPTIONS)
    before = output.read_bytes()
    other = make_served(tmp_path / "other")
    for model, change, words in (
        (other.path, {}, "model=1, "),
        (served.path, {"window": 2.0}, r"window=2.0 \(then 1.0\)"),
        (served.path, {"start": 0.5}, r"start=0.5 \(then 0.0\)"),
        (served.path, {"overlap": 0.0}, r"overlap=0.0 \(then 0.5\)"),
        (served.path, {"background": ["wave"]}, r"background=\['wave'\]"),
    ):
        with pytest.raises(ValueError, match=f"begun with other.*{words}"):
            segment_videos(video, model, output, **(OPTIONS | change))
    assert output.read_bytes() == before
    # A video that was replaced is answered anew; one that broke is left out.
    copy = tmp_path / "copy.mp4"
    shutil.copy(folder / "a.mp4", copy)
    segment_videos([copy], served.path, output, **OPTIONS)
    shutil.copy(folder / "b.mp4", copy)
    found, _ = segment_videos([copy], served.path, output, **OPTIONS)
    expected, _ = segment_videos([folder / "b.mp4"], served.path, **OPTIONS)
    assert found[str(copy)] == expected[str(folder / "b.mp4")]
    copy.write_text("no video")
    found, failed = segment_videos([copy], served.path, output, **OPTIONS)
    assert found == {} and len(failed) == 1
    assert list(read_segments(output)) == [str(folder / "a.mp4")]


def test_what_cannot_be_written_is_refused(served, folder, tmp_path):
    video = [folder / "a.mp4"]
    with pytest.raises(ValueError, match="`output` must end in .csv, .json"):
        segment_videos(video, served.path, tmp_path / "found.txt")
    with pytest.raises(ValueError, match="`model` must be a path"):
        segment_videos(video, served.model, tmp_path / "found.csv")
    notes = tmp_path / "notes.csv"
    notes.write_text("mine")
    with pytest.raises(ValueError, match="notes.csv is there, and not what"):
        segment_videos(video, served.path, notes)
    for content in ("mine", "[]\n", "{}\n[1]\n", '{"model": 1}\n'):
        (tmp_path / "notes.csv.progress").write_text(content + "\n")
        with pytest.raises(ValueError, match="holds something else"):
            segment_videos(video, served.path, notes)
    assert notes.read_text() == "mine"
    # Nothing comes of wrong arguments and of broken videos, and nothing is
    # left that the next ones would have to agree with.
    output = tmp_path / "few.csv"
    with pytest.raises(ValueError, match="`window` must be a step"):
        segment_videos(video, served.path, output, window=0.1, progress=False)
    progress = tmp_path / "few.csv.progress"
    assert not progress.exists()
    # What is wrong is said before a video is read.
    for wrong in ({"background": ["wvae"]}, {"thresholds": [np.nan]}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
            segment_videos(["gone.mp4"], served.path, **(OPTIONS | wrong))
    segment_videos(video, served.path, output, **OPTIONS)
    header = progress.read_text().partition("\n")[0] + "\n"
    for begun in ("", header[:9], header.replace("1.0", "3.0")):
        progress.write_text(begun)
        output.unlink()
        assert segment_videos(video, served.path, output, **OPTIONS)[0]
    output.unlink()
    progress.unlink()
    output = tmp_path / "none.csv"
    broken = [folder / "broken.mp4"]
    assert segment_videos(broken, served.path, output, progress=False)[0] == {}
    assert not output.exists() and len(list(tmp_path.iterdir())) == 2


def test_the_command(served, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "found.coco.json"
    model = f"--model={served.path}"
    flags = ["predict", str(folder), model, "--segments", "--window=1"]
    flags += ["--overlap=0", "--thresholds=0.35", f"--output={output}"]
    assert main([*flags, "--background=wave"]) == 0
    said = capsys.readouterr().out
    assert "videos that have segments: 3 of 4" in said
    assert "broken.mp4" in said
    assert "note:" not in said
    found = read_segments(output)
    labels = {x.label for entries in found.values() for x in entries}
    assert labels and labels <= set(CLASS_NAMES[1:])
    timeline = served.predictor.timeline(
        folder / "a.mp4", window=1.0, overlap=0.0
    )
    assert found[str(folder / "a.mp4")] == timeline.segments(
        background=["wave"], thresholds=[0.35]
    )

    video = ["predict", str(folder / "a.mp4"), model]
    assert main([*video, "--segments", "--thresholds=0.0"]) == 0
    said = capsys.readouterr().out
    assert "     0.00 to      5.00 s" in said
    assert "each moment is of some class" in said
    assert "windows of 5 seconds" in said

    for flags, words in (
        (["--window=2"], "--window is for --segments"),
        (["--segments", "--overlap=1"], "--overlap must be a number"),
        (["--segments", "--thresholds=a"], "--thresholds"),
        (["--segments", "--output=found.txt"], "--output must end in"),
        (["--segments", "--background=other"], "--background must be"),
        (["--memory=0.00001"], "give more `memory`"),
    ):
        try:
            code = main([*video, *flags])
        except SystemExit as error:  # of the parser
            code = error.code
        assert code in (1, 2)
        said = capsys.readouterr()
        assert words in said.err + said.out
        assert "Traceback" not in said.err


def test_what_was_noted_holds_every_digit(served, folder, tmp_path):
    output = tmp_path / "found.csv"
    video = [folder / "a.mp4"]
    found, _ = segment_videos(video, served.path, output, **OPTIONS)
    again, _ = segment_videos(video, served.path, output, **OPTIONS)
    assert again == found == read_segments(output)
    header, entry = map(
        json.loads,
        (tmp_path / "found.csv.progress").read_text().splitlines(),
    )
    assert header["window"] == 1.0 and entry["video"] == str(video[0])
    assert np.isclose(entry["segments"][0][3], found[str(video[0])][0].score)
