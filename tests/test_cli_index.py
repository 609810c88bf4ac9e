"""`actx index` as a user runs it."""

import os
import re

import pytest

from actx_tf.data import read_clip_index
from tests.harness import run_actx
from tests.test_annotations import write_hacs
from tests.test_annotations import write_ucf101


def run(folder, *flags):
    # `--root` is relative to the working directory.
    return run_actx("index", "--root=data", *flags, cwd=folder)


def test_index_of_existing_files(tmp_path):
    write_ucf101(tmp_path / "data")
    videos = tmp_path / "data" / "UCF-101"
    names = ("v_Archery_g08_c01", "v_Archery_g02_c02")
    for name in names:
        path = videos / "Archery" / f"{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "elsewhere").mkdir()
    index = tmp_path / "elsewhere" / "index.csv"
    result = run(
        tmp_path,
        "--dataset=ucf101",
        "--division=2",
        f"--output={index}",
        "--existing_only",
    )
    assert result.returncode == 0, result.stderr
    assert "2 of 4 files are missing" in result.stdout
    clips = read_clip_index(index)
    assert tuple(clip.clip for clip in clips) == names
    assert [clip.split for clip in clips] == ["train", "test"]
    assert all(os.path.isfile(clip.file) for clip in clips)


def test_counts_of_each_class_and_split(tmp_path):
    write_hacs(tmp_path / "data")
    index = tmp_path / "index.csv"
    result = run(
        tmp_path, "--dataset=hacs", "--num_classes=2", f"--output={index}"
    )
    assert result.returncode == 0, result.stderr
    rows = {
        row[0]: row[1:]
        for row in (
            re.split(r"\s{2,}", line) for line in result.stdout.splitlines()
        )
    }
    assert rows[""] == ["train", "validation"]
    assert rows["Archery"] == ["1", "0"]
    assert rows["background"] == ["1", "0"]
    assert rows["Disc dog"] == ["1", "1"]
    assert rows["clips"] == ["3", "1"]
    assert "3 of 3 files are missing" in result.stdout
    clips = read_clip_index(index)
    assert (clips[0].start, clips[0].end) == (15.5, 17.5)
    assert clips[1].extra["class_name"] == "Archery"


@pytest.mark.parametrize(
    "flags, code, words",
    [
        (["--dataset=kth"], 1, "00sequences.txt is missing"),
        (
            ["--dataset=hacs", "--division=1"],
            2,
            "but for jhmdb, ucf101, ucf101_24",
        ),
        (["--file_pattern=x"], 2, "--file_pattern is not for --dataset=folder"),
        (["--dataset=hacs", "--existing_only"], 1, "none of 5 files exists"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, flags, code, words):
    write_hacs(tmp_path / "data")
    index = tmp_path / "index.csv"
    result = run(tmp_path, *flags, f"--output={index}")
    assert result.returncode == code
    assert result.stderr.startswith("actx index: error: ")
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert not index.exists()
