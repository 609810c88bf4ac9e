"""Asks TF Serving what a video file shows, by REST or by gRPC.

    actx ask jump.mp4 --name=jump --server=http://localhost:8501 \\
        --output=jump.png
    actx ask jump.mp4 --name=jump --server=localhost:8500

A server's address that begins with http:// or https:// is asked by REST, any
other by gRPC. The model is one that was exported with a backbone: the server
answers how a video is read for it.

Prints the largest scores. --output draws the action and the context map over
the frames. To ask from a program of your own, see actx_tf.client.
"""

import argparse

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
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
    parser.add_argument("--output", help="image to draw the maps to")


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if flags.version is not None and flags.label is not None:
        raise UsageError("--version and --label exclude each other")
    if flags.quality is not None and flags.quality > 100:
        raise UsageError(f"--quality must be 1 to 100, not {flags.quality}")
    files.check_given(flags.video, "VIDEO")
    if flags.output:
        files.check_output_file(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf import client
    from actx_tf import visualization
    from actx_tf.utils.atomic_write import atomic_write

    prediction = client.ask(
        flags.video,
        flags.server,
        flags.name,
        version=flags.version,
        label=flags.label,
        start=flags.start,
        end=flags.end,
        quality=flags.quality,
        timeout=flags.timeout,
    )
    print_scores(prediction.scores.tolist(), prediction.class_names)
    if flags.output:
        figure = visualization.prediction_figure(prediction)
        with atomic_write(flags.output) as draft:
            figure.savefig(draft, bbox_inches="tight")
        print(f"written: {flags.output}")
