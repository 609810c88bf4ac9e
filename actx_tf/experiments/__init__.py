"""The experiments of the paper, from data to tables.

Each has a function that does all of it, and goes on where it was interrupted:
`train_actx`, `compare_methods`, `fine_tune`, `localize`. The examples' scripts
call these.
"""

from actx_tf.experiments.actx_training import train_actx as train_actx
from actx_tf.experiments.benchmark_report import (
    BenchmarkReport as BenchmarkReport,
)
from actx_tf.experiments.benchmark_report import (
    benchmark_report as benchmark_report,
)
from actx_tf.experiments.comparison import compare_methods as compare_methods
from actx_tf.experiments.context_choice import choose_context as choose_context
from actx_tf.experiments.evaluation import evaluate as evaluate
from actx_tf.experiments.evaluation_report import (
    write_evaluation as write_evaluation,
)
from actx_tf.experiments.fine_tuning import fine_tune as fine_tune
from actx_tf.experiments.loading import load_data as load_data
from actx_tf.experiments.localization import localize as localize
from actx_tf.experiments.method_training import train_method as train_method
from actx_tf.experiments.paper_tables import (
    comparison_tables as comparison_tables,
)
from actx_tf.experiments.predictions import Predictions as Predictions
from actx_tf.experiments.ray_training import train_on_ray as train_on_ray
from actx_tf.experiments.scene_figures import SceneFigure as SceneFigure
from actx_tf.experiments.scene_figures import SceneRow as SceneRow
from actx_tf.experiments.scene_report import SceneReport as SceneReport
from actx_tf.experiments.scene_report import scene_report as scene_report
from actx_tf.experiments.segment_evaluation import (
    SegmentEvaluation as SegmentEvaluation,
)
from actx_tf.experiments.segment_evaluation import (
    evaluate_segments as evaluate_segments,
)
from actx_tf.experiments.self_training import (
    conjugates_of_nothing as conjugates_of_nothing,
)
from actx_tf.experiments.stored_evaluation import (
    StoredEvaluation as StoredEvaluation,
)
from actx_tf.experiments.stored_evaluation import (
    evaluate_stored as evaluate_stored,
)
from actx_tf.experiments.tables import format_table as format_table
from actx_tf.experiments.tables import read_rows as read_rows
from actx_tf.experiments.tables import summarize as summarize
from actx_tf.experiments.tables import write_rows as write_rows
from actx_tf.experiments.verdict import verdict as verdict
from actx_tf.experiments.video_training import VideoTraining as VideoTraining
from actx_tf.experiments.video_training import (
    train_on_videos as train_on_videos,
)
from actx_tf.settings import DataSettings as DataSettings
from actx_tf.settings import FineTuningSettings as FineTuningSettings
from actx_tf.settings import TrainingSettings as TrainingSettings
from actx_tf.settings import help_of_settings as help_of_settings
