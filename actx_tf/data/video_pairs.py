"""Pairs of clips of video files, whose frames are read as they are needed."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.augmentation import Augmentation
from actx_tf.data.augmentation import View
from actx_tf.data.clip_index import Clip
from actx_tf.data.epochs import make_epoch
from actx_tf.data.pairs import background_of
from actx_tf.data.pairs import labels_of
from actx_tf.data.pairs import load_arrays
from actx_tf.data.video_clips import VideoClip
from actx_tf.data.video_clips import frame_size
from actx_tf.data.video_clips import read_stretch
from actx_tf.utils.checks import check_positive

# Clips and a seed of two numbers -> clips: see `actx_tf.data.mixing`.
Mixing = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_video_pair_dataset(
    videos: Mapping[str, VideoClip],
    clips: Sequence[Clip],
    class_names: Sequence[str],
    description: BackboneDescription,
    crop_frames: int,
    batch_size: int = 4,
    *,
    augmentation: Augmentation | None = None,
    sided: Collection[str] = (),
    mixing: Mixing | None = None,
    background: Collection[str] = (),
    shuffle: bool = True,
    seed: int = 0,
    multi_label: bool = False,
    epoch: int | tf.Tensor | None = None,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """Makes the pairs of clips that a model with a backbone is trained on.

    As `make_pair_dataset`, of frames in the place of features. They are read
    from the files when they are needed, beside the training: a few batches are
    held in memory, whatever the number and the length of the clips. The
    files must not change meanwhile: one that cannot be read any more is an
    error.

    Both clips of a pair are shown as one scene: the same part of the frames,
    mirrored or not, in the same colours.

    Args:
        videos: What `find_readable` found.
        clips: The clips of an epoch, all among `videos`.
        class_names: As in `make_pair_dataset`.
        description: What the backbone sees.
        crop_frames: Frames of the stretch that is cut out of each clip at
            random. Of shorter clips the last frame is held.
        batch_size: As in `make_pair_dataset`. Defaults to `4`.
        augmentation: In what ways clips are shown. Defaults to `None`: as the
            backbone sees them, or the square in the middle of them.
        sided: Names of the classes of which left and right matter: their clips
            are not mirrored. Defaults to none.
        mixing: Function that mixes the clips of a batch, against static bias:
            `mix_own_frame`, `mix_frame_of_another`, `merge_moving` or one like
            them, of uint8 clips in TensorFlow's graphs. It is called twice,
            with the same seed: of the clips, and of their conjugates. Defaults
            to none.
        background: As in `make_pair_dataset`. Defaults to none.
        shuffle: As in `make_pair_dataset`. Defaults to `True`.
        seed: As in `make_pair_dataset`. Defaults to `0`.
        multi_label: As in `make_pair_dataset`. Defaults to `False`.
        epoch: As in `make_pair_dataset`. Defaults to `None`.
        shard: As in `make_pair_dataset`. Defaults to `0`.
        num_shards: As in `make_pair_dataset`. Defaults to `1`.

    Returns:
        A dataset of `(inputs, label)`, as that of `make_pair_dataset` with
        `names`: `features` and `conjugate` are uint8 `(batch, crop_frames,
        height, width, 3)`, and the masks are those of the backbone's steps,
        `(batch, time)`.

    Raises:
        ValueError: If a clip is not among `videos`, its label is unknown, the
            backbone makes nothing of so many frames, or an argument is out of
            range.
    """
    labels, specs = _prepare(
        videos, clips, class_names, description, crop_frames, multi_label
    )
    background = background_of(background, class_names)
    if unknown := set(sided) - set(class_names):
        raise ValueError(
            f"`sided` must be among `class_names`. Received: "
            f"sided={sorted(unknown)}, class_names={list(class_names)}"
        )
    conjugates = [
        []
        if set(clip.labels) <= background
        else [name for name in clip.conjugates if name in videos]
        for clip in clips
    ]
    specs |= {
        "conjugate": specs["features"],
        "conjugate_mask": specs["mask"],
        "has_conjugate": tf.TensorSpec((), tf.bool),
        **dict.fromkeys(
            ("clip", "conjugate_clip"), tf.TensorSpec((), tf.string)
        ),
    }
    if mixing is not None:
        specs["draw"] = tf.TensorSpec((), tf.int64)

    def load(index, epoch):
        # As in `make_pair_dataset`: of its own for each clip of each epoch.
        random = np.random.default_rng([seed, epoch, index])
        name = clips[index].clip
        view = View()
        if augmentation is not None:
            mirrors = not set(clips[index].labels) & set(sided)
            view = augmentation.draw(random, flip=mirrors)

        def crop(name):
            most = max(videos[name].frames - crop_frames, 0)
            first = random.integers(most + 1)
            return _read(videos[name], description, first, crop_frames, view)

        arrays, conjugate = crop(name), ""
        if conjugates[index]:
            conjugate = str(random.choice(conjugates[index]))
            arrays += crop(conjugate)
        else:
            arrays += [np.zeros_like(array) for array in arrays]
        arrays.append(np.array(bool(conjugate)))
        arrays += [np.array(text.encode()) for text in (name, conjugate)]
        if mixing is not None:
            arrays.append(random.integers(2**31))
        return arrays

    def to_example(index, epoch):
        inputs = load_arrays(load, (index, epoch), specs)
        return inputs, tf.gather(labels, index)

    batches = make_epoch(
        len(clips),
        to_example,
        batch_size,
        shuffle=shuffle,
        seed=seed,
        epoch=epoch,
        shard=shard,
        num_shards=num_shards,
    )
    return batches if mixing is None else batches.map(_mix_with(mixing))


def make_video_dataset(
    videos: Mapping[str, VideoClip],
    clips: Sequence[Clip],
    class_names: Sequence[str],
    description: BackboneDescription,
    crop_frames: int,
    batch_size: int = 4,
    *,
    multi_label: bool = False,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """Makes batches of the stretches in the middle of clips, in order.

    Args:
        videos: As in `make_video_pair_dataset`.
        clips: The clips.
        class_names: As in `make_video_pair_dataset`.
        description: As in `make_video_pair_dataset`.
        crop_frames: Frames of a stretch.
        batch_size: As in `make_video_pair_dataset`. Defaults to `4`.
        multi_label: As in `make_pair_dataset`. Defaults to `False`.
        shard: As in `make_pair_dataset`. Defaults to `0`.
        num_shards: As in `make_pair_dataset`. Defaults to `1`.

    Returns:
        A dataset of `(inputs, label)` with the `features` and the `mask` of
        `make_video_pair_dataset`.

    Raises:
        ValueError: As `make_video_pair_dataset`.
    """
    labels, specs = _prepare(
        videos, clips, class_names, description, crop_frames, multi_label
    )

    def load(index):
        video = videos[clips[index].clip]
        first = max(video.frames - crop_frames, 0) // 2
        return _read(video, description, first, crop_frames, View())

    def to_example(index, epoch):
        return load_arrays(load, (index,), specs), tf.gather(labels, index)

    return make_epoch(
        len(clips), to_example, batch_size, shard=shard, num_shards=num_shards
    )


def _prepare(videos, clips, class_names, description, crop_frames, multi_label):
    """Returns labels, and specs of a clip's frames and of its mask."""
    check_positive("crop_frames", crop_frames)
    labels = labels_of(clips, class_names, multi_label)
    for clip in clips:
        if clip.clip not in videos:
            raise ValueError(
                "`videos` must hold every clip. Received: none of clip "
                f"{clip.clip!r}"
            )
    shape = (crop_frames, *frame_size(description))
    steps, *_ = map_shape = description.map_shape(*shape)
    if not all(map_shape):
        raise ValueError(
            "`crop_frames` must be so many that the backbone makes a feature "
            f"map of them. Received: crop_frames={crop_frames}"
        )
    return labels, {
        "features": tf.TensorSpec((*shape, 3), tf.uint8),
        "mask": tf.TensorSpec((steps,), tf.bool),
    }


