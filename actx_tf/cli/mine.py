"""Finds conjugates for the clips of an index, or makes them.

The nearest clips of no action, by the features of `actx extract`:

    actx mine --background=none --features=features --index=index.csv \\
        --output=pairs.csv

What comes before and after the action in its file, or before and after a crop
of the clip:

    actx mine --way=before_and_after --index=thread.csv --output=pairs.csv
    actx mine --way=crops --crop_seconds=2 --index=hollywood2.csv \\
        --output=pairs.csv

Where there is nothing of the kind, it makes them of the clips themselves, as
video files in the folder --videos: a frame, held for as long as the clip; or
the clip without its people, by their --masks, or by the median over time where
there are none and the camera stands still:

    actx mine --way=frozen --videos=frozen --index=index.csv --output=pairs.csv
    actx mine --way=emptied --masks=masks.npz --videos=emptied \\
        --index=index.csv --output=pairs.csv

In long clips, of which the action takes a part, it finds stretches that a
trained model calls nothing: a round of self-training. The model names a class
that shows no action, or was trained on clips of several classes:

    actx mine --way=nothing --model=runs/first/saved_model \\
        --index=videos.csv --output=pairs.csv

Action clips of the split train get conjugates; with --splits=train,test those
of the split test too, which `actx scene-report` reads. The nearest clips are of
a clip's own split.

Prints which clips have none, and why. The new index is a table to read and
edit. All ways but the first add clips to it: extract features after them.

The first way stores how similar the clips of each pair are, from -1 to 1, and
prints the least similar: --min_similarity leaves these out, and --same=scene
pairs clips alone that have the same value in that column of the index. A note
says which pairs look alike everywhere, so that there is no action to find, or
nowhere, as two scenes do; `actx similarities` says so of the other ways' pairs.
"""

import argparse
import collections
from collections.abc import Collection
from typing import Any

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser

_WAYS = (
    *("nearest", "before_and_after", "crops", "frozen", "emptied"),
    "nothing",
)
_MADE = ("frozen", "emptied")
# Which ways each flag is for.
_OPTIONS = {
    "min_seconds": ("before_and_after", "crops", "nothing"),
    "crop_seconds": ("crops",),
    "num_crops": ("crops",),
    "features": ("nearest",),
    "num_neighbors": ("nearest",),
    "min_similarity": ("nearest",),
    "same": ("nearest",),
    "videos": _MADE,
    "at": ("frozen",),
    "masks": ("emptied",),
    "model": ("nothing",),
    "backbone": ("nothing",),
    "max_score": ("nothing",),
    "window": ("nothing",),
}


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_index(parser)
    parser.add_argument(
        "--output", required=True, help="clip index (CSV) to write"
    )
    parser.add_argument(
        "--way", choices=_WAYS, default=_WAYS[0], help="how they are found"
    )
    parser.add_argument(
        "--background",
        default="background",
        metavar="LABEL",
        help="label that shows no action",
    )
    parser.add_argument(
        "--splits",
        type=kinds.names,
        default="train",
        help="splits whose action clips get conjugates, separated by commas",
    )
    kinds.add_features(parser, required=False, text=" of the clips; nearest")
    parser.add_argument(
        "--num_neighbors",
        type=kinds.whole,
        help="nearest: conjugates of a clip; 3 if it is not given",
    )
    parser.add_argument(
        "--min_similarity",
        type=kinds.cosine,
        help="nearest: least similarity of a pair, in [-1, 1]; any if it is "
        "not given",
    )
    parser.add_argument(
        "--same",
        metavar="COLUMN",
        help="nearest: column of the index, such as scene or source, in which "
        "the clips of a pair have the same value",
    )
    parser.add_argument(
        "--min_seconds",
        type=kinds.positive,
        help="before_and_after, crops, nothing: conjugates are at least this "
        "long; 0.5 if it is not given",
    )
    parser.add_argument(
        "--crop_seconds",
        type=kinds.positive,
        help="crops: length of a crop; 2 if it is not given",
    )
    parser.add_argument(
        "--num_crops",
        type=kinds.whole,
        help="crops: number of crops of a clip; 1 if it is not given",
    )
    parser.add_argument(
        "--videos",
        help="frozen, emptied: folder for the video files that are made; those "
        "that an interrupted run left there are kept",
    )
    parser.add_argument(
        "--at",
        type=kinds.fraction,
        help="frozen: which frame is held, from 0, the first, to 1, the last; "
        "0.5 if it is not given",
    )
    parser.add_argument(
        "--masks",
        help="emptied: file (.npz) of masks of the people in each frame, as "
        "`actx index --dataset=jhmdb --masks` writes it",
    )
    kinds.add_model(parser, required=False, text="; nothing")
    kinds.add_backbone(parser, "nothing: for a .keras file")
    parser.add_argument(
        "--max_score",
        type=kinds.fraction,
        help="nothing: score that each action has there at most; 0.1 if it is "
        "not given",
    )
    parser.add_argument(
        "--window",
        type=kinds.positive,
        help="nothing: as of `actx predict`",
    )
    kinds.add_force(parser)


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    for name, ways in _OPTIONS.items():
        if getattr(flags, name) is not None and flags.way not in ways:
            raise UsageError(
                f"--{name} is not for --way={flags.way}, but for "
                f"{' and '.join(ways)}"
            )
    if flags.way == "nearest" and flags.features is None:
        raise UsageError(
            "--way=nearest needs --features; make them with `actx extract`"
        )
    if flags.way == "nothing" and flags.model is None:
        raise UsageError(
            "--way=nothing needs --model; train it with `actx train`"
        )
    if flags.way in _MADE and flags.videos is None:
        raise UsageError(
            f"--way={flags.way} needs --videos, a folder for the files it makes"
        )
    files.check_index(flags.index)
    if flags.features is not None:
        files.check_features(flags.features)
    if flags.masks is not None:
        files.check_given(flags.masks, "--masks")
    if flags.model is not None:
        files.check_model(flags.model)
    if flags.backbone is not None:
        files.check_backbone(flags.backbone)
    if flags.videos is not None:
        files.check_output_folder(flags.videos, "--videos")
    files.check_output_file(flags.output)
    files.check_new_file(
        flags.output, flags.force, "give another file to keep it"
    )


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf.data import read_clip_index
    from actx_tf.data import write_clip_index
    from actx_tf.experiments.reports import pair_report

    options = {
        name: getattr(flags, name)
        for name in _OPTIONS
        if getattr(flags, name) is not None
    }
    given = read_clip_index(flags.index, flags.conjugates_column)
    labels = collections.Counter(clip.label for clip in given)
    if flags.way == "nearest" and flags.background not in labels:
        raise ValueError(
            f"{flags.index} has no clip of the label {flags.background!r} "
            f"(--background); its labels are {', '.join(sorted(labels))}"
        )
    clips, missing, doubts = _mine(
        flags.way,
        given,
        background=flags.background,
        splits=flags.splits,
        **options,
    )
    if labels[flags.background]:
        print(
            f"{labels[flags.background]} clips of {flags.background} are the "
            "background"
        )
    else:
        print(
            f"no clip has the label {flags.background} (--background): all "
            f"show an action, {', '.join(sorted(labels))}"
        )
    _print_missing(missing, flags.background)
    counts = [len(clip.conjugates) for clip in clips if clip.conjugates]
    if not counts:
        hint = "the lines above say why"
        if not labels[flags.background]:
            hint = (
                f"is --background={flags.background} the label of no action? "
                f"The labels are {', '.join(sorted(labels))}"
            )
        raise ValueError(
            f"no conjugate was found for any of {len(given)} clips; {hint}"
        )
    if report := pair_report(clips, doubts):
        print(report)
    without = sum(clip.label != flags.background for clip, _ in missing)
    print(
        f"{len(counts)} clips have {sum(counts)} conjugates"
        + (f", {without} without any" if without else "")
    )
    # The last thing: an index that is there is not written again.
    write_clip_index(flags.output, clips)
    print(f"written: {flags.output}")


def _mine(
    way: str, clips: list, **options: Any
) -> tuple[list, list, list[tuple[str, str, str]]]:
    """Returns the clips, those without conjugates, and doubtful pairs."""
    from actx_tf import data

    if way == "nothing":
        from actx_tf import experiments

        return *experiments.conjugates_of_nothing(clips, **options), []
    if way == "before_and_after":
        return *data.conjugates_before_and_after(clips, **options), []
    if way == "crops":
        return *data.conjugates_around_crops(clips, **options), []
    if way in _MADE:
        options["progress"] = True
        if way == "frozen":
            return *data.frozen_conjugates(clips, **options), []
        if "masks" in options:
            options["masks"] = data.Masks(options["masks"])
        return *data.emptied_conjugates(clips, **options), []
    with data.FeatureStore(options.pop("features")) as store:
        embeddings = data.mean_embeddings(store)
        mined, missing = data.nearest_negatives(clips, embeddings, **options)
        return mined, missing, data.doubtful_pairs(mined, store)


def _print_missing(missing: Collection, background: str) -> None:
    """Prints a line a clip, but one for all of the background."""
    of_background: collections.Counter[str] = collections.Counter()
    for clip, reason in missing:
        if clip.label == background:
            of_background[reason] += 1
        else:
            print(f"missing: {clip.clip} ({clip.label}): {reason}")
    for reason, count in of_background.items():
        print(f"{count} clips of {background} are no conjugates: {reason}")
