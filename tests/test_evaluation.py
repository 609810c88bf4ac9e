"""`actx evaluate` on clips: what it prints, its tables and its page."""

import contextlib
import csv
import io
import json

import keras
import numpy as np
import pytest

from actx_tf.cli.main import main
from actx_tf.data import Clip
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import write_clip_index
from actx_tf.experiments import StoredEvaluation
from actx_tf.experiments import evaluate_stored
from actx_tf.experiments import write_evaluation
from actx_tf.experiments.evaluation_tables import calibration_rows
from actx_tf.experiments.evaluation_tables import class_rows
from actx_tf.experiments.evaluation_tables import class_table
from actx_tf.experiments.evaluation_tables import confusion_rows
from actx_tf.experiments.evaluation_tables import mistakes
from actx_tf.metrics import calibration
from actx_tf.models import ActX
from actx_tf.models import load_model
from tests.browser import browser as browser  # a fixture
from tests.described import describe
from tests.lossless import write_lossless

CLASSES = ("jump", "none", "run & <b>hide</b>")
CLIPS = 24
MADE_BY = describe("planted", len(CLASSES))


def make_model(path, **settings):
    """One that names the largest channel, and how surely depends on it."""
    keras.utils.set_random_seed(0)
    model = ActX(
        len(CLASSES),
        transformation="identity",
        class_names=CLASSES,
        background=["none"],
        description=MADE_BY,
        **settings,
    )
    model.build((None, None, None, None, len(CLASSES)))
    model.head.kernel.assign(3 * np.concatenate([np.eye(len(CLASSES))] * 2))
    model.save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store and an index of videos, one of which is not there."""
    folder = tmp_path_factory.mktemp("evaluated")
    random = np.random.default_rng(0)
    clips, several = [], []
    with FeatureStoreWriter(folder / "features", MADE_BY) as writer:
        for i in range(CLIPS):
            label = CLASSES[i % len(CLASSES)]
            features = random.random((2, 2, 2, len(CLASSES)))
            features[..., i % len(CLASSES)] += 0.15
            name, path = f"c{i}", folder / f"c{i}.mp4"
            writer.add(name, features, label, "test", 8.0, 16)
            clips.append(Clip(name, str(path), label, "test"))
            both = f"{label}|jump" if i % 3 and i % 2 else label
            several.append(Clip(name, str(path), both, "test"))
            if i != 8:
                frames = np.full((4, 24, 32, 3), random.integers(256, size=3))
                write_lossless(path, frames.astype(np.uint8))
    clips.append(Clip("unstored", "u.mp4", "jump", "test"))
    clips.append(Clip("c0.dance", "u.mp4", "dance", "test"))
    write_clip_index(folder / "index.csv", clips)
    write_clip_index(folder / "several.csv", several)
    make_model(folder / "actx.keras")
    make_model(folder / "several.keras", activation="sigmoid")
    broken = load_model(make_model(folder / "broken.keras"))
    broken.head.bias.assign(np.full(len(CLASSES), np.nan))
    broken.save(folder / "broken.keras")
    return folder


def evaluated(folder, several=False):
    name = "several" if several else "actx"
    return evaluate_stored(
        folder / f"{name}.keras",
        features=folder / "features",
        index=folder / ("several.csv" if several else "index.csv"),
    )


def actx(*arguments):
    """Runs the command in this process; returns code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_command(folder, tmp_path):
    report = tmp_path / "new" / "report"
    code, out, err = actx(
        "evaluate",
        f"--features={folder / 'features'}",
        f"--index={folder / 'index.csv'}",
        f"--model={folder / 'actx.keras'}",
        f"--report={report}",
    )
    assert code == 0, err
    assert "left out: unstored: not in" in out
    found = evaluated(folder)
    assert f"{CLIPS} clips of the split test" in out
    assert set(found.figures) == {"accuracy", "mAcc", "mAP", "mF1", "ECE"}
    for name, value in found.figures.items():
        assert f"{name:9} {value:.3f}\n" in out
    assert 0 < found.figures["accuracy"] < 1
    for line in class_table(found):
        assert " ".join(line).split() in [x.split() for x in out.splitlines()]
    # The tables hold the same, and nothing where nothing is known.
    for name, rows in (
        ("per_class", class_rows(found)),
        ("confusion", confusion_rows(found)),
        ("calibration", calibration_rows(found)),
    ):
        written = read(report / f"{name}.csv")
        assert len(written) == len(rows)
        for row, expected in zip(written, rows, strict=True):
            assert list(row) == list(expected)
            for key, value in expected.items():
                known = value if value == value else ""
                assert row[key] == str(known)
    assert {x.name for x in report.iterdir()} == {
        *("per_class.csv", "confusion.csv", "calibration.csv"),
        "evaluation.html",
    }
    wrong = mistakes(found)
    missing = sum(row["clip"] == "c8" for row in wrong)
    assert ("clips of the page without frames, such as c8" in out) == missing


