r"""Draws where and when a model sees the action in a video file.

    python examples/visualize.py --video=jump.mp4 \
        --model=runs/mine/saved_model --output=runs/jump

The model is a SavedModel that takes videos: see train_actx.py's --backbone.
Or it is a .keras file, and --backbone what made the features that it was
trained on, as extract_features.py's --save_backbone wrote it.

Prints the scores. Writes to `--output`: `maps.png` (frames, action map and
context map), `maps.gif` and `maps.mp4` (the same, moving), and
`action_share.png` (when the action happens).
"""

import sys
from pathlib import Path

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
flags.DEFINE_float(
    "frame_rate",
    None,
    "frames per second that the model sees; by default what a SavedModel says, "
    "or all that there are",
    lower_bound=0.1,
)
flags.DEFINE_list(
    "size",
    None,
    "height,width of the frames that it sees, or the length of the shorter "
    "side; by default what it is made for, or that of the file",
)
flags.DEFINE_float("start", 0.0, "where the clip begins, in seconds", 0.0)
flags.DEFINE_float("end", None, "where it ends, in seconds", 0.0)
flags.DEFINE_list("class_names", None, "of a .keras file: names of its classes")
flags.DEFINE_boolean(
    "multi_label", False, "of a .keras file: whether it tells several classes"
)


@flags.validator("size", message="must be height,width or one side")
def _is_size(size):
    return size is None or (
        len(size) in (1, 2)
        and all(side.isdecimal() and int(side) > 0 for side in size)
    )


def write_all(attended, output):
    """Writes the figures and the films of an `AttendedVideo`."""
    from actx_tf import visualization

    seconds = len(attended.frames) / attended.frame_rate
    title = f"{attended.answer} ({attended.scores.max():.2f})"
    clip = (attended.frames, attended.action_map, attended.context_map)
    visualization.attention_figure(
        *([part] for part in clip), [title], [attended.centers]
    ).savefig(output / "maps.png", bbox_inches="tight")
    visualization.action_share_figure(
        attended.action_map, seconds, attended.centers, attended.frames, title
    ).savefig(output / "action_share.png")
    for name in ("maps.gif", "maps.mp4"):
        visualization.save_attention_video(
            output / name, *clip, attended.frame_rate, attended.centers, title
        )


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments: {argv[1:]}")
    # Imported late: a wrong flag is told at once.
    from actx_tf.prediction import predict_video

    size = FLAGS.size and tuple(map(int, FLAGS.size))
    try:
        attended = predict_video(
            FLAGS.video,
            FLAGS.model,
            FLAGS.backbone,
            frame_rate=FLAGS.frame_rate,
            size=size[0] if size and len(size) == 1 else size,
            start=FLAGS.start,
            end=FLAGS.end,
            class_names=FLAGS.class_names,
            activation="sigmoid" if FLAGS.multi_label else "softmax",
        )
        output = Path(FLAGS.output)
        output.mkdir(parents=True, exist_ok=True)
        write_all(attended, output)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    for i in np.argsort(-attended.scores)[:5]:
        print(f"{attended.scores[i]:.3f}  {attended.class_names[i]}")
    print(
        f"written to {FLAGS.output}: maps.png, maps.gif, maps.mp4, "
        "action_share.png"
    )


if __name__ == "__main__":
    app.run(main)
