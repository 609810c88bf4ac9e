"""ONNX files of a few nodes."""

import onnx
from onnx import TensorProto
from onnx import helper
from onnx import numpy_helper


def write(path, nodes, shape, output_shape, weights=(), **kwargs):
    """A network of some nodes, from "x" to "y"."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.save(model, path, **kwargs)
    return path
