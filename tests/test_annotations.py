import csv
import json
import pathlib
import re

import numpy as np
import pytest

from actx_tf.data import annotations
from actx_tf.data import read_clip
from tests.harness import ROOT

DATA = ROOT.parent / "shared" / "data"
KTH = DATA / "kth_2clips"
UCF101 = DATA / "ucf101_100" / "index.csv"

HOLLYWOOD2 = (
    "AnswerPhone DriveCar Eat FightPerson GetOutCar HandShake HugPerson Kiss "
    "Run SitDown SitUp StandUp"
).split()
VOC = (
    "jumping phoning playinginstrument reading ridingbike ridinghorse running "
    "takingphoto usingcomputer walking"
).split()


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_kth(folder):
    write(
        folder,
        "00sequences.txt",
        "This database contains sequences.\r\n\r\n"
        "Training:   person11, 12\r\n"
        "Validation: person01\r\n"
        "Test:       person22 \r\n\r\n"
        "person01_boxing_d1\t\tframes\t1-95, 96-185\r\n"
        "person11_running_d3\t\tframes\t1-52, 310-358, 224-274\r\n"
        "person12_handclapping_d3\t*missing*\r\n"
        "person22_walking_d4\tframes\t26-50\r\n",
    )


def write_ucf101(folder):
    write(
        folder,
        "ucfTrainTestlist/classInd.txt",
        "1 Archery\r\n2 HandstandPushups\r\n",
    )
    write(
        folder,
        "ucfTrainTestlist/trainlist02.txt",
        "Archery/v_Archery_g08_c01.avi 1\n"
        "HandstandPushups/v_HandStandPushups_g09_c01.avi 2\n",
    )
    write(
        folder,
        "ucfTrainTestlist/testlist02.txt",
        "Archery/v_Archery_g02_c01.avi\nArchery/v_Archery_g02_c02.avi\n",
    )


def write_hollywood2(folder):
    shown = {
        "actioncliptrain00001": ["HugPerson", "Kiss"],
        "actioncliptrain00002": [],
        "actioncliptest00001": ["AnswerPhone"],
    }
    for split in ("train", "test"):
        for action in HOLLYWOOD2:
            write(
                folder,
                f"ClipSets/{action}_{split}.txt",
                "".join(
                    f"{name}  {1 if action in actions else -1}\n"
                    for name, actions in shown.items()
                    if split in name
                ),
            )
    # Noisy labels, to be left alone.
    write(folder, "ClipSets/Kiss_autotrain.txt", "actionclipauto00001  1\n")


def write_voc_action(folder):
    lists = {
        "train": {
            ("2011_000001", 1): {"phoning": 1, "walking": 1},
            ("2011_000001", 3): {"running": 0},
            ("2009_000002", 1): {"jumping": None},
        },
        "val": {("2012_000003", 1): {"jumping": 1}},
        "trainval": {("2012_000003", 1): {"jumping": 1}},
    }
    for name, people in lists.items():
        for action in VOC:
            lines = [
                f"{image} {number:2d} {flags.get(action, -1):2d}\n"
                for (image, number), flags in people.items()
                if flags.get(action, -1) is not None
            ]
            path = f"ImageSets/Action/{action}_{name}.txt"
            write(folder, path, "".join(lines))
    box = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    thing = (
        "<object><name>{}</name><part><name>head</name><bndbox>"
        + box.format(1, 1, 2, 2)
        + f"</bndbox></part><bndbox>{box}</bndbox></object>"
    )
    objects = {
        "2011_000001": [
            ("person", 1, 1, 10, 20),
            ("horse", 5, 5, 6, 6),
            ("person", 11, 3, 40, 30),
        ],
        "2009_000002": [("person", 3.2, 0, 9.4, 7)],
        "2012_000003": [("person", 2, 3, 4, 5)],
    }
    for image, things in objects.items():
        xml = "".join(thing.format(*values) for values in things)
        xml = f"<annotation>{xml}</annotation>"
        write(folder, f"Annotations/{image}.xml", xml)


