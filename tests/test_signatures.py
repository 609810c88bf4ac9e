"""Public functions are annotated, and their docstrings are in one dialect.

Google style: an entry of a section is a sentence that gives the shape, range,
unit and default (`0.5`, in backticks); the type is left to the annotation.
"""

import ast
import re

import pytest

from tests.harness import ROOT

FILES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"))
    for path in sorted((ROOT / "actx_tf").rglob("*.py"))
}
SECTION = re.compile(r"(\w[\w ]*):$")
ENTRY = re.compile(r"    (\*{0,2}\w+): (.*)$")

every_file = pytest.mark.parametrize("path", FILES)


def is_public(name):
    return not name.startswith("_") or name.endswith("__")


def public_definitions(path):
    """Yields (name, node) of public functions, classes and their methods."""
    for node in FILES[path].body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        if not is_public(node.name):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for method in methods(node).values():
                if is_public(method.name):
                    yield f"{node.name}.{method.name}", method


def methods(node):
    return {x.name: x for x in node.body if isinstance(x, ast.FunctionDef)}


def parameters(function):
    """The arguments of a function, without `self` and `cls`."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    named += [x for x in (given.vararg, given.kwarg) if x]
    return [x for x in named if x.arg not in ("self", "cls")]


def sections(docstring):
    """Maps a section's name to its entries: (name, first line of text)."""
    found, current = {}, None
    for line in docstring.splitlines():
        if match := SECTION.match(line):
            current = found.setdefault(match[1], [])
        elif line and not line.startswith(" "):
            current = None
        elif current is not None and (match := ENTRY.match(line)):
            current.append(match.groups())
    return found


@every_file
def test_public_functions_are_annotated(path):
    for name, node in public_definitions(path):
        if isinstance(node, ast.FunctionDef):
            missing = [x.arg for x in parameters(node) if not x.annotation]
            missing += ["return"] * (node.returns is None)
            assert not missing, f"{path}:{node.lineno}: {name}: {missing}"


@every_file
def test_docstrings_are_in_the_dialect(path):
    for name, node in public_definitions(path):
        docstring = ast.get_docstring(node)
        where = f"{path}:{node.lineno}: {name}"
        if docstring is None:
            # Methods of Keras and of Python are described there.
            assert "." in name, f"{where}: no docstring"
            continue
        for section, entries in sections(docstring).items():
            for entry, text in entries:
                assert not text[:1].islower(), f"{where}: {entry}: {text}"
            if section == "Args":
                function = node
                if isinstance(node, ast.ClassDef):
                    function = methods(node)["__init__"]
                described = [entry.lstrip("*") for entry, _ in entries]
                expected = [x.arg for x in parameters(function)]
                if "kwargs" not in described and "kwargs" in expected:
                    expected.remove("kwargs")
                assert described == expected, where
        bare = re.search(r"Defaults\s+to\s+[-(]?\d\S*", docstring)
        assert not bare, f"{where}: {bare}"
