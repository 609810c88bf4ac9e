"""Writes docs/api.txt: the public names, their signatures, and the flags.

    python tools/api_listing.py

Public is what a package's `__init__` passes on (`import Y as Y`), what a module
such as `actx_tf.losses` defines without an underscore, and `actx` with its
flags. The sources are read, not run, so that backends and versions of Python
do not matter.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from actx_tf.cli.main import make_parser

ROOT = Path(__file__).resolve().parents[1]
LISTING = ROOT / "docs" / "api.txt"
_HEAD = """\
# What is public: see promises.md.
# After a change: python tools/api_listing.py
"""


def listing() -> str:
    """Returns the text of docs/api.txt."""
    lines = [*_names_of("actx_tf"), *_flags()]
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _flags() -> Iterator[str]:
    for name, parser in sorted(make_parser().commands.items()):
        for flag in sorted({*parser.flags()} - {"--help"}):
            yield f"actx {name} {flag}"


def _names_of(module: str) -> Iterator[str]:
    """Lists a module: what it passes on, or else what it defines."""
    tree = _parse(module)
    if not (passed_on := dict(_passed_on(tree))):
        for node in _definitions(tree.body):
            yield from _lines(module, node)
    for name, source in sorted(passed_on.items()):
        if _path(f"{source}.{name}"):
            yield from _names_of(f"{source}.{name}")
        else:
            yield from _lines(module, _definition(source, name))


def _passed_on(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yields (name, where it is from) of each `from x import Y as Y`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for name in node.names:
                if name.name == name.asname and node.module:
                    yield name.name, node.module


def _definition(module: str, name: str) -> ast.stmt:
    """Finds what a name is, in a module or where that has it from."""
    body = _parse(module).body
    for node in body:
        if _name(node) == name:
            return node
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module:
            if any(x.name == (x.asname or x.name) == name for x in node.names):
                return _definition(node.module, name)
    raise ValueError(f"{module} has no {name}")


def _definitions(body: list[ast.stmt]) -> list[ast.stmt]:
    """The public functions, classes and values of a module or class."""
    found = [
        node
        for node in body
        if (name := _name(node))
        and (not name.startswith("_") or name in ("__init__", "__call__"))
    ]
    return sorted(found, key=lambda node: str(_name(node)))


def _name(node):
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, ast.Assign):
        (target,) = node.targets
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    else:
        return None
    return target.id if isinstance(target, ast.Name) else None


def _lines(owner, node):
    """A line for it, and one for each member if it is a class."""
    where = f"{owner}.{_name(node)}"
    if isinstance(node, ast.FunctionDef):
        kinds = [ast.unparse(kind) for kind in node.decorator_list]
        if "property" in kinds:
            yield f"{where}: {ast.unparse(node.returns)}"
        elif f"{node.name}.setter" in kinds:
            return  # the property is listed
        else:
            returns = f" -> {ast.unparse(node.returns)}"
            yield f"{where}({ast.unparse(node.args)}){returns}"
    elif isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        yield f"class {where}" + (f"({bases})" if bases else "")
        for member in _definitions(node.body):
            yield from _lines(where, member)
    elif isinstance(node, ast.AnnAssign):
        value = f" = {ast.unparse(node.value)}" if node.value else ""
        yield f"{where}: {ast.unparse(node.annotation)}{value}"
    else:
        yield where


def _path(module: str) -> Path | None:
    """Path of a module of the package; `None` if there is no such one."""
    path = ROOT.joinpath(*module.split("."))
    for found in (path / "__init__.py", path.with_name(f"{path.name}.py")):
        if found.is_file():
            return found
    return None


def _parse(module: str) -> ast.Module:
    path = _path(module)
    if path is None:
        raise FileNotFoundError(f"no module {module}")
    return ast.parse(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    LISTING.write_text(listing(), encoding="utf-8")
