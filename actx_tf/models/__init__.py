"""Models that are trained on pairs of clips."""

from actx_tf.models.acf import ACF as ACF
from actx_tf.models.actx import ActX as ActX
from actx_tf.models.load_model import load_model as load_model
from actx_tf.models.paired_model import PairedModel as PairedModel
