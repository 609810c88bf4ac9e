r"""Makes a clip index: of a folder of videos, or of a data set.

A folder with a folder of videos for each class:

    python examples/index_dataset.py --dataset=folder --root=videos \
        --output=index.csv

A data set, from its owners' annotation files:

    python examples/index_dataset.py --dataset=hacs --num_classes=30 \
        --root=HACS --output=HACS/hacs30.csv --existing_only

Prints how many clips each class has in each split, and how many files are
missing. What `--root` holds is told by the readers in
actx_tf/data/annotations.
"""

import collections
import os
import sys

from absl import app
from absl import flags

DATASETS = (
    "action_thread",
    "folder",
    "hacs",
    "hollywood2",
    "kth",
    "ucf101",
    "voc_action",
)

FLAGS = flags.FLAGS
flags.DEFINE_enum("dataset", None, DATASETS, "the data set")
flags.DEFINE_string("root", None, "folder that holds the data set")
flags.DEFINE_string("output", None, "clip index (CSV) to write")
flags.DEFINE_bool("existing_only", False, "leave out clips without a file")
flags.DEFINE_string("file_pattern", None, "where in --root a video lies")
flags.DEFINE_enum("part", None, ("clips", "segments"), "hacs: which part")
flags.DEFINE_integer("num_classes", None, "hacs: keep the rarest classes")
flags.DEFINE_integer("split", None, "ucf101: number of the division, 1 to 3")
flags.DEFINE_float("test_percent", None, "folder: share of each class")
flags.mark_flags_as_required(("dataset", "root", "output"))

# Which data set each flag is for.
OPTIONS = {
    "part": "hacs",
    "num_classes": "hacs",
    "split": "ucf101",
    "test_percent": "folder",
}


def print_counts(clips):
    counts = collections.Counter(
        (label, clip.split) for clip in clips for label in clip.labels
    )
    splits = [
        split
        for split in ("train", "validation", "test")
        if any(clip.split == split for clip in clips)
    ]
    rows = [
        [label, *(counts[label, split] for split in splits)]
        for label in sorted({label for label, _ in counts})
    ]
    in_split = collections.Counter(clip.split for clip in clips)
    rows.append(["clips", *(in_split[split] for split in splits)])
    width = max(len(row[0]) for row in rows)
    for label, *numbers in [["", *splits], *rows]:
        print(label.ljust(width), *(f"{number:>11}" for number in numbers))


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")

    options = {}
    if FLAGS.file_pattern is not None:
        if FLAGS.dataset == "folder":
            sys.exit("index_dataset: --file_pattern is not for a folder")
        options["file_pattern"] = FLAGS.file_pattern
    for name, dataset in OPTIONS.items():
        if (value := FLAGS[name].value) is not None:
            if FLAGS.dataset != dataset:
                sys.exit(f"index_dataset: --{name} is for --dataset={dataset}")
            options[name] = value

    # Imported late: a wrong flag is told at once.
    from actx_tf.data import annotations
    from actx_tf.data import write_clip_index

    read = getattr(annotations, f"read_{FLAGS.dataset}")
    try:
        # Absolute: the index need not lie where this runs.
        clips = read(os.path.abspath(FLAGS.root), **options)
        files = {clip.file for clip in clips}
        existing = set(filter(os.path.isfile, files))
        if FLAGS.existing_only:
            clips = [clip for clip in clips if clip.file in existing]
        if not clips:
            raise FileNotFoundError(
                f"none of {len(files)} files exists, such as {min(files)}"
            )
        write_clip_index(FLAGS.output, clips)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"index_dataset: {error}")

    print_counts(clips)
    print(f"{len(files) - len(existing)} of {len(files)} files are missing")
    if len(existing) < len(files):
        print(f"such as {min(files - existing)}")
    print(f"written: {FLAGS.output}")


if __name__ == "__main__":
    app.run(main)
