"""What contributors, reporters and those who cite read is true of the tree."""

import csv
import re
import statistics

import numpy as np
import pytest
import yaml
from PIL import Image

from actx_tf.cli.main import COMMANDS
from actx_tf.data import feature_file
from actx_tf.data import synthetic
from tests.harness import ROOT

FORMS = [
    path
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    if path.stem != "config"
]


def read(*parts):
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def recipes():
    """Yields (what is added, the example, the files of the list)."""
    for section in read("CONTRIBUTING.md").split("\n### ")[1:]:
        title, _, text = section.partition("\n")
        (example,) = re.findall(r"\b[Aa]s `(\w+)`:", text)
        items = re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE)
        words = re.findall(r"`([^`]+)`", "\n".join(items))
        paths = [word for word in words if "." in word or word == "Makefile"]
        yield title, example, [p for p in paths if p != "keras.json"]


@pytest.mark.parametrize(
    "example, paths", [pytest.param(*x[1:], id=x[0]) for x in recipes()]
)
def test_the_files_to_touch_are_those_of_the_example(example, paths):
    assert len(paths) > 4
    name = example.removeprefix("read_").lower()
    for path in [*paths, "docs/api.txt", "CHANGELOG.md"]:
        assert name in read(path).lower().replace("_", ""), path


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_the_files_that_a_page_names_exist(page):
    for word in re.findall(r"`([\w./-]+)`", read(page)):
        if "/" in word and not word.startswith("--"):
            assert (ROOT / word).exists(), word


def test_there_is_a_recipe_for_each_thing_to_add():
    assert [title for title, *_ in recipes()] == [
        "A layer",
        "A backbone",
        "A reader of a data set",
    ]


def test_the_citation_is_that_of_the_readme():
    citation = yaml.safe_load(read("CITATION.cff"))
    paper = citation["preferred-citation"]
    (entry,) = re.findall(r"```bibtex\n(.*?)```", read("README.md"), re.DOTALL)
    fields = dict(re.findall(r"(\w+) += \{(.*?)\}", " ".join(entry.split())))
    assert fields["title"] == paper["title"]
    assert fields["author"] == " and ".join(
        f"{author['family-names']}, {author['given-names']}"
        for author in paper["authors"]
    )
    assert fields["booktitle"] == paper["conference"]["name"]
    assert int(fields["year"]) == paper["year"]
    assert citation["license"] in read("README.md")
    # One place says the version.
    assert "version" not in citation


def test_the_readme_is_short():
    """What takes longer to say has a page of its own."""
    assert len(read("README.md").splitlines()) <= 200


def test_the_commands_of_a_clone_are_on_the_first_screen():
    first_screen = read("README.md").splitlines()[:40]
    commands = [line.split("#")[0].strip() for line in first_screen]
    decides = read(".ci", "run").splitlines()[-1]  # what is tested with
    assert decides in commands
    assert "make demo" in commands


def test_the_figures_of_the_readme_are_those_of_a_table():
    """The README repeats results; the pages say how they were measured."""
    between = r"<!-- numbers -->(.*?)<!-- /numbers -->"
    (numbers,) = re.findall(between, read("README.md"), re.DOTALL)
    figures = re.findall(r"\d\.\d+(?: ± \d\.\d+)?", numbers)
    assert len(figures) > 4
    pages = read("docs", "paper_tables.md") + read("docs", "evidence.md")
    for figure in figures:
        assert re.search(rf"(?<![\d.]){figure}(?!\d)", pages), figure
    # None stands outside, where nothing would compare it.
    outside = read("README.md").replace(numbers, "")
    assert not re.search(r"\d ±|0\.\d\d", outside)


# As the page calls what the command calls otherwise.
METHODS = {
    "attentional pooling": "Attentional",
    "k-Region (their true boxes)": "k-Region",
    "PoseMask (true masks of the things that move)": "PoseMask",
}


