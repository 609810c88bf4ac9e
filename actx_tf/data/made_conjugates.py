"""Making conjugates of a clip itself, where no footage of its scene is left.

Each way takes the clips of an index, writes a video file for each conjugate,
and returns `(clips, missing)` as those of `actx_tf.data.conjugates` do: the
clips of a new index, and what has no conjugate. The action clips of `splits`
get them.
"""

import dataclasses
import itertools
import os
import zlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actx_tf.data.clip_index import CONJUGATE
from actx_tf.data.clip_index import Clip
from actx_tf.data.clip_index import UnfitClip
from actx_tf.data.conjugates import check_new_names
from actx_tf.data.conjugates import check_splits
from actx_tf.data.conjugates import gets_conjugates
from actx_tf.data.conjugates import without_conjugates
from actx_tf.data.emptied import MARGIN
from actx_tf.data.emptied import MOST_FRAMES
from actx_tf.data.emptied import MOST_MOVEMENT
from actx_tf.data.emptied import emptied
from actx_tf.data.extraction import progress_bar
from actx_tf.data.masks import fit_masks
from actx_tf.data.video import ClipFrames
from actx_tf.data.video import VideoError
from actx_tf.data.video import cut_box
from actx_tf.data.video import read_clip
from actx_tf.data.video_writing import is_written
from actx_tf.data.video_writing import origin_of
from actx_tf.data.video_writing import write_video
from actx_tf.utils.checks import check_share

# Frames, frames a second, and whether the frames are one and the same.
_Video = tuple[Iterable[np.ndarray], float, bool]


