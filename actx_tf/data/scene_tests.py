"""Makes the known tests of static bias from the clips of an index.

    iid    the clips as they are
    scuba  the actor of a clip in another scene, a picture that stands still
    scufo  one frame of that, for the length of the clip: no action is seen
    swap   the actor in what another clip's camera saw, a clip of another class

SCUBA and SCUFO are those of Li et al. (ICCV 2023), the swap is that of Chung et
al. (NeurIPS 2022). Who names the actions, and not the scene or the actor's
looks, is right on SCUBA and not on SCUFO.
"""

import collections
import dataclasses
import itertools
import os
import zlib
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from actx_tf.data.actor_masks import mask_overlap
from actx_tf.data.actor_masks import masks_by_difference
from actx_tf.data.actor_masks import masks_by_motion
from actx_tf.data.clip_index import CONJUGATE
from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import UnfitClip
from actx_tf.data.composites import covering
from actx_tf.data.composites import feathered
from actx_tf.data.composites import noise
from actx_tf.data.composites import pasted
from actx_tf.data.composites import stripes
from actx_tf.data.composites import there_and_back
from actx_tf.data.conjugates import check_new_names
from actx_tf.data.conjugates import without_conjugates
from actx_tf.data.extraction import progress_bar
from actx_tf.data.masks import fit_masks
from actx_tf.data.video import ClipFrames
from actx_tf.data.video import VideoError
from actx_tf.data.video import cut_box
from actx_tf.data.video import read_clip
from actx_tf.data.video_writing import is_written
from actx_tf.data.video_writing import origin_of
from actx_tf.data.video_writing import write_video

ACTORS = ("masks", "conjugate", "median", "motion")
SCENES = ("conjugates", "stripes", "noise")
_DRAWN = {"stripes": stripes, "noise": noise}
_MOST = 0.8  # share of the pixels: more leaves no room for a scene
_FEATHER = 0.004  # standard deviation; of the shorter side


class _Scene(NamedTuple):
    """A conjugate, and the clip whose it is."""

    footage: Clip
    owner: Clip


