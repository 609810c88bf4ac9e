r"""Finds conjugates for the clips of an index, in one of the paper's ways.

ActionThread: what comes before and after the action in its file.

    python examples/mine_conjugates.py --way=before_and_after \
        --index=thread.csv --output=thread_pairs.csv

Hollywood2: what comes before and after a crop of the clip.

    python examples/mine_conjugates.py --way=crops --crop_seconds=2 \
        --index=hollywood2.csv --output=hollywood2_pairs.csv

HACS: the nearest negatives, by the features of examples/extract_features.py.

    python examples/mine_conjugates.py --way=nearest --num_neighbors=3 \
        --features=hacs30_features --index=hacs30.csv --output=hacs30_pairs.csv

Prints which clips have none, and why. The new index is a table to read and
edit. The first two ways add clips to it: extract features after them.
"""

import os
import sys

from absl import app
from absl import flags

WAYS = ("before_and_after", "crops", "nearest")

FLAGS = flags.FLAGS
flags.DEFINE_string("index", None, "clip index (CSV) to read")
flags.DEFINE_string("output", None, "clip index (CSV) to write")
flags.DEFINE_enum("way", None, WAYS, "how conjugates are found")
flags.DEFINE_string("background", "background", "label that shows no action")
flags.DEFINE_string(
    "conjugates_column", "conjugates", "the index's column of conjugates"
)
flags.DEFINE_float("min_seconds", None, "stretches: at least this long")
flags.DEFINE_float("crop_seconds", None, "crops: length of a crop")
flags.DEFINE_integer(
    "num_crops", None, "crops: number of crops of a clip", lower_bound=1
)
flags.DEFINE_string("features", None, "nearest: feature store of the clips")
flags.DEFINE_integer(
    "num_neighbors", None, "nearest: conjugates of a clip", lower_bound=1
)
flags.mark_flags_as_required(("index", "output", "way"))

# Which ways each flag is for.
OPTIONS = {
    "min_seconds": ("before_and_after", "crops"),
    "crop_seconds": ("crops",),
    "num_crops": ("crops",),
    "features": ("nearest",),
    "num_neighbors": ("nearest",),
}


def mine(clips, options):
    from actx_tf import data

    if FLAGS.way == "before_and_after":
        return data.conjugates_before_and_after(clips, **options)
    if FLAGS.way == "crops":
        return data.conjugates_around_crops(clips, **options)
    with data.FeatureStore(options.pop("features")) as store:
        embeddings = data.mean_embeddings(store)
    return data.nearest_negatives(clips, embeddings, **options)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    options = {"background": FLAGS.background}
    for name, ways in OPTIONS.items():
        if (value := FLAGS[name].value) is not None:
            if FLAGS.way not in ways:
                ways = " and ".join(ways)
                sys.exit(f"mine_conjugates: --{name} is for --way={ways}")
            options[name] = value
    if FLAGS.way == "nearest" and "features" not in options:
        sys.exit("mine_conjugates: --way=nearest takes --features")
    if os.path.realpath(FLAGS.output) == os.path.realpath(FLAGS.index):
        sys.exit("mine_conjugates: --output must be another file than --index")

    # Imported late: a wrong flag is told at once.
    from actx_tf.data import read_clip_index
    from actx_tf.data import write_clip_index

    try:
        given = read_clip_index(FLAGS.index, FLAGS.conjugates_column)
        clips, missing = mine(given, options)
        for clip, reason in missing:
            print(f"missing: {clip.clip} ({clip.label}): {reason}")
        counts = [len(clip.conjugates) for clip in clips if clip.conjugates]
        if not counts:
            sys.exit("mine_conjugates: no conjugate was found")
        write_clip_index(FLAGS.output, clips)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"mine_conjugates: {error}")

    print(f"{len(counts)} clips have {sum(counts)} conjugates")
    print(f"written: {FLAGS.output}")


if __name__ == "__main__":
    app.run(main)
