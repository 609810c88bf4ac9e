"""Flags of how segments are found, and lines that say what they are."""

import argparse
from collections.abc import Iterable
from typing import Any

from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser


def add_segments(parser: Parser) -> None:
    """Adds `--segments`, and what goes with it."""
    parser.add_argument(
        "--segments",
        action="store_true",
        help="answer in windows: what happens from when to when",
    )
    parser.add_argument(
        "--window",
        type=kinds.positive,
        help="seconds of a window, about as long as the clips of the training; "
        "if it is not given, the steps of the crops of the training, 10 if the "
        "model does not know them",
    )
    parser.add_argument(
        "--overlap",
        type=kinds.fraction,
        help="share of a window that the next one sees too; 0.5 if it is not "
        "given",
    )
    parser.add_argument(
        "--thresholds",
        type=_thresholds,
        help="scores from which on a step is in a segment, separated by "
        "commas; 0.1 to 0.9 if it is not given, of which the surest segments "
        "stay that overlap by 0.3 at most. One leaves none that overlap",
    )
    parser.add_argument(
        "--contrast",
        type=kinds.not_negative,
        help="a segment scores what is in it less what is around it, as far to "
        "each side as this share of its length; 1 if it is not given, 0 for "
        "what is in it alone",
    )
    kinds.add_background(
        parser, "those of the model, if it is not given, are no segments"
    )


def check_segments(flags: argparse.Namespace) -> None:
    """Raises `UsageError` for what goes with `--segments`, without it."""
    if flags.segments:
        return
    for name in "window", "overlap", "thresholds", "contrast", "background":
        if getattr(flags, name) not in (None, ()):
            raise UsageError(f"--{name} is for --segments")


def overlap_of(flags: argparse.Namespace) -> float:
    """Returns the share of a window that the next one sees too."""
    return 0.5 if flags.overlap is None else flags.overlap


def finding_of(flags: argparse.Namespace) -> dict[str, Any]:
    """Returns arguments of `Timeline.segments`."""
    from actx_tf import segments

    return {
        "background": flags.background or None,
        "thresholds": flags.thresholds or segments.THRESHOLDS,
        "contrast": 1.0 if flags.contrast is None else flags.contrast,
    }


def print_segments(found: Iterable[Any]) -> None:
    """Prints segments in the order of time."""
    for segment in sorted(found, key=lambda segment: segment.start):
        print(
            f"{segment.start:9.2f} to {segment.end:9.2f} s  "
            f"{segment.score:.3f}  {segment.label}"
        )


def print_windows(
    flags: argparse.Namespace, windows: Iterable[tuple[float, bool]]
) -> None:
    """Prints how long windows were, and a note if each moment has a class.

    Args:
        flags: The flags.
        windows: Of each video, the seconds of a window, and whether the model
            has a class that is nothing.
    """
    windows = set(windows)
    if not flags.background and not all(nothing for _, nothing in windows):
        print(
            "note: the model names no class that is nothing, so that each "
            "moment is of some class; see --background"
        )
    for seconds in sorted({f"{window:.3g}" for window, _ in windows}):
        print(f"windows of {seconds} seconds")


def _thresholds(text):
    return tuple(kinds.fraction(part) for part in text.split(","))
