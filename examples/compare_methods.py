r"""Compares every method of the paper's tables on the same feature maps.

On the built-in data set:

    python examples/compare_methods.py --output=runs/comparison

On a feature store made by `actx extract`, with the masks and
boxes of examples/extract_pose_masks.py and a second store of the flow stream:

    python examples/compare_methods.py --features=rgb --index=index.csv \
        --pose_masks=masks --boxes=boxes --flow_features=flow

Prints a table for each stream, and for their late fusion: mean and standard
deviation over the seeds. Beside it stand the paper's mean average precisions
(Tables 1 to 3, RGB, or RGB + flow under the fusion), on other data and for
orientation only. "weights" are those on top of the feature maps, the
classifier's among them. Writes to `--output`: `settings.json`, `results.csv` (a
row a run), `scores/` (the clips' class probabilities, a file a run),
`tensorboard/` and `history/` (a log a run).

Run the same command again to go on after an interruption, with the run and the
epoch where it stopped. Other flags need another `--output`.
"""

import sys

import run_flags
from absl import app
from absl import flags

from actx_tf import experiments

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "runs/comparison", "folder for what is written")
flags.DEFINE_string("pose_masks", None, "store of masks, for PoseMask")
flags.DEFINE_string("boxes", None, "store of boxes, for k-Region")
flags.DEFINE_string("flow_features", None, "feature store of the flow stream")
flags.DEFINE_float("flow_weight", 1.0, "of the flow's scores; 1 for RGB's")
flags.DEFINE_enum(
    "part",
    "test",
    ("validation", "test"),
    "clips to evaluate on: settings are chosen on those of validation",
)
flags.DEFINE_list("methods", [], "methods to run; none: all that can be run")
flags.DEFINE_float("acf_similarity_weight", 1.0, "ACF: weight of its L_s")
flags.DEFINE_float("acf_difference_weight", 1.0, "ACF: weight of its L_d")
flags.DEFINE_integer("rank", 1, "attentional pooling: its rank")
flags.DEFINE_integer("components", 3, "EEP: basis functions")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    rows = experiments.compare_methods(
        run_flags.data_settings(),
        run_flags.training_settings(),
        output=FLAGS.output,
        seeds=FLAGS.seeds,
        methods=FLAGS.methods,
        flow_features=FLAGS.flow_features,
        flow_weight=FLAGS.flow_weight,
        part=FLAGS.part,
    )
    print(f"\n{experiments.comparison_tables(rows)}")
    print(
        f"\nwritten to {FLAGS.output}: results.csv, scores/, history/, "
        "tensorboard/"
    )


if __name__ == "__main__":
    try:
        app.run(main)
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    except (ImportError, OSError, ValueError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
