"""The data of a run, from its settings."""

from collections.abc import Collection

from actx_tf.experiments.built_in_data import built_in_data
from actx_tf.experiments.run_data import RunData
from actx_tf.experiments.stored_data import stored_data
from actx_tf.settings import DataSettings


def load_data(
    settings: DataSettings,
    other_features: Collection[str] = (),
    gamma: float = 20.0,
) -> RunData:
    """Returns the built-in set, or what is in a feature store.

    Args:
        settings: Which clips.
        other_features: As in `stored_data`. Defaults to none.
        gamma: As in `stored_data`. Defaults to `20`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is wrong, or they do not fit together.
    """
    if settings.features is None:
        return built_in_data(settings)
    return stored_data(settings, other_features, gamma)