def write_action_thread(folder):
    io = pytest.importorskip("scipy.io", reason="needs SciPy")

    def part(videos, label):
        cells = np.empty((len(videos), 1), object)
        cells[:, 0] = videos
        return {"video": cells, "label": np.array(label, "float64")}

    classes = np.array(["hug", "kiss", "run"], object)
    io.savemat(
        folder / "NonAction.mat",
        {
            "NonAction": {
                "classes": classes,
                "train": part(
                    ["039341.mp4", "000002.mp4"], [[1, 1, -1], [-1, -1, -1]]
                ),
                "test": part(["000003.mp4"], [[-1, -1, 1]]),
            }
        },
    )
    (folder / "anno").mkdir()
    for name in ("039341", "000002", "000003"):
        span = {"acStart": 251, "acEnd": 434, "eacStart": 201, "eacEnd": 484}
        io.savemat(folder / "anno" / f"{name}.mat", {"nFrm": 685, **span})


HACS_CLIPS = """\
classname,youtube_id,subset,start,end,label
Archery,a2X2hz1G6i8,training,15.5,17.5,1
Archery,a2X2hz1G6i8,training,77.5,79.5,-1
Archery,a2X2hz1G6i8,training,15.5,17.5,1
Beer pong,-_abc,training,0.0,2.0,1
Beer pong,-_abc,training,4.0,6.0,1
Beer pong,zzz,validation,4,6,-1
Disc dog,ddd,training,1.0,3.0,1
Disc dog,eee,validation,1.0,3.0,1
Disc dog,ddd,testing,,,
"""
HACS_SEGMENTS = {
    "--0edUL8zmA": {
        "annotations": [
            {"label": "Beer pong", "segment": [5.40, 11.60]},
            {"label": "Beer pong", "segment": [12.6, 88.16]},
        ],
        "subset": "training",
        "duration": "92.166667",
    },
    "bbb": {
        "annotations": [{"label": "Archery", "segment": [1, 2.5]}],
        "subset": "validation",
    },
    "ccc": {"annotations": [], "subset": "testing"},
}


def write_hacs(folder):
    write(folder, "HACS_v1.1.1/HACS_clips_v1.1.1.csv", HACS_CLIPS)
    write(
        folder,
        "HACS_v1.1.1/HACS_segments_v1.1.1.json",
        json.dumps({"database": HACS_SEGMENTS}, indent=1),
    )


WRITE = {
    "action_thread": write_action_thread,
    "hacs": write_hacs,
    "hollywood2": write_hollywood2,
    "kth": write_kth,
    "ucf101": write_ucf101,
    "voc_action": write_voc_action,
}
OPTIONS = {"ucf101": {"split": 2}}


def read(dataset, folder, **options):
    function = getattr(annotations, f"read_{dataset}")
    return function(folder, **OPTIONS.get(dataset, {}), **options)


@pytest.mark.parametrize("dataset", WRITE)
def test_names_splits_and_paths(tmp_path, dataset):
    WRITE[dataset](tmp_path)
    clips = read(dataset, tmp_path)
    names = [clip.clip for clip in clips]
    assert len(set(names)) == len(names) > 0
    # A name is one word: an index separates conjugates by white space.
    assert all(re.fullmatch(r"[\w.-]+", name) for name in names)
    splits = {clip.split for clip in clips}
    assert splits <= {"train", "validation", "test"} and len(splits) > 1
    assert all(clip.file.startswith(str(tmp_path)) for clip in clips)
    assert all(clip.label and not clip.conjugates for clip in clips)
    # Together they can be one table.
    assert len({tuple(clip.extra) for clip in clips}) == 1


@pytest.mark.parametrize(
    "dataset, file",
    [
        ("action_thread", "NonAction.mat"),
        ("action_thread", "anno/000003.mat"),
        ("hacs", "HACS_v1.1.1/HACS_clips_v1.1.1.csv"),
        ("hollywood2", "ClipSets/SitUp_test.txt"),
        ("kth", "00sequences.txt"),
        ("ucf101", "ucfTrainTestlist/classInd.txt"),
        ("ucf101", "ucfTrainTestlist/testlist02.txt"),
        ("voc_action", "ImageSets/Action/running_val.txt"),
        ("voc_action", "Annotations/2009_000002.xml"),
    ],
)
def test_missing_file(tmp_path, dataset, file):
    WRITE[dataset](tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError) as info:
        read(dataset, tmp_path)
    assert str(info.value).startswith(f"{tmp_path / file} is missing: ")


