"""The reader of UCF101-24: segments and tubes of one pickle."""

import csv
import json
import pickle
import re

import numpy as np
import pytest

from actx_tf import data
from actx_tf.data import annotations
from actx_tf.segments import Segment
from tests.harness import ROOT
from tests.harness import run_actx
from tests.lossless import write_lossless

REAL = ROOT.parent / "shared" / "data" / "ucf101_100"
BIKING, DIVING = 2, 5  # among the classes, in the order of the alphabet


def tube(label, start, end, boxes=None):
    """From frame `start`, counted from 0, to the one before `end`."""
    if boxes is None:
        boxes = np.arange(4 * (end - start)).reshape(-1, 4)
    return {"label": label, "sf": start, "ef": end, "boxes": np.int16(boxes)}


def video(label, frames, *tubes):
    return {
        "label": label,
        "numf": np.uint32(frames),
        "annotations": [tube(label, *x) for x in tubes],
    }


VIDEOS = {
    # Two people at a time, then nobody, then one of them again.
    "Biking/v_Biking_g08_c01": video(
        BIKING, 80, (0, 16), (8, 24), (24, 25), (56, 64)
    ),
    "Biking/v_Biking_g07_c02": video(BIKING, 80, (16, 80)),
    "Diving/v_Diving_g15_c01": video(DIVING, 80, (40, 56)),
}


def write_ucf101_24(folder, videos=None, rate=8, frames=80):
    videos = VIDEOS if videos is None else videos
    folder.mkdir(exist_ok=True)
    (folder / "pyannot.pkl").write_bytes(pickle.dumps(videos, 2))
    for name in VIDEOS:
        path = folder / "UCF-101" / f"{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        shown = np.zeros((frames, 16, 16, 3), np.uint8)
        write_lossless(path, shown, rate=rate)


def test_segments_are_where_tubes_are(tmp_path):
    write_ucf101_24(tmp_path)
    videos = annotations.read_ucf101_24(tmp_path)
    assert not videos.left_out
    assert videos.truth("train") == {
        "v_Biking_g08_c01": [
            Segment(0, 25 / 8, "Biking"),
            Segment(7, 8, "Biking"),
        ],
        "v_Diving_g15_c01": [Segment(5, 7, "Diving")],
    }
    assert videos.truth("test") == {
        "v_Biking_g07_c02": [Segment(2, 10, "Biking")]
    }
    assert [x.source for x in videos.videos] == [
        "v_Biking_g08",
        "v_Biking_g07",
        "v_Diving_g15",
    ]
    clips = {x.clip: x for x in videos.clips("conjugates")}
    diving = clips["Diving_v_Diving_g15_c01_5.0_7.0"]
    assert [(clips[x].start, clips[x].end) for x in diving.conjugates] == [
        (3, 5),
        (7, 9),
    ]


@pytest.mark.parametrize(
    ("split", "tested"), [(1, ["07"]), (2, ["08"]), (3, ["15"])]
)
def test_groups_divide_it(tmp_path, split, tested):
    write_ucf101_24(tmp_path)
    videos = annotations.read_ucf101_24(tmp_path, split)
    assert [
        re.search(r"_g(\d+)", x.name)[1]
        for x in videos.videos
        if x.split == "test"
    ] == tested


def test_times_are_those_of_the_file(tmp_path):
    """Videos of UCF101 have 25 or 29.97 frames in a second."""
    ends = {}
    for rate in (8, 16):
        write_ucf101_24(tmp_path, rate=rate)
        videos = annotations.read_ucf101_24(tmp_path)
        ends[rate] = [x.end for v in videos.videos for x in v.segments]
    np.testing.assert_allclose(ends[8], 2 * np.array(ends[16]), atol=2e-3)


def test_files_that_are_missing_or_others_are_left_out(tmp_path):
    write_ucf101_24(tmp_path)
    (tmp_path / "UCF-101/Diving/v_Diving_g15_c01.avi").unlink()
    path = tmp_path / "UCF-101/Biking/v_Biking_g08_c01.avi"
    write_lossless(path, np.zeros((74, 16, 16, 3), np.uint8), rate=8)
    videos = annotations.read_ucf101_24(tmp_path)
    assert [x.name for x in videos.videos] == ["v_Biking_g07_c02"]
    assert [(x.label, x.reason) for x in videos.left_out] == [
        ("Biking", "of another length"),
        ("Diving", "without a readable video"),
    ]


