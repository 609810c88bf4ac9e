"""Makes a clip index: of a folder of videos, or of a data set.

A folder with a folder of videos for each class:

    actx index --root=videos --output=index.csv

A data set, from its owners' annotation files:

    actx index --dataset=hacs --num_classes=30 --root=HACS \\
        --output=hacs30.csv --existing_only

Prints how many clips each class has in each split, how many files of a folder
were not taken, and why, and how many files are missing. What --root holds is
said by the readers in actx_tf.data.annotations.

Untrimmed videos, of which one class is asked for, and what is around it:

    actx index --dataset=thumos14 --classes=Diving --unlabelled=conjugates \\
        --root=THUMOS14 --output=diving.csv

An index that is there is kept, with all that people edited: --add adds the
videos that came since, --force begins anew.
"""

import argparse
import os

from actx_tf.cli import files
from actx_tf.cli.errors import UsageError
from actx_tf.cli.flags import add_force
from actx_tf.cli.flags import names
from actx_tf.cli.flags import percentage
from actx_tf.cli.flags import whole
from actx_tf.cli.parser import Parser

# Those of untrimmed videos, of which segments are annotated.
_UNTRIMMED = ("activitynet", "gmdcsa", "thumos14", "ucf101_24")
_DATASETS = (
    "action_thread",
    "activitynet",
    "folder",
    "gmdcsa",
    "hacs",
    "hollywood2",
    "jhmdb",
    "kth",
    "thumos14",
    "ucf101",
    "ucf101_24",
    "ut_interaction",
    "voc_action",
)
# Which data sets each flag is for, and what it is called in their readers.
_OPTIONS = {
    "file_pattern": (
        set(_DATASETS) - {"folder", "gmdcsa", "ut_interaction"},
        "file_pattern",
    ),
    "part": ({"hacs"}, "part"),
    "num_classes": ({"hacs"}, "num_classes"),
    "division": ({"jhmdb", "ucf101", "ucf101_24"}, "split"),
    "fold": ({"gmdcsa", "ut_interaction"}, "fold"),
    "test_percent": ({"folder"}, "test_percent"),
    "validation_percent": ({"folder"}, "validation_percent"),
}


