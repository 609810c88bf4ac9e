"""Figures of pairs: how much of a classifier's accuracy is the scene's.

A classifier answers a clip and its conjugates, which show the same scene
without the action. Each figure is the mean of a value of each clip, in [0, 1]:

    accuracy    the clip is named by one of its classes
    scene_only  the conjugate is: the share of the clip's conjugates
    contrasted  the clip is, while the conjugate is not (Li et al., StillMix,
                ICCV 2023)
"""

import math
from collections.abc import Iterator
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from actx_tf.experiments.intervals import interval_of_mean
from actx_tf.experiments.tables import figure_text


class SceneFigure(NamedTuple):
    """A figure over clips.

    Attributes:
        value: The figure; NaN if it is not known.
        low: Where its 95% interval begins; NaN if it is not known.
        high: Where it ends.
        chance: What the figure is if the same answers are dealt out to the
            clips at random, each clip's with its conjugates'; NaN if it is not
            known.
    """

    value: float
    low: float
    high: float
    chance: float = np.nan

    def __str__(self) -> str:
        text = figure_text(self.value)
        if math.isnan(self.low):
            return text
        return f"{text} ({self.low:.2f}-{self.high:.2f})"


class SceneRow(NamedTuple):
    """The figures of a class, or of all clips.

    Attributes:
        name: Name of the class; `""` for all clips.
        clips: Number of clips.
        pairs: Number of pairs of a clip and a conjugate.
        figures: The figures by name.
    """

    name: str
    clips: int
    pairs: int
    figures: dict[str, SceneFigure]


def scene_values(
    members: np.ndarray,
    answers: np.ndarray,
    owners: np.ndarray,
    conjugate_answers: np.ndarray,
) -> dict[str, np.ndarray]:
    """Returns the values of each clip.

    Args:
        members: Booleans `(clips, classes)`, True for the classes of a clip.
        answers: `(clips,)`, the class that each clip is named.
        owners: `(pairs,)`, the place of each pair's clip; each clip has pairs.
        conjugate_answers: `(pairs,)`, the class that each conjugate is named.

    Returns:
        `accuracy`, `scene_only` and `contrasted`, `(clips,)` each.
    """
    count = len(answers)
    right = members[np.arange(count), answers].astype(float)
    named = members[owners, conjugate_answers]
    pairs = np.bincount(owners, minlength=count)
    scene_only = np.bincount(owners, named, count) / pairs
    return {
        "accuracy": right,
        "scene_only": scene_only,
        "contrasted": right * (1 - scene_only),
    }


def scene_chances(
    members: np.ndarray,
    answers: np.ndarray,
    owners: np.ndarray,
    conjugate_answers: np.ndarray,
) -> dict[str, np.ndarray]:
    """Returns what each clip's values are in the mean over all clips' answers.

    A clip is given the answers of each clip and its conjugates in turn, its
    own included: what is left does not depend on what a clip shows.

    Args:
        members: As of `scene_values`.
        answers: As of `scene_values`.
        owners: As of `scene_values`.
        conjugate_answers: As of `scene_values`.

    Returns:
        As `scene_values`.
    """
    classes = members.shape[1]
    weights = 1 / np.bincount(owners)[owners] / len(answers)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (answers[owners], conjugate_answers), weights)
    member = members.astype(float)
    right = member @ joint.sum(axis=1)
    both = ((member @ joint) * member).sum(axis=1)
    return {
        "accuracy": right,
        "scene_only": member @ joint.sum(axis=0),
        "contrasted": right - both,
    }


def scene_rows(
    values: Mapping[str, np.ndarray],
    chances: Mapping[str, np.ndarray],
    members: np.ndarray,
    owners: np.ndarray,
    class_names: list[str],
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> list[SceneRow]:
    """Returns the figures over all clips, and of each class that one is of.

    Args:
        values: `(clips,)` of each figure, by name; NaN where it is not known.
        chances: The same of the chance of some.
        members: As of `scene_values`.
        owners: As of `scene_values`.
        class_names: Names of the classes.
        groups: See `interval_of_mean`. Defaults to `None`.
        seed: See `interval_of_mean`. Defaults to `0`.
    """

    def row(name, chosen):
        return SceneRow(
            name,
            int(chosen.sum()),
            int(chosen[owners].sum()),
            {
                figure: figure_of(
                    of_clips[chosen],
                    seed,
                    None if groups is None else groups[chosen],
                    _mean(chances[figure][chosen])
                    if figure in chances
                    else np.nan,
                )
                for figure, of_clips in values.items()
            },
        )

    rows = [row("", np.ones(len(members), bool))]
    for place, name in enumerate(class_names):
        if members[:, place].any():
            rows.append(row(name, members[:, place]))
    return rows


def figure_of(
    values: np.ndarray,
    seed: int,
    groups: np.ndarray | None,
    chance: float = np.nan,
) -> SceneFigure:
    """Returns the mean over clips with its interval: see `interval_of_mean`."""
    interval = interval_of_mean(values, seed, groups)
    return SceneFigure(_mean(values), *interval, chance)


def others_of_other_classes(
    members: np.ndarray, seed: int = 0
) -> Iterator[int | None]:
    """Yields for each clip the place of one that shares none of its classes.

    Args:
        members: As of `scene_values`.
        seed: Of the draw. Defaults to `0`.

    Yields:
        A place that is drawn at random; `None` if there is none.
    """
    random = np.random.default_rng(seed)
    for classes in members:
        others = np.flatnonzero(~(members & classes).any(axis=1))
        yield int(random.choice(others)) if len(others) else None


def _mean(values):
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan
