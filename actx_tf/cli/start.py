"""Where the command `actx` starts and ends."""

import signal
import sys


def start() -> int:
    """Runs the command `actx`; Ctrl-C is one line, whenever it comes.

    Returns:
        What `actx_tf.cli.main.main` returns.
    """
    try:
        from actx_tf.cli.main import main

        return main()
    except KeyboardInterrupt:  # before the subcommand runs, or after it
        print("actx: interrupted: run the same command again", file=sys.stderr)
        return 130
    finally:
        # All is written; one more Ctrl-C ends what Python still waits for.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(start())
