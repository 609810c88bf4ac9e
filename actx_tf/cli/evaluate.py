"""Says how well a trained model does on stored features.

    actx evaluate --features=features --index=pairs.csv \\
        --model=runs/mine/actx.keras --output=scores.csv

Prints accuracy, mean class accuracy and mean average precision over the clips
of --split; where a clip can be of several classes, the last alone. Mean average
precision leaves out the classes that the training called --background, as
there. --output is a table of the scores of each clip.
"""

import argparse

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.parser import Parser


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_features(parser)
    kinds.add_index(parser)
    kinds.add_model(parser)
    parser.add_argument(
        "--split", default="test", help="split of the clips to evaluate on"
    )
    parser.add_argument("--output", help="CSV to write: a row a clip")


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    files.check_features(flags.features)
    files.check_index(flags.index)
    files.check_model(flags.model)
    if flags.output:
        files.check_output_file(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf import experiments

    figures, rows, left_out = experiments.evaluate_stored(
        flags.model,
        features=flags.features,
        index=flags.index,
        split=flags.split,
        conjugates_column=flags.conjugates_column,
    )
    for name, reason in left_out:
        print(f"left out: {name}: {reason}")
    print(f"{len(rows)} clips of the split {flags.split}")
    for name, value in figures.items():
        print(f"{name:9} {value:.3f}")
    if flags.output:
        experiments.write_rows(rows, flags.output)
        print(f"written: {flags.output}")
