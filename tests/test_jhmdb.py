"""The readers of J-HMDB: clips, splits, puppet masks."""

import csv

import numpy as np
import pytest

from actx_tf.cli.main import main
from actx_tf.data import Masks
from actx_tf.data import read_clip_index
from actx_tf.data import write_masks
from actx_tf.data.annotations import read_jhmdb
from actx_tf.data.annotations import read_jhmdb_masks
from tests.harness import ROOT

INDEX = ROOT.parent / "shared/data/jhmdb/index.csv"
LISTS = {
    "catch": "Goalkeeper_Training_catch_f_cm_np1_ri_med_0.avi 1\n"
    "Goalkeeper_Training_catch_f_cm_np1_ri_med_1.avi 1\n"
    "left_out_catch_f_cm_np1_ri_med_0.avi 0\n",
    "wave": "50_FIRST_DATES_wave_f_cm_np1_fr_med_0.avi 2\n",
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "splits").mkdir()
    for label, text in LISTS.items():
        path = tmp_path / "splits" / f"{label}_test_split2.txt"
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_clips_and_splits(root):
    clips = read_jhmdb(root, split=2)
    assert [(clip.label, clip.split) for clip in clips] == [
        ("catch", "train"),
        ("catch", "train"),
        ("wave", "test"),
    ]
    assert [clip.extra["scene"] for clip in clips] == [
        "Goalkeeper_Training",
        "Goalkeeper_Training",
        "50_FIRST_DATES",
    ]
    assert clips[2].file == str(
        root / "ReCompress_Videos/wave/50_FIRST_DATES_wave_f_cm_np1_fr_med_0"
    ) + (".avi")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a_wave_0.avi\n", "wave_test_split2.txt:1: expected a file and"),
        ("a_catch_0.avi 1\n", "expected the class 'wave'"),
        ("a_wave_0.avi 1\na_wave_0.avi 2\n", ":2: 'a_wave_0' is already at"),
    ],
)
def test_wrong_lists(root, text, words):
    (root / "splits/wave_test_split2.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        read_jhmdb(root, split=2)


def test_what_is_not_there(root):
    with pytest.raises(FileNotFoundError, match="brush_hair_test_split1.txt"):
        read_jhmdb(root)
    with pytest.raises(ValueError, match="`split` must be 1, 2 or 3"):
        read_jhmdb(root, split=4)
    with pytest.raises(FileNotFoundError, match=r"puppet_mask.mat is missing"):
        list(read_jhmdb_masks(root, read_jhmdb(root, split=2)))


def test_puppet_masks(root, tmp_path):
    io = pytest.importorskip("scipy.io")
    clips = read_jhmdb(root, split=2)
    rng = np.random.default_rng(0)
    expected = {}
    for i, clip in enumerate(clips):
        # Numbers of parts, (height, width, frames); MATLAB drops one frame.
        parts = rng.integers(0, 3, (6, 10, 1 + i), np.uint8)
        folder = root / "puppet_mask" / clip.label / clip.clip
        folder.mkdir(parents=True)
        io.savemat(folder / "puppet_mask.mat", {"part_mask": np.squeeze(parts)})
        expected[clip.clip] = np.moveaxis(parts, -1, 0) > 0
    write_masks(tmp_path / "masks.npz", read_jhmdb_masks(root, clips))
    masks = Masks(tmp_path / "masks.npz")
    assert set(masks) == set(expected)
    for name, mask in expected.items():
        # Packed: up to the next multiple of 8 there is nothing.
        np.testing.assert_array_equal(masks[name][..., :10], mask)
        assert masks[name].shape[2] == 16 and not masks[name][..., 10:].any()


@pytest.mark.skipif(not INDEX.exists(), reason="needs real clips")
def test_sources_of_real_names(tmp_path):
    """Clips of one source, as people grouped them, have one name of it."""
    with open(INDEX, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    (tmp_path / "splits").mkdir()
    for label in {row["label"] for row in rows}:
        (tmp_path / "splits" / f"{label}_test_split1.txt").write_text(
            "".join(
                f"{row['original']}.avi 1\n"
                for row in rows
                if row["label"] == label
            ),
            encoding="utf-8",
        )
    clips = {clip.clip: clip for clip in read_jhmdb(tmp_path)}
    assert len(clips) == len(rows)
    pairs = {
        (row["source"], clips[row["original"]].extra["scene"]) for row in rows
    }
    assert len(pairs) == len({source for source, _ in pairs})
    assert len(pairs) == len({scene for _, scene in pairs})


def test_the_command_writes_index_and_masks(root, tmp_path, capsys):
    io = pytest.importorskip("scipy.io")
    clips = read_jhmdb(root, split=2)
    for clip in clips:
        folder = root / "puppet_mask" / clip.label / clip.clip
        folder.mkdir(parents=True)
        io.savemat(
            folder / "puppet_mask.mat", {"part_mask": np.ones((4, 8, 3))}
        )
    words = ["index", "--dataset=jhmdb", "--division=2", f"--root={root}"]
    output, masks = tmp_path / "index.csv", tmp_path / "masks.npz"
    assert main([*words, f"--output={output}", f"--masks={masks}"]) == 0
    assert "3 of 3 files are missing" in capsys.readouterr().out
    assert [c.clip for c in read_clip_index(output)] == [c.clip for c in clips]
    assert all(mask.all() for mask in Masks(masks).values())
    assert len(Masks(masks)) == 3
