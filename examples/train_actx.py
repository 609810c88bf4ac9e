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

import csv
import dataclasses
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import app
from absl import flags
from keras import layers
from keras import ops
from tqdm.keras import TqdmCallback

from actx_tf import export
from actx_tf import metrics
from actx_tf import visualization
from actx_tf.data import FeatureStore
from actx_tf.data import VideoError
from actx_tf.data import make_evaluation_dataset
from actx_tf.data import make_pair_dataset
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import synthetic
from actx_tf.models import ActX

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/actx", "folder for what is written")
flags.DEFINE_string("features", None, "feature store; none: the built-in set")
flags.DEFINE_string("index", None, "clip index (CSV) of the feature store")
flags.DEFINE_string(
    "conjugates_column", "conjugates", "the index's column of conjugates"
)
flags.DEFINE_list(
    "background", [], "labels that show no action: they get no conjugates"
)
flags.DEFINE_integer("num_steps", 10, "steps of a training crop (store only)")
flags.DEFINE_integer("train_clips", 2400, "training pairs of the built-in set")
flags.DEFINE_integer("seeds", 3, "runs of each method", lower_bound=1)
flags.DEFINE_integer("epochs", 40, "epochs of each run", lower_bound=1)
flags.DEFINE_integer("batch_size", 36, "pairs in a batch", lower_bound=1)
flags.DEFINE_float("learning_rate", 3e-3, "of Adam", lower_bound=0)
flags.DEFINE_float("rho", 15.0, "percentage of a clip that is action")
flags.DEFINE_float("alpha", 3.0, "sharpness of the action map")
flags.DEFINE_float("beta", 1.0, "sharpness of the attention in the action")
flags.DEFINE_float("gamma", 20.0, "sharpness of the matching")
flags.DEFINE_float("xi", 0.0, "similarity that costs nothing")
flags.DEFINE_float("similarity_weight", 5.0, "weight of L_s")
flags.DEFINE_float("difference_weight", 30.0, "weight of L_d")


