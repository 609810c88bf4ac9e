"""Figures of pairs, against sums that are written out."""

import numpy as np
import pytest

from actx_tf.experiments.intervals import interval_of_mean
from actx_tf.experiments.scene_figures import others_of_other_classes
from actx_tf.experiments.scene_figures import scene_chances
from actx_tf.experiments.scene_figures import scene_rows
from actx_tf.experiments.scene_figures import scene_values

CLASSES = 4
NAMES = ["a", "b", "c", "d"]


def random_pairs(seed, clips=30, several=False):
    """Members, answers, owners and answers of the conjugates."""
    random = np.random.default_rng(seed)
    members = np.eye(CLASSES, dtype=bool)[random.integers(CLASSES, size=clips)]
    if several:
        members |= random.random(members.shape) < 0.3
    owners = np.repeat(np.arange(clips), random.integers(1, 4, size=clips))
    return (
        members,
        random.integers(CLASSES, size=clips),
        owners,
        random.integers(CLASSES, size=len(owners)),
    )


def by_hand(member, answer, conjugate_answers):
    right = bool(member[answer])
    named = [bool(member[x]) for x in conjugate_answers]
    contrasted = [right and not x for x in named]
    return float(right), sum(named) / len(named), sum(contrasted) / len(named)


FIGURES = ("accuracy", "scene_only", "contrasted")


@pytest.mark.parametrize("several", [False, True])
def test_values(several):
    members, answers, owners, of_conjugates = random_pairs(0, several=several)
    values = scene_values(members, answers, owners, of_conjugates)
    assert tuple(values) == FIGURES
    for i in range(len(answers)):
        expected = by_hand(members[i], answers[i], of_conjugates[owners == i])
        assert [values[x][i] for x in FIGURES] == pytest.approx(expected)


@pytest.mark.parametrize("several", [False, True])
def test_chance_deals_the_answers_out(several):
    members, answers, owners, of_conjugates = random_pairs(1, several=several)
    chances = scene_chances(members, answers, owners, of_conjugates)
    for i in range(len(answers)):
        dealt = [
            by_hand(members[i], answers[j], of_conjugates[owners == j])
            for j in range(len(answers))
        ]
        expected = np.mean(dealt, axis=0)
        assert [chances[x][i] for x in FIGURES] == pytest.approx(expected)


def test_chance_of_who_always_answers_the_same():
    members, answers, owners, of_conjugates = random_pairs(2)
    pairs = (members, 0 * answers, owners, 0 * of_conjugates)
    values, chances = scene_values(*pairs), scene_chances(*pairs)
    for name in FIGURES:
        assert values[name].mean() == pytest.approx(chances[name].mean())


def test_rows_are_means_of_classes():
    members, answers, owners, of_conjugates = random_pairs(3, several=True)
    members[:, 3] = False  # no clip is of it
    members[~members.any(axis=1), 0] = True
    pairs = (members, answers, owners, of_conjugates)
    values, chances = scene_values(*pairs), scene_chances(*pairs)
    values["unknown"] = np.full(len(answers), np.nan)
    overall, *classes = scene_rows(values, chances, members, owners, NAMES)
    assert (overall.name, overall.clips) == ("", len(answers))
    assert overall.pairs == len(owners)
    assert [row.name for row in classes] == ["a", "b", "c"]
    for row, chosen in zip(classes, members.T, strict=False):
        assert row.clips == chosen.sum()
        assert row.pairs == sum(chosen[owner] for owner in owners)
        for name in FIGURES:
            figure = row.figures[name]
            assert figure.value == pytest.approx(values[name][chosen].mean())
            assert figure.chance == pytest.approx(chances[name][chosen].mean())
            assert figure.low <= figure.value <= figure.high
        assert np.isnan(row.figures["unknown"]).all()


def test_intervals_of_sources():
    random = np.random.default_rng(0)
    alone = random.random(40)
    copies = np.repeat(alone, 5)
    groups = np.repeat(random.permutation(40), 5)
    # Copies of a clip say no more than the clip.
    low, high = interval_of_mean(copies, groups=groups)
    np.testing.assert_allclose(
        high - low, np.subtract(*interval_of_mean(alone)[::-1]), rtol=0.1
    )
    expected = 1.96 * alone.std() / np.sqrt(40)
    np.testing.assert_allclose(
        [low, high], alone.mean() + [-expected, expected], atol=0.1 * expected
    )
    as_clips = interval_of_mean(copies)
    assert as_clips[1] - as_clips[0] < 0.6 * (high - low)
    # Each clip is a source of its own.
    assert interval_of_mean(alone, groups=np.arange(40)[::-1] + 7) == (
        pytest.approx(interval_of_mean(alone), abs=0.03)
    )
    copies[::5] = np.nan
    assert interval_of_mean(copies, groups=groups) == pytest.approx(
        (low, high), abs=1e-12
    )
    # One source tells nothing of others.
    assert np.isnan(interval_of_mean(alone, groups=np.full(40, 3))).all()


def test_other_classes():
    members, *_ = random_pairs(4, clips=200, several=True)
    members[5] = True  # shares a class with all
    found = list(others_of_other_classes(members, seed=1))
    assert found[5] is None
    drawn = [place for place in found if place is not None]
    assert len(drawn) > 150 and len(set(drawn)) > 50
    for own, other in enumerate(found):
        if other is not None:
            assert not (members[own] & members[other]).any()
    assert found == list(others_of_other_classes(members, seed=1))
    assert found != list(others_of_other_classes(members, seed=2))
