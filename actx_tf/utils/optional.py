"""Packages that only a part of this one needs, imported when it runs."""

import importlib
from types import ModuleType

# Module: the package's name, and what to install for it.
_PACKAGES = {
    "ai_edge_litert.interpreter": ("LiteRT", "actx_tf[pose]"),
    "av": ("PyAV", "actx_tf[video]"),
    "cv2": ("OpenCV", "actx_tf[video]"),
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
    package, requirement = _PACKAGES[module]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {package}: pip install {requirement}"
        ) from error
