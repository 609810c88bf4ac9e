"""Stores masks and boxes of the people in clips whose features are stored.

python examples/extract_pose_masks.py \
    --features=sc_fight_features --index=sc_fight/index.csv \
    --conjugates_column=same_scene_opposite \
    --model=movenet_single_pose_lightning_ptq.tflite \
    --masks=pose_masks --boxes=person_boxes

The model is a single-pose MoveNet. The masks are for `MaskPooling`, one value
for each voxel of the features, and the boxes for `RegionPooling`. Both are
feature stores: masks of one channel, boxes (steps, 1, boxes, 4). Run the same
command again to go on after an interruption.
"""

import sys

from absl import app
from absl import flags

_FEATURES = flags.DEFINE_string("features", None, "Path of the feature store.")
_INDEX = flags.DEFINE_string("index", None, "Path of the clip index.")
_MODEL = flags.DEFINE_string("model", None, "Path of the pose network.")
_MASKS = flags.DEFINE_string("masks", None, "Path of the store of masks.")
_BOXES = flags.DEFINE_string("boxes", None, "Path of the store of boxes.")
_CONJUGATES_COLUMN = flags.DEFINE_string(
    "conjugates_column", "conjugates", "Column that names the conjugates."
)
_NUM_BOXES = flags.DEFINE_integer(
    "num_boxes", 10, "Boxes a step, at most.", lower_bound=1
)
_FRAMES_PER_STEP = flags.DEFINE_integer(
    "frames_per_step",
    1,
    "Frames in each step of the features to look for people in.",
    lower_bound=1,
)
_ZOOMS = flags.DEFINE_list(
    "zooms",
    ["1", "2"],
    "Tiles to look for people in: shorter side of the frame to side of a tile.",
)
_KEYPOINT_SCORE = flags.DEFINE_float(
    "keypoint_score",
    0.2,
    "Score from which on a keypoint is seen.",
    lower_bound=0,
    upper_bound=1,
)
_PERSON_SCORE = flags.DEFINE_float(
    "person_score",
    0.4,
    "Mean score of 8 keypoints from which on a person is found.",
    lower_bound=0,
    upper_bound=1,
)
flags.mark_flags_as_required(("features", "index", "model", "masks", "boxes"))


@flags.validator("zooms", message="must be numbers from 1 to 16")
def _are_zooms(zooms):
    try:
        return all(1 <= float(zoom) <= 16 for zoom in zooms)
    except ValueError:
        return False


def people_of_steps(clip, steps, seen, description, network):
    """Returns the people of each step, and the frames' (height, width).

    In the frames that the backbone saw, `seen` in number, at their full size.
    """
    import numpy as np

    from actx_tf.data import VideoError
    from actx_tf.data import read_clip
    from actx_tf.data.pose import find_people

    frames, _ = read_clip(
        clip.file,
        **{**description.sampling, "size": None},
        start=clip.start,
        end=clip.end,
        box=clip.box,
    )
    stride = description.frames_per_step
    if abs(len(frames) - seen) > stride:
        raise VideoError(
            f"{clip.file}: {len(frames)} frames, and the features were made "
            f"of {seen}"
        )
    # In the middles of equal parts of each step.
    parts = (np.arange(_FRAMES_PER_STEP.value) + 0.5) / _FRAMES_PER_STEP.value
    people = []
    for step in range(steps):
        numbers = ((step + parts) * stride).astype(int)
        found = [
            find_people(
                frames[number],
                network,
                [float(zoom) for zoom in _ZOOMS.value],
                _KEYPOINT_SCORE.value,
                _PERSON_SCORE.value,
            )
            for number in np.unique(numbers.clip(max=len(frames) - 1))
        ]
        people.append(np.concatenate(found))
    return people, frames.shape[1:3]


def extract(clips, features, network, masks, boxes):
    """Adds the clips to both writers; returns (clip, message) of failures."""
    import numpy as np
    import tqdm

    from actx_tf.data import VideoError
    from actx_tf.data.pose import person_boxes
    from actx_tf.data.pose import pose_mask

    failed = []
    for clip in tqdm.tqdm(clips, unit="clip"):
        if clip.clip in masks and clip.clip in boxes:
            continue
        steps, *map_size, _ = features.shape(clip.clip)
        attributes = features.attributes(clip.clip)
        try:
            people, size = people_of_steps(
                clip,
                steps,
                attributes["frames"],
                features.description,
                network,
            )
        except VideoError as error:
            failed.append((clip, str(error)))
            continue
        score = _KEYPOINT_SCORE.value
        mask = [pose_mask(step, size, map_size, score) for step in people]
        box = [
            person_boxes(step, size, _NUM_BOXES.value, score) for step in people
        ]
        for writer, maps in (
            (masks, np.stack(mask)[..., np.newaxis]),
            (boxes, np.stack(box)[:, np.newaxis]),
        ):
            if clip.clip not in writer:
                writer.add(clip.clip, maps, **attributes)
    return failed


def main(_):
    # Imported late: a wrong flag is told at once.
    import pathlib

    import numpy as np

    from actx_tf.data import FeatureStore
    from actx_tf.data import FeatureStoreWriter
    from actx_tf.data import read_clip_index
    from actx_tf.data.pose import PoseNetwork

    try:
        index = read_clip_index(_INDEX.value, _CONJUGATES_COLUMN.value)
        network = PoseNetwork(_MODEL.value)
        with FeatureStore(_FEATURES.value) as features:
            if features.description is None:
                raise ValueError(
                    "--features must be of a backbone. "
                    f"Received: {features.made_by}"
                )
            # What the masks depend on: others are not added to the same store.
            made_by = (
                f"people(model={pathlib.Path(_MODEL.value).stem}, "
                f"zooms={','.join(_ZOOMS.value)}, "
                f"frames_per_step={_FRAMES_PER_STEP.value}, "
                f"keypoint_score={_KEYPOINT_SCORE.value}, "
                f"person_score={_PERSON_SCORE.value}) "
                f"of {features.description.name} "
                f"({features.description.digest})"
            )
            clips = [clip for clip in index if clip.clip in features]
            with (
                FeatureStoreWriter(
                    _MASKS.value, f"masks of {made_by}"
                ) as masks,
                FeatureStoreWriter(
                    _BOXES.value, f"{_NUM_BOXES.value} boxes of {made_by}"
                ) as boxes,
            ):
                failed = extract(clips, features, network, masks, boxes)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"extract_pose_masks: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted. Run the same command again to go on.")

    if missing := len(index) - len(clips):
        print(f"{missing} clips of {_INDEX.value} have no features.")
    print(f"{len(clips) - len(failed)} of {len(clips)} clips are stored.")
    for clip, message in failed:
        print(f"failed: {clip.clip}: {message}")
    if len(failed) == len(clips):
        sys.exit(1)
    with FeatureStore(_MASKS.value) as masks:
        share = [mask.mean(axis=(1, 2, 3)) for mask in masks.values()]
    share = np.concatenate(share)
    print(f"Somebody was found in {(share > 0).mean():.1%} of the steps.")
    print(f"The masks cover {share.mean():.1%} of the voxels.")


if __name__ == "__main__":
    app.run(main)
