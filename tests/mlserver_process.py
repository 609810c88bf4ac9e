"""MLServer with a SavedModel, in a process of its own."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from typing import NamedTuple

import requests

from tests.harness import ROOT


class Running(NamedTuple):
    """The ports of a server and the number of its process."""

    rest: int
    grpc: int
    process: int


@contextlib.contextmanager
def run_mlserver(path, folder):
    """Serves a SavedModel as "wave"; `folder` is for its files."""
    with contextlib.ExitStack() as sockets:
        free = [sockets.enter_context(socket.socket()) for _ in range(3)]
        for s in free:
            s.bind(("127.0.0.1", 0))
        rest, grpc_port, metrics = (s.getsockname()[1] for s in free)
    settings = {
        "host": "127.0.0.1",
        "http_port": rest,
        "grpc_port": grpc_port,
        "metrics_port": metrics,
        "parallel_workers": 0,
        "grpc_max_message_length": 1 << 28,
    }
    model = {
        "name": "wave",
        "implementation": "tests.mlserver_runtime.SavedModelRuntime",
        "parameters": {"uri": str(path)},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    log = folder / "log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
                "from mlserver.cli import main; main()",
                "start",
                str(folder),
            ],
            stdout=output,
            stderr=output,
        )
    try:
        ready = f"http://127.0.0.1:{rest}/v2/models/wave/ready"
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(ready, timeout=5).ok:
                    break
            assert process.poll() is None, log.read_text()[-4000:]
            assert time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.2)
        yield Running(rest, grpc_port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
