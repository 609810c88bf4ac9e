"""Maps over frames: figures, films."""

from actx_tf.visualization.figures import (
    action_share_figure as action_share_figure,
)
from actx_tf.visualization.figures import attention_figure as attention_figure
from actx_tf.visualization.figures import map_colors as map_colors
from actx_tf.visualization.figures import overlay_attention as overlay_attention
from actx_tf.visualization.figures import resize_map as resize_map
from actx_tf.visualization.figures import (
    save_attention_video as save_attention_video,
)
