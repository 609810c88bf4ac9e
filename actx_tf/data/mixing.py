"""Three ways to teach a network less of scenes: clips mixed with other frames.

Each takes a batch of clips, `(batch, time, height, width, channels)`, frames or
the steps of feature maps, and returns one of the same shape and type; a clip's
label stays what it was. Of the same seed they mix the same, on TensorFlow's
tensors and in its graphs. Where a clip is padded it is not mixed, and nothing
that is padded is mixed in.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from actx_tf.data.actor_masks import masks_by_motion
from actx_tf.data.clip_index import UnfitClip
from actx_tf.utils.checks import check_share


def mix_own_frame(
    clips: Any, seed: Any, most: float = 0.3, mask: Any = None
) -> tf.Tensor:
    """Mixes a frame of each clip into all of its frames: BE.

    `(1 - w) x_t + w x_k`, where w is drawn of each clip from [0, most), and k
    from all of its frames. What moves is fainter, and the scene is not.

    Args:
        clips: The clips.
        seed: Two whole numbers.
        most: Largest weight of the frame, in [0, 1]. Defaults to `0.3`, that of
            the paper.
        mask: Booleans `(batch, time)` or `(batch, time, height, width)`, True
            where a clip is real; what is real comes first in time. Defaults to
            `None`: everywhere.

    Returns:
        The mixed clips.

    Raises:
        ValueError: If an argument is wrong.

    Reference:
        - Wang et al., Removing the Background by Adding the Background, CVPR
          2021
    """
    check_share("most", most)
    clips, seed, real = _prepare(clips, seed, mask)
    weights = most * _uniform(clips, seed, 0)
    frame, is_real = _drawn_frame(clips, seed, real)
    return _mixed(clips, frame, weights, real & is_real)


def mix_frame_of_another(
    clips: Any,
    seed: Any,
    weight: float = 0.5,
    share: float = 0.5,
    mask: Any = None,
) -> tf.Tensor:
    """Mixes a frame of another clip of the batch into a share of the clips.

    `(1 - w) x_t + w z_k`: StillMix, whose frames are those that a network of
    single pictures is sure of; here they are drawn at random (the paper's
    "StillMix with random frames"). The other clip can be of the same class. A
    batch of one clip is mixed with itself.

    Args:
        clips: The clips.
        seed: Two whole numbers.
        weight: That of the frame, in [0, 1]. Defaults to `0.5`: the paper draws
            it from Beta(200, 200), which is 0.5 to within 0.05.
        share: Share of the clips that are mixed, in [0, 1]: of each clip it is
            drawn whether it is. Defaults to `0.5`.
        mask: As in `mix_own_frame`. Defaults to `None`.

    Returns:
        The mixed clips.

    Raises:
        ValueError: If an argument is wrong.

    Reference:
        - Li et al., Mitigating and Evaluating Static Bias of Action
          Representations in the Background and the Foreground, ICCV 2023
    """
    check_share("weight", weight)
    check_share("share", share)
    clips, seed, real = _prepare(clips, seed, mask)
    others = _others(clips, seed)
    frame, is_real = _drawn_frame(clips, seed, real)
    weights = weight * tf.cast(_uniform(clips, seed, 0) < share, tf.float32)
    return _mixed(
        clips,
        tf.gather(frame, others),
        weights,
        real & tf.gather(is_real, others),
    )


def merge_background(
    clips: Any,
    foreground: Any,
    seed: Any,
    share: float = 0.5,
    mask: Any = None,
) -> tf.Tensor:
    """Shows the foreground of a share of the clips on another clip: FAME.

    `m x_t + (1 - m) y_t`, where y is another clip of the batch, and m the
    foreground of the first. A batch of one clip stays as it is.

    Args:
        clips: The clips.
        foreground: Booleans `(batch, height, width)`, of `moving_foreground` or
            `changing_locations`.
        seed: Two whole numbers.
        share: As in `mix_frame_of_another`. Defaults to `0.5`.
        mask: As in `mix_own_frame`. Defaults to `None`.

    Returns:
        The merged clips.

    Raises:
        ValueError: If an argument is wrong.

    Reference:
        - Ding et al., Motion-aware Contrastive Video Representation Learning
          via Foreground-background Merging, CVPR 2022
    """
    check_share("share", share)
    clips, seed, real = _prepare(clips, seed, mask)
    others = _others(clips, seed)
    is_merged = _uniform(clips, seed, 0) < share
    foreground = tf.cast(foreground, tf.bool)
    batch, _, height, width, _ = clips.shape
    _check_shape("foreground", foreground, [batch, height, width])
    behind = ~foreground[:, tf.newaxis, :, :, tf.newaxis]
    replaced = is_merged & behind & real & tf.gather(real, others)
    return tf.where(replaced, tf.gather(clips, others), clips)


def merge_moving(
    clips: Any, seed: Any, share: float = 0.5, mask: Any = None
) -> tf.Tensor:
    """`merge_background` of what moves in the frames: FAME.

    Args:
        clips: As in `moving_foreground`.
        seed: Two whole numbers.
        share: As in `merge_background`. Defaults to `0.5`.
        mask: As in `mix_own_frame`. Defaults to `None`.

    Returns:
        The merged clips.

    Raises:
        ValueError: If an argument is wrong.
    """
    return merge_background(clips, moving_foreground(clips), seed, share, mask)


def moving_foreground(clips: Any) -> tf.Tensor:
    """Returns where something moves in the frames of clips: the way of FAME.

    Args:
        clips: RGB values, uint8, `(batch, time, height, width, 3)`.

    Returns:
        Booleans `(batch, height, width)`: half of each frame, as
        `masks_by_motion` marks it; all of it where nothing moves.

    Raises:
        ValueError: If the clips are none of RGB values.
    """
    clips = tf.convert_to_tensor(clips)
    if clips.dtype != tf.uint8 or clips.shape.rank != 5:
        raise ValueError(
            "`clips` must be uint8, (batch, time, height, width, 3). Received: "
            f"clips of the shape {clips.shape} and the type {clips.dtype.name}"
        )

    def find(batch):
        found = np.ones((batch.shape[0], *batch.shape[2:4]), bool)
        for clip, mask in zip(batch, found, strict=True):
            try:
                mask[:] = masks_by_motion(clip)[0]
            except UnfitClip:
                pass
        return found

    foreground = tf.numpy_function(find, [clips], tf.bool)
    return tf.ensure_shape(
        foreground, [clips.shape[0], clips.shape[2], clips.shape[3]]
    )


def changing_locations(
    features: Any, share: float = 0.5, mask: Any = None
) -> tf.Tensor:
    """Returns where feature maps change most from step to step.

    What frame difference is to frames; features have no colours.

    Args:
        features: `(batch, time, height, width, channels)`.
        share: Share of the locations, in [0, 1]. Defaults to `0.5`.
        mask: As in `mix_own_frame`. Defaults to `None`.

    Returns:
        Booleans `(batch, height, width)`; all True of a clip that does not
        change.

    Raises:
        ValueError: If an argument is wrong.
    """
    check_share("share", share)
    features, _, real = _prepare(features, (0, 0), mask)
    values = tf.cast(features, tf.float32)
    changes = tf.reduce_sum(tf.abs(values[:, 1:] - values[:, :-1]), axis=-1)
    both = tf.cast((real[:, 1:] & real[:, :-1])[..., 0], tf.float32)
    change = tf.reduce_sum(changes * both, axis=1)
    shape = tf.shape(change)
    flat = tf.sort(tf.reshape(change, [shape[0], -1]), direction="DESCENDING")
    count = tf.cast(tf.shape(flat)[1], tf.float32)
    last = tf.cast(tf.math.ceil(share * count), tf.int32) - 1
    return change >= flat[:, tf.maximum(last, 0), tf.newaxis, tf.newaxis]


def _prepare(clips, seed, mask):
    """Tensors: the clips, the seed, and where they are real, of five axes."""
    clips = tf.convert_to_tensor(clips)
    if clips.shape.rank != 5:
        raise ValueError(
            "`clips` must have the shape (batch, time, height, width, "
            f"channels). Received: clips.shape={clips.shape}"
        )
    seed = tf.cast(tf.convert_to_tensor(seed), tf.int32)
    _check_shape("seed", seed, [2])
    if mask is None:
        mask = tf.ones(tf.shape(clips)[:2], tf.bool)
    mask = tf.cast(mask, tf.bool)
    _check_shape("mask", mask, clips.shape[: 2 if mask.shape.rank == 2 else 4])
    while mask.shape.rank < 5:
        mask = mask[..., tf.newaxis]
    return (
        clips,
        seed,
        tf.broadcast_to(mask, [*tf.unstack(tf.shape(clips)[:-1]), 1]),
    )


def _uniform(clips, seed, number):
    """A number in [0, 1) of each clip."""
    seed = tf.random.experimental.stateless_fold_in(seed, number)
    batch = tf.shape(clips)[0]
    return tf.random.stateless_uniform([batch, 1, 1, 1, 1], seed)


def _drawn_frame(clips, seed, real):
    """A real frame of each clip, and where it is real; of one step."""
    steps = tf.reduce_sum(
        tf.cast(tf.reduce_any(real, axis=(2, 3, 4)), tf.int32), axis=1
    )
    drawn = tf.reshape(_uniform(clips, seed, 1), [-1])
    place = tf.cast(drawn * tf.cast(steps, tf.float32), tf.int32)
    place = tf.minimum(place, tf.maximum(steps - 1, 0))
    return tuple(
        tf.gather(x, place, axis=1, batch_dims=1)[:, tf.newaxis]
        for x in (clips, real)
    )


def _others(clips, seed):
    """Another clip of each: all as many places further on."""
    batch = tf.shape(clips)[0]
    seed = tf.random.experimental.stateless_fold_in(seed, 2)
    step = tf.random.stateless_uniform(
        [], seed, 1, tf.maximum(batch, 2), tf.int32
    )
    return (tf.range(batch) + step) % tf.maximum(batch, 1)


def _mixed(clips, frame, weights, where):
    weights = weights * tf.cast(where, tf.float32)
    mixed = (1.0 - weights) * tf.cast(clips, tf.float32)
    mixed += weights * tf.cast(frame, tf.float32)
    if clips.dtype.is_integer:
        mixed = tf.round(mixed)
    return tf.cast(mixed, clips.dtype)


def _check_shape(name, tensor, shape):
    shape = tf.TensorShape(shape)
    if not tensor.shape.is_compatible_with(shape):
        raise ValueError(
            f"`{name}` must have the shape {shape}. "
            f"Received: {name}.shape={tensor.shape}"
        )


# Of frames, by the names of the papers' methods.
MIXINGS = {
    "BE": mix_own_frame,
    "StillMix": mix_frame_of_another,
    "FAME": merge_moving,
}
