"""Feature maps as `tf.data` pipelines: pairs to train on, clips to test."""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from actx_tf.data.clip_index import Clip
from actx_tf.data.feature_store import FeatureStore


def make_pair_dataset(
    features: Mapping[str, np.ndarray],
    clips: Sequence[Clip],
    class_names: Sequence[str],
    num_steps: int = 10,
    batch_size: int = 36,
    background: Collection[str] = (),
    shuffle: bool = True,
    seed: int = 0,
) -> tf.data.Dataset:
    """Makes the pairs of clips that a `PairedModel` is trained on.

    In each epoch every clip comes once, with one of its conjugates drawn at
    random; of both a stretch of `num_steps` steps is cut out at random. The
    epochs differ; the same seed gives the same epochs again.

    Args:
        features: Mapping from the name of a clip to its feature map
            `(time, height, width, channels)`: a `FeatureStore`, or a
            dictionary of arrays. Read while the pipeline runs.
        clips: The clips of an epoch.
        class_names: Names of the classes; the label of a class is its place.
        num_steps: Length of a stretch, in steps. Defaults to 10.
        batch_size: Number of pairs in a batch; the last batch of an epoch
            can be smaller. Defaults to 36.
        background: Names of those classes that show no action: their clips
            get no conjugate. Defaults to none.
        shuffle: Whether the order of the clips changes with each epoch.
            Without it the stretches and conjugates are still drawn at
            random. Defaults to `True`.
        seed: Seed of all that is random. Defaults to 0.

    Returns:
        A dataset of `(inputs, label)`, where `label` is `(batch,)`, int32,
        and `inputs` is a dictionary:

        - `features`: `(batch, num_steps, height, width, channels)`, in the
          dtype of the feature maps. Shorter clips end in zeros.
        - `mask`: `(batch, num_steps)`, boolean, True where a step is real.
        - `conjugate`, `conjugate_mask`: the same of the conjugate.
        - `has_conjugate`: `(batch,)`, boolean. Where it is False (background
          clips, and those without a conjugate in `features`), the conjugate
          is zero and its mask False.

    Raises:
        ValueError: If a clip has no features, its label is unknown, or the
            feature maps do not fit together.
    """
    _check_positive("num_steps", num_steps)
    labels = _labels(clips, class_names, batch_size)
    if isinstance(background, str):
        background = (background,)
    if unknown := set(background) - set(class_names):
        raise ValueError(
            f"`background` must be among `class_names`. "
            f"Received: background={background}, unknown={sorted(unknown)}"
        )
    conjugates = [
        []
        if clip.label in background
        else [name for name in clip.conjugates if name in features]
        for clip in clips
    ]
    names = [clip.clip for clip in clips]
    shapes, dtype = _shapes(features, names + sum(conjugates, []))
    step_shape = shapes[names[0]][1:]

    def crop(name, random):
        time = shapes[name][0]
        start = random.integers(max(time - num_steps, 0) + 1)
        stop = min(start + num_steps, time)
        return _pad(_read(features, name, start, stop), num_steps)

    def load(index, seed):
        random = np.random.default_rng(seed)
        action = crop(names[index], random)
        if conjugates[index]:
            conjugate = crop(random.choice(conjugates[index]), random)
        else:
            conjugate = _pad(np.zeros((0, *step_shape), dtype), num_steps)
        return *action, *conjugate

    def to_example(index, seed):
        arrays = tf.numpy_function(
            load, (index, seed), (dtype, tf.bool, dtype, tf.bool)
        )
        keys = ("features", "mask", "conjugate", "conjugate_mask")
        inputs = dict(zip(keys, arrays, strict=True))
        for key, array in inputs.items():
            is_mask = key.endswith("mask")
            array.set_shape((num_steps,) if is_mask else map_shape)
        inputs["has_conjugate"] = tf.reduce_any(inputs["conjugate_mask"])
        return inputs, tf.gather(labels, index)

    map_shape = (num_steps, *step_shape)
    indices = tf.data.Dataset.range(len(clips))
    if shuffle:
        indices = indices.shuffle(len(clips), seed=seed)
    # One random number a clip: drawn here, in order, it does not depend on
    # which of the parallel readers is first.
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return _run(tf.data.Dataset.zip(indices, seeds), to_example, batch_size)


