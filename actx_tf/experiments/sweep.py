"""What each hyperparameter of ActX does, on the built-in set."""

import dataclasses
import os
import statistics
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from actx_tf import losses
from actx_tf import metrics
from actx_tf.data import synthetic
from actx_tf.experiments import run_folder
from actx_tf.experiments.fitting import compile_model
from actx_tf.experiments.fitting import reproducible
from actx_tf.experiments.methods import build_actx
from actx_tf.experiments.methods import check_methods
from actx_tf.experiments.run_data import Task
from actx_tf.experiments.run_data import batches_of_arrays
from actx_tf.experiments.tables import read_rows
from actx_tf.experiments.tables import write_rows
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.checks import check_positive
from actx_tf.utils.optional import import_optional

VALUES = {
    "rho": (5, 10, 20, 30, 50, 70, 90),
    "alpha": (0, 0.3, 1, 3, 10, 30),
    "beta": (0, 0.3, 1, 3, 10, 30),
    "gamma": (1, 5, 10, 20, 40, 80),
    "xi": (-1, 0, 0.3, 0.6, 0.9),
    "similarity_weight": (0, 0.1, 0.3, 1, 3, 10),
    "difference_weight": (0, 1, 3, 10, 30, 100),
    "conjugate_weight": (0, 0.03, 0.1, 0.3, 1, 3),
}
_FIGURES = ("accuracy", "localization AUC")


def sweep_hyperparameters(
    data_settings: DataSettings,
    settings: TrainingSettings,
    *,
    output: str | os.PathLike,
    seeds: int = 3,
    values: Mapping[str, Sequence[float]] = VALUES,
) -> list[dict[str, Any]]:
    """Trains ActX with one hyperparameter changed at a time.

    Writes to `output`: `settings.json`, `results.csv` (a row a run) and
    `hyperparameters.png`. The same call goes on after the last run.

    Args:
        data_settings: Of the built-in set.
        settings: The hyperparameters that are not changed, and how models are
            trained.
        output: Path of the folder.
        seeds: Runs of each value. Defaults to `3`.
        values: Values of hyperparameters, by name. Defaults to `VALUES`.

    Returns:
        The rows of `results.csv`: hyperparameters, seed, accuracy and
        localization AUC of the validation part.

    Raises:
        ValueError: If a setting is wrong, or `output` was begun with others.
        ImportError: If tqdm or matplotlib is missing.
    """
    tqdm = import_optional("tqdm", "A sweep")
    check_positive("seeds", seeds)
    if data_settings.features:
        raise ValueError(
            "`features` must be left out: the sweep is on the built-in set. "
            f"Received: features={data_settings.features}"
        )
    if unknown := set(values) - set(VALUES):
        raise ValueError(
            f"`values` must be of {sorted(VALUES)}. Received: {sorted(unknown)}"
        )
    if settings.patience is not None or settings.class_weight is not None:
        raise ValueError(
            "`settings` must leave `patience` and `class_weight` out: the "
            "sweep is evaluated on the validation part, and its classes are "
            f"balanced. Received: patience={settings.patience}, "
            f"class_weight={settings.class_weight!r}"
        )
    for changed in _each_changed(settings, values):
        check_methods(changed, ["ActX"])
    # More seeds and values may come.
    run_folder.keep_settings(
        output,
        {**dataclasses.asdict(data_settings), **dataclasses.asdict(settings)},
    )
    results = Path(output) / "results.csv"
    rows = read_rows(results)
    runs = {
        (changed.gamma, seed, dataclasses.astuple(changed)): changed
        for seed in range(seeds)
        for changed in _each_changed(settings, values)
        if not any(row["seed"] == seed and _is_of(row, changed) for row in rows)
    }
    train, validation = _load(data_settings) if runs else ({}, {})
    gamma = None
    for key in tqdm.tqdm(sorted(runs), desc="runs"):
        if key[0] != gamma:  # on which the similarities depend
            gamma = key[0]
            train["conjugate_similarity"] = _similarity(
                train, gamma, data_settings.batch_size
            )
        _, seed, _ = key
        figures = _run(
            train, validation, runs[key], seed, data_settings.batch_size
        )
        hyperparameters = {name: getattr(runs[key], name) for name in VALUES}
        rows.append({**hyperparameters, "seed": seed, **figures})
        write_rows(rows, results)
    _draw(rows, settings, values, Path(output) / "hyperparameters.png")
    return rows


