"""SavedModels of TensorFlow as backbones."""

import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import keras

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.backbone import layer_name
from actx_tf.backbones.make_backbone import make_backbone
from actx_tf.ops.types import Tensor


def from_saved_model(
    path: str | os.PathLike,
    signature: str = "serving_default",
    **options: Any,
) -> Backbone:
    """Makes a backbone of a SavedModel.

    It is run as it is: its weights are not trained. It travels in a `.keras`
    file, and in a SavedModel that is exported with it.

    The graph of a SavedModel can read and write files: take none from those
    whom you do not trust. For the same reason Keras' safe mode does not load a
    `.keras` file that holds one; `keras.saving.load_model(path,
    safe_mode=False)` does.

    Args:
        path: Path of the SavedModel, a folder. It is copied.
        signature: Name of the signature that takes a clip. Defaults to
            `"serving_default"`.
        **options: The arguments of `make_backbone`, after the network. `input`
            is the name of the clip among the signature's inputs, if it has
            several that can be left out; `output` that of the feature map
            among its outputs. `name` defaults to the folder's with a checksum.

    Returns:
        A `Backbone`.

    Raises:
        FileNotFoundError: If there is no SavedModel.
        ValueError: If an argument is wrong, or it makes no feature map.

    Example:

    ```python
    backbone = from_saved_model(
        "movinet_a0", frame_rate=5.0, size=(172, 172), value_range=(0, 1)
    )
    ```
    """
    path = Path(path)
    if not (path / "saved_model.pb").is_file():
        raise FileNotFoundError(
            "`path` must be the folder of a SavedModel. "
            f"Received: path={str(path)!r}, which holds no saved_model.pb"
        )
    folder = path.resolve()
    stem = folder.parent.name if folder.name.isdecimal() else folder.name
    network = SavedModelNetwork(
        signature, name=layer_name(f"{stem}_{_checksum(folder)}")
    )
    network.load(folder)
    return make_backbone(network, **options)


@keras.saving.register_keras_serializable(package="actx_tf")
class SavedModelNetwork(keras.layers.Layer):
    """A signature of a SavedModel; see `from_saved_model`.

    Args:
        signature: Name of the signature.
    """

    def __init__(
        self, signature: str = "serving_default", **kwargs: Any
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "A SavedModel needs Keras' backend to be TensorFlow. "
                f"Received: {keras.backend.backend()}"
            )
        super().__init__(autocast=False, **kwargs)
        self.signature = signature
        self._folder: Any = None
        self._saved_model: Any = None
        self._specs = {}
        self._mistake: Exception = ValueError("the file holds no SavedModel")
        self.built = True

    def load(self, folder: str | os.PathLike) -> None:
        """Takes a copy of a SavedModel: what it came from may go away."""
        import tensorflow as tf

        self._folder = tempfile.TemporaryDirectory(prefix="actx_tf-")
        copy = Path(self._folder.name) / "saved_model"
        shutil.copytree(folder, copy)
        self._saved_model = tf.saved_model.load(str(copy))
        signatures = self._saved_model.signatures
        if self.signature not in signatures:
            raise ValueError(
                f"`signature` must be one of {sorted(signatures)}. "
                f"Received: signature={self.signature!r}"
            )
        function = signatures[self.signature]
        self._specs = function.structured_input_signature[1]

    def load_assets(self, folder: str | os.PathLike | None) -> None:
        """Reads what `save_assets` wrote."""
        if folder is None:  # where Keras looks next for what it cannot load
            raise self._mistake
        try:
            self.load(folder)
        except Exception as error:  # whatever TensorFlow raises
            self._mistake = error
            raise

    def save_assets(self, folder: str | os.PathLike) -> None:
        """Writes the SavedModel as it was taken."""
        shutil.copytree(
            Path(self._folder.name) / "saved_model", folder, dirs_exist_ok=True
        )

    @property
    def input_shape(self) -> Any:
        """Of the signature's inputs by name, or of the only one."""
        shapes = {
            name: None if spec.shape.rank is None else tuple(spec.shape)
            for name, spec in self._specs.items()
        }
        return shapes if len(shapes) > 1 else next(iter(shapes.values()), None)

    def call(
        self, inputs: Tensor | dict[str, Tensor]
    ) -> Tensor | dict[str, Tensor]:
        import tensorflow as tf

        if self._saved_model is None:
            raise ValueError(
                "A SavedModel in a .keras file is loaded along with its "
                "weights alone: by `keras.saving.load_model`."
            )
        if not isinstance(inputs, dict):
            if len(self._specs) != 1:
                raise ValueError(
                    f"`input` must be one of {sorted(self._specs)}, which of "
                    "the signature's inputs is the clip. Received: input=None"
                )
            inputs = {next(iter(self._specs)): inputs}
        elif not inputs.keys() <= self._specs.keys():
            raise ValueError(
                f"`input` must be one of {sorted(self._specs)}. "
                f"Received: input={sorted(inputs)[0]!r}"
            )
        values = {}
        for name, value in inputs.items():
            dtype = self._specs[name].dtype
            value = tf.round(value) if dtype.is_integer else value
            values[name] = tf.cast(value, dtype)
        outputs = self._saved_model.signatures[self.signature](**values)
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "signature": self.signature}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SavedModelNetwork":
        try:
            # Keras' own rule of what safe mode lets pass.
            return keras.layers.TFSMLayer.from_config.__func__(cls, config)
        except ValueError as error:
            raise ValueError(
                "The file holds a SavedModel, whose graph can read and write "
                "files; safe mode does not load it. If you trust the file, "
                "use keras.saving.load_model(path, safe_mode=False)."
            ) from error


def _checksum(folder):
    """A checksum of the files in a folder, their names included."""
    checksum = 0
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            checksum = zlib.crc32(name.encode(), checksum)
            with open(path, "rb") as file:
                while block := file.read(2**20):
                    checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"
