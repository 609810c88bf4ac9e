"""Trains ActX and compares it with pooling on the same features.

On the features of `actx extract` and the pairs of `actx mine`:

    actx train --features=features --index=pairs.csv --background=none \\
        --backbone=backbone.keras --output=runs/mine

Without --features and --index, on the built-in data set.

Prints one table: mean and standard deviation over the seeds. Writes to
--output: settings.json, results.csv (a row a run), tensorboard/ and history/ (a
log a run), and, of the first seed's ActX, actx.keras, saved_model/1/,
model_card.md (its data, its figures, where it fails) and attention.png.

Run the same command again to go on after an interruption, with the run and the
epoch where it stopped; the table is that of an uninterrupted command. Other
flags need another --output.

--strategy=mirrored trains on all GPUs of this machine. With
--strategy=multi_worker the same command runs on each of several machines, which
share the file system of --output; the environment variable TF_CONFIG names all
of them to each.
"""

import argparse

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli import training_flags
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser

GOES_ON = True


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    parser.add_argument(
        "--output", default="runs/actx", help="folder for what is written"
    )
    kinds.add_backbone(parser, "the SavedModel then takes videos too")
    parser.add_argument(
        "--similarities",
        help="store that `actx similarities` writes: a step then reads no "
        "conjugates",
    )
    parser.add_argument(
        "--seeds", type=kinds.whole, default=3, help="runs of each method"
    )
    training_flags.add_strategy(parser)
    training_flags.add(parser)


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if flags.index and not flags.features:
        raise UsageError(
            "--index needs --features; make them with `actx extract`"
        )
    if flags.features and not flags.index:
        raise UsageError(
            "--features needs --index; make it with `actx index`, and its "
            "conjugates with `actx mine`"
        )
    if flags.class_weight and flags.multi_label:
        raise UsageError(
            "--class_weight is for clips of one class each; --multi_label is "
            "given too"
        )
    try:
        training_flags.settings_of(flags)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if flags.features:
        files.check_features(flags.features)
        files.check_index(flags.index)
    if flags.backbone:
        files.check_backbone(flags.backbone)
    if flags.similarities:
        files.check_features(
            flags.similarities,
            "--similarities",
            "store of similarities",
            "make it with `actx similarities`",
        )
    files.check_output_folder(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf import experiments

    data_settings, settings = training_flags.settings_of(flags)
    rows = experiments.train_actx(
        data_settings,
        settings,
        output=flags.output,
        seeds=flags.seeds,
        strategy=flags.strategy,
    )
    if not rows:
        return  # another worker is the chief
    print(experiments.format_table(experiments.summarize(rows)))
    print(
        f"\nwritten to {flags.output}: results.csv, actx.keras, saved_model/, "
        "model_card.md, attention.png, history/, tensorboard/"
    )
