"""Models that are trained on pairs of clips, and their backbones."""

from actx_tf.models.acf import ACF as ACF
from actx_tf.models.actx import ActX as ActX
from actx_tf.models.i3d_resnet34 import I3DResNet34 as I3DResNet34
from actx_tf.models.inception_i3d import InceptionI3D as InceptionI3D
from actx_tf.models.mobilenet_v2_clip import MobileNetV2Clip as MobileNetV2Clip
from actx_tf.models.paired_model import PairedModel as PairedModel
from actx_tf.models.two_stream import TwoStream as TwoStream
