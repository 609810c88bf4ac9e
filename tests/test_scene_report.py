"""`actx scene-report`: how much of a classifier's accuracy is the scene's."""

import csv
import re

import keras
import numpy as np
import pytest

from actx_tf.data import Clip
from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.experiments import SceneFigure
from actx_tf.experiments import SceneReport
from actx_tf.experiments import SceneRow
from actx_tf.experiments import choose_context
from actx_tf.experiments import evaluate_stored
from actx_tf.experiments import scene_report
from actx_tf.experiments import write_rows
from actx_tf.experiments.scene_figures import others_of_other_classes
from actx_tf.experiments.scene_table import scene_table
from actx_tf.export import export_saved_model
from actx_tf.models import ActX
from actx_tf.models import load_model
from actx_tf.visualization.scene_page import write_scene_page
from tests.browser import browser as browser  # a fixture
from tests.described import describe
from tests.harness import run_actx
from tests.harness import to_numpy
from tests.lossless import write_lossless

CLASSES = ("jump", "run", "sit", "wave")
CHANNELS = len(CLASSES)
MADE_BY = describe("planted", CHANNELS)


def make_pairs(clips=120, conjugates=1):
    """An index of which each clip has conjugates."""
    rows = []
    for i in range(clips):
        names = tuple(f"c{i}.{j}" for j in range(conjugates))
        label = CLASSES[i % len(CLASSES)]
        rows.append(
            Clip(
                f"c{i}", f"c{i}.mp4", label, "test", names, source=f"s{i // 3}"
            )
        )
        rows += [
            Clip(name, f"{name}.mp4", "conjugate", "conjugate")
            for name in names
        ]
    return rows


def planted(clips, bias, seed=0):
    """What a classifier names each clip: by the scene, or by the action.

    The scene of a clip is that of its class. By the scene it names the
    conjugate the same; else another class.
    """
    random = np.random.default_rng(seed)
    named = {}
    for clip in clips:
        if clip.split != "test":
            continue
        own = CLASSES.index(clip.label)
        named[clip.clip] = own
        for name in clip.conjugates:
            other = (own + random.integers(1, CHANNELS)) % CHANNELS
            named[name] = own if random.random() < bias else int(other)
    return named


def write_store(path, named):
    """Features that are 1 in the channel of what a clip is to be named."""
    with FeatureStoreWriter(path, MADE_BY) as writer:
        for name, place in named.items():
            features = np.zeros((2, 2, 2, CHANNELS))
            features[..., place] = 1.0
            writer.add(name, features, "any", "test", 8.0, 16)


def make_model(path=None, context="keep", **kwargs):
    """An ActX that names the largest channel, half of it by F_c."""
    keras.utils.set_random_seed(0)
    model = ActX(
        CHANNELS,
        transformation="identity",
        class_names=CLASSES,
        description=MADE_BY,
        **kwargs,
    )
    model.build((None, None, None, None, CHANNELS))
    model.head.kernel.assign(5 * np.concatenate([np.eye(CHANNELS)] * 2))
    # As training leaves it.
    model.context_switch.mean.assign(np.linspace(0.1, 0.4, CHANNELS))
    model.context_switch.batches.assign(10.0)
    model.context = context
    if path:
        model.save(path)
    return model


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """A .keras file and a SavedModel of one classifier."""
    folder = tmp_path_factory.mktemp("kinds")
    export_saved_model(make_model(folder / "actx.keras"), folder / "served")
    return folder


def overall(report):
    return report.rows[0].figures


