"""Networks from clips to feature maps."""

from actx_tf.backbones.backbone import Backbone as Backbone
from actx_tf.backbones.fold_batch_norms import (
    fold_batch_norms as fold_batch_norms,
)
from actx_tf.backbones.from_onnx import from_onnx as from_onnx
from actx_tf.backbones.from_saved_model import (
    from_saved_model as from_saved_model,
)
from actx_tf.backbones.i3d_resnet34 import I3DResNet34 as I3DResNet34
from actx_tf.backbones.inception_i3d import InceptionI3D as InceptionI3D
from actx_tf.backbones.make_backbone import make_backbone as make_backbone
from actx_tf.backbones.mobilenet_v2_clip import (
    MobileNetV2Clip as MobileNetV2Clip,
)