@pytest.mark.parametrize("dataset", WRITE)
@pytest.mark.parametrize("file_pattern", ["{folder}/x.avi", "{", "{}"])
def test_wrong_file_pattern(tmp_path, dataset, file_pattern):
    WRITE[dataset](tmp_path)
    with pytest.raises(ValueError, match="`file_pattern` must be"):
        read(dataset, tmp_path, file_pattern=file_pattern)


def fails(dataset, folder, file, text, place, words, **options):
    """Reads the data set with one of its files replaced."""
    WRITE[dataset](folder)
    path = write(folder, file, text)
    with pytest.raises(ValueError) as info:
        read(dataset, folder, **options)
    assert str(info.value).startswith(f"{path}:{place}")
    assert words in str(info.value)


# KTH


def test_kth(tmp_path):
    write_kth(tmp_path)
    clips = annotations.read_kth(tmp_path)
    assert [
        (clip.clip, clip.label, clip.split, clip.start, clip.end)
        for clip in clips
    ] == [
        ("person01_boxing_d1_seq1", "boxing", "validation", 0.0, 95 / 25),
        ("person01_boxing_d1_seq2", "boxing", "validation", 3.8, 185 / 25),
        ("person11_running_d3_seq1", "running", "train", 0.0, 52 / 25),
        ("person11_running_d3_seq2", "running", "train", 309 / 25, 358 / 25),
        ("person11_running_d3_seq3", "running", "train", 223 / 25, 274 / 25),
        ("person22_walking_d4_seq1", "walking", "test", 1.0, 2.0),
    ]
    assert clips[0].extra == {"person": "person01", "scenario": "d1"}
    pattern = "{class_name}/{name}.avi"
    clip = annotations.read_kth(tmp_path, file_pattern=pattern)[0]
    assert pathlib.Path(clip.file) == (
        tmp_path / "boxing" / "person01_boxing_d1.avi"
    )


@pytest.mark.parametrize(
    "text, place, words",
    [
        ("\n \n", "1: ", "empty"),
        ("Training: person11\n", "1: ", "found none"),
        ("Training: person11\nperson11_boxing_d1\n", "2: ", "expected such"),
        ("\nperson01_run_d1 frames 1-2\n", "2: ", "expected person01 in"),
        ("Test: person01\nperson01_run_d1 frames 0-2", "2: ", "0-2"),
        ("Test: person01\nperson01_run_d1 frames 9-8", "2: ", "9-8"),
        (
            "Test: person01\n" + "person01_run_d1 frames 1-2\n" * 2,
            "3: ",
            "already on line 2",
        ),
    ],
)
def test_wrong_kth(tmp_path, text, place, words):
    fails("kth", tmp_path, "00sequences.txt", text, place, words)


def test_not_utf8(tmp_path):
    (tmp_path / "00sequences.txt").write_bytes(b"\n\nperson\xe9")
    with pytest.raises(ValueError, match=r"00sequences\.txt:3: not UTF-8"):
        annotations.read_kth(tmp_path)


@pytest.mark.skipif(not KTH.exists(), reason="no kth_2clips data")
def test_real_kth():
    clips = annotations.read_kth(KTH)
    assert len(clips) == 2391  # as the owners count
    assert len({clip.file for clip in clips}) == 599
    persons = {
        split: {clip.extra["person"] for clip in clips if clip.split == split}
        for split in ("train", "validation", "test")
    }
    assert [len(persons[split]) for split in persons] == [8, 8, 9]
    assert len(set.union(*persons.values())) == 25
    text = (KTH / "00sequences.txt").read_text(encoding="utf-8")
    frames = {
        line.split()[0]: [
            int(last) - int(first) + 1
            for first, last in re.findall(r"(\d+)-(\d+)", line)
        ]
        for line in text.splitlines()
        if "frames" in line
    }
    # The videos that are there, one under the owners' name, one without
    # "_uncomp": each clip has exactly the frames of its row.
    seen = 0
    for clip in annotations.read_kth(KTH, "{name}.avi") + clips:
        if pathlib.Path(clip.file).exists():
            name, _, number = clip.clip.rpartition("_seq")
            images, rate = read_clip(clip.file, start=clip.start, end=clip.end)
            assert rate == 25
            assert len(images) == frames[name][int(number) - 1]
            seen += 1
    assert seen == 8


