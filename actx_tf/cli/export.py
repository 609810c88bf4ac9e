"""Writes a trained model for other runtimes: TF Serving, LiteRT, ONNX.

    actx export --model=runs/mine/actx.keras --backbone=backbone.keras \\
        --output=models/jump
    actx export --model=runs/mine/actx.keras --format=onnx --output=jump.onnx

A SavedModel is written as the next version in the folder --output. With
--backbone the model takes frames of videos, without it feature maps.
"""

import argparse

from actx_tf.cli import files
from actx_tf.cli import flags as kinds
from actx_tf.cli.errors import UsageError
from actx_tf.cli.parser import Parser


def add_flags(parser: Parser) -> None:
    """Adds the flags of the subcommand."""
    parser.add_argument(
        "--model",
        required=True,
        help="trained model (.keras); `actx train` makes it",
    )
    kinds.add_backbone(parser, "the exported model then takes videos")
    parser.add_argument(
        "--output",
        required=True,
        help="folder of the SavedModel's versions, or file to write",
    )
    parser.add_argument(
        "--format",
        choices=("saved_model", "litert", "onnx"),
        default="saved_model",
        help="what to write",
    )
    parser.add_argument(
        "--weights",
        choices=("float32", "float16", "int8"),
        help="litert: what the weights are stored in; int8 makes the file a "
        "quarter, but for I3D's; float32 if it is not given",
    )
    kinds.add_compute_dtype(parser)
    parser.add_argument(
        "--memory",
        type=kinds.positive,
        help="saved_model, with --backbone: GiB that a window of frames of a "
        "request may take, and the features of a request; 4 if it is not given",
    )


def check(flags: argparse.Namespace) -> None:
    """Raises an error if the flags, or the files they name, are wrong."""
    if flags.weights and flags.format != "litert":
        raise UsageError("--weights is for --format=litert")
    if flags.compute_dtype != "float32" and flags.format != "saved_model":
        raise UsageError("--compute_dtype is for --format=saved_model")
    if flags.memory is not None and flags.format != "saved_model":
        raise UsageError("--memory is for --format=saved_model")
    files.check_keras_model(flags.model)
    if flags.backbone:
        files.check_backbone(flags.backbone)
    if flags.format == "saved_model":
        files.check_output_folder(flags.output)
    else:
        files.check_output_file(flags.output)


def run(flags: argparse.Namespace) -> None:
    """Runs the subcommand."""
    from actx_tf import export
    from actx_tf.models import load_model

    model = load_model(flags.model)
    backbone = load_model(flags.backbone) if flags.backbone else None
    written = flags.output
    if flags.format == "saved_model":
        written = export.export_saved_model(
            model,
            flags.output,
            backbone=backbone,
            memory=flags.memory or 4.0,
            compute_dtype=flags.compute_dtype,
        )
    elif flags.format == "litert":
        export.export_litert(
            model,
            flags.output,
            backbone=backbone,
            weights=flags.weights or "float32",
        )
    else:
        export.export_onnx(model, flags.output, backbone=backbone)
    print(f"written: {written}")
