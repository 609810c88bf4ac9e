"""Files for LiteRT (once TensorFlow Lite)."""

import os
import tempfile
from pathlib import Path

import tensorflow as tf

from actx_tf.backbones.backbone import Backbone
from actx_tf.export.served_model import ServedModel
from actx_tf.export.served_model import clips_to_answers
from actx_tf.models.paired_model import PairedModel
from actx_tf.utils.atomic_write import atomic_write

WEIGHTS = ("float32", "float16", "int8")


def export_litert(
    model: PairedModel,
    path: str | os.PathLike,
    *,
    backbone: Backbone | None = None,
    weights: str = "float32",
) -> None:
    """Writes a model as a file for LiteRT (once TensorFlow Lite).

    Its one signature takes `features`, float32 `(batch, time, height, width,
    channels)`, all sizes but the channels free, and returns `scores`,
    `(batch, classes)`, and, of a model with maps, `action_map` and
    `context_map`, `(batch, time, height, width)`.

    With a backbone it takes `frames` in their place, uint8 `(batch, frames,
    height, width, colors)`: clips of one length, read as its description says
    (`read_clip(video, **description.sampling)`).

    Args:
        model: A built `PairedModel`.
        path: Path of the file, which is replaced if it is there.
        backbone: What made the features that the model was trained on.
            Defaults to the model's own, if any.
        weights: What the weights are stored in: `"float32"`; `"float16"`, half
            the size; or `"int8"`, a quarter, with which products are computed
            in int8 too ("dynamic range"). Kernels of three dimensions, as in
            I3D, and small ones stay float32 there. Defaults to `"float32"`.

    Raises:
        TypeError: If the backbone does not say what it sees.
        ValueError: If the model is not built, or the backbone is not that of
            its features, or `weights` is another name.
    """
    if weights not in WEIGHTS:
        raise ValueError(
            f"`weights` must be one of {WEIGHTS}. Received: weights={weights!r}"
        )
    served = ServedModel(model, backbone)
    function = clips_to_answers(served)
    with tempfile.TemporaryDirectory() as folder:
        # Of a SavedModel the converter makes constants of the variables.
        served.save({"serving_default": function}, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if weights != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if weights == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    with atomic_write(path) as draft:
        draft.write_bytes(content)
