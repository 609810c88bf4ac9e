"""Stores the features of the videos that a clip index lists.

python examples/extract_features.py --index=index.csv --output=features

The index is a CSV file with the columns clip, file, label, split, and one of
conjugates. Run the same command again to go on after an interruption. With
--stream=flow the network sees the optical flow between the frames instead.

With the paper's backbone, whose weights you download (see the README):

python examples/extract_features.py --index=index.csv --output=i3d_features \
    --backbone=inception_i3d --weights=rgb_imagenet/model.ckpt

What the backbone sees of a video is stored with the features. A store takes
features of one backbone that sees videos in one way.
"""

import functools
import math
import sys

from absl import app
from absl import flags

_INDEX = flags.DEFINE_string("index", None, "Path of the clip index.")
_OUTPUT = flags.DEFINE_string("output", None, "Path of the feature store.")
_BACKBONE = flags.DEFINE_string(
    "backbone",
    "mobilenet_v2_clip",
    "Network that makes the features: mobilenet_v2_clip, inception_i3d, "
    "i3d_resnet34, or the path of a .keras file of a Backbone.",
)
_WEIGHTS = flags.DEFINE_string(
    "weights",
    None,
    "Path of the backbone's weights: see the docstrings of MobileNetV2Clip "
    "(which without them downloads those of ImageNet), InceptionI3D and "
    "I3DResNet34.",
)
_CONJUGATES_COLUMN = flags.DEFINE_string(
    "conjugates_column", "conjugates", "Column that names the conjugates."
)
_FRAME_RATE = flags.DEFINE_float(
    "frame_rate",
    None,
    "Frames per second that the network sees; not with --num_frames. By "
    "default 16 for MobileNetV2Clip and 25 for the others.",
    lower_bound=0.1,
)
_NUM_FRAMES = flags.DEFINE_integer(
    "num_frames", None, "Frames a clip that the network sees.", lower_bound=1
)
_SIZE = flags.DEFINE_list(
    "size",
    None,
    "Height,width of the frames that it sees, or the length of the shorter "
    "side. By default 224,224 for MobileNetV2Clip and 256 for the others.",
)
_FRAMES_PER_STEP = flags.DEFINE_integer(
    "frames_per_step",
    4,
    "Frames in a step of the features of MobileNetV2Clip; 8 in the others.",
    lower_bound=1,
)
_WINDOW = flags.DEFINE_integer(
    "window",
    None,
    "Frames that it sees at once: longer clips are run in windows that "
    "overlap, with the same values. By default what fits in --memory.",
    lower_bound=1,
)
_MEMORY = flags.DEFINE_float(
    "memory",
    4.0,
    "GiB that a window may take, of a worker each. A window is longer if less "
    "than half of it would be new: I3DResNet34, which sees 20 seconds at once, "
    "so takes up to 12 GiB.",
    lower_bound=0.1,
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
_ENGINE = flags.DEFINE_enum(
    "engine",
    "local",
    ("local", "ray"),
    "Where it runs: in this process, or in the workers of a Ray cluster (of "
    "this machine, if RAY_ADDRESS names no other).",
)
_WORKERS = flags.DEFINE_integer("workers", 2, "Workers of Ray.", lower_bound=1)
_GPUS_PER_WORKER = flags.DEFINE_float(
    "gpus_per_worker", 0.0, "GPUs of each worker of Ray.", lower_bound=0
)
_SAVE_BACKBONE = flags.DEFINE_string(
    "save_backbone",
    None,
    "Path of a .keras file to write the network to; train_actx.py's --backbone "
    "serves it along with what it trains.",
)
flags.mark_flags_as_required(("index", "output"))

# What a .keras file tells of itself.
_DESCRIPTION = (
    _WEIGHTS,
    _FRAME_RATE,
    _NUM_FRAMES,
    _SIZE,
    _FRAMES_PER_STEP,
    _STREAM,
    _FLOW_METHOD,
)


@flags.validator(
    "backbone",
    message="must be mobilenet_v2_clip, inception_i3d, i3d_resnet34 or the "
    "path of a .keras file",
)
def _is_backbone(name):
    return name.endswith(".keras") or name in (
        "mobilenet_v2_clip",
        "inception_i3d",
        "i3d_resnet34",
    )


@flags.validator(
    "size", message="must be height,width or one side, of at least 32 each"
)
def _is_size(size):
    return size is None or (
        len(size) in (1, 2)
        and all(side.isdecimal() and int(side) >= 32 for side in size)
    )


flags.register_multi_flags_validator(
    ("frame_rate", "memory", "gpus_per_worker"),
    lambda given: all(x is None or math.isfinite(x) for x in given.values()),
    "must be finite",
)


def read_arguments():
    """Returns the arguments of `make_backbone`."""
    name = _BACKBONE.value
    if name.endswith(".keras"):
        for flag in _DESCRIPTION:
            if flag.present:
                raise ValueError(f"--{flag.name} is what {name} says itself")
        return {"name": name}
    if name == "mobilenet_v2_clip":
        sides = (224, 224)
        settings = {
            "weights": _WEIGHTS.value or "imagenet",
            "frames_per_step": _FRAMES_PER_STEP.value,
        }
    else:
        if _FRAMES_PER_STEP.present:
            raise ValueError(f"--frames_per_step is 8 for {name}")
        if _WEIGHTS.value is None:
            raise ValueError(f"{name} needs --weights")
        sides = (None, None)
        settings = {"include_top": False, "weights": _WEIGHTS.value}
    if _FRAME_RATE.present and _NUM_FRAMES.present:
        raise ValueError("--frame_rate and --num_frames exclude each other")
    if _FRAME_RATE.present:
        settings["frame_rate"] = _FRAME_RATE.value
    if _NUM_FRAMES.present:
        settings["num_frames"] = _NUM_FRAMES.value
    if _SIZE.value:
        sides = tuple(map(int, _SIZE.value))
        if len(sides) == 1:
            settings["size"], sides = sides[0], (None, None)
    colors = 3 if _STREAM.value == "rgb" else 2
    return {
        "name": name,
        "input_shape": (None, *sides, colors),
        "flow_method": _FLOW_METHOD.value,
        **settings,
    }


def make_backbone(name, **settings):
    from actx_tf import backbones
    from actx_tf.models import load_model

    if name.endswith(".keras"):
        backbone = load_model(name)
        if not isinstance(backbone, backbones.Backbone):
            raise ValueError(f"{name}: not a Backbone, which says what it sees")
        return backbone
    make = {
        "mobilenet_v2_clip": backbones.MobileNetV2Clip,
        "inception_i3d": backbones.InceptionI3D,
        "i3d_resnet34": backbones.I3DResNet34,
    }[name]
    return make(**settings)


def main(_):
    # Imported late: a wrong flag is told at once.
    from actx_tf.data import extract_features
    from actx_tf.data import extract_features_on_ray
    from actx_tf.data import read_clip_index
    from actx_tf.utils.atomic_write import atomic_write

    try:
        make = functools.partial(make_backbone, **read_arguments())
        settings = {
            "memory": _MEMORY.value,
            "window": _WINDOW.value,
            "dtype": _DTYPE.value,
        }
        clips = read_clip_index(_INDEX.value, _CONJUGATES_COLUMN.value)
        if _SAVE_BACKBONE.value:
            with atomic_write(_SAVE_BACKBONE.value) as draft:
                make().save(draft)
        if _ENGINE.value == "ray":
            failed = extract_features_on_ray(
                clips,
                make,
                _OUTPUT.value,
                num_workers=_WORKERS.value,
                gpus_per_worker=_GPUS_PER_WORKER.value,
                **settings,
            )
        else:
            failed = extract_features(clips, make(), _OUTPUT.value, **settings)
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
