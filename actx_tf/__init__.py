"""Attentive action and context factorization (ActX) for Keras.

Importing the package registers every layer and model, so that
`keras.saving.load_model` finds them.
"""

from actx_tf import backbones as backbones
from actx_tf import callbacks as callbacks
from actx_tf import data as data
from actx_tf import experiments as experiments
from actx_tf import export as export
from actx_tf import layers as layers
from actx_tf import losses as losses
from actx_tf import metrics as metrics
from actx_tf import models as models
from actx_tf import training as training
from actx_tf import visualization as visualization

__version__ = "0.1.0"
