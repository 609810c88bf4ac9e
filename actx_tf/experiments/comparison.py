"""Compares every method of the paper's tables on the same feature maps."""

import dataclasses
import functools
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from actx_tf.experiments import run_folder
from actx_tf.experiments.evaluation import class_scores
from actx_tf.experiments.evaluation import evaluate
from actx_tf.experiments.evaluation import figures_of
from actx_tf.experiments.fitting import compile_model
from actx_tf.experiments.fitting import fit
from actx_tf.experiments.fitting import reproducible
from actx_tf.experiments.loading import load_data
from actx_tf.experiments.method_training import check_settings
from actx_tf.experiments.method_training import make_weigher
from actx_tf.experiments.method_training import train_method
from actx_tf.experiments.methods import CLIP
from actx_tf.experiments.methods import METHODS
from actx_tf.experiments.methods import check_methods
from actx_tf.experiments.methods import count_weights
from actx_tf.experiments.methods import steps_model
from actx_tf.experiments.run_data import RunData
from actx_tf.experiments.run_data import batches_of_arrays
from actx_tf.experiments.run_data import pick_inputs
from actx_tf.experiments.tables import read_rows
from actx_tf.experiments.tables import write_rows
from actx_tf.layers import EigenEvolutionPooling
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.checks import check_not_negative
from actx_tf.utils.checks import check_positive

# Eigen evolution pooling, and the method whose steps it pools.
EEP = {"EEP + average": "average pooling", "EEP + ActX": "ActX"}
COMPARED = (*METHODS, *EEP)
BOTH = "RGB + flow"


def compare_methods(
    data_settings: DataSettings,
    settings: TrainingSettings,
    *,
    output: str | os.PathLike,
    seeds: int = 3,
    methods: Collection[str] = (),
    flow_features: str | None = None,
    flow_weight: float = 1.0,
    part: str = "test",
) -> list[dict[str, Any]]:
    """Trains and evaluates methods, of one stream, or of two and their fusion.

    Writes to `output`: `settings.json`, `results.csv` (a row a run), `scores/`
    (the clips' scores, a file a run), `tensorboard/` and `history/` (a log a
    run). The same call goes on after an interruption.

    Args:
        data_settings: Which clips; its features are those of RGB.
        settings: How models are trained.
        output: Path of the folder.
        seeds: Runs of each method. Defaults to `3`.
        methods: Names of methods, among `COMPARED`. Defaults to all that the
            data have the inputs of.
        flow_features: Path of a second store, of the flow stream. Defaults to
            none.
        flow_weight: Weight of the flow's scores in the late fusion, beside 1
            for those of RGB. Defaults to `1`.
        part: `"test"` or `"validation"`, the clips to evaluate on. Settings
            are chosen on those of validation. Defaults to `"test"`.

    Returns:
        The rows of `results.csv`.

    Raises:
        ValueError: If a setting or a file is wrong, they do not fit together,
            or `output` was begun with other settings.
        OSError: If a file is missing, or cannot be written.
        FloatingPointError: If a loss is not finite.
    """
    check_positive("seeds", seeds)
    if unknown := set(methods) - set(COMPARED):
        raise ValueError(
            f"`methods` must be among {sorted(COMPARED)}. "
            f"Received: {sorted(unknown)}"
        )
    if flow_features and not data_settings.features:
        raise ValueError(
            "`flow_features` must go with `features`, of RGB. "
            f"Received: features=None, flow_features={flow_features}"
        )
    if data_settings.similarities:
        raise ValueError(
            "`similarities` must be left out: ACF compares the conjugates' "
            f"features. Received: similarities={data_settings.similarities}"
        )
    if part not in ("test", "validation"):
        raise ValueError(
            f'`part` must be "test" or "validation". Received: part={part!r}'
        )
    check_not_negative("flow_weight", flow_weight)
    # Wrong settings are refused before any work.
    check_methods(settings, METHODS)
    EigenEvolutionPooling(settings.components)
    streams = _load_streams(data_settings, flow_features, part)
    for data in streams.values():
        check_settings(settings, data)
    for name in methods:
        needed = set(METHODS[EEP.get(name, name)].inputs)
        if missing := needed - streams["RGB"].inputs:
            raise ValueError(
                f"`methods`: {name!r} needs {sorted(missing)}, which is not in "
                "the data"
            )
    run_folder.keep_settings(
        output,
        {
            **dataclasses.asdict(data_settings),
            **dataclasses.asdict(settings),
            "seeds": seeds,
            "methods": list(methods),
            "flow_features": flow_features,
            "flow_weight": flow_weight,
            "part": part,
        },
    )
    results = Path(output) / "results.csv"
    rows = read_rows(results)

    def finished(stream, seed):
        of_run = (stream, seed)
        return [r["method"] for r in rows if (r["stream"], r["seed"]) == of_run]

    def add(stream, seed, name, row):
        head = {"stream": stream, "method": name, "seed": seed}
        rows.append({**head, **row})
        write_rows(rows, results)

    for seed in range(seeds):
        for stream, data in streams.items():
            chosen = set(methods or COMPARED) - set(finished(stream, seed))
            for name, row, scores in _run_methods(
                data, settings, stream, seed, output, chosen
            ):
                _write_scores(scores, output, stream, name, seed)
                add(stream, seed, name, row)
        if len(streams) > 1:
            done = finished(BOTH, seed)
            for name in finished("RGB", seed):
                if name not in done:
                    rgb, flow = (
                        _read_scores(output, stream, name, seed)
                        for stream in streams
                    )
                    fused = (rgb + flow_weight * flow) / (1.0 + flow_weight)
                    data = streams["RGB"]
                    figures = figures_of(data.test, data.task, fused)
                    add(BOTH, seed, name, figures)
    return rows


