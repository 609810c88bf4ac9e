"""A video or a folder of videos in, scores or segments out."""

import dataclasses
import os
from collections.abc import Collection
from collections.abc import Sequence

from actx_tf.backbones import Backbone
from actx_tf.experiments.video_scores import find_videos
from actx_tf.experiments.video_scores import score_videos
from actx_tf.experiments.video_scores import scores_of_row
from actx_tf.experiments.video_segments import segment_videos
from actx_tf.models import PairedModel
from actx_tf.prediction.video_model import MEMORY
from actx_tf.segments import THRESHOLDS
from actx_tf.segments import Segment


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model answers to videos.

    Attributes:
        scores: Of each video, by its path, the score of each class, by its
            name; empty where segments were asked for.
        segments: Of each video its segments, the surest first; empty where
            scores were asked for.
        failed: Of each video that cannot be read, the reason.
    """

    scores: dict[str, dict[str, float]]
    segments: dict[str, list[Segment]]
    failed: dict[str, str]


def predict(
    path: str | os.PathLike,
    model: PairedModel | str | os.PathLike,
    output: str | os.PathLike | None = None,
    *,
    segments: bool = False,
    backbone: Backbone | str | os.PathLike | None = None,
    window: float | None = None,
    overlap: float = 0.5,
    background: Collection[str] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    contrast: float = 1.0,
    start: float = 0.0,
    end: float | None = None,
    memory: float = MEMORY,
    context: str | None = None,
    progress: bool = False,
) -> Predictions:
    """Says what a video shows, or each video of a folder, as `actx predict`.

    Each video is answered as a whole, clips of the kind that the model was
    trained on; or in segments: what happens from when to when in a long one.

    Args:
        path: Path of a video file, or of a folder, with all its folders.
        model: As in `predict_video`; its path, if there is an `output`.
        output: Path of a file to write as it goes. It is whole whenever it is
            looked at. The same call goes on with it, and answers again the
            videos alone whose file has another size. Scores: CSV with a row a
            video, of `video`, `label`, `score_<class>` and what made them; the
            same as JSON, if it ends in `.json`. Segments: see `write_segments`;
            `<output>.progress` is written beside it. Defaults to none.
        segments: Whether to find segments. Defaults to `False`: scores.
        backbone: As in `predict_video`. Defaults to the model's own.
        window: Of segments: as in `VideoPredictor.timeline`.
        overlap: Of segments: as in `VideoPredictor.timeline`. Defaults to
            `0.5`.
        background: Of segments: names of classes that are nothing to find.
            Defaults to those of the model.
        thresholds: Of segments: as in `find_segments`.
        contrast: Of segments: as in `find_segments`. Defaults to `1.0`.
        start: As in `predict_video`. Defaults to `0.0`.
        end: As in `predict_video`. Defaults to the end of the file.
        memory: As in `predict_video`. Defaults to `1.0`.
        context: As in `predict_video`. Defaults to `None`.
        progress: Whether to show progress bars. Defaults to `False`.

    Returns:
        `Predictions`.

    Raises:
        FileNotFoundError: If there is no video, or no model.
        TypeError: If the backbone does not say what it sees.
        ValueError: If an argument is wrong.

    Example:

    ```python
    found = actx_tf.predict("cctv", "runs/mine/saved_model", segments=True)
    for video, entries in found.segments.items():
        print(video, entries[:1])
    ```
    """
    videos = find_videos(path)
    if segments:
        found, failed = segment_videos(
            videos,
            model,
            output,
            backbone=backbone,
            window=window,
            overlap=overlap,
            background=background,
            thresholds=thresholds,
            contrast=contrast,
            start=start,
            end=end,
            memory=memory,
            context=context,
            progress=progress,
        )
        return Predictions({}, found, dict(failed))
    rows, failed = score_videos(
        videos,
        model,
        output,
        backbone=backbone,
        start=start,
        end=end,
        memory=memory,
        context=context,
        progress=progress,
    )
    return Predictions(
        {row["video"]: scores_of_row(row) for row in rows}, {}, dict(failed)
    )
