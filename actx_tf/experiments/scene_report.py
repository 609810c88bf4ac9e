"""How much of a classifier's accuracy comes from the scene."""

import dataclasses
import os
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import read_clip_index
from actx_tf.experiments.scene_answers import labels_of
from actx_tf.experiments.scene_answers import open_classifier
from actx_tf.experiments.scene_figures import SceneRow
from actx_tf.experiments.scene_figures import others_of_other_classes
from actx_tf.experiments.scene_figures import scene_chances
from actx_tf.experiments.scene_figures import scene_rows
from actx_tf.experiments.scene_figures import scene_values
from actx_tf.experiments.stored_evaluation import clips_of_split

_FEW = 20  # clips
_HINT = "find conjugates with `actx mine --splits=train,test`"


@dataclasses.dataclass(frozen=True)
class SceneReport:
    """What `scene_report` found.

    Attributes:
        rows: The figures over all clips, then those of each class. They are
            `accuracy`, `scene_only` and `contrasted`; of an `ActX` also
            `switched_accuracy`, `switched_scene_only` and
            `switched_contrasted`, with the context switched, and
            `changed`, the share of clips whose answer is another one with the
            F_c of a clip of another class.
        pairs: A row a pair, the worst first: those whose conjugate is named by
            a class of the clip, with the largest score first.
        left_out: Name and reason of each clip or conjugate that is left out.
        notes: What is to be known of the intervals.
        switched: What `"switched"` means: `"mean"` or `"keep"`, see `ActX`;
            `None` if the model has no switch.
    """

    rows: Sequence[SceneRow]
    pairs: Sequence[dict[str, Any]]
    left_out: Sequence[tuple[str, str]]
    notes: Sequence[str]
    switched: str | None = None


def scene_report(
    index: str | os.PathLike,
    *,
    model: str | os.PathLike | None = None,
    features: str | os.PathLike | None = None,
    scores: str | os.PathLike | Mapping[str, Mapping[str, float]] | None = None,
    background: Collection[str] = (),
    split: str = "test",
    conjugates_column: str = "conjugates",
    seed: int = 0,
) -> SceneReport:
    """Asks how much of a classifier's accuracy comes from the scene.

    The classifier is shown each action clip that has conjugates, and these,
    which show its scene without the action. The answer is the class of the
    largest score, the first of several; it is right if the clip is of that
    class. See `SceneReport` for the figures.

    Args:
        index: Path of the clip index, with conjugates for the clips of `split`.
        model: Path of a trained model: see `load_trained`. What the context
            switch changes is known of the `.keras` file of an `ActX`. Defaults
            to `None`: `scores` are given.
        features: Path of the feature store for the model, with the conjugates.
        scores: What any classifier makes of the clips and their conjugates:
            path of a CSV with a row a clip and the columns `clip` and
            `score_<class>`, as `actx evaluate --output` writes it; or a mapping
            from the name of a clip to its scores by the name of the class.
        background: Names of the classes that show no action; those that the
            model knows need not be named. Defaults to none.
        split: Of the clips. Defaults to `"test"`.
        conjugates_column: The index's column of conjugates. Defaults to
            `"conjugates"`.
        seed: Of the intervals, and of the clips whose context is taken.
            Defaults to `0`.

    Returns:
        A `SceneReport`. Its intervals draw sources again, where the index
        knows them, and else clips.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If an argument or a file is wrong, they do not fit together,
            or no pair is left.
    """
    clips = read_clip_index(index, conjugates_column)
    chosen = clips_of_split(clips, split)
    labels = {label for clip in clips for label in (clip.label, *clip.labels)}
    if unknown := sorted(set(background) - labels):
        raise ValueError(
            f"`background` must be labels of the index, {sorted(labels)}. "
            f"Received: {unknown[0]!r}"
        )
    own_background, answer = open_classifier(model, features, scores)
    asked, left_out = _asked(chosen, {*background, *own_background})
    _check_some(asked, chosen, split, left_out)
    answers = answer(
        dict.fromkeys(x for c in asked for x in (c.clip, *c.conjugates))
    )
    kept, conjugates = [], []
    for clip in asked:
        reason, found = _look_up(clip, answers, left_out)
        if reason:
            left_out.append((clip.clip, reason))
        else:
            kept.append(clip)
            conjugates.append(found)
    _check_some(kept, chosen, split, left_out)
    return _report(kept, conjugates, answers, left_out, seed)


def _check_some(kept, chosen, split, left_out):
    if not kept:
        raise ValueError(
            "`index` must hold action clips with conjugates, of classes that "
            f"the classifier knows. Received: {len(chosen)} clips of the split "
            f"{split!r}, left out for "
            f"{sorted({reason for _, reason in left_out})[:3]}; {_HINT}"
        )


