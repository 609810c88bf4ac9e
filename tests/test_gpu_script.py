"""benchmarks/gpu.sh goes on after a failure, and names it at the end."""

import os
import subprocess

import pytest

from tests.harness import ROOT

# An interpreter with PyTorch and a GPU, on which one benchmark fails.
PYTHON = """#!/bin/sh
case "$*" in
    -) echo versions ;;
    *torch.cuda*) exit 0 ;;
    -c*) exit 1 ;;
    *benchmarks.{failing}*) echo why it failed >&2; exit 3 ;;
    *) echo "| $KERAS_BACKEND | $* |" ;;
esac
"""


@pytest.fixture
def run(tmp_path):
    def run(failing, **variables):
        python = tmp_path / "python"
        python.write_text(PYTHON.format(failing=failing))
        python.chmod(0o755)
        result = subprocess.run(
            [ROOT / "benchmarks" / "gpu.sh"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHON": str(python),
                "OUT": str(tmp_path / "out"),
                **variables,
            },
            capture_output=True,
            text=True,
        )
        report = (tmp_path / "out" / "report.md").read_text()
        assert result.stdout == report, result.stderr
        return result.returncode, report

    return run


def test_a_part_that_fails_stops_no_other(run):
    status, report = run(failing="train_step")
    assert status == 1
    assert report.endswith("Failed: train_torch long_torch strict_torch\n")
    assert report.count("why it failed") == 3
    for benchmark in (
        *("conformance", "memory", "accuracy_by_device"),
        *("attention_forms", "inference"),
    ):
        assert f"| torch | -m benchmarks.{benchmark} " in report
    assert "| jax |" not in report


def test_chosen_parts(run):
    status, report = run(failing="none", PARTS="inference_torch")
    assert status == 0
    assert report.endswith("No part failed.\n")
    assert report.count("| torch |") == 1


def test_no_part_begins_after_the_limit(run):
    status, report = run(failing="none", PARTS="inference_torch", LIMIT="5")
    assert status == 1
    assert "not begun: no time left" in report
    assert report.endswith("Failed: inference_torch\n")
