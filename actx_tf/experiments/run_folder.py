"""What a run leaves in its folder, and what it goes on from."""

import contextlib
import csv
import hashlib
import json
import os
from pathlib import Path

import keras
from absl import flags

from actx_tf.utils.atomic_write import atomic_write

FLAGS = flags.FLAGS


def file_name(name):
    """Of the name of a run."""
    return name.replace(" ", "_").replace("/", "")


def checkpoint_path(output, name):
    return Path(output) / "checkpoints" / f"{file_name(name)}.npz"


class HistoryFile(keras.callbacks.Callback):
    """A CSV of the logs, a row an epoch; whole when it is taken up again."""

    def __init__(self, path):
        super().__init__()
        self.path = Path(path)

    def on_epoch_end(self, epoch, logs=None):
        rows = read_rows(self.path)[:epoch]
        write_rows([*rows, {"epoch": epoch, **(logs or {})}], self.path)


def write_rows(rows, path):
    """Writes the rows as CSV; the columns are those of any row."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic_write(path) as draft,
        open(draft, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path):
    """Reads what `write_rows` wrote; nothing if it is not there."""
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [
            {key: _to_number(text) for key, text in row.items() if text}
            for row in csv.DictReader(file)
        ]


def _to_number(text):
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def keep_settings(output, free=()):
    """Writes the flags to `<output>/settings.json`, or checks them.

    Those that are `free` may change.

    Raises:
        ValueError: If the folder was begun with other settings.
    """
    main = FLAGS.find_module_defining_flag("output")
    by_module = FLAGS.flags_by_module_dict()
    settings = {
        flag.name: flag.value
        for module in (main, "experiment", "methods")
        for flag in by_module.get(module, ())
        if flag.name not in ("output", *free)
    }
    settings |= {
        f"contents of {name}": _fingerprint(value)
        for name, value in settings.items()
        if isinstance(value, str) and os.path.isfile(value)
    }
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
            f"--output={output} was begun with other settings: give the same "
            f"to go on, or another --output. Received: {', '.join(changed)}"
        )


def _fingerprint(path):
    """Tells most files from one another, and reads little of large ones."""
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read(2**20)).hexdigest()[:16]
    return f"{os.path.getsize(path)} bytes, {digest}"
