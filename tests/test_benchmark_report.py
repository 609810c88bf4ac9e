"""IID, SCUBA, SCUFO, contrasted accuracy and the swap: by hand, by command."""

import math

import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.data import write_masks
from actx_tf.experiments import benchmark_report
from actx_tf.experiments import scene_report
from actx_tf.experiments import write_rows
from actx_tf.experiments.benchmark_report import benchmark_table
from tests.harness import run_actx
from tests.lossless import write_lossless
from tests.moving_square import moving_square

RIGHT, WRONG = {"run": 1.0, "jump": 0.0}, {"run": 0.0, "jump": 1.0}


def row(name, test, kind, **given):
    extra = {
        "test": test,
        "scenes": kind,
        "actor": name,
        "scene_of": "",
        "scene_label": "jump" if test == "swap" else "",
    }
    fields = {"label": "run", "split": "test", "source": f"of {name}", **given}
    end = f".{test}" + (f"_{kind}" if test in ("scuba", "scufo") else "")
    return Clip(name + end * (test != "iid"), "v.mp4", extra=extra, **fields)


def rows_of(name, kinds=("conjugates",), **given):
    yield row(name, "iid", "", **given)
    for kind in kinds:
        scufo = row(
            name,
            "scufo",
            kind,
            **{**given, "label": "conjugate", "split": "conjugate"},
        )
        yield row(name, "scuba", kind, conjugates=(scufo.clip,), **given)
        yield scufo
    if "conjugates" in kinds:
        yield row(name, "swap", "conjugates", **given)


# iid, scuba, scufo, swap
ANSWERS = {
    "a": (1, 1, 0, 1),
    "b": (1, 1, 1, 0),
    "c": (1, 0, 1, 0),
    "d": (0, 0, 0, 0),
}


def scores_by_hand(kind="conjugates"):
    scores = {}
    for name, answers in ANSWERS.items():
        ends = ("", f".scuba_{kind}", f".scufo_{kind}", ".swap")
        for end, right in zip(ends, answers, strict=True):
            scores[name + end] = RIGHT if right else WRONG
    return scores


@pytest.fixture
def index(tmp_path):
    clips = [
        clip
        for name in ANSWERS
        for clip in rows_of(name, ("conjugates", "stripes"))
    ]
    write_clip_index(tmp_path / "index.csv", clips)
    return tmp_path / "index.csv"


def test_figures_by_hand(index):
    report = benchmark_report(index, scores=scores_by_hand())
    ((kind, (count, figures)),) = report.rows.items()
    assert (kind, count) == ("conjugates", 4)
    assert {name: figure.value for name, figure in figures.items()} == {
        "iid": 0.75,
        "scuba": 0.5,
        "scufo": 0.5,
        "contrasted": 0.25,
        "swap": 0.25,
        "swap_scene": 0.75,
    }
    assert all(0 <= f.low <= f.value <= f.high <= 1 for f in figures.values())
    # Of the stripes nothing is known.
    assert {reason for _, reason in report.left_out} == {
        "its scuba is not in `scores`"
    }
    header, line = benchmark_table(report)
    assert header[2:6] == ["IID", "SCUBA", "SCUFO", "contrasted"]
    assert line[0] == "conjugates" and line[5].startswith("0.250 (")
    rows = {r["clip"]: r for r in report.clips}
    assert rows["b"]["scufo_answer"] == "run" and not rows["b"]["contrasted"]


def test_contrasted_accuracy_is_that_of_the_scene_report(index, tmp_path):
    clips = read_clip_index(index)
    scuba = [
        clip
        for clip in clips
        if clip.extra["test"] in ("scuba", "scufo")
        and clip.extra["scenes"] == "conjugates"
    ]
    write_clip_index(tmp_path / "scuba_conjugates.csv", scuba)
    scores = scores_by_hand()
    ours = benchmark_report(index, scores=scores).rows["conjugates"][1]
    theirs = (
        scene_report(tmp_path / "scuba_conjugates.csv", scores=scores)
        .rows[0]
        .figures
    )
    for name, other in (
        ("scuba", "accuracy"),
        ("scufo", "scene_only"),
        ("contrasted", "contrasted"),
    ):
        assert ours[name][:3] == theirs[other][:3]


def test_an_index_without_scenes_of_clips(tmp_path):
    """Only those know `scene_of` and `scene_label`."""
    clips = [clip for name in ANSWERS for clip in rows_of(name, ("stripes",))]
    for clip in clips:
        del clip.extra["scene_of"], clip.extra["scene_label"]
    write_clip_index(tmp_path / "index.csv", clips)
    scores = scores_by_hand("stripes")
    report = benchmark_report(tmp_path / "index.csv", scores=scores)
    assert report.rows["stripes"][0] == 4


