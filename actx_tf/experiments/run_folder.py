"""What a run leaves in its folder, and what it goes on from."""

import hashlib
import json
import os
from collections.abc import Collection
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from actx_tf.experiments.tables import read_rows
from actx_tf.experiments.tables import write_rows
from actx_tf.utils.atomic_write import atomic_write

PATHS = (
    "features",
    "index",
    "similarities",
    "pose_masks",
    "boxes",
    "backbone",
    "weights",
    "flow_features",
)


def file_name(run: str) -> str:
    """Returns what a file name can hold of the name of a run."""
    return run.replace(" ", "_").replace("/", "")


def checkpoint_path(output: str | os.PathLike, run: str) -> Path:
    """Returns the path of the checkpoint that a run goes on from."""
    return Path(output) / "checkpoints" / f"{file_name(run)}.npz"


class HistoryFile(keras.callbacks.Callback):
    """Writes the logs of a training as CSV, a row an epoch.

    The file is whole after each epoch, and goes on where a training does.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        rows = read_rows(self.path)[:epoch]
        write_rows([*rows, {"epoch": epoch, **(logs or {})}], self.path)


def keep_settings(
    output: str | os.PathLike,
    settings: Mapping[str, Any],
    paths: Collection[str] = PATHS,
    free: Collection[str] = (),
) -> None:
    """Writes the settings to `<output>/settings.json`, or compares them.

    So that a folder never mixes runs of several settings.

    Args:
        output: Path of the folder; made if it is not there.
        settings: What JSON can hold, by name.
        paths: Names of settings that are paths: the content of what lies there
            counts too. Defaults to those of `DataSettings`, and the weights.
        free: Names of settings that may change. Defaults to none.

    Raises:
        ValueError: If the folder was begun with other settings.
    """
    settings = {name: x for name, x in settings.items() if name not in free}
    settings |= {
        f"contents of {name}": fingerprint(value)
        for name, value in settings.items()
        if name in paths and value and os.path.exists(value)
    }
    settings = json.loads(json.dumps(settings, default=os.fspath))
    path = Path(output) / "settings.json"
    if path.exists():
        before = json.loads(path.read_text("utf-8"))
    elif (path.parent / "results.csv").exists():
        before = {}
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as draft:
            draft.write_text(json.dumps(settings, indent=2), encoding="utf-8")
        return
    changed = [
        f"{name}={settings.get(name)} (then {before.get(name, 'not known')})"
        for name in {**before, **settings}
        if before.get(name) != settings.get(name)
    ]
    if changed:
        raise ValueError(
            f"`output`={output} was begun with other settings: give the same "
            f"to go on, or another `output`. Received: {', '.join(changed)}"
        )


def fingerprint(path: str | os.PathLike) -> str:
    """Tells most files and folders from one another, and reads little.

    Args:
        path: Path of the file or folder.
    """
    files = [Path(path)]
    if os.path.isdir(path):
        files = sorted(file for file in files[0].rglob("*") if file.is_file())
    digest, size = hashlib.sha256(), 0
    for file in files:
        digest.update(os.path.relpath(file, path).encode())
        with open(file, "rb") as content:
            digest.update(content.read(2**20 // len(files)))
        size += file.stat().st_size
    return f"{size} bytes, {digest.hexdigest()[:16]}"
