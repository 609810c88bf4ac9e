"""The readers of untrimmed videos, and the clips that are made of them."""

import collections
import csv
import json
import pathlib
import re

import numpy as np
import pytest

from actx_tf import data
from actx_tf.data import annotations
from actx_tf.metrics import mean_average_precision_of_segments
from actx_tf.segments import Segment
from tests.harness import ROOT
from tests.harness import run_actx
from tests.lossless import write_lossless
from tests.test_annotations import write
from tests.test_ucf101_24 import write_ucf101_24

GMDCSA = ROOT.parent / "shared" / "data" / "gmdcsa_fall"

ACTIVITYNET = {
    "version": "VERSION 1.3",
    "taxonomy": [],
    "database": {
        "sJn3KbtHd-0": {
            "duration": 20.5,
            "subset": "training",
            "annotations": [
                {"label": "Long jump", "segment": [4, 6.25]},
                {"label": "Long jump", "segment": [4, 6.25]},
                {"label": "Tango", "segment": [10.5, 25.0]},
            ],
        },
        "ZZVrH3Hv1fM": {
            "duration": 12.0,
            "subset": "validation",
            "annotations": [
                {"label": "Tango", "segment": [0, 0]},
                {"label": "Tango", "segment": [3, 4]},
                {"label": "Long jump", "segment": [9, 8]},
            ],
        },
        "nothing": {"duration": 9.0, "subset": "validation", "annotations": []},
        "hidden": {"duration": 9.0, "subset": "testing", "annotations": []},
    },
}
THUMOS14 = {
    "val/annotation/Diving_val.txt": (
        "video_validation_0000266  1.5 2.5\nvideo_validation_0000266  6.0 7.0\n"
    ),
    "val/annotation/CliffDiving_val.txt": (
        "video_validation_0000266  6.0 7.0\r\n"
    ),
    "val/annotation/Ambiguous_val.txt": (
        "video_validation_0000266 2.5 3.5\nvideo_validation_0000300 0.0 1.0\n"
    ),
    "test/annotations/annotation/Diving_test.txt": (
        "video_test_0000004 0.2 1.1\n"
    ),
}
# Classes as the owners wrote them.
FALLS = {
    "05": "Falling (SW)[1.8 to 5]:; Walking[0 to 1.8]",
    "10": "Falling (BW)[2 to 4]; Falling (SW)[4 to 11]; Walking[0 to 1.8]",
    "11": "Falling (BW[5.9 to 10]; Walking[0 to 1.3]",
    "15": "Falling (SW) [1.8 to 6] ; Sitting [ 0 to 2]",
    "19": "Fall (FW)[8.2 to 15]; Eating[0.9 4.6]; Standing[0 to 8.1]",
}
DAILY = {
    "02": "Drinking[10.5 to 11]; Sitting [0 to 11];",
    "04": "Sitting[9.2 to 10]; Standing[2.4 to 3.6; 6.6 to 7.9; "
    "Walking[3.6 to 5.2; 7.9 to 9.2] ",
    "06": "Sitting[9.7 to 3]; Standing[0 to 0.5; 4.2 to 6.5]",
    "12": "Reading; Sitting[0.8 to 8.1];Standing[8.1 to 9.2]",
}


def write_activitynet(folder):
    write(folder, "activity_net.v1-3.min.json", json.dumps(ACTIVITYNET))


def write_thumos14(folder):
    for name, text in THUMOS14.items():
        write(folder, name, text)


def write_gmdcsa(folder):
    for path, classes in (
        ("Subject 1/Fall.csv", FALLS),
        ("Subject 1/ADL.csv", DAILY),
        ("Subject 2/fall.csv", FALLS),
    ):
        lines = ["File Name,Length (seconds),Description, Classes"]
        lines += [f"{n}.mp4,06, Someone, {x}" for n, x in classes.items()]
        write(folder, path, "\n".join(lines))


WRITE = {
    "activitynet": write_activitynet,
    "gmdcsa": write_gmdcsa,
    "thumos14": write_thumos14,
    "ucf101_24": write_ucf101_24,
}


def read(dataset, folder, **options):
    WRITE[dataset](folder)
    return getattr(annotations, f"read_{dataset}")(folder, **options)


def stretches(clips):
    return [(clip.label, clip.start, clip.end) for clip in clips]


def make_videos(segments, split="train", **values):
    video = annotations.UntrimmedVideo(
        "a", "a.mp4", split, tuple(segments), **values
    )
    return annotations.UntrimmedVideos((video,))


