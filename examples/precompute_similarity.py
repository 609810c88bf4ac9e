r"""Stores the similarity of each pair of clips, so that training is faster.

    python examples/precompute_similarity.py --features=features \
        --index=index.csv --output=similarities
    python examples/train_actx.py --features=features --index=index.csv \
        --similarities=similarities --output=runs/mine

With frozen features the similarity of a pair (Sec. 3.2) depends on no weight.
Here each location is matched with all of both clips, and not with the crops of
a training step alone. Run the same command again to go on after an
interruption.
"""

import sys

from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("features", None, "feature store", required=True)
flags.DEFINE_string("index", None, "clip index (CSV)", required=True)
flags.DEFINE_string("output", None, "store to write", required=True)
flags.DEFINE_string(
    "conjugates_column", "conjugates", "the index's column of conjugates"
)
flags.DEFINE_list(
    "background", [], "labels that show no action: they have no conjugates"
)
flags.DEFINE_float("gamma", 20.0, "sharpness of the matching", lower_bound=0)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    from actx_tf.data import FeatureStore
    from actx_tf.data import read_clip_index
    from actx_tf.data import store_similarities

    try:
        clips = read_clip_index(FLAGS.index, FLAGS.conjugates_column)
        with FeatureStore(FLAGS.features) as features:
            count = store_similarities(
                clips,
                features,
                FLAGS.output,
                gamma=FLAGS.gamma,
                background=FLAGS.background,
            )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    print(f"{count} pairs are stored in {FLAGS.output}")


if __name__ == "__main__":
    app.run(main)
