import csv
import dataclasses
import pathlib

import pytest

from actx_tf.data import Clip
from actx_tf.data import class_names_of
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index

DATA = pathlib.Path(__file__).parents[1].parent / "shared" / "data"
HEADER = "clip,file,label,split,conjugates\n"


def write(folder, text, encoding="utf-8"):
    path = folder / "index.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_reads_every_column(tmp_path):
    path = write(
        tmp_path,
        "scene,clip,split,file,label,conjugates\n"
        "s1, a ,train,videos/a.mp4,run,b  c\n"
        "\n"
        's2,b,test,/videos/b.mp4,"stand, still",\n'
        "s1,c,train,c.mp4,stand,b b\n",
    )
    a, b, c = read_clip_index(path)
    assert (a.clip, a.label, a.split) == ("a", "run", "train")
    assert a.conjugates == ("b", "c")
    assert pathlib.Path(a.file) == tmp_path / "videos" / "a.mp4"
    assert a.extra == {"scene": "s1"}
    assert (b.label, b.conjugates) == ("stand, still", ())
    assert pathlib.Path(b.file) == pathlib.Path("/videos/b.mp4")
    assert c.conjugates == ("b",)
    assert len({a, b, c}) == 3  # clips can be in sets


def test_other_conjugates_column(tmp_path):
    path = write(
        tmp_path,
        "clip,file,label,split,conjugates,opposite\n"
        "a,a.mp4,run,train,not names,b\n"
        "b,b.mp4,run,train,,\n",
    )
    a, _ = read_clip_index(path, conjugates_column="opposite")
    assert a.conjugates == ("b",)
    assert a.extra == {"conjugates": "not names"}


def test_part_of_a_file(tmp_path):
    path = write(
        tmp_path,
        "clip,file,label,split,conjugates,start,box,end\n"
        "a,v.mp4,run,train,,1.5,0 10 20 30,2\n"
        "b,v.mp4,run,train,,,,1e1\n"
        "c,v.mp4,run,train,,,,\n",
    )
    a, b, c = read_clip_index(path)
    assert (a.start, a.end, a.box) == (1.5, 2.0, (0, 10, 20, 30))
    assert a.part == {"start": 1.5, "end": 2.0, "box": (0, 10, 20, 30)}
    assert (b.start, b.end, b.box) == (0.0, 10.0, None)
    assert (c.start, c.end, c.box) == (0.0, None, None)
    assert a.extra == b.extra == c.extra == {}


@pytest.mark.parametrize(
    "start, end, box",
    [
        ("-1", "", ""),
        ("nan", "", ""),
        ("inf", "", ""),
        ("2", "2", ""),
        ("", "inf", ""),
        ("", "nan", ""),
        ("now", "", ""),
        ("", "", "0 0 10"),
        ("", "", "0 0 10 0"),
        ("", "", "0.5 0 10 10"),
    ],
)
def test_wrong_part_of_a_file(tmp_path, start, end, box):
    path = write(
        tmp_path,
        "clip,file,label,split,conjugates,start,end,box\n"
        "a,a.mp4,run,train,,,,\n"
        f"b,b.mp4,run,train,,{start},{end},{box}\n",
    )
    with pytest.raises(ValueError, match="`start` and `end`.*Rec") as error:
        read_clip_index(path)
    assert str(error.value).startswith(f"{path}:3: ")


def make_clips(folder):
    return [
        Clip(
            "a",
            str(folder / "videos" / "a, 1.mp4"),
            "run|sit",
            "train",
            ("b", "ü"),
            start=0.1 + 0.2,
            end=7.0,
            extra={"scene": 'the "park"'},
        ),
        Clip("b", "/elsewhere/b.mp4", "stand", "test", box=(-1, 2, 30, 40)),
        Clip("ü", str(folder / "ü.mp4"), "sit", "test", extra={"actor": "x"}),
    ]


