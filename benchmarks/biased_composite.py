"""Makes the biased composite: does a method learn the action, or the scene?

    python -m benchmarks.biased_composite --actors=jhmdb/index.csv \\
        --masks=jhmdb/masks.npz --scenes=fight-detection-surv-dataset \\
        --output=composite

People of J-HMDB, cut out by their masks, act in footage of cameras that watch
streets, shops and halls. In training the scene gives the class away: scenes are
in as many groups as there are classes, and in 95% of the clips the scene is of
the class' own group. In the test it never does: other people of other videos,
in scenes never seen in training, every class in all of them alike.

--actors and --masks are written by `actx index --dataset=jhmdb --masks=...`.
--scenes is a copy of github.com/seymanurakti/fight-detection-surv-dataset
(Akti, Tataroglu, Ekenel 2019). Of its clips without a fight those are taken
that sc_fight_scenes.csv lists, with the camera and the video that each is from.
People can walk by in them.

Writes a folder:

    videos/         24 frames of 224 x 224 pixels at 30 a second a clip
    index.csv       clips of the splits train, validation, test and conjugate
    biased.csv      test clips whose scene gives the class away, as in training
    scene_only.csv  scenes without an actor, labelled by what they give away
    masks.npz       where the actor is, for `actx localize --masks`

Columns of the indexes: `source` and `actor` are the J-HMDB video and clip that
the actor is from, `scene` is the camera, `group` the class that a training
scene gives away (empty: none), `footage` the file and the first frame.

A training clip's conjugate shows the same window of the same scene in other
footage of it, or the same backwards where there is no other; in every second
one the actor stands still, in the others there is none. Half of the validation
clips are in training scenes that give the class away, half in scenes of their
own. What validation, biased.csv and scene_only.csv show of training scenes is
footage that no training clip or conjugate shows. No actor's source and, but for
that footage, no scene's video is in two of training, validation and test.

Accuracy on scene_only.csv is how well the scene alone gives the model's answer:
chance is best. An actor of fewer than 24 frames is played back and forth. Some
actors lack a part of the body, which J-HMDB's frames cut off.
"""

import argparse
import collections
import csv
import dataclasses
import functools
import itertools
import os
import pathlib
import tempfile

import cv2
import numpy as np

from actx_tf.data import Clip
from actx_tf.data import ClipFrames
from actx_tf.data import Masks
from actx_tf.data import read_clip
from actx_tf.data import read_clip_index
from actx_tf.data import write_clip_index
from actx_tf.data import write_masks
from actx_tf.data.composites import feathered
from actx_tf.data.composites import pasted
from actx_tf.data.composites import there_and_back
from actx_tf.data.video_writing import write_video
from actx_tf.utils.checks import check_positive

CLASSES = (
    "brush_hair",
    "clap",
    "climb_stairs",
    "golf",
    "jump",
    "kick_ball",
    "pour",
    "pullup",
    "shoot_bow",
    "swing_baseball",
)
SCENES_OF_A_GROUP = 4
VALIDATION_SCENES = 10
# Of each class' actors, in clips.
SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
FRAMES = 24
FRAME_RATE = 30
SIZE = 224  # of the window, in pixels
SCENE_SIZE = 240  # shorter side of the frames that it is cut out from
ACTOR_SIZE = (110, 170)  # longer side of the actor's box
FEATHER = 1.0  # standard deviation of the edge's blur, in pixels
# What x264 decides by looking ahead differs from run to run.
ENCODING = {
    "crf": "10",
    "bf": "0",
    "x264-params": "mbtree=0:scenecut=0:weightp=0",
}
SCENE_TABLE = pathlib.Path(__file__).with_name("sc_fight_scenes.csv")


