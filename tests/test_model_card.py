"""The card of a trained model says what is in the data and in the figures."""

import re

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from actx_tf import metrics
from actx_tf.data import read_clip_index
from actx_tf.experiments import DataSettings
from actx_tf.experiments import TrainingSettings
from actx_tf.experiments import read_rows
from actx_tf.experiments import train_actx
from actx_tf.experiments.evaluation import figures_of_scores
from actx_tf.experiments.intervals import average_precision
from actx_tf.experiments.intervals import interval_of_mean
from actx_tf.experiments.intervals import intervals_of_scores
from tests.test_examples import make_store


def tables(card):
    """Section -> rows of cells, of all its tables."""
    found = {}
    for section in re.split(r"^##+ ", card, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        found[title] = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in text.splitlines()
            if line.startswith("|") and "---" not in line
        ]
    return found


def drawn(multi_label, num_clips=60, classes=4):
    random = np.random.default_rng(0)
    labels = random.integers(classes - 1, size=num_clips)  # one has no clip
    scores = random.random((num_clips, classes)).round(1)  # ties
    scores[np.arange(num_clips), labels] += 0.3
    if multi_label:
        labels = (random.random(scores.shape) < 0.3).astype(int)
    return labels, scores, np.array([True, True, False, True])


@pytest.mark.parametrize("multi_label", [False, True])
def test_figures_are_those_of_the_metrics(multi_label):
    labels, scores, scored = drawn(multi_label)
    found = figures_of_scores(labels, scores, scored)
    expected = {}
    member = labels
    if not multi_label:
        member = labels[:, None] == np.arange(scores.shape[1])
        expected["accuracy"] = np.mean(scores.argmax(axis=1) == labels)
        expected["mAcc"] = metrics.mean_class_accuracy(labels, scores)
    expected["mAP"] = metrics.mean_average_precision(
        member[:, scored], scores[:, scored]
    )
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value == pytest.approx(float(expected[name]), abs=1e-6)


@pytest.mark.parametrize("multi_label", [False, True])
def test_mean_average_precision_that_is_not_known_is_nan(multi_label):
    labels, scores, scored = drawn(multi_label)
    none = figures_of_scores(labels, scores, np.zeros_like(scored))
    scores[3, 1] = np.nan  # a model that has diverged
    diverged = figures_of_scores(labels, scores, scored)
    assert np.isnan([none["mAP"], diverged["mAP"]]).all()


def test_clips_that_count_more_often_are_as_many_clips():
    _, scores, _ = drawn(False)
    random = np.random.default_rng(1)
    member = random.random(len(scores)) < 0.4
    weights = random.integers(4, size=(5, len(scores)))
    found = average_precision(member, scores[:, 0], weights)
    for value, counts in zip(found, weights, strict=True):
        repeated = np.repeat(np.arange(len(scores)), counts)
        expected = average_precision_score(
            member[repeated], scores[repeated, 0]
        )
        assert value == pytest.approx(expected)


def test_a_class_that_is_not_drawn_is_not_known():
    member, scores = np.array([True, False]), np.array([0.2, 0.4])
    found = average_precision(member, scores, np.array([[0, 2], [1, 1]]))
    assert np.isnan(found[0]) and found[1] == 0.5


