"""Models for other runtimes: TF Serving, LiteRT, ONNX."""

from actx_tf.export.saved_model import export_litert as export_litert
from actx_tf.export.saved_model import export_onnx as export_onnx
from actx_tf.export.saved_model import export_saved_model as export_saved_model
from actx_tf.export.saved_model import read_metadata as read_metadata
