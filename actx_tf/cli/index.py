"""Makes a clip index: of a folder of videos, or of a data set.

A folder with a folder of videos for each class:

    actx index --root=videos --output=index.csv

A data set, from its owners' annotation files:

    actx index --dataset=hacs --num_classes=30 --root=HACS \\
        --output=hacs30.csv --existing_only

Prints how many clips each class has in each split, and how many files are
missing. What --root holds is said by the readers in actx_tf.data.annotations.
"""

import argparse
import collections
import os
from collections.abc import Collection

from actx_tf.cli import files
from actx_tf.cli.errors import UsageError
from actx_tf.cli.flags import percentage
from actx_tf.cli.flags import whole
from actx_tf.cli.parser import Parser

_DATASETS = (
    "action_thread",
    "folder",
    "hacs",
    "hollywood2",
    "kth",
    "ucf101",
    "voc_action",
)
# Which data sets each flag is for, and what it is called in their readers.
_OPTIONS = {
    "file_pattern": (set(_DATASETS) - {"folder"}, "file_pattern"),
    "part": ({"hacs"}, "part"),
    "num_classes": ({"hacs"}, "num_classes"),
    "division": ({"ucf101"}, "split"),
    "test_percent": ({"folder"}, "test_percent"),
}


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    parser.add_argument(
        "--root", required=True, help="folder that holds the data set"
    )
    parser.add_argument(
        "--output", required=True, help="clip index (CSV) to write"
    )
    parser.add_argument(
        "--dataset", choices=_DATASETS, default="folder", help="the data set"
    )
    parser.add_argument(
        "--existing_only",
        action="store_true",
        help="leave out clips without a file",
    )
    parser.add_argument(
        "--file_pattern", help="data sets: where in --root a video lies"
    )
    parser.add_argument(
        "--part", choices=("clips", "segments"), help="hacs: which part"
    )
    parser.add_argument(
        "--num_classes", type=whole, help="hacs: keep the rarest classes"
    )
    parser.add_argument(
        "--division", type=int, choices=(1, 2, 3), help="ucf101: which one"
    )
    parser.add_argument(
        "--test_percent",
        type=percentage,
        help="folder: share of each class that is drawn for the test; 20 if "
        "it is not given",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    for name, (datasets, _) in _OPTIONS.items():
        if getattr(flags, name) is not None and flags.dataset not in datasets:
            raise UsageError(
                f"--{name} is not for --dataset={flags.dataset}, but for "
                f"{', '.join(sorted(datasets))}"
            )
    if not os.path.isdir(flags.root):
        raise FileNotFoundError(
            f"there is no folder at {flags.root} (--root); give that of the "
            "videos, with a folder for each class"
        )
    files.check_output_file(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf.data import annotations
    from actx_tf.data import write_clip_index

    options = {
        argument: getattr(flags, name)
        for name, (_, argument) in _OPTIONS.items()
        if getattr(flags, name) is not None
    }
    read = getattr(annotations, f"read_{flags.dataset}")
    # Absolute: the index need not lie where this runs.
    clips = read(os.path.abspath(flags.root), **options)
    named = {clip.file for clip in clips}
    existing = set(filter(os.path.isfile, named))
    if flags.existing_only:
        clips = [clip for clip in clips if clip.file in existing]
    if not clips:
        raise FileNotFoundError(
            f"none of {len(named)} files exists, such as {min(named)}"
        )
    write_clip_index(flags.output, clips)
    _print_counts(clips)
    print(f"{len(named) - len(existing)} of {len(named)} files are missing")
    if len(existing) < len(named):
        print(f"such as {min(named - existing)}")
    print(f"written: {flags.output}")


def _print_counts(clips: Collection) -> None:
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
