"""ONNX files as backbones."""

import os
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.backbone import layer_name
from actx_tf.backbones.make_backbone import make_backbone
from actx_tf.ops.types import Tensor
from actx_tf.utils.optional import import_optional

_FILE = "network.onnx"
_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}


def from_onnx(path: str | os.PathLike, **options: Any) -> Backbone:
    """Makes a backbone of an ONNX file.

    ONNX Runtime runs it: for extraction and prediction. It is not trained, and
    a SavedModel cannot hold it. It travels in a `.keras` file. Networks that
    take one clip at a time, as PyTorch exports them without dynamic axes, are
    run clip by clip, or frame by frame.

    Args:
        path: Path of the file. Weights that lie in files beside it are taken
            into the backbone.
        **options: The arguments of `make_backbone`, after the network. For
            networks of PyTorch `layout` is `"channels_first"`, or
            `"frames_first"`, as video transformers have it. `input` is not
            needed; `output` is the name of the feature map, or of the tokens,
            if there are several outputs. `name` defaults to the file's with a
            checksum.

    Returns:
        A `Backbone`.

    Raises:
        FileNotFoundError: If there is no file.
        ImportError: If onnx or onnxruntime is not installed.
        ValueError: If the file or an argument is wrong, or the network makes
            no feature map.

    Example:

    ```python
    backbone = from_onnx(
        "dinov2.onnx",  # (batch, 3, 224, 224) -> (batch, 257, 384)
        layout="channels_first",
        frame_by_frame=True,
        tokens=(1, 16, 16),
        prefix_tokens=1,
        frame_rate=4.0,
        size=(224, 224),
        value_range=(-mean / deviation, (1 - mean) / deviation),
    )
    ```
    """
    onnx = import_optional("onnx", "Reading an ONNX file")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be an ONNX file. Received: path={str(path)!r}, and "
            "there is none"
        )
    try:
        content = onnx.load(path).SerializeToString()
    # What the reader raises on broken files is not documented.
    except Exception as error:
        raise ValueError(f"{path}: not an ONNX file: {error}") from error
    name = f"{path.stem}_{zlib.crc32(content):08x}"
    network = OnnxNetwork(name=layer_name(name))
    try:
        network.load(content)
        return make_backbone(network, **options)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@keras.saving.register_keras_serializable(package="actx_tf")
class OnnxNetwork(keras.layers.Layer):
    """A network in ONNX Runtime; see `from_onnx`.

    Attributes:
        export_obstacle: Why a SavedModel cannot hold it.
    """

    export_obstacle = (
        "a network of an ONNX file runs in ONNX Runtime, which a SavedModel "
        "cannot hold"
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self._content = b""
        self._session: Any = None
        self._mistake: Exception = ValueError("the file holds no ONNX network")
        self.built = True

    def load(self, content: bytes) -> None:
        """Takes the bytes of an ONNX file that names no other file.

        Raises:
            ValueError: If they are none, or it takes or returns other things
                than a network of clips.
        """
        onnx = import_optional("onnx", "Reading an ONNX file")
        onnxruntime = import_optional("onnxruntime", "An ONNX network")
        try:
            model = onnx.load_model_from_string(content)
            external = next(_external_tensors(onnx, model), None)
            if external is not None:
                raise ValueError(
                    f"the weights {external!r} lie in another file"
                )
            # All that this machine has, but none of the network.
            providers = [
                name
                for name in onnxruntime.get_available_providers()
                if name != "AzureExecutionProvider"
            ]
            session = onnxruntime.InferenceSession(content, providers=providers)
        # What the readers raise on broken files is not documented.
        except Exception as error:
            raise ValueError(f"not a whole ONNX file: {error}") from error
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _TYPES:
            received = [f"{i.name}: {i.type} {i.shape}" for i in inputs]
            raise ValueError(
                "An ONNX network must take one tensor, of clips. "
                f"Received: {received}"
            )
        self._content = content
        self._session = session

    def save_assets(self, folder: str | os.PathLike) -> None:
        """Writes the ONNX file as a part of a `.keras` file."""
        (Path(folder) / _FILE).write_bytes(self._content)

    def load_assets(self, folder: str | os.PathLike | None) -> None:
        """Reads what `save_assets` wrote."""
        if folder is None:  # where Keras looks next for what it cannot load
            raise self._mistake
        try:
            self.load((Path(folder) / _FILE).read_bytes())
        except (OSError, ValueError) as error:
            self._mistake = error
            raise

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """As the file says; free sizes, and the batch, are `None`."""
        _, *sizes = self._session.get_inputs()[0].shape
        return (None, *map(_size, sizes))

    def call(self, clip: Tensor) -> Tensor | dict[str, Tensor]:
        if self._session is None:
            raise ValueError(
                "An ONNX network in a .keras file is loaded along with its "
                "weights alone: by `keras.saving.load_model`."
            )
        if keras.backend.backend() == "tensorflow":
            values = self._run_in_graph(clip)
        else:
            values = self._run(keras.ops.convert_to_numpy(clip))
            values = list(map(keras.ops.convert_to_tensor, values))
        names = [output.name for output in self._session.get_outputs()]
        if len(names) == 1:
            return values[0]
        return dict(zip(names, values, strict=True))

    def _run_in_graph(self, clip):
        import tensorflow as tf

        outputs = self._session.get_outputs()
        values = tf.numpy_function(
            self._run, [clip], [tf.float32] * len(outputs), stateful=False
        )
        values = values if isinstance(values, (list, tuple)) else [values]
        for value, output in zip(values, outputs, strict=True):
            _, *sizes = output.shape
            value.set_shape((clip.shape[0], *map(_size, sizes)))
        return values

    def _run(self, clip):
        """From an array to one for each of the outputs, float32."""
        (taken,) = self._session.get_inputs()
        dtype = _TYPES[taken.type]
        clip = (np.rint(clip) if dtype == "uint8" else clip).astype(dtype)
        clips = [clip]
        if _size(taken.shape[0]) is not None:
            clips = np.split(clip, len(clip) // taken.shape[0])
        outputs = [self._session.run(None, {taken.name: c}) for c in clips]
        return [
            np.concatenate(values).astype("float32")
            for values in zip(*outputs, strict=True)
        ]


def _size(size):
    """A size of ONNX: a number, or the name of a free one."""
    return size if isinstance(size, int) else None


def _external_tensors(onnx, message):
    """Yields the names of the tensors whose values lie in other files."""
    if isinstance(message, onnx.TensorProto):
        if message.data_location == onnx.TensorProto.EXTERNAL:
            yield message.name
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            is_one = hasattr(value, "ListFields")
            for part in [value] if is_one else value:
                yield from _external_tensors(onnx, part)
