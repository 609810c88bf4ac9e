"""Layers that turn a feature map into attention maps and pooled features."""

from actx_tf.layers.att_norm import AttNorm as AttNorm
from actx_tf.layers.attentional_pooling import (
    AttentionalPooling as AttentionalPooling,
)
from actx_tf.layers.eigen_evolution_pooling import (
    EigenEvolutionPooling as EigenEvolutionPooling,
)
from actx_tf.layers.factorized_attention_pooling import (
    FactorizedAttentionPooling as FactorizedAttentionPooling,
)
from actx_tf.layers.mask_pooling import MaskPooling as MaskPooling
from actx_tf.layers.percentile_shift import PercentileShift as PercentileShift
from actx_tf.layers.region_pooling import RegionPooling as RegionPooling
