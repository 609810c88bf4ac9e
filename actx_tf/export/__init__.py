"""Models for other runtimes: TF Serving, LiteRT, ONNX."""

from actx_tf.export.litert import export_litert as export_litert
from actx_tf.export.metadata import parse_metadata as parse_metadata
from actx_tf.export.metadata import read_metadata as read_metadata
from actx_tf.export.onnx import export_onnx as export_onnx
from actx_tf.export.saved_model import export_saved_model as export_saved_model
from actx_tf.export.trained_model import ExportedModel as ExportedModel
from actx_tf.export.trained_model import load_trained as load_trained
