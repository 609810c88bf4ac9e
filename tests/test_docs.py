"""What the README and docs/ say is so: code runs, commands and links exist."""

import re
import subprocess
import sys

import pytest

from tests.harness import ROOT
from tests.harness import run_example

PAGES = [
    "README.md",
    "saved_models/README.md",
    "benchmarks/README.md",
    *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").glob("*.md"))),
]


def text_of(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")])
def test_python_blocks_run_one_after_another(page, tmp_path):
    script = tmp_path / "blocks.py"
    script.write_text("\n".join(blocks(page, "python")), encoding="utf-8")
    result = run_example(script, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "sh")])
def test_commands_have_their_flags(page):
    commands = re.findall(
        r"^python (?:\.\./)?(examples/\S+)((?:\\\n|.)*)$",
        "\n".join(blocks(page, "sh")),
        re.MULTILINE,
    )
    for script, flags in commands:
        sources = [ROOT / script]
        if "import experiment" in sources[0].read_text(encoding="utf-8"):
            sources += (
                ROOT / "examples" / name
                for name in ("experiment.py", "methods.py")
            )
        source = "".join(path.read_text(encoding="utf-8") for path in sources)
        for flag in re.findall(r"--(\w+)", flags):
            assert re.search(rf'DEFINE_\w+\(\s*"{flag}"', source), flag


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    for link in re.findall(r"\]\(\s*([^)\s]+)\s*\)", text):
        if not link.startswith("http"):
            assert (folder / link.split("#")[0]).exists(), link


def test_the_methods_functions_are_where_it_says():
    rows = re.findall(
        r"`([\w.]+)` in \[[\w.]+\]\(\.\./([\w/.]+)\)", text_of("docs/method.md")
    )
    assert len(rows) >= 3
    for name, path in rows:
        function = name.split(".")[-1]
        assert f"def {function}(" in text_of(path), name
    losses = text_of("actx_tf/losses.py")
    for row in re.findall(r"\| `(\w+)` \|$", text_of("docs/method.md"), re.M):
        source = losses + text_of(
            "actx_tf/layers/factorized_attention_pooling.py"
        )
        assert f"def {row}(" in source, row


def test_every_example_is_in_the_readme():
    shared = {"experiment.py", "methods.py"}
    for path in (ROOT / "examples").glob("*.py"):
        if path.name not in shared:
            assert f"(examples/{path.name})" in text_of("README.md"), path.name


def test_quick_start(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            ROOT / "examples" / "quick_start.py",
            "--epochs=1",
            "--train_clips=64",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    accuracies = re.findall(r"accuracy (0\.\d+) \(chance", result.stdout)
    assert len(accuracies) == 2
    assert (tmp_path / "quick_start.png").stat().st_size > 10_000
