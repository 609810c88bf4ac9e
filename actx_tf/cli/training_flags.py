"""The flags of a training, which are fields of its settings."""

import argparse
import dataclasses
from collections.abc import Callable
from collections.abc import Collection
from typing import Any

from actx_tf.cli import flags as kinds
from actx_tf.cli.parser import Parser
from actx_tf.settings import CLASS_WEIGHTS
from actx_tf.settings import DTYPE_POLICIES
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.settings import help_of_settings

# Fields that are no flags of `actx train`, or get flags of their own there.
_LEFT_OUT = {
    *("similarities", "pose_masks", "boxes", "backbone"),
    *("acf_similarity_weight", "acf_difference_weight", "rank", "components"),
}
_KINDS: dict[str | type, Callable[[str], Any]] = {
    "rho": kinds.percentage,
    "patience": kinds.whole,
    int: kinds.whole,
    float: kinds.not_negative,
    tuple: kinds.names,
}
_CHOICES = {"class_weight": CLASS_WEIGHTS, "dtype_policy": DTYPE_POLICIES}


def add(parser: Parser, only: Collection[str] = ()) -> None:
    """Adds all of them, or some. A boolean `--x` is there as `--nox` too."""
    for name, default, text in _fields():
        if only and name not in only:
            continue
        if isinstance(default, bool):
            parser.add_argument(
                f"--{name}",
                action="store_true",
                default=default,
                help=text + (" (default)" if default else ""),
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
            choices=_CHOICES.get(name),
            help=text,
        )


def settings_of(
    flags: argparse.Namespace,
) -> tuple[DataSettings, TrainingSettings]:
    """What flags say of the data and of the training.

    Raises:
        ValueError: If they do not go together.
    """
    data_settings = DataSettings(**_given(DataSettings, flags))
    return data_settings, training_settings_of(flags)


def training_settings_of(flags: argparse.Namespace) -> TrainingSettings:
    """What flags say of the training."""
    return TrainingSettings(**_given(TrainingSettings, flags))


def _fields():
    """(name, default, what it means) of each."""
    for settings in (DataSettings, TrainingSettings):
        texts = help_of_settings(settings)
        for field in dataclasses.fields(settings):
            if field.name not in _LEFT_OUT:
                yield field.name, field.default, texts[field.name]


def _given(settings, flags):
    names = [field.name for field in dataclasses.fields(settings)]
    return {name: getattr(flags, name) for name in names if name in flags}
