"""Says how well a trained model does on stored features, or finds segments.

    actx evaluate --features=features --index=pairs.csv \\
        --model=runs/mine/actx.keras --output=scores.csv --report=report

Prints figures over the clips of --split, and of each class precision, recall,
F1 and average precision (AP):

    accuracy, mAcc  share of the clips that are right, and its mean over the
                    classes; not where a clip can be of several classes
    mAP, mF1        means over the classes of AP and F1, without those that the
                    training called --background
    ECE             expected calibration error: how far the scores are from
                    being probabilities, in 15 bins

The answer is the class of the largest score; where a clip can be of several,
those of a score of 0.5 or more. --output is a table of the scores of each clip.
--report is a folder for per_class.csv, confusion.csv, calibration.csv and
evaluation.html, a page of these and of the clips that are most surely wrong.

Of segments, as `actx predict --segments` writes them:

    actx evaluate --segments=found.csv --truth=truth.csv --by_stem

Prints mean average precision at temporal IoU (tIoU) 0.1 to 0.7, and at
ActivityNet's 0.5 to 0.95. Both files are CSV with the columns video, start, end
and label; or ActivityNet's results or COCO's JSON for videos. The truth can be
ActivityNet's annotations too, of which --split is taken. What is found in
videos or of classes that the truth does not name is refused, unless
--leave_out_unknown; a video in which nothing happens can be named in JSON, and
not in CSV. --output is a table of each class's AP.
"""

import argparse

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser

_OF_CLIPS = ("features", "index", "model")
_MOST = 20  # lines of one kind


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_features(parser, required=False)
    kinds.add_index(parser, required=False)
    kinds.add_model(parser, required=False)
    parser.add_argument(
        "--split", default="test", help="split of the clips to evaluate on"
    )
    parser.add_argument(
        "--output", help="CSV to write: a row a clip; of --segments, a class"
    )
    parser.add_argument(
        "--report", help="folder for tables (CSV) and a page of them"
    )
    parser.add_argument(
        "--segments", help="segments that were found (CSV or JSON)"
    )
    parser.add_argument(
        "--truth", help="the true segments (CSV or JSON); they name all videos"
    )
    parser.add_argument(
        "--by_stem",
        action="store_true",
        help="compare videos by the names of their files, without folders and "
        "endings: of --segments",
    )
    parser.add_argument(
        "--leave_out_unknown",
        action="store_true",
        help="leave out what is found in videos or of classes that --truth "
        "does not name",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    given = [name for name in _OF_CLIPS if getattr(flags, name)]
    if flags.segments or flags.truth:
        for name in (*given, *(["report"] if flags.report else [])):
            raise UsageError(f"--{name} is not for --segments and --truth")
        if not (flags.segments and flags.truth):
            raise UsageError("--segments and --truth are given together")
        files.check_given(flags.segments, "--segments")
        files.check_given(flags.truth, "--truth")
    else:
        for name in ("by_stem", "leave_out_unknown"):
            if getattr(flags, name):
                raise UsageError(f"--{name} is for --segments and --truth")
        if missing := [x for x in _OF_CLIPS if x not in given]:
            raise UsageError(
                "the following arguments are required: "
                + ", ".join(f"--{name}" for name in missing)
                + "; or --segments, --truth"
            )
        files.check_features(flags.features)
        files.check_index(flags.index)
        files.check_model(flags.model)
        if flags.report:
            files.check_output_folder(flags.report, "--report")
    if flags.output:
        files.check_output_file(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    if flags.segments:
        _evaluate_segments(flags)
    else:
        _evaluate_clips(flags)


def _evaluate_clips(flags):
    from actx_tf import data
    from actx_tf import experiments
    from actx_tf.experiments.evaluation_tables import class_table

    found = experiments.evaluate_stored(
        flags.model,
        features=flags.features,
        index=flags.index,
        split=flags.split,
        conjugates_column=flags.conjugates_column,
    )
    for name, reason in found.left_out[:_MOST]:
        print(f"left out: {name}: {reason}")
    if len(found.left_out) > _MOST:
        print(f"left out: {len(found.left_out) - _MOST} more")
    print(f"{len(found.rows)} clips of the split {flags.split}")
    for name, value in found.figures.items():
        print(f"{name:9} {value:.3f}")
    table = class_table(found)
    print(f"\n{experiments.format_table(table)}")
    if more := len(found.class_names) - len(table) + 1:
        print(f"and {more} more classes, of a higher F1")
    if flags.output:
        experiments.write_rows(found.rows, flags.output)
        print(f"written: {flags.output}")
    if flags.report:
        unread = experiments.write_evaluation(
            found,
            flags.report,
            data.read_clip_index(flags.index, flags.conjugates_column),
            title=f"Evaluation: the split {flags.split}",
        )
        if unread:
            name, reason = unread[0]
            print(
                f"{len(unread)} clips of the page without frames, such as "
                f"{name}: {reason}"
            )
        print(f"written to {flags.report}: evaluation.html, per_class.csv, ...")


def _evaluate_segments(flags):
    from actx_tf import experiments

    found = experiments.evaluate_segments(
        flags.segments,
        flags.truth,
        split=flags.split,
        by_stem=flags.by_stem,
        leave_out_unknown=flags.leave_out_unknown,
    )
    for note in found.notes:
        print(f"note: {note}")
    print(
        f"{found.videos} videos, {sum(found.true.values())} true segments, "
        f"{sum(found.found.values())} found\n"
    )
    of_thresholds, of_classes = found.tables()
    print(experiments.format_table(of_thresholds))
    print(f"\n{experiments.format_table(of_classes)}")
    if more := len(found.true) - len(of_classes) + 1:
        print(f"and {more} more classes, of a higher AP")
    if flags.output:
        experiments.write_rows(found.rows(), flags.output)
        print(f"written: {flags.output}")
