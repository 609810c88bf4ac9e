r"""Compares every method of the paper's tables on the same feature maps.

On the built-in data set:

    python examples/compare_methods.py --output=runs/comparison

On a feature store made by examples/extract_features.py, with the masks and
boxes of examples/extract_pose_masks.py and a second store of the flow stream:

    python examples/compare_methods.py --features=rgb --index=index.csv \
        --pose_masks=masks --boxes=boxes --flow_features=flow

Prints a table for each stream, and for their late fusion: mean and standard
deviation over the seeds. Beside it stand the paper's mean average precisions
(Tables 1 to 3, RGB, or RGB + flow under the fusion), on other data and for
orientation only. "weights" are those on top of the feature maps, the
classifier's among them. Writes to `--output`: `settings.json`, `results.csv` (a
row a run), `scores/` (the test clips' class probabilities, a file a run),
`tensorboard/` and `history/` (a log a run).

Run the same command again to go on after an interruption, with the run and the
epoch where it stopped. Other flags need another `--output`.
"""

import dataclasses
import functools
import sys
from pathlib import Path

import experiment
import keras
import methods
import numpy as np
import run_folder
from absl import app
from absl import flags
from keras import layers

from actx_tf.layers import EigenEvolutionPooling
from actx_tf.utils.atomic_write import atomic_write

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/comparison", "folder for what is written")
flags.DEFINE_string("pose_masks", None, "store of masks, for PoseMask")
flags.DEFINE_string("boxes", None, "store of boxes, for k-Region")
flags.DEFINE_string("flow_features", None, "feature store of the flow stream")
flags.DEFINE_float("flow_weight", 1.0, "of the flow's scores; 1 for RGB's")
flags.DEFINE_enum(
    "part",
    "test",
    ("validation", "test"),
    "clips to evaluate on: settings are chosen on those of validation",
)
flags.DEFINE_list("methods", [], "methods to run; none: all that can be run")

EEP = {"EEP + average": "average pooling", "EEP + ActX": "ActX"}

# Tables 1 to 3: mean average precision on ActionThread, Hollywood2, HACS-30.
PAPER = {
    "RGB": {
        "average pooling": ("46.7", "55.3", "57.8"),
        "PoseMask": ("46.0", "49.4", ""),
        "k-Region": ("50.1", "55.6", ""),
        "Attentional": ("53.0", "61.3", "58.6"),
        "ACF": ("52.9", "61.3", "58.3"),
        "ActX w/o S_att": ("51.2", "", ""),
        "ActX": ("55.4", "62.5", "59.1"),
        "EEP + average": ("", "73.5", ""),
        "EEP + ActX": ("", "76.0", ""),
    },
    "RGB + flow": {
        "average pooling": ("55.9", "62.8", ""),
        "PoseMask": ("53.2", "60.0", ""),
        "k-Region": ("57.6", "64.6", ""),
        "Attentional": ("61.8", "69.8", ""),
        "ACF": ("60.4", "71.2", ""),
        "ActX w/o S_att": ("58.8", "", ""),
        "ActX": ("63.1", "73.2", ""),
        "EEP + average": ("", "81.0", ""),
        "EEP + ActX": ("", "82.0", ""),
    },
}
PAPER_COLUMNS = ("ActionThread*", "Hollywood2*", "HACS-30*")


def train_eep(model, data, seed, run):
    """Eigen evolution pooling behind a trained model, and a new classifier.

    The model itself stays as it is: its steps of whole clips are computed
    once.

    Returns:
        The test clips' class probabilities, the number of weights, and the
        seconds of a step of the classifier.
    """
    steps = methods.steps_model(model, data.channels)

    def load(dataset):
        batches = list(experiment.pick(dataset, methods.CLIP))
        features = [steps.predict_on_batch(inputs) for inputs, _ in batches]
        masks = [np.any(inputs["mask"], axis=(2, 3)) for inputs, _ in batches]
        labels = [label.numpy() for _, label in batches]
        return (np.concatenate(part) for part in (features, masks, labels))

    keras.utils.set_random_seed(seed)
    features, masks, labels = load(data.whole_training)
    eep = EigenEvolutionPooling(FLAGS.components)
    eep.adapt([(features, masks)])
    classifier = keras.Sequential(
        [layers.Dense(len(data.class_names), dtype="float32")]
    )
    experiment.compile_model(classifier)
    pooled = keras.ops.convert_to_numpy(eep(features, mask=masks))
    training = functools.partial(
        experiment.batches_of(pooled, labels), shuffle=True, seed=seed
    )
    seconds = experiment.fit(classifier, training, None, FLAGS.output, run)

    features, masks, _ = load(data.test.dataset)
    logits = classifier(eep(features, mask=masks))
    num_weights = steps.count_params() + classifier.count_params()
    return experiment.scores(logits), num_weights, seconds


