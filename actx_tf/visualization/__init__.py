"""Maps over frames: figures, films, and the page of clips."""

from actx_tf.visualization.figures import (
    action_share_figure as action_share_figure,
)
from actx_tf.visualization.figures import attention_figure as attention_figure
from actx_tf.visualization.films import (
    save_attention_video as save_attention_video,
)
from actx_tf.visualization.films import (
    save_timeline_video as save_timeline_video,
)
from actx_tf.visualization.overlays import (
    overlay_attention as overlay_attention,
)
from actx_tf.visualization.overlays import resize_map as resize_map
from actx_tf.visualization.page import Page as Page
from actx_tf.visualization.page import PageClip as PageClip
from actx_tf.visualization.page import write_page as write_page
from actx_tf.visualization.page_clips import view_clips as view_clips
from actx_tf.visualization.prediction_figures import (
    prediction_figure as prediction_figure,
)
from actx_tf.visualization.prediction_figures import (
    save_prediction as save_prediction,
)
