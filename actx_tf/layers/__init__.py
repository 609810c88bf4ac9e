"""Layers that turn a feature map into attention maps and pooled features."""

from actx_tf.layers.att_norm import AttNorm as AttNorm
from actx_tf.layers.factorized_attention_pooling import (
    FactorizedAttentionPooling as FactorizedAttentionPooling,
)
from actx_tf.layers.percentile_shift import PercentileShift as PercentileShift
