"""The flags that the training scripts share, and the settings they make.

They are those of `actx train`.
"""

import dataclasses

from absl import flags

from actx_tf.experiments import DataSettings
from actx_tf.experiments import TrainingSettings
from actx_tf.experiments import help_of_settings

FLAGS = flags.FLAGS
_DEFINE = {
    bool: flags.DEFINE_boolean,
    float: flags.DEFINE_float,
    int: flags.DEFINE_integer,
    tuple: flags.DEFINE_list,
}

# Each script defines those that it alone has.
_OF_SCRIPTS = {
    *("similarities", "pose_masks", "boxes", "backbone"),
    *("acf_similarity_weight", "acf_difference_weight", "rank", "components"),
}

for _settings in (DataSettings, TrainingSettings):
    _help = help_of_settings(_settings)
    for _field in dataclasses.fields(_settings):
        if _field.name not in _OF_SCRIPTS:
            _kind = type(_field.default)
            if _field.type == int | None:
                _kind = int
            _DEFINE.get(_kind, flags.DEFINE_string)(
                _field.name,
                list(_field.default) if _kind is tuple else _field.default,
                _help[_field.name],
            )
flags.DEFINE_integer("seeds", 3, "runs of each method")


def data_settings():
    """What the flags say of the data, those of the script among them."""
    return _given(DataSettings)


def training_settings():
    """The same of training."""
    return _given(TrainingSettings)


def _given(settings):
    names = [field.name for field in dataclasses.fields(settings)]
    return settings(
        **{name: FLAGS[name].value for name in names if name in FLAGS}
    )
