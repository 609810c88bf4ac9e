"""Trains ActX along with its backbone, on video files.

    actx fine-tune --index=pairs.csv --background=none --output=runs/tuned \\
        --backbone=inception_i3d --size=224,224

Or from a trained model to other classes:

    actx fine-tune --index=pairs.csv --background=none --output=runs/tuned \\
        --init=runs/others/actx.keras

Frames are read from the files as they are needed. Each epoch shows other
stretches of the clips, other parts of the frames, mirrored and recoloured: both
clips of a pair in the same way. Prints the figures of the test clips.

Writes to --output: settings.json, actx.keras, scores.csv (a row a test clip),
results.csv, model_card.md (its data, its figures, where it fails), history/ and
tensorboard/ (logs).

Run the same command again to go on after an interruption, with the next epoch.
More --epochs go on after the end; as many as are done, or fewer, end the
training where it is. Other flags need another --output.

If memory runs out: --recompute, or fewer --crop_frames, or a smaller
--batch_size; --frozen, with the first layers. --strategy is that of `actx
train`.
"""

import argparse
import functools
import os

from actx_tf.cli import extract
from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli import training_flags
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser
from actx_tf.settings import FINE_TUNING
from actx_tf.settings import FineTuningSettings
from actx_tf.settings import TrainingSettings

GOES_ON = True


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_index(parser)
    parser.add_argument(
        "--output", default="runs/tuned", help="folder for what is written"
    )
    extract.add_backbone_flags(parser)
    parser.set_defaults(backbone=None)  # it can be that of --init
    training_flags.add_fields(
        parser, FineTuningSettings, left_out=("index", "conjugates_column")
    )
    training_flags.add_fields(parser, FINE_TUNING)
    training_flags.add_strategy(parser)


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if flags.init is not None:
        files.check_given(flags.init, "--init")
        if not flags.init.endswith(".keras"):
            raise UsageError("--init must be a .keras file")
        written = os.path.join(flags.output, "actx.keras")
        if os.path.realpath(written) == os.path.realpath(flags.init):
            raise UsageError(
                f"--output must be another folder than that of --init, which "
                f"{written} would take the place of"
            )
    if flags.backbone is not None or flags.init is None:
        flags.backbone = flags.backbone or extract.NAMES[0]
        extract.check_backbone_flags(flags)
    else:
        for flag in extract.DESCRIBED:
            if getattr(flags, flag) is not None:
                raise UsageError(
                    f"--{flag} is what --init says itself; or give --backbone"
                )
    try:
        _settings(flags)
    except ValueError as error:
        raise UsageError(str(error)) from error
    files.check_index(flags.index)
    files.check_output_folder(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf import experiments

    make, settings = None, {}
    if flags.backbone is not None:
        settings = extract.backbone_settings(flags)
        make = functools.partial(
            extract.make_backbone, flags.backbone, settings
        )
        settings = {"name": flags.backbone, **settings}
    data_settings, training_settings = _settings(flags)
    model, figures = experiments.fine_tune(
        data_settings,
        training_settings,
        output=flags.output,
        backbone=make,
        backbone_settings=settings,
        strategy=flags.strategy,
    )
    if model is None:
        return  # another worker is the chief
    for name, value in figures.items():
        print(f"{name}: {value:.3f}")
    print(
        f"\nwritten to {flags.output}: actx.keras, scores.csv, results.csv, "
        "model_card.md, history/, tensorboard/"
    )


def _settings(flags):
    given = training_flags.given
    return FineTuningSettings(
        **given(FineTuningSettings, flags)
    ), TrainingSettings(**given(TrainingSettings, flags))
