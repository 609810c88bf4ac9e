"""Files of segments."""

import csv
import functools
import json

import numpy as np
import pytest

from actx_tf import data
from actx_tf.segments import Segment

SEGMENTS = {
    "street, 1.mp4": [
        Segment(0.1 + 0.2, 4, 'he said "run"', 1 / 3),
        Segment(2.5, 2.5, "jump", -7.5),
    ],
    "v_5n7NCViB5TU": [Segment(24.250000001, 3600.0, "jump\nhigh", 1e-300)],
    "Füße 走る": [Segment(0, 1, " 走る"), Segment(0, 1, "走る,")],
}
FILES = {
    "csv": (data.write_segments_csv, data.read_segments_csv),
    "activitynet": (
        functools.partial(data.write_activitynet_results, external_data=""),
        data.read_activitynet_results,
    ),
    "coco": (data.write_coco_segments, data.read_coco_segments),
}
every_file = pytest.mark.parametrize(
    ("write", "read"), FILES.values(), ids=FILES
)


@every_file
def test_what_is_written_is_read(tmp_path, write, read):
    write(tmp_path / "segments", SEGMENTS)
    assert read(tmp_path / "segments") == SEGMENTS
    numpys = {
        "a": [Segment(np.float32(0.5), np.float64(1.5), np.str_("run"), 1)]
    }
    write(tmp_path / "segments", numpys)
    assert read(tmp_path / "segments") == numpys
    assert [path.name for path in tmp_path.iterdir()] == ["segments"]


@every_file
def test_a_video_without_segments(tmp_path, write, read):
    path = tmp_path / "segments"
    write(path, {"a": [], "b": [Segment(0, 1, "run")], "c": []})
    expected = (
        {"a", "b", "c"} if write is not data.write_segments_csv else {"b"}
    )
    assert set(read(path)) == expected
    write(path, {})
    assert read(path) == {}


def test_the_csv_has_a_row_for_each_segment(tmp_path):
    path = tmp_path / "segments.csv"
    data.write_segments_csv(path, SEGMENTS)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video", "start", "end", "label", "score"]
    assert len(rows) == sum(map(len, SEGMENTS.values()))
    assert float(rows[2]["end"]) == 3600


def test_columns_may_be_more_and_elsewhere(tmp_path):
    path = tmp_path / "segments.csv"
    path.write_text("label,note,end,start,video\r\nrun,x,2,1,a\r\n", "utf-8")
    assert data.read_segments_csv(path) == {"a": [Segment(1, 2, "run")]}


def test_the_results_are_as_activitynet_reads_them(tmp_path):
    """What the owners' `eval_detection.py` asks of a file of results."""
    path = tmp_path / "results.json"
    data.write_activitynet_results(path, SEGMENTS, "I3D of Kinetics-400")
    content = json.loads(path.read_text("utf-8"))
    assert set(content) == {"results", "version", "external_data"}
    assert content["external_data"] == {
        "used": True,
        "details": "I3D of Kinetics-400",
    }
    for entries in content["results"].values():
        for entry in entries:
            assert isinstance(entry["label"], str)
            start, end = map(float, entry["segment"])
            assert start <= end and isinstance(entry["score"], float)
    data.write_activitynet_results(path, {}, "")
    assert not json.loads(path.read_text("utf-8"))["external_data"]["used"]


def test_ids_of_coco_lead_to_names(tmp_path):
    path = tmp_path / "segments.json"
    names = ["walk", "run", "jump"]
    segments = {"a": [], "b": [Segment(0, 1, "jump"), Segment(1, 2, "run")]}
    data.write_coco_segments(path, segments, names)
    content = json.loads(path.read_text("utf-8"))
    assert [entry["name"] for entry in content["categories"]] == names
    found = {
        key: {entry["id"]: entry for entry in content[key]}
        for key in ("videos", "categories", "annotations")
    }
    assert all(len(found[key]) == len(content[key]) for key in found)
    assert [
        (
            found["videos"][entry["video_id"]]["name"],
            found["categories"][entry["category_id"]]["name"],
            entry["segment"],
        )
        for entry in content["annotations"]
    ] == [("b", "jump", [0, 1]), ("b", "run", [1, 2])]


