"""Says what videos show, and draws where and when a model sees the action.

    actx predict new.mp4 --model=runs/mine/saved_model --maps=runs/new
    actx predict videos --model=runs/mine/saved_model --output=scores.csv

The model is a SavedModel that takes videos: see --backbone of `actx train`. Or
it is a .keras file, and --backbone what made the features that it was trained
on. How videos are read, and the names of the classes, are the model's.

--output is a table with a row a video: its label, the scores of all classes,
and what made them; JSON if its name ends in .json, CSV otherwise. Run the same
command again to go on after an interruption. Videos that cannot be read are
listed, and do not stop the others.

--maps is a folder for maps.png (frames, action map and context map), maps.gif
and maps.mp4 (the same, moving), and action_share.png (when the action happens);
of a folder of videos, in a folder for each.
"""

import argparse
from pathlib import Path

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.parser import Parser
from actx_tf.cli.scores import print_scores

GOES_ON = True


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    parser.add_argument(
        "videos",
        metavar="VIDEO_OR_FOLDER",
        help="video file, or folder of videos, also in folders of it",
    )
    kinds.add_model(parser)
    kinds.add_backbone(parser, "for a .keras file")
    parser.add_argument("--output", help="table (CSV or JSON) to write")
    parser.add_argument("--maps", help="folder for figures and films")
    kinds.add_stretch(parser)


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if not Path(flags.videos).exists():
        raise FileNotFoundError(
            f"there is no video and no folder at {flags.videos}; give the "
            "path of one"
        )
    files.check_model(flags.model)
    if flags.backbone:
        files.check_backbone(flags.backbone)
    if flags.output:
        files.check_output_file(flags.output)
    if flags.maps:
        files.check_output_folder(flags.maps, "--maps")


def run(flags: argparse.Namespace) -> int:
    """Runs the subcommand; returns 1 if nothing came of it."""
    from actx_tf import experiments
    from actx_tf.visualization import save_prediction

    videos = experiments.find_videos(flags.videos)
    root = Path(flags.videos)

    def save(video, prediction):
        folder = Path(flags.maps) / video.relative_to(root)
        save_prediction(prediction, folder)

    rows, failed = experiments.score_videos(
        videos,
        flags.model,
        flags.output,
        backbone=flags.backbone,
        start=flags.start,
        end=flags.end,
        save=save if flags.maps else None,
        progress=len(videos) > 1,
    )
    if len(videos) == 1 and rows:
        scores = {
            name.removeprefix("score_"): value
            for name, value in rows[0].items()
            if name.startswith("score_")
        }
        print_scores(list(scores.values()), list(scores))
    elif not flags.output:
        for row in rows:
            score = row[f"score_{row['label']}"]
            print(f"{score:.3f}  {row['label']}  {row['video']}")
    for video, message in failed:
        print(f"failed: {video}: {message}")
    print(f"{len(rows)} of {len(videos)} videos have scores")
    for path in (flags.output, flags.maps):
        if path and rows:
            print(f"written: {path}")
    return int(not rows)