def _each_changed(settings, values):
    for name, those in values.items():
        for value in those:
            yield dataclasses.replace(settings, **{name: float(value)})


def _is_of(row, settings):
    return all(row[name] == getattr(settings, name) for name in VALUES)


def _load(data_settings):
    """Both parts: features, labels, and what else each is used with."""
    backbone = synthetic.backbone()
    train = synthetic.make_part("train", data_settings.train_clips)
    validation = synthetic.make_part("validation", data_settings.test_clips)
    return (
        {
            "features": backbone.predict(train.videos, verbose=0),
            "conjugate": backbone.predict(train.conjugates, verbose=0),
            "labels": train.labels,
        },
        {
            "features": backbone.predict(validation.videos, verbose=0),
            "voxels": synthetic.to_voxels(validation.actor_masks),
            "labels": validation.labels,
        },
    )


def _similarity(train, gamma, batch_size):
    """Of all pairs; the clips are not cropped, so it is that of each step."""
    batches = tf.data.Dataset.from_tensor_slices(
        (train["features"], train["conjugate"])
    ).batch(batch_size)
    return np.concatenate(
        [
            losses.conjugate_similarity(features, conjugate, gamma)
            for features, conjugate in batches
        ]
    )


def _run(train, validation, settings, seed, batch_size):
    """Returns the figures of one training."""
    task = Task(synthetic.CLASS_NAMES, train["features"].shape[-1])
    inputs = {key: train[key] for key in train if key != "labels"}
    make_batches = batches_of_arrays(inputs, train["labels"], batch_size)
    with reproducible(settings, seed):
        model = build_actx(task, settings)
        compile_model(model, task, settings, len(train["labels"]))
        model.fit(
            make_batches(shuffle=True, seed=seed),
            epochs=settings.epochs,
            shuffle=False,  # the pipeline does
            verbose=0,
        )
    outputs = model.predict(validation["features"], verbose=0)
    right = np.argmax(outputs["logits"], axis=-1) == validation["labels"]
    maps = 1 - outputs["context_map"]
    auc = metrics.localization_auc(validation["voxels"], maps)
    return {"accuracy": float(np.mean(right)), "localization AUC": float(auc)}


def _draw(rows, settings, values, path):
    import_optional("matplotlib", "A sweep")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), dpi=100, layout="constrained")
    axes = figure.subplots(2, 4, sharey=True).flat[: len(values)]
    for axis, (name, those) in zip(axes, values.items(), strict=True):
        changed = list(_each_changed(settings, {name: those}))
        for column, marker in zip(_FIGURES, "os", strict=True):
            figures = [
                [row[column] for row in rows if _is_of(row, one)]
                for one in changed
            ]
            axis.errorbar(
                range(len(those)),
                [statistics.mean(x) for x in figures],
                [statistics.stdev(x) if len(x) > 1 else 0 for x in figures],
                marker=marker,
                capsize=3,
                label=column,
            )
        axis.set_xticks(range(len(those)), [f"{value:g}" for value in those])
        axis.set(title=name, ylim=(0, 1))
        if getattr(settings, name) in those:
            place = those.index(getattr(settings, name))
            axis.axvline(place, color="0.8", zorder=0)
        axis.grid(axis="y", color="0.9")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    last = figure.axes[-1]
    last.axis("off")
    last.legend(handles, labels, loc="center")
    last.text(
        0.5,
        0.25,
        "gray: the default\n"
        f"chance: {1 / len(synthetic.CLASS_NAMES):g} and 0.5",
        ha="center",
        transform=last.transAxes,
    )
    with atomic_write(path) as draft:
        figure.savefig(draft)