def make_scene_tests(
    clips: Sequence[Clip],
    videos: str | os.PathLike,
    *,
    actors: str = "masks",
    masks: Mapping[str, np.ndarray] | None = None,
    scenes: Collection[str] = ("conjugates",),
    background: Collection[str] = (),
    split: str = "test",
    seed: int = 0,
    progress: bool = False,
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Makes tests of static bias from the action clips of a split.

    Actors are cut out

    - by given `"masks"`;
    - as what differs from the clip's own `"conjugate"`, or from its `"median"`
      over time: see `masks_by_difference`;
    - or by `"motion"` and colour, as FAME does: see `masks_by_motion`.

    Scenes are

    - `"conjugates"` of other clips of the split, of another class and another
      source: SCUBA shows their middle frame, and the swap all of them. Who acts
      in them is there too: take conjugates that show nobody;
    - `"stripes"` or `"noise"`: see `stripes` and `noise`. There is no swap of
      these.

    Each scene is taken as often as another, and drawn by the seed, of each clip
    for itself: the same call goes on after an interruption, and files that are
    whole are kept. All frames of a clip are in memory at once.

    Args:
        clips: The clips of an index, with conjugates where these are needed.
        videos: Folder of the video files, `<clip>.<test>.mp4`. It is made if it
            is not there.
        actors: How actors are cut out. Defaults to `"masks"`.
        masks: As in `emptied_conjugates`. Defaults to `None`.
        scenes: Kinds of scenes: each clip is shown in one of each. Defaults to
            `("conjugates",)`.
        background: Labels that show no action. Defaults to none.
        split: Split of the clips. Defaults to `"test"`.
        seed: Seed of all that is drawn. Defaults to `0`.
        progress: Whether to show a progress bar. Defaults to `False`.

    Returns:
        A tuple `(tests, missing)`. `tests` holds for each clip `c` that could
        be shown in all scenes: itself, without conjugates; `c.scuba_<kind>`,
        whose conjugate is `c.scufo_<kind>`; and `c.swap`. Their columns
        `test`, `scenes`, `actor`, `scene_of` and `scene_label` say which test
        it is, the kind of scenes, whose actor it shows, the clip whose scene it
        is, and that clip's label. `missing` is a list of `(clip, reason)`.

    Raises:
        ImportError: If PyAV or OpenCV is missing.
        ValueError: If an argument is wrong, no clip is left, a name is taken,
            or a file is in the folder that this call would write otherwise.

    Reference:
        - Li et al., Mitigating and Evaluating Static Bias of Action
          Representations in the Background and the Foreground, ICCV 2023
        - Chung et al., Enabling Detailed Action Recognition Evaluation Through
          Video Dataset Augmentation, NeurIPS 2022
    """
    chosen = _chosen(clips, actors, masks, scenes, background, split)
    by_name = {clip.clip: clip for clip in clips}
    dealt: Mapping[str, _Scene] = {}
    if "conjugates" in scenes:
        dealt = _deal(chosen, by_name, seed)
    folder = Path(videos)
    folder.mkdir(parents=True, exist_ok=True)
    tests, missing = [], []
    rows = {
        clip.clip: _rows(clip, folder, scenes, dealt.get(clip.clip))
        for clip in chosen
    }
    check_new_names([row for of_clip in rows.values() for row in of_clip])
    with progress_bar(len(chosen), 0, progress) as bar:
        for clip in chosen:
            bar.update()
            try:
                if "conjugates" in scenes and clip.clip not in dealt:
                    raise UnfitClip(
                        "no clip of another class and source has a conjugate"
                    )
                _make(
                    rows[clip.clip],
                    clip,
                    actors,
                    masks,
                    by_name,
                    dealt.get(clip.clip),
                    seed,
                )
            except (UnfitClip, VideoError) as error:
                missing.append((clip, str(error)))
                continue
            tests += rows[clip.clip]
    if not tests:
        raise ValueError(
            "`clips` must hold clips whose actors can be cut out. Received: "
            f"{len(chosen)} of the split {split!r}, left out for "
            f"{sorted({reason for _, reason in missing})[:3]}"
        )
    return tests, missing


def scene_test_indexes(tests: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Sorts what `make_scene_tests` made into indexes.

    Args:
        tests: The clips.

    Returns:
        The clips of each index by its name: `index`, all of them; `iid`;
        `scuba_<kind>` of each kind of scenes, with SCUFO as conjugates, so that
        `scene_report` gives contrasted accuracy; `scufo_<kind>`, with the
        labels of the actors, to be tested by itself; and `swap`, if there is
        any.
    """
    labels = {clip.clip: (clip.label, clip.split) for clip in tests}
    found: dict[str, list[Clip]] = {"index": list(tests)}
    for clip in tests:
        test, kind = clip.extra["test"], clip.extra["scenes"]
        name = f"{test}_{kind}" if test in ("scuba", "scufo") else test
        if test == "scufo":
            found.setdefault(f"scuba_{kind}", []).append(clip)
            label, split = labels[clip.extra["actor"]]
            clip = dataclasses.replace(clip, label=label, split=split)
        found.setdefault(name, []).append(clip)
    return found


def mask_quality(
    clips: Sequence[Clip],
    masks: Mapping[str, np.ndarray],
    conjugates: Mapping[str, Clip],
    progress: bool = False,
) -> dict[str, tuple[list[float], int]]:
    """Measures how well actors are found without the masks that are given.

    Args:
        clips: Clips that have masks, others are passed over.
        masks: As in `make_scene_tests`.
        conjugates: Clips by name, among them the conjugates of `clips`.
        progress: Whether to show a progress bar. Defaults to `False`.

    Returns:
        For each way without masks: the intersection over union of each clip in
        which it finds somebody, and the number of clips in which it does not.
    """
    quality: dict[str, tuple[list[float], int]] = {
        way: ([], 0) for way in ACTORS[1:]
    }
    clips = [clip for clip in clips if clip.clip in masks]
    with progress_bar(len(clips), 0, progress) as bar:
        for clip in clips:
            bar.update()
            try:
                frames, truth, _ = _cut_out(clip, "masks", masks, conjugates)
            except (UnfitClip, VideoError):
                continue
            for way, (overlaps, without) in quality.items():
                try:
                    found = _find(clip, frames, way, conjugates)
                except (UnfitClip, VideoError):
                    quality[way] = overlaps, without + 1
                else:
                    overlaps.append(mask_overlap(found, truth))
    return quality


def _chosen(clips, actors, masks, scenes, background, split):
    """The action clips of the split; or says what is wrong."""
    if actors not in ACTORS:
        raise ValueError(
            f"`actors` must be one of {ACTORS}. Received: actors={actors!r}"
        )
    if actors == "masks" and masks is None:
        raise ValueError(
            "`masks` must be given for actors='masks'; the other ways need "
            f"none: {ACTORS[1:]}. Received: masks=None"
        )
    if (
        isinstance(scenes, str)
        or not scenes
        or set(scenes) - set(SCENES)
        or len(set(scenes)) < len(scenes)
    ):
        raise ValueError(
            f"`scenes` must be one or more of {SCENES}, each once. "
            f"Received: scenes={scenes!r}"
        )
    labels = {label for clip in clips for label in clip.labels}
    if unknown := sorted(set(background) - labels):
        raise ValueError(
            f"`background` must be labels of the clips, {sorted(labels)}. "
            f"Received: background={unknown}"
        )
    chosen = [
        clip
        for clip in clips
        if clip.split == split != CONJUGATE
        and not set(clip.labels) & set(background)
    ]
    if not chosen:
        raise ValueError(
            f"`clips` must hold action clips of the split {split!r} (`split`). "
            "Received: clips of the splits "
            f"{sorted({clip.split for clip in clips} - {CONJUGATE})}, with "
            f"background={sorted(background)}"
        )
    needs = [x for x in ("conjugates",) if x in scenes]
    needs += ["actors='conjugate'"] if actors == "conjugate" else []
    if needs and not any(clip.conjugates for clip in chosen):
        raise ValueError(
            f"`clips` must have conjugates for {' and '.join(needs)}: find "
            f"them with `actx mine --splits={split}`, or take other `scenes` "
            f"and `actors`. Received: none in {len(chosen)} clips of the split"
        )
    return chosen


def _deal(chosen, by_name, seed):
    """Clip -> the scene it is shown in, each about equally often."""
    random = np.random.default_rng(seed)
    scenes = [
        _Scene(by_name[name], clip)
        for clip in chosen
        for name in clip.conjugates
    ]
    waiting = collections.deque(
        scenes[i] for i in random.permutation(len(scenes))
    )
    dealt = {}
    for clip in chosen:
        for place, scene in enumerate(waiting):
            if _is_foreign(scene, clip):
                dealt[clip.clip] = scene
                del waiting[place]
                waiting.append(scene)
                break
    return dealt


def _is_foreign(scene, clip):
    """Whether a scene is of another class, and of another source."""
    return not (
        set(scene.owner.labels) & set(clip.labels)
        or scene.footage.clip in clip.conjugates
        or scene.footage.file == clip.file
        or (
            clip.source
            and clip.source in (scene.owner.source, scene.footage.source)
        )
    )


def _rows(clip, folder, scenes, scene):
    """The rows of the index that are made of a clip."""
    (clip,) = without_conjugates([clip])
    of_scene = {"scene_of": "", "scene_label": ""}
    if scene is not None:
        of_scene = {
            "scene_of": scene.owner.clip,
            "scene_label": scene.owner.label,
        }

    def row(test, kind, **changes):
        name = f"{clip.clip}.{test}" + (f"_{kind}" if test != "swap" else "")
        extra = {"test": test, "scenes": kind, "actor": clip.clip}
        if kind == "conjugates":
            extra |= of_scene
        return dataclasses.replace(
            clip,
            clip=name,
            file=str(folder / f"{name}.mp4"),
            start=0.0,
            end=None,
            box=None,
            extra={**clip.extra, **extra},
            **changes,
        )

    own = {"test": "iid", "scenes": "", "actor": clip.clip}
    rows = [dataclasses.replace(clip, extra={**clip.extra, **own})]
    for kind in scenes:
        scufo = row("scufo", kind, label=CONJUGATE, split=CONJUGATE)
        rows += [row("scuba", kind, conjugates=(scufo.clip,)), scufo]
    if "conjugates" in scenes:
        rows.append(row("swap", "conjugates"))
    return rows


def _make(rows, clip, actors, masks, by_name, scene, seed):
    """Writes the files of a clip that are not there yet."""
    own = (
        f"{origin_of(clip)}, {actors} "
        f"{_digest(clip, actors, masks, by_name)}, seed={seed}"
    )
    comments = {}
    for row in rows[1:]:
        test, kind = row.extra["test"], row.extra["scenes"]
        of = origin_of(scene.footage) if kind == "conjugates" else kind
        comments[row.clip] = f"actx scene-benchmark: {test} of {own} on {of}"
    left = [
        row
        for row in rows[1:]
        if not is_written(row.file, comments[row.clip], "output")
    ]
    if not left:
        return
    frames, found, rate = _cut_out(clip, actors, masks, by_name)
    size = frames.shape[1:3]
    alphas = feathered(found, _FEATHER * min(size))
    held = _middle(found)
    footage = None
    if any(row.extra["scenes"] == "conjugates" for row in left):
        footage = _footage(scene.footage, rate, len(frames), size)
    for row in left:
        test, kind = row.extra["test"], row.extra["scenes"]
        if test == "swap":
            places = there_and_back(len(footage), len(frames))
            video = pasted(frames, alphas, footage[places])
        else:
            if kind == "conjugates":
                still = footage[len(footage) // 2]
            else:
                drawn = [seed, zlib.crc32(clip.clip.encode())]
                still = _DRAWN[kind](size, drawn)
            video = pasted(frames, alphas, still)
        if test == "scufo":
            write_video(
                row.file,
                itertools.repeat(video[held], len(video)),
                rate,
                held=True,
                comment=comments[row.clip],
            )
        else:
            write_video(row.file, video, rate, comment=comments[row.clip])


def _cut_out(clip, actors, masks, by_name):
    """The frames of a clip, where its actor is, and the frame rate."""
    if actors == "masks" and clip.clip not in masks:
        raise UnfitClip("it has no masks")
    frames, rate = read_clip(clip.file, start=clip.start, end=clip.end)
    if actors == "masks":
        whole = fit_masks(masks[clip.clip], frames)
        frames = cut_box(frames, clip.box)
        found = cut_box(whole[..., np.newaxis], clip.box)[..., 0]
    else:
        frames = cut_box(frames, clip.box)
        found = _find(clip, frames, actors, by_name)
    if not found.any():
        raise UnfitClip("nobody is found in it")
    if (share := found.mean()) > _MOST:
        raise UnfitClip(
            f"who acts fills {share:.0%} of its frames: no scene is left"
        )
    return frames, found, rate


def _find(clip, frames, way, by_name):
    """Where the actor is, found without masks."""
    if way == "motion":
        return masks_by_motion(frames)
    if way == "median":
        return masks_by_difference(frames)
    if not clip.conjugates:
        raise UnfitClip("it has no conjugate")
    conjugate = by_name[clip.conjugates[0]]
    scene, _ = read_clip(conjugate.file, **conjugate.part)
    return masks_by_difference(frames, scene)


def _middle(masks):
    """The frame nearest to the middle that shows the actor."""
    seen = np.flatnonzero(masks.any((1, 2)))
    return seen[np.abs(seen - (len(masks) - 1) / 2).argmin()]


def _footage(clip, rate, count, size):
    """Up to `count` frames of a scene, as large as the actor's."""
    frames: Iterator[np.ndarray] = iter(
        ClipFrames(clip.file, frame_rate=rate, **clip.part)
    )
    try:
        return np.stack(
            [covering(frame, size) for frame in itertools.islice(frames, count)]
        )
    except VideoError as error:
        raise VideoError(f"its scene {clip.clip}: {error}") from error


def _digest(clip, actors, masks, by_name):
    """What the masks of a clip depend on beside its frames."""
    if actors == "masks" and clip.clip in masks:
        return f"{zlib.crc32(masks[clip.clip].tobytes()):08x}"
    if actors == "conjugate" and clip.conjugates:
        return origin_of(by_name[clip.conjugates[0]])
    return ""
