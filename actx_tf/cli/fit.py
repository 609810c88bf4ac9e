"""Does it all: from a folder of videos to a trained model and what it sees.

    actx fit videos --background=none --output=runs/mine

The folder has a folder of videos for each class, one of them, --background,
with clips of the same places in which nothing of it happens. Indexes them,
extracts features, finds pairs, trains one model from one seed, and writes a web
page of the clips that were held out: what `actx index`, `extract`, `mine`,
`train` and `view` do step by step. Then says in plain words what came of it.

Run the same command again to go on after an interruption: what is done is not
done again. Other flags or other videos need another --output.
"""

import argparse
import functools
from pathlib import Path

from actx_tf.cli import extract
from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.parser import Parser
from actx_tf.settings import TrainingSettings

GOES_ON = True


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    parser.add_argument(
        "videos",
        metavar="VIDEOS",
        help="folder with a folder of videos for each class",
    )
    parser.add_argument(
        "--output", required=True, help="folder for what is written"
    )
    parser.add_argument(
        "--background",
        default="none",
        metavar="LABEL",
        help="class that shows no action",
    )
    extract.add_backbone_flags(parser)
    parser.add_argument(
        "--epochs",
        type=kinds.whole,
        default=TrainingSettings.epochs,
        help="epochs of the training",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all that is random"
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    extract.check_backbone_flags(flags)
    if not Path(flags.videos).is_dir():
        raise FileNotFoundError(
            f"there is no folder at {flags.videos}; give that of the videos, "
            "with a folder for each class"
        )
    classes = {
        folder.name
        for pattern in ("*", "*/*")  # with folders of splits, too
        for folder in Path(flags.videos).glob(pattern)
        if folder.is_dir()
    }
    if flags.background not in classes:
        raise FileNotFoundError(
            f"{flags.videos} has no folder {flags.background} (--background), "
            "with clips in which nothing of the classes happens"
        )
    files.check_output_folder(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf.experiments import train_on_videos

    settings = extract.backbone_settings(flags)
    trained = train_on_videos(
        flags.videos,
        flags.output,
        functools.partial(extract.make_backbone, flags.backbone, settings),
        backbone_settings={"name": flags.backbone, **settings},
        background=flags.background,
        settings=TrainingSettings(epochs=flags.epochs),
        seed=flags.seed,
    )
    for name, message in trained.failed:
        print(f"failed: {name}: {message}")
    label, share = trained.commonest
    accuracy = trained.figures["accuracy"]
    print(
        f"\nOf {trained.clips} clips {trained.clips - len(trained.failed)} "
        f"could be read. {trained.paired} show an action and have "
        f"{trained.pairs} conjugates.\n"
        f"Of {trained.tested} clips that were held out, the model names "
        f"{round(accuracy * trained.tested)} right: accuracy {accuracy:.3f}, "
        f"mAP {trained.figures['mAP']:.3f}.\n"
        f"Whoever always answers {label} has accuracy {share:.3f}: "
        + (
            "the model has learned something."
            if accuracy > share
            else "the model is no better; it needs more clips, or longer "
            "training (--epochs)."
        )
        + f"\nSee what it looks at: open {trained.page} in a browser."
    )