@dataclasses.dataclass(frozen=True)
class Part:
    """Clips that a model is evaluated on."""

    dataset: tf.data.Dataset
    labels: np.ndarray
    paired: np.ndarray | None = None  # clips with conjugates in the index
    voxels: np.ndarray | None = None  # true action voxels


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run needs of a data set."""

    class_names: list[str]
    scored: np.ndarray  # classes that count for mean average precision
    channels: int
    make_training: Callable[[int], tf.data.Dataset]
    validation: Part | None
    test: Part
    show: Callable[[np.ndarray], list[np.ndarray]]  # test clips -> videos


def built_in_data():
    """The built-in set: its scenes mislead on all but the training part."""
    backbone = synthetic.backbone()

    def arrays(part, num_clips):
        clips = synthetic.make_part(part, num_clips)
        inputs = {
            "features": backbone.predict(clips.videos, verbose=0),
            "mask": np.ones((num_clips, synthetic.FEATURE_SIZE[0]), bool),
        }
        return clips, inputs

    def part(clips, inputs):
        dataset = tf.data.Dataset.from_tensor_slices((inputs, clips.labels))
        return Part(
            dataset.batch(FLAGS.batch_size),
            clips.labels,
            voxels=synthetic.to_voxels(clips.actor_masks),
        )

    clips, inputs = arrays("train", FLAGS.train_clips)
    inputs["conjugate"] = backbone.predict(clips.conjugates, verbose=0)
    training = tf.data.Dataset.from_tensor_slices((inputs, clips.labels))
    test = arrays("test", 400)
    return Data(
        class_names=list(synthetic.CLASS_NAMES),
        scored=np.ones(len(synthetic.CLASS_NAMES), bool),
        channels=inputs["features"].shape[-1],
        make_training=lambda seed: (
            training.shuffle(len(clips.labels), seed=seed)
            .batch(FLAGS.batch_size)
            .prefetch(2)
        ),
        validation=part(*arrays("validation", 400)),
        test=part(*test),
        show=lambda chosen: list(test[0].videos[chosen]),
    )


def stored_data():
    """A feature store and its index, split as the index says."""
    store = FeatureStore(FLAGS.features)
    index = read_clip_index(FLAGS.index, FLAGS.conjugates_column)
    clips = [clip for clip in index if clip.clip in store]
    if missing := len(index) - len(clips):
        print(f"{missing} clips of {FLAGS.index} are not in {FLAGS.features}")
    names = sorted({clip.label for clip in index})
    train = [clip for clip in clips if clip.split == "train"]
    tested = [clip for clip in clips if clip.split == "test"]
    validated = [clip for clip in clips if clip.split == "validation"]
    splits = {}
    for split, chosen in (("validation", validated), ("test", tested)):
        splits[split] = chosen and Part(
            make_evaluation_dataset(store, chosen, names, FLAGS.batch_size),
            np.array([names.index(clip.label) for clip in chosen]),
            paired=np.array([bool(clip.conjugates) for clip in chosen]),
        )
    if not train or not splits["test"]:
        raise ValueError(
            f"{FLAGS.index}: clips of the splits 'train' and 'test' are "
            f"expected. Received: {sorted({clip.split for clip in clips})}"
        )
    return Data(
        class_names=names,
        scored=np.array([name not in FLAGS.background for name in names]),
        channels=store.channels,
        make_training=lambda seed: make_pair_dataset(
            store,
            train,
            names,
            FLAGS.num_steps,
            FLAGS.batch_size,
            background=FLAGS.background,
            seed=seed,
        ),
        validation=splits["validation"] or None,
        test=splits["test"],
        show=lambda chosen: [read_clip(tested[i].file)[0] for i in chosen],
    )


def build_actx(num_classes):
    return ActX(
        num_classes,
        rho=FLAGS.rho,
        alpha=FLAGS.alpha,
        beta=FLAGS.beta,
        gamma=FLAGS.gamma,
        xi=FLAGS.xi,
        similarity_weight=FLAGS.similarity_weight,
        difference_weight=FLAGS.difference_weight,
    )


def build_model(method, data):
    if method == "ActX":
        return build_actx(len(data.class_names))
    features = keras.Input((None, None, None, data.channels), name="features")
    mask = keras.Input((None,), dtype="bool", name="mask")
    if method == "average pooling":
        steps = ops.mean(features, axis=(2, 3))
        pooled = layers.GlobalAveragePooling1D()(steps, mask=mask)
    else:
        steps = ops.max(features, axis=(2, 3))
        pooled = ops.max(ops.where(mask[..., None], steps, -1e9), axis=1)
    logits = layers.Dense(len(data.class_names), dtype="float32")(pooled)
    return keras.Model({"features": features, "mask": mask}, logits)


def train(method, data, seed):
    keras.utils.set_random_seed(seed)
    run = f"{method.replace(' ', '_')}-{seed}"
    model = build_model(method, data)
    model.compile(
        optimizer=keras.optimizers.Adam(FLAGS.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    (Path(FLAGS.output) / "history").mkdir(parents=True, exist_ok=True)
    training = data.make_training(seed)
    if method != "ActX":
        training = training.map(_without_pairs)
    model.fit(
        training,
        validation_data=data.validation and data.validation.dataset,
        epochs=FLAGS.epochs,
        shuffle=False,  # the pipeline does
        verbose=0,
        callbacks=[
            TqdmCallback(verbose=0, desc=f"{method}, seed {seed}"),
            keras.callbacks.CSVLogger(f"{FLAGS.output}/history/{run}.csv"),
            keras.callbacks.TensorBoard(f"{FLAGS.output}/tensorboard/{run}"),
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    return model


def _without_pairs(inputs, label):
    return {key: inputs[key] for key in ("features", "mask")}, label


def evaluate(model, part, data):
    """Returns the figures of one run, and the model's outputs."""
    outputs = model.predict(part.dataset, verbose=0)
    if not isinstance(outputs, dict):
        outputs = {"logits": outputs}
    row = _scores(part.labels, outputs["logits"], data.scored)
    if part.paired is not None and part.paired.any():
        scores = _scores(
            part.labels[part.paired],
            outputs["logits"][part.paired],
            data.scored,
        )
        row |= {f"{name} (paired)": value for name, value in scores.items()}
    if part.voxels is not None and "context_map" in outputs:
        row["localization AUC"] = metrics.localization_auc(
            part.voxels, 1.0 - outputs["context_map"]
        )
    return {name: float(value) for name, value in row.items()}, outputs