def compare(data, stream, seed, finished):
    """Yields (method, figures, test clips' probabilities) of each run.

    Those of the methods that are `finished` are left out.
    """
    for name, method in methods.METHODS.items():
        compressed = [eep for eep, base in EEP.items() if base == name]
        chosen = {name, *compressed} & set(FLAGS.methods or [name, *EEP])
        if not set(method.inputs) <= data.inputs:
            continue
        run = f"{stream}-{name}-{seed}"
        chosen -= finished
        if chosen:
            model, seconds = methods.train(
                name, data, seed, FLAGS.output, run, resumable=True
            )
        if name in chosen:
            probabilities, row, _ = methods.evaluate(name, model, data.test)
            row["weights"] = model.count_params()
            row["seconds a step"] = seconds
            yield name, row, probabilities
        for eep in compressed:
            if eep not in chosen:
                continue
            probabilities, num_weights, more_seconds = train_eep(
                model, data, seed, f"{stream}-{eep}-{seed}"
            )
            row = experiment.figures(data.test, probabilities)
            row["weights"] = num_weights
            row["seconds a step"] = seconds + more_seconds
            yield eep, row, probabilities
        checkpoint = run_folder.checkpoint_path(FLAGS.output, run)
        checkpoint.unlink(missing_ok=True)


def print_tables(rows):
    for stream in dict.fromkeys(row["stream"] for row in rows):
        of_stream = [row for row in rows if row["stream"] == stream]
        columns = [
            column
            for column in dict.fromkeys(key for row in rows for key in row)
            if column not in ("method", "seed", "stream", "weights")
            and any(column in row for row in of_stream)
        ]
        table = experiment.summarize(of_stream, columns)
        weights = {row["method"]: row.get("weights") for row in of_stream}
        paper = PAPER["RGB + flow" if stream == "RGB + flow" else "RGB"]
        table[0] += ["weights", *PAPER_COLUMNS]
        for line in table[1:]:
            count = weights[line[0]]
            line += ["" if count is None else f"{count:,}"]
            line += paper.get(line[0], ("", "", ""))
        print(f"\n{stream}")
        experiment.print_table(table)
    print("\n* the paper's mean average precision in percent, on other data")


def load_streams():
    """The data of each stream; the built-in set has one."""
    paths = {"RGB": FLAGS.features}
    if FLAGS.flow_features:
        paths["flow"] = FLAGS.flow_features
    companions = {"pose_mask": FLAGS.pose_masks, "boxes": FLAGS.boxes}
    companions = {key: path for key, path in companions.items() if path}
    streams = {}
    for stream, path in paths.items():
        if path:
            data = experiment.stored_data(path, companions, paths.values())
        else:
            data = experiment.built_in_data()
        if FLAGS.part == "validation":
            if data.validation is None:
                raise ValueError(f"{FLAGS.index} has no clips of validation")
            data = dataclasses.replace(data, test=data.validation)
        streams[stream] = data
    return streams


def scores_path(stream, name, seed):
    run = run_folder.file_name(f"{stream}-{name}-{seed}")
    return Path(FLAGS.output) / "scores" / f"{run}.npy"


def write_scores(probabilities, *run):
    path = scores_path(*run)
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as draft, open(draft, "wb") as file:
        np.save(file, probabilities)


def read_scores(*run):
    return np.load(scores_path(*run))


def fuse(probabilities):
    """Late fusion: the mean of the streams' scores, the flow's weighted."""
    rgb, flow = probabilities
    return (rgb + FLAGS.flow_weight * flow) / (1.0 + FLAGS.flow_weight)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    known = {*methods.METHODS, *EEP}
    if unknown := set(FLAGS.methods) - known:
        sys.exit(f"error: --methods: {sorted(unknown)} not in {sorted(known)}")
    if bool(FLAGS.features) != bool(FLAGS.index):
        sys.exit("error: --features and --index are given together or not")
    if FLAGS.flow_features and not FLAGS.features:
        sys.exit("error: --flow_features goes with --features, of RGB")
    try:
        for method in methods.METHODS.values():
            method.build(4, 2)  # wrong flags are told before any work
        streams = load_streams()
        run_folder.keep_settings(FLAGS.output)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")

    results = Path(FLAGS.output) / "results.csv"
    rows = run_folder.read_rows(results)

    def finished(stream, seed):
        of_run = (stream, seed)
        return [r["method"] for r in rows if (r["stream"], r["seed"]) == of_run]

    def add(stream, seed, name, row):
        head = {"stream": stream, "method": name, "seed": seed}
        rows.append({**head, **row})
        run_folder.write_rows(rows, results)

    for seed in range(FLAGS.seeds):
        for stream, data in streams.items():
            done = set(finished(stream, seed))
            for name, row, scores in compare(data, stream, seed, done):
                write_scores(scores, stream, name, seed)
                add(stream, seed, name, row)
        if len(streams) > 1:
            done = finished("RGB + flow", seed)
            for name in finished("RGB", seed):
                if name not in done:
                    scores = [read_scores(s, name, seed) for s in streams]
                    row = experiment.figures(data.test, fuse(scores))
                    add("RGB + flow", seed, name, row)
    print_tables(rows)
    print(
        f"\nwritten to {FLAGS.output}: results.csv, scores/, history/, "
        "tensorboard/"
    )


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