def test_round_trip(tmp_path):
    clips = make_clips(tmp_path)
    write_clip_index(tmp_path / "index.csv", clips)
    read = read_clip_index(tmp_path / "index.csv")
    assert [dataclasses.replace(clip, extra={}) for clip in read] == [
        dataclasses.replace(clip, extra={}) for clip in clips
    ]
    assert read[0].extra == {"scene": 'the "park"', "actor": ""}
    assert [path.name for path in tmp_path.iterdir()] == ["index.csv"]


def test_a_written_index_can_be_moved_with_its_videos(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write_clip_index(old / "index.csv", make_clips(old))
    old.rename(new)
    read = read_clip_index(new / "index.csv")
    assert [clip.file for clip in read] == [
        clip.file for clip in make_clips(new)
    ]


@pytest.mark.parametrize("only", [0, 1, 2])
def test_columns_of_parts_are_written_where_needed(tmp_path, only):
    clip = dataclasses.replace(make_clips(tmp_path)[only], conjugates=())
    write_clip_index(tmp_path / "index.csv", [clip])
    header = (tmp_path / "index.csv").read_text("utf-8").splitlines()[0]
    parts = ["start,end", "box", ""][only].split(",")
    assert [
        name for name in header.split(",") if name in ("start", "end", "box")
    ] == [part for part in parts if part]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"clip": "b"}, "'b' is already on line 2"),
        ({"clip": "a/b"}, "`clip` must be a plain name"),
        ({"label": ""}, "`label` is empty"),
        ({"conjugates": ("x",)}, "unknown conjugate 'x'"),
        ({"split": " train"}, "'c' cannot be written in an index"),
        ({"conjugates": ("b", "b")}, "'c' cannot be written in an index"),
        ({"start": 3.0, "end": 2.0}, "`start` and `end` must be"),
        ({"file": "\udcff.mp4"}, "in an index, which is UTF-8"),
        ({"extra": {"label": "run"}}, "columns of the index' own: 'label'"),
    ],
)
def test_clips_that_cannot_be_written(tmp_path, wrong, words):
    path = write(tmp_path, HEADER)
    clips = [
        Clip("b", "b.mp4", "run", "train"),
        dataclasses.replace(Clip("c", "c.mp4", "run", "train"), **wrong),
    ]
    with pytest.raises(ValueError, match=words):
        write_clip_index(path, clips)
    assert path.read_text("utf-8") == HEADER
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_byte_order_mark_and_line_ends(tmp_path, encoding):
    text = (HEADER + "ä,ä.mp4,run,train,\n").replace("\n", "\r\n")
    (clip,) = read_clip_index(write(tmp_path, text, encoding))
    assert clip.clip == "ä"


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("", 1, "empty"),
        ("\n \n", 1, "empty"),
        ("clip,file,label,conjugates\na,a,b,\n", 1, "'split'"),
        ("clip,file,label,split\na,a,b,c\n", 1, "'conjugates'"),
        ("clip,clip,file,label,split,conjugates\n", 1, "more than once"),
        (HEADER + "a,a,run,train\n", 2, "expected 5 fields. Received: 4"),
        (HEADER + "a,a,run,train,,\n", 2, "Received: 6"),
        (HEADER + "a,a,run,train,\n ,a,run,train,\n", 3, "`clip` is empty"),
        (HEADER + "a,,run,train,\n", 2, "`file` is empty"),
        (HEADER + "a,a, ,train,\n", 2, "`label` is empty"),
        (HEADER + "a,a,run,,\n", 2, "`split` is empty"),
        (HEADER + "a,a,b,test,\n\nb,a,b,test,\na,x,b,test,\n", 5, "line 2"),
        (HEADER + 'a,"x\ny",b,test,\nb,,b,test,\n', 4, "`file` is empty"),
        (HEADER + "a,a,b,test,\nb,a,b,test,a z\n", 3, "unknown conjugate 'z'"),
        (HEADER + "a,a,b,test,a\n", 2, "conjugate of itself"),
        (HEADER + "x/y,a,b,c,\n", 2, "plain name"),
        (HEADER + "x\\y,a,b,c,\n", 2, "plain name"),
        (HEADER + "..,a,b,c,\n", 2, "plain name"),
        (HEADER + "a,a,b,c,\nb\0,a,b,c,\n", 3, "NUL"),
        (HEADER + 'a,a,b,"c,\n', 2, "unexpected end"),
        (HEADER + f"a,{'x' * 200_000},b,c,\n", 2, "field limit"),
    ],
)
def test_wrong_rows(tmp_path, text, line, words):
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as info:
        read_clip_index(path)
    assert str(info.value).startswith(f"{path}:{line}: ")
    assert words in str(info.value)


