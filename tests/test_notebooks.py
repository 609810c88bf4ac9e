"""The notebooks run, and show what they are stored with."""

import re

import pytest

from tests.harness import ROOT

# What makes them small, in the place of the numbers of their first cell.
SMALL = {"quick_start": "40, 16, 1", "your_own_videos": "64, 1"}
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def read(path):
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell):
    """Whether a cell prints, and whether it draws."""
    return {
        "picture" if "image/png" in output.get("data", {}) else "text"
        for output in cell.outputs
        if output.get("name") != "stderr"
    }


def printed(notebook):
    return "".join(
        output.get("text", "")
        for cell in code_cells(notebook)
        for output in cell.outputs
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = read(path)
    first = code_cells(notebook)[0]
    first.source, count = re.subn(
        r"(?m)^([\w, ]*\bepochs = )[\d, ]+$",
        rf"\g<1>{SMALL[path.stem]}",
        first.source,
    )
    assert count == 1
    nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()  # raises the error of a cell
    stored = code_cells(read(path))
    for cell, before in zip(code_cells(notebook), stored, strict=True):
        assert kinds(cell) == kinds(before), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_with_its_pictures(path):
    cells = code_cells(read(path))
    counts = [cell.execution_count for cell in cells]
    assert counts == [*range(1, len(cells) + 1)]
    assert any("picture" in kinds(cell) for cell in cells)
    assert path.stat().st_size < 600_000


def test_the_quick_start_shows_what_it_says():
    [path] = [path for path in NOTEBOOKS if path.stem == "quick_start"]
    accuracies = [
        float(x)
        for x in re.findall(r"accuracy in \D*([\d.]+)", printed(read(path)))
    ]
    average, actx, average_in_training = accuracies
    assert average < 0.2 < 0.4 < actx
    assert average_in_training > 0.9  # it has learned the scenes
