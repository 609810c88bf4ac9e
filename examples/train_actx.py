r"""Trains ActX and compares it with pooling on the same features.

On the built-in data set, as `make demo` does:

    python examples/train_actx.py --output=runs/demo

On a feature store made by examples/extract_features.py:

    python examples/train_actx.py --features=features.h5 --index=index.csv \
        --output=runs/mine

Prints one table: mean and standard deviation over the seeds. Writes to
`--output`: `results.csv` (a row a run), `tensorboard/` and `history/` (a log a
run), and, of the first seed's ActX, `actx.keras`, `saved_model/1/` and
`attention.png`.
"""

import sys
from pathlib import Path

import experiment
import methods
import numpy as np
from absl import app
from absl import flags

from actx_tf import export
from actx_tf import visualization
from actx_tf.data import VideoError
from actx_tf.foreign_files import load_keras_model

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

METHODS = ("average pooling", "max pooling", "ActX")


def save(model, outputs, data):
    """Writes the model in both forms, and the figure."""
    output = Path(FLAGS.output)
    model.save(output / "actx.keras")
    export.export_saved_model(
        model,
        output / "saved_model",
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
    visualization.attention_figure(
        videos,
        [real_part(outputs["action_map"], i) for i in chosen],
        [real_part(outputs["context_map"], i) for i in chosen],
        [
            f"{data.class_names[labels[i]]}, "
            f"recognized as {data.class_names[answers[i]]}"
            for i in chosen
        ],
    ).savefig(output / "attention.png", bbox_inches="tight")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if bool(FLAGS.features) != bool(FLAGS.index):
        sys.exit("error: --features and --index are given together or not")
    try:
        # Wrong flags are told before any work.
        methods.build_actx(channels=4, num_classes=2)
        if FLAGS.features:
            data = experiment.stored_data(
                FLAGS.features, similarities=FLAGS.similarities
            )
            if FLAGS.backbone:
                backbone = load_keras_model(FLAGS.backbone)
                data = experiment.with_backbone(data, backbone)
        else:
            data = experiment.built_in_data()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    rows = []
    for seed in range(FLAGS.seeds):
        for method in METHODS:
            run = f"{method}-{seed}"
            model, _ = methods.train(
                method, data, seed, FLAGS.output, run, validate=True
            )
            _, row, outputs = methods.evaluate(method, model, data.test)
            rows.append({"method": method, "seed": seed, **row})
            # After each run, so that an interruption loses none.
            experiment.write_rows(rows, Path(FLAGS.output) / "results.csv")
            if method == "ActX" and seed == 0:
                save(model, outputs, data)
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
        sys.exit("interrupted: results.csv holds the runs that had finished")