def _read(video, description, first, count, view):
    """Returns as many frames, and which of the backbone's steps are real."""
    frames = read_stretch(video, description, first, count, view)
    real = description.time.count(len(frames))
    mask = np.arange(description.time.count(count)) < max(real, 1)
    held = np.repeat(frames[-1:], count - len(frames), axis=0)
    return [np.concatenate([frames, held]) if len(held) else frames, mask]


def _mix_with(mixing):
    """Returns what mixes the clips of a batch with one another."""

    def checked(clips, seed):
        mixed = mixing(clips, seed)
        if mixed.dtype != clips.dtype or not (
            mixed.shape.is_compatible_with(clips.shape)
        ):
            raise ValueError(
                "`mixing` must return clips of the shape and the type of those "
                f"it is given, {clips.shape} and {clips.dtype.name}. "
                f"Received: {mixed.shape} and {mixed.dtype.name}"
            )
        return tf.ensure_shape(mixed, clips.shape)

    def map_batch(inputs, label):
        inputs = dict(inputs)
        # The shares of some shards can be empty.
        draw = tf.concat([inputs.pop("draw")[:1], [0]], 0)[0]
        seed, clips = tf.stack([draw, 0]), inputs["features"]
        has_conjugate = inputs["has_conjugate"][:, None, None, None, None]
        # What others are mixed with has to be there: where there is no
        # conjugate, the clip itself.
        shown = tf.where(has_conjugate, inputs["conjugate"], clips)
        mixed = checked(shown, seed)
        inputs["features"] = checked(clips, seed)
        inputs["conjugate"] = tf.where(
            has_conjugate, mixed, tf.zeros_like(mixed)
        )
        return inputs, label

    return map_batch
