"""From a folder of videos to a trained model and a page that shows it."""

import contextlib
import dataclasses
import math
import os
import statistics
from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.annotations import look_through
from actx_tf.data.clip_index import CONJUGATE
from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import read_clip_index
from actx_tf.data.clip_index import write_clip_index
from actx_tf.data.conjugates import mean_embeddings
from actx_tf.data.conjugates import nearest_negatives
from actx_tf.data.extraction import changed_clips
from actx_tf.data.extraction import extract_features
from actx_tf.data.feature_store import FeatureStore
from actx_tf.data.made_conjugates import emptied_conjugates
from actx_tf.data.made_conjugates import frozen_conjugates
from actx_tf.data.pair_checks import doubtful_pairs
from actx_tf.data.similarities import store_similarities
from actx_tf.data.video import VideoError
from actx_tf.data.video_files import same_files
from actx_tf.experiments import run_folder
from actx_tf.experiments.actx_training import save_model
from actx_tf.experiments.evaluation import evaluate
from actx_tf.experiments.method_training import check_patience
from actx_tf.experiments.method_training import train_method
from actx_tf.experiments.movement import movement_auc
from actx_tf.experiments.reports import index_report
from actx_tf.experiments.reports import pair_report
from actx_tf.experiments.stored_data import stored_data
from actx_tf.experiments.tables import read_rows
from actx_tf.experiments.tables import write_rows
from actx_tf.models import load_model
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.visualization.page_clips import predict_stored
from actx_tf.visualization.page_clips import view_clips

