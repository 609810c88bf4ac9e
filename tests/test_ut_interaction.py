"""The reader of UT-Interaction."""

import csv

import pytest

from actx_tf.data.annotations import read_ut_interaction
from tests.harness import ROOT

INDEX = ROOT.parent / "shared/data/ut_interaction/index.csv"
FILES = (
    "segmented_set1/0_1_4.avi",
    "segmented_set1/1_2_2.avi",
    "segmented_set1/64_1_6.avi",
    "segmented_set1/65_1_6.avi",
    "segmented_set2/0_11_4.avi",
)


def write(root, files=FILES):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_clips_of_nothing_are_the_conjugates_of_their_sequence(tmp_path):
    write(tmp_path)
    clips = {clip.clip: clip for clip in read_ut_interaction(tmp_path)}
    assert {name: clip.label for name, clip in clips.items()} == {
        "set1_0_1_4": "punch",
        "set1_1_2_2": "kick",
        "set1_64_1_6": "none",
        "set1_65_1_6": "none",
        "set2_0_11_4": "punch",
    }
    both = ("set1_64_1_6", "set1_65_1_6")
    assert clips["set1_0_1_4"].conjugates == both
    for name in ("set1_1_2_2", "set1_64_1_6", "set2_0_11_4"):
        assert clips[name].conjugates == ()
    assert clips["set2_0_11_4"].extra == {"scene": "set2_11"}


@pytest.mark.parametrize(("fold", "tested"), [(1, {1, 11}), (2, {2})])
def test_a_sequence_of_each_set_is_the_test(tmp_path, fold, tested):
    write(tmp_path)
    for clip in read_ut_interaction(tmp_path, fold=fold):
        sequence = int(clip.extra["scene"].partition("_")[2])
        assert (clip.split == "test") == (sequence in tested)


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="segmented_set1/0_1_4.avi"):
        read_ut_interaction(tmp_path)
    with pytest.raises(ValueError, match="`fold` must be 1 to 10"):
        read_ut_interaction(tmp_path, fold=11)
    write(tmp_path, ["segmented_set1/0_1_7.avi"])
    with pytest.raises(ValueError, match="class from 0 to 6"):
        read_ut_interaction(tmp_path)


@pytest.mark.skipif(not INDEX.exists(), reason="needs real clips")
def test_real_names(tmp_path):
    """The names of a public copy say what people noted of its clips."""
    with open(INDEX, encoding="utf-8") as file:
        rows = {row["original"]: row for row in csv.DictReader(file)}
    write(
        tmp_path,
        [f"segmented_set{row['set']}/{name}" for name, row in rows.items()],
    )
    clips = read_ut_interaction(tmp_path)
    assert len(clips) == len(rows)
    named = {clip.clip.partition("_")[2] + ".avi": clip for clip in clips}
    renamed = {row["clip"]: name for name, row in rows.items()}
    for name, row in rows.items():
        clip = named[name]
        assert clip.label == row["label"]
        assert clip.extra["scene"] == f"set{row['set']}_{row['sequence']}"
        if row["conjugates"]:
            expected = {renamed[c] for c in row["conjugates"].split()}
            assert expected == {
                c.partition("_")[2] + ".avi" for c in clip.conjugates
            }
