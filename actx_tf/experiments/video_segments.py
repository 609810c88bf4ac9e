"""Files of the segments of many videos, which are gone on with."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actx_tf.backbones import Backbone
from actx_tf.data.extraction import progress_bar
from actx_tf.data.segment_files import write_segments
from actx_tf.data.video import VideoError
from actx_tf.data.video_files import NOT_UTF8
from actx_tf.data.video_files import is_utf8
from actx_tf.experiments.video_scores import describe_making
from actx_tf.experiments.video_scores import file_size
from actx_tf.experiments.video_scores import videos_left
from actx_tf.models import PairedModel
from actx_tf.prediction import Timeline
from actx_tf.prediction import VideoPredictor
from actx_tf.prediction.video_model import MEMORY
from actx_tf.segments import THRESHOLDS
from actx_tf.segments import Segment
from actx_tf.segments import find_segments

_SECONDS = 5.0  # between two writings of the file


def segment_videos(
    videos: Sequence[str | os.PathLike],
    model: PairedModel | str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    backbone: Backbone | str | os.PathLike | None = None,
    window: float | None = None,
    overlap: float = 0.5,
    background: Collection[str] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    contrast: float = 1.0,
    start: float = 0.0,
    end: float | None = None,
    memory: float = MEMORY,
    compute_dtype: str = "float32",
    context: str | None = None,
    save: Callable[[Path, Timeline, list[Segment]], Any] | None = None,
    progress: bool = True,
) -> tuple[dict[str, list[Segment]], list[tuple[str, str]]]:
    """Finds what happens in videos, from when to when, and writes it to a file.

    The file is CSV, ActivityNet's results, or COCO's JSON for videos, as its
    name says (`write_segments`). It is whole whenever it is looked at. Beside
    it, `<output>.progress` notes each video that is done, and what made it: so
    the same call goes on after an interruption, and what is there is not made
    again, unless the video's file has another size.

    Args:
        videos: Paths of the videos.
        model: As in `predict_video`; its path, if there is an `output`.
        output: Path of the file. Defaults to none.
        backbone: As in `predict_video`. Defaults to the model's own.
        window: As in `VideoPredictor.timeline`. Defaults to `None`.
        overlap: As in `VideoPredictor.timeline`. Defaults to `0.5`.
        background: As in `Timeline.segments`. Defaults to the model's.
        thresholds: As in `find_segments`.
        contrast: As in `find_segments`. Defaults to `1.0`.
        start: As in `predict_video`. Defaults to `0.0`.
        end: As in `predict_video`. Defaults to the end of the file.
        memory: As in `predict_video`. Defaults to `1.0`.
        compute_dtype: As in `predict_video`. Defaults to `"float32"`.
        context: As in `predict_video`. Defaults to `None`.
        save: Called with each video, its `Timeline` and its segments. Defaults
            to none.
        progress: Whether to show progress bars. Defaults to `True`.

    Returns:
        The segments of each video, those that were there among them; and the
        videos that cannot be read, as (path, message).

    Raises:
        FileNotFoundError: If there is no model.
        TypeError: If the backbone does not say what it sees.
        ValueError: If an argument is wrong, or the file is of another model or
            other settings.
    """
    paths = [str(video) for video in videos]
    made_by = describe_making(
        model, output, start, end, compute_dtype, context
    ) | {
        "window": window,
        "overlap": overlap,
        "background": None if background is None else sorted(background),
        "thresholds": [float(level) for level in thresholds],
        "contrast": contrast,
    }
    done: dict[str, dict[str, Any]] = {}
    if output is not None:
        _check_name(output)
        done = _read(output, made_by)
    left = videos_left(paths, done)
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
        # What is wrong is refused before the first video is read.
        nothing = np.zeros((0, len(predictor.class_names)))
        find_segments(
            nothing,
            np.zeros(1),
            predictor.class_names,
            background if predictor.class_names and background else (),
            thresholds,
            contrast=contrast,
        )
        several = progress and len(paths) > 1
        bar = progress_bar(len(paths), len(paths) - len(left), several)
        with bar, _noted(output, made_by, done, predictor) as note:
            for video in left:
                try:
                    if not is_utf8(video):
                        raise VideoError(NOT_UTF8)
                    timeline = predictor.timeline(
                        video,
                        window=window,
                        overlap=overlap,
                        start=start,
                        end=end,
                    )
                    segments = timeline.segments(
                        background=background,
                        thresholds=thresholds,
                        contrast=contrast,
                    )
                    if save is not None:
                        save(Path(video), timeline, segments)
                except VideoError as error:
                    failed.append((video, str(error)))
                    segments = None
                note(video, segments)
                bar.update()
    return {
        video: done[video]["segments"] for video in paths if video in done
    }, failed


def _check_name(output):
    if Path(output).suffix.lower() not in (".csv", ".json"):
        raise ValueError(
            "`output` must end in .csv, .json (ActivityNet's results) or "
            f".coco.json. Received: output={output}"
        )


@contextlib.contextmanager
def _noted(output, made_by, done, predictor):
    """Yields a function that notes what a video has, or that it failed.

    The file is written now and then, and at the end, after an exception too.
    """
    if output is None:

        def note(video, segments):
            done.pop(video, None)
            if segments is not None:
                done[video] = {"segments": segments}

        yield note
        return
    about = predictor.description.name
    written = time.monotonic()
    try:
        with open(_progress_path(output), "a", encoding="utf-8") as journal:

            def append(entry):
                journal.write(json.dumps(entry) + "\n")
                journal.flush()
                os.fsync(journal.fileno())

            if not journal.tell():
                append(made_by)

            def note(video, segments):
                nonlocal written
                if segments is None and video not in done:
                    return
                done.pop(video, None)  # of another file of this name
                entry = {"video": video, "bytes": file_size(video)}
                if segments is not None:
                    done[video] = {**entry, "segments": segments}
                append({**entry, "segments": segments and _to_rows(segments)})
                if time.monotonic() > written + _SECONDS:
                    _write(output, done, about)
                    written = time.monotonic()

            yield note
    finally:
        if done or os.path.exists(output):
            _write(output, done, about)
        else:  # nothing came of it
            os.unlink(_progress_path(output))


def _write(output, done, about):
    segments = {video: entry["segments"] for video, entry in done.items()}
    write_segments(output, segments, about)


def _said(value):
    return None if value == "" else value  # no end is ""


def _to_rows(segments):
    return [[x.start, x.end, x.label, x.score] for x in segments]


def _progress_path(output):
    return Path(f"{output}.progress")


def _read(output, made_by):
    """Returns what is done, by video; nothing if the file is new.

    What a kill left of a last line is cut off.
    """
    path = _progress_path(output)
    content = path.read_bytes() if path.exists() else b""
    content = content[: content.rfind(b"\n") + 1]
    if not content:  # it was killed before it noted anything
        if Path(output).exists():
            raise ValueError(
                f"`output`={output} is there, and not what made it ({path}): "
                "give another `output`"
            )
        path.unlink(missing_ok=True)
        return {}
    done: dict[str, dict[str, Any]] = {}
    try:
        before, *entries = map(json.loads, content.splitlines())
        changed = [x for x in made_by if before[x] != made_by[x]]
        for entry in entries:
            done.pop(entry["video"], None)
            if entry["segments"] is not None:
                segments = [Segment(*row) for row in entry["segments"]]
                done[entry["video"]] = {**entry, "segments": segments}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} holds something else than the progress of `output`: give "
            "another `output`"
        ) from error
    if not entries and not Path(output).exists():
        path.unlink()
        return {}
    for name in changed:
        raise ValueError(
            f"`output`={output} was begun with other settings: give the same "
            "to go on, or another `output`. Received: "
            f"{name}={_said(made_by[name])} (then {_said(before[name])})"
        )
    os.truncate(path, len(content))
    return done