# How clips get them: of the background, or made of themselves.
CONJUGATES = ("nearest", "frozen", "emptied")
_MAKERS = {"frozen": frozen_conjugates, "emptied": emptied_conjugates}
_MOST_SHOWN = 50  # clips on the page
_SEEDS = 3  # of a comparison
_STEPS = 8  # of an epoch, at least
_BASELINE = "average pooling"
# The column of pairs.csv that says which clips had no features then.
_UNREAD = "unread"
# What a training leaves, for people who want to do it again.
_TRAINED = (
    "results.csv, answers.csv, actx.keras, saved_model/, model_card.md, "
    "checkpoints/, history/ and clips.html"
)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over clips.

    Attributes:
        mean: The mean.
        error: Its standard error, NaN if there is one clip.
        clips: Number of clips.
    """

    mean: float
    error: float
    clips: int


@dataclasses.dataclass(frozen=True)
class VideoTraining:
    """What came of a training on a folder of videos.

    Attributes:
        clips: Number of clips in the folder.
        failed: The clips that cannot be read, as (name, message).
        paired: Number of training clips that have conjugates.
        pairs: Number of their pairs.
        tested: Number of clips that were held out of the training.
        copies: Number of those whose file is a copy of a training clip's.
        figures: Accuracy, mean class accuracy and mean average precision on
            them of the model that is kept, by name.
        untested: Classes that are trained on, and that no such clip shows.
        commonest: The commonest class of those, and its share: the accuracy of
            whoever always answers it.
        gain: How much more often ActX is right on them than average pooling of
            the same features; `None` where they were not compared.
        seeds: Runs of each method.
        movement: How often the action map is higher where something moves, see
            `movement_auc`; `None` if nothing moves.
        page: Path of the page of these clips.
    """

    clips: int
    failed: list[tuple[str, str]]
    paired: int
    pairs: int
    tested: int
    copies: int
    figures: dict[str, float]
    untested: list[str]
    commonest: tuple[str, float]
    gain: Estimate | None
    seeds: int
    movement: Estimate | None
    page: Path


def train_on_videos(
    videos: str | os.PathLike,
    output: str | os.PathLike,
    make_backbone: Callable[[], Backbone],
    *,
    backbone_settings: Mapping[str, Any] | None = None,
    background: str | None = "none",
    conjugates: str = "nearest",
    settings: TrainingSettings | None = None,
    test_percent: float = 20.0,
    seed: int = 0,
    compare: bool = False,
    report: Callable[[str], object] = print,
) -> VideoTraining:
    """Indexes videos, extracts features, mines pairs, trains ActX, shows it.

    Writes to `output`: `backbone.keras`, `index.csv`, `features/`, `pairs.csv`,
    `conjugates/` (the videos of those that are made), `similarities/`, the
    model as `actx.keras` and `saved_model/`, its logs, `model_card.md`,
    `results.csv`, `answers.csv` (what each run answered to each clip that was
    held out), and `clips.html`, the page of these clips. The same call goes on
    after an interruption; what is there is not made again.

    Args:
        videos: Path of a folder with a folder of videos for each class: see
            `look_through`.
        output: Path of the folder to write, which is made if it is not there.
        make_backbone: Makes the backbone; called unless `output` has one.
        backbone_settings: What `make_backbone` was told, by name: calls that
            go on must tell the same. Defaults to none.
        background: Name of the class that shows no action, `None` if there is
            none and conjugates are made. Defaults to `"none"`.
        conjugates: `"nearest"`, where each clip has the most similar ones of
            the background, see `nearest_negatives`; or `"frozen"` or
            `"emptied"`, which are made of the clip itself: see
            `frozen_conjugates` and `emptied_conjugates`. Defaults to
            `"nearest"`.
        settings: How the model is trained. Defaults to `TrainingSettings()`.
        test_percent: As in `look_through`. Defaults to `20.0`.
        seed: Seed of all that is random. Defaults to `0`.
        compare: Whether to train ActX, and average pooling of the same
            features, from three seeds each, `seed` and the next ones. The model
            of the first is kept. A later call can add this. Defaults to
            `False`.
        report: Called with a line about each step. Defaults to `print`.

    Returns:
        What came of it.

    Raises:
        FileNotFoundError: If there is no video.
        ValueError: If `conjugates` is not known, there are no clips of
            `background`, none of validation for the `patience`, too few clips
            to train and to test, or `output` was begun with other settings or
            clips.
        ImportError: If a package for it is not installed.
    """
    settings = settings or TrainingSettings()
    output = Path(output)
    clips, left_out = look_through(
        Path(videos).absolute(), test_percent=test_percent
    )
    _check_conjugates(conjugates, background, clips)
    validation, test = (
        [clip for clip in clips if clip.split == split]
        for split in ("validation", "test")
    )
    check_patience(settings, validation, test or validation)
    run_folder.keep_settings(
        output,
        {
            "test_percent": test_percent,
            "background": background,
            "conjugates": conjugates,
            "seed": seed,
            **{
                f"backbone {name}": value
                for name, value in (backbone_settings or {}).items()
            },
            **dataclasses.asdict(settings),
        },
        paths=("backbone name", "backbone weights"),
    )
    report(index_report(clips, left_out))
    clips = _index(clips, output / "index.csv", report)
    if changed := changed_clips(clips, output / "features"):
        raise ValueError(
            f"`videos` changed since {output} was begun: {len(changed)} files, "
            f"such as {changed[0][0].file}. Give another `output`, or the old "
            "files"
        )
    backbone = _backbone(output / "backbone.keras", make_backbone)
    failed = extract_features(clips, backbone, output / "features")
    report(f"features: {len(clips) - len(failed)} of {len(clips)} clips")
    unread = {clip.clip for clip, _ in failed}
    pairs = _mine(clips, unread, output, background, conjugates, report)
    made = [clip for clip in pairs if clip.split == CONJUGATE]
    if made:
        failed += extract_features(made, backbone, output / "features")
    _compute_similarities(pairs, output, background, settings.gamma, report)
    compare = compare or _is_compared(output, seed)
    seeds = range(seed, seed + (_SEEDS if compare else 1))
    _train(pairs, output, background, settings, seeds, compare, report)
    tested = _held_out(pairs, output)
    movement = _show(tested, background, output, report)
    label, count = Counter(clip.label for clip in tested).most_common(1)[0]
    trained = [c for c in pairs if c.split == "train" and c.conjugates]
    [row] = [
        row
        for row in read_rows(output / "results.csv")
        if (row["method"], row["seed"]) == ("ActX", seed)
    ]
    return VideoTraining(
        clips=len(clips),
        failed=[(clip.clip, message) for clip, message in failed],
        paired=len(trained),
        pairs=sum(len(clip.conjugates) for clip in trained),
        tested=len(tested),
        copies=_count_copies(tested, pairs),
        figures={name: row[name] for name in ("accuracy", "mAcc", "mAP")},
        untested=sorted(
            {clip.label for clip in pairs if clip.split == "train"}
            - {clip.label for clip in tested}
        ),
        commonest=(label, count / len(tested)),
        gain=_gain(output, seeds) if compare else None,
        seeds=len(seeds),
        movement=movement,
        page=output / "clips.html",
    )


def _check_conjugates(way, background, clips):
    if way not in CONJUGATES:
        raise ValueError(
            f"`conjugates` must be one of {CONJUGATES}. "
            f"Received: conjugates={way!r}"
        )
    labels = sorted({clip.label for clip in clips})
    if background not in labels and (background or way == "nearest"):
        raise ValueError(
            f"`background` must be one of the classes {labels}, or None where "
            f"conjugates are made. Received: background={background!r}, "
            f"conjugates={way!r}"
        )


def _index(clips: list[Clip], path: Path, report) -> list[Clip]:
    """Writes the index; one that is there must be of the same clips."""
    if not path.exists():
        write_clip_index(path, clips)
        report(f"index: {len(clips)} clips, {path}")
        return clips
    before = {clip.clip for clip in read_clip_index(path)}
    if changed := sorted(before ^ {clip.clip for clip in clips}):
        raise ValueError(
            f"`videos` must hold the clips of {path}, or `output` be another. "
            f"Received: {len(changed)} clips that came or went, such as "
            f"{changed[0]}. To begin anew with the features that are there, "
            "delete all of `output` but features/ and backbone.keras"
        )
    report(f"index: is there, {path}")
    return read_clip_index(path)


def _backbone(path, make):
    if not path.exists():
        with atomic_write(path) as draft:
            make().save(draft)
    return load_model(path)


def _mine(clips, unread, output, background, way, report):
    path = output / "pairs.csv"
    if path.exists():
        pairs = read_clip_index(path)
        given = [clip for clip in pairs if clip.split != CONJUGATE]
        if set(map(_meaning, given)) != set(map(_meaning, clips)):
            raise ValueError(
                f"{output / 'index.csv'} was edited after pairs were mined: "
                f"to go on with it, delete of `output` pairs.csv, "
                f"similarities/, {_TRAINED}"
            )
        mended = [
            clip.clip
            for clip in given
            if clip.extra.get(_UNREAD) == "yes" and clip.clip not in unread
        ]
        if mended:
            raise ValueError(
                f"`videos` has {len(mended)} clips, such as {mended[0]}, that "
                "could not be read when pairs were mined, and can be now: to "
                "go on with them, delete of `output` pairs.csv, similarities/, "
                f"{_TRAINED}"
            )
        report(f"pairs: are there, {path}")
        return pairs
    doubts = []
    if way in _MAKERS:
        pairs, missing = _MAKERS[way](
            clips, output / "conjugates", background=background or ""
        )
        reasons = Counter(reason for _, reason in missing)
        for reason, count in reasons.items():
            report(f"clips without a conjugate: {count}, {reason}")
    else:
        with FeatureStore(output / "features") as store:
            pairs, missing = nearest_negatives(
                clips, mean_embeddings(store), background=background
            )
            doubts = doubtful_pairs(pairs, store)
    if not any(clip.conjugates for clip in pairs):
        raise ValueError(
            "no clip has a conjugate, such as "
            f"{missing[0][0].clip}: {missing[0][1]}"
        )
    report(pair_report(pairs, doubts))
    pairs = [
        dataclasses.replace(clip, extra={**clip.extra, _UNREAD: "yes"})
        if clip.clip in unread
        else clip
        for clip in pairs
    ]
    write_clip_index(path, pairs)
    report(f"pairs: {path}")
    return pairs


def _named(background):
    return () if background is None else (background,)


def _meaning(clip):
    return clip.clip, clip.label, clip.split


def _compute_similarities(pairs, output, background, gamma, report):
    """Once, and not in each step: features do not change in the training."""
    with FeatureStore(output / "features") as store:
        count = store_similarities(
            pairs,
            store,
            output / "similarities",
            gamma=gamma,
            background=_named(background),
        )
    report(f"similarities: of {count} pairs")


def _train(pairs, output, background, settings, seeds, compare, report):
    results = output / "results.csv"
    rows = read_rows(results)
    trained_on = run_folder.fingerprint(output / "pairs.csv")
    if any(row["pairs"] != trained_on for row in rows):
        raise ValueError(
            f"{output / 'pairs.csv'} was edited after the training: to train "
            f"on it, delete of `output` {_TRAINED}"
        )
    finished = {(row["method"], row["seed"]) for row in rows}
    methods = ("ActX", _BASELINE) if compare else ("ActX",)
    runs = [(method, seed) for seed in seeds for method in methods]
    if not (left := [run for run in runs if run not in finished]):
        report(f"training: is done, {output / 'actx.keras'}")
        return
    data = stored_data(
        DataSettings(
            features=str(output / "features"),
            index=str(output / "pairs.csv"),
            background=_named(background),
            backbone=str(output / "backbone.keras"),
            similarities=str(output / "similarities"),
            batch_size=_batch_size(pairs),
        ),
        gamma=settings.gamma,
    )
    clips = _held_out(pairs, output)
    for method, seed in left:
        run = f"{method}-{seed}"
        model, _ = train_method(
            method,
            data,
            settings,
            seed=seed,
            output=output,
            run=run,
            validate=True,
            resumable=True,
        )
        scores, figures, outputs = evaluate(method, model, data.test, data.task)
        if (method, seed) == ("ActX", seeds[0]):
            save_model(
                model,
                data,
                settings,
                output,
                seed=seed,
                scores=scores,
                context_maps=outputs["context_map"],
            )
        names = [data.task.class_names[i] for i in scores.argmax(axis=-1)]
        _keep_answers(output / "answers.csv", method, seed, clips, names)
        # The row says that all is done: the last thing.
        rows.append(
            {"method": method, "seed": seed, **figures, "pairs": trained_on}
        )
        write_rows(rows, results)
        run_folder.checkpoint_path(output, run).unlink(missing_ok=True)
        report(f"training: {method}, seed {seed}, is done")


def _is_compared(output, seed):
    """Whether an earlier call did: one that goes on keeps it."""
    rows = read_rows(output / "results.csv")
    return (_BASELINE, seed + _SEEDS - 1) in {
        (row["method"], row["seed"]) for row in rows
    }


def _batch_size(pairs):
    """As many pairs as give several steps an epoch, of few clips too."""
    trained = sum(clip.split == "train" for clip in pairs)
    return min(DataSettings.batch_size, max(4, trained // _STEPS))


def _held_out(pairs, output):
    """The clips that the figures are of, in their order: see `stored_data`."""
    with FeatureStore(output / "features") as store:
        stored = [clip for clip in pairs if clip.clip in store]
    tested = [clip for clip in stored if clip.split == "test"]
    return tested or [clip for clip in stored if clip.split == "validation"]


def _count_copies(tested, pairs):
    files = {clip.file for clip in pairs if clip.split == "train"}
    copies: set[str] = set()
    for same in map(set, same_files(files | {clip.file for clip in tested})):
        if same & files:
            copies |= same - files
    return sum(clip.file in copies for clip in tested)


def _keep_answers(path, method, seed, clips, answers):
    rows = [  # those of this run are from before an interruption
        row
        for row in read_rows(path)
        if (row["method"], row["seed"]) != (method, seed)
    ]
    for clip, answer in zip(clips, answers, strict=True):
        right = int(answer == clip.label)
        rows.append(
            {
                "method": method,
                "seed": seed,
                "clip": clip.clip,
                "label": clip.label,
                "answer": answer,
                "right": right,
            }
        )
    write_rows(rows, path)


def _gain(output, seeds):
    """How much more often ActX is right than the baseline, clip by clip."""
    gains = Counter()
    for row in read_rows(output / "answers.csv"):
        if row["seed"] in seeds:
            sign = 1 if row["method"] == "ActX" else -1
            gains[str(row["clip"])] += sign * row["right"] / len(seeds)
    return _estimate(list(gains.values()))


def _estimate(values):
    error = math.nan
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(statistics.mean(values), error, len(values))


def _show(tested, background, output, report):
    """Writes the page, and returns whether the maps look at what moves."""
    count = min(len(tested), _MOST_SHOWN)
    shown = [tested[k * len(tested) // count] for k in range(count)]
    path = output / "clips.html"
    model = load_model(output / "actx.keras")
    with FeatureStore(output / "features") as store:
        if path.exists():
            report(f"page: is there, {path}")
        else:
            title = f"ActX on {output.name}"
            view_clips(model, store, shown, path, title=title)
            report(f"page: {path}")
        aucs = []
        for clip in shown:
            # A file can be gone since its features were stored.
            with contextlib.suppress(VideoError):
                if clip.label != background:
                    prediction = predict_stored(model, store, clip)
                    aucs.append(movement_auc(prediction))
    aucs = [auc for auc in aucs if not math.isnan(auc)]
    return _estimate(aucs) if aucs else None
