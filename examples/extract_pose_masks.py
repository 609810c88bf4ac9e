r"""Stores masks and boxes of the people in clips whose features are stored.

    python examples/extract_pose_masks.py \
        --features=sc_fight_features --index=sc_fight/index.csv \
        --conjugates_column=same_scene_opposite \
        --model=movenet_single_pose_lightning_ptq.tflite \
        --masks=pose_masks --boxes=person_boxes

The model is a single-pose MoveNet. Masks and boxes are feature stores: see
`actx_tf.data.store_people`. Run the same command again to go on after an
interruption.
"""

import sys

from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("features", None, "feature store", required=True)
flags.DEFINE_string("index", None, "clip index (CSV)", required=True)
flags.DEFINE_string("conjugates_column", "conjugates", "column of conjugates")
flags.DEFINE_string("model", None, "pose network (.tflite)", required=True)
flags.DEFINE_string("masks", None, "store of masks to write", required=True)
flags.DEFINE_string("boxes", None, "store of boxes to write", required=True)
flags.DEFINE_integer("num_boxes", 10, "boxes a step, at most", 1)
flags.DEFINE_integer(
    "frames_per_step", 1, "frames of each step to look for people in", 1
)
flags.DEFINE_list(
    "zooms", ["1", "2"], "shorter side of the frame to side of a tile"
)
flags.DEFINE_float(
    "keypoint_score", 0.2, "score from which on a keypoint is seen", 0, 1
)
flags.DEFINE_float(
    "person_score",
    0.4,
    "mean score of 8 keypoints from which on a person is found",
    0,
    1,
)


@flags.validator("zooms", message="must be numbers from 1 to 16")
def _are_zooms(zooms):
    try:
        return all(1 <= float(zoom) <= 16 for zoom in zooms)
    except ValueError:
        return False


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    # Imported late: a wrong flag is reported at once.
    import numpy as np

    from actx_tf import data

    index = data.read_clip_index(FLAGS.index, FLAGS.conjugates_column)
    network = data.PoseNetwork(FLAGS.model)
    with data.FeatureStore(FLAGS.features) as features:
        clips = [clip for clip in index if clip.clip in features]
        failed = data.store_people(
            clips,
            features,
            network,
            FLAGS.masks,
            FLAGS.boxes,
            num_boxes=FLAGS.num_boxes,
            frames_per_step=FLAGS.frames_per_step,
            zooms=[float(zoom) for zoom in FLAGS.zooms],
            keypoint_score=FLAGS.keypoint_score,
            person_score=FLAGS.person_score,
        )
    if missing := len(index) - len(clips):
        print(f"{missing} clips of {FLAGS.index} have no features")
    print(f"{len(clips) - len(failed)} of {len(clips)} clips are stored")
    for clip, message in failed:
        print(f"failed: {clip.clip}: {message}")
    if len(failed) == len(clips):
        sys.exit(1)
    with data.FeatureStore(FLAGS.masks) as masks:
        shares = [mask.mean(axis=(1, 2, 3)) for mask in masks.values()]
    share = np.concatenate(shares)
    print(f"Somebody was found in {(share > 0).mean():.1%} of the steps.")
    print(f"The masks cover {share.mean():.1%} of the voxels.")


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")