def test_nothing_is_left_of_what_cannot_be_written(tmp_path):
    path = tmp_path / "segments"
    path.write_text("before", "utf-8")
    for names, words in ((["run"], "'jump'"), (["run", "run"], "must differ")):
        with pytest.raises(ValueError, match=f"`class_names` .*{words}"):
            data.write_coco_segments(
                path, {"a": [Segment(0, 1, "jump")]}, names
            )
    with pytest.raises(ValueError, match="cannot be written in UTF-8"):
        data.write_segments_csv(path, {"a\udcff": [Segment(0, 1, "run")]})
    assert path.read_text("utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


VIDEO = '{"results": {"a": %s}}'
COCO = (
    '{"videos": [{"id": 1, "name": "a"}], "categories": [{"id": 7, "name": '
    '"run"}], "annotations": [%s]}'
)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("csv", "", ":1: expected the columns video, start, end, label"),
        ("csv", "video,start,end\na,1,2\n", ":1: expected the columns"),
        ("csv", "video;start;end;label\na;1;2;b\n", ":1: expected the colu"),
        ("csv", "video,video,start,end,label\n", ":1: expected the columns"),
        ("csv", "video,start,end,label\n,1,2,run\n", ":2: `video` is empty"),
        ("csv", "video,start,end,label\na,1,2,run\na,1,2\n", ":3: more or few"),
        ("csv", "video,start,end,label\na,1,2,run,1\n", ":2: more or fewer"),
        ("csv", "video,start,end,label\na,x,2,run\n", ":2: could not convert"),
        ("csv", "video,start,end,label\na,3,2,run\n", ":2: `start` and `end`"),
        ("csv", "video,start,end,label\na,3,nan,run\n", ":2: `start` and"),
        ("csv", "video,start,end,label\na,1,2,\n", ":2: `label` must be"),
        ("csv", 'video,start,end,label\na,1,2,"run\n', ":2: unexpected end"),
        ("activitynet", "{\n", ":2: not JSON"),
        ("activitynet", "[" * 100_000, ":1: not JSON"),
        ("activitynet", "[]", ": expected an object with an object `results`"),
        ("activitynet", '{"results": []}', ": expected an object"),
        (
            "activitynet",
            '{"results": {"a": [], "b": [], "b": []}}',
            ": 'b' is there twice",
        ),
        ("activitynet", VIDEO % "{}", ": video 'a': expected a list"),
        ("activitynet", VIDEO % "[1]", ": video 'a': expected a segment"),
        (
            "activitynet",
            VIDEO % '[{"label": "run", "segment": [1]}]',
            ": video 'a': expected a segment",
        ),
        (
            "activitynet",
            VIDEO % '[{"label": "run", "segment": [1, NaN]}]',
            ": video 'a': expected a segment",
        ),
        (
            "activitynet",
            VIDEO % '[{"label": "run", "segment": [1, 2], "score": "1"}]',
            ": video 'a': expected a segment",
        ),
        ("coco", "{}", ": expected an object with a list `videos`"),
        ("coco", '{"videos": [{"id": 1}]}', ": each of `videos` must have"),
        (
            "coco",
            '{"videos": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}',
            ": each of `videos` must have",
        ),
        (
            "coco",
            COCO % '{"video_id": 2, "category_id": 7, "segment": [0, 1]}',
            ": each annotation must have the `video_id`",
        ),
        (
            "coco",
            COCO % '{"video_id": 1, "category_id": 1, "segment": [0, 1]}',
            ": each annotation must have the `video_id`",
        ),
        (
            "coco",
            COCO % '{"video_id": 1, "category_id": 7}',
            ": video 'a': expected a segment",
        ),
    ],
)
def test_wrong_files(tmp_path, kind, text, words):
    path = tmp_path / "segments"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError) as info:
        FILES[kind][1](path)
    assert str(info.value).startswith(f"{path}{words}")
    path.write_bytes(b"\n\xff")
    with pytest.raises(ValueError, match=":2: not UTF-8"):
        FILES[kind][1](path)
