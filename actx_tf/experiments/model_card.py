"""The card of a trained model: its data, its figures, and where it fails."""

import dataclasses
import os
import platform
import re
from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import keras
import numpy as np

from actx_tf import metrics
from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.clip_index import CONJUGATE
from actx_tf.data.clip_index import SPLITS
from actx_tf.data.clip_index import Clip
from actx_tf.experiments.evaluation import figures_of
from actx_tf.experiments.intervals import RESAMPLES
from actx_tf.experiments.intervals import average_precision
from actx_tf.experiments.intervals import interval_of_mean
from actx_tf.experiments.intervals import intervals_of_scores
from actx_tf.experiments.methods import count_weights
from actx_tf.experiments.run_data import RunClips
from actx_tf.experiments.run_folder import fingerprint
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.version import __version__

_SHOWN = 10  # classes, and clips
_FEW = 10  # clips
_PACKAGES = ("tensorflow", "keras", "numpy", "h5py", "av")
# Settings of other methods than ActX.
_OF_OTHERS = (
    "acf_similarity_weight",
    "acf_difference_weight",
    "rank",
    "components",
)
_OF_THE_BUILT_IN_SET = ("train_clips", "test_clips")
_MADE = {
    "frozen": "one frame of the clip, held",
    "emptied": "the clip, with its people removed",
}


def write_model_card(
    path: str | os.PathLike,
    model: keras.Model,
    data: RunClips,
    settings: TrainingSettings,
    *,
    seed: int,
    scores: np.ndarray,
    context_maps: np.ndarray,
) -> None:
    """Writes what the run knows of a model, as Markdown.

    Args:
        path: Path of the file.
        model: A trained `ActX`.
        data: What it was trained and tested on.
        settings: How it was trained.
        seed: Seed of all that was random.
        scores: Of the test clips, `(clips, classes)`.
        context_maps: Of the test clips, `(clips, time, height, width)`.
    """
    parts = [
        *_model(model, data),
        *_contents(data),
        *_settings(data, settings, seed),
        *_figures(data, scores, context_maps),
        *_failures(data, scores),
        *_limits(data, scores),
        *_versions(),
        *_unknown(),
    ]
    with atomic_write(path) as draft:
        draft.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _model(model, data):
    task = data.task
    yield "# Model card"
    yield (
        f"Written by actx_tf {__version__} beside the model, from what the "
        "run knows. Its last section is for you to write."
    )
    yield "## Model"
    several = "one or several" if task.is_multi_label else "one"
    yield _table(
        ["", ""],
        [
            ["model", "ActX (attentive action and context factorization)"],
            ["weights", f"{count_weights(model):,}"],
            ["classes", ", ".join(task.class_names)],
            ["of each clip", several],
            ["shows no action", ", ".join(task.background) or "no class"],
            ["features", f"{task.channels} channels"],
        ],
    )
    yield "### Backbone"
    yield _backbone(task.description)


def _backbone(description: BackboneDescription | None) -> str:
    if description is None:
        return "The feature store does not say what made its features."
    values = {
        field.name.replace("_", " "): getattr(description, field.name)
        for field in dataclasses.fields(description)
    }
    if description.frame_rate is None and description.num_frames is None:
        values["frame rate"] = "that of the file"
    if description.size is None:
        values["size"] = "that of the file"
    values["digest"] = description.digest
    rows = [[name, x] for name, x in values.items() if x is not None]
    return _table(["", ""], rows)


def _contents(data):
    settings = data.settings
    yield "## Data"
    if settings.index is None:
        yield "The built-in set (`actx_tf.data.synthetic`)."
    else:
        yield (
            f"Index: {_text(settings.index)} ({fingerprint(settings.index)})."
        )
    clips = data.used
    counts = Counter((x, c.split) for c in clips for x in c.labels)
    totals = Counter(clip.split for clip in clips)
    splits = [split for split in SPLITS if totals[split]]
    yield _table(
        ["clips", *splits],
        [
            *(
                [name, *(counts[name, split] for split in splits)]
                for name in data.task.class_names
            ),
            ["all", *(totals[split] for split in splits)],
        ],
    )
    if settings.index is not None:
        indexed = sum(clip.split in SPLITS for clip in data.index)
        if missing := indexed - len(clips):
            yield (
                f"{missing} more clips of the index were left out: their "
                "features are not there."
            )
        yield _sources(clips)
    yield "### Pairs"
    yield from _pairs(data)