# UCF101


def test_ucf101(tmp_path):
    write_ucf101(tmp_path)
    clips = annotations.read_ucf101(tmp_path, split=2)
    assert [(clip.clip, clip.label, clip.split) for clip in clips] == [
        ("v_Archery_g08_c01", "Archery", "train"),
        ("v_HandStandPushups_g09_c01", "HandstandPushups", "train"),
        ("v_Archery_g02_c01", "Archery", "test"),
        ("v_Archery_g02_c02", "Archery", "test"),
    ]
    assert pathlib.Path(clips[1].file) == (
        tmp_path / "UCF-101/HandstandPushups/v_HandStandPushups_g09_c01.avi"
    )
    assert [clip.extra["scene"] for clip in clips[2:]] == ["v_Archery_g02"] * 2
    assert all(clip.start == 0 and clip.end is None for clip in clips)


@pytest.mark.parametrize(
    "file, text, place, words",
    [
        ("classInd", "1 Archery\nRun\n", "2: ", "expected such"),
        ("trainlist02", "v_Archery_g08_c01.avi 1\n", "1: ", "expected such"),
        ("trainlist02", "Run/v_Run_g08_c01.avi\n", "1: ", "not a class"),
        ("testlist02", "Archery/v_Archery_g01_c01.avi 7", "1: ", "expected 1"),
        (
            "testlist02",
            "\nArchery/v_Archery_g08_c01.avi\n",
            "2: ",
            "already at trainlist02.txt:1",
        ),
    ],
)
def test_wrong_ucf101(tmp_path, file, text, place, words):
    file = f"ucfTrainTestlist/{file}.txt"
    fails("ucf101", tmp_path, file, text, place, words)


def test_wrong_ucf101_split(tmp_path):
    with pytest.raises(ValueError, match="`split` must be.*split=4"):
        annotations.read_ucf101(tmp_path, split=4)


