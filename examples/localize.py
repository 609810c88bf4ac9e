r"""Measures whether maps find where and when an action happens.

On the built-in data set, with the model of saved_models/demo:

    python examples/localize.py

On videos with boxes, by the features of examples/extract_features.py and the
model of examples/train_actx.py:

    python examples/localize.py --features=features --index=index.csv \
        --model=runs/mine/actx.keras --boxes=boxes.json --output=boxes.csv

Without --features, the videos are shown to a SavedModel that takes videos.
--boxes is JSON: {clip: [{"start": 62, "end": 96, "boxes_xywh": [[145, 89, 42,
63], ...]}, ...]}, for each clip its tubes, frames counted from 1 in the video
file, a box a frame, in pixels. Or --masks, a store like that of the features,
of one channel.

Boxes are put on the grid of the feature map: a voxel is action where they cover
--share of the frames and pixels of its cell. For each map, the mean over the
clips, and in parentheses chance, which is what a constant map has:

    AUC              over voxels, metrics.localization_auc
    pointing, steps  is the largest value of a step in the action?
    pointing, clip   is the largest value of the clip?
    energy           the share of the map inside the action
    temporal IoU     of the action and the steps whose mean value is at least
                     --threshold of the way from the smallest to the largest
    temporal AUC     over the mean values of the steps

S and 1 - C are ActX's maps of action and of what is not context; the others
have learned nothing: the norm of the features, and a Gaussian in the middle of
the frame. Clips without action are left out; for the figures of time, also
those that act throughout. Writes a row a clip and map to --output.
"""

import collections
import sys
from pathlib import Path

from absl import app
from absl import flags

from actx_tf import experiments

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "model",
    None,
    "actx.keras, or the folder of a SavedModel's version; by default, on the "
    "built-in set, saved_models/demo/1",
)
flags.DEFINE_string("features", None, "feature store of the clips")
flags.DEFINE_string("index", None, "clip index (CSV); none: the built-in set")
flags.DEFINE_string(
    "conjugates_column", "conjugates", "the index's column of conjugates"
)
flags.DEFINE_string("boxes", None, "tubes of the clips (JSON)")
flags.DEFINE_string("masks", None, "store of masks, in place of boxes")
flags.DEFINE_string("split", None, "of the clips; by default all")
flags.DEFINE_string("output", None, "CSV to write: a row a clip and map")
flags.DEFINE_integer("test_clips", 100, "clips of the built-in set")
flags.DEFINE_float("share", 0.1, "of a voxel that makes it action")
flags.DEFINE_float("tolerance", 0.0, "voxels by which pointing may miss")
flags.DEFINE_float(
    "threshold", 0.5, "of the range of a clip's steps, from which one is action"
)

DEMO = Path(__file__).parents[1] / "saved_models" / "demo" / "1"


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if FLAGS.index and not FLAGS.model:
        raise app.UsageError("--model goes with --index")
    rows, left_out = experiments.localize(
        FLAGS.model or DEMO,
        index=FLAGS.index,
        features=FLAGS.features,
        boxes=FLAGS.boxes,
        masks=FLAGS.masks,
        conjugates_column=FLAGS.conjugates_column,
        split=FLAGS.split,
        test_clips=FLAGS.test_clips,
        share=FLAGS.share,
        tolerance=FLAGS.tolerance,
        threshold=FLAGS.threshold,
    )
    print(experiments.localization_table(rows))
    counts = collections.Counter(reason for _, reason in left_out)
    for reason, count in counts.items():
        print(f"left out: {count} clips: {reason}")
    if FLAGS.output:
        experiments.write_rows(rows, FLAGS.output)
        print(f"written: {FLAGS.output}")


if __name__ == "__main__":
    try:
        app.run(main)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
