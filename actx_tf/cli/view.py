"""Writes one web page that plays clips with their action and context maps.

On a feature store and the model that `actx train` made of it:

    actx view --features=features --index=pairs.csv \\
        --model=runs/mine/actx.keras --output=runs/mine/clips.html

Without --features and --index, on the built-in data set.

The page is one file without a server or a network: open it in a browser, and
press ? on it for its keys. Frames are read from the files that the index names;
clips whose file is missing or broken are listed. Frames are made smaller, and
fewer, where the page would be larger than --max_megabytes.
"""

import argparse
from pathlib import Path

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_model(parser)
    parser.add_argument(
        "--output", default="clips.html", help="page (HTML) to write"
    )
    kinds.add_features(parser, required=False, text="; none: the built-in set")
    kinds.add_index(parser, required=False, text=" of the feature store")
    parser.add_argument(
        "--split", default="test", help="split of the clips to show"
    )
    parser.add_argument(
        "--num_clips",
        type=kinds.whole,
        default=50,
        help="most clips to show, evenly over the split",
    )
    parser.add_argument("--title", help="title of the page")
    parser.add_argument(
        "--max_megabytes",
        type=kinds.positive,
        default=30.0,
        help="largest size of the page",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if bool(flags.features) != bool(flags.index):
        raise UsageError("--features and --index are given together or not")
    files.check_model(flags.model)
    if flags.features:
        files.check_features(flags.features)
        files.check_index(flags.index)
    files.check_output_file(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    page = _write(flags)
    for name, reason in page.left_out:
        print(f"left out: {name}: {reason}")
    for quality, count in page.qualities.items():
        print(f"{count} clips at up to {quality}")
    megabytes = page.path.stat().st_size / 1e6
    print(f"written: {page.path}, {len(page.clips)} clips, {megabytes:.1f} MB")
    if megabytes > flags.max_megabytes:
        print(f"warning: larger than {flags.max_megabytes:g} MB; show fewer")


def _write(flags):
    from actx_tf import data
    from actx_tf import visualization
    from actx_tf.experiments.stored_evaluation import clips_of_split
    from actx_tf.export import load_trained
    from actx_tf.visualization.page_clips import built_in_clips

    model = load_trained(flags.model)
    origin = Path(flags.index).stem if flags.index else "the built-in data set"
    about = {
        "title": flags.title or f"ActX on {origin}: {flags.split}",
        "max_megabytes": flags.max_megabytes,
    }
    if flags.features:
        index = data.read_clip_index(flags.index, flags.conjugates_column)
        chosen = clips_of_split(index, flags.split)
        count = min(len(chosen), flags.num_clips)  # evenly over the split
        clips = [chosen[k * len(chosen) // count] for k in range(count)]
        with data.FeatureStore(flags.features) as store:
            return visualization.view_clips(
                model, store, clips, flags.output, **about
            )
    clips = built_in_clips(model, flags.split, flags.num_clips)
    return visualization.write_page(
        flags.output, clips, model.class_names, model.activation, **about
    )