def test_planted_biases_come_out_in_order(kinds, tmp_path):
    clips = make_pairs()
    index = tmp_path / "pairs.csv"
    write_clip_index(index, clips)
    found = {}
    for bias in (0.0, 0.5, 0.95):
        named = planted(clips, bias)
        store = tmp_path / f"features{bias}"
        write_store(store, named)
        table = {
            name: {x: float(i == place) for i, x in enumerate(CLASSES)}
            for name, place in named.items()
        }
        write_rows(
            [
                {"clip": name, **{f"score_{x}": y for x, y in row.items()}}
                for name, row in table.items()
            ],
            tmp_path / "scores.csv",
        )
        ways = {
            "scores": {"scores": tmp_path / "scores.csv"},
            "mapping": {"scores": table},
        }
        if bias == 0.5:
            ways |= {
                "keras": {"model": kinds / "actx.keras", "features": store},
                "served": {"model": kinds / "served", "features": store},
            }
        for kind, given in ways.items():
            figures = overall(scene_report(index, **given))
            assert figures["accuracy"].value == 1.0
            scene_only = figures["scene_only"]
            assert scene_only.low <= bias <= scene_only.high
            contrasted = figures["contrasted"].value
            assert contrasted == pytest.approx(1 - scene_only.value)
            found.setdefault(kind, []).append(scene_only.value)
    values = found["scores"]
    assert values == sorted(values) and values[0] == 0.0
    assert len(set(values)) == 3
    assert found["mapping"] == values
    assert found["keras"] == found["served"] == values[1:2]


def random_scores(clips, seed=0):
    random = np.random.default_rng(seed)
    return {c.clip: random.normal(size=CHANNELS) for c in clips}


def as_mapping(scores):
    return {
        name: dict(zip(CLASSES, values, strict=True))
        for name, values in scores.items()
    }


def test_pairs_and_figures_by_hand(tmp_path):
    clips = make_pairs(clips=30, conjugates=2)
    write_clip_index(tmp_path / "pairs.csv", clips)
    scores = random_scores(clips)
    report = scene_report(tmp_path / "pairs.csv", scores=as_mapping(scores))
    rows = {(x["clip"], x["conjugate"]): x for x in report.pairs}
    assert len(rows) == 60 and not report.left_out
    right, scene_only, contrasted = [], [], []
    for clip in clips:
        if clip.split != "test":
            continue
        own = CLASSES.index(clip.label)
        right.append(scores[clip.clip].argmax() == own)
        named = []
        for name in clip.conjugates:
            row = rows[clip.clip, name]
            assert row["label"] == clip.label
            assert row["answer"] == CLASSES[scores[clip.clip].argmax()]
            assert row["score"] == scores[clip.clip][own]
            assert row["conjugate_answer"] == CLASSES[scores[name].argmax()]
            assert row["conjugate_score"] == scores[name][own]
            named.append(scores[name].argmax() == own)
            assert (row["right"], row["scene_only"]) == (right[-1], named[-1])
        scene_only.append(np.mean(named))
        contrasted.append(np.mean([right[-1] and not x for x in named]))
    figures = overall(report)
    assert figures["accuracy"].value == pytest.approx(np.mean(right))
    assert figures["scene_only"].value == pytest.approx(np.mean(scene_only))
    assert figures["contrasted"].value == pytest.approx(np.mean(contrasted))
    # The worst first.
    order = [(x["scene_only"], x["conjugate_score"]) for x in report.pairs]
    assert order == sorted(order, reverse=True)
    assert {x for x, _ in order} == {0, 1}


