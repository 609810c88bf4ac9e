"""The command `actx` in a process of its own, which gives its memory back."""

import subprocess
import sys


def run_actx(*arguments, **kwargs):
    """Runs it; what it takes beside that is what `subprocess.run` takes."""
    command = [sys.executable, "-m", "actx_tf.cli.start", *map(str, arguments)]
    subprocess.run(command, check=True, **kwargs)
