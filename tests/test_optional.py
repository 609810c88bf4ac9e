import ast
import re
import sys
from importlib import metadata

import pytest

from actx_tf.utils import optional
from tests.harness import ROOT


def extras():
    """The distributions of each extra of setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (table,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "EXTRAS"
    )
    return {
        f"actx_tf[{extra}]": {
            re.split(r"[\[<>=]", requirement)[0] for requirement in requirements
        }
        for extra, requirements in table.items()
    }


@pytest.mark.parametrize("module", optional._PACKAGES)
def test_the_error_names_what_installs_the_package(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match="^Some work needs ") as info:
        optional.import_optional(module, "Some work")
    requirement = str(info.value).rpartition("pip install ")[2].split()[-1]
    package = requirement.partition("==")[0]
    installed = metadata.packages_distributions()[module.split(".")[0]]
    expected = extras().get(requirement, {package})
    assert expected & {name.replace("_", "-") for name in installed}


def texts():
    """What tells people to install something."""
    for folder in ("actx_tf", "benchmarks", "docs", "examples", "saved_models"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".md", ".py", ".sh", ".yml"):
                yield path
    for name in ("Makefile", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        yield ROOT / name


def test_the_extras_that_are_named_exist():
    places = {}
    for path in texts():
        text = path.read_text(encoding="utf-8")
        for names in re.findall(r"(?:actx_tf|\.)\[([a-z][a-z,]*)\]", text):
            for name in names.split(","):
                places.setdefault(f"actx_tf[{name}]", []).append(path.name)
    assert {"README.md", "Makefile", "optional.py"} <= set().union(
        *places.values()
    )
    missing = {name: places[name] for name in places.keys() - extras().keys()}
    assert not missing


def test_imports_the_module_itself():
    from scipy import io

    assert optional.import_optional("scipy.io", "Reading") is io
