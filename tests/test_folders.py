"""Folders of videos as people keep them, and the splits that are drawn."""

import collections
import contextlib
import csv
import dataclasses
import io
import os
import re
import shutil
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from actx_tf.cli.main import main
from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.data.annotations import look_through
from actx_tf.data.video_files import VIDEO_SUFFIXES
from actx_tf.data.video_files import same_files
from actx_tf.experiments import video_scores
from actx_tf.experiments.reports import index_report
from actx_tf.experiments.video_scores import find_videos
from tests.harness import ROOT
from tests.messy_folder import CONTAINERS
from tests.messy_folder import SHAKE
from tests.messy_folder import all_files
from tests.messy_folder import write_messy_folder
from tests.test_extraction import weights as weights  # a fixture


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    root = tmp_path_factory.mktemp("messy") / "videos"
    return root, *write_messy_folder(root)


def fill(root, *paths):
    """Files that are videos by their names."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def clips_of(root, *percentages):
    return look_through(root, *percentages)[0]


def from_root(root, path):
    return str(path).removeprefix(f"{root}/")


def splits_of(clips):
    return {clip.file: clip.split for clip in clips}


def test_nothing_is_lost_and_nothing_invented(messy):
    root, taken, left_out = messy
    clips, others = look_through(root)
    assert {
        from_root(root, clip.file): (clip.label, clip.source) for clip in clips
    } == taken
    assert {
        from_root(root, entry.file): (entry.label, entry.reason)
        for entry in others
    } == left_out
    assert len(clips) == len(taken) and len(others) == len(left_out)
    folders = {"backup", "jump/carla", ".ipynb_checkpoints", "none/all"}
    assert all_files(root) == (taken.keys() | left_out.keys()) - folders
    # What the names are must survive the index.
    assert len({clip.clip for clip in clips}) == len(clips)
    for clip in clips:
        assert unicodedata.is_normalized("NFC", clip.clip + clip.label)
        assert not re.search(r"[\s/]", clip.clip)
    names = {from_root(root, clip.file): clip.clip for clip in clips}
    assert names["jump/new one.mp4"] == "jump_new_one.mp4"
    assert names["jump/anna/1.mp4"] == "jump_anna_1.mp4"
    assert re.fullmatch(r"jump_a_b-\w{12}\.mp4", names["jump/a b.mp4"])
    assert re.fullmatch(r"jump_a_b-\w{12}\.mp4", names["jump/a_b.mp4"])


def test_all_containers_are_read(messy):
    root, taken, _ = messy
    for path in taken:
        frames, _ = read_clip(root / path, size=(8, 8))
        assert len(frames) >= 8, path
    assert {suffix.lower() for suffix in CONTAINERS} <= VIDEO_SUFFIXES
    assert len(VIDEO_SUFFIXES & {".mp4", ".avi", ".mkv", ".mpg", ".m4v"}) == 5


def test_predict_takes_the_same_videos(messy):
    root, taken, _ = messy
    videos = {from_root(root, video) for video in find_videos(root)}
    assert videos == {*taken, "loose.mp4", "none/\udce9.mp4"}


def test_the_table(messy, tmp_path, capsys):
    root, taken, _ = messy
    index = tmp_path / "index.csv"
    assert main(["index", f"--root={root}", f"--output={index}"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    end = next(i for i, line in enumerate(lines) if line.startswith("clips "))
    header, *rows = lines[: end + 1]
    assert header.split() == ["train", "validation", "test", "not", "taken"]
    rest = {}
    for row in rows:
        label, *numbers, reasons = re.fullmatch(
            r"(.*?) +(\d+) +(\d+) +(\d+) *(.*)", row
        ).groups()
        rest[label] = sum(map(int, numbers)), reasons
    assert rest == {
        'a, "b"': (2, ""),
        "backup": (0, "1 empty folder"),
        "drafts": (0, "1 not a video (.odt)"),
        "jump": (
            17,
            "1 empty folder, 3 hidden, 1 not a video (.txt), "
            "1 not a video (no suffix)",
        ),
        "none": (
            7,
            "2 empty, 1 link to a folder around it, 1 link to nothing, "
            "1 name is not UTF-8",
        ),
        "sit": (3, ""),
        unicodedata.normalize("NFC", SHAKE): (4, ""),
        "(no class)": (
            0,
            "5 hidden, 1 in no folder of a class, 1 not a video (.csv)",
        ),
        "clips": (33, "20"),
    }
    counts = collections.Counter(c.split for c in read_clip_index(index))
    assert rows[-1].split()[1:4] == [
        str(counts[split]) for split in ("train", "validation", "test")
    ]
    assert sum(counts.values()) == len(taken)


def test_the_whole_path(messy, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root, taken, _ = messy
    with np.load(weights) as arrays:  # they vanish from layer to layer
        strong = {
            name: array * 3 if name.endswith("kernel") else array
            for name, array in arrays.items()
        }
    np.savez(tmp_path / "strong.npz", **strong)
    features = "--features=features"
    for command in (
        ["index", f"--root={root}", "--output=index.csv"],
        ["extract", "--index=index.csv", "--output=features"]
        + ["--size=32,32", f"--weights={tmp_path / 'strong.npz'}"],
        ["mine", features, "--index=index.csv", "--output=pairs.csv"]
        + ["--background=none"],
        ["train", features, "--index=pairs.csv", "--background=none"]
        + ["--epochs=1", "--seeds=1", "--output=run"],
    ):
        assert main(command) == 0
    with FeatureStore(tmp_path / "features") as store:
        assert len(store) == len(taken)
    for clip in read_clip_index(tmp_path / "pairs.csv"):
        action = clip.split == "train" and clip.label != "none"
        assert bool(clip.conjugates) == action
    assert (tmp_path / "run" / "actx.keras").is_file()


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "validation", "test"),
        ("Train", "val", "TEST"),
        ("training", "Valid", "testing"),
    ],
)
def test_folders_of_splits(tmp_path, train, validation, test):
    wanted = {train: "train", validation: "validation", test: "test"}
    fill(tmp_path, *(f"{x}/{y}/1.mp4" for x in wanted for y in ("run", "sit")))
    fill(tmp_path, f"{train}/run/anna/2.mp4")
    stray = {
        "backup/old.mp4": "beside the folders of splits",
        "backup/run/old.mp4": "beside the folders of splits",
        f"{test}/loose.mp4": "in no folder of a class",
        "__MACOSX/train/run/._1.mp4": "hidden",
        ".ipynb_checkpoints/x.mp4": "hidden",
        "@eaDir/x.mp4": "hidden",
    }
    fill(tmp_path, *stray)
    (tmp_path / "new").mkdir()
    clips, left_out = look_through(tmp_path)
    for clip in clips:
        split, label, *_ = from_root(tmp_path, clip.file).split("/")
        assert (clip.split, clip.label) == (wanted[split], label)
    assert len(clips) == 7
    assert {from_root(tmp_path, x.file): x.reason for x in left_out} == {
        **stray,
        "new": "empty folder",
    }


@pytest.mark.parametrize(
    "folders",
    [
        # A class of trains, beside others.
        ["train", "car", "plane"],
        # Stray folders, in which there is no video.
        ["jump", "sit", "__MACOSX/train", ".test"],
    ],
)
def test_folders_of_classes(tmp_path, folders):
    fill(tmp_path, *(f"{x}/{i}.mp4" for x in folders for i in range(2)))
    labels = {clip.label for clip in clips_of(tmp_path)}
    assert labels == {x for x in folders if x.isalpha()}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["train/1.mp4", "test/2.mp4"], "whether test, train are"),
        (["train/1.mp4"], "whether train are"),
        (["train/anna/1.mp4", "car/1.mp4"], "whether train are"),
        (["train/1.mp4", "test/1.mp4", "car/1.mp4"], "car, test, train"),
        (["jump|run/1.mp4", "sit/1.mp4"], "'|' stands between.*jump|run"),
        (["Jump/1.mp4", "jump/2.mp4"], "'Jump' too.* in case alone.*/jump"),
        (["ju\u200bmp/1.mp4"], "cannot be seen"),
        (["train/a|b/anna/1.mp4"], r"'\|'.*Received: .*/train/a\|b$"),
    ],
)
def test_folders_that_are_not_understood(tmp_path, paths, words):
    fill(tmp_path, *paths)
    with pytest.raises(ValueError, match=words):
        clips_of(tmp_path)


def test_no_videos(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        clips_of(tmp_path / "gone")
    (tmp_path / "jump").mkdir()
    fill(tmp_path, "jump/._1.mp4", "sit/1.jpg", "sit/2.JPG")
    with pytest.raises(FileNotFoundError, match="no video.*<class>") as error:
        clips_of(tmp_path)
    assert "Received: 1 hidden, 2 not a video (.jpg)" in str(error.value)


@pytest.mark.parametrize(
    ("percentages", "words"),
    [
        ((-1,), "`test_percent`.*Received"),
        ((101,), "`test_percent`.*Received"),
        ((float("nan"),), "`test_percent`.*Received"),
        ((20, -1), "`validation_percent`.*Received"),
        ((60, 50), "100 at most together"),
    ],
)
def test_wrong_percentages(tmp_path, percentages, words):
    with pytest.raises(ValueError, match=words):
        clips_of(tmp_path, *percentages)


def test_shares_of_many_clips(tmp_path):
    fill(tmp_path, *(f"{x}/{i}.mp4" for x in "ab" for i in range(400)))
    for test, validation in ((20, 10), (0, 30), (50, 50), (100, 0)):
        clips = clips_of(tmp_path, test, validation)
        counts = collections.Counter(clip.split for clip in clips)
        for split, percent in (("test", test), ("validation", validation)):
            assert abs(counts[split] / 8 - percent) < 5, counts


def random_paths(random, count):
    """Of clips of three classes, some of them of one of four people."""
    people = ("", "", "", "anna/", "ben/", "eva/", "li/")
    return {
        f"{random.choice(['jump', 'run', 'sit'])}/{random.choice(people)}"
        f"{random.integers(10**6)}.mp4"
        for _ in range(count)
    }


def assert_sources_stay_together(clips):
    splits = collections.defaultdict(set)
    for clip in clips:
        splits[clip.source or clip.clip].add(clip.split)
    assert all(len(several) == 1 for several in splits.values())


@pytest.mark.parametrize("seed", range(12))
def test_additions_move_no_clip(tmp_path, seed):
    random = np.random.default_rng(seed)
    fill(tmp_path, *random_paths(random, random.integers(3, 40)))
    known = first = clips_of(tmp_path)
    forced = collections.Counter()
    for _ in range(4):
        fill(tmp_path, *random_paths(random, random.integers(1, 20)))
        clips, _ = look_through(tmp_path, known=known)
        assert not splits_of(clips).keys() & splits_of(known).keys()
        known = [*known, *clips]
        assert_sources_stay_together(known)
        # And begun anew: only what was taken to fill a split moves.
        again = splits_of(clips_of(tmp_path))
        assert again.keys() == splits_of(known).keys()
    assert splits_of(known).items() >= splits_of(first).items()
    again = splits_of(clips_of(tmp_path))
    for clip in first:
        if again[clip.file] != clip.split:
            forced[clip.label, clip.split] += not clip.source
    assert all(count <= 1 for count in forced.values()), forced


@pytest.mark.parametrize("seed", range(12))
def test_each_class_is_trained_and_tested(tmp_path, seed):
    random = np.random.default_rng(seed)
    counts = {label: random.integers(1, 7) for label in "abcdef"}
    for label, count in counts.items():
        names = random.integers(10**6, size=count)
        fill(tmp_path, *(f"{label}/{name}.mp4" for name in names))
    splits = collections.defaultdict(set)
    for clip in clips_of(tmp_path):
        splits[clip.label].add(clip.split)
    for label, count in counts.items():
        assert "train" in splits[label]
        assert ("test" in splits[label]) == (count > 1)


def test_renamed_in_another_form_of_unicode_nothing_moves(tmp_path):
    name = unicodedata.normalize("NFC", "Prüfung")
    fill(tmp_path, *(f"{SHAKE}/{name} {i}.mp4" for i in range(20)))
    before = {clip.clip: clip.split for clip in clips_of(tmp_path)}
    shutil.rmtree(tmp_path / SHAKE)
    folder, name = (unicodedata.normalize("NFD", x) for x in (SHAKE, name))
    fill(tmp_path, *(f"{folder}/{name} {i}.mp4" for i in range(20)))
    assert {c.clip: c.split for c in clips_of(tmp_path)} == before


def test_add_keeps_what_people_edited(tmp_path, capsys):
    root, index = tmp_path / "videos", tmp_path / "index.csv"
    fill(root, *(f"{x}/{i}.mp4" for x in ("jump", "none") for i in range(8)))
    fill(root, "jump/anna/1.mp4", "jump/a_b.mp4")
    flags = ["index", f"--root={root}", f"--output={index}"]
    assert main([*flags, "--add"]) == 0  # there is none yet
    rows = {row["clip"]: row for row in dicts(index)}
    # Edits of all kinds.
    gone = rows.pop("none_7.mp4")
    (root / "none" / "7.mp4").unlink()
    rows["jump_0.mp4"] |= {"split": "validation", "label": "hop"}
    rows["jump_1.mp4"] |= {"conjugates": "none_0.mp4 none_1.mp4"}
    rows["jump_anna_1.mp4"] |= {"split": "test"}
    rows["part"] = {**rows["jump_1.mp4"], "clip": "part", "conjugates": ""}
    rows["missing"] = {**gone, "clip": "missing"}
    edited = [{**row, "camera": "left"} for row in rows.values()]
    write_dicts(index, edited)

    fill(root, "jump/anna/2.mp4", "run/anna/3.mp4", "run/1.mp4", "jump/a b.mp4")
    before = index.read_bytes()
    capsys.readouterr()
    assert main(flags) == 1  # neither --add nor --force
    assert "--add keeps what is there" in capsys.readouterr().err
    assert index.read_bytes() == before
    assert main([*flags, "--add"]) == 0
    printed = capsys.readouterr().out
    assert f"{len(edited)} clips were there and are kept, 4 are added" in (
        printed
    )
    assert "1 of 22 files are missing" in printed and "7.mp4" in printed
    after = dicts(index)
    assert after[: len(edited)] == edited
    added = {row["file"]: row for row in after[len(edited) :]}
    assert added.keys() == {
        f"videos/{x}"
        for x in (
            "jump/anna/2.mp4",
            "run/anna/3.mp4",
            "run/1.mp4",
            "jump/a b.mp4",
        )
    }
    for path, row in added.items():
        assert row["clip"] not in rows
        if "anna" in path:
            assert (row["source"], row["split"]) == ("anna", "test")
    # Once more, there is nothing to add.
    before = index.read_bytes()
    assert main([*flags, "--add"]) == 0
    assert index.read_bytes() == before
    assert main([*flags, "--force"]) == 0
    assert len(dicts(index)) == 21 and "camera" not in dicts(index)[0]


def dicts(index):
    with open(index, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_dicts(index, rows):
    with open(index, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_source_in_several_splits_takes_no_more_clips(tmp_path, capsys):
    root, index = tmp_path / "videos", tmp_path / "index.csv"
    fill(root, "jump/anna/1.mp4", "jump/anna/2.mp4", "jump/1.mp4")
    flags = ["index", f"--root={root}", f"--output={index}", "--add"]
    assert main(flags) == 0
    rows = {row["clip"]: row for row in dicts(index)}
    rows["jump_anna_1.mp4"]["split"] = "train"
    rows["jump_anna_2.mp4"]["split"] = "test"
    write_dicts(index, list(rows.values()))
    fill(root, "sit/1.mp4")
    capsys.readouterr()
    assert main(flags) == 0  # anna is not asked for
    assert "note: 1 sources are in several splits, such as anna" in (
        capsys.readouterr().out
    )
    before = index.read_bytes()
    fill(root, "sit/anna/1.mp4")
    assert main(flags) == 1
    assert "one split for a source" in capsys.readouterr().err
    assert index.read_bytes() == before


def test_a_class_that_differs_in_case_from_an_edited_one(tmp_path):
    fill(tmp_path, "hop/1.mp4", "sit/1.mp4")
    known = [Clip("a", "/elsewhere/a.mp4", "Hop", "train")]
    with pytest.raises(ValueError, match="'Hop' too.* Received: .*/hop"):
        look_through(tmp_path, known=known)


def test_clips_of_odd_folders_survive_an_index(tmp_path):
    fill(tmp_path, " sit /1.mp4", "a, 'b'\n\"c\"/1.mp4", "\u00a0x\u00a0/1.mp4")
    clips = clips_of(tmp_path)
    assert [clip.label for clip in clips] == ["sit", "a, 'b' \"c\"", "x"]
    write_clip_index(tmp_path / "index.csv", clips)
    assert read_clip_index(tmp_path / "index.csv") == clips


NAMES = ["跳跃", "Händeschütteln", "прыжок"]


INDEX = ["index", "--root=v", "--output=index.csv"]


def index_in_a_process(encoding):
    result = subprocess.run(
        [sys.executable, "-m", "actx_tf.cli.start", *INDEX],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": encoding,
            "LANG": "C",
        },
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def index_in_this_process(encoding):
    with (
        io.TextIOWrapper(io.BytesIO(), encoding) as terminal,
        contextlib.redirect_stdout(terminal),
    ):
        assert main(INDEX) == 0
        terminal.flush()
        return terminal.buffer.getvalue()


@pytest.mark.parametrize(
    ("run", "encoding"),
    [
        (index_in_a_process, "ascii"),
        (index_in_this_process, "cp1252"),
        (index_in_this_process, "utf-8"),
    ],
)
def test_names_that_the_terminal_cannot_show(
    tmp_path, monkeypatch, run, encoding
):
    fill(tmp_path, *(f"v/{x}/{i}.mp4" for x in NAMES for i in range(3)))
    fill(tmp_path, f"v/{NAMES[0]}/\udce9.mp4", "v/\udce9/1.txt")
    monkeypatch.chdir(tmp_path)
    printed = run(encoding).decode(encoding)
    assert "1 name is not UTF-8" in printed and "\\udce9" in printed
    for name in NAMES:
        assert name.encode(encoding, "backslashreplace").decode(encoding) in (
            printed
        )
    clips = read_clip_index(tmp_path / "index.csv")
    assert {clip.label for clip in clips} == set(NAMES)
    assert len(clips) == 9


def test_a_name_that_no_table_can_hold_fails_alone(tmp_path, monkeypatch):
    fill(tmp_path, "v/\udce9.mp4")
    monkeypatch.setattr(video_scores, "VideoPredictor", lambda *_, **__: None)
    monkeypatch.setattr(video_scores, "fingerprint", lambda _: "digest")
    videos = find_videos(tmp_path / "v")
    rows, failed = video_scores.score_videos(
        videos, "model", tmp_path / "scores.csv", progress=False
    )
    assert not rows and failed == [(str(videos[0]), "name is not UTF-8")]


def test_copies_are_named(tmp_path):
    content = np.random.default_rng(0).bytes(3 * 2**20)
    for name in ("jump/a.mp4", "none/copy of a.mp4", "jump/b.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    changed = bytearray(content)
    changed[-1] ^= 1
    (tmp_path / "jump/b.mp4").write_bytes(changed)  # of the same size
    first, copy = tmp_path / "jump/a.mp4", tmp_path / "none/copy of a.mp4"
    files = [str(path) for path in sorted(tmp_path.rglob("*.mp4"))]
    assert same_files([*files, "gone.mp4"]) == [[str(first), str(copy)]]
    clips = clips_of(tmp_path)
    clips = [dataclasses.replace(clip, split="train") for clip in clips]
    note = f"note: {first} is the same file as {copy}, of another class"
    assert f"{note} (jump, none)\n" in index_report(clips) + "\n"
    clips[0] = dataclasses.replace(clips[0], split="test")
    assert "of another split (test, train)" in index_report(clips)


def test_few_test_clips_and_stray_classes_are_noted(tmp_path):
    fill(tmp_path, *(f"jump/{i}.mp4" for i in range(40)), "backup/old.mp4")
    report = index_report(clips_of(tmp_path))
    assert "note: no clip of backup is of the split test: is that" in report
    assert "figures of so few say little" in report
    report = index_report(clips_of(tmp_path, 90.0, 0.0))
    assert "figures of so few" not in report