@dataclasses.dataclass(frozen=True)
class Footage:
    """`FRAMES` frames of a file."""

    file: str
    first: int
    backwards: bool = False

    def __str__(self):
        name = f"{pathlib.Path(self.file).name}:{self.first}"
        return f"{name} backwards" if self.backwards else name


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a camera saw: `held_out` is never shown in training."""

    name: str
    video: str
    footage: tuple[Footage, ...]
    held_out: tuple[Footage, ...] = ()


@dataclasses.dataclass(frozen=True)
class Composite:
    """What a clip is made of. Places are shares of the room there is."""

    name: str
    label: str
    split: str
    scene: Scene
    footage: Footage
    window: tuple[float, float]  # y, x
    group: str = ""
    actor: Clip | None = None
    first: int = 0  # frame of the actor's clip
    frozen: bool = False
    actor_size: float = 0.0  # longer side, in pixels
    place: tuple[float, float] = (0.0, 0.0)  # y, x in the window


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--actors", required=True, help="index of J-HMDB")
    parser.add_argument("--masks", required=True, help="its masks (.npz)")
    parser.add_argument("--scenes", required=True, help="folder of the scenes")
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument("--train_clips", type=int, default=480)
    parser.add_argument("--validation_clips", type=int, default=120)
    parser.add_argument("--test_clips", type=int, default=300)
    parser.add_argument("--scene_only_clips", type=int, default=200)
    parser.add_argument("--bias", type=float, default=0.95)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    if os.path.exists(flags.output):
        parser.error(f"--output={flags.output} exists; give another folder")
    masks = Masks(flags.masks)
    indexes = plan(
        read_actors(flags.actors, masks),
        {name: len(masks[name]) for name in masks},
        read_scenes(flags.scenes),
        train_clips=flags.train_clips,
        validation_clips=flags.validation_clips,
        test_clips=flags.test_clips,
        scene_only_clips=flags.scene_only_clips,
        bias=flags.bias,
        seed=flags.seed,
    )
    print(table(indexes), flush=True)
    write(flags.output, indexes, masks)
    print(f"written: {flags.output}")


def read_actors(index, masks, classes=CLASSES):
    """Clips of the classes with a mask in each frame; `source` is set."""
    actors = []
    for clip in read_clip_index(index):
        if clip.label not in classes:
            continue
        # `actx index` calls the video a clip was cut from `scene`.
        source = clip.source or clip.extra.get("scene")
        if not source:
            raise ValueError(
                f"{index}: a `source` is expected, the video that a clip was "
                f"cut from. Received: none for {clip.clip!r}"
            )
        if clip.clip not in masks:
            raise ValueError(f"the masks lack {clip.clip!r} of {index}")
        if masks[clip.clip].any(axis=(1, 2)).all():
            actors.append(dataclasses.replace(clip, source=source))
    return actors


def read_scenes(folder, path=SCENE_TABLE):
    """The scenes of a table (file, scene, video) of files in a folder."""
    footage = collections.defaultdict(list)
    with open(path, encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            file = os.path.join(folder, row["file"])
            frames = ClipFrames(file).count()
            count = frames // FRAMES
            # As far apart as they can be.
            firsts = np.linspace(0, frames - FRAMES, count).astype(int)
            footage[row["video"], row["scene"]].extend(
                Footage(file, int(first)) for first in firsts
            )
    return [
        Scene(name, video, tuple(parts))
        for (video, name), parts in footage.items()
        if parts
    ]


def plan(
    actors,
    lengths,
    scenes,
    train_clips,
    validation_clips,
    test_clips,
    scene_only_clips,
    bias,
    seed,
):
    """Decides what each clip is made of.

    Args:
        actors: Clips with a `source`.
        lengths: Name of an actor's clip -> its number of frames.
        scenes: The scenes.
        train_clips: Number of training clips; each has a conjugate.
        validation_clips: Number of validation clips.
        test_clips: Number of test clips, and of those of `biased.csv`.
        scene_only_clips: Number of clips without an actor.
        bias: Share of the training clips whose scene is of their class' group.
        seed: Seed of all that is random.

    Returns:
        Name of an index -> its list of `Composite`.

    Raises:
        ValueError: If there are too few actors or scenes, or a number is wrong.
    """
    check_positive("train_clips", train_clips)
    check_positive("validation_clips", validation_clips)
    check_positive("test_clips", test_clips)
    check_positive("scene_only_clips", scene_only_clips)
    if not 0 <= bias <= 1:
        raise ValueError(f"`bias` must be in [0, 1]. Received: bias={bias}")
    rng = np.random.default_rng(seed)
    cast = split_actors(actors, rng)
    groups, validation_scenes, test_scenes = split_scenes(
        scenes, sorted(cast["test"]), rng
    )
    held_out = {
        group: [dataclasses.replace(s, footage=s.held_out) for s in members]
        for group, members in groups.items()
    }
    draw = functools.partial(draw_clips, lengths=lengths, rng=rng, bias=bias)
    train = draw("train", train_clips, cast["train"], groups)
    biased = validation_clips // 2
    unbiased = validation_clips - biased
    return {
        "index": [
            *train,
            *draw(
                "validation",
                biased,
                cast["validation"],
                held_out,
                prefix="validation_biased",
            ),
            *draw(
                "validation", unbiased, cast["validation"], validation_scenes
            ),
            *draw("test", test_clips, cast["test"], test_scenes),
            *(
                conjugate_of(clip, frozen=i % 2 == 1, rng=rng)
                for i, clip in enumerate(train)
            ),
        ],
        "biased": draw(
            "test", test_clips, cast["test"], held_out, prefix="biased"
        ),
        "scene_only": draw(
            "test",
            scene_only_clips,
            None,
            held_out,
            prefix="scene_only",
            bias=1.0,
        ),
    }


def split_actors(actors, rng):
    """Split -> class -> clips: each source in one split, as `SHARES` says."""
    split_of = {}
    cast = {split: collections.defaultdict(list) for split in SHARES}
    for label in sorted({clip.label for clip in actors}):
        clips = [clip for clip in actors if clip.label == label]
        counts = collections.Counter(clip.source for clip in clips)
        sources = [sorted(counts)[i] for i in rng.permutation(len(counts))]
        # Large ones first: the small ones even the shares out.
        for source in sorted(sources, key=counts.get, reverse=True):
            if source not in split_of:
                split_of[source] = max(
                    SHARES,
                    key=lambda split: (
                        SHARES[split] * len(clips) - len(cast[split][label])
                    ),
                )
            cast[split_of[source]][label].extend(
                clip for clip in clips if clip.source == source
            )
        if missing := [split for split in SHARES if not cast[split][label]]:
            raise ValueError(
                f"the class {label!r} needs sources for each of "
                f"{', '.join(SHARES)}. Received: {len(counts)} sources, none "
                f"left for {', '.join(missing)}"
            )
    return cast


def split_scenes(scenes, classes, rng):
    """Returns class -> training scenes; validation scenes; test scenes.

    The videos with most footage are for training. All scenes of a video are in
    one of the three, or left out.
    """
    videos = collections.defaultdict(list)
    for i in rng.permutation(len(scenes)):
        videos[scenes[i].video].append(scenes[i])
    ordered = sorted(
        videos.values(), key=lambda v: max(len(s.footage) for s in v)
    )
    needed = SCENES_OF_A_GROUP * len(classes)
    train = []
    while ordered and len(train) < needed:
        train += [s for s in ordered.pop() if len(s.footage) > 1]
    rest = [ordered[i] for i in rng.permutation(len(ordered))]
    validation = []
    while rest and len(validation) < VALIDATION_SCENES:
        validation += rest.pop()
    test = [scene for video in rest for scene in video]
    if len(train) < needed or not test:
        raise ValueError(
            f"`scenes` must be more than {needed + VALIDATION_SCENES}, "
            f"{needed} of them of {2 * FRAMES} frames or more. "
            f"Received: {len(scenes)} scenes of {len(videos)} videos"
        )
    train = [hold_out(train[i], rng) for i in rng.permutation(needed)]
    groups = {c: train[k :: len(classes)] for k, c in enumerate(classes)}
    return groups, validation, test


def hold_out(scene, rng):
    """Holds out a quarter of a scene's footage, or what there is."""
    order = rng.permutation(len(scene.footage))
    footage = [scene.footage[i] for i in order]
    count = max(1, len(footage) // 4)
    return dataclasses.replace(
        scene, footage=tuple(footage[count:]), held_out=tuple(footage[:count])
    )


def draw_clips(split, count, cast, scenes, lengths, rng, bias, prefix=None):
    """Draws clips, all classes alike; actors and scenes equally often.

    Args:
        split: The clips' split.
        count: Their number.
        cast: Class -> actors; or None, for scenes alone, which are labelled by
            their group.
        scenes: Class -> scenes of its group; or a list, for scenes that say
            nothing of the class.
        lengths: Name of an actor's clip -> its number of frames.
        rng: Source of all that is random.
        bias: Share of the clips in a scene of their own class' group.
        prefix: What the clips' names begin with. Defaults to the split.
    """
    grouped = isinstance(scenes, dict)
    classes = sorted(scenes if grouped else cast)
    drawn_scenes = {
        c: shuffled(scenes[c] if grouped else scenes, rng) for c in classes
    }
    drawn_actors = {c: shuffled(cast[c], rng) for c in classes} if cast else {}
    foreign = set(rng.permutation(count)[: count - round(bias * count)])
    clips = []
    for i in range(count):
        label = group = classes[i % len(classes)]
        if grouped and i in foreign:
            group = rng.choice([c for c in classes if c != label])
        scene = next(drawn_scenes[group])
        clip = Composite(
            name=f"{prefix or split}_{i:04}",
            label=label,
            split=split,
            scene=scene,
            footage=scene.footage[rng.integers(len(scene.footage))],
            window=tuple(rng.random(2)),
            group=str(group) if grouped else "",
        )
        if cast:
            actor = next(drawn_actors[label])
            spare = max(0, lengths[actor.clip] - FRAMES)
            clip = dataclasses.replace(
                clip,
                actor=actor,
                first=int(rng.integers(spare + 1)),
                actor_size=rng.uniform(*ACTOR_SIZE),
                place=tuple(rng.random(2)),
            )
        clips.append(clip)
    return clips


def shuffled(items, rng):
    """Yields all items in random order, and then again, without end."""
    while True:
        for i in rng.permutation(len(items)):
            yield items[i]


def conjugate_of(clip, frozen, rng):
    """The same window of the scene at another time, the actor still or away."""
    footage = dataclasses.replace(clip.footage, backwards=True)
    if others := [f for f in clip.scene.footage if f != clip.footage]:
        footage = others[rng.integers(len(others))]
    return dataclasses.replace(
        clip,
        name=conjugate_name(clip),
        label="conjugate",
        split="conjugate",
        footage=footage,
        actor=clip.actor if frozen else None,
        frozen=frozen,
    )


def conjugate_name(clip):
    return f"{clip.name}.conjugate"


def table(indexes):
    """The counts of each part, and how often the scene gives the class away."""
    lines = [
        f"{'':20}{'clips':>8}{'actors':>8}{'sources':>8}{'scenes':>8}"
        f"{'given away':>12}"
    ]
    everything = itertools.chain.from_iterable(indexes.values())
    for name, part in itertools.groupby(everything, part_of):
        part = list(part)
        actors = [clip.actor for clip in part if clip.actor]
        given = "-"
        if part[0].group and part[0].split != "conjugate":
            given = np.mean([clip.label == clip.group for clip in part])
            given = f"{given:.3f}"
        lines.append(
            f"{name:20}{len(part):8}{len({a.clip for a in actors}):8}"
            f"{len({a.source for a in actors}):8}"
            f"{len({clip.scene.name for clip in part}):8}{given:>12}"
        )
    return "\n".join(lines)


def part_of(clip):
    if clip.split == "conjugate":
        return "conjugate"
    return clip.name.rpartition("_")[0]


def write(output, indexes, masks):
    """Writes the folder; it appears once it is whole.

    Args:
        output: The folder, which must not be there.
        indexes: What `plan` returned.
        masks: Name of an actor's clip -> booleans `(frames, height, width)`.
    """
    output = pathlib.Path(output).absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent) as draft:
        folder = pathlib.Path(draft, output.name)
        (folder / "videos").mkdir(parents=True)
        write_masks(
            folder / "masks.npz",
            write_videos(
                folder / "videos",
                itertools.chain.from_iterable(indexes.values()),
                masks,
            ),
        )
        for name, clips in indexes.items():
            write_clip_index(
                folder / f"{name}.csv", [row_of(clip, folder) for clip in clips]
            )
        folder.rename(output)