def _sources(clips: Sequence[Clip]) -> str:
    splits: dict[str, set[str]] = {}
    for clip in clips:
        if clip.source:
            splits.setdefault(clip.source, set()).add(clip.split)
    if not splits:
        return (
            "The index names no sources: whether clips of one recording are "
            "in several splits is not known."
        )
    divided = sum(len(found) > 1 for found in splits.values())
    named = sum(bool(clip.source) for clip in clips)
    known = (
        f"Sources named: {len(splits)}, of which in several splits: {divided}."
    )
    if named == len(clips):
        return known
    return (
        f"{known} Of {len(clips) - named} of {len(clips)} clips no source is "
        "named: whether they share a recording with clips of other splits is "
        "not known."
    )


def _pairs(data):
    if data.settings.index is None:
        yield (
            f"Each of the {len(data.training)} training clips has a conjugate: "
            "the same scene without its action."
        )
        return
    known = {clip.clip: clip for clip in data.index}
    paired = [
        clip
        for clip in data.training
        if clip.conjugates and not set(clip.labels) <= {*data.task.background}
    ]
    yield (
        f"Of {len(data.training)} training clips {len(paired)} have "
        "conjugates. What these show:"
    )
    kinds = Counter(
        _kind(clip, known[name])
        for clip in paired
        for name in clip.conjugates
        if name in known
    )
    yield _table(["conjugates", "pairs"], kinds.most_common())
    alike = [x for clip in paired for x in clip.conjugate_similarities]
    if alike:
        yield (
            "How alike the features of a pair are (cosine of their means): "
            f"lowest {min(alike):.3f}, median {np.median(alike):.3f}, highest "
            f"{max(alike):.3f}."
        )


def _kind(clip: Clip, conjugate: Clip) -> str:
    for way, words in _MADE.items():
        if conjugate.clip == f"{clip.clip}.{way}":
            return words
    if conjugate.file == clip.file:
        return "another part of the same file"
    if conjugate.label == CONJUGATE:
        return "another file"
    return f"another file, of the class {conjugate.label}"


def _settings(data, settings, seed):
    values = {
        **dataclasses.asdict(data.settings),
        **dataclasses.asdict(settings),
        "seed": seed,
    }
    left_out = list(_OF_OTHERS)
    if data.settings.index is not None:
        left_out += _OF_THE_BUILT_IN_SET
    yield "## Settings"
    yield _table(
        ["", ""],
        [
            [name, ", ".join(x) if isinstance(x, tuple) else x]
            for name, x in values.items()
            if name not in left_out and x not in (None, ())
        ],
    )


def _figures(data, scores, context_maps):
    part = data.test
    yield "## Figures"
    (split,) = {clip.split for clip in part.clips}
    yield (
        f"Of the {len(part.clips)} clips of the split {split}. The intervals "
        f"are of 95%, from {RESAMPLES} draws of clips with replacement; they "
        "take clips for independent."
    )
    figures = figures_of(part, data.task, scores)
    intervals = _intervals(part, data.task, scores)
    if part.voxels is not None:
        aucs = np.array(
            [
                float(metrics.localization_auc(voxels[None], 1.0 - found[None]))
                for voxels, found in zip(part.voxels, context_maps, strict=True)
            ]
        )
        figures["localization AUC"] = float(np.nanmean(aucs))
        intervals["localization AUC"] = interval_of_mean(aucs)
    rows = [
        [name, f"{x:.3f}", "{:.3f} to {:.3f}".format(*intervals[name])]
        for name, x in figures.items()
    ]
    if part.labels.ndim == 1:
        commonest, count = Counter(part.labels.tolist()).most_common(1)[0]
        name = data.task.class_names[commonest]
        share = f"{count / len(part.labels):.3f}"
        rows.append([f"accuracy of always answering {name}", share, ""])
    yield _table(["", "", "interval"], rows)
    if any(low == high for low, high in intervals.values()):
        yield (
            "An interval without width says that the figure is the same in "
            "all draws, not that it is certain."
        )
    if len(part.clips) < _FEW:
        yield f"Figures of {len(part.clips)} clips say little."
    yield "`results.csv` has the figures of all runs."