def test_rows_of_one_class_a_clip(folder):
    sklearn = pytest.importorskip("sklearn.metrics")
    found = evaluated(folder)
    labels = [row["label"] for row in found.rows]
    answers = [row["answer"] for row in found.rows]
    matrix = sklearn.confusion_matrix(labels, answers, labels=CLASSES)
    rows = confusion_rows(found)
    assert [row["label"] for row in rows] == list(CLASSES)
    for k, row in enumerate(rows):
        counts = [row[f"answer_{name}"] for name in CLASSES]
        assert counts == matrix[k].tolist()
    for k, row in enumerate(class_rows(found)):
        assert row["background"] == (row["class"] == "none")
        assert row["AP"] == pytest.approx(
            sklearn.average_precision_score(
                found.labels[:, k], found.scores[:, k]
            ),
            abs=1e-6,
        )
    assert found.figures["accuracy"] == sklearn.accuracy_score(labels, answers)
    # What is on the page: wrong, the surest first.
    wrong = mistakes(found)
    assert {row["clip"] for row in wrong} == {
        row["clip"] for row in found.rows if row["label"] != row["answer"]
    }
    scores = [row["score"] for row in wrong]
    assert scores == sorted(scores, reverse=True)
    largest = found.scores.max(axis=-1)
    right = np.array(labels) == np.array(answers)
    assert found.figures["ECE"] == calibration(largest, right).error
    assert sum(row["count"] for row in calibration_rows(found)) == CLIPS


def test_rows_of_several_classes_a_clip(folder):
    sklearn = pytest.importorskip("sklearn.metrics")
    found = evaluated(folder, several=True)
    assert set(found.figures) == {"mAP", "mF1", "ECE"}
    answers = found.scores >= 0.5
    counts = sklearn.multilabel_confusion_matrix(found.labels, answers)
    for row, expected in zip(confusion_rows(found), counts, strict=True):
        assert [
            [row["true_negatives"], row["false_positives"]],
            [row["false_negatives"], row["true_positives"]],
        ] == expected.tolist()
    actions = [k for k, name in enumerate(CLASSES) if name != "none"]
    assert found.figures["mF1"] == pytest.approx(
        sklearn.f1_score(
            found.labels[:, actions], answers[:, actions], average="macro"
        )
    )
    expected = calibration(
        found.scores[:, actions].ravel(), found.labels[:, actions].ravel()
    )
    assert found.figures["ECE"] == pytest.approx(expected.error)
    wrong = mistakes(found)
    assert len(wrong) == (answers != found.labels)[:, actions].sum()
    for row in wrong:
        name = row["answer"].removeprefix("not ")
        missed = row["answer"] != name
        assert missed == (name in row["label"].split("|"))
        assert missed == (row["score"] < 0.5)
    sure = [abs(row["score"] - 0.5) for row in wrong]
    assert sure == sorted(sure, reverse=True)


def test_of_many_classes_the_worst_are_printed():
    names = tuple(f"class {i}" for i in range(30))
    random = np.random.default_rng(0)
    found = StoredEvaluation(
        class_names=names,
        background=(),
        activation="softmax",
        labels=np.eye(30, dtype=bool)[random.integers(0, 29, 200)],
        scores=random.dirichlet(np.ones(30), size=200),
        rows=[],
        left_out=[],
    )
    header, *lines = class_table(found)
    assert len(lines) == 20
    shown = [float(line[header.index("f1")]) for line in lines]
    assert shown == sorted(shown)
    assert max(shown) <= sorted(found.of_classes.f1[:29])[20]
    # The last has no clip: its figures are not known, and count nowhere.
    assert np.isnan(class_rows(found)[-1]["recall"])
    assert np.isfinite(list(found.figures.values())).all()