def test_a_frame_that_is_missing_at_the_end(tmp_path):
    """Some files end a frame before their annotations."""
    write_ucf101_24(tmp_path, frames=78)
    videos = annotations.read_ucf101_24(tmp_path)
    assert not videos.left_out
    for clip in videos.clips():
        assert clip.end <= data.video_duration(clip.file)


def test_tubes_of_unclear_frames_are_left_out(tmp_path):
    name = "Biking/v_Biking_g08_c01"
    wrong = [
        tube(BIKING, 70, 81),  # after the end
        tube(BIKING, 9, 9),
        tube(BIKING, 50, 60, np.zeros((11, 4))),
    ]
    changed = video(BIKING, 80, (8, 16))
    changed["annotations"] += wrong
    write_ucf101_24(tmp_path, {**VIDEOS, name: changed})
    videos = annotations.read_ucf101_24(tmp_path)
    assert videos.truth("train")["v_Biking_g08_c01"] == [
        Segment(1, 2, "Biking")
    ]
    reasons = [(x.label, x.reason) for x in videos.left_out]
    assert reasons == 3 * [("Biking", "of unclear frames")]
    # Somebody may act in any frame of it.
    for unlabelled in ("background", "conjugates"):
        clips = videos.only(["Biking"]).clips(unlabelled)
        of_video = [c for c in clips if c.extra["scene"] in name]
        assert [x.label for x in of_video] == ["Biking"]
    found = annotations.read_ucf101_24_tubes(tmp_path)
    assert [x.start for x in found["v_Biking_g08_c01"]] == [9]


def test_tubes_are_read_and_written(tmp_path):
    write_ucf101_24(tmp_path)
    found = annotations.read_ucf101_24_tubes(tmp_path)
    data.write_tubes(tmp_path / "boxes.json", found)
    written = data.read_tubes(tmp_path / "boxes.json")
    assert list(written) == [name.split("/")[1] for name in VIDEOS]
    for key, entry in VIDEOS.items():
        for of_each in (found, written):
            for one, given in zip(
                of_each[key.split("/")[1]], entry["annotations"], strict=True
            ):
                assert one.start == given["sf"] + 1
                np.testing.assert_array_equal(one.boxes, given["boxes"])


def test_boxes_of_parts_of_pixels_are_written_exactly(tmp_path):
    boxes = np.random.default_rng(0).normal(size=(3, 4))
    data.write_tubes(tmp_path / "a.json", {"a": [data.Tube(2, boxes)], "b": []})
    found = data.read_tubes(tmp_path / "a.json")
    np.testing.assert_array_equal(found["a"][0].boxes, boxes)
    assert found["a"][0].start == 2 and found["b"] == []


def test_annotations_with_the_names_of_classes(tmp_path):
    """The owners' other file holds the same, and more."""
    write_ucf101_24(tmp_path)
    expected = annotations.read_ucf101_24(tmp_path)
    content = {"db": VIDEOS, "classes": ["Basketball"], "trainvideos": []}
    path = tmp_path / "pyannot_with_class_names.pkl"
    path.write_bytes(pickle.dumps(content))
    found = annotations.read_ucf101_24(tmp_path, annotations=path.name)
    assert found == expected


