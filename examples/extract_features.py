"""Stores the features of the videos that a clip index lists.

python examples/extract_features.py \
    --index=sc_fight/index.csv --conjugates_column=same_scene_opposite \
    --output=sc_fight.h5

The index is a CSV file with the columns clip, file, label, split, and one of
conjugates. Run the same command again to go on after an interruption. With
--stream=flow the network sees the optical flow between the frames instead.
"""

import sys

from absl import app
from absl import flags

_INDEX = flags.DEFINE_string("index", None, "Path of the clip index.")
_OUTPUT = flags.DEFINE_string("output", None, "Path of the feature store.")
_WEIGHTS = flags.DEFINE_string(
    "weights",
    "imagenet",
    "'imagenet' (downloaded), or the path of an .npz file of folded weights.",
)
_CONJUGATES_COLUMN = flags.DEFINE_string(
    "conjugates_column", "conjugates", "Column that names the conjugates."
)
_FRAME_RATE = flags.DEFINE_float(
    "frame_rate",
    16.0,
    "Frames per second that the network sees; unused with --num_frames.",
    lower_bound=0.1,
)
_NUM_FRAMES = flags.DEFINE_integer(
    "num_frames", None, "Frames a clip that the network sees.", lower_bound=1
)
_SIZE = flags.DEFINE_list(
    "size", ["224", "224"], "Height,width of the frames that it sees."
)
_FRAMES_PER_STEP = flags.DEFINE_integer(
    "frames_per_step", 4, "Frames in a step of the features.", lower_bound=1
)
_STREAM = flags.DEFINE_enum(
    "stream", "rgb", ("rgb", "flow"), "What the network sees of the videos."
)
_FLOW_METHOD = flags.DEFINE_enum(
    "flow_method", "dis", ("dis", "tvl1"), "How optical flow is computed."
)
_DTYPE = flags.DEFINE_enum(
    "dtype", "float16", ("float16", "float32"), "How features are stored."
)
flags.mark_flags_as_required(("index", "output"))


@flags.validator("size", message="must be height,width, of at least 32 each")
def _is_size(size):
    return len(size) == 2 and all(
        side.isdecimal() and int(side) >= 32 for side in size
    )


def main(_):
    # Imported late: a wrong flag is told at once.
    from actx_tf.data import extract_features
    from actx_tf.data import read_clip_index
    from actx_tf.models.mobilenet_v2_clip import MobileNetV2Clip

    size = tuple(map(int, _SIZE.value))
    try:
        clips = read_clip_index(_INDEX.value, _CONJUGATES_COLUMN.value)
        backbone = MobileNetV2Clip(
            weights=_WEIGHTS.value,
            input_shape=(None, *size, 3 if _STREAM.value == "rgb" else 2),
            frames_per_step=_FRAMES_PER_STEP.value,
        )
        failed = extract_features(
            clips,
            backbone,
            _OUTPUT.value,
            num_frames=_NUM_FRAMES.value,
            frame_rate=None if _NUM_FRAMES.value else _FRAME_RATE.value,
            size=size,
            frames_per_step=_FRAMES_PER_STEP.value,
            stream=_STREAM.value,
            flow_method=_FLOW_METHOD.value,
            dtype=_DTYPE.value,
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        sys.exit(f"extract_features: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted. Run the same command again to go on.")

    print(f"{len(clips) - len(failed)} of {len(clips)} clips are stored.")
    for clip, message in failed:
        print(f"failed: {clip.clip}: {message}")
    if clips and len(failed) == len(clips):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