@pytest.mark.parametrize("dataset", WRITE)
@pytest.mark.parametrize("unlabelled", [None, "background", "conjugates"])
def test_an_index_can_be_written(tmp_path, dataset, unlabelled):
    videos = read(dataset, tmp_path)
    clips = videos.clips(unlabelled)
    data.write_clip_index(tmp_path / "index.csv", clips)
    assert data.read_clip_index(tmp_path / "index.csv") == clips
    by_video = {video.name: video for video in videos.videos}
    assert len(by_video) == len(videos.videos)
    for clip in clips:
        assert re.fullmatch(r"[\w.-]+", clip.clip)
        assert clip.file == by_video[clip.extra["scene"]].file
        assert pathlib.Path(clip.file).is_relative_to(tmp_path)
    # A clip of each segment, under its class.
    assert {
        (name, x.label, x.start, x.end)
        for name, video in by_video.items()
        for x in video.segments
        if x.start < x.end
    } == {
        (clip.extra["scene"], clip.label, clip.start, clip.end)
        for clip in clips
        if clip.label not in ("background", "conjugate")
    }
    for split in {video.split for video in videos.videos}:
        truth = videos.truth(split)
        assert mean_average_precision_of_segments(truth, {}).mean == 0


@pytest.mark.parametrize("dataset", WRITE)
def test_missing_annotations(tmp_path, dataset):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))):
        getattr(annotations, f"read_{dataset}")(tmp_path)


# Clips


@pytest.mark.parametrize("seed", range(10))
def test_the_background_is_all_that_is_not_labelled(seed):
    """Second by second, on whole seconds."""
    rng = np.random.default_rng(seed)
    pairs = [
        tuple(sorted(rng.choice(30, 2, replace=False).tolist()))
        for _ in range(rng.integers(0, 6))
    ]
    segments = [Segment(*pair, "run") for pair in pairs[1:]]
    duration = 20  # some segments end later, or begin
    videos = make_videos(segments, unsure=(*pairs[:1],), duration=duration)
    clips = videos.clips("background", min_seconds=0)
    gaps = [
        set(range(int(clip.start), int(clip.end)))
        for clip in clips
        if clip.label == "background"
    ]
    covered = set().union(*(range(*pair) for pair in pairs))
    assert set().union(*gaps) == set(range(duration)) - covered
    # Each is as long as can be.
    borders = [
        second for gap in gaps for second in (min(gap) - 1, max(gap) + 1)
    ]
    assert all(x in covered | {-1, duration} for x in borders)
    assert sum(map(len, gaps)) == len(set().union(*gaps))
    long = make_videos(segments, unsure=(*pairs[:1],), duration=duration)
    assert [
        clip
        for clip in clips
        if clip.label != "background" or clip.end - clip.start >= 3
    ] == long.clips("background", min_seconds=3)


def test_conjugates_are_those_that_mining_finds(tmp_path):
    """On a file, as `conjugates_before_and_after` makes them of the index."""
    frames = np.zeros((80, 16, 16, 3), np.uint8)  # ten seconds
    path = tmp_path / "a.avi"
    write_lossless(path, frames, rate=8)
    segments = [
        Segment(1.0, 3.0, "run"),
        Segment(3.5, 4.5, "jump"),
        Segment(4.25, 6.0, "run"),
    ]
    video = annotations.UntrimmedVideo("a", str(path), "train", (*segments,))
    videos = annotations.UntrimmedVideos((video,))
    clips = videos.clips("conjugates")
    mined, missing = data.conjugates_before_and_after(videos.clips())
    assert clips == mined and not missing
    by_name = {clip.clip: clip for clip in clips}
    first, second, third = (x for x in clips if x.split == "train")
    around = [
        [stretches([by_name[name]])[0][1:] for name in clip.conjugates]
        for clip in (first, second, third)
    ]
    assert around == [[(0, 1), (3, 3.5)], [(3, 3.5)], [(6, 7.75)]]


def test_what_is_unsure_is_no_conjugate():
    segments = [Segment(4, 6, "run")]
    videos = make_videos(segments, unsure=((6.5, 7),), duration=10)
    clip, *conjugates = videos.clips("conjugates")
    assert [(x.start, x.end) for x in conjugates] == [(2, 4), (6, 6.5)]
    videos = make_videos(segments, unsure=((0, float("inf")),), duration=10)
    for unlabelled in ("conjugates", "background"):
        assert len(videos.clips(unlabelled)) == 1


