r"""Shows what each hyperparameter of ActX does, on the built-in data set.

    python examples/sweep_hyperparameters.py --output=runs/sweep

Trains ActX with one hyperparameter changed at a time, the others at the
defaults of examples/train_actx.py, and draws accuracy and localization AUC of
the validation part: docs/hyperparameters.png. Writes `results.csv` (a row a
run) and `hyperparameters.png` to `--output`; after an interruption the same
command goes on behind the last run.
"""

import statistics
import sys
from pathlib import Path

import experiment
import keras
import methods  # noqa: F401, whose flags have the defaults
import numpy as np
import run_folder
import tensorflow as tf
from absl import app
from absl import flags
from tqdm import tqdm

from actx_tf import losses
from actx_tf import metrics
from actx_tf.data import synthetic
from actx_tf.models import ActX

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/sweep", "folder for what is written")

VALUES = {
    "rho": (5, 10, 20, 30, 50, 70, 90),
    "alpha": (0, 0.3, 1, 3, 10, 30),
    "beta": (0, 0.3, 1, 3, 10, 30),
    "gamma": (1, 5, 10, 20, 40, 80),
    "xi": (-1, 0, 0.3, 0.6, 0.9),
    "similarity_weight": (0, 0.1, 0.3, 1, 3, 10),
    "difference_weight": (0, 1, 3, 10, 30, 100),
}
FIGURES = ("accuracy", "localization AUC")


def load():
    """Both parts: features, labels, and what else each is used with."""
    backbone = synthetic.backbone()
    train = synthetic.make_part("train", FLAGS.train_clips)
    validation = synthetic.make_part("validation", FLAGS.test_clips)
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


def similarity(train, gamma):
    """Of all pairs; the clips are not cropped, so it is that of each step."""
    batches = tf.data.Dataset.from_tensor_slices(
        (train["features"], train["conjugate"])
    ).batch(FLAGS.batch_size)
    return np.concatenate(
        [
            losses.conjugate_similarity(features, conjugate, gamma)
            for features, conjugate in batches
        ]
    )


def run(train, validation, settings, seed):
    """Returns the figures of one training."""
    keras.utils.set_random_seed(seed)
    model = ActX(len(synthetic.CLASS_NAMES), **settings)
    experiment.compile_model(model)
    inputs = {key: train[key] for key in ("features", "conjugate_similarity")}
    model.fit(
        experiment.batches_of(inputs, train["labels"])(shuffle=True, seed=seed),
        epochs=FLAGS.epochs,
        shuffle=False,  # the pipeline does
        verbose=0,
    )
    outputs = model.predict(validation["features"], verbose=0)
    right = np.argmax(outputs["logits"], axis=-1) == validation["labels"]
    maps = 1 - outputs["context_map"]
    auc = metrics.localization_auc(validation["voxels"], maps)
    return {"accuracy": float(np.mean(right)), "localization AUC": float(auc)}


def draw(rows, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 5.2), dpi=100, layout="constrained")
    axes = figure.subplots(2, 4, sharey=True).flat[: len(VALUES)]
    for axis, (name, values) in zip(axes, VALUES.items(), strict=True):
        default = FLAGS[name].default
        for column, marker in zip(FIGURES, "os", strict=True):
            at = [
                [
                    float(r[column])
                    for r in rows
                    if is_of(r, changed(name, value))
                ]
                for value in values
            ]
            axis.errorbar(
                range(len(values)),
                [statistics.mean(x) for x in at],
                [statistics.stdev(x) if len(x) > 1 else 0 for x in at],
                marker=marker,
                capsize=3,
                label=column,
            )
        axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])
        axis.set(title=name, ylim=(0, 1))
        if default in values:
            axis.axvline(values.index(default), color="0.8", zorder=0)
        axis.grid(axis="y", color="0.9")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    last = figure.axes[-1]
    last.axis("off")
    last.legend(handles, labels, loc="center")
    last.text(
        0.5,
        0.25,
        "gray: the default of the examples\n"
        f"chance: {1 / len(synthetic.CLASS_NAMES):g} and 0.5",
        ha="center",
        transform=last.transAxes,
    )
    figure.savefig(path)


def defaults():
    return {name: float(FLAGS[name].default) for name in VALUES}


def changed(name, value):
    """The defaults but for this value."""
    return {**defaults(), name: float(value)}


def is_of(row, settings):
    return all(float(row[key]) == settings[key] for key in settings)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    output = Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    rows = run_folder.read_rows(output / "results.csv")
    todo = {  # by gamma, on which the similarities depend
        (settings["gamma"], seed, tuple(settings.items())): settings
        for seed in range(FLAGS.seeds)
        for name, values in VALUES.items()
        for settings in [changed(name, value) for value in values]
        if not any(
            int(row["seed"]) == seed and is_of(row, settings) for row in rows
        )
    }
    train, validation = load() if todo else (None, None)
    gamma = None
    for key in tqdm(sorted(todo), desc="runs"):
        if key[0] != gamma:
            gamma = key[0]
            train["conjugate_similarity"] = similarity(train, gamma)
        settings, seed = todo[key], key[1]
        figures = run(train, validation, settings, seed)
        rows.append({**settings, "seed": seed, **figures})
        run_folder.write_rows(rows, output / "results.csv")
    draw(rows, output / "hyperparameters.png")
    print(f"written to {output}: results.csv, hyperparameters.png")


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
