"""docs/api.txt lists what the package has, and nothing else."""

import ast
import difflib
import importlib
import inspect
import re
import types

import pytest

import actx_tf
from tests.harness import ROOT
from tools import api_listing

LINES = api_listing.LISTING.read_text(encoding="utf-8").splitlines()
NAMES = [
    re.match(r"(?:class )?([\w.]+)", line)[1]
    for line in LINES
    if not line.startswith(("#", "actx "))
]
MODULES = [f"actx_tf.{name}" for name in actx_tf._SUBPACKAGES] + [
    "actx_tf.data.annotations",
    "actx_tf.data.synthetic",
]


def find(name):
    parts = name.split(".")
    found = actx_tf
    for i, part in enumerate(parts[1:], start=2):
        if isinstance(found, types.ModuleType) and not hasattr(found, part):
            found = importlib.import_module(".".join(parts[:i]))
        else:
            found = getattr(found, part)
    return found


def test_it_is_up_to_date():
    expected = api_listing.listing().splitlines()
    changes = [
        line
        for line in difflib.unified_diff(LINES, expected, lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    assert not changes, "\n".join(
        [
            "The public names changed. If they should, run "
            "`python tools/api_listing.py` and say it in CHANGELOG.md:",
            *changes,
        ]
    )


def test_its_functions_take_what_it_says():
    functions = [
        re.fullmatch(r"([\w.]+)\((.*)\) -> .*", line)
        for line in LINES
        if re.match(r"[\w.]+\(", line)
    ]
    assert len(functions) > 100
    for match in functions:
        function = find(match[1])
        listed = inspect.signature(eval(f"lambda {bare(match[2])}: None"))
        expected = [
            (name, parameter.kind)
            for name, parameter in inspect.signature(
                getattr(function, "__func__", function)
            ).parameters.items()
        ]
        assert [
            (name, parameter.kind)
            for name, parameter in listed.parameters.items()
        ] == expected, match[1]


def bare(parameters):
    """Parameters without their annotations and the values of defaults."""
    (function,) = ast.parse(f"def f({parameters}): ...").body
    arguments = function.args
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    nothing = ast.Constant(None)
    arguments.defaults = [nothing for _ in arguments.defaults]
    arguments.kw_defaults = [x and nothing for x in arguments.kw_defaults]
    return ast.unparse(arguments)


@pytest.mark.parametrize("module", MODULES)
def test_no_public_name_of_a_module_is_missing(module):
    found = importlib.import_module(module)
    # What a package imports beneath it is there for its own use.
    names = {
        name
        for name, value in vars(found).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and (
            hasattr(found, "__path__")
            or getattr(value, "__module__", None) == module
        )
    }
    assert names
    assert {f"{module}.{name}" for name in names} <= set(NAMES)


def test_the_page_of_promises_leads_to_it():
    page = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    assert "(api.txt)" in page