def test_only_training_clips_have_conjugates():
    segments = [Segment(4, 6, "run")]
    for split in ("validation", "test"):
        videos = make_videos(segments, split, duration=10)
        (clip,) = videos.clips("conjugates")
        assert clip.split == split and not clip.conjugates


def test_other_classes_become_background():
    segments = [Segment(1, 3, "run"), Segment(3, 6, "jump")]
    videos = make_videos(segments, duration=6)
    assert stretches(videos.only(["jump"]).clips("background")) == [
        ("background", 0, 1 + 2),
        ("jump", 3, 6),
    ]
    assert videos.only(["jump"]).truth("train") == {"a": segments[1:]}
    for names in ([], ["jump", "Run"]):
        with pytest.raises(ValueError, match=r"some of \['jump', 'run'\]"):
            videos.only(names)


def test_the_length_of_a_file_is_read(tmp_path):
    videos = read("thumos14", tmp_path, file_pattern="{name}.avi")
    clips = videos.only(["Diving"]).clips("background")
    # No file is there: what comes after the last segment is not known.
    assert stretches(clips) == [
        ("Diving", 0.2, 1.1),
        ("background", 0, 1.5),
        ("Diving", 1.5, 2.5),
        ("background", 3.5, 6),
        ("Diving", 6, 7),
    ]
    frames = np.zeros((72, 16, 16, 3), np.uint8)  # nine seconds
    write_lossless(tmp_path / "video_validation_0000266.avi", frames, rate=8)
    clips = videos.only(["Diving"]).clips("background")
    assert stretches(clips)[-1] == ("background", 7, 9)


def test_wrong_arguments():
    videos = make_videos([Segment(4, 6, "run")], duration=10)
    with pytest.raises(ValueError, match="`split` must be .*'train'"):
        videos.truth("training")
    with pytest.raises(ValueError, match="`unlabelled` must be"):
        videos.clips("none")
    with pytest.raises(ValueError, match="`min_seconds` must be"):
        videos.clips("background", min_seconds=-1)


# ActivityNet


def test_activitynet(tmp_path):
    videos = read("activitynet", tmp_path)
    assert [video.name for video in videos.videos] == [
        "sJn3KbtHd-0",
        "ZZVrH3Hv1fM",
        "nothing",
    ]
    assert videos.truth("train") == {
        "sJn3KbtHd-0": [
            Segment(4, 6.25, "Long jump"),
            Segment(4, 6.25, "Long jump"),
            Segment(10.5, 25, "Tango"),
        ]
    }
    # What has no length is in the truth; what ends too early is not.
    assert videos.truth("validation") == {
        "ZZVrH3Hv1fM": [Segment(0, 0, "Tango"), Segment(3, 4, "Tango")],
        "nothing": [],
    }
    file = str(tmp_path / "v_ZZVrH3Hv1fM.mp4")
    assert [(x.file, x.label) for x in videos.left_out] == [
        (file, "Tango"),
        (file, "Long jump"),
    ]
    assert len({x.reason for x in videos.left_out}) == 2

    clips = videos.clips("background")
    assert stretches(clips) == [
        ("background", 0, 4),
        ("Long jump", 4, 6.25),
        ("background", 6.25, 10.5),
        ("Tango", 10.5, 25),
        ("Tango", 3, 4),
        ("background", 0, 9),
    ]
    assert clips[1].clip == "Long_jump_sJn3KbtHd-0_4.0_6.25"
    assert clips[1].source == "sJn3KbtHd-0"
    assert [clip.split for clip in clips] == ["train"] * 4 + ["validation"] * 2


DATABASE = '{"database": {"a": {"subset": "training", "annotations": %s}}}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"database":\n', ":2: not JSON"),
        ("[" * 100_000, ":1: not JSON"),
        ("{}", ":1: expected an object with a `database`"),
        ('{"database": {"a": 1}}', ": video 'a': expected a subset"),
        (DATABASE % "1", ": video 'a': expected"),
        (DATABASE.replace("training", "train") % "[]", ": video 'a': expected"),
        (DATABASE % '[{"label": "Run"}]', ": video 'a': expected"),
        (DATABASE % '[{"label": "", "segment": [1, 2]}]', ": video 'a': exp"),
        (DATABASE % '[{"label": 5, "segment": [1, 2]}]', ": video 'a': exp"),
        (DATABASE % '[{"label": "a/b", "segment": [1, 2]}]', ": video 'a': "),
        (DATABASE % '[{"label": "Run", "segment": [1]}]', ": video 'a': exp"),
        (DATABASE % '[{"label": "Run", "segment": [-1, 2]}]', ": video 'a': "),
        (DATABASE % '[{"label": "Run", "segment": [NaN, 2]}]', ": video 'a'"),
        (
            '{"database": {"../a": {"subset": "training", "annotations": []}}}',
            ": video '../a': expected",
        ),
        (
            DATABASE.replace('"subset"', '"duration": -1, "subset"') % "[]",
            ": video 'a': expected",
        ),
    ],
)
def test_wrong_activitynet(tmp_path, text, words):
    path = write(tmp_path, "activity_net.v1-3.min.json", text)
    with pytest.raises(ValueError) as info:
        annotations.read_activitynet(tmp_path)
    assert str(info.value).startswith(f"{path}{words}")


