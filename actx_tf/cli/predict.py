"""Says what videos show, and draws where and when a model sees the action.

    actx predict new.mp4 --model=runs/mine/saved_model --maps=runs/new
    actx predict videos --model=runs/mine/saved_model --output=scores.csv
    actx predict day.mp4 --model=runs/mine/saved_model --segments
    actx predict --stream=0 --model=runs/mine/saved_model

The model is a SavedModel that takes videos: see --backbone of `actx train`. Or
it is a .keras file, and --backbone what made the features that it was trained
on. How videos are read, and the names of the classes, are the model's.

--output is a table with a row a video: its label, the scores of all classes,
and what made them; JSON if its name ends in .json, CSV otherwise. Run the same
command again to go on after an interruption. Videos that cannot be read are
listed, and do not stop the others.

With --segments a video of any length is answered in windows: what happens from
when to when. --output then has a row a segment: video, start, end (seconds),
label and score: how much it stands out from what is around it. A name that ends
in .json gives ActivityNet's results, one in .coco.json COCO's JSON for videos.
<output>.progress, beside it, is what the same command goes on with.

--maps is a folder for maps.png (frames, action map and context map), maps.gif
and maps.mp4 (the same, moving), and action_share.png (when the action happens);
of a folder of videos, in a folder for each. Of a clip of more than 500 frames
they show 500. With --segments it is maps.mp4 alone, of all frames.

--stream answers a video that goes on: a camera (its number), an address
(rtsp://, http:// and so on), - for standard input, or a file, which is played
as fast as it was recorded. Every window it writes a line, at most two windows
later: its start and end (seconds since the first frame), the frames that were
dropped before it because the machine was too slow, the label and the scores.
Lines go to standard output, or to --output, as CSV or, with --format=json or a
name that ends in .jsonl, as JSON. Ctrl-C ends it.
"""

import argparse
from pathlib import Path

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli import segment_flags
from actx_tf.cli import stream
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser
from actx_tf.cli.scores import print_scores

GOES_ON = True


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    parser.add_argument(
        "videos",
        metavar="VIDEO_OR_FOLDER",
        nargs="?",
        help="video file, or folder of videos, also in folders of it",
    )
    parser.add_argument(
        "--stream",
        metavar="SOURCE",
        help="in its place, what goes on: number of a camera, address, - for "
        "standard input, or file to play",
    )
    kinds.add_model(parser)
    kinds.add_backbone(parser, "for a .keras file")
    parser.add_argument("--output", help="table (CSV or JSON) to write")
    parser.add_argument("--maps", help="folder for figures and films")
    kinds.add_stretch(parser)
    kinds.add_compute_dtype(parser)
    parser.add_argument(
        "--memory",
        type=kinds.positive,
        default=1.0,
        help="GiB that a window of frames may take, and the features of a clip "
        "that is answered as a whole",
    )
    segment_flags.add_segments(parser)
    parser.add_argument(
        "--format",
        choices=stream.FORMATS,
        help="of the lines of --stream; that of the name of --output, or csv, "
        "if it is not given",
    )
    parser.add_argument(
        "--context",
        choices=("keep", "mean"),
        help="what a trained ActX is given of the scene: keep, the context of "
        "the clip, or mean, that of all training clips, so that the action "
        "alone tells; as the model was saved, if it is not given",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if (flags.videos is None) == (flags.stream is None):
        raise UsageError("give VIDEO_OR_FOLDER or --stream, one of them")
    if flags.stream is not None:
        stream.check(flags)
    elif flags.format:
        raise UsageError("--format is for --stream")
    elif not Path(flags.videos).exists():
        raise FileNotFoundError(
            f"there is no video and no folder at {flags.videos}; give the "
            "path of one"
        )
    if flags.stream is None:
        segment_flags.check_segments(flags)
    files.check_model(flags.model)
    if flags.compute_dtype != "float32" and Path(flags.model).is_dir():
        raise UsageError(
            "--compute_dtype is for a .keras file: a SavedModel computes as "
            "`actx export --compute_dtype` says"
        )
    if flags.backbone:
        files.check_backbone(flags.backbone)
    if flags.output:
        files.check_output_file(flags.output)
    if flags.maps:
        files.check_output_folder(flags.maps, "--maps")


def run(flags: argparse.Namespace) -> int:
    """Runs the subcommand; returns 1 if nothing came of it."""
    from actx_tf.experiments.video_scores import find_videos

    if flags.stream is not None:
        return stream.run(flags)
    videos = find_videos(flags.videos)
    find = _find_segments if flags.segments else _find_scores
    answered, failed = find(flags, videos)
    for video, message in failed:
        # What cannot be read names its file itself.
        print(f"failed: {video}: {message.removeprefix(f'{video!r}: ')}")
    what = "segments" if flags.segments else "scores"
    print(f"videos that have {what}: {answered} of {len(videos)}")
    for path in (flags.output, flags.maps):
        if path and answered:
            print(f"written: {path}")
    return int(not answered)


def _find_scores(flags, videos):
    from actx_tf.experiments.video_scores import score_videos
    from actx_tf.experiments.video_scores import scores_of_row
    from actx_tf.visualization import save_prediction

    thinned = []

    def save(video, prediction):
        save_prediction(prediction, _folder(flags, video))
        shown, seen = len(prediction.frames), prediction.num_frames
        if shown < seen:
            thinned.append(f"{video}: maps over {shown} of {seen} frames")

    rows, failed = score_videos(
        videos,
        flags.model,
        flags.output,
        backbone=flags.backbone,
        start=flags.start,
        end=flags.end,
        memory=flags.memory,
        compute_dtype=flags.compute_dtype,
        context=flags.context,
        save=save if flags.maps else None,
    )
    if len(videos) == 1 and rows:
        scores = scores_of_row(rows[0])
        print_scores(list(scores.values()), list(scores))
    elif not flags.output:
        for row in rows:
            score = row[f"score_{row['label']}"]
            print(f"{score:.3f}  {row['label']}  {row['video']}")
    for line in thinned:
        print(line)
    return len(rows), failed


def _find_segments(flags, videos):
    from actx_tf.experiments.video_segments import segment_videos
    from actx_tf.visualization import save_timeline_video

    windows = set()

    def save(video, timeline, found):
        windows.add((timeline.window, bool(timeline.background)))
        if flags.maps:
            folder = _folder(flags, video)
            folder.mkdir(parents=True, exist_ok=True)
            save_timeline_video(
                folder / "maps.mp4", timeline, video, flags.start, flags.end
            )

    found, failed = segment_videos(
        videos,
        flags.model,
        flags.output,
        backbone=flags.backbone,
        window=flags.window,
        overlap=segment_flags.overlap_of(flags),
        **segment_flags.finding_of(flags),
        start=flags.start,
        end=flags.end,
        memory=flags.memory,
        compute_dtype=flags.compute_dtype,
        context=flags.context,
        save=save,
    )
    for video, entries in found.items():
        if len(videos) > 1:
            print(f"{video}: {len(entries)} segments")
        else:
            segment_flags.print_segments(entries)
    segment_flags.print_windows(flags, windows)
    return len(found), failed


def _folder(flags, video):
    return Path(flags.maps) / video.relative_to(flags.videos)