def test_sources_make_intervals_wider(tmp_path):
    clips = make_pairs(clips=60)
    named = {}
    for i in range(60):  # all clips of a source are one and the same
        named[f"c{i}"] = i % CHANNELS
        named[f"c{i}.0"] = (i + (i // 3) % 2) % CHANNELS
    scores = {name: np.eye(CHANNELS)[place] for name, place in named.items()}
    widths = []
    for number, rows in enumerate(
        (clips, [c if not c.source else Clip(*_whole(c)) for c in clips])
    ):
        write_clip_index(tmp_path / f"{number}.csv", rows)
        report = scene_report(
            tmp_path / f"{number}.csv", scores=as_mapping(scores)
        )
        figure = overall(report)["scene_only"]
        assert figure.value == 0.5
        widths.append(figure.high - figure.low)
        said = ("draw 20 sources again", "the index knows no sources")[number]
        assert said in report.notes[0]
    assert widths[0] == pytest.approx(np.sqrt(3) * widths[1], rel=0.15)


def _whole(clip):
    return clip.clip, clip.file, clip.label, clip.split, clip.conjugates


@pytest.mark.parametrize("context", ["keep", "mean"])
def test_the_context_of_an_actx(context, tmp_path):
    clips = make_pairs(clips=24)
    write_clip_index(tmp_path / "pairs.csv", clips)
    random = np.random.default_rng(0)
    with FeatureStoreWriter(tmp_path / "features", MADE_BY) as writer:
        for clip in clips:
            features = random.normal(size=(3, 2, 2, CHANNELS))
            writer.add(clip.clip, features, "any", "test", 8.0, 24)
    make_model(tmp_path / "actx.keras", context)
    given = {
        "model": tmp_path / "actx.keras",
        "features": tmp_path / "features",
        "index": tmp_path / "pairs.csv",
    }
    report = scene_report(**given, seed=3)
    other = "mean" if context == "keep" else "keep"
    assert report.switched == other
    # It answers as it does to `actx evaluate`.
    rows = evaluate_stored(**given).rows
    answers = {row["clip"]: row["answer"] for row in rows}
    assert {x["clip"]: x["answer"] for x in report.pairs} == answers
    # And switched as if it had been saved with the other context.
    make_model(tmp_path / "other.keras", other)
    switched = scene_report(**{**given, "model": tmp_path / "other.keras"})
    for name in ("accuracy", "scene_only", "contrasted"):
        figure = overall(report)[f"switched_{name}"]
        expected = overall(switched)[name]
        assert (figure.value, figure.chance) == (
            pytest.approx((expected.value, expected.chance))
        )
    assert {
        x["conjugate"]: x["switched_conjugate_answer"] for x in report.pairs
    } == {x["conjugate"]: x["conjugate_answer"] for x in switched.pairs}
    # With the context of a clip of another class, by hand.
    model = load_model(tmp_path / "actx.keras")
    tested = [clip for clip in clips if clip.split == "test"]

    with FeatureStore(tmp_path / "features") as store:
        pooled = [
            to_numpy(model.pooling(store[c.clip][None].astype("float32")))[0]
            for c in tested
        ]
    kernel, bias = map(to_numpy, (model.head.kernel, model.head.bias))
    members = np.array([[c.label == x for x in CLASSES] for c in tested])
    changed = []
    for place, partner in enumerate(others_of_other_classes(members, seed=3)):
        vector = np.concatenate(
            [pooled[place][:CHANNELS], pooled[partner][CHANNELS:]]
        )
        answer = CLASSES[(vector @ kernel + bias).argmax()]
        changed.append(answer != answers[tested[place].clip])
    expected = np.mean(changed) if context == "keep" else 0.0
    assert overall(report)["changed"].value == pytest.approx(expected)
    assert (expected > 0) == (context == "keep")
    table = scene_table(report)
    assert table[0][-1] == "answer changed"
    assert table[2][0] == f'all, context="{other}"'


def test_what_is_left_out_is_said(tmp_path):
    clips = make_pairs(clips=4, conjugates=2)
    clips += [
        Clip("alone", "a.mp4", "run", "test"),
        Clip("strange", "a.mp4", "dance", "test", ("c0.0",)),
        Clip("empty", "a.mp4", "none", "test", ("c0.0",)),
        Clip("unscored", "a.mp4", "run", "test", ("c0.0",)),
        Clip("unpaired", "a.mp4", "run", "test", ("gone",)),
        Clip("gone", "a.mp4", "conjugate", "conjugate"),
        Clip("other", "a.mp4", "run", "train", ("c0.0",)),
    ]
    write_clip_index(tmp_path / "pairs.csv", clips)
    scores = random_scores(clips)
    for name in ("unscored", "gone", "c1.1"):
        del scores[name]
    report = scene_report(
        tmp_path / "pairs.csv", scores=as_mapping(scores), background=["none"]
    )
    assert dict(report.left_out) == {
        "alone": "no conjugate",
        "strange": "the classifier does not know the class 'dance'",
        "empty": "none is the background",
        "unscored": "not in `scores`",
        "unpaired": "none of its conjugates is there",
        "gone": "a conjugate that is not in `scores`",
        "c1.1": "a conjugate that is not in `scores`",
    }
    assert (report.rows[0].clips, report.rows[0].pairs) == (4, 7)
    assert report.notes[-1].startswith("4 clips say little")


def test_several_classes_a_clip(tmp_path):
    clips = [
        Clip("a", "a.mp4", "run|jump", "test", ("b",)),
        Clip("b", "a.mp4", "conjugate", "conjugate"),
    ]
    write_clip_index(tmp_path / "pairs.csv", clips)
    scores = {"a": np.array([0.9, 0, 0, 0]), "b": np.array([0.1, 0.7, 0, 0])}
    report = scene_report(tmp_path / "pairs.csv", scores=as_mapping(scores))
    assert [row.name for row in report.rows] == ["", "jump", "run"]
    for row in report.rows:
        values = {name: figure.value for name, figure in row.figures.items()}
        assert values == {"accuracy": 1, "scene_only": 1, "contrasted": 0}
    assert report.pairs[0]["conjugate_score"] == 0.7


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "pairs.csv"
    write_clip_index(path, make_pairs(clips=8))
    return path


def test_what_cannot_be_asked(index, tmp_path, kinds):
    scores = as_mapping(random_scores(read_clip_index(index)))
    write_store(tmp_path / "features", {"other": 1})
    model = {"model": kinds / "actx.keras", "features": tmp_path / "features"}
    for given in ({}, {**model, "scores": scores}, {"model": model["model"]}):
        with pytest.raises(ValueError, match="`model` and `features` must be"):
            scene_report(index, **given)
    with pytest.raises(ValueError, match="`split` must be one of .*'test'"):
        scene_report(index, scores=scores, split="validation")
    with pytest.raises(ValueError, match="`background` must be labels"):
        scene_report(index, scores=scores, background=["nothing"])
    with pytest.raises(ValueError, match="`features` must hold clips of the"):
        scene_report(index, **model)
    other = describe("other", CHANNELS)
    with FeatureStoreWriter(tmp_path / "others", other) as writer:
        writer.add("c0", np.ones((2, 2, 2, CHANNELS)), "run", "test", 8.0, 16)
    with pytest.raises(ValueError, match="`model` must be trained on features"):
        scene_report(index, **{**model, "features": tmp_path / "others"})
    write_clip_index(
        tmp_path / "unpaired.csv", [Clip("a", "a.mp4", "run", "test")]
    )
    with pytest.raises(ValueError, match="no conjugate.*actx mine"):
        scene_report(tmp_path / "unpaired.csv", scores=scores)
    with pytest.raises(ValueError, match="no conjugate.*actx mine"):
        scene_report(tmp_path / "unpaired.csv", **model)
    for wrong in (
        {},
        {"c0": {"run": 1.0}},
        {"c0": {"run": 1.0, "sit": float("nan")}},
        {"c0": {"run": 1.0, "sit": 0.0}, "c1": {"sit": 1.0, "run": 0.0}},
    ):
        with pytest.raises(ValueError, match="`scores` must "):
            scene_report(index, scores=wrong)


HEAD = "clip,score_run,score_sit"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "1: expected the columns clip and score_<class>"),
        ("name,score_run,score_sit\na,1,0", "1: expected the columns clip"),
        (f"{HEAD},score_run\na,1,0,1", "1: expected the columns clip"),
        ("clip,score_run\na,1", "1: `scores` must be of two classes or more"),
        (HEAD, "1: the table has no clip"),
        (f"{HEAD}\na,1,0\na,1,0", "3: clip 'a' is there twice"),
        (f"{HEAD}\na,1", "2: expected 3 fields. Received: 2"),
        (f"{HEAD}\na,1,high", "2: scores must be finite numbers"),
        (f"{HEAD}\na,1,inf", "2: scores must be finite numbers"),
        (f'{HEAD}\na,1,"0', "2: unexpected end of data"),
    ],
)
def test_tables_that_are_not_understood(text, words, index, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{path}:{words}")):
        scene_report(index, scores=path)
    path.write_bytes(b"clip,score_\xff,score_b")
    with pytest.raises(ValueError, match="not UTF-8"):
        scene_report(index, scores=path)
    with pytest.raises(FileNotFoundError, match="no table of scores"):
        scene_report(index, scores=tmp_path / "none.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store, a model and an index of videos, one of which is not there."""
    folder = tmp_path_factory.mktemp("store")
    clips = make_pairs(clips=8)
    write_store(folder / "features", planted(clips, 0.5))
    make_model(folder / "actx.keras")
    random = np.random.default_rng(0)
    for clip in clips:
        if clip.clip != "c3":
            frames = np.full((8, 24, 32, 3), random.integers(256, size=3))
            write_lossless(folder / clip.file, frames.astype(np.uint8))
    write_clip_index(
        folder / "pairs.csv",
        [Clip(*(c.clip, str(folder / c.file)), *_whole(c)[2:]) for c in clips],
    )
    return folder


def read(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "switched, contrasted, accuracy, most_lost, chosen",
    [
        ("mean", 0.1, 0.0, 0.01, "mean"),
        ("mean", 0.1, -0.01, 0.01, "mean"),
        ("mean", 0.1, -0.02, 0.01, "keep"),
        ("mean", 0.1, -0.02, 0.02, "mean"),
        ("mean", 0.0, 0.1, 0.01, "keep"),  # the scene is no matter
        ("keep", -0.1, 0.1, 0.01, "mean"),
        ("keep", 0.1, 0.1, 0.01, "keep"),
    ],
)
def test_the_context_that_pairs_speak_for(
    switched, contrasted, accuracy, most_lost, chosen
):
    values = {
        "accuracy": 0.7,
        "contrasted": 0.5,
        "switched_accuracy": 0.7 + accuracy,
        "switched_contrasted": 0.5 + contrasted,
    }
    figures = {
        name: SceneFigure(value, np.nan, np.nan)
        for name, value in values.items()
    }
    report = SceneReport([SceneRow("", 9, 9, figures)], [], [], [], switched)
    assert choose_context(report, most_lost) == chosen
    with pytest.raises(ValueError, match="no context switch|without one"):
        choose_context(SceneReport(report.rows, [], [], []))
    for wrong in (-0.1, 1.5, np.nan):
        with pytest.raises(ValueError, match="`most_lost` must be in"):
            choose_context(report, wrong)


def test_a_model_with_the_context_chosen(folder, tmp_path):
    given = {
        "model": folder / "actx.keras",
        "features": folder / "features",
        "index": folder / "pairs.csv",
    }
    chosen = choose_context(scene_report(**given), most_lost=1.0)
    result = run_actx(
        "scene-report",
        *(f"--{name}={path}" for name, path in given.items()),
        *("--most_lost=1", f"--chosen={tmp_path / 'chosen.keras'}"),
    )
    assert result.returncode == 0, result.stderr
    assert f'these pairs speak for context="{chosen}", F_c' in result.stdout
    model = load_model(tmp_path / "chosen.keras")
    assert model.context == chosen
    for mine, before in zip(
        model.weights, load_model(given["model"]).weights, strict=True
    ):
        np.testing.assert_array_equal(mine, before)
    result = run_actx(
        *("scene-report", "--scores=any.csv", f"--index={given['index']}"),
        f"--chosen={tmp_path / 'chosen.keras'}",
    )
    assert result.returncode == 2
    assert "--chosen takes a .keras file" in result.stderr


def test_a_model_without_a_choice_keeps_the_table(folder, tmp_path):
    """The switch of a model that was not trained is not known."""
    model = load_model(folder / "actx.keras")
    new = ActX.from_config(model.get_config())
    new.build((None, None, None, None, CHANNELS))
    new.save(tmp_path / "new.keras")
    result = run_actx(
        *("scene-report", "--features=features", "--index=pairs.csv"),
        f"--model={tmp_path / 'new.keras'}",
        f"--chosen={tmp_path / 'chosen.keras'}",
        f"--output={tmp_path / 'pairs.csv'}",
        cwd=folder,
    )
    assert result.returncode == 1
    assert "--chosen needs a trained ActX" in result.stderr
    assert len(read(tmp_path / "pairs.csv")) == 8
    assert not (tmp_path / "chosen.keras").exists()


def test_the_command(folder):
    result = run_actx(
        "scene-report",
        *("--features=features", "--index=pairs.csv", "--model=actx.keras"),
        *("--output=by_scene.csv", "--page=scene.html", "--num_pairs=5"),
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    report = scene_report(
        folder / "pairs.csv",
        model=folder / "actx.keras",
        features=folder / "features",
    )
    lines = result.stdout.splitlines()
    for line, cells in zip(lines, scene_table(report), strict=False):
        assert line.split() == " ".join(cells).split()
    assert [line.split()[0] for line in lines[1:8]] == [
        *("all", "all,", "by", *CLASSES),
    ]
    assert "written: scene.html, 5 of 8 pairs" in result.stdout
    rows = read(folder / "by_scene.csv")
    assert [(x["clip"], x["conjugate"]) for x in rows] == [
        (x["clip"], x["conjugate"]) for x in report.pairs
    ]
    page = (folder / "scene.html").read_text(encoding="utf-8")
    assert page.count("<article") == 5
    # Four frames of each clip whose file is there.
    missing = sum(x["clip"] == "c3" for x in report.pairs[:5])
    assert page.count("<img") == 4 * (10 - missing)
    assert ("1 clips without frames, such as c3: " in result.stdout) == (
        bool(missing)
    )


def test_the_command_on_scores(folder):
    clips = read_clip_index(folder / "pairs.csv")
    write_rows(
        [
            {"clip": name, **{f"score_{x}": y for x, y in row.items()}}
            for name, row in as_mapping(random_scores(clips)).items()
        ],
        folder / "scores.csv",
    )
    given = ("--scores=scores.csv", "--index=pairs.csv")
    result = run_actx("scene-report", *given, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "note: the index knows no sources" in result.stdout
    assert "answer changed" not in result.stdout
    assert "written" not in result.stdout
    result = run_actx("scene-report", *given, "--split=train", cwd=folder)
    assert result.returncode == 1
    assert "--split must be one of ['conjugate', 'test']" in result.stderr
    for flags, words in (
        (("--model=actx.keras",), "--model or --scores must be given, one"),
        (("--features=features",), "--model and --features are given together"),
        (("--num_pairs=0",), "--num_pairs: must be"),
    ):
        result = run_actx("scene-report", *given, *flags, cwd=folder)
        assert result.returncode == 2 and words in result.stderr
    result = run_actx("scene-report", "--index=pairs.csv", cwd=folder)
    assert result.returncode == 2


@pytest.fixture
def strange_page(folder, tmp_path):
    """Names that must not become a part of the page."""
    script = "<script>alert(1)</script>{{title}}"
    clips = {c.clip: c for c in read_clip_index(folder / "pairs.csv")}
    pairs = [
        {
            "clip": clip,
            "conjugate": f"{clip}.0",
            "label": script,
            "answer": script,
            "score": 0.9,
            "conjugate_answer": "sit",
            "conjugate_score": 0.8,
            "right": 1,
            "scene_only": scene_only,
        }
        for clip, scene_only in (("c0", 1), ("c3", 0))
    ]
    path = tmp_path / "new" / "page.html"
    unread = write_scene_page(
        path,
        [["", "accuracy"], [script, "0.5"]],
        pairs,
        clips,
        notes=[script],
        title=script,
    )
    ((name, reason),) = unread
    assert name == "c3" and "there is no such file" in reason
    return path


def test_names_on_the_page(strange_page):
    page = strange_page.read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;{{title}}") >= 8
    assert page.count("there is no such file") == 1
    assert page.count('class="by-scene"') == 1


def test_the_page_in_a_browser(browser, strange_page):
    browser.set_window_size(1200, 900)
    browser.get(strange_page.as_uri())
    images = browser.find_elements("tag name", "img")
    assert len(images) == 12
    for image in images:
        assert image.get_property("naturalWidth") == 32
    clip, conjugate = browser.find_elements("css selector", "figure")[:2]
    assert clip.rect["y"] == conjugate.rect["y"]
    assert clip.rect["x"] + clip.rect["width"] <= conjugate.rect["x"]
    assert not [
        entry
        for entry in browser.get_log("browser")
        if entry["level"] in ("SEVERE", "WARNING")
    ]