def test_a_kind_without_swaps(index):
    report = benchmark_report(index, scores=scores_by_hand("stripes"))
    figures = report.rows["stripes"][1]
    assert figures["contrasted"].value == 0.25
    assert math.isnan(figures["swap"].value)
    (header, _) = benchmark_table(report)
    assert header == ["scenes", "clips", "IID", "SCUBA", "SCUFO", "contrasted"]


def test_what_is_left_out_is_said(tmp_path):
    path = tmp_path / "index.csv"
    clips = [
        *rows_of("a"),
        *rows_of("b", label="none"),
        *rows_of("c", label="hide"),
        *rows_of("d", split="validation"),
    ]
    write_clip_index(path, clips)
    scores = {clip.clip: RIGHT for clip in clips}
    report = benchmark_report(path, scores=scores, background=("none",))
    assert report.rows["conjugates"][0] == 1
    assert dict(report.left_out) == {
        "b": "none is the background",
        "c": "the classifier does not know the class 'hide'",
    }
    report = benchmark_report(path, scores=scores, split="validation")
    assert [r["clip"] for r in report.clips] == ["d"]
    with pytest.raises(ValueError, match="tests that the classifier can"):
        benchmark_report(path, scores=scores, split="train")
    with pytest.raises(ValueError, match="`background` must be.*'nonne'"):
        benchmark_report(path, scores=scores, background=("nonne",))
    with pytest.raises(ValueError, match="`model` and `features` must be"):
        benchmark_report(path, model="m.keras")
    for missing in ("scene_label", "actor"):
        for clip in clips:
            clip.extra.pop(missing)
        write_clip_index(path, clips)
        with pytest.raises(ValueError, match="`index` must be.*all tests"):
            benchmark_report(path, scores=scores)
    write_clip_index(path, [Clip("a", "a.mp4", "run", "test")])
    with pytest.raises(ValueError, match="`index` must be that of all tests"):
        benchmark_report(path, scores=scores)


def test_from_videos_to_the_table(tmp_path):
    clips, masks = [], {}
    for number in range(4):
        name = f"clip{number}"
        frames, masks[name], behind = moving_square(8, seed=number)
        write_lossless(tmp_path / f"{name}.mp4", frames)
        write_lossless(tmp_path / f"{name}.scene.mp4", np.stack([behind] * 3))
        file = str(tmp_path / name)
        label = ("run", "jump")[number % 2]
        scene = f"{name}.scene"
        clips += [
            Clip(name, f"{file}.mp4", label, "test", (scene,)),
            Clip(scene, f"{file}.scene.mp4", "conjugate", "conjugate"),
        ]
    write_clip_index(tmp_path / "pairs.csv", clips)
    write_masks(tmp_path / "masks.npz", masks.items())
    command = (
        "scene-benchmark",
        "--index=pairs.csv",
        "--masks=masks.npz",
        "--scenes=conjugates,noise",
        "--output=tests",
    )
    result = run_actx(*command, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "4 clips of iid, 8 clips of scuba, 8 clips of scufo" in result.stdout
    assert "classes that show an action: jump, run;" in result.stdout
    for way in ("conjugate", "median", "motion"):
        assert f"--actors={way} overlaps the masks by 0." in result.stdout
    found = read_clip_index(tmp_path / "tests" / "index.csv")
    rows = [
        {
            "clip": clip.clip,
            # Always that of who acts, but of what stands still.
            "score_run": float(
                ("2" in clip.extra["actor"] or "0" in clip.extra["actor"])
                != (clip.extra["test"] == "scufo")
            ),
            "score_jump": 0.5,
        }
        for clip in found
    ]
    write_rows(rows, tmp_path / "scores.csv")
    report = (
        "scene-report",
        "--tests",
        "--index=tests/index.csv",
        "--scores=scores.csv",
        "--output=by_clip.csv",
    )
    result = run_actx(*report, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:6] == [
        "scenes",
        "clips",
        "IID",
        "SCUBA",
        "SCUFO",
        "contrasted",
    ]
    for kind, line in zip(("conjugates", "noise"), lines[1:3], strict=True):
        assert line.split()[:2] == [kind, "4"]
        figures = [x for x in line.split()[2:] if not x.startswith("(")]
        assert figures[:4] == ["1.000", "1.000", "0.000", "1.000"]
    assert (tmp_path / "by_clip.csv").exists()
