r"""Trains ActX and compares it with pooling on the same features.

On the built-in data set, as `make demo` does:

    python examples/train_actx.py --output=runs/demo

On a feature store made by examples/extract_features.py:

    python examples/train_actx.py --features=features --index=index.csv \
        --output=runs/mine

Prints one table: mean and standard deviation over the seeds. Writes to
`--output`: `settings.json`, `results.csv` (a row a run), `tensorboard/` and
`history/` (a log a run), and, of the first seed's ActX, `actx.keras`,
`saved_model/1/` and `attention.png`.

Run the same command again to go on after an interruption, with the run and the
epoch where it stopped; the table is that of an uninterrupted command. Other
flags need another `--output`.

`--strategy=mirrored` trains on all GPUs of this machine. With
`--strategy=multi_worker` the same command runs on each of several machines,
which share the file system of `--output`; the environment variable TF_CONFIG
tells each of them about all (train_on_ray.py starts them on a Ray cluster).
"""

import shutil
import sys
from pathlib import Path

import experiment
import methods
import numpy as np
import run_folder
import tensorflow as tf
from absl import app
from absl import flags

from actx_tf import export
from actx_tf import training
from actx_tf import visualization
from actx_tf.backbones.receptive_field import location_centers
from actx_tf.data import VideoError
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.untrusted_files import load_keras_model

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/actx", "folder for what is written")
flags.DEFINE_string(
    "backbone",
    None,
    "what made the features, as extract_features.py's --save_backbone wrote it:"
    " the SavedModel then takes videos too",
)
flags.DEFINE_string(
    "similarities",
    None,
    "what precompute_similarity.py wrote: a step then reads no conjugates",
)
flags.DEFINE_enum(
    "strategy",
    "none",
    ["none", "mirrored", "multi_worker"],
    "whether to train on all GPUs of this machine, or on several machines",
)

METHODS = ("average pooling", "max pooling", "ActX")


def make_strategy():
    """To be called before TensorFlow computes anything."""
    if FLAGS.strategy == "mirrored":
        return tf.distribute.MirroredStrategy()
    if FLAGS.strategy == "multi_worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.get_strategy()


def save(model, outputs, data):
    """Writes the model in both forms, and the figure.

    Interrupted anywhere, it can be done again.
    """
    output = Path(FLAGS.output)
    with atomic_write(output / "actx.keras") as draft:
        model.save(draft)
    versions = output / "saved_model"
    for left in versions.glob(".exporting-*"):  # by an interrupted command
        shutil.rmtree(left)
    if not (versions / "1").exists():
        export.export_saved_model(
            model,
            versions,
            class_names=data.class_names,
            activation="sigmoid" if FLAGS.multi_label else "softmax",
            backbone=data.backbone,
            frame_rate=data.frame_rate,
        )
    labels = data.test.labels
    if labels.ndim > 1:
        labels = np.argmax(labels, axis=-1)  # the first of a clip's classes
    order = np.argsort(labels, kind="stable")
    chosen = order[:: max(1, len(order) // 4)][:4]
    answers = np.argmax(outputs["logits"], axis=-1)
    masks = np.concatenate(
        [inputs["mask"] for inputs, _ in experiment.pick(data.test.dataset, ())]
    )

    def real_part(maps, i):
        time, height, width = np.argwhere(masks[i])[-1] + 1
        return maps[i][:time, :height, :width]

    try:
        videos = data.show(chosen)
    except VideoError as error:
        print(f"no figure is drawn: {error}")
        return
    action_maps = [real_part(outputs["action_map"], i) for i in chosen]
    figure = visualization.attention_figure(
        videos,
        action_maps,
        [real_part(outputs["context_map"], i) for i in chosen],
        [
            f"{data.class_names[labels[i]]}, "
            f"recognized as {data.class_names[answers[i]]}"
            for i in chosen
        ],
        [location_centers(data.backbone, maps.shape) for maps in action_maps],
    )
    with atomic_write(output / "attention.png") as draft:
        figure.savefig(draft, bbox_inches="tight")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if bool(FLAGS.features) != bool(FLAGS.index):
        sys.exit("error: --features and --index are given together or not")
    try:
        strategy = make_strategy()
        # Wrong flags are told before any work.
        methods.build_actx(channels=4, num_classes=2)
        is_chief = training.is_chief(strategy)
        if FLAGS.features:
            data = experiment.stored_data(
                FLAGS.features, similarities=FLAGS.similarities
            )
            if FLAGS.backbone:
                backbone = load_keras_model(FLAGS.backbone)
                data = experiment.with_backbone(data, backbone)
        else:
            data = experiment.built_in_data()
        if is_chief:
            run_folder.keep_settings(FLAGS.output)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    results = Path(FLAGS.output) / "results.csv"
    rows = run_folder.read_rows(results)
    finished = {(row["method"], row["seed"]) for row in rows}
    for seed in range(FLAGS.seeds):
        for method in METHODS:
            run = f"{method}-{seed}"
            checkpoint = run_folder.checkpoint_path(FLAGS.output, run)
            if (method, seed) not in finished:
                model, _ = methods.train(
                    method,
                    data,
                    seed,
                    FLAGS.output,
                    run,
                    validate=True,
                    strategy=strategy,
                    resumable=True,
                )
                if not is_chief:
                    continue
                _, row, outputs = methods.evaluate(method, model, data.test)
                if method == "ActX" and seed == 0:
                    save(model, outputs, data)
                # A row is a run with all that belongs to it: the last thing.
                rows.append({"method": method, "seed": seed, **row})
                run_folder.write_rows(rows, results)
            if is_chief:
                checkpoint.unlink(missing_ok=True)
    if not is_chief:
        return
    columns = dict.fromkeys(key for row in rows for key in row)
    columns = [c for c in columns if c not in ("method", "seed")]
    experiment.print_table(experiment.summarize(rows, columns))
    print(
        f"\nwritten to {FLAGS.output}: results.csv, actx.keras, "
        "saved_model/, attention.png, history/, tensorboard/"
    )


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
