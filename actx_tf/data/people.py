"""Stores masks and boxes of the people in clips whose features are stored."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.clip_index import Clip
from actx_tf.data.extraction import progress_bar
from actx_tf.data.feature_store import FeatureStore
from actx_tf.data.feature_store_writer import FeatureStoreWriter
from actx_tf.data.pose import PoseNetwork
from actx_tf.data.pose import find_people
from actx_tf.data.pose import person_boxes
from actx_tf.data.pose import pose_mask
from actx_tf.data.video import VideoError
from actx_tf.data.video import read_clip
from actx_tf.utils.checks import check_positive


def store_people(
    clips: Sequence[Clip],
    features: FeatureStore,
    network: PoseNetwork,
    masks_path: str | os.PathLike,
    boxes_path: str | os.PathLike,
    *,
    num_boxes: int = 10,
    frames_per_step: int = 1,
    zooms: Sequence[float] = (1.0, 2.0),
    keypoint_score: float = 0.2,
    person_score: float = 0.4,
    progress: bool = True,
) -> list[tuple[Clip, str]]:
    """Looks for people in clips, and stores masks and boxes of them.

    The masks, `(time, height, width, 1)`, are for `MaskPooling`: one value for
    each voxel of the features. The boxes, `(time, 1, num_boxes, 4)`, are for
    `RegionPooling`. Clips that both stores hold are left as they are: the same
    call goes on after an interruption.

    Args:
        clips: The clips, which `features` holds.
        features: A store of a backbone's features.
        network: Finds a person.
        masks_path: Path of the store of the masks, a folder.
        boxes_path: Path of the store of the boxes.
        num_boxes: Boxes a step, at most. Defaults to `10`.
        frames_per_step: Frames of each step of the features to look at, in the
            middles of equal parts of it. Defaults to `1`.
        zooms: See `find_people`. Defaults to `(1.0, 2.0)`.
        keypoint_score: See `find_people`. Defaults to `0.2`.
        person_score: See `find_people`. Defaults to `0.4`.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        A list of `(clip, message)`, one for each clip that failed.

    Raises:
        ValueError: If an argument is wrong, the features are not of a backbone,
            or a store holds masks or boxes that were made in another way.
    """
    check_positive("num_boxes", num_boxes)
    check_positive("frames_per_step", frames_per_step)
    description = features.description
    if description is None:
        raise ValueError(
            "`features` must be of a backbone. "
            f"Received: {features.path}, made by {features.made_by}"
        )
    # What they depend on: others are not added to the same store.
    made_by = (
        f"people(model={network.name}, "
        f"zooms={','.join(f'{zoom:g}' for zoom in zooms)}, "
        f"frames_per_step={frames_per_step}, "
        f"keypoint_score={keypoint_score}, person_score={person_score}) "
        f"of {description.name} ({description.digest})"
    )

    def find(frames):
        return np.concatenate(
            [
                find_people(x, network, zooms, keypoint_score, person_score)
                for x in frames
            ]
        )

    failed = []
    with (
        FeatureStoreWriter(masks_path, f"masks of {made_by}") as masks,
        FeatureStoreWriter(
            boxes_path, f"{num_boxes} boxes of {made_by}"
        ) as boxes,
    ):
        left = [c for c in clips if c.clip not in masks or c.clip not in boxes]
        bar = progress_bar(len(clips), len(clips) - len(left), progress)
        with bar:
            for clip in left:
                bar.update()
                steps, rows, columns, _ = features.shape(clip.clip)
                attributes: Any = features.attributes(clip.clip)
                try:
                    frames = _frames(clip, description, attributes["frames"])
                except VideoError as error:
                    failed.append((clip, str(error)))
                    continue
                people = [
                    find(frames[numbers])
                    for numbers in _looked_at(
                        len(frames),
                        steps,
                        description.frames_per_step,
                        frames_per_step,
                    )
                ]
                seen = frames.shape[1:3]
                mask = [
                    pose_mask(step, seen, (rows, columns), keypoint_score)
                    for step in people
                ]
                box = [
                    person_boxes(step, seen, num_boxes, keypoint_score)
                    for step in people
                ]
                for writer, maps in (
                    (masks, np.stack(mask)[..., np.newaxis]),
                    (boxes, np.stack(box)[:, np.newaxis]),
                ):
                    if clip.clip not in writer:
                        writer.add(clip.clip, maps, **attributes)
    return failed


def _frames(clip: Clip, description: BackboneDescription, seen: int):
    """The frames that the backbone saw, so many, at their full size."""
    frames, _ = read_clip(
        clip.file,
        **{**description.sampling, "size": None},
        **clip.part,
    )
    if abs(len(frames) - seen) > description.frames_per_step:
        raise VideoError(
            f"{clip.file}: {len(frames)} frames, and the features were made "
            f"of {seen}"
        )
    return frames


def _looked_at(num_frames, steps, stride, count):
    """Yields the numbers of the frames of each step that are looked at."""
    parts = (np.arange(count) + 0.5) / count
    for step in range(steps):
        numbers = ((step + parts) * stride).astype(int)
        yield np.unique(numbers.clip(max=num_frames - 1))