def test_not_utf8(tmp_path):
    path = write(tmp_path, HEADER + "a,a,b,c,\né,a,b,c,\n", "latin-1")
    with pytest.raises(ValueError) as info:
        read_clip_index(path)
    assert str(info.value).startswith(f"{path}:3: not UTF-8")


def test_many_columns_give_a_short_message(tmp_path):
    path = write(tmp_path, ",".join(f"c{i}" for i in range(100_000)))
    with pytest.raises(ValueError, match="'clip'") as info:
        read_clip_index(path)
    assert len(str(info.value)) < 1000


def test_missing_index(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv"):
        read_clip_index(tmp_path / "nowhere.csv")


def test_real_index():
    path = DATA / "sc_fight" / "index.csv"
    if not path.exists():
        pytest.skip("no sc_fight data")
    clips = read_clip_index(path, conjugates_column="same_scene_opposite")
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [clip.clip for clip in clips] == [row["clip"] for row in rows]
    assert all(pathlib.Path(clip.file).is_file() for clip in clips)
    by_name = {clip.clip: clip for clip in clips}
    for clip in clips:
        for name in clip.conjugates:
            conjugate = by_name[name]
            assert conjugate.extra["scene"] == clip.extra["scene"]
            assert conjugate.label != clip.label
            assert conjugate.split == clip.split


def test_classes_are_those_of_the_splits_in_alphabetical_order():
    clips = [
        Clip("a", "a.mp4", "run|jump", "train"),
        Clip("b", "b.mp4", "sit", "test"),
        Clip("c", "c.mp4", "conjugate", "conjugate"),
        Clip("d", "d.mp4", "hug", "validation"),
        Clip("e", "e.mp4", "run|jump", "test"),
    ]
    assert class_names_of(clips) == ["hug", "run|jump", "sit"]
    assert class_names_of(clips, multi_label=True) == [
        "hug",
        "jump",
        "run",
        "sit",
    ]
    assert class_names_of(clips[2:3]) == []


@pytest.mark.parametrize(
    ("split", "meant"),
    [
        ("val", "validation"),
        ("valid", "validation"),
        ("Validation", "validation"),
        ("Train", "train"),
        ("training", "train"),
        ("tests", "test"),
        ("TEST", "test"),
        ("conjugates", "conjugate"),
        ("held out", None),
    ],
)
def test_other_splits_are_refused(tmp_path, split, meant):
    path = write(tmp_path, HEADER + f"a,a,run,train,\nb,b,run,{split},\n")
    with pytest.raises(ValueError, match="`split` must be one of") as info:
        read_clip_index(path)
    message = str(info.value)
    assert message.startswith(f"{path}:3: ") and f"split={split!r}" in message
    assert ("meant?" in message) == bool(meant)
    assert not meant or f"is {meant!r} meant?" in message


def test_all_splits_are_read(tmp_path):
    splits = ["train", "validation", "test", "conjugate"]
    rows = "".join(f"{split},v,run,{split},\n" for split in splits)
    clips = read_clip_index(write(tmp_path, HEADER + rows))
    assert [clip.split for clip in clips] == splits


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("jump\u200b", "cannot be seen"),
        ("ju\u200bmp", "cannot be seen"),
        ("\ufeffjump", "cannot be seen"),
        ("jump\u200d", "cannot be seen"),
        ("jump | run", "a space begins or ends"),
        ("jump|\u00a0run", "a space begins or ends"),
        ("jump|", "is empty"),
        ("|jump", "is empty"),
        ("jump||run", "is empty"),
        ("run|jump|run", "named twice"),
        ("Jump", "'Jump' differs from 'jump' on line 2"),
        ("run|Jump", "'Jump' differs from 'jump' on line 2"),
        ("fu\u0308r", r"'fu\u0308r' differs from 'f\xfcr' on line 3"),
    ],
)
def test_labels_that_cannot_be_told_apart(tmp_path, label, words):
    text = HEADER + "a,a,jump,train,\nb,b,f\u00fcr,test,\n"
    path = write(tmp_path, text + f"c,c,{label},train,\n")
    with pytest.raises(ValueError, match="`label` must name") as info:
        read_clip_index(path)
    message = str(info.value)
    assert message.startswith(f"{path}:4: ") and "Received: label=" in message
    assert words in message
    with pytest.raises(ValueError, match="`label` must name"):
        write_clip_index(
            tmp_path / "new.csv",
            [
                Clip("a", "a", "jump", "train"),
                Clip("b", "b", "f\u00fcr", "train"),
                Clip("c", "c", label, "train"),
            ],
        )
    assert not (tmp_path / "new.csv").exists()


