"""The parser of the command and of each subcommand."""

import argparse
import difflib
import re
import sys
from typing import Any
from typing import NoReturn

from absl.flags import argparse_flags


class Parser(argparse_flags.ArgumentParser):
    """Says in one line what is wrong, and which name is the nearest.

    Flags must be written out: `--feat` is not taken for `--features`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            add_help=False,  # absl's would list flags of its own too
            allow_abbrev=False,
            inherited_absl_flags=None,
            formatter_class=_Formatter,
            **kwargs,
        )
        self.commands: dict[str, Parser] = {}
        self.add_argument(
            "--help", "-h", action="help", help="show this text and exit"
        )

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """See `argparse`; what is unknown is an error here."""
        args = sys.argv[1:] if args is None else list(args)
        self._check_names(args)
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown arguments: {' '.join(unknown)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        """Ends the process with one line."""
        self.exit(2, f"{self.prog}: error: {message}\n")

    def flags(self) -> list[str]:
        """The names of all flags, such as `--help`."""
        return [x for x in self._option_string_actions if x.startswith("--")]

    def _check_names(self, args):
        """Before argparse, which would miss what is misspelled first."""
        for arg in args:
            if arg == "--":
                return
            if re.match(r"-[^\d.]", arg):
                name = arg.partition("=")[0]
                if name not in self._option_string_actions:
                    self._refuse("flag", name, self.flags())
            elif self.commands:
                if arg not in self.commands:
                    self._refuse("subcommand", arg, self.commands)
                return  # the rest is the subcommand's

    def _refuse(self, kind, name, known):
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else "see --help"
        self.error(f"there is no {kind} {name}; {hint}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the description as it is, and adds defaults that say something."""

    def _get_help_string(self, action):
        text = action.help
        default = action.default
        if isinstance(default, bool) or default in (
            None,
            (),
            argparse.SUPPRESS,
        ):
            return text
        return f"{text} (default: %(default)s)"
