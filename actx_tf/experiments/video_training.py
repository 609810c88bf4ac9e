"""From a folder of videos to a trained model and a page that shows it."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.annotations import read_folder
from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import read_clip_index
from actx_tf.data.clip_index import write_clip_index
from actx_tf.data.conjugates import mean_embeddings
from actx_tf.data.conjugates import nearest_negatives
from actx_tf.data.extraction import extract_features
from actx_tf.data.feature_store import FeatureStore
from actx_tf.experiments import run_folder
from actx_tf.experiments.actx_training import save_model
from actx_tf.experiments.evaluation import evaluate
from actx_tf.experiments.method_training import train_method
from actx_tf.experiments.stored_data import stored_data
from actx_tf.experiments.tables import read_rows
from actx_tf.experiments.tables import write_rows
from actx_tf.models import load_model
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.visualization.page_clips import view_clips

_MOST_SHOWN = 50  # clips on the page


@dataclasses.dataclass(frozen=True)
class VideoTraining:
    """What came of a training on a folder of videos.

    Attributes:
        clips: Number of clips in the folder.
        failed: The clips that cannot be read, as (name, message).
        paired: Number of training clips that have conjugates.
        pairs: Number of pairs.
        tested: Number of clips that were held out of the training.
        figures: Accuracy, mean class accuracy and mean average precision on
            them, by name.
        commonest: The commonest class of those, and its share: the accuracy of
            whoever always answers it.
        page: Path of the page of these clips.
    """

    clips: int
    failed: list[tuple[str, str]]
    paired: int
    pairs: int
    tested: int
    figures: dict[str, float]
    commonest: tuple[str, float]
    page: Path


def train_on_videos(
    videos: str | os.PathLike,
    output: str | os.PathLike,
    make_backbone: Callable[[], Backbone],
    *,
    backbone_settings: Mapping[str, Any] | None = None,
    background: str = "none",
    settings: TrainingSettings | None = None,
    seed: int = 0,
    report: Callable[[str], object] = print,
) -> VideoTraining:
    """Indexes videos, extracts features, mines pairs, trains ActX, shows it.

    Writes to `output`: `backbone.keras`, `index.csv`, `features/`, `pairs.csv`,
    the model as `actx.keras` and `saved_model/`, its logs, `results.csv`, and
    `clips.html`, the page of the clips that were held out. The same call goes
    on after an interruption; what is there is not made again.

    Args:
        videos: Path of a folder with a folder of videos for each class: see
            `read_folder`.
        output: Path of the folder to write, which is made if it is not there.
        make_backbone: Makes the backbone; called unless `output` has one.
        backbone_settings: What `make_backbone` was told, by name: calls that
            go on must tell the same. Defaults to none.
        background: Name of the class that shows no action. Defaults to
            `"none"`.
        settings: How the model is trained. Defaults to `TrainingSettings()`.
        seed: Seed of all that is random. Defaults to `0`.
        report: Called with a line about each step. Defaults to `print`.

    Returns:
        What came of it.

    Raises:
        FileNotFoundError: If there is no video.
        ValueError: If there are no clips of `background`, too few clips to
            train and to test, or `output` was begun with other settings or
            clips.
        ImportError: If a package for it is not installed.
    """
    settings = settings or TrainingSettings()
    output = Path(output)
    clips = read_folder(Path(videos).absolute())
    if background not in (labels := sorted({clip.label for clip in clips})):
        raise ValueError(
            f"`background` must be one of the classes {labels}. "
            f"Received: background={background!r}"
        )
    run_folder.keep_settings(
        output,
        {
            "videos": Path(videos).absolute().name,
            "background": background,
            "seed": seed,
            **{
                f"backbone {name}": value
                for name, value in (backbone_settings or {}).items()
            },
            **dataclasses.asdict(settings),
        },
    )
    clips = _index(clips, output / "index.csv", report)
    backbone = _backbone(output / "backbone.keras", make_backbone)
    failed = extract_features(clips, backbone, output / "features")
    report(f"features: of {len(clips) - len(failed)} of {len(clips)} clips")
    pairs = _mine(clips, output, background, report)
    _train(output, background, settings, seed, report)
    [row] = read_rows(output / "results.csv")
    tested = _show(pairs, output, report)
    label, count = Counter(clip.label for clip in tested).most_common(1)[0]
    return VideoTraining(
        clips=len(clips),
        failed=[(clip.clip, message) for clip, message in failed],
        paired=sum(bool(clip.conjugates) for clip in pairs),
        pairs=sum(len(clip.conjugates) for clip in pairs),
        tested=len(tested),
        figures={name: row[name] for name in ("accuracy", "mAcc", "mAP")},
        commonest=(label, count / len(tested)),
        page=output / "clips.html",
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
            f"{changed[0]}"
        )
    report(f"index: is there, {path}")
    return read_clip_index(path)


def _backbone(path, make):
    if not path.exists():
        with atomic_write(path) as draft:
            make().save(draft)
    return load_model(path)


def _mine(clips, output, background, report):
    path = output / "pairs.csv"
    if path.exists():
        report(f"pairs: are there, {path}")
        return read_clip_index(path)
    with FeatureStore(output / "features") as store:
        embeddings = mean_embeddings(store)
    pairs, missing = nearest_negatives(clips, embeddings, background=background)
    if not any(clip.conjugates for clip in pairs):
        raise ValueError(
            "no clip has a conjugate, such as "
            f"{missing[0][0].clip}: {missing[0][1]}"
        )
    write_clip_index(path, pairs)
    report(f"pairs: {path}")
    return pairs


def _train(output, background, settings, seed, report):
    results = output / "results.csv"
    if results.exists():
        report(f"training: is done, {output / 'actx.keras'}")
        return
    data = stored_data(
        DataSettings(
            features=str(output / "features"),
            index=str(output / "pairs.csv"),
            background=(background,),
            backbone=str(output / "backbone.keras"),
        ),
        gamma=settings.gamma,
    )
    run = f"ActX-{seed}"
    model, _ = train_method(
        "ActX",
        data,
        settings,
        seed=seed,
        output=output,
        run=run,
        validate=True,
        resumable=True,
    )
    _, figures, _ = evaluate("ActX", model, data.test, data.task.activation)
    save_model(model, data, output)
    # The row says that all is done: the last thing.
    write_rows([{"method": "ActX", "seed": seed, **figures}], results)
    run_folder.checkpoint_path(output, run).unlink(missing_ok=True)
    report(f"training: {output / 'actx.keras'}")


def _show(pairs, output, report):
    """Writes the page, and returns the clips that were held out."""
    path = output / "clips.html"
    with FeatureStore(output / "features") as store:
        stored = [clip for clip in pairs if clip.clip in store]
        tested = [clip for clip in stored if clip.split == "test"]
        tested = tested or [c for c in stored if c.split == "validation"]
        if path.exists():
            report(f"page: is there, {path}")
            return tested
        count = min(len(tested), _MOST_SHOWN)
        view_clips(
            load_model(output / "actx.keras"),
            store,
            [tested[k * len(tested) // count] for k in range(count)],
            path,
            title=f"ActX on {output.name}",
        )
    report(f"page: {path}")
    return tested
