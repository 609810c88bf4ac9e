"""Stores the similarity of each pair of clips, so that training is faster.

    actx similarities --features=features --index=pairs.csv \\
        --output=similarities
    actx train --features=features --index=pairs.csv \\
        --similarities=similarities --output=runs/mine

With frozen features the similarity of a pair (Sec. 3.2) depends on no weight.
Here each location is matched with all of both clips, and not with the crops of
a training step alone. Run the same command again to go on after an
interruption.

A note says which pairs look alike everywhere, so that there is no action to
find, or nowhere, as two scenes do.
"""

import argparse

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.parser import Parser
from actx_tf.settings import TrainingSettings

GOES_ON = True


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_features(parser)
    kinds.add_index(parser)
    parser.add_argument(
        "--output", required=True, help="store (a folder) to write"
    )
    kinds.add_background(parser, "they have no conjugates")
    parser.add_argument(
        "--gamma",
        type=kinds.not_negative,
        default=TrainingSettings.gamma,
        help="sharpness of the matching",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    files.check_features(flags.features)
    files.check_index(flags.index)
    files.check_output_folder(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf.data import FeatureStore
    from actx_tf.data import doubtful_pairs
    from actx_tf.data import read_clip_index
    from actx_tf.data import store_similarities
    from actx_tf.experiments.reports import pair_report

    clips = read_clip_index(flags.index, flags.conjugates_column)
    with FeatureStore(flags.features) as features:
        count = store_similarities(
            clips,
            features,
            flags.output,
            gamma=flags.gamma,
            background=flags.background,
        )
        doubts = doubtful_pairs(clips, features)
    if report := pair_report([], doubts):
        print(report)
    print(f"{count} pairs are stored in {flags.output}")
