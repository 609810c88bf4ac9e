"""Measures whether maps find where and when an action happens.

    actx localize --features=features --index=index.csv \\
        --model=runs/mine/actx.keras --boxes=boxes.json --output=boxes.csv

Without --features, the videos are shown to a SavedModel that takes videos;
without --index too, it is the built-in data set.

--boxes is JSON: {clip: [{"start": 62, "end": 96, "boxes_xywh": [[145, 89, 42,
63], ...]}, ...]}, for each clip its tubes, frames counted from 1 in the video
file, a box a frame, in pixels. Or --masks, an .npz with an array for each clip,
booleans (frames, height, width), see actx_tf.data.Masks; or a store like that
of the features, of one channel.

Boxes and masks of pixels are put on the grid of the feature map: a voxel is
action where they cover --share of the frames and pixels of its cell. For each
map, the mean over the clips, and in parentheses chance, which is what a
constant map has:

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

import argparse
import collections

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_model(parser)
    kinds.add_features(parser, required=False, text=" of the clips")
    kinds.add_index(parser, required=False, text="; none: the built-in set")
    parser.add_argument("--boxes", help="tubes of the clips (JSON)")
    parser.add_argument("--masks", help="masks, in place of boxes")
    parser.add_argument(
        "--split", help="split of the clips; all if it is not given"
    )
    parser.add_argument("--output", help="CSV to write: a row a clip and map")
    parser.add_argument(
        "--test_clips",
        type=kinds.whole,
        default=100,
        help="clips of the built-in set",
    )
    parser.add_argument(
        "--share",
        type=kinds.fraction,
        default=0.1,
        help="of a voxel that makes it action",
    )
    parser.add_argument(
        "--threshold",
        type=kinds.fraction,
        default=0.5,
        help="of the range of a clip's steps, from which one is action",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if not flags.index:
        for name in ("features", "boxes", "masks"):
            if getattr(flags, name):
                raise UsageError(
                    f"--{name} needs --index; make it with `actx index`"
                )
    elif bool(flags.boxes) == bool(flags.masks):
        raise UsageError("--index needs --boxes or --masks, one of them")
    files.check_model(flags.model)
    if flags.index:
        files.check_index(flags.index)
    if flags.features:
        files.check_features(flags.features)
    if flags.boxes:
        files.check_given(flags.boxes, "--boxes")
    if flags.masks and flags.masks.endswith(".npz"):
        files.check_given(flags.masks, "--masks")
    elif flags.masks:
        files.check_features(
            flags.masks, "--masks", "store of masks", "give the folder of one"
        )
    if flags.output:
        files.check_output_file(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf import experiments
    from actx_tf.experiments.localization_figures import localization_table

    rows, left_out = experiments.localize(
        flags.model,
        index=flags.index,
        features=flags.features,
        boxes=flags.boxes,
        masks=flags.masks,
        conjugates_column=flags.conjugates_column,
        split=flags.split,
        test_clips=flags.test_clips,
        share=flags.share,
        threshold=flags.threshold,
    )
    print(localization_table(rows))
    counts = collections.Counter(reason for _, reason in left_out)
    for reason, count in counts.items():
        print(f"left out: {count} clips: {reason}")
    if flags.output:
        experiments.write_rows(rows, flags.output)
        print(f"written: {flags.output}")
