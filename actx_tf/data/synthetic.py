"""A data set made on the fly: actions, their scenes and the true voxels.

A small actor acts in a textured scene in which other things move too. It does
so for one period of its motion, 9 of 16 frames, and stands still before and
after. Eight classes differ in the actor's motion alone: a single frame does
not show the class. In training the scene nearly always gives the class away;
at test it says nothing. Each clip has a conjugate: the same scene, shifted a
little, without the actor or with the actor standing still.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from keras import layers

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.channels_last import channels_last
from actx_tf.backbones.make_backbone import make_backbone
from actx_tf.segments import Segment

CLASS_NAMES = (
    "horizontal",
    "vertical",
    "rising",
    "falling",
    "clockwise",
    "counterclockwise",
    "pulsing",
    "spinning",
)
NUM_FRAMES = 16
FRAME_RATE = 8.0  # of untrimmed videos: frames in a second
SIZE = 48  # pixels
STRIDE = (4, 8, 8)  # frames and pixels that a voxel of the feature map covers
FEATURE_SIZE = (4, 6, 6)  # time, height and width of the feature map

_WEIGHTS = Path(__file__).with_name("synthetic_backbone.npz")
_PERIOD = 8.0  # frames
_ACTING = 9  # frames: a period, up to the first pose again
_NUM_ACTORS = 3  # of an untrimmed video
_LEAST_GAP = 8  # frames of it in which nothing happens
_AMPLITUDE = 4.0  # pixels
_REACH = 14  # pixels from a thing's place to where it never gets
_RIM = 250.0  # brightness of an actor's rim
_NOISE = 6.0  # standard deviation, of 255


@dataclasses.dataclass(frozen=True)
class SyntheticClips:
    """Clips with their conjugates.

    Attributes:
        videos: The action clips, uint8 `(clips, 16, 48, 48, 3)`.
        conjugates: The same for the conjugate clips.
        labels: Indices into `CLASS_NAMES`, int32 `(clips,)`.
        scenes: The scene of each pair, int32 `(clips,)`.
        actor_masks: The actor's pixels while it acts, booleans
            `(clips, 16, 48, 48)`.
        thing_masks: The same for the actor and the other things all the
            time: what a detector finds that does not know what acts.
        boxes: A box `(x1, y1, x2, y2)` around each of them, relative to the
            frame, float32 `(clips, 16, things, 4)`.
    """

    videos: np.ndarray
    conjugates: np.ndarray
    labels: np.ndarray
    scenes: np.ndarray
    actor_masks: np.ndarray
    thing_masks: np.ndarray
    boxes: np.ndarray


@dataclasses.dataclass(frozen=True)
class SyntheticVideo:
    """An untrimmed video.

    Attributes:
        frames: The video, uint8 `(frames, 48, 48, 3)`.
        segments: What happens, in the order of time, at 8 frames a second.
    """

    frames: np.ndarray
    segments: tuple[Segment, ...]


def make_part(part: str, num_clips: int) -> SyntheticClips:
    """Makes a part of the built-in data set.

    The parts share eight scenes. In "train" the scene is that of the clip's
    class in 95% of the clips, and a scene drawn at random in the others; in
    "validation" and "test" it is always drawn at random and says nothing.

    Args:
        part: Which part: `"train"`, `"validation"` or `"test"`.
        num_clips: Number of pairs; the classes are equally frequent.

    Returns:
        `SyntheticClips`, always the same for the same arguments.

    Raises:
        ValueError: If there is no such part.
    """
    parts = ("train", "validation", "test")
    if part not in parts:
        raise ValueError(f"`part` must be one of {parts}. Received: {part=}")
    return make_clips(
        num_clips,
        scene_bias=0.95 if part == "train" else 0.0,
        acting_frames=_ACTING,
        seed=parts.index(part),
    )


def make_clips(
    num_clips: int,
    scene_bias: float = 0.0,
    num_scenes: int = 8,
    num_actors: int = 1,
    acting_frames: int = NUM_FRAMES,
    scene_seed: int = 0,
    seed: int = 0,
) -> SyntheticClips:
    """Makes pairs of clips.

    Args:
        num_clips: Number of pairs; the classes are equally frequent.
        scene_bias: Share of the clips whose scene is that of their class, in
            [0, 1]; the others' is drawn at random. Defaults to `0.0`.
        num_scenes: Number of scenes. Defaults to `8`.
        num_actors: Number of actors in a clip, up to 7, all of which move in
            the same way. Defaults to `1`.
        acting_frames: Number of frames in a row, up to 16, anywhere in the
            clip, in which the actors act. Defaults to `16`.
        scene_seed: Other seeds have other scenes. Defaults to `0`.
        seed: Other seeds have other clips. Defaults to `0`.

    Returns:
        `SyntheticClips`, always the same for the same arguments.
    """
    rng = np.random.default_rng((seed, scene_seed))
    scenery = [_Scene(scene_seed, k) for k in range(num_scenes)]
    classes = len(CLASS_NAMES)
    labels = rng.permutation(np.arange(num_clips) % classes)
    scenes = rng.integers(num_scenes, size=num_clips)
    given_away = rng.random(num_clips) < scene_bias
    scenes = np.where(given_away, labels % num_scenes, scenes)
    shape = (num_clips, NUM_FRAMES, SIZE, SIZE)
    clips = SyntheticClips(
        videos=np.empty((*shape, 3), np.uint8),
        conjugates=np.empty((*shape, 3), np.uint8),
        labels=labels.astype(np.int32),
        scenes=scenes.astype(np.int32),
        actor_masks=np.zeros(shape, bool),
        thing_masks=np.empty(shape, bool),
        boxes=np.empty((*shape[:2], num_actors + 2, 4), np.float32),
    )
    for i in range(num_clips):
        begin = rng.integers(NUM_FRAMES - acting_frames + 1)
        acts = slice(begin, begin + acting_frames)
        video, conjugate, masks = _render_pair(
            rng, scenery[scenes[i]], labels[i], num_actors, acts
        )
        clips.videos[i] = video
        clips.conjugates[i] = conjugate
        clips.actor_masks[i, acts] = masks[:num_actors, acts].any(axis=0)
        clips.thing_masks[i] = masks.any(axis=0)
        clips.boxes[i] = np.stack([_boxes(mask) for mask in masks], axis=1)
    return clips


def make_untrimmed(
    num_videos: int,
    num_frames: int = 160,
    scene_seed: int = 0,
    seed: int = 0,
) -> Iterator[SyntheticVideo]:
    """Makes untrimmed videos: actions in longer stretches of nothing.

    A video shows one of the eight scenes, in which three actors stand still.
    One after the other acts as those of `make_part` do, for one period of its
    motion, 9 frames; 8 frames or more after the one before. Scene, classes,
    places and times are drawn at random.

    Args:
        num_videos: Number of videos.
        num_frames: Frames of a video, 59 or more. Defaults to `160`.
        scene_seed: As in `make_clips`. Defaults to `0`.
        seed: Other seeds have other videos. Defaults to `0`.

    Yields:
        A `SyntheticVideo` at a time, always the same for the same arguments.

    Raises:
        ValueError: If the actions do not find room.
    """
    least = _NUM_ACTORS * (_ACTING + _LEAST_GAP) + _LEAST_GAP
    if num_frames < least:
        raise ValueError(
            f"`num_frames` must be {least} or more. Received: {num_frames=}"
        )
    rng = np.random.default_rng((seed, scene_seed, num_frames))
    scenery = [_Scene(scene_seed, k) for k in range(8)]
    for _ in range(num_videos):
        yield _render_untrimmed(rng, scenery[rng.integers(8)], num_frames)


def to_voxels(masks: np.ndarray) -> np.ndarray:
    """Puts masks of pixels on the grid of `backbone`'s feature maps.

    Args:
        masks: Booleans `(clips, 16, 48, 48)`; `actor_masks` give the true
            action voxels.

    Returns:
        Booleans `(clips, 4, 6, 6)`: True where the mask covers at least a tenth
        of the 4 frames of 8 x 8 pixels that belong to a voxel.
    """
    (t, h, w), (dt, dh, dw) = FEATURE_SIZE, STRIDE
    cells = np.reshape(masks, (-1, t, dt, h, dh, w, dw))
    return cells.mean(axis=(2, 4, 6)) >= 0.1


def step_boxes(boxes: np.ndarray) -> np.ndarray:
    """Returns the boxes of each step of `backbone`'s feature maps.

    Args:
        boxes: Boxes of frames, float32 `(clips, 16, things, 4)`.

    Returns:
        Float32 `(clips, 4, things, 4)`: around a step's four frames.
    """
    steps = np.reshape(
        boxes, (len(boxes), FEATURE_SIZE[0], STRIDE[0], *boxes.shape[2:])
    )
    return np.concatenate(
        [steps[..., :2].min(axis=2), steps[..., 2:].max(axis=2)], axis=-1
    )


@channels_last()
def backbone(weights: str | None = "synthetic") -> Backbone:
    """The network whose feature maps the built-in data set is made of.

    A small 3D network that plays the part of an I3D trained on Kinetics: it
    was trained to distinguish motions and scenes by average pooling, on
    unbiased clips of other scenes (examples/train_synthetic_backbone.py), and
    is used frozen. Its features have zero mean and unit variance in each
    voxel.

    Args:
        weights: Which: `"synthetic"`, those in the package, or None for an
            untrained network. Defaults to `"synthetic"`.

    Returns:
        A `Backbone`, videos `(batch, frames, height, width, 3)` of values in
        [0, 255] -> feature map `(batch, frames / 4, height / 8, width / 8,
        64)`. It sees every frame, at the size of the clips.

    Raises:
        ValueError: If `weights` is something else.
    """
    if weights not in ("synthetic", None):
        raise ValueError(
            f'`weights` must be "synthetic" or None. Received: {weights=}'
        )
    video = keras.Input((None, None, None, 3), name="video")
    x = layers.Rescaling(1 / 127.5, offset=-1)(video)
    # Small differences, made as large as the frames themselves.
    after, before = (
        layers.Cropping3D((frames, (0, 0), (0, 0)))(x)
        for frames in ((1, 0), (0, 1))
    )
    change = layers.Rescaling(3.0)(layers.Subtract()([after, before]))
    change = layers.ZeroPadding3D(((0, 1), (0, 0), (0, 0)))(change)
    x = layers.Concatenate()([x, change])
    for filters, kernel_size, strides in (
        (16, (1, 3, 3), (1, 2, 2)),
        (32, 3, 2),
        (64, 3, 2),
    ):
        x = layers.Conv3D(
            filters, kernel_size, strides, padding="same", use_bias=False
        )(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.Conv3D(64, (3, 1, 1), padding="same", use_bias=False)(x)
    x = layers.LayerNormalization(center=False, scale=False)(x)
    model = keras.Model(video, x, name="synthetic_backbone")
    if weights is not None:
        with np.load(_WEIGHTS) as arrays:
            model.set_weights([arrays[str(i)] for i in range(len(arrays))])
        model.trainable = False
    return make_backbone(model, size=(SIZE, SIZE), name=model.name)


class _Scene:
    """A texture, and what moves in front of it."""

    def __init__(self, scene_seed, number):
        rng = np.random.default_rng((7919, scene_seed, number))
        size = SIZE + 32
        y, x = np.mgrid[:size, :size]
        pattern = np.zeros((size, size))
        for _ in range(3):
            angle = rng.uniform(0, np.pi)
            frequency = rng.uniform(0.25, 1.2)
            pattern += np.sin(
                frequency * (np.cos(angle) * x + np.sin(angle) * y)
                + rng.uniform(0, 2 * np.pi)
            )
        pattern = 0.5 + pattern / 6.0
        dark, light = rng.uniform(20, 235, (2, 3))
        texture = dark + pattern[..., None] * (light - dark)
        self.texture = texture.astype(np.float32)
        self.motions = rng.choice(CLASS_NAMES, size=2)
        self.colors = rng.uniform(20, 235, (2, 3))


def _render_pair(rng, scene, label, num_actors, acts):
    things, offset = _place_things(rng, scene, num_actors)

    def film(motion, shift=0):
        actors = [(motion, acts)] * num_actors if motion else []
        return _film(rng, scene, things, offset, actors, NUM_FRAMES, shift)

    video, masks = film(CLASS_NAMES[label])
    conjugate, _ = film(
        rng.choice(["standing", ""]), shift=rng.integers(-2, 3, size=2)
    )
    return video, conjugate, masks


def _place_things(rng, scene, num_actors):
    """Actors and a scene's other things, and which part of it is seen."""
    places = _places(rng, num_actors + len(scene.motions))
    angles = rng.uniform(0, np.pi, len(places))
    colors = rng.uniform(20, 235, (len(places), 3))
    colors[num_actors:] = scene.colors
    things = [
        _Thing(*looks, is_actor=i < num_actors)
        for i, looks in enumerate(zip(places, colors, angles, strict=True))
    ]
    return things, rng.integers(4, 28, size=2)


