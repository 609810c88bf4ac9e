"""The pages do what they say: code runs, flags and links exist, errors are so.

A page's python blocks are one script, run in an empty folder. A text block
after one is what has been printed up to there.
"""

import ast
import functools
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import actx_tf
from actx_tf import data
from actx_tf.cli.main import make_parser
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.settings import help_of_settings
from tests.described import describe
from tests.harness import clips
from tests.harness import run_example

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "saved_models" / "README.md",
    ROOT / "benchmarks" / "README.md",
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def name_of(page):
    return str(page.relative_to(ROOT))


def read(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    return [
        code for kind, code in FENCE.findall(read(page)) if kind == language
    ]


WITH_CODE = [page for page in PAGES if blocks(page, "python")]


def test_the_pages_are_there():
    names = {page.stem for page in WITH_CODE}
    assert names >= {"README", "method", "data", "serving", "performance"}


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_python_blocks_run(page, tmp_path):
    # Errors name the page's own lines.
    text, script = read(page), []
    for fence in FENCE.finditer(text):
        if fence[1] == "python":
            before = text[: fence.start(2)].count("\n")
            script += [""] * (before - len(script)) + fence[2].splitlines()
    path = tmp_path / f"{page.stem}.py"
    path.write_text("\n".join(script), encoding="utf-8")
    result = run_example(path, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-4000:]
    kinds = FENCE.findall(text)
    for (kind, _), (next_kind, printed) in zip(kinds, kinds[1:], strict=False):
        if (kind, next_kind) == ("python", "text"):
            assert printed in result.stdout


@functools.cache
def flags_of(script):
    """The flags that a script and what it imports of examples/ define."""
    tree = ast.parse(read(script))
    flags = set()
    if script.name == "run_flags.py":  # a flag for each setting
        flags |= {*help_of_settings(DataSettings)}
        flags |= {*help_of_settings(TrainingSettings)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                path = script.with_name(f"{name.name}.py")
                if path.exists():
                    flags |= flags_of(path)
        elif isinstance(node, ast.Call) and node.args:
            function = node.func
            if isinstance(function, ast.Attribute) and (
                function.attr.startswith("DEFINE_")
            ):
                flag = node.args[0].value
                flags.add(flag)
                if function.attr in ("DEFINE_bool", "DEFINE_boolean"):
                    flags.add(f"no{flag}")
    return flags


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page):
    targets = re.findall(r"^([\w-]+):", read(ROOT / "Makefile"), re.MULTILINE)
    subcommands = {
        name: {flag.removeprefix("--") for flag in parser.flags()}
        for name, parser in make_parser().commands.items()
    }
    known = set().union(
        *subcommands.values(),
        *map(flags_of, (ROOT / "examples").glob("*.py")),
    )
    if page.parent in (ROOT, ROOT / "docs"):
        assert set(re.findall(r"`--(\w+)", read(page))) <= known
    for name in re.findall(r"`actx (\w[\w-]*)", read(page)):
        assert name in subcommands or name == "COMMAND", name
    commands = "".join(blocks(page, "sh")).replace("\\\n", " ")
    for command in commands.splitlines():
        words = command.split("#")[0].split()
        if words[:1] == ["make"]:
            assert words[1] in targets, command
        elif words[:1] == ["actx"]:
            assert words[1] in subcommands, command
            for flag in re.findall(r"--(\w+)", command):
                assert flag in subcommands[words[1]], f"{command}: --{flag}"
        elif words[:2] == ["python", "-m"]:
            path = words[2].replace(".", "/") + ".py"
            assert not path.startswith("benchmarks") or (ROOT / path).exists()
        elif words[:1] == ["python"]:
            script = ROOT / words[1].removeprefix("../")
            assert script.exists(), command
            for flag in re.findall(r"--(\w+)", command):
                assert flag in flags_of(script), f"{command}: --{flag}"


def anchors(page):
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", read(page)), re.MULTILINE)
    slugs = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {slug.replace(" ", "-") for slug in slugs}


def names_in(module):
    """Functions and classes, with methods as `Class.method`."""
    names = set()
    for node in ast.parse(read(module)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{member.name}"
                for member in node.body
                if isinstance(member, ast.FunctionDef)
            }
    return names


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_lead_somewhere(page):
    text = COMMENT.sub("", FENCE.sub("", read(page)))
    for label, target in LINK.findall(text):
        if target.startswith(("https://", "http://")):
            # Only their form can be checked without a network.
            assert re.fullmatch(
                r"https://[\w-]+(\.[\w-]+)+(/[\w.#/-]*)?", target
            )
            continue
        path, _, anchor = target.partition("#")
        path = (page.parent / path).resolve() if path else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target
        if path.suffix == ".py" and re.fullmatch(r"`[\w.]+`", label):
            name = label.strip("`")
            assert name.endswith(".py") or name in names_in(path), target


def compiled(num_classes=3):
    model = actx_tf.models.ActX(num_classes)
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def trained(features):
    model = compiled()
    pairs = {"features": features, "conjugate": features}
    model.train_on_batch(pairs, np.zeros(len(features), int))
    return model


def provoke(kind):
    """Does what the page warns of, in the current folder."""
    features = clips(2, 3, 2, 2, 8)
    jump = data.Clip("jump1", "jump1.mp4", "jump", "train", ("before1",))
    before = data.Clip("before1", "before1.mp4", "none", "train")
    pair, classes = [jump, before], ["jump", "none"]
    store = {"jump1": features[0], "before1": features[1]}
    if kind == "no features":
        data.make_pair_dataset({"before1": features[1]}, pair, classes)
    elif kind == "no class":
        data.make_pair_dataset(store, pair, ["jump"])
    elif kind == "channels":
        store["before1"] = features[1, ..., :4]
        data.make_pair_dataset(store, pair, classes)
    elif kind == "channels of a model":
        trained(features).predict(features[..., :4], verbose=0)
    elif kind == "load_model of a SavedModel":
        actx_tf.export.export_saved_model(trained(features), "models/jump")
        keras.models.load_model("models/jump/1")
    elif kind == "not built":
        actx_tf.export.export_saved_model(compiled(), "models/jump")
    elif kind == "NaN":
        store["jump1"] = features[0] * np.nan

        def make_dataset(**which):
            return data.make_pair_dataset(
                store, pair, classes, names=True, **which
            )

        actx_tf.training.fit(compiled(), make_dataset, bad_batch="bad.npz")
    elif kind == "no video":
        data.read_clip("jump1.mp4")
    elif kind == "broken video":
        Path("jump1.mp4").write_bytes(b"no video" * 100)
        data.read_clip("jump1.mp4")
    elif kind == "locked":
        with data.FeatureStoreWriter("features", "mobilenet_v2_clip"):
            data.FeatureStoreWriter("features", "mobilenet_v2_clip")
    elif kind in ("other features", "large values"):
        seen = describe("inception_i3d", 8, 8, frame_rate=25.0)
        with data.FeatureStoreWriter("features", seen) as writer:
            factor = 1e6 if kind == "large values" else 1
            sizes = {"frame_rate": 25.0, "frames": 24}
            writer.add("jump1", factor * features[0], "jump", "train", **sizes)
        seen = describe("inception_i3d", 8, 8, num_frames=8)
        data.FeatureStoreWriter("features", seen)
    elif kind == "a store cut off":
        Path("features").mkdir()
        Path("features/000000.h5").write_bytes(b"\x89HDF")
        data.FeatureStore("features")
    elif kind == "conjugate unknown":
        Path("index.csv").write_text(
            "clip,file,label,split,conjugates\n"
            "jump1,jump1.mp4,jump,train,before9\n"
        )
        data.read_clip_index("index.csv")
    elif kind == "no negatives":
        embedding = {"jump1": np.ones(8, "float32")}
        _, missing = data.nearest_negatives([jump], embedding)
        raise ValueError(missing[0][1])


# Parts that are not the same on all machines.
CHANGING = re.compile(r"2\.\d+e\+06|\[Errno \d+\]|\([^()]*file[^()]*\)")


KINDS = [
    "no features",
    "no class",
    "channels",
    "channels of a model",
    "load_model of a SavedModel",
    "not built",
    "NaN",
    "no video",
    "broken video",
    "locked",
    "other features",
    "large values",
    "a store cut off",
    "conjugate unknown",
    "no negatives",
]


def test_every_quoted_error_is_provoked():
    page = ROOT / "docs" / "troubleshooting.md"
    assert len(blocks(page, "text")) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_quoted_as_they_are(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, RuntimeError, ArithmeticError)) as info:
        provoke(kind)

    def plain(text):
        text = re.sub(r"\x1b\[\d*m", "", text)  # colors
        return CHANGING.sub("", " ".join(text.split()))

    quoted = [
        plain(text)
        for text in blocks(ROOT / "docs" / "troubleshooting.md", "text")
    ]
    message = plain(str(info.value))
    # Of a long one the page quotes what tells.
    assert any(text.removesuffix(" ...") in message for text in quoted), message
