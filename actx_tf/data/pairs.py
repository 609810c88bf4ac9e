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
    multi_label: bool = False,
    companions: Mapping[str, Mapping[str, np.ndarray]] | None = None,
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
        multi_label: Whether a clip can be of several classes, or of none of
            `class_names`. Defaults to `False`.
        companions: Mappings from the name of a clip to other arrays that have
            one entry a step, such as pose masks or boxes. Each is an input
            under its own key, cut out where the features are. Defaults to
            none.

    Returns:
        A dataset of `(inputs, label)`, where `label` is `(batch,)`, int32
        (with `multi_label` `(batch, classes)`, float32, 1 for a clip's
        classes and 0 for others), and `inputs` is a dictionary:

        - `features`: `(batch, num_steps, height, width, channels)`, in the
          dtype of the feature maps. Shorter clips end in zeros.
        - `mask`: `(batch, num_steps)`, boolean, True where a step is real.
        - `conjugate`, `conjugate_mask`: the same of the conjugate.
        - `has_conjugate`: `(batch,)`, boolean. Where it is False (background
          clips, and those without a conjugate in `features`), the conjugate
          is zero and its mask False.
        - each of `companions`, `(batch, num_steps, ...)`.

    Raises:
        ValueError: If a clip has no features, its label is unknown, or the
            feature maps do not fit together.
    """
    _check_positive("num_steps", num_steps)
    _check_positive("batch_size", batch_size)
    labels = _labels(clips, class_names, multi_label)
    if isinstance(background, str):
        background = (background,)
    if unknown := set(background) - set(class_names):
        raise ValueError(
            f"`background` must be among `class_names`. "
            f"Received: background={background}, unknown={sorted(unknown)}"
        )
    conjugates = [
        []
        if set(clip.labels) <= set(background)
        else [name for name in clip.conjugates if name in features]
        for clip in clips
    ]
    names = [clip.clip for clip in clips]
    shapes, dtype = _shapes(features, names + sum(conjugates, []))
    step_shape = shapes[names[0]][1:]
    specs = {
        "features": tf.TensorSpec((num_steps, *step_shape), dtype),
        "mask": tf.TensorSpec((num_steps,), tf.bool),
        "conjugate": tf.TensorSpec((num_steps, *step_shape), dtype),
        "conjugate_mask": tf.TensorSpec((num_steps,), tf.bool),
        **_companion_specs(companions, names, shapes, num_steps),
    }

    def crop(name, random):
        time = shapes[name][0]
        start = random.integers(max(time - num_steps, 0) + 1)
        return start, min(start + num_steps, time)

    def load(index, seed):
        random = np.random.default_rng(seed)
        name, crop_of_name = names[index], crop(names[index], random)
        arrays = _pad(_read(features, name, *crop_of_name), num_steps)
        if conjugates[index]:
            conjugate = random.choice(conjugates[index])
            steps = _read(features, conjugate, *crop(conjugate, random))
        else:
            steps = np.zeros((0, *step_shape), dtype)
        arrays += _pad(steps, num_steps)
        for companion in (companions or {}).values():
            steps = _read(companion, name, *crop_of_name)
            arrays += _pad(steps, num_steps)[:1]
        return arrays

    def to_example(index, seed):
        inputs = _load(load, (index, seed), specs)
        inputs["has_conjugate"] = tf.reduce_any(inputs["conjugate_mask"])
        return inputs, tf.gather(labels, index)

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
    multi_label: bool = False,
    companions: Mapping[str, Mapping[str, np.ndarray]] | None = None,
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
        multi_label: As in `make_pair_dataset`. Defaults to `False`.
        companions: As in `make_pair_dataset`. Defaults to none.

    Returns:
        A dataset of `(inputs, label)`, where `label` is as in
        `make_pair_dataset` and `inputs` is a dictionary of `features`
        `(batch, time, height, width, channels)`, in the dtype of the feature
        maps, `mask` `(batch, time)`, boolean, True where a step is real, and
        each of `companions`, `(batch, time, ...)`.

    Raises:
        ValueError: If a clip has no features, its label is unknown, or the
            feature maps do not fit together.
    """
    _check_positive("batch_size", batch_size)
    labels = _labels(clips, class_names, multi_label)
    names = [clip.clip for clip in clips]
    shapes, dtype = _shapes(features, names)
    longest = max(shape[0] for shape in shapes.values())
    specs = {
        "features": tf.TensorSpec((longest, *shapes[names[0]][1:]), dtype),
        "mask": tf.TensorSpec((longest,), tf.bool),
        **_companion_specs(companions, names, shapes, longest),
    }

    def load(index):
        arrays = _pad(_read(features, names[index]), longest)
        for companion in (companions or {}).values():
            arrays += _pad(_read(companion, names[index]), longest)[:1]
        return arrays

    def to_example(index):
        return _load(load, (index,), specs), tf.gather(labels, index)

    return _run(tf.data.Dataset.range(len(clips)), to_example, batch_size)