def _film(rng, scene, things, offset, actors, num_frames, shift=0):
    """Frames, and masks of the things.

    `actors` are (motion, when it acts) of the first of the things; without
    any, no actor is there.
    """
    top, left = offset - shift
    background = scene.texture[top : top + SIZE, left : left + SIZE]
    frames = np.repeat(background[None], num_frames, axis=0)
    masks = np.zeros((len(things), *frames.shape[:-1]), bool)
    first = len(things) - len(scene.motions)
    for mask, thing, motion in zip(
        masks[first:], things[first:], scene.motions, strict=True
    ):
        phase = rng.uniform(0, 2 * np.pi)
        _draw(frames, mask, thing, motion, phase, shift)
    phase = rng.uniform(0, 2 * np.pi)
    for mask, actor, (motion, acts) in zip(masks, things, actors, strict=False):
        _draw(frames, mask, actor, motion, phase, shift, acts)
    noise = rng.standard_normal(frames.shape, np.float32)
    frames = np.rint(frames + _NOISE * noise)
    return np.clip(frames, 0, 255).astype(np.uint8), masks


def _render_untrimmed(rng, scene, num_frames):
    gaps = _LEAST_GAP * np.arange(1, _NUM_ACTORS + 1)
    acted = _ACTING * np.arange(_NUM_ACTORS)
    room = num_frames - gaps[-1] - acted[-1] - _ACTING - _LEAST_GAP
    spare = np.sort(rng.integers(room + 1, size=_NUM_ACTORS))
    begins = (spare + gaps + acted).tolist()
    labels = rng.choice(CLASS_NAMES, size=_NUM_ACTORS).tolist()
    acts = [slice(begin, begin + _ACTING) for begin in begins]
    things, offset = _place_things(rng, scene, _NUM_ACTORS)
    actors = list(zip(labels, acts, strict=True))
    frames, _ = _film(rng, scene, things, offset, actors, num_frames)
    segments = tuple(
        Segment(when.start / FRAME_RATE, when.stop / FRAME_RATE, label)
        for when, label in zip(acts, labels, strict=True)
    )
    return SyntheticVideo(frames, segments)