# The same, of what is made of untrimmed videos.
_OF_SEGMENTS = ("classes", "unlabelled")


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
        "--division",
        type=int,
        choices=(1, 2, 3),
        help="jhmdb, ucf101, ucf101_24: which one; 1 if it is not given",
    )
    parser.add_argument(
        "--fold",
        type=int,
        choices=range(1, 11),
        metavar="1..10",
        help="gmdcsa: the subject that is the test, 1 to 4; ut_interaction: "
        "the sequence; 1 if it is not given",
    )
    parser.add_argument(
        "--classes",
        type=names,
        metavar="LABELS",
        help=f"{', '.join(_UNTRIMMED)}: keep the segments of these classes, "
        "separated by commas; all if it is not given",
    )
    parser.add_argument(
        "--unlabelled",
        choices=("background", "conjugates"),
        help=f"{', '.join(_UNTRIMMED)}: what to make of stretches without a "
        "label; nothing if it is not given",
    )
    parser.add_argument(
        "--masks",
        help="jhmdb: file (.npz) to write, of the puppet masks, for "
        "`actx localize --masks`",
    )
    parser.add_argument(
        "--boxes",
        help="ucf101_24: file (.json) to write, of the tubes, for `actx "
        "localize --boxes`",
    )
    parser.add_argument(
        "--test_percent",
        type=percentage,
        help="folder: share of the clips that is drawn for the test; 20 if it "
        "is not given",
    )
    parser.add_argument(
        "--validation_percent",
        type=percentage,
        help="folder: share that is drawn for the validation; 10 if it is not "
        "given",
    )
    parser.add_argument(
        "--add",
        action="store_true",
        help="folder: keep what --output holds, as it was edited, and add "
        "files that it does not name",
    )
    add_force(parser)


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    datasets_of = {name: datasets for name, (datasets, _) in _OPTIONS.items()}
    datasets_of |= dict.fromkeys(_OF_SEGMENTS, set(_UNTRIMMED))
    for name, datasets in datasets_of.items():
        if getattr(flags, name) is not None and flags.dataset not in datasets:
            raise UsageError(
                f"--{name} is not for --dataset={flags.dataset}, but for "
                f"{', '.join(sorted(datasets))}"
            )
    for flag, path, dataset, suffix in (
        ("--masks", flags.masks, "jhmdb", ".npz"),
        ("--boxes", flags.boxes, "ucf101_24", ".json"),
    ):
        if not path:
            continue
        if flags.dataset != dataset:
            raise UsageError(f"{flag} is for --dataset={dataset}")
        if not path.endswith(suffix):
            raise UsageError(f"{flag} must end with {suffix}")
        files.check_output_file(path, flag)
    if flags.add and flags.dataset != "folder":
        raise UsageError("--add is for --dataset=folder")
    if flags.add and flags.force:
        raise UsageError("--add and --force exclude each other")
    if flags.add and flags.existing_only:
        raise UsageError("--add keeps all clips, also those without a file")
    files.check_videos(flags.root, "--root")
    files.check_output_file(flags.output)
    if not flags.add:
        files.check_new_file(
            flags.output,
            flags.force,
            "--add keeps what is there"
            if flags.dataset == "folder"
            else "give another file to keep it",
        )


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf.data import annotations
    from actx_tf.data import read_clip_index
    from actx_tf.data import write_clip_index
    from actx_tf.data import write_masks
    from actx_tf.data import write_tubes
    from actx_tf.experiments.reports import index_report

    options = {
        argument: getattr(flags, name)
        for name, (_, argument) in _OPTIONS.items()
        if getattr(flags, name) is not None
    }
    # Absolute: the index need not lie where this runs.
    root = os.path.abspath(flags.root)
    kept, left_out = [], []
    if flags.add and os.path.exists(flags.output):
        kept = read_clip_index(flags.output)
    if flags.dataset == "folder":
        clips, left_out = annotations.look_through(root, known=kept, **options)
    elif flags.dataset in _UNTRIMMED:
        videos = getattr(annotations, f"read_{flags.dataset}")(root, **options)
        if flags.classes:
            videos = videos.only(flags.classes)
        clips, left_out = videos.clips(flags.unlabelled), videos.left_out
        if not clips:
            raise ValueError(f"no segment of {root} can be a clip")
    else:
        clips = getattr(annotations, f"read_{flags.dataset}")(root, **options)
    added = len(clips)
    clips = [*kept, *clips]
    named = {clip.file for clip in clips}
    existing = set(filter(os.path.isfile, named))
    if flags.existing_only:
        clips = [clip for clip in clips if clip.file in existing]
    if not clips:
        raise FileNotFoundError(
            f"none of {len(named)} files exists, such as {min(named)}"
        )
    print(index_report(clips, left_out))
    if flags.add:
        print(f"{len(kept)} clips were there and are kept, {added} are added")
        for clip in clips[len(kept) :]:
            print(f"added: {clip.clip}")
    if missing := sorted(named - existing):
        print(
            f"{len(missing)} of {len(named)} files are missing, such as "
            f"{missing[0]}"
        )
    if flags.masks:
        write_masks(flags.masks, annotations.read_jhmdb_masks(root, clips))
    if flags.boxes:
        tubes = annotations.read_ucf101_24_tubes(root)
        # Of each clip, and of whole videos as `--dataset=ucf101` names them.
        of_clips = {clip.clip: tubes[clip.extra["scene"]] for clip in clips}
        write_tubes(flags.boxes, tubes | of_clips)
    # The last thing: an index that is there is not written again.
    write_clip_index(flags.output, clips)
    written = flags.output, flags.masks, flags.boxes
    print(f"written: {', '.join(filter(None, written))}")