# THUMOS14


def test_thumos14(tmp_path):
    videos = read("thumos14", tmp_path)
    assert videos.truth("train") == {
        "video_validation_0000266": [
            Segment(6.0, 7.0, "CliffDiving"),
            Segment(1.5, 2.5, "Diving"),
            Segment(6.0, 7.0, "Diving"),
        ],
        "video_validation_0000300": [],
    }
    assert videos.truth("test") == {
        "video_test_0000004": [Segment(0.2, 1.1, "Diving")]
    }
    counts = collections.Counter(x.label for x in videos.left_out)
    assert counts == {"Ambiguous": 2}
    (clip, *_) = videos.clips()
    assert pathlib.Path(clip.file) == tmp_path / "test/video_test_0000004.mp4"
    # One set alone.
    for path in tmp_path.rglob("*_val.txt"):
        path.unlink()
    assert len(annotations.read_thumos14(tmp_path).videos) == 1


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("video_validation_0000266 1.5", 1),
        ("\nvideo_validation_0000266 1.5 2.5 3.5", 2),
        ("video_validation_0000266 2.5 1.5", 1),
        ("video_validation_0000266 2.5 2.5", 1),
        ("video_validation_0000266 2.5 2.5.1", 1),
        ("video_validation_0000266 -2.5 2.5", 1),
        ("video_test_0000266 1.5 2.5", 1),
        ("../0000266 1.5 2.5", 1),
    ],
)
def test_wrong_thumos14(tmp_path, line, number):
    path = write(tmp_path, "val/Diving_val.txt", line)
    with pytest.raises(ValueError) as info:
        annotations.read_thumos14(tmp_path)
    assert str(info.value).startswith(f"{path}:{number}: expected a video")


def test_thumos14_twice(tmp_path):
    write_thumos14(tmp_path)
    write(tmp_path, "copy/Diving_val.txt", "video_validation_0000266 1 2\n")
    with pytest.raises(ValueError, match="`root` must hold one folder"):
        annotations.read_thumos14(tmp_path)


# GMDCSA-24


