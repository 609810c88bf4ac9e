"""Flags that several subcommands share, and the kinds of their values."""

import argparse
import csv
import math
from collections.abc import Callable
from typing import Any

from actx_tf.cli.parser import Parser


def add_index(parser: Parser, required: bool = True, text: str = "") -> None:
    """Adds `--index` and `--conjugates_column`."""
    parser.add_argument(
        "--index",
        required=required,
        help=f"clip index (CSV){text}; `actx index` makes it",
    )
    parser.add_argument(
        "--conjugates_column",
        default="conjugates",
        help="the index's column of conjugates",
    )


def add_features(parser: Parser, required: bool = True, text: str = "") -> None:
    """Adds `--features`."""
    parser.add_argument(
        "--features",
        required=required,
        help=f"feature store{text}; `actx extract` makes it",
    )


def add_model(parser: Parser, required: bool = True, text: str = "") -> None:
    """Adds `--model`."""
    parser.add_argument(
        "--model",
        required=required,
        help="trained model: a .keras file, or the folder of a SavedModel or "
        f"of one of its versions; `actx train` makes them{text}",
    )


def add_backbone(parser: Parser, text: str) -> None:
    """Adds `--backbone`, a file."""
    parser.add_argument(
        "--backbone",
        help="what made the features that the model was trained on (.keras), "
        f"as `actx extract --save_backbone` writes it: {text}",
    )


def add_background(parser: Parser, text: str) -> None:
    """Adds `--background`."""
    parser.add_argument(
        "--background",
        type=names,
        default=(),
        metavar="LABELS",
        help="labels that show no action, separated by commas, one that holds "
        f"commas in double quotes: {text}",
    )


def add_stretch(parser: Parser) -> None:
    """Adds `--start` and `--end`."""
    parser.add_argument(
        "--start",
        type=not_negative,
        default=0.0,
        help="where in the file the clip begins, in seconds",
    )
    parser.add_argument(
        "--end",
        type=not_negative,
        help="where it ends, in seconds; by default with the file",
    )


def add_compute_dtype(parser: Parser) -> None:
    """Adds `--compute_dtype`."""
    parser.add_argument(
        "--compute_dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="arithmetic of the backbone. bfloat16 takes about half of the "
        "time and two thirds of the memory on processors that have it "
        "(AVX512-BF16, AMX) and GPUs, and longer than float32 on others; the "
        "features of I3D then have a cosine of 0.9997 to those of float32",
    )


def add_force(parser: Parser) -> None:
    """Adds `--force`."""
    parser.add_argument(
        "--force",
        action="store_true",
        help="write over --output, and over what people edited in it",
    )


def names(text: str) -> tuple[str, ...]:
    """Names, separated by commas; as in CSV, one that holds some in quotes."""
    return tuple(name for name in next(csv.reader([text]), []) if name)


def whole(text: str) -> int:
    """A whole number above 0."""
    return _number(text, int, lambda x: x >= 1, "a whole number above 0")


def seed(text: str) -> int:
    """A whole number from 0 on, of 32 bits."""
    return _number(
        text, int, lambda x: 0 <= x < 2**32, "a whole number from 0 to 2^32 - 1"
    )


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, float, lambda x: x > 0, "a finite number above 0")


def not_negative(text: str) -> float:
    """A finite number, 0 or above."""
    return _number(text, float, lambda x: x >= 0, "a finite number >= 0")


def fraction(text: str) -> float:
    """A number in [0, 1]."""
    return _number(text, float, lambda x: 0 <= x <= 1, "in [0, 1]")


def cosine(text: str) -> float:
    """A number in [-1, 1]."""
    return _number(text, float, lambda x: -1 <= x <= 1, "in [-1, 1]")


def percentage(text: str) -> float:
    """A number in [0, 100]."""
    return _number(text, float, lambda x: 0 <= x <= 100, "in [0, 100]")


def _number(
    text: str, kind: type, holds: Callable[[float], bool], what: str
) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and holds(number)):
        raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}")
    return number