def test_spaces_around_fields_are_dropped(tmp_path):
    names = [
        "jump",
        "می\u200cدود",
        "👨\u200d👩\u200d👧",
    ]  # joiners are of words
    rows = "".join(
        f"{i}, v ,\u00a0{x} , train ,\n" for i, x in enumerate(names)
    )
    clips = read_clip_index(write(tmp_path, HEADER + rows))
    assert [clip.label for clip in clips] == names


def test_sources_and_similarities(tmp_path):
    clips = [
        Clip(
            "a",
            str(tmp_path / "a.mp4"),
            "run",
            "train",
            ("b", "c"),
            source="anna, left",
            conjugate_similarities=(0.9125, -0.5),
        ),
        Clip("b", str(tmp_path / " b.mp4"), "none", "train", source="ben"),
        Clip("c", str(tmp_path / "c.mp4"), "none", "train"),
    ]
    path = tmp_path / "index.csv"
    write_clip_index(path, clips)
    assert read_clip_index(path) == clips
    # The numbers are of the column `conjugates` alone.
    path.write_text(
        "clip,file,label,split,conjugates,opposite,conjugate_similarities\n"
        "a,a,run,train,b,c,0.5\nb,b,run,train,,,\nc,c,run,train,,,\n",
        encoding="utf-8",
    )
    clip, *_ = read_clip_index(path, "opposite")
    assert (clip.conjugates, clip.conjugate_similarities) == (("c",), ())
    assert clip.extra["conjugate_similarities"] == "0.5"


@pytest.mark.parametrize(
    ("conjugates", "similarities"),
    [
        ("b", "0.5 0.5"),
        ("b c", "0.5"),
        ("b b", "0.5 0.4"),
        ("", "0.5"),
        ("b", "1.5"),
        ("b", "nan"),
        ("b", "high"),
    ],
)
def test_wrong_similarities(tmp_path, conjugates, similarities):
    path = write(
        tmp_path,
        "clip,file,label,split,conjugates,conjugate_similarities\n"
        "b,b,run,train,,\nc,c,run,train,,\n"
        f"a,a,run,train,{conjugates},{similarities}\n",
    )
    with pytest.raises(ValueError, match="for each of `conjugates`") as info:
        read_clip_index(path)
    assert str(info.value).startswith(f"{path}:4: ")
