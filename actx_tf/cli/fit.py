"""Does it all: from a folder of videos to a trained model and what it sees.

    actx fit videos --background=none --output=runs/mine

The folder has a folder of videos for each class, one of them, --background,
with clips of the same places in which no action happens. Indexes them,
extracts features, finds pairs, trains one model from one seed, and writes a web
page of the held-out clips: what `actx index`, `extract`, `mine`, `train` and
`view` do step by step. Then says in plain words what came of it: with
--compare, whether ActX is better than average pooling, too.

Run the same command again to go on after an interruption: what is done is not
done again. Other flags or other videos need another --output.
"""

import argparse
import functools
from pathlib import Path

from actx_tf.cli import extract
from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli import training_flags
from actx_tf.cli.parser import Parser

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
        metavar="LABEL",
        help="class that shows no action; none if it is not given and there is "
        "such a folder",
    )
    parser.add_argument(
        "--conjugates",
        choices=("nearest", "frozen", "emptied"),
        default="nearest",
        help="nearest: clips of the background that look most alike; frozen: "
        "the clip itself, one frame of it held; emptied: its median over time, "
        "without those who pass. The last two need no background",
    )
    extract.add_backbone_flags(parser)
    training_flags.add(
        parser, ("epochs", "patience", "class_weight", "learning_rate")
    )
    parser.add_argument(
        "--test_percent",
        type=kinds.percentage,
        default=20.0,
        help="share of the clips that is held out, unless the folders are "
        "train/<class> and test/<class>",
    )
    parser.add_argument(
        "--seed",
        type=kinds.seed,
        default=0,
        help="seed of all that is random",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="train average pooling of the same features too, and both from 3 "
        "seeds: is ActX better? Can be added later",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    extract.check_backbone_flags(flags)
    files.check_videos(flags.videos, "VIDEOS")
    classes = {
        folder.name
        for pattern in ("*", "*/*")  # with folders of splits, too
        for folder in Path(flags.videos).glob(pattern)
        if folder.is_dir()
    }
    if flags.background is None and "none" in classes:
        flags.background = "none"
    if flags.background not in classes and (
        flags.background or flags.conjugates == "nearest"
    ):
        there = sorted(
            x.name for x in Path(flags.videos).iterdir() if x.is_dir()
        )
        raise FileNotFoundError(
            f"{flags.videos} has no folder {flags.background or 'none'} "
            "(--background), with clips in which nothing of the classes "
            f"happens, but {', '.join(there) or 'no folders'}; without such "
            "clips give --conjugates=frozen"
        )
    files.check_output_folder(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf.experiments import train_on_videos
    from actx_tf.experiments import verdict

    settings = extract.backbone_settings(flags)
    trained = train_on_videos(
        flags.videos,
        flags.output,
        functools.partial(extract.make_backbone, flags.backbone, settings),
        backbone_settings={"name": flags.backbone, **settings},
        background=flags.background,
        conjugates=flags.conjugates,
        settings=training_flags.training_settings_of(flags),
        test_percent=flags.test_percent,
        seed=flags.seed,
        compare=flags.compare,
    )
    for name, message in trained.failed:
        print(f"failed: {name}: {message}")
    print(f"\n{verdict(trained)}")
