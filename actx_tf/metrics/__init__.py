"""How well clips are classified, maps localize and segments are found."""

from actx_tf.metrics.calibration import Calibration as Calibration
from actx_tf.metrics.calibration import calibration as calibration
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
from actx_tf.metrics.detection import SegmentPrecision as SegmentPrecision
from actx_tf.metrics.detection import (
    mean_average_precision_of_segments as mean_average_precision_of_segments,
)
from actx_tf.metrics.localization import energy_inside as energy_inside
from actx_tf.metrics.localization import localization_auc as localization_auc
from actx_tf.metrics.localization import pointing_game as pointing_game
from actx_tf.metrics.localization import temporal_overlap as temporal_overlap
from actx_tf.metrics.per_class import ClassFigures as ClassFigures
from actx_tf.metrics.per_class import class_figures as class_figures
from actx_tf.metrics.per_class import confusion_matrix as confusion_matrix