def make_evaluation_dataset(
    features: Mapping[str, np.ndarray],
    clips: Sequence[Clip],
    class_names: Sequence[str],
    batch_size: int = 36,
) -> tf.data.Dataset:
    """Makes batches of whole clips, in order.

    Every clip is padded to the longest of `clips`, so that the results of
    `model.predict` can be put together.

    Args:
        features: Mapping from the name of a clip to its feature map
            `(time, height, width, channels)`: a `FeatureStore`, or a
            dictionary of arrays. Read while the pipeline runs.
        clips: The clips.
        class_names: Names of the classes; the label of a class is its place.
        batch_size: Number of clips in a batch; the last batch can be
            smaller. Defaults to 36.

    Returns:
        A dataset of `(inputs, label)`, where `label` is `(batch,)`, int32,
        and `inputs` is a dictionary of `features` `(batch, time, height,
        width, channels)`, in the dtype of the feature maps, and `mask`
        `(batch, time)`, boolean, True where a step is real.

    Raises:
        ValueError: If a clip has no features, its label is unknown, or the
            feature maps do not fit together.
    """
    labels = _labels(clips, class_names, batch_size)
    names = [clip.clip for clip in clips]
    shapes, dtype = _shapes(features, names)
    longest = max(shape[0] for shape in shapes.values())

    def load(index):
        return _pad(_read(features, names[index]), longest)

    def to_example(index):
        array, mask = tf.numpy_function(load, (index,), (dtype, tf.bool))
        array.set_shape((longest, *shapes[names[0]][1:]))
        mask.set_shape((longest,))
        return {"features": array, "mask": mask}, tf.gather(labels, index)

    return _run(tf.data.Dataset.range(len(clips)), to_example, batch_size)


def _run(dataset, to_example, batch_size):
    dataset = dataset.map(
        to_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _read(features, name, start=0, stop=None):
    if isinstance(features, FeatureStore):
        return features.read(name, start, stop)
    return features[name][start:stop]


def _pad(array, num_steps):
    """Returns the feature map, padded with zeros, and its mask."""
    missing = num_steps - len(array)
    padding = ((0, missing),) + ((0, 0),) * (array.ndim - 1)
    return np.pad(array, padding), np.arange(num_steps) < len(array)


def _labels(clips, class_names, batch_size):
    """Returns the label of each clip, int32."""
    _check_positive("batch_size", batch_size)
    if not clips:
        raise ValueError("`clips` must hold at least one clip. Received: none")
    if len(set(class_names)) < len(class_names):
        raise ValueError(
            "`class_names` must differ from one another. "
            f"Received: class_names={class_names}"
        )
    places = {name: place for place, name in enumerate(class_names)}
    for clip in clips:
        if clip.label not in places:
            raise ValueError(
                "`class_names` must hold the label of every clip. Received: "
                f"class_names={class_names}, and clip {clip.clip!r} has "
                f"label={clip.label!r}"
            )
    return tf.constant([places[clip.label] for clip in clips], tf.int32)


def _shapes(features, names):
    """Returns the shape of each clip's feature map, and the dtype of all."""
    shapes = {}
    kinds = {}
    for name in names:
        if name in shapes:
            continue
        if name not in features:
            raise ValueError(
                f"`features` must hold every clip. Received: none of clip "
                f"{name!r}"
            )
        if isinstance(features, FeatureStore):
            shape, dtype = features.shape(name), features.dtype
        else:
            shape, dtype = features[name].shape, features[name].dtype
        if len(shape) != 4 or not shape[0]:
            raise ValueError(
                "`features` must be (time, height, width, channels) of every "
                f"clip. Received: shape={shape} of clip {name!r}"
            )
        shapes[name] = tuple(shape)
        kinds.setdefault((*shape[1:], np.dtype(dtype)), name)
    if len(kinds) > 1:
        (one, first), (two, second) = list(kinds.items())[:2]
        raise ValueError(
            "`features` must agree in height, width, channels and dtype. "
            f"Received: {_describe(one)} of clip {first!r}, {_describe(two)} "
            f"of clip {second!r}"
        )
    return shapes, next(iter(kinds))[-1]


def _describe(kind):
    return f"{kind[:-1]} {kind[-1]}"


def _check_positive(name, value):
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={value}"
        )