@pytest.mark.skipif(not UCF101.exists(), reason="no ucf101_100 data")
def test_real_ucf101_names(tmp_path):
    with open(UCF101, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = sorted({row["label"] for row in rows})
    folder = "ucfTrainTestlist"
    text = "".join(f"{i} {label}\n" for i, label in enumerate(labels, 1))
    write(tmp_path, f"{folder}/classInd.txt", text)
    for split in ("train", "test"):
        text = "".join(
            f"{row['label']}/{row['clip']}.avi\n"
            for row in rows
            if row["ucf_split1"] == split
        )
        write(tmp_path, f"{folder}/{split}list01.txt", text)
    clips = {clip.clip: clip for clip in annotations.read_ucf101(tmp_path)}
    assert len(clips) == len(rows)
    for row in rows:
        clip = clips[row["clip"]]
        assert (clip.label, clip.split) == (row["label"], row["ucf_split1"])
        assert clip.extra["scene"].endswith("_" + row["group"])


# Hollywood2


def test_hollywood2(tmp_path):
    write_hollywood2(tmp_path)
    clips = annotations.read_hollywood2(tmp_path)
    assert [(clip.clip, clip.label, clip.split) for clip in clips] == [
        ("actioncliptrain00001", "HugPerson|Kiss", "train"),
        ("actioncliptrain00002", "background", "train"),
        ("actioncliptest00001", "AnswerPhone", "test"),
    ]
    assert clips[0].labels == ("HugPerson", "Kiss")
    assert pathlib.Path(clips[0].file) == (
        tmp_path / "AVIClips" / "actioncliptrain00001.avi"
    )


@pytest.mark.parametrize(
    "text, place, words",
    [
        ("actioncliptrain00001\n", "1: ", "expected such"),
        ("actioncliptrain00001 0\n", "1: ", "expected such"),
        ("actioncliptrain00001 1\n" * 2, "2: ", "already on line 1"),
        ("\nactioncliptrain00009 1\n", "2: ", "not in AnswerPhone_train"),
        ("actioncliptrain00001 1\n", "1: ", "'actioncliptrain00002' and 0"),
    ],
)
def test_wrong_hollywood2(tmp_path, text, place, words):
    file = "ClipSets/Kiss_train.txt"
    fails("hollywood2", tmp_path, file, text, place, words)


# PASCAL VOC 2012 Action


def test_voc_action(tmp_path):
    write_voc_action(tmp_path)
    clips = annotations.read_voc_action(tmp_path)
    by_name = {clip.clip: clip for clip in clips}
    assert {
        name: (clip.label, clip.split, clip.box, clip.extra["unlabelled"])
        for name, clip in by_name.items()
    } == {
        # Pixels from 1, the last included, become pixels from 0, half open.
        "2011_000001_1": ("phoning|walking", "train", (0, 0, 10, 20), ""),
        # The third object of all, the second person.
        "2011_000001_3": ("other", "train", (10, 2, 40, 30), "running"),
        # An older image: no one looked for jumping.
        "2009_000002_1": ("other", "train", (2, 0, 10, 7), "jumping"),
        "2012_000003_1": ("jumping", "validation", (1, 2, 4, 5), ""),
    }
    clip = by_name["2011_000001_3"]
    assert clip.extra["scene"] == "2011_000001"
    assert pathlib.Path(clip.file) == (
        tmp_path / "JPEGImages" / "2011_000001.jpg"
    )


def test_voc_action_box_is_that_of_the_image(tmp_path):
    cv2 = pytest.importorskip("cv2")
    write_voc_action(tmp_path)
    image = np.zeros((40, 60, 3), np.uint8)
    image[2:30, 10:40] = 255  # rows 3 to 30 and columns 11 to 40, from 1
    (tmp_path / "JPEGImages").mkdir()
    path = tmp_path / "JPEGImages" / "2011_000001.png"
    assert cv2.imwrite(str(path), image)
    clips = annotations.read_voc_action(tmp_path, "JPEGImages/{name}.png")
    (clip,) = (clip for clip in clips if clip.clip == "2011_000001_3")
    frames, _ = read_clip(
        clip.file, start=clip.start, end=clip.end, box=clip.box
    )
    assert frames.shape == (1, 28, 30, 3)
    assert frames.min() == 255


@pytest.mark.parametrize(
    "file, text, place, words",
    [
        ("Action/jumping_val.txt", "2012_000003 1\n", "1: ", "expected an"),
        ("Action/jumping_val.txt", "2012_000003 0 1\n", "1: ", "expected an"),
        ("Action/jumping_val.txt", "2012_000003 1 2\n", "1: ", "expected an"),
        ("Action/jumping_val.txt", "a 1 1\na 1 1\n", "2: ", "already"),
        ("Action/jumping_val.txt", "2011_000001 1 1", "1: ", "other split"),
    ],
)
def test_wrong_voc_action_list(tmp_path, file, text, place, words):
    fails("voc_action", tmp_path, f"ImageSets/{file}", text, place, words)


@pytest.mark.parametrize(
    "text, place, words",
    [
        ("<a>\n<b></a>", "2: ", "not XML"),
        ("<a></a>", " ", "object 1 of 0 to be a person"),
        ("<a><object><name>dog</name></object></a>", " ", "object 1 of 1"),
        ("<a><object><name>person</name></object></a>", " ", "four numbers"),
        (
            "<a><object><name>person</name><bndbox><xmin>9</xmin>"
            "<ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object></a>",
            " ",
            "not empty",
        ),
    ],
)
def test_wrong_voc_action_xml(tmp_path, text, place, words):
    file = "Annotations/2012_000003.xml"
    fails("voc_action", tmp_path, file, text, place, words)


# ActionThread


def test_action_thread(tmp_path):
    write_action_thread(tmp_path)
    clips = annotations.read_action_thread(tmp_path)
    assert [(clip.clip, clip.label, clip.split) for clip in clips] == [
        ("039341", "hug|kiss", "train"),
        ("000002", "background", "train"),
        ("000003", "run", "test"),
    ]
    clip = clips[0]
    assert pathlib.Path(clip.file) == tmp_path / "videos" / "039341.mp4"
    # Frames 251 to 434 of 685, and 50 more on either side.
    assert (clip.start, clip.end) == (10.0, 17.36)
    assert float(clip.extra["extended_start"]) == 8.0
    assert float(clip.extra["extended_end"]) == 19.36


@pytest.mark.parametrize(
    "file, content, words",
    [
        ("NonAction", {"videos": 1}, "expected NonAction.classes"),
        (
            "NonAction",
            {
                "NonAction": {
                    "classes": np.array(["hug", "kiss"], object),
                    "train": {"video": "a.mp4", "label": [1, 0, 1]},
                    "test": {"video": "b.mp4", "label": [1, 0]},
                }
            },
            "NonAction.train.label to have 1 rows",
        ),
        ("anno/000003", {"acStart": 1}, "expected the frame numbers"),
        (
            "anno/000003",
            {"acStart": 9, "acEnd": 3, "eacStart": 1, "eacEnd": 12},
            "Received: 1, 9, 3, 12",
        ),
    ],
)
def test_wrong_action_thread(tmp_path, file, content, words):
    write_action_thread(tmp_path)
    from scipy import io

    path = tmp_path / f"{file}.mat"
    io.savemat(path, content)
    with pytest.raises(ValueError) as info:
        annotations.read_action_thread(tmp_path)
    assert str(info.value).startswith(f"{path}: ")
    assert words in str(info.value)


@pytest.mark.parametrize("data", [b"", b"not MATLAB", bytes(600)])
def test_action_thread_of_other_files(tmp_path, data):
    write_action_thread(tmp_path)
    (tmp_path / "NonAction.mat").write_bytes(data)
    with pytest.raises(ValueError, match="NonAction.mat: expected a MATLAB"):
        annotations.read_action_thread(tmp_path)


def test_action_thread_without_scipy(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(ImportError, match="pip install scipy"):
        annotations.read_action_thread(tmp_path)


# HACS


def test_hacs_clips(tmp_path):
    write_hacs(tmp_path)
    clips = annotations.read_hacs(tmp_path)
    assert [
        (clip.clip, clip.label, clip.split, clip.start, clip.end)
        for clip in clips
    ] == [
        ("Archery_a2X2hz1G6i8_15.5_17.5", "Archery", "train", 15.5, 17.5),
        ("Archery_a2X2hz1G6i8_77.5_79.5", "background", "train", 77.5, 79.5),
        ("Beer_pong_-_abc_0.0_2.0", "Beer pong", "train", 0.0, 2.0),
        ("Beer_pong_-_abc_4.0_6.0", "Beer pong", "train", 4.0, 6.0),
        ("Beer_pong_zzz_4.0_6.0", "background", "validation", 4.0, 6.0),
        ("Disc_dog_ddd_1.0_3.0", "Disc dog", "train", 1.0, 3.0),
        ("Disc_dog_eee_1.0_3.0", "Disc dog", "validation", 1.0, 3.0),
    ]

    assert clips[4].extra == {"scene": "zzz", "class_name": "Beer pong"}
    assert pathlib.Path(clips[4].file) == tmp_path / "Beer_pong" / "v_zzz.mp4"


def test_hacs_videos_cut_into_clips(tmp_path):
    write_hacs(tmp_path)
    clip = annotations.read_hacs(
        tmp_path, file_pattern="cut/{id}_{start}_{end}.mp4"
    )[0]
    assert pathlib.Path(clip.file).name == "a2X2hz1G6i8_15.5_17.5.mp4"
    assert (clip.start, clip.end) == (0.0, None)
    assert clip.clip == "Archery_a2X2hz1G6i8_15.5_17.5"


@pytest.mark.parametrize(
    "num_classes, classes",
    [
        (1, {"Archery"}),  # as rare as Disc dog, first by name
        (2, {"Archery", "Disc dog"}),
        (3, {"Archery", "Disc dog", "Beer pong"}),
    ],
)
def test_hacs_rarest_classes(tmp_path, num_classes, classes):
    write_hacs(tmp_path)
    clips = annotations.read_hacs(tmp_path, num_classes=num_classes)
    assert {clip.extra["class_name"] for clip in clips} == classes
    assert {clip.label for clip in clips} == classes | {"background"}
    whole = annotations.read_hacs(tmp_path)
    assert clips == [
        clip for clip in whole if clip.extra["class_name"] in classes
    ]


def test_hacs_segments(tmp_path):
    write_hacs(tmp_path)
    clips = annotations.read_hacs(tmp_path, part="segments")
    assert [
        (clip.clip, clip.label, clip.split, clip.start, clip.end)
        for clip in clips
    ] == [
        ("Beer_pong_--0edUL8zmA_5.4_11.6", "Beer pong", "train", 5.4, 11.6),
        ("Beer_pong_--0edUL8zmA_12.6_88.16", "Beer pong", "train", 12.6, 88.16),
        ("Archery_bbb_1.0_2.5", "Archery", "validation", 1.0, 2.5),
    ]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"part": "videos"}, "`part` must be"),
        ({"num_classes": 0}, "`num_classes` must be in 1, ..., 3"),
        ({"num_classes": 4}, "num_classes=4"),
        ({"num_classes": 1.5}, "num_classes=1.5"),
    ],
)
def test_wrong_hacs_arguments(tmp_path, options, words):
    write_hacs(tmp_path)
    with pytest.raises(ValueError, match=words):
        annotations.read_hacs(tmp_path, **options)


