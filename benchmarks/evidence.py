"""When ActX helps, and when it does not: the tables of docs/evidence.md.

    python -m benchmarks.evidence --sc_fight=fight/index.csv \\
        --ut_interaction=ut/index.csv --jhmdb=jhmdb/index.csv \\
        --jhmdb_masks=jhmdb/masks.npz --composite=composite \\
        --output=runs/evidence --report=docs/evidence.md

Clip indexes of three data sets, and what benchmarks/biased_composite.py wrote;
what is not given is left out. Features are those of I3D on Kinetics-400, at 25
frames a second and 256 pixels (the composite: as it is). Every method is
trained from --seeds seeds on each of five folds, made by source: no video that
clips were cut from is in two of them. The composite has training and test parts
of its own.

The same command goes on after an interruption, with the run where it stopped.
Without a set it writes the tables of what is there.
"""

import argparse
import collections
import dataclasses
import pathlib

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from actx_tf.data import FeatureStore
from actx_tf.data import FeatureStoreWriter
from actx_tf.data import Masks
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.data.tubes import masks_to_voxels
from actx_tf.experiments.evaluation import evaluate
from actx_tf.experiments.loading import load_data
from actx_tf.experiments.localization_figures import center_map
from actx_tf.experiments.method_training import train_method
from actx_tf.experiments.methods import METHODS
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.utils.atomic_write import atomic_write
from benchmarks.commands import run_actx
from benchmarks.evidence_tables import group_of
from benchmarks.evidence_tables import write_tables

