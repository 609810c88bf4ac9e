"""Feature maps as `tf.data` pipelines: pairs to train on, clips to test."""

import collections
import warnings
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from actx_tf.data.clip_index import Clip
from actx_tf.data.epochs import make_epoch
from actx_tf.data.feature_store import FeatureStore
from actx_tf.data.similarities import pair_name
from actx_tf.utils.checks import check_positive


def make_pair_dataset(
    features: Mapping[str, np.ndarray],
    clips: Sequence[Clip],
    class_names: Sequence[str],
    crop_steps: int = 10,
    batch_size: int = 36,
    background: Collection[str] = (),
    shuffle: bool = True,
    seed: int = 0,
    multi_label: bool = False,
    aligned_inputs: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    similarities: Mapping[str, np.ndarray] | None = None,
    read_conjugates: bool = False,
    names: bool = False,
    epoch: int | tf.Tensor | None = None,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """Makes the pairs of clips that a `PairedModel` is trained on.

    In each epoch every clip comes once, with one of its conjugates drawn at
    random; of both a stretch of `crop_steps` steps is cut out at random. The
    epochs differ; the same seed gives the same epochs again, whichever of them
    are read.

    Args:
        features: Mapping from the name of a clip to its feature map
            `(time, height, width, channels)`: a `FeatureStore`, or a
            dictionary of arrays. Read while the pipeline runs.
        clips: The clips of an epoch.
        class_names: Names of the classes; the label of a class is its place.
        crop_steps: Length of a stretch, in steps, at most: where all clips are
            shorter it is that of the longest. Defaults to `10`.
        batch_size: Number of pairs in a batch, of all shards together; the
            last batch of an epoch can be smaller. Defaults to `36`.
        background: Names of those classes that show no action: their clips
            get no conjugate. Defaults to none.
        shuffle: Whether the order of the clips changes with each epoch.
            Without it the stretches and conjugates are still drawn at
            random. Defaults to `True`.
        seed: Seed of all that is random. Defaults to `0`.
        multi_label: Whether a clip can be of several classes, or of none of
            `class_names`. Defaults to `False`.
        aligned_inputs: Mappings from the name of a clip to other arrays that
            have one entry a step, such as pose masks or boxes. Each is an
            input under its own key, cut out where the features are, and padded
            as they are if it is of their height and width. Defaults to none.
        similarities: What `store_similarities` computed beforehand of each
            pair; the conjugates' features are then not read. Defaults to none.
        read_conjugates: Whether they are read beside `similarities`. Defaults
            to `False`.
        names: Whether the inputs hold the names of the clips too, to look at:
            models take no strings. Defaults to `False`.
        epoch: Number of the epoch, from 0 on. Defaults to `None`: the dataset
            counts how often it was iterated over.
        shard: Which share of each batch is made, from 0 on: of the others'
            clips nothing is read. Defaults to `0`.
        num_shards: Number of shares, equal ones of all batches but the last.
            Defaults to `1`.

    Returns:
        A dataset of `(inputs, label)`, where `label` is `(batch,)`, int32
        (with `multi_label` `(batch, classes)`, float32, 1 for a clip's
        classes and 0 for others), and `inputs` is a dictionary:

        - `features`: `(batch, crop_steps, height, width, channels)`, in the
          dtype of the feature maps. Shorter clips, and those of a smaller
          height or width than others, end in zeros.
        - `mask`: `(batch, crop_steps)`, boolean, True where a step is real;
          if heights or widths differ `(batch, crop_steps, height, width)`.
        - `conjugate`, `conjugate_mask`: the same of the conjugate; or, with
          `similarities`, `conjugate_similarity`, `(batch, crop_steps, height,
          width)`; with `read_conjugates` all three.
        - `has_conjugate`: `(batch,)`, boolean. Where it is False (background
          clips, and those without a conjugate in `features`, or a pair in
          `similarities`, of which it warns), the conjugate is zero and its
          mask False.
        - each of `aligned_inputs`, `(batch, crop_steps, ...)`.
        - with `names`, `clip` and `conjugate_clip`, `(batch,)`, strings; the
          name of a conjugate that is not there is empty.

    Raises:
        ValueError: If a clip has no features, its label is unknown, the
            feature maps do not fit together, or an argument is out of range.
    """
    check_positive("crop_steps", crop_steps)
    labels = labels_of(clips, class_names, multi_label)
    background = background_of(background, class_names)
    read_conjugates = read_conjugates or similarities is None

    left_out = collections.defaultdict(list)

    def is_stored(clip, conjugate):
        if read_conjugates and conjugate not in features:
            left_out["the conjugate is not in `features`"].append(conjugate)
            return False
        if similarities is None:
            return True
        pair = pair_name(clip, conjugate)
        if pair not in similarities:
            left_out["the pair is not in `similarities`"].append(pair)
            return False
        return True

    conjugates = [
        []
        if set(clip.labels) <= background
        else [name for name in clip.conjugates if is_stored(clip.clip, name)]
        for clip in clips
    ]
    for reason, missing in left_out.items():
        warnings.warn(
            f"{len(missing)} pairs are left out, such as {missing[0]!r}: "
            f"{reason}",
            stacklevel=2,
        )
    own = [clip.clip for clip in clips]
    shown = own + sum(conjugates, []) if read_conjugates else own
    shapes, dtype = _shapes(features, shown)
    # Where no clip is as long, what is padded would only be computed.
    crop_steps = min(crop_steps, _longest(shapes))
    specs = _feature_specs(shapes, dtype, crop_steps)
    padded = tuple(specs["features"].shape)
    if read_conjugates:
        specs |= {
            "conjugate": specs["features"],
            "conjugate_mask": specs["mask"],
        }
    if similarities is not None:
        specs["conjugate_similarity"] = tf.TensorSpec(padded[:-1], tf.float32)
    specs |= _aligned_specs(aligned_inputs, own, shapes, padded)
    specs["has_conjugate"] = tf.TensorSpec((), tf.bool)
    if names:
        specs |= dict.fromkeys(
            ("clip", "conjugate_clip"), tf.TensorSpec((), tf.string)
        )

    def crop(name, random):
        time = shapes[name][0]
        start = random.integers(max(time - crop_steps, 0) + 1)
        return start, min(start + crop_steps, time)

    def load(index, epoch):
        # Of its own for each clip of each epoch: it does not depend on which
        # clips were read before, by which of the readers and in which process.
        random = np.random.default_rng([seed, epoch, index])
        name, crop_of_name = own[index], crop(own[index], random)
        arrays = _pad_features(_read(features, name, *crop_of_name), specs)
        has_conjugate = bool(conjugates[index])
        conjugate = random.choice(conjugates[index]) if has_conjugate else ""
        if read_conjugates:
            steps = np.zeros((0, *padded[1:]), dtype)
            if has_conjugate:
                steps = _read(features, conjugate, *crop(conjugate, random))
            arrays += _pad_features(steps, specs)
        if similarities is not None:
            steps = np.zeros((0, *padded[1:-1]))
            if has_conjugate:
                pair = pair_name(name, conjugate)
                steps = _read(similarities, pair, *crop_of_name)[..., 0]
            key = "conjugate_similarity"
            arrays.append(_pad(steps.astype(np.float32), specs[key].shape))
        for key, aligned in (aligned_inputs or {}).items():
            steps = _read(aligned, name, *crop_of_name)
            arrays.append(_pad(steps, specs[key].shape))
        arrays.append(np.array(has_conjugate))
        if names:
            arrays += [np.array(text.encode()) for text in (name, conjugate)]
        return arrays

    def to_example(index, epoch):
        return load_arrays(load, (index, epoch), specs), tf.gather(
            labels, index
        )

    return make_epoch(
        len(clips),
        to_example,
        batch_size,
        shuffle=shuffle,
        seed=seed,
        epoch=epoch,
        shard=shard,
        num_shards=num_shards,
    )


def make_evaluation_dataset(
    features: Mapping[str, np.ndarray],
    clips: Sequence[Clip],
    class_names: Sequence[str],
    batch_size: int = 36,
    multi_label: bool = False,
    aligned_inputs: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """Makes batches of whole clips, in order.

    Every clip is padded to the length, height and width of the largest, so
    that the results of `model.predict` can be put together.

    Args:
        features: Mapping from the name of a clip to its feature map
            `(time, height, width, channels)`: a `FeatureStore`, or a
            dictionary of arrays. Read while the pipeline runs.
        clips: The clips.
        class_names: Names of the classes; the label of a class is its place.
        batch_size: Number of clips in a batch, of all shards together; the
            last batch can be smaller. Defaults to `36`.
        multi_label: As in `make_pair_dataset`. Defaults to `False`.
        aligned_inputs: As in `make_pair_dataset`. Defaults to none.
        shard: As in `make_pair_dataset`. Defaults to `0`.
        num_shards: As in `make_pair_dataset`. Defaults to `1`.

    Returns:
        A dataset of `(inputs, label)`, where `label` is as in
        `make_pair_dataset` and `inputs` is a dictionary of `features`
        `(batch, time, height, width, channels)`, in the dtype of the feature
        maps, `mask` as in `make_pair_dataset`, and each of `aligned_inputs`,
        `(batch, time, ...)`.

    Raises:
        ValueError: If a clip has no features, its label is unknown, the
            feature maps do not fit together, or an argument is out of range.
    """
    labels = labels_of(clips, class_names, multi_label)
    names = [clip.clip for clip in clips]
    shapes, dtype = _shapes(features, names)
    specs = _feature_specs(shapes, dtype, _longest(shapes))
    padded = tuple(specs["features"].shape)
    specs |= _aligned_specs(aligned_inputs, names, shapes, padded)

    def load(index):
        arrays = _pad_features(_read(features, names[index]), specs)
        for key, aligned in (aligned_inputs or {}).items():
            steps = _read(aligned, names[index])
            arrays.append(_pad(steps, specs[key].shape))
        return arrays

    def to_example(index, epoch):
        return load_arrays(load, (index,), specs), tf.gather(labels, index)

    return make_epoch(
        len(clips), to_example, batch_size, shard=shard, num_shards=num_shards
    )


def load_arrays(
    load: Callable[..., list[np.ndarray]],
    arguments: Sequence[tf.Tensor],
    specs: Mapping[str, tf.TensorSpec],
) -> dict[str, tf.Tensor]:
    """Runs Python code in a pipeline.

    Args:
        load: Function that returns an array for each spec.
        arguments: What it is called with.
        specs: Of the arrays, by name.

    Returns:
        The arrays as tensors, by name.
    """
    # Not "stateful", or deterministic ops would have it run in one thread.
    arrays = tf.numpy_function(
        load,
        arguments,
        [spec.dtype for spec in specs.values()],
        stateful=False,
    )
    inputs = dict(zip(specs, arrays, strict=True))
    for key, spec in specs.items():
        inputs[key].set_shape(spec.shape)
    return inputs


def background_of(
    background: Collection[str], class_names: Sequence[str]
) -> set[str]:
    """Returns the names of the classes that show no action.

    Raises:
        ValueError: If one of them is not among `class_names`.
    """
    if isinstance(background, str):
        background = (background,)
    if unknown := set(background) - set(class_names):
        raise ValueError(
            f"`background` must be among `class_names`. "
            f"Received: background={sorted(unknown)}, "
            f"class_names={list(class_names)}"
        )
    return set(background)


def _longest(shapes):
    return max(shape[0] for shape in shapes.values())


def _feature_specs(shapes, dtype, num_steps):
    """Specs of the padded features and of their mask."""
    sizes = {shape[1:3] for shape in shapes.values()}
    largest = tuple(np.max(list(sizes), axis=0).tolist())
    channels = next(iter(shapes.values()))[-1]
    real = (num_steps,) if len(sizes) == 1 else (num_steps, *largest)
    return {
        "features": tf.TensorSpec((num_steps, *largest, channels), dtype),
        "mask": tf.TensorSpec(real, tf.bool),
    }


def _aligned_specs(aligned_inputs, names, shapes, padded):
    """Specs of inputs that are aligned with features of a padded shape."""
    specs = {}
    for key, aligned in (aligned_inputs or {}).items():
        argument = f"aligned_inputs[{key!r}]"
        found, dtypes = _read_shapes(aligned, names, argument)
        for name in names:
            if found[name][:1] != shapes[name][:1]:
                raise ValueError(
                    "`aligned_inputs` must have as many steps as the features. "
                    f"Received: {key!r} of shape={found[name]} and features "
                    f"of shape={shapes[name]} of clip {name!r}"
                )
        if all(found[name][:3] == shapes[name][:3] for name in names):
            kinds = {name: found[name][3:] for name in names}
            start = padded[:3]
        else:
            kinds = {name: found[name][1:] for name in names}
            start = padded[:1]
        rest, dtype = _only_kind(kinds, dtypes, argument)
        specs[key] = tf.TensorSpec((*start, *rest), dtype)
    return specs


def _read(features, name, start=0, stop=None):
    if isinstance(features, FeatureStore):
        return features.view(name, start, stop)
    return features[name][start:stop]


def _pad_features(array, specs):
    """Returns a clip's feature map and its mask, padded."""
    shape = specs["mask"].shape
    real = np.ones(array.shape[: len(shape)], bool)
    return [_pad(array, specs["features"].shape), _pad(real, shape)]


def _pad(array, shape):
    """Returns the array, with zeros after it along every axis."""
    if array.shape == tuple(shape):
        return array  # not copied
    return np.pad(
        array,
        [
            (0, goal - size)
            for size, goal in zip(array.shape, shape, strict=True)
        ],
    )


def labels_of(
    clips: Sequence[Clip], class_names: Sequence[str], multi_label: bool
) -> tf.Tensor:
    """Returns the label of each clip, or its row of zeros and ones.

    Args:
        clips: The clips.
        class_names: As in `make_pair_dataset`.
        multi_label: As in `make_pair_dataset`.

    Raises:
        ValueError: If there are no clips, or a label is unknown.
    """
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


def _shapes(features, names):
    """Returns the shape of each clip's feature map, and the dtype of all."""
    shapes, dtypes = _read_shapes(features, names, "features")
    for name, shape in shapes.items():
        if len(shape) != 4 or not all(shape):
            raise ValueError(
                "`features` must be (time, height, width, channels) of every "
                f"clip. Received: shape={shape} of clip {name!r}"
            )
    channels = {name: shape[-1:] for name, shape in shapes.items()}
    return shapes, _only_kind(channels, dtypes, "features")[1]


def _read_shapes(features, names, argument):
    """Returns the shape and the dtype of each clip's array."""
    shapes, dtypes = {}, {}
    for name in names:
        if name not in features:
            raise ValueError(
                f"`{argument}` must hold every clip. Received: none of clip "
                f"{name!r}"
            )
        if isinstance(features, FeatureStore):
            shapes[name], dtypes[name] = features.shape(name), features.dtype
        else:
            shapes[name] = features[name].shape
            dtypes[name] = np.dtype(features[name].dtype)
    return shapes, dtypes


def _only_kind(axes, dtypes, argument):
    """Returns the axes and the dtype that all clips have in common."""
    kinds = {}
    for name in axes:
        kinds.setdefault((axes[name], dtypes[name]), name)
    if len(kinds) > 1:
        (one, first), (two, second) = list(kinds.items())[:2]
        what = "channels" if argument == "features" else "their last axes"
        raise ValueError(
            f"`{argument}` must agree in {what} and dtype. "
            f"Received: {one[0]} {one[1]} of clip {first!r}, "
            f"{two[0]} {two[1]} of clip {second!r}"
        )
    return next(iter(kinds))
