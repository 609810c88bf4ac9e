"""Makes the known tests of static bias from the clips of an index.

With masks of who acts, in the scenes of other clips, which their conjugates
show:

    actx scene-benchmark --index=pairs.csv --masks=masks.npz --output=tests

Without masks, in scenes that no camera saw:

    actx scene-benchmark --index=index.csv --background=none \\
        --actors=median --scenes=stripes,noise --output=tests

Of each action clip of --split, which is one of no class of --background, it
makes

    scuba  the actor in another scene, a picture that stands still
    scufo  one frame of that, for the length of the clip: no action is seen
    swap   the actor in what the camera of a clip of another class saw; of
           --scenes=conjugates alone

--actors says how actors are cut out: by given masks; as what differs from the
clip's conjugate, or from its median over time, of a camera that stands still;
or by motion and colour, as FAME does. With --masks, what the ways without masks
find is compared with them, in 100 clips at most. Look at the videos before you
trust a figure.

--output is a folder: videos/, and index.csv of all clips, those that it was
made from too; and for each test an index of its own: iid.csv, swap.csv,
scufo_<scenes>.csv and scuba_<scenes>.csv, with SCUFO as conjugates. Then

    actx extract --index=tests/index.csv --output=features
    actx scene-report --tests --index=tests/index.csv --features=features \\
        --model=runs/mine/actx.keras

prints the accuracy on each, and contrasted accuracy: right on SCUBA, and not on
SCUFO. Run the same command again to go on after an interruption.
"""

import argparse
import collections
import os
from pathlib import Path

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser

GOES_ON = True
_ACTORS = ("masks", "conjugate", "median", "motion")
_COMPARED = 100  # clips whose masks are compared, at most: enough for a mean
_SCENES = ("conjugates", "stripes", "noise")


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_index(parser)
    parser.add_argument(
        "--output", required=True, help="folder to write, with a file a test"
    )
    parser.add_argument(
        "--masks",
        help="file (.npz) of masks of who acts in each frame, as `actx index "
        "--dataset=jhmdb --masks` writes it",
    )
    parser.add_argument(
        "--actors",
        choices=_ACTORS,
        help="how actors are cut out; masks if --masks is given",
    )
    parser.add_argument(
        "--scenes",
        type=kinds.names,
        default="conjugates",
        help="kinds of scenes, separated by commas: conjugates, of other "
        "clips, which should show nobody; stripes; noise",
    )
    kinds.add_background(parser, "such clips are left out")
    parser.add_argument("--split", default="test", help="split of the clips")
    parser.add_argument(
        "--seed", type=kinds.seed, default=0, help="of what is drawn at random"
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if flags.actors is None and flags.masks is None:
        raise UsageError(
            "--masks must be given, or --actors, which says how to do without: "
            f"{', '.join(_ACTORS[1:])}"
        )
    if flags.actors == "masks" and flags.masks is None:
        raise UsageError("--actors=masks needs --masks, a file")
    chosen = set(flags.scenes)
    if not chosen or chosen - set(_SCENES) or len(chosen) < len(flags.scenes):
        raise UsageError(
            f"--scenes must be one or more of {', '.join(_SCENES)}, each once, "
            f"not {','.join(flags.scenes)!r}"
        )
    files.check_index(flags.index)
    if flags.masks is not None:
        files.check_given(flags.masks, "--masks")
    files.check_output_folder(flags.output)
    own = os.path.join(os.path.realpath(flags.output), "index.csv")
    if os.path.realpath(flags.index) == own:
        raise UsageError("--output must be another folder than that of --index")


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf import data

    clips = data.read_clip_index(flags.index, flags.conjugates_column)
    masks = None if flags.masks is None else data.Masks(flags.masks)
    output = Path(flags.output)
    tests, missing = data.make_scene_tests(
        clips,
        output / "videos",
        actors=flags.actors or "masks",
        masks=masks,
        scenes=flags.scenes,
        background=flags.background,
        split=flags.split,
        seed=flags.seed,
        progress=True,
    )
    for clip, reason in missing:
        print(f"left out: {clip.clip} ({clip.label}): {reason}")
    if masks is not None:
        _print_quality(clips, tests, masks)
    counts = collections.Counter(clip.extra["test"] for clip in tests)
    print(", ".join(f"{counts[test]} clips of {test}" for test in counts))
    shown = [clip for clip in tests if clip.extra["test"] == "iid"]
    shown += [clip for clip, _ in missing]
    classes = {label for clip in shown for label in clip.labels}
    print(
        f"classes that show an action: {', '.join(sorted(classes))}; "
        "--background names those that show none"
    )
    indexes = data.scene_test_indexes(tests)
    # The index of all is there once the others are.
    for name in (*(x for x in indexes if x != "index"), "index"):
        data.write_clip_index(output / f"{name}.csv", indexes[name])
    print(f"written: {output / 'index.csv'}, and an index of each test")


def _print_quality(clips, tests, masks):
    """How well actors are found without the masks, over some of the clips."""
    from actx_tf import data

    made = {clip.extra["actor"] for clip in tests}
    compared = [clip for clip in clips if clip.clip in made]
    quality = data.mask_quality(
        compared[:: -(-len(compared) // _COMPARED)],
        masks,
        {clip.clip: clip for clip in clips},
        progress=True,
    )
    for way, (overlaps, without) in quality.items():
        found = "finds nobody"
        if overlaps:
            mean = sum(overlaps) / len(overlaps)
            found = f"overlaps the masks by {mean:.2f} (IoU)"
        print(
            f"--actors={way} {found} in {len(overlaps)} clips; it cannot be "
            f"used in {without}"
        )