def frozen_conjugates(
    clips: Sequence[Clip],
    videos: str | os.PathLike,
    at: float = 0.5,
    background: str = "background",
    progress: bool = False,
    splits: Collection[str] = ("train",),
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Holds one frame of each action clip for the length of the clip.

    The conjugate shows the same scene and people, and no motion: what is left
    for an action map is what moves. So it is for actions that a single picture
    does not tell.

    Args:
        clips: The clips of an index.
        videos: Folder of the video files, `<clip>.frozen.mp4`. It is made if
            it is not there. Files of an earlier, interrupted call are kept.
        at: Which frame is held: 0 is the first, 1 the last. Defaults to `0.5`,
            the middle one, in which most of what the clip shows is there: who
            enters has entered, and a moving camera is nearest to where it is
            at other times. `0` is nearest to what was before the action.
        background: Name of the class that shows no action. Defaults to
            `"background"`.
        progress: Whether to show a progress bar. Defaults to `False`.
        splits: As in `conjugates_before_and_after`. Defaults to `("train",)`.

    Returns:
        A tuple `(clips, missing)`. `clips` are those given, and after each its
        conjugate `<clip>.frozen`, a clip of another file, whose label and
        split are `conjugate`. It has the size (that of the clip's box), the
        frame rate and the number of frames of its clip. `missing` is a list of
        `(clip, reason)`, of the action clips of `splits` without a conjugate,
        as they cannot be read.

    Raises:
        ImportError: If PyAV is missing.
        ValueError: If an argument is wrong, there is no action clip in one of
            `splits`, a name of a conjugate is taken, or a file is in the
            folder that this call would write otherwise.
    """
    check_share("at", at)

    def make(clip: Clip) -> _Video:
        video = _frames_of(clip)
        count, rate = _count(video)
        number = round(at * (count - 1))
        frame = next(itertools.islice(video, number, None))
        return itertools.repeat(frame, count), rate, True

    return _make_files(
        clips,
        Path(videos),
        "frozen",
        lambda clip: f"frame {at:g} of 0 to 1",
        make,
        background,
        progress,
        splits,
    )


def emptied_conjugates(
    clips: Sequence[Clip],
    videos: str | os.PathLike,
    masks: Mapping[str, np.ndarray] | None = None,
    margin: float = MARGIN,
    most_movement: float = MOST_MOVEMENT,
    background: str = "background",
    progress: bool = False,
    splits: Collection[str] = ("train",),
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Removes people from each action clip: see `emptied`.

    Clips with masks are emptied by them, all of a clip's frames at once in
    memory; others by the median over time, which needs a camera that stands
    still, and leaves whoever stays in one place. Look at what comes of it.

    Args:
        clips: The clips of an index.
        videos: Folder of the video files, `<clip>.emptied.mp4`. It is made if
            it is not there. Files of an earlier, interrupted call are kept.
        masks: Booleans `(frames, height, width)` of each clip by its name, such
            as `Masks`: of its frames whole, before its box is cut out of them.
            Columns beyond those of the frames are passed over. Defaults to
            `None`.
        margin: See `emptied`. Defaults to `5.0`.
        most_movement: See `emptied`. Defaults to `1.0`.
        background: Name of the class that shows no action. Defaults to
            `"background"`.
        progress: Whether to show a progress bar. Defaults to `False`.
        splits: As in `conjugates_before_and_after`. Defaults to `("train",)`.

    Returns:
        A tuple `(clips, missing)`, as `frozen_conjugates` returns it; the
        conjugates are `<clip>.emptied`. Clips that cannot be emptied are
        missing, as their camera moves, say, or their masks are empty or not of
        their frames.

    Raises:
        ImportError: If PyAV or OpenCV is missing.
        ValueError: As for `frozen_conjugates`.
    """

    def settings(clip: Clip) -> str:
        if masks is None or clip.clip not in masks:
            return f"median, movement to {most_movement:g}"
        digest = zlib.crc32(masks[clip.clip].tobytes())
        return (
            f"masks {digest:08x} and {margin:g}, movement to {most_movement:g}"
        )

    def make(clip: Clip) -> _Video:
        if masks is not None and clip.clip in masks:
            frames, rate = read_clip(clip.file, start=clip.start, end=clip.end)
            mask = fit_masks(masks[clip.clip], frames)
            frames = emptied(frames, mask, margin, most_movement)
            return cut_box(frames, clip.box), rate, False
        count, rate = _count(_frames_of(clip))
        frames = np.stack(list(_frames_of(clip, min(count, MOST_FRAMES))))
        frames = emptied(frames, None, margin, most_movement)
        return itertools.repeat(frames[0], count), rate, True

    return _make_files(
        clips,
        Path(videos),
        "emptied",
        settings,
        make,
        background,
        progress,
        splits,
    )


def _make_files(
    clips: Sequence[Clip],
    folder: Path,
    way: str,
    settings: Callable[[Clip], str],
    make: Callable[[Clip], _Video],
    background: str,
    progress: bool,
    splits: Collection[str],
) -> tuple[list[Clip], list[tuple[Clip, str]]]:
    """Writes a file for each action clip, unless it is there."""
    check_splits(clips, background, splits)
    clips = without_conjugates(clips)
    conjugates = {
        clip.clip: dataclasses.replace(
            clip,
            clip=f"{clip.clip}.{way}",
            file=str(folder / f"{clip.clip}.{way}.mp4"),
            label=CONJUGATE,
            split=CONJUGATE,
            start=0.0,
            end=None,
            box=None,
        )
        for clip in clips
        if gets_conjugates(clip, background, splits)
    }
    check_new_names([*clips, *conjugates.values()])
    kept = {
        clip.clip
        for clip in clips
        if clip.clip in conjugates
        and is_written(
            conjugates[clip.clip].file, _comment(clip, way, settings)
        )
    }
    folder.mkdir(parents=True, exist_ok=True)
    made, missing = [], []
    with progress_bar(len(conjugates), len(kept), progress) as bar:
        for clip in clips:
            conjugate = conjugates.get(clip.clip)
            if conjugate is None:
                made.append(clip)
                continue
            if clip.clip not in kept:
                bar.update()
                try:
                    video = make(clip)
                except (UnfitClip, VideoError) as error:
                    missing.append((clip, str(error)))
                    made.append(clip)
                    continue
                comment = _comment(clip, way, settings)
                write_video(conjugate.file, *video, comment)
            names = (conjugate.clip,)
            made += [dataclasses.replace(clip, conjugates=names), conjugate]
    return made, missing


def _comment(clip, way, settings):
    """What a file is made of, and how."""
    return f"actx mine: {way} ({settings(clip)}) of {origin_of(clip)}"


def _frames_of(clip, num_frames=None):
    return ClipFrames(clip.file, num_frames, **clip.part)


def _count(video):
    """Returns the number of frames, and how many there are a second."""
    return video.count(), video.frame_rate
