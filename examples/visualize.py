r"""Draws where and when a model sees the action in a video file.

    python examples/visualize.py --video=jump.mp4 \
        --model=runs/mine/saved_model --output=runs/jump

The model is a SavedModel that takes videos: see train_actx.py's --backbone.
Or it is a .keras file, and --backbone what made the features that it was
trained on, as extract_features.py's --save_backbone wrote it. How the video is
read, and the names of the classes, are the model's.

Prints the scores. Writes to `--output`: `maps.png` (frames, action map and
context map), `maps.gif` and `maps.mp4` (the same, moving), and
`action_share.png` (when the action happens).
"""

import sys

import numpy as np
from absl import app
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("video", None, "video file", required=True)
flags.DEFINE_string(
    "model", None, "folder of a SavedModel, or .keras file", required=True
)
flags.DEFINE_string("backbone", None, "of a .keras file: its backbone's")
flags.DEFINE_string("output", "runs/visualize", "folder for what is written")
flags.DEFINE_float("start", 0.0, "where the clip begins, in seconds", 0.0)
flags.DEFINE_float("end", None, "where it ends, in seconds", 0.0)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    # Imported late: a wrong flag is reported at once.
    from actx_tf.prediction import predict_video
    from actx_tf.visualization import save_prediction

    try:
        prediction = predict_video(
            FLAGS.video,
            FLAGS.model,
            FLAGS.backbone,
            start=FLAGS.start,
            end=FLAGS.end,
        )
        written = save_prediction(prediction, FLAGS.output)
    except (ImportError, OSError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    for i in np.argsort(-prediction.scores)[:5]:
        print(f"{prediction.scores[i]:.3f}  {prediction.class_names[i]}")
    names = ", ".join(path.name for path in written)
    print(f"written to {FLAGS.output}: {names}")


if __name__ == "__main__":
    app.run(main)