def _intervals(part, task, scores):
    intervals = intervals_of_scores(part.labels, scores, task.scored)
    if part.paired is not None and part.paired.any():
        labels, paired = part.labels[part.paired], scores[part.paired]
        of_paired = intervals_of_scores(labels, paired, task.scored)
        intervals |= {f"{name} (paired)": x for name, x in of_paired.items()}
    return intervals


def _failures(data, scores):
    part, names = data.test, data.task.class_names
    yield "## Where it fails"
    member = part.labels.astype(bool)
    if not data.task.is_multi_label:
        member = part.labels[:, None] == np.arange(len(names))
    answers = scores.argmax(axis=-1)
    measured = "average precision" if data.task.is_multi_label else "right"
    rows = []
    for k, name in enumerate(names):
        count = int(member[:, k].sum())
        if not count:
            continue
        if data.task.is_multi_label:
            ones = np.ones((1, len(scores)))
            value = average_precision(member[:, k], scores[:, k], ones)[0]
            rows.append([value, name, count])
        else:
            value = np.mean(answers[member[:, k]] == k)
            wrong = Counter(answers[member[:, k] & (answers != k)].tolist())
            taken = [f"{names[i]} ({n})" for i, n in wrong.most_common(2)]
            rows.append([value, name, count, ", ".join(taken)])
    rows.sort(key=lambda row: row[0])
    yield f"The classes with the worst figures, of {len(rows)} with test clips:"
    header = ["class", "clips", measured, "mostly taken for"]
    yield _table(
        header[: len(rows[0])],
        [
            [name, count, f"{value:.3f}", *rest]
            for value, name, count, *rest in rows[:_SHOWN]
        ],
    )
    untested = [name for k, name in enumerate(names) if not member[:, k].any()]
    if untested:
        yield f"Without a test clip: {_text(', '.join(untested))}."
    own = np.where(member, scores, np.inf).min(axis=1)
    own[~member.any(axis=1)] = np.inf  # of no class that is known
    worst = [i for i in np.argsort(own, kind="stable") if own[i] < np.inf]
    yield (
        "The clips with the lowest scores of their own class, and what got "
        "the highest:"
    )
    yield _table(
        ["clip", "class", "its score", "highest", "score"],
        [
            [
                part.clips[i].clip,
                part.clips[i].label,
                f"{own[i]:.3f}",
                names[answers[i]],
                f"{scores[i].max():.3f}",
            ]
            for i in worst[:_SHOWN]
        ],
    )


def _limits(data, scores):
    part, task = data.test, data.task
    yield "## What it is not for"
    lines = []
    if task.is_multi_label:
        lines.append("Other classes than these: it has no score for them.")
    else:
        lines.append("Other classes than these: it always answers one of them.")
        if not task.background:
            lines.append(
                "Videos in which nothing of these happens: it has no class for "
                "them."
            )
    lines.append(
        "People, places and cameras unlike those of the data: no figure above "
        "says what it does there."
    )
    lines.append(
        "Features of another backbone, or of videos that are read otherwise "
        "than the backbone's description says."
    )
    if part.voxels is None:
        lines.append(
            "Proof of where or when something happens: its maps are what its "
            "scores come from, and they were not compared with where the "
            "action is. `actx localize` does that, if you have boxes or masks."
        )
    else:
        lines.append(
            "Proof of where or when something happens: its maps are what its "
            "scores come from; the localization AUC above says how well they "
            "lie on the action."
        )
    wrong = ""
    if not task.is_multi_label:
        count = int(np.sum(scores.argmax(axis=-1) != part.labels))
        wrong = f": it is wrong on {count} of {len(part.labels)} test clips"
    lines.append(f"Decisions that nobody checks{wrong}.")
    yield "\n".join(f"- {line}" for line in lines)


def _versions():
    yield "## Versions"
    rows = [["actx_tf", __version__], ["Python", platform.python_version()]]
    for package in _PACKAGES:
        try:
            rows.append([package, metadata.version(package)])
        except metadata.PackageNotFoundError:
            continue
    yield _table(["", ""], rows)


def _unknown():
    yield "## What the run does not know"
    questions = (
        "What the model is meant for, and who answers for it:",
        "Where the videos come from, their licence, and whether the people in "
        "them agreed:",
        "Who labeled them, and how:",
        "Whom and what they show, and whom and what they do not:",
    )
    yield "\n".join(f"- {question}" for question in questions)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(_text(cell) for cell in line)} |" for line in lines
    )


def _text(value: Any) -> str:
    """A value, which others may have named, as text and no Markdown."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", text)
