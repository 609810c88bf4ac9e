"""Says how much of a classifier's accuracy comes from the scene.

Of a model that `actx train` made:

    actx mine --splits=train,test --way=before_and_after --index=index.csv \\
        --output=pairs.csv
    actx scene-report --features=features --index=pairs.csv \\
        --model=runs/mine/actx.keras --page=scene.html

Of any other, by a table of its scores: a row a clip, conjugates too, with the
columns clip and score_<class>:

    actx scene-report --scores=scores.csv --index=pairs.csv \\
        --background=none --output=pairs_by_scene.csv

The classifier is shown each action clip of --split that has conjugates, and
these conjugates, which show its scene without the action. For each class, with
95% intervals:

    accuracy        the clip is named by its class
    scene-only      the conjugate is, though the action is not in it: the mean
                    over a clip's conjugates
    contrasted      the clip is, while the conjugate is not
    answer changed  of an ActX: with the F_c of a clip of another class

"by chance" is what the same answers are worth if they are dealt out to the
clips at random. Of an ActX, a line says what its context switch changes without
training, and another which context these pairs speak for: the one with more
contrasted accuracy, if it costs no more than --most_lost of the accuracy. Ask
that of --split=validation; --chosen writes the model with this context.
--output is a table of the pairs, the worst first: whose conjugate is
named by the clip's class, with the largest score; --page shows them side by
side, read from the files that the index names.

With --tests, --index is index.csv of `actx scene-benchmark`, and each kind of
scenes has a line: accuracy on the clips as they are (IID), in another scene
(SCUBA), on one frame of that (SCUFO), contrasted accuracy (right on SCUBA and
not on SCUFO), and accuracy on the swaps, beside how often they are named by the
class of the scene. --output is then a table of the clips.
"""

import argparse
import collections
from typing import Any

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser

_SHOWN = 3  # names of what is left out for one reason


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_index(parser, text=" with conjugates of the split")
    kinds.add_model(parser, required=False, text="; or --scores")
    kinds.add_features(parser, required=False, text=" for the model")
    parser.add_argument(
        "--scores",
        help="scores of any classifier (CSV): columns clip and score_<class>",
    )
    kinds.add_background(
        parser, "such clips are left out; a model knows its own"
    )
    parser.add_argument(
        "--split", default="test", help="split of the clips to report on"
    )
    parser.add_argument(
        "--most_lost",
        type=kinds.fraction,
        default=0.01,
        help="accuracy that a better context may cost",
    )
    parser.add_argument(
        "--chosen", help="the ActX with the context chosen (.keras) to write"
    )
    parser.add_argument(
        "--tests",
        action="store_true",
        help="report on the tests that `actx scene-benchmark` made",
    )
    parser.add_argument("--output", help="CSV to write: a row a pair")
    parser.add_argument("--page", help="page (HTML) to write")
    parser.add_argument(
        "--num_pairs",
        type=kinds.whole,
        default=24,
        help="most pairs to show on the page",
    )
    parser.add_argument(
        "--seed", type=kinds.seed, default=0, help="of what is drawn at random"
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if bool(flags.model) == bool(flags.scores):
        raise UsageError("--model or --scores must be given, one of them")
    if bool(flags.model) != bool(flags.features):
        raise UsageError("--model and --features are given together or not")
    if flags.tests and flags.page:
        raise UsageError(
            "--page is not for --tests; it is for the index of one test, such "
            "as scuba_conjugates.csv"
        )
    if flags.tests and flags.conjugates_column != "conjugates":
        raise UsageError("--conjugates_column is not for --tests")
    if flags.tests and flags.chosen:
        raise UsageError("--chosen is not for --tests")
    files.check_index(flags.index)
    if flags.chosen and not (
        flags.model
        and flags.model.endswith(".keras")
        and flags.chosen.endswith(".keras")
    ):
        raise UsageError(
            "--chosen takes a .keras file to write, and needs the one of an "
            "ActX as --model"
        )
    if flags.model:
        files.check_model(flags.model)
        files.check_features(flags.features)
    else:
        files.check_given(flags.scores, "--scores")
    for name in ("chosen", "output", "page"):
        if path := getattr(flags, name):
            files.check_output_file(path, f"--{name}")


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf import experiments
    from actx_tf.experiments.benchmark_report import benchmark_table
    from actx_tf.experiments.scene_table import scene_table

    asked: dict[str, Any] = {
        name: getattr(flags, name)
        for name in (
            "model",
            "features",
            "scores",
            "background",
            "split",
            "seed",
        )
    }
    report: Any
    if flags.tests:
        report = experiments.benchmark_report(flags.index, **asked)
        table, rows = benchmark_table(report), report.clips
    else:
        report = experiments.scene_report(
            flags.index, conjugates_column=flags.conjugates_column, **asked
        )
        table, rows = scene_table(report), report.pairs
    print(experiments.format_table(table))
    notes = [*report.notes, *_left_out(report)]
    for note in notes:
        print(f"note: {note}")
    if flags.output:
        experiments.write_rows(rows, flags.output)
        print(f"written: {flags.output}")
    if flags.page:
        _write_page(flags, report, table, notes)
    if not flags.tests:
        _choose_context(flags, report)


def _choose_context(flags, report):
    from actx_tf import experiments
    from actx_tf import models
    from actx_tf.utils.atomic_write import atomic_write

    if not report.switched:
        if flags.chosen:
            raise ValueError(
                "--chosen needs a trained ActX, which has a context switch. "
                f"Received: {flags.model}"
            )
        return
    context = experiments.choose_context(report, flags.most_lost)
    meaning = {"keep": "F_c as it is", "mean": "F_c at its mean"}[context]
    print(f'these pairs speak for context="{context}", {meaning}')
    if not flags.chosen:
        return
    model = models.load_model(flags.model)
    model.context = context
    with atomic_write(flags.chosen) as draft:
        model.save(draft)
    print(f"written: {flags.chosen}")


def _left_out(report):
    """Counts what is left out for each reason."""
    names = collections.defaultdict(list)
    for name, reason in report.left_out:
        names[reason].append(name)
    for reason, found in names.items():
        shown = ", ".join(found[:_SHOWN])
        if len(found) > _SHOWN:
            shown += ", ..."
        yield f"left out, {reason}: {len(found)} ({shown})"


def _write_page(flags, report, table, notes):
    from actx_tf import data
    from actx_tf.visualization.scene_page import write_scene_page

    clips = data.read_clip_index(flags.index, flags.conjugates_column)
    pairs = report.pairs[: flags.num_pairs]
    unread = write_scene_page(
        flags.page,
        table,
        pairs,
        {clip.clip: clip for clip in clips},
        notes=notes,
        title=f"Action or scene: the split {flags.split}",
    )
    if unread:
        name, reason = unread[0]
        print(f"{len(unread)} clips without frames, such as {name}: {reason}")
    print(f"written: {flags.page}, {len(pairs)} of {len(report.pairs)} pairs")