FOLDS = 5
FRAMES_PER_STEP = 8  # of I3D
# What the paper's own setting changes in the defaults, which were chosen on
# validation parts: see docs/evidence.md.
PAPER = {
    "transformation": "convolution",
    "beta": 1.0,
    "difference_weight": 1.0,
    "conjugate_weight": 0.0,
}
NO_PAIRS = {
    "similarity_weight": 0.0,
    "difference_weight": 0.0,
    "conjugate_weight": 0.0,
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A row of the tables: a method, its settings, and whose conjugates."""

    method: str
    settings: dict = dataclasses.field(default_factory=dict)
    way: str = "own"  # the conjugates that a set comes with
    context: str = "keep"  # of an ActX, once it is trained
    most_seeds: int = 5


RUNS = {
    **{
        f"{pooling} pooling, {rate:g}": Run(
            f"{pooling} pooling", {"learning_rate": rate}
        )
        for pooling in ("average", "max")
        for rate in (1e-3, 3e-3, 1e-2)
    },
    "ActX": Run("ActX"),
    "ActX without L_n": Run("ActX", {"conjugate_weight": 0.0}, most_seeds=3),
    "ActX without pair losses": Run("ActX", NO_PAIRS, most_seeds=3),
    "ActX without S_att": Run("ActX w/o S_att", most_seeds=3),
    "ActX, mean of F_c": Run("ActX", context="mean", most_seeds=3),
    "ActX, frozen conjugates": Run("ActX", way="frozen", most_seeds=3),
    "ActX, emptied conjugates": Run("ActX", way="emptied", most_seeds=3),
    "ActX as in the paper": Run("ActX", PAPER, most_seeds=1),
}


@dataclasses.dataclass(frozen=True)
class Set:
    """A data set without parts of its own."""

    name: str
    index: pathlib.Path
    seeds: int
    column: str = "conjugates"
    background: tuple[str, ...] = ()
    masks: pathlib.Path | None = None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("sc_fight", "ut_interaction", "jhmdb", "jhmdb_masks"):
        parser.add_argument(f"--{name}", type=pathlib.Path)
    parser.add_argument("--composite", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--runs", nargs="*", choices=RUNS, default=list(RUNS))
    flags = parser.parse_args()
    for each in _sets(flags):
        _run_folds(each, flags)
    if flags.composite:
        _run_composite(flags)
    if flags.report:
        write_tables(flags.output, flags.report)


def _sets(flags):
    if flags.sc_fight:
        yield Set(
            "sc_fight",
            flags.sc_fight,
            flags.seeds + 2,
            "same_scene_opposite",
            ("nofight",),
        )
    if flags.ut_interaction:
        yield Set(
            "ut_interaction",
            flags.ut_interaction,
            flags.seeds,
            background=("none",),
        )
    if flags.jhmdb:
        yield Set(
            "jhmdb",
            flags.jhmdb,
            flags.seeds,
            masks=flags.jhmdb_masks,
        )


def _run_folds(data_set, flags):
    folder = flags.output / data_set.name
    folder.mkdir(parents=True, exist_ok=True)
    indexes = _find_conjugates(data_set, folder)
    for index in indexes.values():
        _extract(index, folder / "features")
    similarities = {
        way: _store_similarities(index, way, data_set.background, folder)
        for way, index in indexes.items()
    }
    pooled = _pool(folder / "features", indexes["own"], folder)
    voxels = None
    if data_set.masks:
        voxels = _voxels(data_set.masks, folder / "features", indexes["own"])
    for fold, tested in enumerate(_folds(data_set)):
        settings = {
            way: _fold_settings(
                indexes[way],
                tested,
                folder / "folds" / f"{way}-{fold}.csv",
                background=data_set.background,
                batch_size=flags.batch_size,
                features=str(folder / "features"),
                similarities=similarities[way],
            )
            for way in indexes
        }
        for name in flags.runs:
            if RUNS[name].way not in settings:
                continue
            _train_and_score(
                name,
                settings[RUNS[name].way],
                folder,
                flags,
                data_set.seeds,
                str(fold),
                pooled,
                voxels,
            )


def _folds(data_set):
    """Names of the clips of each fold's test part."""
    clips = read_clip_index(data_set.index, data_set.column)
    groups = [group_of(clip, data_set.name) for clip in clips]
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    labels = [clip.label for clip in clips]
    for _, tested in folds.split(labels, labels, groups):
        yield {clips[i].clip for i in tested}


def _find_conjugates(data_set, folder):
    """Indexes of the set with each kind of conjugates, all clips to train."""
    clips = read_clip_index(data_set.index, data_set.column)
    own = folder / "own.csv"
    if not own.exists():
        write_clip_index(
            own, [dataclasses.replace(clip, split="train") for clip in clips]
        )
    indexes = {"own": own}
    for way in ("frozen", "emptied"):
        indexes[way] = folder / f"{way}.csv"
        masks = data_set.masks if way == "emptied" else None
        if not indexes[way].exists():
            run_actx(
                "mine",
                f"--way={way}",
                f"--index={own}",
                f"--background={','.join(data_set.background) or 'background'}",
                f"--videos={folder / way}",
                *([f"--masks={masks}"] if masks else []),
                f"--output={indexes[way]}",
            )
    if not any(clip.conjugates for clip in clips):
        # There is no footage for others: the frozen ones are its own.
        indexes["own"] = indexes.pop("frozen")
    return indexes


def _extract(index, features, *flags):
    run_actx(
        "extract",
        f"--index={index}",
        f"--output={features}",
        "--backbone=inception_i3d",
        *flags,
    )


def _store_similarities(index, way, background, folder):
    path = folder / f"similarities-{way}"
    run_actx(
        "similarities",
        f"--features={folder / 'features'}",
        f"--index={index}",
        f"--output={path}",
        *([f"--background={','.join(background)}"] if background else []),
    )
    return str(path)


def _fold_settings(index, tested, path, **settings):
    """Writes the index with the fold's clips to test, the others to train."""
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        clips = [
            dataclasses.replace(clip, split="test")
            if clip.clip in tested
            else clip
            for clip in read_clip_index(index)
        ]
        write_clip_index(path, clips)
    return DataSettings(index=str(path), **settings)


def _pool(features, index, folder):
    """Stores of the clips' means and largest values, as maps of one location.

    Average and max pooling of them are those of the clips, in a second.
    """
    stores = {}
    reductions = {"average pooling": np.mean, "max pooling": np.max}
    with FeatureStore(features) as store:
        for method, reduce in reductions.items():
            stores[method] = str(folder / method.replace(" ", "_"))
            with FeatureStoreWriter(
                stores[method], f"{method} of {store.description.name}"
            ) as writer:
                for clip in read_clip_index(index):
                    if clip.clip in writer:
                        continue
                    values = store[clip.clip].astype("float32")
                    values = reduce(values, axis=(0, 1, 2), keepdims=True)
                    writer.add(
                        clip.clip, values, clip.label, clip.split, 25.0, 1
                    )
    return stores


def _voxels(masks, features, index):
    """Where the person acts, on the grid of each clip's features."""
    masks, voxels = Masks(masks), {}
    with FeatureStore(features) as store:
        for clip in read_clip_index(index):
            if clip.clip in masks:
                mask, size = masks[clip.clip], store.shape(clip.clip)[:3]
                seen = store.attributes(clip.clip)["frames"]
                steps = np.arange(size[0] + 1) * FRAMES_PER_STEP
                borders = np.minimum(steps, seen) * len(mask) / seen
                voxels[clip.clip] = masks_to_voxels(mask, size, borders)
    return voxels


def _train_and_score(
    name, settings, folder, flags, seeds, part, pooled, voxels
):
    """Trains a run from each seed, unless its scores are there already.

    Writes the test clips' scores to `scores/<run>-<part>-<seed>.npz` and, where
    `voxels` are known, how well its maps find them.
    """
    run, features, data = RUNS[name], settings.features, None
    clips = [
        clip.clip
        for clip in read_clip_index(settings.index)
        if clip.split == "test"
    ]
    if run.method in pooled:
        settings = dataclasses.replace(
            settings, features=pooled[run.method], similarities=None
        )
    for seed in range(min(seeds, run.most_seeds)):
        file = folder / "scores" / f"{name}-{part}-{seed}.npz"
        if file.exists():
            continue
        print(f"{folder.name}: {name}, {part}, seed {seed}", flush=True)
        data = data or load_data(settings)
        model, _ = train_method(
            run.method,
            data,
            TrainingSettings(
                epochs=flags.epochs,
                deterministic=False,
                **run.settings,
            ),
            seed=seed,
            output=folder / "logs",
            run=f"{name}-{part}-{seed}",
        )
        if run.context != "keep":
            model.context = run.context
        scores, _, outputs = evaluate(run.method, model, data.test, data.task)
        found = {"scores": scores, "labels": data.test.labels, "clips": clips}
        if voxels:
            found |= _localize(
                run.method, model, outputs, clips, voxels, features
            )
        file.parent.mkdir(exist_ok=True)
        with atomic_write(file) as draft, open(draft, "wb") as handle:
            np.savez(handle, **found)


def _localize(method, model, outputs, clips, voxels, features):
    """AUC of each map and clip; NaN where the truth is not known."""
    aucs = collections.defaultdict(lambda: np.full(len(clips), np.nan))
    with FeatureStore(features) as store:
        for i, clip in enumerate(clips):
            truth = voxels.get(clip)
            if truth is None or truth.all() or not truth.any():
                continue
            time, height, width = truth.shape
            maps = {"centre": center_map(truth.shape)}
            if "action_map" in outputs:
                at = (i, slice(time), slice(height), slice(width))
                maps["S"] = outputs["action_map"][at]
                maps["1 - C"] = 1.0 - outputs["context_map"][at]
            elif METHODS[method].localize:
                inputs = {
                    "features": store[clip][None].astype("float32"),
                    "mask": np.ones((1, *truth.shape), bool),
                }
                maps["CAM"] = METHODS[method].localize(model, inputs)[0]
            for kind, values in maps.items():
                aucs[kind][i] = roc_auc_score(truth.ravel(), values.ravel())
    return {f"AUC of {kind}": values for kind, values in aucs.items()}


def _run_composite(flags):
    """The composite, its biased part and its scenes without an actor."""
    folder = flags.output / "composite"
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for name in ("index", "biased", "scene_only"):
        index = flags.composite / f"{name}.csv"
        _extract(index, folder / "features", "--frame_rate=30", "--size=224")
        clips += read_clip_index(index)
    index = folder / "all.csv"
    write_clip_index(index, clips)
    settings = DataSettings(
        features=str(folder / "features"),
        index=str(index),
        similarities=_store_similarities(index, "own", (), folder),
        batch_size=flags.batch_size,
    )
    pooled = _pool(folder / "features", index, folder)
    masks = flags.composite / "masks.npz"
    voxels = _voxels(masks, folder / "features", index)
    for name in flags.runs:
        if RUNS[name].way == "own":
            _train_and_score(
                name,
                settings,
                folder,
                flags,
                flags.seeds,
                "test",
                pooled,
                voxels,
            )


if __name__ == "__main__":
    main()
