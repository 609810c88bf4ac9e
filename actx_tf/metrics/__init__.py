"""How well clips are classified, and how well maps localize."""

from actx_tf.metrics.classification import (
    MeanAveragePrecision as MeanAveragePrecision,
)
from actx_tf.metrics.classification import (
    MeanClassAccuracy as MeanClassAccuracy,
)
from actx_tf.metrics.classification import (
    mean_average_precision as mean_average_precision,
)
from actx_tf.metrics.classification import (
    mean_class_accuracy as mean_class_accuracy,
)
from actx_tf.metrics.localization import energy_inside as energy_inside
from actx_tf.metrics.localization import localization_auc as localization_auc
from actx_tf.metrics.localization import pointing_game as pointing_game
from actx_tf.metrics.localization import temporal_overlap as temporal_overlap
