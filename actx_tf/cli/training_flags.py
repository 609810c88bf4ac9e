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
from actx_tf.settings import MIXINGS
from actx_tf.settings import DataSettings
from actx_tf.settings import TrainingSettings
from actx_tf.settings import help_of_settings

# Fields that are no flags, or get flags of their own.
_LEFT_OUT = {
    *("similarities", "pose_masks", "boxes", "backbone"),
    *("acf_similarity_weight", "acf_difference_weight", "rank", "components"),
}
_KINDS: dict[str | type, Callable[[str], Any]] = {
    "rho": kinds.percentage,
    "patience": kinds.whole,
    "seed": kinds.seed,
    int: kinds.whole,
    float: kinds.not_negative,
    tuple: kinds.names,
}
_CHOICES = {
    "class_weight": CLASS_WEIGHTS,
    "dtype_policy": DTYPE_POLICIES,
    "mixing": MIXINGS,
}


def add(parser: Parser, only: Collection[str] = ()) -> None:
    """Adds those of `DataSettings` and `TrainingSettings`, all or some."""
    for settings in (DataSettings, TrainingSettings):
        names = [field.name for field in dataclasses.fields(settings)]
        left_out = [name for name in names if only and name not in only]
        add_fields(parser, settings, left_out)


def add_fields(
    parser: Parser,
    settings: type | TrainingSettings,
    left_out: Collection[str] = (),
) -> None:
    """Adds a flag for each field: `--nox` for a boolean that is True.

    Args:
        parser: The parser.
        settings: The settings, or such whose values are the defaults.
        left_out: Fields that get no flag here. Defaults to none.
    """
    kind = settings if isinstance(settings, type) else type(settings)
    texts = help_of_settings(kind)
    for field in dataclasses.fields(kind):
        name = field.name
        if name in _LEFT_OUT or name in left_out:
            continue
        default, text = getattr(settings, name), texts[name]
        if isinstance(default, bool):
            parser.add_argument(
                f"--no{name}" if default else f"--{name}",
                action="store_false" if default else "store_true",
                dest=name,
                help=f"turns this off: {text.removeprefix('whether ')}"
                if default
                else text,
            )
            continue
        parser.add_argument(
            f"--{name}",
            type=_KINDS.get(name, _KINDS.get(type(default), str)),
            default=default,
            choices=_CHOICES.get(name),
            help=text,
        )


def add_strategy(parser: Parser) -> None:
    """Adds `--strategy`."""
    parser.add_argument(
        "--strategy",
        choices=("none", "mirrored", "multi_worker"),
        default="none",
        help="whether to train on all GPUs of this machine, or on several "
        "machines",
    )


def settings_of(
    flags: argparse.Namespace,
) -> tuple[DataSettings, TrainingSettings]:
    """What flags say of the data and of the training.

    Raises:
        ValueError: If they do not go together.
    """
    data_settings = DataSettings(**given(DataSettings, flags))
    return data_settings, training_settings_of(flags)


def training_settings_of(flags: argparse.Namespace) -> TrainingSettings:
    """What flags say of the training."""
    return TrainingSettings(**given(TrainingSettings, flags))


def given(settings: type, flags: argparse.Namespace) -> dict[str, Any]:
    """What flags say of the fields of some settings, by name."""
    names = [field.name for field in dataclasses.fields(settings)]
    return {name: getattr(flags, name) for name in names if name in flags}
