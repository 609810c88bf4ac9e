"""Asks TF Serving what a video file shows, by REST or by gRPC.

    actx ask jump.mp4 --name=jump --server=http://localhost:8501 \\
        --output=jump.png
    actx ask jump.mp4 --name=jump --server=localhost:8500

A server's address that begins with http:// or https:// is asked by REST, any
other by gRPC. The model is one that was exported with a backbone: the server
answers how a video is read for it.

Prints the largest scores. --output draws the action and the context map over
the frames.

With --segments a video of any length is sent part by part and answered in
windows: what happens from when to when, as `actx predict --segments` says it.
--output is then a table of the segments: CSV, ActivityNet's results if its name
ends in .json, or COCO's JSON for videos if it ends in .coco.json.

To ask from a program of your own, see actx_tf.client.
"""

import argparse

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli import segment_flags
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser
from actx_tf.cli.scores import print_scores


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    parser.add_argument("video", metavar="VIDEO", help="video file")
    parser.add_argument(
        "--name", required=True, help="the model's name at the server"
    )
    parser.add_argument(
        "--server",
        default="http://localhost:8501",
        help="address of the server",
    )
    parser.add_argument(
        "--version",
        type=kinds.whole,
        help="the model's version; the latest if it is not given",
    )
    parser.add_argument(
        "--label", help="or a label of a version, such as stable"
    )
    kinds.add_stretch(parser)
    parser.add_argument(
        "--quality",
        type=kinds.whole,
        help="quality of JPEGs, 1 to 100, which are small and lose detail; "
        "PNGs are sent if it is not given",
    )
    parser.add_argument(
        "--timeout",
        type=kinds.positive,
        default=60.0,
        help="seconds to wait for the answer",
    )
    parser.add_argument(
        "--output",
        help="image to draw the maps to; with --segments, table to write",
    )
    segment_flags.add_segments(parser)


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if flags.version is not None and flags.label is not None:
        raise UsageError("--version and --label exclude each other")
    if flags.quality is not None and flags.quality > 100:
        raise UsageError(f"--quality must be 1 to 100, not {flags.quality}")
    segment_flags.check_segments(flags)
    files.check_given(flags.video, "VIDEO")
    if flags.output:
        if flags.segments and not flags.output.lower().endswith(
            (".csv", ".json")
        ):
            raise UsageError(
                "--output must end in .csv, .json or .coco.json with --segments"
            )
        files.check_output_file(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    asked = {
        name: getattr(flags, name)
        for name in ("version", "label", "start", "end", "quality", "timeout")
    }
    ask = _ask_segments if flags.segments else _ask_scores
    ask(flags, asked)
    if flags.output:
        print(f"written: {flags.output}")


def _ask_scores(flags, asked):
    from actx_tf import client
    from actx_tf import visualization
    from actx_tf.utils.atomic_write import atomic_write

    prediction = client.ask(flags.video, flags.server, flags.name, **asked)
    print_scores(prediction.scores.tolist(), prediction.class_names)
    if flags.output:
        figure = visualization.prediction_figure(prediction)
        with atomic_write(flags.output) as draft:
            figure.savefig(draft, bbox_inches="tight")


def _ask_segments(flags, asked):
    from actx_tf import client
    from actx_tf.data import write_segments

    timeline = client.ask_timeline(
        flags.video,
        flags.server,
        flags.name,
        window=flags.window,
        overlap=segment_flags.overlap_of(flags),
        **asked,
    )
    found = timeline.segments(**segment_flags.finding_of(flags))
    segment_flags.print_segments(found)
    about = timeline.window, bool(timeline.background)
    segment_flags.print_windows(flags, [about])
    if flags.output:
        write_segments(flags.output, {flags.video: found}, flags.name)
