"""Who may import what, and who holds what."""

import ast
import sys

import pytest

from tests.harness import ROOT

FILES = sorted(
    path.relative_to(ROOT) for path in (ROOT / "actx_tf").rglob("*.py")
)
TREES = {
    path.as_posix(): ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for path in FILES
}
# These run on every backend of Keras.
PLAIN = (
    "actx_tf/layers/",
    "actx_tf/losses.py",
    "actx_tf/metrics/",
    "actx_tf/ops/",
    "actx_tf/segments.py",
)
WITHIN_PLAIN = ("actx_tf.ops", "actx_tf.segments", "actx_tf.utils.checks")
WITH_TENSORFLOW = (
    "actx_tf/backbones/from_onnx.py",
    "actx_tf/backbones/from_saved_model.py",
    "actx_tf/backbones/inception_i3d_weights.py",
    "actx_tf/callbacks.py",
    "actx_tf/cli/quiet.py",
    "actx_tf/client/",
    "actx_tf/data/",
    "actx_tf/experiments/",
    "actx_tf/prediction/",
    "actx_tf/export/",
    "actx_tf/training.py",
)
# Keras has no word for the replicas of `tf.distribute`, nor on PyTorch for the
# device: the backend is asked here alone. The files import on every backend.
ASKS_BACKEND = {
    "actx_tf/ops/replicas.py": ("tensorflow",),
    "actx_tf/ops/device.py": ("jax", "torch"),
}


def imported_modules(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", TREES)
def test_imports_only_what_it_may(path):
    tree = TREES[path]
    for module in imported_modules(tree):
        top = module.split(".")[0]
        assert not module.startswith("keras.src"), module
        assert not module.endswith("*"), module
        if top in ASKS_BACKEND.get(path, ()):
            continue
        if top == "tensorflow":
            assert path.startswith(WITH_TENSORFLOW), module
        if path.startswith(PLAIN):
            standard = top in sys.stdlib_module_names
            package = ".".join(path.split("/")[:2])
            ours = module.startswith((*WITHIN_PLAIN, package))
            assert standard or ours or top in ("keras", "numpy"), module


@pytest.mark.parametrize("package", ["backbones", "layers", "models"])
def test_one_public_name_a_file_that_is_named_after_it(package):
    tree = TREES[f"actx_tf/{package}/__init__.py"]
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        (name,) = node.names
        stem = node.module.rsplit(".", 1)[1]
        assert name.name == name.asname
        assert name.name.lower().replace("_", "") == stem.replace("_", "")
    assert len({node.module for node in imports}) == len(imports)


def test_the_rules_are_about_files_that_exist():
    for prefix in PLAIN + WITH_TENSORFLOW:
        assert any(path.startswith(prefix) for path in TREES), prefix


# Each imports only those before it: data flows one way, and imports the other.
ORDER = (
    "version",
    "ops",
    "utils",
    "settings",
    "layers",
    "losses",
    "segments",
    "metrics",
    "backbones",
    "models",
    "data",
    "training",
    "export",
    "prediction",
    "client",
    "visualization",
    "callbacks",
    "experiments",
    "cli",
)


@pytest.mark.parametrize("path", [path for path in TREES if path.count("/")])
def test_imports_run_one_way(path):
    room = path.split("/")[1].removesuffix(".py")
    if room == "__init__":
        return  # the package's face names all of them
    allowed = ORDER[: ORDER.index(room) + 1]
    for module in imported_modules(TREES[path]):
        parts = module.split(".")
        if parts[0] == "actx_tf" and len(parts) > 1:
            assert parts[1] in allowed, module