def _boxes(mask):
    """Boxes `(frames, 4)` around the pixels of `(frames, 48, 48)`."""
    columns, rows = mask.any(axis=1), mask.any(axis=2)
    sides = [
        columns.argmax(axis=1),
        rows.argmax(axis=1),
        SIZE - columns[:, ::-1].argmax(axis=1),
        SIZE - rows[:, ::-1].argmax(axis=1),
    ]
    return np.stack(sides, axis=-1).astype(np.float32) / SIZE


def _places(rng, count):
    """Centers of `count` things that do not cover each other."""
    cells = rng.permutation(9)[:count]
    centers = 8 + 16 * np.stack([cells // 3, cells % 3], axis=-1)
    return centers + rng.uniform(-3, 3, (count, 2))


@dataclasses.dataclass(frozen=True)
class _Thing:
    """An actor (an ellipse with a light rim) or another thing (a box)."""

    place: np.ndarray
    color: np.ndarray
    angle: float
    is_actor: bool


def _draw(frames, mask, thing, motion, phase, shift, acts=slice(None)):
    """Paints a thing, which moves during `acts`, into `frames` and `mask`."""
    begin, end, _ = acts.indices(len(frames))
    time = np.clip(np.arange(len(frames)), begin, end - 1)
    swing = 2 * np.pi * time / _PERIOD + phase
    sin, cos = np.sin(swing), np.cos(swing)
    still = np.zeros(len(frames))
    dy, dx = {
        "horizontal": (still, sin),
        "vertical": (sin, still),
        "rising": (-0.71 * sin, 0.71 * sin),
        "falling": (0.71 * sin, 0.71 * sin),
        "clockwise": (0.85 * sin, 0.85 * cos),
        "counterclockwise": (-0.85 * sin, 0.85 * cos),
    }.get(motion, (still, still))
    scale = 1.0 + 0.45 * sin if motion == "pulsing" else 1.0 + still
    angle = thing.angle + (swing / 2 if motion == "spinning" else still)

    # Only the pixels that the thing can reach.
    middle = thing.place + shift
    top, left = np.maximum(0, np.floor(middle).astype(int) - _REACH)
    bottom, right = np.ceil(middle).astype(int) + _REACH
    window = (slice(None), slice(top, bottom), slice(left, right))
    y, x = np.mgrid[window[1:]]
    height, width = frames[window].shape[1:3]
    y, x = y[:height, :width], x[:height, :width]

    def per_frame(values):
        return values[:, None, None].astype(np.float32)

    y = y - per_frame(middle[0] + _AMPLITUDE * dy)
    x = x - per_frame(middle[1] + _AMPLITUDE * dx)
    c, s = per_frame(np.cos(angle)), per_frame(np.sin(angle))
    u = (c * x + s * y) / per_frame(6.0 * scale)
    v = (c * y - s * x) / per_frame(4.0 * scale)
    if thing.is_actor:
        radius = np.sqrt(u * u + v * v)
    else:
        radius = np.maximum(np.abs(u), np.abs(v))
    cover = np.clip(4.0 * (1.0 - radius), 0.0, 1.0)[..., None]
    mask[window] = cover[..., 0] > 0.5
    color = thing.color
    if thing.is_actor:
        color = np.where(cover > 0.85, color, _RIM)
    frames[window] += cover * (color - frames[window])
