"""The flags that the training scripts share, and the settings they make."""

import dataclasses

from absl import flags

from actx_tf.experiments import DataSettings
from actx_tf.experiments import TrainingSettings

FLAGS = flags.FLAGS
_DATA, _TRAINING = DataSettings(), TrainingSettings()

flags.DEFINE_string("features", None, "feature store; none: the built-in set")
flags.DEFINE_string("index", None, "clip index (CSV) of the feature store")
flags.DEFINE_string(
    "conjugates_column",
    _DATA.conjugates_column,
    "the index's column of conjugates",
)
flags.DEFINE_list(
    "background", [], "labels that show no action: they get no conjugates"
)
flags.DEFINE_boolean(
    "multi_label", False, "whether a clip can be of several classes"
)
flags.DEFINE_integer(
    "crop_steps", _DATA.crop_steps, "steps of a training crop (store only)"
)
flags.DEFINE_integer("batch_size", _DATA.batch_size, "pairs in a batch")
flags.DEFINE_integer(
    "train_clips", _DATA.train_clips, "training pairs of the built-in set"
)
flags.DEFINE_integer(
    "test_clips",
    _DATA.test_clips,
    "built-in clips of validation, and as many of test",
)
flags.DEFINE_integer("seeds", 3, "runs of each method")
flags.DEFINE_integer("epochs", _TRAINING.epochs, "epochs of each run")
flags.DEFINE_float("learning_rate", _TRAINING.learning_rate, "of Adam")
flags.DEFINE_string(
    "dtype_policy",
    _TRAINING.dtype_policy,
    "float32, or mixed_bfloat16, which is fast on a CPU or GPU that has it",
)
flags.DEFINE_boolean(
    "deterministic",
    _TRAINING.deterministic,
    "whether the same command gives the same figures to the last digit, on the "
    "same machine",
)
flags.DEFINE_float("rho", _TRAINING.rho, "ActX: percentage that is action")
flags.DEFINE_float("alpha", _TRAINING.alpha, "ActX: sharpness of the map")
flags.DEFINE_float("beta", _TRAINING.beta, "ActX: sharpness of the attention")
flags.DEFINE_float("gamma", _TRAINING.gamma, "ActX: sharpness of the matching")
flags.DEFINE_float("xi", _TRAINING.xi, "ActX: similarity that costs nothing")
flags.DEFINE_float(
    "similarity_weight", _TRAINING.similarity_weight, "ActX: weight of L_s"
)
flags.DEFINE_float(
    "difference_weight", _TRAINING.difference_weight, "ActX: weight of L_d"
)


def data_settings():
    """What the flags say of the data, those of the script among them."""
    return _settings(DataSettings)


def training_settings():
    """The same of training."""
    return _settings(TrainingSettings)


def _settings(settings):
    names = [field.name for field in dataclasses.fields(settings)]
    return settings(
        **{name: FLAGS[name].value for name in names if name in FLAGS}
    )
