"""Files of segments."""

import csv
import json

import numpy as np
import pytest

from actx_tf.data import read_segments
from actx_tf.data import write_segments
from actx_tf.segments import Segment

SEGMENTS = {
    "street, 1.mp4": [
        Segment(0.1 + 0.2, 4, 'he said "run"', 1 / 3),
        Segment(2.5, 2.5, "jump", -7.5),
    ],
    "v_5n7NCViB5TU": [Segment(24.250000001, 3600.0, "jump\nhigh", 1e-300)],
    "Füße 走る": [Segment(0, 1, " 走る"), Segment(0, 1, "走る,")],
}
every_file = pytest.mark.parametrize(
    "name", ["found.csv", "found.json", "found.coco.json", "FOUND.CSV"]
)


@every_file
def test_what_is_written_is_read(tmp_path, name):
    write_segments(tmp_path / name, SEGMENTS)
    assert read_segments(tmp_path / name) == SEGMENTS
    numpys = {
        "a": [Segment(np.float32(0.5), np.float64(1.5), np.str_("run"), 1)]
    }
    write_segments(tmp_path / name, numpys)
    assert read_segments(tmp_path / name) == numpys
    assert [path.name for path in tmp_path.iterdir()] == [name]


@every_file
def test_a_video_without_segments(tmp_path, name):
    path = tmp_path / name
    write_segments(path, {"a": [], "b": [Segment(0, 1, "run")], "c": []})
    expected = {"a", "b", "c"} if name.endswith(".json") else {"b"}
    assert set(read_segments(path)) == expected
    write_segments(path, {})
    assert read_segments(path) == {}


def test_the_name_says_the_kind(tmp_path):
    with pytest.raises(ValueError, match="`path` must end in .csv, .json"):
        write_segments(tmp_path / "found.txt", SEGMENTS)
    assert not list(tmp_path.iterdir())


def test_the_csv_has_a_row_for_each_segment(tmp_path):
    path = tmp_path / "segments.csv"
    write_segments(path, SEGMENTS)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video", "start", "end", "label", "score"]
    assert len(rows) == sum(map(len, SEGMENTS.values()))
    assert float(rows[2]["end"]) == 3600


def test_columns_may_be_more_and_elsewhere(tmp_path):
    path = tmp_path / "segments.csv"
    path.write_text("label,note,end,start,video\r\nrun,x,2,1,a\r\n", "utf-8")
    assert read_segments(path) == {"a": [Segment(1, 2, "run")]}


def test_the_results_are_as_activitynet_reads_them(tmp_path):
    """What the owners' `eval_detection.py` asks of a file of results."""
    path = tmp_path / "results.json"
    write_segments(path, SEGMENTS, "I3D of Kinetics-400")
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
    write_segments(path, {})
    assert not json.loads(path.read_text("utf-8"))["external_data"]["used"]


def test_ids_of_coco_lead_to_names(tmp_path):
    path = tmp_path / "segments.coco.json"
    segments = {"a": [], "b": [Segment(0, 1, "jump"), Segment(1, 2, "run")]}
    write_segments(path, segments)
    content = json.loads(path.read_text("utf-8"))
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
    path = tmp_path / "segments.csv"
    path.write_text("before", "utf-8")
    with pytest.raises(ValueError, match="cannot be written in UTF-8"):
        write_segments(path, {"a\udcff": [Segment(0, 1, "run")]})
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
        ("json", "{\n", ":2: not JSON"),
        ("json", "[" * 100_000, ":1: not JSON"),
        ("json", "[]", ": expected segments in CSV, or JSON with `results`"),
        ("json", '{"results": []}', ": expected an object"),
        (
            "json",
            '{"results": {"a": [], "b": [], "b": []}}',
            ": 'b' is there twice",
        ),
        ("json", VIDEO % "{}", ": video 'a': expected a list"),
        ("json", VIDEO % "[1]", ": video 'a': expected a segment"),
        (
            "json",
            VIDEO % '[{"label": "run", "segment": [1]}]',
            ": video 'a': expected a segment",
        ),
        (
            "json",
            VIDEO % '[{"label": "run", "segment": [1, NaN]}]',
            ": video 'a': expected a segment",
        ),
        (
            "json",
            VIDEO % '[{"label": "run", "segment": [1, 2], "score": "1"}]',
            ": video 'a': expected a segment",
        ),
        ("json", "{}", ": expected segments in CSV, or JSON with `results`"),
        ("json", '{"videos": {}}', ": expected an object with a list `videos`"),
        ("json", '{"videos": [{"id": 1}]}', ": each of `videos` must have"),
        (
            "json",
            '{"videos": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}',
            ": each of `videos` must have",
        ),
        (
            "json",
            COCO % '{"video_id": 2, "category_id": 7, "segment": [0, 1]}',
            ": each annotation must have the `video_id`",
        ),
        (
            "json",
            COCO % '{"video_id": 1, "category_id": 1, "segment": [0, 1]}',
            ": each annotation must have the `video_id`",
        ),
        (
            "json",
            COCO % '{"video_id": 1, "category_id": 7}',
            ": video 'a': expected a segment",
        ),
    ],
)
def test_wrong_files(tmp_path, kind, text, words):
    path = tmp_path / f"segments.{kind}"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError) as info:
        read_segments(path)
    assert str(info.value).startswith(f"{path}{words}")
    path.write_bytes(b"\n\xff")
    with pytest.raises(ValueError, match=":2: not UTF-8"):
        read_segments(path)
