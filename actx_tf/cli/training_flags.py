"""The flags of a training, which are fields of its settings."""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

from actx_tf.cli import flags as kinds
from actx_tf.cli.parser import Parser
from actx_tf.settings import DTYPE_POLICIES
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings

# Of the fields that every training has: what `--help` says.
HELP = {
    "features": "feature store; none: the built-in set",
    "index": "clip index (CSV) of the feature store",
    "conjugates_column": "the index's column of conjugates",
    "background": "labels that show no action, separated by commas: they get "
    "no conjugates",
    "multi_label": "whether a clip can be of several classes",
    "crop_steps": "steps of a training crop (store only)",
    "batch_size": "pairs in a batch",
    "train_clips": "training pairs of the built-in set",
    "test_clips": "built-in clips of validation, and as many of test",
    "epochs": "epochs of each run",
    "learning_rate": "of Adam",
    "dtype_policy": f"{' or '.join(DTYPE_POLICIES)}, which is fast on a CPU or "
    "GPU that has it",
    "deterministic": "whether the same command gives the same figures to the "
    "last digit, on the same machine",
    "rho": "ActX: percentage that is action",
    "alpha": "ActX: sharpness of the map",
    "beta": "ActX: sharpness of the attention",
    "gamma": "ActX: sharpness of the matching",
    "xi": "ActX: similarity that costs nothing",
    "similarity_weight": "ActX: weight of L_s",
    "difference_weight": "ActX: weight of L_d",
}
_KINDS: dict[str | type, Callable[[str], Any]] = {
    "rho": kinds.percentage,
    int: kinds.whole,
    float: kinds.not_negative,
    tuple: kinds.names,
}


def defaults() -> dict[str, Any]:
    """The default of each flag by its name."""
    return {
        field.name: field.default
        for settings in (DataSettings, TrainingSettings)
        for field in dataclasses.fields(settings)
        if field.name in HELP
    }


def add(parser: Parser) -> None:
    """Adds all of them. A boolean `--x` also is there as `--nox`."""
    for name, default in defaults().items():
        if isinstance(default, bool):
            parser.add_argument(
                f"--{name}",
                action="store_true",
                default=default,
                help=HELP[name] + (" (default)" if default else ""),
            )
            parser.add_argument(
                f"--no{name}",
                action="store_false",
                dest=name,
                help=f"not --{name}" + ("" if default else " (default)"),
            )
            continue
        parser.add_argument(
            f"--{name}",
            type=_KINDS.get(name, _KINDS.get(type(default), str)),
            default=default,
            choices=DTYPE_POLICIES if name == "dtype_policy" else None,
            help=HELP[name],
        )


def settings_of(
    flags: argparse.Namespace,
) -> tuple[DataSettings, TrainingSettings]:
    """What flags say of the data and of the training.

    Raises:
        ValueError: If they do not go together.
    """
    return DataSettings(**_given(DataSettings, flags)), TrainingSettings(
        **_given(TrainingSettings, flags)
    )


def _given(settings, flags):
    names = [field.name for field in dataclasses.fields(settings)]
    return {name: getattr(flags, name) for name in names if name in flags}
