"""ONNX files, for ONNX Runtime and OpenVINO."""

import os

from actx_tf.backbones.backbone import Backbone
from actx_tf.export.served_model import ServedModel
from actx_tf.export.served_model import clips_to_answers
from actx_tf.models.paired_model import PairedModel
from actx_tf.utils.atomic_write import atomic_write
from actx_tf.utils.optional import import_optional


def export_onnx(
    model: PairedModel,
    path: str | os.PathLike,
    *,
    backbone: Backbone | None = None,
) -> None:
    """Writes a model as an ONNX file, for ONNX Runtime and OpenVINO.

    Inputs and outputs are those of `export_litert`. (Keras' own
    `model.export` of a model that was trained on pairs would ask for the
    conjugate clip too, and fix the sizes.)

    Args:
        model: A built `PairedModel`.
        path: Path of the file, which is replaced if it is there.
        backbone: What made the features that the model was trained on.
            Defaults to the model's own, if any.

    Raises:
        TypeError: If the backbone does not say what it sees.
        ValueError: If the model is not built, or the backbone is not that of
            its features.
        ImportError: If tf2onnx is not installed.
    """
    tf2onnx = import_optional("tf2onnx", "Writing an ONNX file")
    served = ServedModel(model, backbone)
    function = clips_to_answers(served)
    onnx_model, _ = tf2onnx.convert.from_function(
        function, input_signature=function.input_signature, opset=18
    )
    onnx_model.metadata_props.add(key="actx_tf", value=served.metadata)
    with atomic_write(path) as draft:
        draft.write_bytes(onnx_model.SerializeToString())
