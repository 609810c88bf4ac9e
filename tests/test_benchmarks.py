"""Each benchmark runs to its end, on sizes that take no time."""

import sys

import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import synthetic
from benchmarks import accuracy
from benchmarks import attention_forms
from benchmarks import inference
from benchmarks import input_pipeline
from benchmarks import long_video
from benchmarks import memory
from benchmarks import scene_benchmark
from benchmarks import train_step
from benchmarks.measuring import in_new_process
from benchmarks.measuring import keep_those_that_run
from benchmarks.measuring import peak_mebibytes
from tests.harness import PROCESSES
from tests.harness import run_actx


@pytest.fixture
def table(monkeypatch, capsys):
    """Runs a benchmark; returns the lines of its table."""

    def run(benchmark, *flags):
        monkeypatch.setattr(sys, "argv", ["benchmark", *flags])
        benchmark.main()
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def warm(monkeypatch):
    """Starts a benchmark's new processes with what takes long to import."""

    def in_warm_process(function, *arguments):
        with PROCESSES.Pool(1) as pool:
            return pool.apply(function, arguments)

    for benchmark in (inference, long_video, memory):
        monkeypatch.setattr(benchmark, "in_new_process", in_warm_process)


def numbers(line):
    """The last cells of a row, as far as they are numbers."""
    found = []
    for cell in reversed(line.replace("|", " ").split()):
        try:
            found.insert(0, float(cell))
        except ValueError:
            break
    return found


def test_peak_of_a_new_process_leaves_out_its_parents():
    held = np.ones(2**28, np.int8)
    held_here = peak_mebibytes()
    assert in_new_process(peak_mebibytes) < held_here - 100
    assert len(held) / 2**20 < held_here


def test_memory_grows_with_the_clips(table, warm):
    lines = table(
        memory,
        *("--time", "2", "16"),
        "--batch=1",
        *("--steps", "ActX, exact, float32"),
    )
    assert [numbers(line)[0] for line in lines[-2:]] == [2, 16]
    assert numbers(lines[-1])[-1] > 1


def test_train_step(table, monkeypatch):
    monkeypatch.setattr(train_step, "CHANNELS", 16)
    lines = table(
        train_step,
        *("--time=1", "--batch=2", "--repeats=1", "--in_a_row=2", "--peak=8"),
        *("--steps", "exact, float32", "stored, bfloat16"),
    )
    rows = {line.split("|")[1].strip(): line for line in lines[4:]}
    assert numbers(rows["PyTorch, exact, float32"])[-1] == 1
    for name in ("ActX, exact, float32", "PyTorch, stored, bfloat16"):
        milliseconds, rate, share, _ = numbers(rows[name])
        assert milliseconds > 0 and rate > 0 and share > 0


@pytest.mark.parametrize("name", attention_forms.TABLES)
def test_attention_forms_agree(table, monkeypatch, name):
    monkeypatch.setattr(train_step, "CHANNELS", 64)
    lines = table(
        attention_forms,
        *("--time=1", "--batch=2", "--repeats=1", "--dtype=float32"),
        *("--tables", name),
    )
    assert len(lines) >= 7
    for line in lines[5:]:
        assert numbers(line)[-1] < 1e-5, line


def test_what_does_not_run_stops_nothing(capsys):
    def fail():
        raise MemoryError("no room\nat all")

    runs, errors = keep_those_that_run(
        {"made": lambda: fail, "making": fail, "good": lambda: lambda: 1}
    )
    assert list(runs) == ["good"]
    assert errors == dict.fromkeys(["made", "making"], "MemoryError: no room")


def test_inference(table, warm):
    lines = table(inference, "--sizes", "2x3", "--repeats=1")
    batch, time, answer, _, clips, video, peak = numbers(lines[-1])
    assert (batch, time) == (2, 3)
    assert clips == pytest.approx(2 / (answer / 1e3), rel=0.01)
    assert video == pytest.approx(clips * 3 * 8 / 25, rel=0.01, abs=1)
    assert peak > 100


def test_input_pipeline(table, monkeypatch):
    monkeypatch.setattr(train_step, "CHANNELS", 16)
    lines = table(
        input_pipeline, "--clips=8", "--time=12", "--batch=3", "--repeats=1"
    )
    seconds, ratios = zip(*map(numbers, lines[2:]), strict=True)
    assert len(seconds) == 4 and min(seconds) > 0
    assert ratios[0] == 1


def test_long_video(table, warm, tmp_path):
    path = tmp_path / "backbone.keras"
    synthetic.backbone().save(path)
    lines = table(
        long_video,
        *("--seconds", "12", "--height=96", f"--backbone={path}"),
        "--window=1",
    )
    seconds, peak, took, speed, share = numbers(lines[-1].rstrip(" |"))
    assert seconds == 12 and 100 < peak < 2000 and share >= 0
    assert speed == pytest.approx(12 / took, rel=0.1, abs=0.01)


def test_accuracy(table, monkeypatch):
    name = "stored, bfloat16"
    monkeypatch.setattr(accuracy, "RUNS", {name: accuracy.RUNS[name]})

    def run_warm(*arguments, **kwargs):
        result = run_actx(*arguments)
        assert result.returncode == 0, result.stderr

    monkeypatch.setattr(accuracy, "run_actx", run_warm)
    lines = table(
        accuracy,
        "--seeds=1",
        "--epochs=1",
        "--train_clips=16",
        "--test_clips=8",
    )
    assert len(lines) == 2 and lines[1].startswith(name)
    assert 0 <= float(lines[1].split()[-3]) <= 1


def test_clips_of_many_sources_are_tested_first():
    clips = [
        Clip(
            f"{label}{number}", "", label, "train", source=f"film{number // 4}"
        )
        for label in ("run", "jump")
        for number in range(12)
    ]
    clips.append(Clip("scene", "", "conjugate", "conjugate"))
    for count, most in ((3, 1), (4, 2), (100, 4)):
        chosen = scene_benchmark.choose(clips, count)
        assert "scene" not in chosen and len(chosen) == 2 * min(count, 12)
        sources = [(c.label, c.source) for c in clips if c.clip in chosen]
        assert max(map(sources.count, sources)) == most
