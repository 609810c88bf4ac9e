"""A feature store and its index as the data of a run."""

import functools
import logging
from collections.abc import Collection

import numpy as np
import tensorflow as tf

from actx_tf.backbones.backbone import Backbone
from actx_tf.data.clip_index import SPLITS
from actx_tf.data.clip_index import class_names_of
from actx_tf.data.clip_index import read_clip_index
from actx_tf.data.feature_store import FeatureStore
from actx_tf.data.pairs import make_evaluation_dataset
from actx_tf.data.pairs import make_pair_dataset
from actx_tf.data.similarities import store_name
from actx_tf.data.video import read_clip
from actx_tf.experiments.run_data import Part
from actx_tf.experiments.run_data import RunData
from actx_tf.experiments.run_data import Task
from actx_tf.experiments.run_data import labels_of
from actx_tf.models import load_model
from actx_tf.settings import DataSettings

_LOG = logging.getLogger(__name__)
# Axes of size 1 of the stores of aligned inputs, which methods do without.
_NO_AXES = {"pose_mask": -1, "boxes": 2}


def stored_data(
    settings: DataSettings,
    other_features: Collection[str] = (),
    gamma: float = 20.0,
) -> RunData:
    """Reads a feature store and its index, split as the index says.

    Clips that a store lacks, of features, masks, boxes or other features, are
    left out. All that is read in training is read once beforehand, and must be
    finite: training would report a NaN after the first epoch, and name no clip.

    Args:
        settings: Of a store: `features` is given.
        other_features: Paths of further feature stores that must have a clip
            too, those of another stream say. Defaults to none.
        gamma: What `similarities` must have been computed with. Defaults to
            `20`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is wrong, or they do not fit together.
    """
    if settings.features is None or settings.index is None:
        raise ValueError(
            "`settings` must be of a feature store. "
            f"Received: features={settings.features}, index={settings.index}"
        )
    store = FeatureStore(settings.features)
    if store.channels is None:
        raise ValueError(f"{store.path}: the store is empty")
    backbone = _load_backbone(settings.backbone, store)
    similarities = _open_similarities(settings.similarities, store, gamma)
    paths = {"pose_mask": settings.pose_masks, "boxes": settings.boxes}
    aligned_inputs = {
        key: FeatureStore(path) for key, path in paths.items() if path
    }
    stores = [store, *aligned_inputs.values()]
    stores += [FeatureStore(path) for path in other_features]
    index = read_clip_index(settings.index, settings.conjugates_column)
    clips = [c for c in index if all(c.clip in held for held in stores)]
    if missing := len(index) - len(clips):
        _LOG.warning(
            "%s: %d of %d clips are left out: a store lacks their features",
            settings.index,
            missing,
            len(index),
        )
    _check_features(clips, store, aligned_inputs.values(), similarities)
    splits = {
        split: [clip for clip in clips if clip.split == split]
        for split in SPLITS
    }
    # HACS has no public test clips.
    tested = splits["test"] or splits["validation"]
    if not splits["train"] or not tested:
        raise ValueError(
            f"{settings.index}: clips of the splits 'train' and 'test' are "
            f"expected. Received: {sorted({clip.split for clip in clips})}"
        )
    if not any(
        name in store or similarities is not None
        for clip in splits["train"]
        for name in clip.conjugates
    ):
        _LOG.warning(
            "no training clip of %s has a conjugate: L_s and L_d are not "
            "trained. Find conjugates with `actx mine`",
            settings.index,
        )
    _warn_of_background(clips, settings.background)
    names = class_names_of(clips, settings.multi_label)
    shared = {
        "multi_label": settings.multi_label,
        "aligned_inputs": aligned_inputs,
    }

    def make_training(seed, pairs=True, conjugates=False, **which):
        return make_pair_dataset(
            store,
            splits["train"],
            names,
            settings.crop_steps,
            settings.batch_size,
            # Without a reader of pairs, conjugates are not read either.
            background=settings.background if pairs else names,
            seed=seed,
            similarities=similarities,
            read_conjugates=conjugates,
            names=True,
            **which,
            **shared,
        ).map(_without_axes)

    def whole(chosen, **which):
        return make_evaluation_dataset(
            store, chosen, names, settings.batch_size, **which, **shared
        ).map(_without_axes)

    def part(chosen):
        return Part(
            chosen,
            functools.partial(whole, chosen),
            labels_of(chosen, names, settings.multi_label),
            read_videos=functools.partial(_read_videos, chosen),
            paired=np.array([bool(clip.conjugates) for clip in chosen]),
        )

    return RunData(
        settings=settings,
        task=Task(
            tuple(names),
            store.channels,
            activation="sigmoid" if settings.multi_label else "softmax",
            description=store.description,
            background=settings.background,
            crop_steps=settings.crop_steps,
        ),
        inputs=frozenset(make_training(0).element_spec[0]),
        training=splits["train"],
        make_training=make_training,
        whole_training=whole(splits["train"]),
        validation=part(splits["validation"]) if splits["validation"] else None,
        test=part(tested),
        backbone=backbone,
        index=index,
    )


def _warn_of_background(clips, background):
    """Warns of classes that are only ever conjugates, and not said to be so."""
    conjugates = {name for clip in clips for name in clip.conjugates}
    acting = {x for clip in clips if clip.conjugates for x in clip.labels}
    shown = {
        x
        for clip in clips
        if clip.clip in conjugates and clip.split in SPLITS
        for x in clip.labels
    }
    if undeclared := sorted(shown - acting - set(background)):
        _LOG.warning(
            "%s: its clips are conjugates of others. If it shows no action, "
            "name it by `background`: or it counts for mean average precision",
            ", ".join(undeclared),
        )


def _load_backbone(path, store):
    if path is None:
        return None
    backbone = load_model(path)
    if not isinstance(backbone, Backbone):
        raise ValueError(
            f"{path}: a backbone that says what it sees is expected, as "
            "actx_tf.backbones.make_backbone makes it. "
            f"Received: {type(backbone).__name__}"
        )
    if store.description is None:
        raise ValueError(
            "`backbone` must be what made the features, and "
            f"{store.path} does not say what did. Received: backbone={path}"
        )
    if differences := store.description.differences(backbone.description):
        raise ValueError(
            f"`backbone` must be what made the features of {store.path}. "
            f"Received: {path}, with {', '.join(differences)}"
        )
    return backbone


def _open_similarities(path, store, gamma):
    if path is None:
        return None
    similarities = FeatureStore(path)
    expected = store_name(store, gamma)
    if similarities.made_by != expected:
        raise ValueError(
            f"{path}: must be {expected}. Received: {similarities.made_by}"
        )
    return similarities


def _check_features(clips, store, aligned_inputs, similarities):
    names = [clip.clip for clip in clips]
    for aligned in aligned_inputs:
        aligned.check(names)
    if similarities is None:
        conjugates = {name for clip in clips for name in clip.conjugates}
        names = {*names, *filter(store.__contains__, conjugates)}
    else:  # are read in the place of the conjugates
        similarities.check()
    store.check(sorted(names))


def _without_axes(inputs, label):
    return {
        key: tf.squeeze(array, _NO_AXES[key]) if key in _NO_AXES else array
        for key, array in inputs.items()
    }, label


def _read_videos(clips, places):
    return [
        read_clip(clip.file, **clip.part)[0]
        for clip in map(clips.__getitem__, places)
    ]
