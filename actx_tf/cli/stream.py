"""`actx predict --stream`: a line a window, as soon as it is answered."""

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import TextIO

from actx_tf.cli.errors import Ended
from actx_tf.cli.errors import UsageError

FORMATS = ("csv", "json")
_DIGITS = 4  # of a score


def check(flags: argparse.Namespace) -> None:
    """Raises an error if flags do not go with `--stream`."""
    for name in (
        *("segments", "overlap", "thresholds", "contrast"),
        *("background", "maps", "context"),
    ):
        if getattr(flags, name):
            raise UsageError(f"--{name} is for files, not for --stream")
    if flags.start or flags.end is not None:
        raise UsageError("--start and --end are for files, not for --stream")
    if flags.output and Path(flags.output).exists():
        raise FileExistsError(
            f"{flags.output} (--output) is there already; give the lines of "
            "this stream another file"
        )


def run(flags: argparse.Namespace) -> int:
    """Answers the stream; returns 1 if it had no window.

    Raises:
        Ended: After Ctrl-C, which is how a stream ends.
    """
    from actx_tf.prediction import VideoPredictor

    predictor = VideoPredictor(flags.model, flags.backbone, memory=flags.memory)
    windows = predictor.stream(flags.stream, window=flags.window)
    if not predictor.takes_earlier:
        _say(
            "the model takes nothing of earlier windows: each is answered by "
            "itself"
        )
    count = dropped = 0
    end = 0.0
    write = None
    try:
        # What was written stays, whatever comes.
        with contextlib.ExitStack() as opened:
            for window in windows:
                if write is None:  # a source without any leaves no file
                    file = opened.enter_context(_opened(flags.output))
                    write = _writer(_format(flags), file)
                write(window)
                count += 1
                end = window.end
                if window.dropped:
                    dropped += window.dropped
                    _say(
                        f"the machine was too slow for {window.dropped} frames "
                        f"before {window.start:.2f} s: they were dropped"
                    )
    except KeyboardInterrupt as error:
        raise Ended from error
    finally:
        windows.close()
        if count:
            _say(
                f"windows answered: {count}, up to {end:.2f} s; "
                f"frames dropped: {dropped}"
            )
    if not count:
        _say("the stream ended before its first window")
    return int(not count)


def _format(flags):
    if flags.format:
        return flags.format
    is_json = Path(flags.output or "").suffix in (".json", ".jsonl")
    return "json" if is_json else "csv"


def _opened(path) -> Any:
    if path:
        return open(path, "x", encoding="utf-8", newline="")
    return open(
        sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False
    )


def _writer(kind: str, file: TextIO) -> Callable[[Any], None]:
    """Returns what writes a window as a line, which can be read at once."""
    table = csv.writer(file, lineterminator="\n")
    is_begun = False

    def write(window):
        nonlocal is_begun
        scores = [round(float(score), _DIGITS) for score in window.scores]
        names = window.class_names
        known = {
            "start": round(window.start, 3),
            "end": round(window.end, 3),
            "dropped": window.dropped,
            "label": window.label,
        }
        if kind == "json":
            known["scores"] = dict(zip(names, scores, strict=True))
            print(json.dumps(known, ensure_ascii=False), file=file, flush=True)
            return
        if not is_begun:
            table.writerow([*known, *(f"score_{name}" for name in names)])
            is_begun = True
        table.writerow([*known.values(), *scores])
        file.flush()

    return write


def _say(text):
    print(f"actx predict: {text}", file=sys.stderr, flush=True)