HEADER = HACS_CLIPS.splitlines()[0] + "\n"


@pytest.mark.parametrize(
    "text, place, words",
    [
        ("\n", "1: ", "empty: expected the annotations of HACS Clips"),
        ("classname\n", "1: ", "expected the columns classname,"),
        ("Archery,a,training,1,3,1\n", "1: ", "Received: Archery,"),
        (HEADER + "\nArchery,a,training,1,3\n", "3: ", "expected such"),
        (HEADER + "Archery,a,training,1,3,1,1\n", "2: ", "expected such"),
        (HEADER + "Archery,a,train,1,3,1\n", "2: ", "expected such"),
        (HEADER + "Archery,a,training,1,3,0\n", "2: ", "expected such"),
        (HEADER + "Archery,a,training,3,3,1\n", "2: ", "expected such"),
        (HEADER + "Archery,a,training,-1,3,1\n", "2: ", "expected such"),
        (HEADER + "Archery,a,training,nan,3,1\n", "2: ", "expected such"),
        (HEADER + "Archery,a,training,1,inf,1\n", "2: ", "expected such"),
        (HEADER + "Arch/ery,a,training,1,3,1\n", "2: ", "expected such"),
        (HEADER + ",a,training,1,3,1\n", "2: ", "expected such"),
        (
            HEADER + "Archery,a,training,1,3,1\nArchery,a,training,1,3,-1\n",
            "3: ",
            "another subset or label",
        ),
        (
            HEADER + "Archery,a,training,1,3,1\nArchery,a,validation,1,3,1\n",
            "3: ",
            "another subset or label",
        ),
        (HEADER + 'Archery,"a,training\n', "2: ", "expected such"),
    ],
)
def test_wrong_hacs_clips(tmp_path, text, place, words):
    file = "HACS_v1.1.1/HACS_clips_v1.1.1.csv"
    fails("hacs", tmp_path, file, text, place, words)


@pytest.mark.parametrize(
    "text, place, words",
    [
        ('{"database":\n', "2: ", "not JSON"),
        ("[]", "1: ", "`database`"),
        ('{"database": []}', "1: ", "`database`"),
        ('{"database": {"a": 1}}', " video 'a': ", "segment [start, end]"),
        (
            '{"database": {"a": {"subset": "training", "annotations": '
            '[{"label": "Run", "segment": [2, 1]}]}}}',
            " video 'a': ",
            "segment [start, end]",
        ),
        (
            '{"database": {"a": {"subset": "train", "annotations": '
            '[{"label": "Run", "segment": [1, 2]}]}}}',
            " video 'a': ",
            "training, validation, testing",
        ),
    ],
)
def test_wrong_hacs_segments(tmp_path, text, place, words):
    file = "HACS_v1.1.1/HACS_segments_v1.1.1.json"
    fails("hacs", tmp_path, file, text, place, words, part="segments")