def _asked(clips, background):
    """The clips that show an action and have conjugates, and the others."""
    asked, left_out = [], []
    for clip in clips:
        if clip.label in background:
            left_out.append((clip.clip, f"{clip.label} is the background"))
        elif not clip.conjugates:
            left_out.append((clip.clip, "no conjugate"))
        else:
            asked.append(clip)
    return asked, left_out


def _look_up(clip, answers, left_out):
    """Returns why a clip is left out, and its conjugates that are there."""
    if unknown := sorted(
        set(labels_of(clip, answers)) - {*answers.class_names}
    ):
        return f"the classifier does not know the class {unknown[0]!r}", ()
    if clip.clip not in answers.scores:
        return f"not in {answers.where}", ()
    found = []
    for name in clip.conjugates:
        if name in answers.scores:
            found.append(name)
        else:
            reason = f"a conjugate that is not in {answers.where}"
            left_out.append((name, reason))
    return ("" if found else "none of its conjugates is there"), found


def _report(clips, conjugates, answers, left_out, seed):
    class_names = answers.class_names
    members = np.array(
        [
            [name in labels_of(clip, answers) for name in class_names]
            for clip in clips
        ]
    )
    owners = np.repeat(np.arange(len(clips)), list(map(len, conjugates)))
    names = [clip.clip for clip in clips]
    paired = [name for found in conjugates for name in found]

    def pick(scores):
        return (
            np.array([scores[name].argmax() for name in names]),
            owners,
            np.array([scores[name].argmax() for name in paired]),
        )

    picked = pick(answers.scores)
    values = scene_values(members, *picked)
    chances = scene_chances(members, *picked)
    columns, context = {}, None
    if answers.switched is not None:
        context = answers.switched.context
        of_switched = pick(answers.switched.scores)
        values |= _prefixed(scene_values(members, *of_switched))
        chances |= _prefixed(scene_chances(members, *of_switched))
        swapped = _swapped(names, members, answers.switched.swap, seed)
        values["changed"] = np.where(
            swapped < 0, np.nan, swapped != picked[0]
        ).astype(float)
        columns = {
            "switched_answer": of_switched[0][owners],
            "switched_conjugate_answer": of_switched[2],
        }
    groups, notes = sources_of(clips)
    pairs = []
    for place, (owner, conjugate) in enumerate(
        zip(owners, paired, strict=True)
    ):
        clip, member = clips[owner], members[owner]
        of_clip, of_conjugate = (
            answers.scores[name] for name in (clip.clip, conjugate)
        )
        pairs.append(
            {
                "clip": clip.clip,
                "conjugate": conjugate,
                "label": clip.label,
                "answer": class_names[of_clip.argmax()],
                "score": float(of_clip[member].max()),
                "conjugate_answer": class_names[of_conjugate.argmax()],
                "conjugate_score": float(of_conjugate[member].max()),
                "right": int(member[of_clip.argmax()]),
                "scene_only": int(member[of_conjugate.argmax()]),
                **{
                    name: class_names[found[place]]
                    for name, found in columns.items()
                },
            }
        )
    pairs.sort(key=lambda x: (-x["scene_only"], -x["conjugate_score"]))
    rows = scene_rows(
        values, chances, members, owners, class_names, groups, seed
    )
    return SceneReport(rows, pairs, left_out, notes, context)


def _prefixed(values):
    return {f"switched_{name}": value for name, value in values.items()}


def _swapped(names, members, swap, seed):
    """The answers with the context of a clip of another class; -1: none is."""
    return np.array(
        [
            -1 if other is None else swap(names[place], names[other]).argmax()
            for place, other in enumerate(
                others_of_other_classes(members, seed)
            )
        ]
    )


def sources_of(
    clips: Sequence[Clip],
) -> tuple[np.ndarray | None, list[str]]:
    """Returns the number of each clip's source, if any is known, and notes."""
    few = []
    if len(clips) < _FEW:
        few = [
            f"{len(clips)} clips say little: where all have the same answer an "
            "interval has no width, and is not certain"
        ]
    without = sum(not clip.source for clip in clips)
    if without == len(clips):
        return None, [
            "the index knows no sources: the intervals take clips for "
            "independent, and are too narrow where several come from one "
            "recording",
            *few,
        ]
    # A clip of no known source is one of its own.
    keys = [(clip.source, "" if clip.source else clip.clip) for clip in clips]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    notes = [f"the intervals draw {len(numbers)} sources again"]
    if without:
        notes[0] += f", each of {without} clips without one as its own"
    return np.array([numbers[key] for key in keys]), [*notes, *few]