@pytest.mark.parametrize("several", [False, True])
def test_the_page_in_a_browser(folder, tmp_path, browser, several):
    found = evaluated(folder, several)
    clips = [
        Clip(f"c{i}", str(folder / f"c{i}.mp4"), "jump", "test")
        for i in range(CLIPS)
    ]
    unread = write_evaluation(found, tmp_path, clips, title="<b>{{notes}}")
    path = tmp_path / "evaluation.html"
    assert "<b>" not in path.read_text(encoding="utf-8")
    browser.set_window_size(1200, 900)
    browser.get(path.as_uri())
    assert browser.title == "<b>{{notes}}"
    wrong = mistakes(found)[:24]
    captions = browser.find_elements("css selector", "figcaption")
    assert len(captions) == len(wrong)
    for caption, row in zip(captions, wrong, strict=True):
        assert caption.text == (
            f"{row['clip']}: {row['label']}, answered {row['answer']} "
            f"({row['score']:.3f})"
        )
    images = browser.find_elements("tag name", "img")
    gone = sum(row["clip"] == "c8" for row in wrong)
    assert len(images) == 4 * (len(wrong) - gone)
    assert [name for name, _ in unread] == ["c8"] * bool(gone)
    for image in images:
        assert image.get_property("naturalWidth") == 32
    # Each bar is as long as its figure.
    for row in browser.find_elements("css selector", ".of-classes tbody tr"):
        for cell in row.find_elements("css selector", ".bar:not(.none)"):
            [bar] = cell.find_elements("tag name", "i")
            room = float(cell.rect["width"]) - 14  # its padding
            assert bar.rect["width"] == pytest.approx(
                float(cell.text) * room, abs=1
            )
    filled = [x["count"] for x in calibration_rows(found) if x["count"]]
    bars = browser.find_elements("css selector", ".reliability .accuracy")
    assert len(bars) == len(filled)
    if not several:
        cells = [
            [x.text for x in row.find_elements("tag name", "td")]
            for row in browser.find_elements(
                "css selector", ".confusion tbody tr"
            )
        ]
        assert cells == [
            [str(x or "") for x in list(row.values())[1:]]
            for row in confusion_rows(found)
        ]
    assert not [
        entry
        for entry in browser.get_log("browser")
        if entry["level"] in ("SEVERE", "WARNING")
    ]


def test_what_cannot_be_evaluated(folder, tmp_path):
    flags = [
        "evaluate",
        f"--features={folder / 'features'}",
        f"--model={folder / 'actx.keras'}",
    ]
    empty = tmp_path / "empty.csv"
    empty.write_text("clip,file,label,split,conjugates\n")
    code, _, err = actx(*flags, f"--index={empty}")
    assert code == 1 and "--index must hold a clip" in err
    flags[-1] = f"--model={folder / 'broken.keras'}"
    report = tmp_path / "report"
    index = f"--index={folder / 'index.csv'}"
    code, out, err = actx(*flags, index, f"--report={report}")
    assert code == 1 and "its scores are not finite" in err
    assert not out and not report.exists()


TRUE = {"a": [(0, 2, "run"), (3, 5, "jump")], "b": [(1, 4, "run")], "c": []}


def write_results(path, videos, score=0.5):
    """In ActivityNet's form, in which a video may have no segment."""
    results = {
        video: [
            {"segment": [start, end], "label": label, "score": score}
            for start, end, label in entries
        ]
        for video, entries in videos.items()
    }
    path.write_text(json.dumps({"results": results}))
    return path


def of_segments(tmp_path, found, *flags, true=TRUE):
    write_results(tmp_path / "found.json", found)
    write_results(tmp_path / "truth.json", true)
    return actx(
        "evaluate",
        f"--segments={tmp_path / 'found.json'}",
        f"--truth={tmp_path / 'truth.json'}",
        f"--output={tmp_path / 'table.csv'}",
        *flags,
    )


def test_segments(tmp_path):
    # The run of a is found exactly, the other half of it, the jump not.
    found = {"a": [(0, 2, "run")], "b": [(1, 2.5, "run")]}
    code, out, err = of_segments(tmp_path, found)
    assert code == 0, err
    assert "3 videos, 3 true segments, 2 found" in out
    assert "nothing is found of 1 of 3 videos" not in out  # c has none
    assert "nothing is found of 1 of 2 classes" in out and "'jump'" in out
    figures = dict(x.split() for x in out.splitlines() if len(x.split()) == 2)
    # Of run, 1 to 0.5 and a half above; of jump, 0.
    assert figures["0.5"] == "0.500" and figures["0.55"] == "0.250"
    strict = (0.5 + 9 * 0.25) / 10
    assert f"\nmean 0.5:0.95  {strict:.3f}\n" in out
    loose = (5 * 0.5 + 2 * 0.25) / 7
    assert f"\nmean 0.1:0.7   {loose:.3f}\n" in out
    jump, run = read(tmp_path / "table.csv")
    assert (jump["class"], jump["true"], jump["found"]) == ("jump", "1", "0")
    assert float(run["AP@0.5"]) == 1.0 and float(run["AP@0.55"]) == 0.5
    assert float(run["AP@0.5:0.95"]) == pytest.approx(2 * strict)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            {"a": [(0, 2, "runs")]},
            "of 1 classes that the truth does not name, 'runs (1)'",
        ),
        ({"x": [(0, 2, "run")]}, "1 segments in 1 of 1 videos that the truth"),
        ({"videos/a.mp4": [(0, 2, "run")]}, "see --by_stem"),
    ],
)
def test_what_the_truth_does_not_name_is_refused(tmp_path, found, words):
    code, out, err = of_segments(tmp_path, found)
    assert code == 1 and not out
    assert words in err and err.count("\n") == 1
    assert not (tmp_path / "table.csv").exists()


