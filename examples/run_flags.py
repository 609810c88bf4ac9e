"""The flags that the training scripts share, and the settings they make.

They are those of `actx train`.
"""

import dataclasses

from absl import flags

from actx_tf.cli import training_flags
from actx_tf.experiments import DataSettings
from actx_tf.experiments import TrainingSettings

FLAGS = flags.FLAGS
_DEFINE = {
    bool: flags.DEFINE_boolean,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    tuple: flags.DEFINE_list,
}

for _name, _default in training_flags.defaults().items():
    _define = _DEFINE.get(type(_default), flags.DEFINE_string)
    if isinstance(_default, tuple):
        _default = list(_default)
    _define(_name, _default, training_flags.HELP[_name])
flags.DEFINE_integer("seeds", 3, "runs of each method")


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