def test_the_table_of_the_built_in_set_is_what_the_command_wrote():
    written = list(csv.DictReader(read("docs", "built_in.csv").splitlines()))
    table = re.search(
        r"\| \| accuracy \|.*?\n\n", read("docs", "paper_tables.md"), re.DOTALL
    )
    rows = re.findall(r"^\| (\**\w.*) \|$", table[0], re.MULTILINE)
    assert len(rows) == 10
    for row in rows:
        name, *cells = (x.strip() for x in row.replace("**", "").split("|"))
        method = METHODS.get(name, name)
        seeds = [line for line in written if line["method"] == method]
        assert len(seeds) == 3
        expected = []
        for figure in ("accuracy", "mAP", "localization AUC"):
            values = [float(line[figure]) for line in seeds if line[figure]]
            both = statistics.mean, statistics.stdev
            expected.append(
                " ± ".join(f"{f(values):.3f}" for f in both if values)
            )
        expected.append(f"{int(seeds[0]['weights']):,}")
        assert cells == expected, name


def test_the_picture_of_the_readme_is_of_the_built_in_set():
    """`examples/quick_start.py` draws it: frames of one clip, and its maps."""
    clips = synthetic.make_part("test", 200).videos.astype(float)
    (name,) = re.findall(r"!\[.*?\]\((.*?\.gif)\)", read("README.md"))
    with Image.open(ROOT / name) as film:
        assert film.n_frames == clips.shape[1]
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            left = film.convert("RGB").crop((8, 30, 8 + 144, 30 + 144))
            frames.append(np.array(left.resize(clips.shape[2:4]), float))
    errors = np.abs(clips - frames).mean(axis=(1, 2, 3, 4))
    first, second = np.sort(errors)[:2]
    assert first < 5 < second


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_are_such_as_github_takes(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(form) == {"name", "description", "labels", "body"}
    questions = [x for x in form["body"] if x["type"] != "markdown"]
    assert len({x["id"] for x in questions}) == len(questions)
    assert all(x["attributes"]["label"] for x in questions)
    assert any(x.get("validations", {}).get("required") for x in questions)
    for item in form["body"]:
        assert item["type"] in ("markdown", "textarea", "input")
        assert set(item) <= {"type", "id", "attributes", "validations"}


def test_the_page_of_promises_says_the_version_of_the_store():
    page = read("docs", "promises.md")
    row = re.search(r"\| feature store.*`(.+?)` \| .*: (\d+) \|\n", page)
    assert row[1] == feature_file._FORMAT
    assert int(row[2]) == feature_file._VERSION


def test_the_page_of_promises_says_what_is_not_public():
    listed = {line.split("(")[0] for line in read("docs", "api.txt").split()}
    text = re.search(
        r"Not public: (.*?)\n- ", read("docs", "promises.md"), re.S
    )
    private = re.findall(r"`(actx_tf\.\w+)`", text[1])
    assert len(private) == 4
    for name in private:
        assert not any(x.startswith(f"{name}.") for x in listed), name
    rooms = {
        path.name.removesuffix(".py")
        for path in (ROOT / "actx_tf").iterdir()
        if not path.name.startswith(("_", "py.")) and path.suffix != ".pyc"
    }
    public = {name.split(".")[1] for name in listed if "actx_tf." in name}
    private = {name.split(".")[1] for name in private}
    assert rooms - public == private | {"version"}


def test_the_page_of_commands_says_which_go_on():
    page = read("docs", "commands.md")
    rows = re.findall(r"^\| `actx ([\w-]+)` \|", page, re.MULTILINE)
    assert rows == [*COMMANDS]
    (sentence,) = re.findall(r"These go on.*?:(.*?)\.\s", page, re.DOTALL)
    assert re.findall(r"`actx ([\w-]+)`", sentence) == sorted(
        name
        for name, module in COMMANDS.items()
        if getattr(module, "GOES_ON", False)
    )
