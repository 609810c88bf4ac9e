"""From a video file and a model to scores, segments and maps."""

from actx_tf.prediction.stream import StreamWindow as StreamWindow
from actx_tf.prediction.timeline import Timeline as Timeline
from actx_tf.prediction.video import VideoPrediction as VideoPrediction
from actx_tf.prediction.video import VideoPredictor as VideoPredictor
from actx_tf.prediction.video import predict_video as predict_video