def test_the_interval_of_accuracy_is_that_of_a_binomial():
    labels = np.zeros(400, int)
    scores = np.zeros((400, 2))
    scores[:100, 1] = 1.0  # a quarter is wrong
    scored = np.ones(2, bool)
    low, high = intervals_of_scores(labels, scores, scored)["accuracy"]
    error = np.sqrt(0.75 * 0.25 / 400)
    np.testing.assert_allclose(
        [low, high], 0.75 + 1.96 * error * np.array([-1, 1]), atol=0.1 * error
    )
    right = (scores.argmax(axis=-1) == labels).astype(float)
    np.testing.assert_allclose(
        interval_of_mean(np.append(right, np.nan)),
        (low, high),
        atol=0.2 * error,
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_intervals_hold_the_figures(multi_label):
    labels, scores, scored = drawn(multi_label)
    intervals = intervals_of_scores(labels, scores, scored)
    for name, figure in figures_of_scores(labels, scores, scored).items():
        low, high = intervals[name]
        assert 0 <= low < figure < high <= 1, name


def test_a_figure_that_cannot_be_otherwise_has_no_width():
    labels, scores = np.array([0, 1, 1]), np.eye(2)[[0, 1, 1]]
    intervals = intervals_of_scores(labels, scores, np.ones(2, bool))
    assert set(intervals.values()) == {(1.0, 1.0)}
    assert np.isnan(interval_of_mean(np.array([np.nan]))).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a store, whose index names more clips than it holds."""
    folder = tmp_path_factory.mktemp("card")
    make_store(folder, labels=("<i>x*", "none"))
    lines = (folder / "index.csv").read_text(encoding="utf-8").splitlines()
    lines[0] += ",source"
    lines[1:] = [f"{line},person{i % 3}" for i, line in enumerate(lines[1:])]
    lines += ["c99,c99.mp4,none,test,,person9"]
    (folder / "index.csv").write_text("\n".join(lines), encoding="utf-8")
    settings = DataSettings(
        features=str(folder / "store"),
        index=str(folder / "index.csv"),
        background=("none",),
        batch_size=4,
    )
    output = folder / "run"
    train_actx(settings, TrainingSettings(epochs=1), output=output, seeds=1)
    return folder


def card_of(folder):
    return (folder / "run" / "model_card.md").read_text(encoding="utf-8")


def test_the_card_counts_the_clips_that_were_used(trained):
    index = read_clip_index(trained / "index.csv")
    used = [clip for clip in index if clip.clip != "c99"]
    header, *rows = tables(card_of(trained))["Data"]
    assert header == ["clips", "train", "test"]
    for name, *counts in rows:
        label = name.replace("\\", "")
        expected = [
            sum(
                clip.split == split and label in (clip.label, "all")
                for clip in used
            )
            for split in header[1:]
        ]
        assert list(map(int, counts)) == expected, name
    assert "\n1 more clips of the index were left out" in card_of(trained)
    # c0 to c7 are for training and c8 to c11 for the test.
    words = "Sources named: 3, of which in several splits: 3."
    assert words in card_of(trained)


def test_the_card_says_what_conjugates_show(trained):
    index = read_clip_index(trained / "index.csv")
    paired = [c for c in index if c.split == "train" and c.conjugates]
    _, *rows = tables(card_of(trained))["Pairs"]
    assert rows == [["another file, of the class none", str(len(paired))]]


def test_the_card_has_the_figures_of_the_results(trained):
    rows = read_rows(trained / "run" / "results.csv")
    (row,) = (row for row in rows if row["method"] == "ActX")
    figures = {x[0]: x[1:] for x in tables(card_of(trained))["Figures"]}
    for name in ("accuracy", "mAcc", "mAP", "accuracy (paired)"):
        assert figures[name][0] == f"{row[name]:.3f}"
        low, high = map(float, figures[name][1].split(" to "))
        assert low <= row[name] + 5e-4 and row[name] - 5e-4 <= high
    assert "say little" in card_of(trained)  # 4 test clips


def test_the_card_shows_where_the_model_fails(trained):
    found = tables(card_of(trained))["Where it fails"]
    split = next(i for i, row in enumerate(found) if row[0] == "clip")
    classes, clips = found[1:split], found[split + 1 :]
    index = {c.clip: c for c in read_clip_index(trained / "index.csv")}
    assert sorted(row[0] for row in clips) == ["c10", "c11", "c8", "c9"]
    own = [float(row[2]) for row in clips]
    assert own == sorted(own)
    right = {}
    for clip, label, score, highest, top in clips:
        assert label.replace("\\", "") == index[clip].label
        assert (highest == label) == (score == top)
        right.setdefault(label, []).append(highest == label)
    assert {row[0]: float(row[2]) for row in classes} == {
        label: np.mean(values) for label, values in right.items()
    }
    shares = [float(row[2]) for row in classes]
    assert shares == sorted(shares)


def test_what_others_named_is_no_markup(trained):
    assert "<i>" not in card_of(trained).replace("\\<i\\>", "")
    assert "x\\*" in card_of(trained)


def test_the_card_tells_the_backbone_and_the_versions(trained):
    found = tables(card_of(trained))
    assert ["name", "random"] in found["Backbone"]
    assert {"tensorflow", "keras", "Python"} <= {
        x[0] for x in found["Versions"]
    }
    settings = dict(found["Settings"])
    assert settings["epochs"] == "1" and settings["background"] == "none"
    assert "acf_similarity_weight" not in settings


def test_the_card_of_clips_of_several_classes(tmp_path):
    make_store(tmp_path, labels=("a|b", "b"))
    settings = DataSettings(
        features=str(tmp_path / "store"),
        index=str(tmp_path / "index.csv"),
        multi_label=True,
        batch_size=4,
    )
    output = tmp_path / "run"
    train_actx(settings, TrainingSettings(epochs=1), output=output, seeds=1)
    card = card_of(tmp_path)
    figures = {row[0] for row in tables(card)["Figures"]}
    assert "mAP" in figures and "accuracy" not in figures
    header = tables(card)["Where it fails"][0]
    assert header == ["class", "clips", "average precision"]
    assert "The index names no sources" in card
    assert "left out" not in card
