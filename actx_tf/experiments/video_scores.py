"""A table of the scores of many videos, which is gone on with."""

import contextlib
import csv
import json
import os
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actx_tf.backbones import Backbone
from actx_tf.data.extraction import progress_bar
from actx_tf.data.video import VideoError
from actx_tf.data.video_files import NOT_UTF8
from actx_tf.data.video_files import is_utf8
from actx_tf.data.video_files import look_for_videos
from actx_tf.experiments.run_folder import fingerprint
from actx_tf.experiments.tables import write_rows
from actx_tf.models import PairedModel
from actx_tf.prediction import VideoPrediction
from actx_tf.prediction import VideoPredictor
from actx_tf.prediction.video_model import MEMORY
from actx_tf.utils.atomic_write import atomic_write

_COLUMNS = ("video", "label", "bytes", "model", "start", "end")  # and scores
_SECONDS = 5.0  # between two writings of the table


def find_videos(path: str | os.PathLike) -> list[Path]:
    """Returns a video file, or all those of a folder and its folders.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    found = look_for_videos(path) if path.is_dir() else ()
    # Those of a name that no table can hold are listed as failed.
    videos = [file for file, why in found if why in (None, NOT_UTF8)]
    if not videos:
        raise FileNotFoundError(f"no video at {path}")
    return videos


def score_videos(
    videos: Sequence[str | os.PathLike],
    model: PairedModel | str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    backbone: Backbone | str | os.PathLike | None = None,
    start: float = 0.0,
    end: float | None = None,
    memory: float = MEMORY,
    compute_dtype: str = "float32",
    context: str | None = None,
    save: Callable[[Path, VideoPrediction], Any] | None = None,
    progress: bool = True,
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Writes a table of the scores that a model gives to videos.

    A row has the `video`, the `label` with the largest score, `score_<class>`
    for each class, and what made it: the `bytes` of the file, the `model`, with
    a digest of its content, what is not computed in float32 and a `context`
    that is given, and `start` and `end`. The table is CSV, or JSON if its name
    ends in `.json`. It is whole whenever it is looked at; the same
    call goes on after an interruption, and rows that are there are not made
    again, unless the file has another size.

    Args:
        videos: Paths of the videos.
        model: As in `predict_video`; its path, for a table.
        output: Path of the table. Defaults to none.
        backbone: As in `predict_video`. Defaults to the model's own.
        start: Where in each file the clip begins, in seconds. Defaults to
            `0.0`.
        end: Where it ends. Defaults to the end of the file.
        memory: As in `predict_video`. Defaults to `1.0`.
        compute_dtype: As in `predict_video`. Defaults to `"float32"`.
        context: As in `predict_video`. Defaults to `None`.
        save: Called with each video and its `VideoPrediction`. Defaults to
            none, which is faster.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        The rows of the videos, those that were there among them; and the videos
        that cannot be read, as (path, message).

    Raises:
        FileNotFoundError: If there is no model.
        TypeError: If the backbone does not say what it sees.
        ValueError: If the model takes features and no backbone is given, or
            the table is of another model, stretch or kind.
    """
    paths = [str(video) for video in videos]
    made_by = describe_making(model, output, start, end, compute_dtype, context)
    table = {} if output is None else _read(output, made_by)
    left = videos_left(paths, table)
    failed: list[tuple[str, str]] = []
    if left:
        predictor = VideoPredictor(
            model,
            backbone,
            memory=memory,
            progress=progress,
            compute_dtype=compute_dtype,
            context=context,
        )
        # Of one video there is the bar of its frames.
        several = progress and len(paths) > 1
        bar = progress_bar(len(paths), len(paths) - len(left), several)
        with bar, _kept(table, output) as keep:
            for video in left:
                try:
                    if not is_utf8(video):
                        raise VideoError(NOT_UTF8)
                    scores = _scores(predictor, video, start, end, save)
                except VideoError as error:
                    table.pop(video, None)  # of another file of this name
                    failed.append((video, str(error)))
                else:
                    table[video] = {
                        "video": video,
                        "label": max(scores, key=scores.__getitem__),
                        **{f"score_{name}": x for name, x in scores.items()},
                        "bytes": file_size(video),
                        **made_by,
                    }
                    keep()
                bar.update()
    return [table[video] for video in paths if video in table], failed


def scores_of_row(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the score of each class, by its name."""
    return {
        name.removeprefix("score_"): value
        for name, value in row.items()
        if name.startswith("score_")
    }


def file_size(video: str) -> str:
    """The size of a file, which tells most files from one that replaced it."""
    return str(os.path.getsize(video)) if os.path.isfile(video) else ""


def videos_left(
    videos: Sequence[str], done: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Returns those that are not done, or whose file has another size now."""
    return [
        video
        for video in videos
        if video not in done or done[video]["bytes"] != file_size(video)
    ]


def describe_making(
    model: PairedModel | str | os.PathLike,
    output: str | os.PathLike | None,
    start: float,
    end: float | None,
    compute_dtype: str,
    context: str | None,
) -> dict[str, str]:
    """Returns what a table is made by, in words: it holds that of one model."""
    made_by = {"start": str(start), "end": "" if end is None else str(end)}
    if not isinstance(model, (str, os.PathLike)):
        if output is None:
            return {"model": "", **made_by}
        raise ValueError(
            "`model` must be a path where `output` is given, so that the same "
            f"model goes on with it. Received: model={model!r:.80}"
        )
    name = f"{Path(model).name}, {fingerprint(model)}"
    if compute_dtype != "float32":
        name += f", {compute_dtype}"
    if context is not None:
        name += f", context={context}"
    return {"model": name, **made_by}


def _scores(predictor, video, start, end, save):
    prediction = predictor(video, start=start, end=end)
    if save is not None:
        save(Path(video), prediction)
    scores = prediction.scores.tolist()
    return dict(zip(prediction.class_names, scores, strict=True))


@contextlib.contextmanager
def _kept(table, output):
    """Yields a function that writes the table now and then; then it is whole.

    What is done is written after an exception, too.
    """
    written = time.monotonic()

    def keep():
        nonlocal written
        if output is not None and time.monotonic() > written + _SECONDS:
            _write(table, output)
            written = time.monotonic()

    try:
        yield keep
    finally:
        if output is not None and table:
            _write(table, output)


def _is_json(path):
    return Path(path).suffix.lower() == ".json"


def _write(table, path):
    rows = list(table.values())
    if not _is_json(path):
        write_rows(rows, path)
        return
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _read(path, made_by):
    """Returns the rows of a table by their videos; none if it is not there."""
    if not Path(path).exists():
        return {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            if _is_json(path):
                rows = json.load(file)
                known = isinstance(rows, list)
            else:
                rows = csv.DictReader(file)
                known = set(_COLUMNS) <= set(rows.fieldnames or ())
            if not known:
                raise ValueError("not a table of these columns")
            rows = [_to_row(row) for row in rows]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`output`={path} holds something else than scores of videos: "
            "give another `output`"
        ) from error
    for row in rows:
        for name, value in made_by.items():
            if row[name] != value:
                raise ValueError(
                    f"`output`={path} was begun with other settings: give the "
                    "same to go on, or another `output`. Received: "
                    f"{name}={value or None} (then {row[name] or None})"
                )
    return {row["video"]: row for row in rows}


def _to_row(row):
    for name in _COLUMNS:
        if not isinstance(row[name], str):
            raise ValueError(name)
    scores = {
        name: float(value)
        for name, value in row.items()
        if name.startswith("score_")
    }
    return {**row, **scores}
