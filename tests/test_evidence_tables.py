"""The tables of the evidence, on scores that are made up."""

import re

import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import write_clip_index
from benchmarks.evidence_tables import make_table
from benchmarks.evidence_tables import write_tables

CLIPS = [f"clip{i}" for i in range(40)]


def write_run(folder, name, right, seed=0, part="test"):
    """Two classes, of which each clip's is the first."""
    right = np.asarray(right, bool)
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "scores" / f"{name}-{part}-{seed}.npz",
        scores=np.stack([right, ~right], axis=-1).astype(float),
        labels=np.zeros(len(right), int),
        clips=CLIPS[: len(right)],
    )


def row(table, name):
    [line] = [x for x in table.splitlines() if x.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def index(folder, source):
    folder.mkdir()
    write_clip_index(
        folder / "own.csv",
        [
            Clip(name, f"{name}.avi", "run", "test", source=source(i))
            for i, name in enumerate(CLIPS)
        ],
    )


def test_a_cell_is_the_mean_over_clips_and_seeds_and_its_standard_error(
    tmp_path,
):
    folder = tmp_path / "jhmdb"
    index(folder, str)
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 40)) < 0.7
    write_run(folder, "ActX", first)
    write_run(folder, "ActX", second, seed=1)
    write_run(folder, "average pooling, 0.001", first)
    write_run(folder, "average pooling, 0.003", ~first)
    table = make_table(folder)
    seeds, accuracy, difference = row(table, "ActX")
    assert (seeds, row(table, "average pooling, 0.001")[0]) == ("2", "1")
    mean, error = map(float, accuracy.split(" ± "))
    clips = (first + second.astype(float)) / 2
    assert mean == pytest.approx(clips.mean(), abs=5e-4)
    assert error == pytest.approx(clips.std() / 40**0.5, rel=0.1)
    # To the better one of average pooling.
    expected = clips.mean() - first.mean()
    assert float(difference.split()[0]) == pytest.approx(expected, abs=5e-4)
    low, high = map(float, re.findall(r"[+-][\d.]+", difference)[1:])
    assert low < expected < high


def test_clips_of_one_source_are_one_observation(tmp_path):
    errors = []
    for name, source in (("one", str), ("ten", lambda i: str(i // 10))):
        folder = tmp_path / name / "jhmdb"
        folder.parent.mkdir()
        index(folder, source)
        write_run(folder, "ActX", np.arange(40) // 10 % 2)
        errors.append(float(row(make_table(folder), "ActX")[1].split(" ± ")[1]))
    assert errors[0] == pytest.approx(0.5 / 40**0.5, rel=0.1)
    assert errors[1] == pytest.approx(0.5 / 4**0.5, rel=0.1)


def test_a_run_that_is_not_finished_is_left_out_and_named(tmp_path, capsys):
    folder = tmp_path / "jhmdb"
    index(folder, str)
    write_run(folder, "ActX", np.ones(40))
    write_run(folder, "max pooling, 0.001", np.ones(30))
    table = make_table(folder)
    assert row(table, "ActX")[1] == "1.000 ± 0.000"
    assert "max pooling" not in table
    assert "max pooling, 0.001 is left out: 30 clips" in capsys.readouterr().out


def test_each_table_stands_in_its_place(tmp_path):
    report = tmp_path / "evidence.md"
    report.write_text("Before\n<!-- jhmdb -->\nold\n<!-- /jhmdb -->\nend\n")
    index(tmp_path / "jhmdb", str)
    write_run(tmp_path / "jhmdb", "ActX", np.ones(40))
    write_tables(tmp_path, report)
    text = report.read_text()
    assert text.startswith("Before\n<!-- jhmdb -->\n\n|  | seeds | accuracy")
    assert text.endswith("|\n\n<!-- /jhmdb -->\nend\n")
    assert "old" not in text
    report.write_text("nothing")
    with pytest.raises(ValueError, match="no place for the table of jhmdb"):
        write_tables(tmp_path, report)
    assert report.read_text() == "nothing"
