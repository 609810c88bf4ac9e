"""A release: its notes, its tag, and the workflows that make it."""

import re
import subprocess
import sys

import pytest
import yaml

from actx_tf.version import __version__
from tests.harness import ROOT
from tools import release_notes

CHANGELOG = """# Changelog

## Unreleased

- Nothing yet.

## 1.2.0 - 2030-02-03

### Added

- Wings.

## 1.2.0rc1 - 2030-01-03

- Feathers.

## 1.1.0 - 2029-01-02

## 1.0.0

- No date.
"""
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text("utf-8"))
    for path in (ROOT / ".github" / "workflows").glob("*.yml")
}
JOBS = [
    pytest.param(job, id=f"{name}:{key}")
    for name, workflow in WORKFLOWS.items()
    for key, job in workflow["jobs"].items()
]


def test_notes_are_the_section_of_the_version_alone():
    assert release_notes.notes(CHANGELOG, "1.2.0") == "### Added\n\n- Wings.\n"
    assert release_notes.notes(CHANGELOG, "1.2.0rc1") == "- Feathers.\n"


@pytest.mark.parametrize("version", ["1.2", "1x2.0", "1.0.0", "2.0.0"])
def test_a_version_without_a_dated_heading_is_refused(version):
    with pytest.raises(ValueError, match=rf"## {version} - YYYY-MM-DD"):
        release_notes.notes(CHANGELOG, version)


def test_an_empty_section_is_refused():
    with pytest.raises(ValueError, match="says nothing of 1.1.0"):
        release_notes.notes(CHANGELOG, "1.1.0")


def test_the_version_is_in_one_place():
    assert release_notes.package_version(ROOT) == __version__
    release_notes.check_tag(f"v{__version__}", __version__)


@pytest.mark.parametrize("tag", [__version__, f"v{__version__}.post1", "main"])
def test_a_tag_of_another_version_leaves_no_notes(tag, tmp_path):
    output = tmp_path / "notes.md"
    result = subprocess.run(
        [
            *(sys.executable, ROOT / "tools" / "release_notes.py"),
            *(f"--tag={tag}", f"--output={output}"),
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert f"Received: tag={tag}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not output.exists()


def test_the_changelog_has_a_place_for_what_changes():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "\n## Unreleased\n" in text or release_notes.notes(text, __version__)


@pytest.mark.parametrize("job", JOBS)
def test_actions_are_pinned_and_exist_here_or_have_a_version(job):
    used = [step["uses"] for step in job.get("steps", ()) if "uses" in step]
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
    if "uses" in job:
        assert job["uses"].removeprefix("./.github/workflows/") in WORKFLOWS


@pytest.mark.parametrize("job", JOBS)
def test_jobs_run_what_the_makefile_has(job):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
    for step in job.get("steps", ()):
        for target in re.findall(r"\bmake ([\w-]+)", step.get("run", "")):
            assert target in targets
        for path in re.findall(r"\bpython (\S+)", step.get("run", "")):
            assert (ROOT / path).exists()


def test_workflows_may_read_and_one_job_each_may_publish():
    for workflow in WORKFLOWS.values():
        assert workflow["permissions"] == {"contents": "read"}
    jobs = WORKFLOWS["release.yml"]["jobs"]
    may = {
        key: job["permissions"]
        for key, job in jobs.items()
        if "permissions" in job
    }
    assert may == {
        "publish": {"id-token": "write"},
        "announce": {"contents": "write"},
    }
    # Neither runs code of the repository.
    for key in may:
        steps = jobs[key]["steps"]
        assert not any("checkout" in step.get("uses", "") for step in steps)
    assert not any(
        "permissions" in job for job in WORKFLOWS["ci.yml"]["jobs"].values()
    )


def test_no_text_of_a_tag_becomes_a_command():
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            for step in job.get("steps", ()):
                inserted = re.findall(r"\$\{\{(.+?)\}\}", step.get("run", ""))
                assert all("matrix." in words for words in inserted)