def test_gmdcsa(tmp_path):
    videos = read("gmdcsa", tmp_path, fold=2)
    found = {video.name: video for video in videos.videos}
    assert {
        name: [(x.label, x.start, x.end) for x in video.segments]
        for name, video in found.items()
        if name.startswith("s1")
    } == {
        "s1_adl_02": [("Drinking", 10.5, 11), ("Sitting", 0, 11)],
        "s1_adl_04": [
            ("Sitting", 9.2, 10),
            ("Walking", 3.6, 5.2),
            ("Walking", 7.9, 9.2),
        ],
        "s1_adl_06": [("Standing", 0, 0.5), ("Standing", 4.2, 6.5)],
        "s1_adl_12": [("Sitting", 0.8, 8.1), ("Standing", 8.1, 9.2)],
        "s1_fall_05": [("Falling", 1.8, 5), ("Walking", 0, 1.8)],
        "s1_fall_10": [
            ("Falling", 2, 4),
            ("Falling", 4, 11),
            ("Walking", 0, 1.8),
        ],
        "s1_fall_11": [("Walking", 0, 1.3)],
        "s1_fall_15": [("Falling", 1.8, 6), ("Sitting", 0, 2)],
        "s1_fall_19": [("Falling", 8.2, 15), ("Standing", 0, 8.1)],
    }
    # All that was not understood is counted, and its videos are unsure.
    left_out = collections.Counter(
        (pathlib.Path(x.file).relative_to(tmp_path).as_posix(), x.label)
        for x in videos.left_out
    )
    assert left_out == {
        ("Subject 1/ADL/04.mp4", "Standing"): 1,
        ("Subject 1/ADL/04.mp4", ""): 1,
        ("Subject 1/ADL/06.mp4", "Sitting"): 1,
        ("Subject 1/ADL/12.mp4", "Reading"): 1,
        **{
            (f"Subject {folder}/{name}.mp4", label): 1
            for folder in ("1/Fall", "2/fall")
            for name, label in (("11", "Falling"), ("19", "Eating"))
        },
    }
    for video in videos.videos:
        is_unsure = any(x.file == video.file for x in videos.left_out)
        assert bool(video.unsure) == is_unsure
        assert video.split == ("test" if video.source == "s2" else "train")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("index.csv", "clip,file,subject\n", ":1: the columns"),
        (
            "index.csv",
            "clip,file,subject,segments_seconds\na,a.mp4,5,\n",
            ":2: `subject` must be 1 to 4",
        ),
        (
            "index.csv",
            "clip,file,subject,segments_seconds\na,,1,\n",
            ":2: `file` is ''",
        ),
        ("Subject 1/Fall.csv", "File Name\n", ":1: the columns"),
        (
            "Subject 1/Fall.csv",
            "File Name,Classes\na.mp4\n",
            ":2: 2 fields are expected",
        ),
        ("Subject 1/Fall.csv", "File Name,Classes\n../a,\n", ":2: `File Nam"),
        ("Subject 1/Fell.csv", "File Name,Classes\n", ": expected no tables"),
    ],
)
def test_wrong_gmdcsa(tmp_path, file, text, words):
    path = write(tmp_path, file, text)
    with pytest.raises(ValueError) as info:
        annotations.read_gmdcsa(tmp_path)
    assert str(info.value).startswith(f"{path}{words}")


def test_wrong_fold(tmp_path):
    for fold in (0, 5, "1"):
        with pytest.raises(ValueError, match="`fold` must be 1 to 4"):
            annotations.read_gmdcsa(tmp_path, fold=fold)


@pytest.mark.skipif(not GMDCSA.exists(), reason="no gmdcsa_fall data")
def test_real_gmdcsa():
    """Each second that is noted in the table is found again."""
    with open(GMDCSA / "index.csv", encoding="utf-8") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file)}
    videos = annotations.read_gmdcsa(GMDCSA, fold=2)
    assert not videos.left_out
    for video in videos.videos:
        row = rows.pop(video.name)
        numbers = re.findall(r"[\d.]+", row["segments_seconds"])
        assert sorted(map(float, numbers)) == sorted(
            time for x in video.segments for time in (x.start, x.end)
        )
        is_fall = any(x.label == "Falling" for x in video.segments)
        assert is_fall == (row["label"] == "fall")
        assert video.split == row["split"]
    assert not rows
    falls = videos.only(["Falling"]).clips("background")
    for clip in falls:
        length = data.video_duration(clip.file)
        assert 0 <= clip.start < length
        assert clip.label == "Falling" or clip.end <= length


# The command


def test_index_of_untrimmed_videos(tmp_path):
    write_thumos14(tmp_path / "data")
    index = tmp_path / "index.csv"
    result = run_actx(
        "index",
        "--root=data",
        "--dataset=thumos14",
        "--classes=Diving",
        "--unlabelled=conjugates",
        f"--output={index}",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"Ambiguous +0 +0 +0 +2 not clear", result.stdout)
    # Conjugates are no class, of which a split could lack clips.
    assert "is that a class?" not in result.stdout
    clips = data.read_clip_index(index)
    videos = annotations.read_thumos14(tmp_path / "data")
    assert clips == videos.only(["Diving"]).clips("conjugates")
    assert {clip.label for clip in clips} == {"Diving", "conjugate"}


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--dataset=kth", "--classes=a"], 2, "--classes is not for --dataset"),
        (
            ["--dataset=hacs", "--unlabelled=background"],
            2,
            "but for activityne",
        ),
        (["--dataset=thumos14", "--classes=Dive"], 1, "'Diving'"),
        (["--dataset=gmdcsa"], 1, "index.csv is missing"),
        (["--dataset=gmdcsa", "--file_pattern=x"], 2, "--file_pattern is not"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, flags, code, words):
    write_thumos14(tmp_path / "data")
    index = tmp_path / "index.csv"
    result = run_actx(
        "index", "--root=data", *flags, f"--output={index}", cwd=tmp_path
    )
    assert result.returncode == code
    assert result.stderr.startswith("actx index: error: ")
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert not index.exists()