def write_videos(folder, clips, masks):
    """Writes the clips; yields the names and the masks of those who act."""
    for clip in clips:
        frames, mask = render(clip, masks)
        path = folder / f"{clip.name}.mp4"
        write_video(path, frames, FRAME_RATE, encoding=ENCODING)
        if clip.actor and not clip.frozen:
            yield clip.name, mask


def row_of(clip, folder):
    acted = clip.actor is not None
    return Clip(
        clip=clip.name,
        file=str(folder / "videos" / f"{clip.name}.mp4"),
        label=clip.label,
        split=clip.split,
        conjugates=(conjugate_name(clip),) if clip.split == "train" else (),
        source=clip.actor.source if acted else "",
        extra={
            "actor": clip.actor.clip if acted else "",
            "scene": clip.scene.name,
            "group": clip.group,
            "footage": str(clip.footage),
        },
    )


def render(clip, masks):
    """Returns frames, uint8 RGB; and where the actor is, booleans."""
    frames = read_footage(clip.footage)
    y, x = (
        round(share * (side - SIZE))
        for share, side in zip(clip.window, frames.shape[1:3], strict=True)
    )
    frames = frames[:, y : y + SIZE, x : x + SIZE].copy()
    where = np.zeros(frames.shape[:3], bool)
    if clip.actor is None:
        return frames, where
    pixels, alphas = cut_out(
        clip.actor, masks[clip.actor.clip], clip.first, clip.actor_size
    )
    if clip.frozen:
        pixels[:] = pixels[FRAMES // 2]
        alphas[:] = alphas[FRAMES // 2]
    height, width = alphas.shape[1:]
    y, x = (
        round(share * (SIZE - side))
        for share, side in zip(clip.place, (height, width), strict=True)
    )
    part = frames[:, y : y + height, x : x + width]
    part[:] = pasted(pixels, alphas, part)
    where[:, y : y + height, x : x + width] = alphas > 0
    return frames, where


def read_footage(footage):
    frames, _ = read_clip(footage.file, size=SCENE_SIZE)
    frames = frames[footage.first : footage.first + FRAMES]
    return frames[::-1] if footage.backwards else frames


def cut_out(actor, masks, first, longest):
    """Cuts an actor out of the box that holds it in all frames.

    Returns:
        Pixels `(FRAMES, height, width, 3)`, and how much of the actor is in
        each, 0 to 1; the longer side has `longest` pixels.
    """
    frames, _ = read_clip(actor.file)
    masks = masks[:, :, : frames.shape[2]]  # packed ones can be wider
    if masks.shape != frames.shape[:3]:
        raise ValueError(
            f"{actor.file}: a mask for each frame is expected. Received: masks "
            f"{masks.shape} and frames {frames.shape[:3]}"
        )
    taken = there_and_back(len(frames), FRAMES, first)
    frames, masks = frames[taken], masks[taken]
    y1, y2 = span(masks.any(axis=(0, 2)))
    x1, x2 = span(masks.any(axis=(0, 1)))
    scale = longest / max(y2 - y1, x2 - x1)
    size = round(scale * (x2 - x1)), round(scale * (y2 - y1))
    pixels = [
        cv2.resize(frame[y1:y2, x1:x2], size, interpolation=cv2.INTER_CUBIC)
        for frame in frames
    ]
    alphas = feathered(
        [
            cv2.resize(mask[y1:y2, x1:x2].astype(np.float32), size)
            for mask in masks
        ],
        FEATHER,
    )
    return np.stack(pixels), alphas


def span(used):
    places = np.flatnonzero(used)
    return places[0], places[-1] + 1


if __name__ == "__main__":
    main()
