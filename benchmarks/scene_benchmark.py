"""SCUBA, SCUFO and contrasted accuracy on J-HMDB: a table of docs/scene.md.

    python -m benchmarks.scene_benchmark --evidence=runs/evidence/jhmdb \\
        --masks=jhmdb/masks.npz --output=runs/scene_benchmark

--evidence is the folder that benchmarks/evidence.py wrote of J-HMDB: its folds
by source, its features of I3D, and its frozen conjugates with their
similarities. Nothing is written there. Every method is trained on the natural
clips of four folds; the actors of the fifth are shown in scenes of that fold,
which nobody was trained on: emptied clips of other classes and sources.

Of each class --clips_per_class clips are tested, of as many sources as there
are; figures are of these clips alone. Average pooling and its mixings are given
the mean of each step of the features, which comes to the same. The same command
goes on after an interruption.
"""

import argparse
import collections
import dataclasses
import functools
import itertools
import pathlib

import numpy as np
from keras import ops

from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.experiments import DataSettings
from actx_tf.experiments import TrainingSettings
from actx_tf.experiments import benchmark_report
from actx_tf.experiments import format_table
from actx_tf.experiments import load_data
from actx_tf.experiments import train_method
from actx_tf.experiments.benchmark_report import benchmark_table
from actx_tf.experiments.evaluation import class_scores
from actx_tf.models import load_model
from actx_tf.utils.atomic_write import atomic_write
from benchmarks.commands import run_actx

FOLDS = 5
KIND = "conjugates"
ACTX = "ActX"
# What its context switch is when it answers.
SWITCHED = f'{ACTX}, context="mean"'
MIXINGS = ("average pooling + BE", "average pooling + StillMix")
METHODS = ("average pooling", *MIXINGS, ACTX)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--evidence", type=pathlib.Path, required=True)
    parser.add_argument("--masks", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--clips_per_class", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument(
        "--folds", type=int, nargs="*", default=list(range(FOLDS))
    )
    flags = parser.parse_args()
    flags.output.mkdir(parents=True, exist_ok=True)
    for fold in flags.folds:
        make_tests(flags, fold)
        for method in METHODS:
            train(flags, method, fold)
    print(tables(flags))


def make_tests(flags, fold):
    """Writes the tests of a fold, and their features."""
    clips = read_clip_index(flags.evidence / "emptied.csv")
    tested = tested_clips(flags, fold) & choose(clips, flags.clips_per_class)
    index = flags.output / f"chosen-{fold}.csv"
    tests = flags.output / f"tests-{fold}"
    write_clip_index(
        index,
        [
            dataclasses.replace(clip, split="test")
            if clip.clip in tested
            else clip
            for clip in clips
        ],
    )
    if not (tests / "index.csv").exists():
        run_actx(
            "scene-benchmark",
            f"--index={index}",
            f"--masks={flags.masks}",
            f"--output={tests}",
        )
    run_actx(
        "extract",
        f"--index={tests / f'scuba_{KIND}.csv'}",
        f"--output={flags.output / 'features'}",
        "--backbone=inception_i3d",
    )


def tested_clips(flags, fold):
    """Names of the clips of a fold."""
    clips = read_clip_index(fold_index(flags, fold))
    return {clip.clip for clip in clips if clip.split == "test"}


def fold_index(flags, fold):
    return flags.evidence / "folds" / f"own-{fold}.csv"


def choose(clips, clips_per_class):
    """Names of clips, of each class those of many sources first."""
    by_source = functools.partial(collections.defaultdict, list)
    classes = collections.defaultdict(by_source)
    for clip in clips:
        if clip.split != "conjugate":
            classes[clip.label][clip.source].append(clip.clip)
    chosen = set()
    for sources in classes.values():
        in_turn = itertools.chain.from_iterable(
            itertools.zip_longest(*sources.values())
        )
        names = [name for name in in_turn if name]
        chosen.update(names[:clips_per_class])
    return chosen


def train(flags, method, fold):
    """Trains a method on the other folds' natural clips, unless it is."""
    path = model_path(flags, method, fold)
    if path.exists():
        return
    features, similarities = flags.evidence / "features", None
    if method == ACTX:
        similarities = str(flags.evidence / "similarities-own")
    else:
        features = flags.output / "steps"
        store_steps(flags)
    data = load_data(
        DataSettings(
            features=str(features),
            index=str(fold_index(flags, fold)),
            similarities=similarities,
            batch_size=16,
        )
    )
    model, _ = train_method(
        method,
        data,
        TrainingSettings(epochs=flags.epochs, deterministic=False),
        seed=0,
        output=flags.output / "logs",
        run=f"{method}-{fold}",
    )
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as draft:
        model.save(draft)


def model_path(flags, method, fold):
    return flags.output / "models" / f"{method}-{fold}.keras"


def store_steps(flags):
    """Stores the mean of each step of the natural clips' features."""
    with FeatureStore(flags.evidence / "features") as store:
        names = [
            clip.clip
            for clip in read_clip_index(fold_index(flags, 0))
            if clip.split != "conjugate"
        ]
        with FeatureStoreWriter(
            flags.output / "steps", f"steps of {store.description.name}"
        ) as writer:
            for name in names:
                if name not in writer:
                    values = step_means(store[name])
                    writer.add(name, values, "", "", 25.0, len(values))


def step_means(features):
    return features.astype("float32").mean(axis=(1, 2), keepdims=True)


def tables(flags):
    """The table of all methods, over the folds that are done."""
    names = sorted(
        {
            clip.label
            for clip in read_clip_index(fold_index(flags, 0))
            if clip.split != "conjugate"
        }
    )
    tests = [
        clip
        for fold in flags.folds
        for clip in read_clip_index(
            flags.output / f"tests-{fold}" / "index.csv"
        )
        if clip.extra["test"] != "swap"
    ]
    index = flags.output / "tests.csv"
    write_clip_index(index, tests)
    lines = []
    for method in (*METHODS, SWITCHED):
        scores = {}
        for fold in flags.folds:
            scores |= answers(flags, method, fold)
        report = benchmark_report(
            index,
            scores={
                clip: dict(zip(names, map(float, values), strict=True))
                for clip, values in scores.items()
            },
        )
        (header, line) = benchmark_table(report)
        lines += [["", *header[1:]]] * (not lines) + [[method, *line[1:]]]
    return format_table(lines)


def answers(flags, method, fold):
    """Name of each test of a fold -> scores of the classes."""
    own = method.partition(",")[0]
    model = load_model(model_path(flags, own, fold))
    if method == SWITCHED:
        model.context = "mean"
    tests = read_clip_index(flags.output / f"tests-{fold}" / "index.csv")
    scores = {}
    with (
        FeatureStore(flags.evidence / "features") as natural,
        FeatureStore(flags.output / "features") as made,
    ):
        for clip in tests:
            store = natural if clip.extra["test"] == "iid" else made
            if clip.clip in store:
                values = store[clip.clip].astype("float32")
                if own != ACTX:
                    values = step_means(values)
                scores[clip.clip] = score(model, values, own == ACTX)
    return scores


def score(model, features, is_actx):
    features = ops.convert_to_tensor(features[np.newaxis])
    if is_actx:
        logits = model(features)["logits"]
    else:
        mask = ops.ones(features.shape[:-1], "bool")
        logits = model({"features": features, "mask": mask})
    return class_scores(logits, "softmax")[0]


if __name__ == "__main__":
    main()