BROKEN = {
    "of another class": {"Biking/v_Biking_g08_c01": video(DIVING, 9, (0, 9))},
    "of no class": {"Biking/v_Biking_g08_c01": video(24, 9, (0, 9))},
    "another name": {"v_Biking_g08_c01": video(BIKING, 9, (0, 9))},
    "another folder": {"Diving/v_Biking_g08_c01": video(BIKING, 9, (0, 9))},
    "a class of UCF101": {"Archery/v_Archery_g08_c01": video(0, 9, (0, 9))},
    "no frames": {"Biking/v_Biking_g08_c01": {"annotations": []}},
    "no video": {"Biking/v_Biking_g08_c01": None},
    "half a frame": {"Biking/v_Biking_g08_c01": video(BIKING, 9) | {
        "annotations": [{"label": 2, "sf": 0.5, "ef": 2, "boxes": [[0] * 4]}]
    }},
    "no number": {"Biking/v_Biking_g08_c01": video(BIKING, 9) | {
        "annotations": [
            {"label": 2, "sf": 0, "ef": 1, "boxes": [[np.nan] * 4]}
        ]
    }},
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_wrong_annotations(tmp_path, content):
    (tmp_path / "pyannot.pkl").write_bytes(pickle.dumps(content))
    for read in (
        annotations.read_ucf101_24,
        annotations.read_ucf101_24_tubes,
    ):
        message = r"pyannot\.pkl: video '\w+/?\w+': .*Received"
        with pytest.raises(ValueError, match=message):
            read(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps([1]), "a dictionary of videos"),
        (pickle.dumps({}), "a dictionary of videos"),
        (pickle.dumps(print), "not a pickle of arrays"),
        (b"version https://git-lfs", "not a pickle of arrays"),
    ],
)
def test_other_files(tmp_path, content, words):
    (tmp_path / "pyannot.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=f"pyannot.pkl: .*{words}"):
        annotations.read_ucf101_24(tmp_path)


def test_there_are_three_divisions(tmp_path):
    with pytest.raises(ValueError, match="`split` must be 1, 2 or 3"):
        annotations.read_ucf101_24(tmp_path, split=4)


# Real clips


@pytest.fixture
def real(tmp_path):
    """The pickle that the tubes of real clips would come from."""
    if not REAL.exists():
        pytest.skip("needs clips of UCF101")
    given = json.loads((REAL / "boxes.json").read_text(encoding="utf-8"))
    with open(REAL / "index.csv", encoding="utf-8") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file)}
    classes = annotations.ucf101_24._CLASSES
    videos = {}
    for name, tubes in given.items():
        label = rows[name]["label"]
        # One file is a frame shorter than the owners' annotations of it.
        last = max(x["end"] for x in tubes)
        videos[f"{label}/{name}"] = video(
            classes.index(label),
            max(int(rows[name]["frames"]), last),
            *((x["start"] - 1, x["end"], x["boxes_xywh"]) for x in tubes),
        )
    (tmp_path / "pyannot.pkl").write_bytes(pickle.dumps(videos, 2))
    return tmp_path, given, rows


def test_real_clips(real):
    folder, given, rows = real
    pattern = str(REAL / "{name}.mp4")
    videos = annotations.read_ucf101_24(folder, file_pattern=pattern)
    assert not videos.left_out
    assert {x.name for x in videos.videos} == set(given)
    for found in videos.videos:
        row = rows[found.name]
        assert found.split == row["ucf_split1"]
        assert found.source == f"v_{row['label']}_{row['group']}"
        # Frames in no segment are those in no tube.
        frames, rate = int(row["frames"]), float(row["fps"])
        middles = (np.arange(frames) + 0.5) / rate
        free = ~np.any(
            [(x.start <= middles) & (middles < x.end) for x in found.segments],
            axis=0,
        )
        assert free.sum() == int(row["frames_without_action"])
    clips = videos.clips("conjugates")
    mined = [x for x in clips if x.label == "conjugate"]
    assert {x.extra["scene"] for x in mined} == {
        "v_BasketballDunk_g22_c04",
        "v_Diving_g16_c04",
        "v_Diving_g20_c04",
        "v_VolleyballSpiking_g17_c02",
    }


def test_the_command_on_real_clips(real):
    folder, given, _ = real
    index, boxes = folder / "index.csv", folder / "boxes.json"
    result = run_actx(
        "index",
        "--dataset=ucf101_24",
        f"--root={folder}",
        f"--file_pattern={REAL / '{name}.mp4'}",
        "--unlabelled=conjugates",
        f"--output={index}",
        f"--boxes={boxes}",
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    assert f"written: {index}, {boxes}" in result.stdout
    clips = data.read_clip_index(index)
    tubes = data.read_tubes(boxes)
    real_tubes = data.read_tubes(REAL / "boxes.json")
    # Of clips, and of whole videos by their own names.
    assert set(tubes) == {x.clip for x in clips} | set(given)
    scenes = {x.clip: x.extra["scene"] for x in clips}
    for name, found in tubes.items():
        expected = real_tubes[scenes.get(name, name)]
        for one, other in zip(found, expected, strict=True):
            assert one.start == other.start
            np.testing.assert_array_equal(one.boxes, other.boxes)


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (
            ["--boxes=boxes.json", "--dataset=ucf101"],
            2,
            "--boxes is for --dataset",
        ),
        (["--boxes=a.csv", "--dataset=ucf101_24"], 2, "must end with .json"),
        (["--boxes=no/b.json", "--dataset=ucf101_24"], 1, "no folder no"),
        (
            ["--file_pattern={name}.avi", "--dataset=ucf101_24"],
            1,
            "none of the videos of pyannot.pkl is there",
        ),
    ],
)
def test_wrong_flags(tmp_path, flags, code, words):
    write_ucf101_24(tmp_path / "data")
    result = run_actx(
        "index", "--root=data", *flags, "--output=index.csv", cwd=tmp_path
    )
    assert result.returncode == code and words in result.stderr
    assert not (tmp_path / "index.csv").exists()