def _run(dataset, to_example, batch_size):
    dataset = dataset.map(
        to_example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _load(load, arguments, specs):
    """Runs Python code in the pipeline; returns a tensor for each spec."""
    arrays = tf.numpy_function(
        load, arguments, [spec.dtype for spec in specs.values()]
    )
    inputs = dict(zip(specs, arrays, strict=True))
    for key, spec in specs.items():
        inputs[key].set_shape(spec.shape)
    return inputs


def _companion_specs(companions, names, shapes, num_steps):
    specs = {}
    for key, companion in (companions or {}).items():
        found, dtype = _shapes(companion, names, f"companions[{key!r}]")
        for name in names:
            if found[name][0] != shapes[name][0]:
                raise ValueError(
                    "`companions` must have as many steps as the features. "
                    f"Received: {found[name][0]} steps of {key!r} and "
                    f"{shapes[name][0]} of the features of clip {name!r}"
                )
        step_shape = found[names[0]][1:]
        specs[key] = tf.TensorSpec((num_steps, *step_shape), dtype)
    return specs


def _read(features, name, start=0, stop=None):
    if isinstance(features, FeatureStore):
        return features.read(name, start, stop)
    return features[name][start:stop]


def _pad(array, num_steps):
    """Returns the feature map, padded with zeros, and its mask."""
    missing = num_steps - len(array)
    padding = ((0, missing),) + ((0, 0),) * (array.ndim - 1)
    return np.pad(array, padding), np.arange(num_steps) < len(array)


def _labels(clips, class_names, multi_label):
    """Returns the label of each clip, or its row of zeros and ones."""
    if not clips:
        raise ValueError("`clips` must hold at least one clip. Received: none")
    if len(set(class_names)) < len(class_names):
        raise ValueError(
            "`class_names` must differ from one another. "
            f"Received: class_names={class_names}"
        )
    places = {name: place for place, name in enumerate(class_names)}
    if multi_label:
        return tf.constant(
            [[name in clip.labels for name in class_names] for clip in clips],
            tf.float32,
        )
    for clip in clips:
        if clip.label not in places:
            raise ValueError(
                "`class_names` must hold the label of every clip. Received: "
                f"class_names={class_names}, and clip {clip.clip!r} has "
                f"label={clip.label!r}"
            )
    return tf.constant([places[clip.label] for clip in clips], tf.int32)


def _shapes(features, names, argument="features"):
    """Returns the shape of each clip's array, and the dtype of all."""
    shapes = {}
    kinds = {}
    for name in names:
        if name in shapes:
            continue
        if name not in features:
            raise ValueError(
                f"`{argument}` must hold every clip. Received: none of clip "
                f"{name!r}"
            )
        if isinstance(features, FeatureStore):
            shape, dtype = features.shape(name), features.dtype
        else:
            shape, dtype = features[name].shape, features[name].dtype
        is_map = len(shape) == 4 if argument == "features" else shape
        if not is_map or not shape[0]:
            axes = (
                "height, width, channels" if argument == "features" else "..."
            )
            raise ValueError(
                f"`{argument}` must be (time, {axes}) of every clip. "
                f"Received: shape={shape} of clip {name!r}"
            )
        shapes[name] = tuple(shape)
        kinds.setdefault((*shape[1:], np.dtype(dtype)), name)
    if len(kinds) > 1:
        (one, first), (two, second) = list(kinds.items())[:2]
        raise ValueError(
            f"`{argument}` must agree in all axes but time, and in dtype. "
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