def _scores(labels, logits, scored):
    member = labels[:, None] == np.arange(len(scored))
    probabilities = keras.activations.softmax(ops.convert_to_tensor(logits))
    probabilities = ops.convert_to_numpy(probabilities)
    return {
        "accuracy": np.mean(np.argmax(logits, axis=-1) == labels),
        "mAP": metrics.mean_average_precision(
            member[:, scored], probabilities[:, scored]
        ),
        "mAcc": metrics.mean_class_accuracy(labels, logits),
    }


def save(model, outputs, data):
    """Writes the model in both forms, and the figure."""
    output = Path(FLAGS.output)
    model.save(output / "actx.keras")
    export.export_saved_model(model, output / "saved_model")
    labels = data.test.labels
    order = np.argsort(labels, kind="stable")
    chosen = order[:: max(1, len(order) // 4)][:4]
    answers = np.argmax(outputs["logits"], axis=-1)
    lengths = np.concatenate(
        [np.sum(inputs["mask"], axis=1) for inputs, _ in data.test.dataset]
    )
    try:
        videos = data.show(chosen)
    except VideoError as error:
        print(f"no figure is drawn: {error}")
        return
    visualization.attention_figure(
        videos,
        [outputs["action_map"][i][: lengths[i]] for i in chosen],
        [outputs["context_map"][i][: lengths[i]] for i in chosen],
        [
            f"{data.class_names[labels[i]]}, "
            f"recognized as {data.class_names[answers[i]]}"
            for i in chosen
        ],
    ).savefig(output / "attention.png", bbox_inches="tight")


def print_table(rows):
    columns = [
        key
        for key in dict.fromkeys(key for row in rows for key in row)
        if key not in ("method", "seed")
    ]
    table = [["", *columns]]
    for method in dict.fromkeys(row["method"] for row in rows):
        line = [method]
        for column in columns:
            values = [
                row[column]
                for row in rows
                if row["method"] == method and column in row
            ]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            line.append(
                f"{statistics.mean(values):.3f} ± {spread:.3f}"
                if values
                else ""
            )
        table.append(line)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        cells = zip(line, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if bool(FLAGS.features) != bool(FLAGS.index):
        sys.exit("error: --features and --index are given together or not")
    try:
        build_actx(num_classes=2)  # wrong flags are told before any work
        data = stored_data() if FLAGS.features else built_in_data()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    rows = []
    for seed in range(FLAGS.seeds):
        for method in ("average pooling", "max pooling", "ActX"):
            model = train(method, data, seed)
            row, outputs = evaluate(model, data.test, data)
            rows.append({"method": method, "seed": seed, **row})
            # After each run, so that an interruption loses none.
            _write_rows(rows, Path(FLAGS.output) / "results.csv")
            if method == "ActX" and seed == 0:
                save(model, outputs, data)
    print_table(rows)
    print(
        f"\nwritten to {FLAGS.output}: results.csv, actx.keras, "
        "saved_model/, attention.png, history/, tensorboard/"
    )


def _write_rows(rows, path):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: results.csv holds the runs that had finished")
