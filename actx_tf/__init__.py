"""Attentive action and context factorization (ActX) for Keras.

`actx_tf.predict` answers a video, or a folder of them, with a trained model.
A subpackage loads when it is first used: `actx_tf.layers`, `losses`, `metrics`
and `models` need Keras and its backend alone. `actx_tf.models.load_model` loads
what was saved; `keras.saving.load_model` does once `actx_tf.models` is
imported, which registers its classes and all that they are made of.
"""

import importlib
from typing import TYPE_CHECKING
from typing import Any

from actx_tf.version import __version__ as __version__

if TYPE_CHECKING:
    from actx_tf import backbones as backbones
    from actx_tf import callbacks as callbacks
    from actx_tf import client as client
    from actx_tf import data as data
    from actx_tf import experiments as experiments
    from actx_tf import export as export
    from actx_tf import layers as layers
    from actx_tf import losses as losses
    from actx_tf import metrics as metrics
    from actx_tf import models as models
    from actx_tf import prediction as prediction
    from actx_tf import segments as segments
    from actx_tf import training as training
    from actx_tf import visualization as visualization
    from actx_tf.experiments.predictions import predict as predict

_SUBPACKAGES = (
    "backbones",
    "callbacks",
    "client",
    "data",
    "experiments",
    "export",
    "layers",
    "losses",
    "metrics",
    "models",
    "prediction",
    "segments",
    "training",
    "visualization",
)


def __getattr__(name: str) -> Any:
    """Loads a subpackage, or `predict`."""
    if name == "predict":
        module = importlib.import_module(f"{__name__}.experiments.predictions")
        return module.predict
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names the subpackages that are not loaded, too."""
    return [*globals(), *_SUBPACKAGES, "predict"]
