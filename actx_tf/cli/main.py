"""Finds the subcommand, runs it, and says what went wrong in one line."""

import io
import re
import sys
from collections.abc import Sequence
from types import ModuleType

import actx_tf
from actx_tf.cli import ask
from actx_tf.cli import evaluate
from actx_tf.cli import export
from actx_tf.cli import extract
from actx_tf.cli import files
from actx_tf.cli import fine_tune
from actx_tf.cli import fit
from actx_tf.cli import index
from actx_tf.cli import localize
from actx_tf.cli import mine
from actx_tf.cli import predict
from actx_tf.cli import scene_benchmark
from actx_tf.cli import scene_report
from actx_tf.cli import similarities
from actx_tf.cli import train
from actx_tf.cli import view
from actx_tf.cli.errors import Ended
from actx_tf.cli.errors import UsageError
from actx_tf.cli.interruption import interruptible
from actx_tf.cli.parser import Parser
from actx_tf.cli.quiet import import_tensorflow

# Each has `add_flags(parser)`; `check(flags)`, which loads nothing; and
# `run(flags)`.
COMMANDS: dict[str, ModuleType] = {
    "fit": fit,
    "index": index,
    "extract": extract,
    "mine": mine,
    "similarities": similarities,
    "train": train,
    "fine-tune": fine_tune,
    "evaluate": evaluate,
    "scene-benchmark": scene_benchmark,
    "scene-report": scene_report,
    "predict": predict,
    "view": view,
    "localize": localize,
    "export": export,
    "ask": ask,
}
_FAILURES = (
    ArithmeticError,
    ImportError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

# Flags on which the memory that a command takes depends.
_OF_MEMORY = ("memory", "batch_size", "crop_steps", "crop_frames", "size")


def make_parser() -> Parser:
    """Returns the parser of the command, with all subcommands."""
    parser = Parser(
        prog="actx",
        description="Recognizes actions in videos, and shows where and when: "
        "from a folder of\nvideos to a trained model. "
        "`actx COMMAND --help` says more of each.",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=actx_tf.__version__,
        help="show the version and exit",
    )
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="subcommands"
    )
    for name, module in COMMANDS.items():
        about = module.__doc__ or ""
        subparser = subparsers.add_parser(
            name, help=about.partition("\n")[0].rstrip("."), description=about
        )
        module.add_flags(subparser)
        parser.commands[name] = subparser
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command `actx`.

    Args:
        arguments: What follows `actx`. Defaults to that of the process.

    Returns:
        0; 1 if it failed, 2 for wrong usage, 130 after Ctrl-C.
    """
    _print_any_name()
    arguments = sys.argv[1:] if arguments is None else arguments
    flags = make_parser().parse_args(arguments or ["--help"])
    command = COMMANDS[flags.command]
    try:
        with interruptible():
            files.check_apart(flags)
            command.check(flags)
            import_tensorflow()
            return command.run(flags) or 0
    except UsageError as error:
        message, code = _sentence(error, flags), 2
    except Ended:
        return 0
    except KeyboardInterrupt:
        goes_on = getattr(command, "GOES_ON", False)
        after = "go on where it stopped" if goes_on else "begin again"
        message = f"interrupted: run the same command again to {after}"
        code = 130
    except _FAILURES as error:
        message, code = _sentence(error, flags), 1
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow."):
            raise  # a fault of this package
        message, code = _sentence(error, flags), 1
    # Progress bars, which the exception held, are closed by now.
    print(f"actx {flags.command}: {message}", file=sys.stderr)
    return code


def _print_any_name():
    """Lets names that a terminal cannot show be printed as escapes.

    They would raise an error, often after the work of hours is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _sentence(error, flags):
    message = str(error)
    kinds = {kind.__name__ for kind in type(error).mro()}
    if kinds & {"MemoryError", "ResourceExhaustedError"}:  # the latter is of TF
        smaller = [f"--{name}" for name in _OF_MEMORY if name in vars(flags)]
        less = (
            f"a smaller {' or '.join(smaller)}" if smaller else "less at once"
        )
        detail = message.partition("\n")[0]
        message = f"memory ran out; give {less}" + f" ({detail})" * bool(detail)
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename}: {error.strerror}"
    # The library names its arguments: the flags are called the same.
    message = re.sub(
        r"`(\w+)`",
        lambda found: f"--{found[1]}" if found[1] in vars(flags) else found[0],
        message,
    )
    return f"error: {' '.join(message.split())}"  # one line
