r"""Writes one web page that plays clips with their action and context maps.

On the built-in data set, after `make demo`:

    python examples/view_clips.py --model=runs/demo/actx.keras \
        --output=runs/demo/clips.html

On a feature store and the model that train_actx.py made of it:

    python examples/view_clips.py --features=features --index=index.csv \
        --model=runs/mine/actx.keras --output=runs/mine/clips.html

The page is one file without a server or a network: open it in a browser, and
press ? on it for its keys. Frames are read from the files that the index names;
clips whose file is missing or broken are listed. Frames are made smaller, and
fewer, where the page would be larger than --max_megabytes.
"""

import sys
from pathlib import Path

from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("model", None, ".keras file of an ActX", required=True)
flags.DEFINE_string("output", "clips.html", "path of the page")
flags.DEFINE_string("features", None, "feature store; none: the built-in set")
flags.DEFINE_string("index", None, "clip index (CSV) of the feature store")
flags.DEFINE_string(
    "conjugates_column", "conjugates", "the index's column of conjugates"
)
flags.DEFINE_string("split", "test", "split of the clips to show")
flags.DEFINE_integer(
    "num_clips", 50, "most clips to show, evenly over the split", lower_bound=1
)
flags.DEFINE_string("title", None, "title of the page")
flags.DEFINE_float(
    "max_megabytes", 30.0, "largest size of the page", lower_bound=0.1
)


def choose(index):
    """Returns `--num_clips` clips, evenly over the split."""
    chosen = [clip for clip in index if clip.split == FLAGS.split]
    if not chosen:
        raise ValueError(
            f"--split must be one of {sorted({c.split for c in index})}. "
            f"Received: {FLAGS.split}"
        )
    count = min(len(chosen), FLAGS.num_clips)
    return [chosen[k * len(chosen) // count] for k in range(count)]


def write(model):
    """Returns the `Page` that was written."""
    from actx_tf import data
    from actx_tf import visualization

    origin = Path(FLAGS.index).stem if FLAGS.index else "the built-in data set"
    about = {
        "title": FLAGS.title or f"ActX on {origin}: {FLAGS.split}",
        "max_megabytes": FLAGS.max_megabytes,
    }
    if FLAGS.features:
        index = data.read_clip_index(FLAGS.index, FLAGS.conjugates_column)
        clips = choose(index)
        with data.FeatureStore(FLAGS.features) as store:
            return visualization.view_clips(
                model, store, clips, FLAGS.output, **about
            )
    clips = visualization.built_in_clips(model, FLAGS.split, FLAGS.num_clips)
    return visualization.write_page(
        FLAGS.output, clips, model.class_names, model.activation, **about
    )


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    if bool(FLAGS.features) != bool(FLAGS.index):
        sys.exit("error: --features and --index are given together or not")
    # Imported late: a wrong flag is reported at once.
    from actx_tf.models import load_model

    try:
        page = write(load_model(FLAGS.model))
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    for name, reason in page.left_out:
        print(f"left out: {name}: {reason}")
    for quality, count in page.qualities.items():
        print(f"{count} clips at up to {quality}")
    megabytes = page.path.stat().st_size / 1e6
    print(f"written: {page.path}, {len(page.clips)} clips, {megabytes:.1f} MB")
    if megabytes > FLAGS.max_megabytes:
        print(f"warning: larger than {FLAGS.max_megabytes:g} MB; show fewer")


if __name__ == "__main__":
    app.run(main)