def _load_streams(data_settings, flow_features, part):
    """The data of each stream; the built-in set has one."""
    paths = {"RGB": data_settings.features}
    if flow_features:
        paths["flow"] = flow_features
    streams = {}
    for stream, path in paths.items():
        others = [other for other in paths.values() if other != path]
        data = load_data(
            dataclasses.replace(data_settings, features=path), others
        )
        if part == "validation":
            if data.validation is None:
                raise ValueError(
                    f"{data_settings.index} has no clips of validation"
                )
            data = dataclasses.replace(data, test=data.validation)
        streams[stream] = data
    return streams


def _run_methods(data, settings, stream, seed, output, chosen):
    """Yields (method, figures, scores) of each run that is chosen."""
    for name, method in METHODS.items():
        if not set(method.inputs) <= data.inputs:
            continue
        run = f"{stream}-{name}-{seed}"
        compressed = [
            eep for eep, base in EEP.items() if base == name and eep in chosen
        ]
        if name in chosen or compressed:
            model, seconds = train_method(
                name,
                data,
                settings,
                seed=seed,
                output=output,
                run=run,
                resumable=True,
            )
        if name in chosen:
            scores, row, _ = evaluate(name, model, data.test, data.task)
            row["weights"] = count_weights(model)
            row["seconds a step"] = seconds
            yield name, row, scores
        for eep in compressed:
            scores, num_weights, more_seconds = train_eep(
                model,
                data,
                settings,
                seed=seed,
                output=output,
                run=f"{stream}-{eep}-{seed}",
            )
            row = figures_of(data.test, data.task, scores)
            row["weights"] = num_weights
            row["seconds a step"] = seconds + more_seconds
            yield eep, row, scores
        checkpoint = run_folder.checkpoint_path(output, run)
        checkpoint.unlink(missing_ok=True)


def train_eep(
    model: keras.Model,
    data: RunData,
    settings: TrainingSettings,
    *,
    seed: int,
    output: str | os.PathLike,
    run: str,
) -> tuple[np.ndarray, int, float]:
    """Trains eigen evolution pooling of a trained model's steps.

    The model itself stays as it is, its steps of whole clips are computed once,
    and a new classifier is trained.

    Args:
        model: Of average pooling, or an `ActX`.
        data: The data.
        settings: The settings.
        seed: Seed of all that is random.
        output: Path of the folder of its logs.
        run: Name of the run in it.

    Returns:
        The test clips' scores, the number of weights, and the seconds of a step
        of the classifier.
    """
    steps = steps_model(model, data.task.channels)

    def load(dataset):
        batches = list(pick_inputs(dataset, CLIP))
        features = [steps.predict_on_batch(inputs) for inputs, _ in batches]
        masks = [np.any(inputs["mask"], axis=(2, 3)) for inputs, _ in batches]
        labels = [label.numpy() for _, label in batches]
        return (np.concatenate(part) for part in (features, masks, labels))

    with reproducible(settings, seed):
        features, masks, labels = load(data.whole_training)
        eep = EigenEvolutionPooling(settings.components)
        eep.adapt([(features, masks)])
        classifier = keras.Sequential(
            [layers.Dense(len(data.task.class_names), dtype="float32")]
        )
        watched = None if settings.patience is None else data.validation
        most_clips = max(len(labels), len(watched.labels) if watched else 0)
        compile_model(classifier, data.task, settings, most_clips)
        weigh = make_weigher(settings, data)

        def batches(features, masks, labels):
            pooled = keras.ops.convert_to_numpy(eep(features, mask=masks))
            make = batches_of_arrays(pooled, labels, data.settings.batch_size)
            return lambda **which: weigh(make(**which))

        validation = None
        if watched is not None:
            validation = batches(*load(watched.make_dataset()))
        seconds = fit(
            classifier,
            functools.partial(
                batches(features, masks, labels), shuffle=True, seed=seed
            ),
            settings.epochs,
            output,
            run,
            make_validation=validation,
            patience=settings.patience,
        )
        features, masks, _ = load(data.test.make_dataset())
        logits = classifier(eep(features, mask=masks))
    num_weights = steps.count_params() + count_weights(classifier)
    scores = class_scores(logits, data.task.activation)
    return scores, num_weights, seconds


def _scores_path(output, stream, name, seed):
    run = run_folder.file_name(f"{stream}-{name}-{seed}")
    return Path(output) / "scores" / f"{run}.npy"


def _write_scores(scores, *run):
    path = _scores_path(*run)
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as draft, open(draft, "wb") as file:
        np.save(file, scores)


def _read_scores(*run):
    return np.load(_scores_path(*run))
