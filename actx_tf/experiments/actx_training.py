"""Trains ActX and compares it with pooling on the same features."""

import dataclasses
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from actx_tf import export
from actx_tf import training
from actx_tf import visualization
from actx_tf.backbones.description import location_centers
from actx_tf.data.video import VideoError
from actx_tf.experiments import run_folder
from actx_tf.experiments.evaluation import evaluate
from actx_tf.experiments.fitting import make_strategy
from actx_tf.experiments.loading import load_data
from actx_tf.experiments.method_training import check_settings
from actx_tf.experiments.method_training import train_method
from actx_tf.experiments.methods import check_methods
from actx_tf.experiments.model_card import write_model_card
from actx_tf.experiments.run_data import RunData
from actx_tf.experiments.run_data import pick_inputs
from actx_tf.experiments.tables import read_rows
from actx_tf.experiments.tables import write_rows
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.checks import check_positive

METHODS = ("average pooling", "max pooling", "ActX")
_LOG = logging.getLogger(__name__)


def train_actx(
    data_settings: DataSettings,
    settings: TrainingSettings,
    *,
    output: str | os.PathLike,
    seeds: int = 3,
    strategy: str = "none",
) -> list[dict[str, Any]]:
    """Trains ActX, and average and max pooling, from several seeds.

    Writes to `output`: `settings.json`, `results.csv` (a row a run),
    `tensorboard/` and `history/` (a log a run), and, of the first seed's ActX,
    `actx.keras`, `saved_model/1/`, `model_card.md` and `attention.png`.

    The same call goes on after an interruption, with the run and the epoch
    where it stopped; its results are those of an uninterrupted one.

    Args:
        data_settings: Which clips.
        settings: How models are trained.
        output: Path of the folder.
        seeds: Runs of each method. Defaults to `3`.
        strategy: As of `make_strategy`. Each worker of several makes this
            call; they share the file system of `output`. Defaults to `"none"`.

    Returns:
        The rows of `results.csv`; none for a worker that is not the chief.

    Raises:
        ValueError: If a setting or a file is wrong, they do not fit together,
            or `output` was begun with other settings.
        OSError: If a file is missing, or cannot be written.
        FloatingPointError: If a loss is not finite.
        ConnectionError: If another worker was lost.
    """
    check_positive("seeds", seeds)
    strategy = make_strategy(strategy)
    check_methods(settings, METHODS)  # wrong ones are refused before any work
    data = load_data(data_settings, gamma=settings.gamma)
    check_settings(settings, data)
    is_chief = training.is_chief(strategy)
    if is_chief:
        run_folder.keep_settings(
            output,
            {
                **dataclasses.asdict(data_settings),
                **dataclasses.asdict(settings),
                "seeds": seeds,
            },
        )
    results = Path(output) / "results.csv"
    rows = read_rows(results)
    finished = {(row["method"], row["seed"]) for row in rows}
    for seed in range(seeds):
        for method in METHODS:
            run = f"{method}-{seed}"
            if (method, seed) not in finished:
                model, _ = train_method(
                    method,
                    data,
                    settings,
                    seed=seed,
                    output=output,
                    run=run,
                    validate=True,
                    strategy=strategy,
                    resumable=True,
                )
                if not is_chief:
                    continue
                scores, row, outputs = evaluate(
                    method, model, data.test, data.task
                )
                if method == "ActX" and seed == 0:
                    save_model(
                        model,
                        data,
                        settings,
                        output,
                        seed=seed,
                        scores=scores,
                        context_maps=outputs["context_map"],
                    )
                    save_figure(outputs, data, output)
                # A row is a run with all that belongs to it: the last thing.
                rows.append({"method": method, "seed": seed, **row})
                write_rows(rows, results)
            if is_chief:
                checkpoint = run_folder.checkpoint_path(output, run)
                checkpoint.unlink(missing_ok=True)
    return rows if is_chief else []


def save_model(
    model: keras.Model,
    data: RunData,
    settings: TrainingSettings,
    output: str | os.PathLike,
    *,
    seed: int,
    scores: np.ndarray,
    context_maps: np.ndarray,
) -> None:
    """Writes `actx.keras`, `saved_model/1/` and `model_card.md`.

    Interrupted anywhere, it can be done again.

    Args:
        model: A trained `ActX`.
        data: What it was trained on.
        settings: How it was trained.
        output: Path of the folder.
        seed: As of `write_model_card`.
        scores: As of `write_model_card`.
        context_maps: As of `write_model_card`.
    """
    output = Path(output)
    with atomic_write(output / "actx.keras") as draft:
        model.save(draft)
    versions = output / "saved_model"
    for left in versions.glob(".exporting-*"):  # by an interrupted call
        shutil.rmtree(left)
    if not (versions / "1").exists():
        export.export_saved_model(model, versions, backbone=data.backbone)
    write_model_card(
        output / "model_card.md",
        model,
        data,
        settings,
        seed=seed,
        scores=scores,
        context_maps=context_maps,
    )


def save_figure(
    outputs: Mapping[str, np.ndarray],
    data: RunData,
    output: str | os.PathLike,
) -> None:
    """Draws the maps of four test clips, `attention.png`, unless videos lack.

    Args:
        outputs: What an `ActX` returned for the test clips.
        data: The data.
        output: Path of the folder.
    """
    labels = data.test.labels
    if labels.ndim > 1:
        labels = np.argmax(labels, axis=-1)  # the first of a clip's classes
    order = np.argsort(labels, kind="stable")
    chosen = order[:: max(1, len(order) // 4)][:4]
    answers = np.argmax(outputs["logits"], axis=-1)
    masks = np.concatenate(
        [
            inputs["mask"]
            for inputs, _ in pick_inputs(data.test.make_dataset(), ())
        ]
    )

    def real_part(maps, i):
        time, height, width = np.argwhere(masks[i])[-1] + 1
        return maps[i][:time, :height, :width]

    try:
        videos = data.test.read_videos(chosen)
    except VideoError as error:
        _LOG.warning("no figure is drawn: %s", error)
        return
    names = data.task.class_names
    action_maps = [real_part(outputs["action_map"], i) for i in chosen]
    figure = visualization.attention_figure(
        videos,
        action_maps,
        [real_part(outputs["context_map"], i) for i in chosen],
        [
            f"{names[labels[i]]}, recognized as {names[answers[i]]}"
            for i in chosen
        ],
        [
            location_centers(data.task.description, maps.shape)
            for maps in action_maps
        ],
    )
    with atomic_write(Path(output) / "attention.png") as draft:
        figure.savefig(draft, bbox_inches="tight")