def test_what_the_truth_does_not_name_can_be_left_out(tmp_path):
    found = {"a": [(0, 2, "run"), (0, 2, "sit")], "x": [(0, 2, "run")]}
    code, out, err = of_segments(tmp_path, found, "--leave_out_unknown")
    assert code == 0, err
    assert "left out: 1 segments in 1 of 2 videos" in out and "'x (1)'" in out
    assert "left out: 1 segments of 1 classes" in out and "'sit (1)'" in out
    assert "3 true segments, 1 found" in out
    code, _, err = of_segments(
        tmp_path, {"x": [(0, 2, "run")]}, "--leave_out_unknown"
    )
    assert code == 1 and "must hold a video that --truth names" in err


def test_videos_by_the_names_of_their_files(tmp_path):
    found = {"videos/a.mp4": [(0, 2, "run")], "b.avi": [(1, 4, "run")]}
    code, out, err = of_segments(tmp_path, found, "--by_stem")
    assert code == 0, err
    assert "3 true segments, 2 found" in out
    found["more/a.mp4"] = []
    code, _, err = of_segments(tmp_path, found, "--by_stem")
    assert code == 1 and "more/a.mp4" in err and "--by_stem must" in err
    # Names that hold points, and paths of Windows.
    found = {
        r"C:\videos\clip.1.MP4": [(0, 2, "run")],
        "clip.2.mp4": [(3, 4, "run")],
    }
    true = {"clip.1": [(0, 2, "run")], "clip.2": [(1, 4, "jump")]}
    code, out, err = of_segments(tmp_path, found, "--by_stem", true=true)
    assert code == 0, err
    rows = {row["class"]: row for row in read(tmp_path / "table.csv")}
    assert float(rows["run"]["AP@0.1"]) == 1 and rows["run"]["found"] == "2"


def test_the_truth_is_annotations_of_activitynet(tmp_path):
    truth = {
        video: {
            "subset": "validation",
            "duration": 10.0,
            "annotations": [
                {"segment": [start, end], "label": label}
                for start, end, label in entries
            ],
        }
        for video, entries in TRUE.items()
    }
    path = tmp_path / "database.json"
    path.write_text(json.dumps({"database": truth}))
    write_results(tmp_path / "found.json", {"a": [(0, 2, "run")]})
    flags = [f"--segments={tmp_path / 'found.json'}", f"--truth={path}"]
    code, out, err = actx("evaluate", *flags, "--split=validation")
    assert code == 0, err
    assert "3 videos, 3 true segments, 1 found" in out
    code, _, err = actx("evaluate", *flags)
    assert code == 1 and "--split must be one of ['validation']" in err


def test_a_split_of_a_truth_that_has_none(tmp_path):
    truth = write_results(tmp_path / "truth.json", TRUE)
    flags = ["evaluate", f"--segments={truth}", f"--truth={truth}"]
    assert actx(*flags)[0] == 0
    code, _, err = actx(*flags, "--split=validation")
    assert code == 1 and "--split is for --truth in the form" in err


def test_files_that_hold_no_segments(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"something": 1}')
    truth = write_results(tmp_path / "truth.json", TRUE)
    flags = ["evaluate", f"--segments={path}", f"--truth={truth}"]
    code, _, err = actx(*flags)
    assert code == 1 and "expected segments in CSV, or JSON" in err
    for text, words in (
        ("[1", "not JSON"),
        ("[]", "expected segments in CSV"),
        ('{"results": {"a": 1}}', "expected a list"),
        ('{"results": {"a": [{"segment": [0, NaN], "label": "run"}]}}', "'a'"),
    ):
        path.write_text(text)
        code, _, err = actx(*flags)
        assert code == 1 and words in err, err
    # Nothing was found at all.
    path.write_text('{"results": {}}')
    code, out, _ = actx(*flags)
    assert code == 0 and "3 true segments, 0 found" in out
    assert "nothing is found of 2 of 2 videos" in out
    path.write_text('{"results": {"a": []}}')
    code, _, err = actx("evaluate", f"--segments={truth}", f"--truth={path}")
    assert code == 1 and "--truth" in err
