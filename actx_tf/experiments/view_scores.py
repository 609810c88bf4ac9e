"""What a model answers to clips of video files, in one view of each or more."""

import functools
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from actx_tf.backbones.backbone import Backbone
from actx_tf.backbones.description import BackboneDescription
from actx_tf.data.augmentation import View
from actx_tf.data.extraction import FeatureExtractor
from actx_tf.data.extraction import progress_bar
from actx_tf.data.video_clips import VideoClip
from actx_tf.data.video_clips import iterate_stretch
from actx_tf.export.trained_model import answer
from actx_tf.models import PairedModel

_SHARE = 7 / 8  # of the sides of a frame, in several spatial views
_MEMORY = 1.0  # GiB


def view_scores(
    model: PairedModel,
    videos: Sequence[VideoClip],
    *,
    crop_frames: int = 64,
    temporal_views: int = 1,
    spatial_views: int = 1,
    progress: bool = True,
) -> np.ndarray:
    """Returns the scores of clips, each a mean over its views.

    Args:
        model: A trained model with its backbone.
        videos: The clips.
        crop_frames: Frames of a temporal view, if there are several. Defaults
            to `64`.
        temporal_views: Stretches of the clip, evenly over it; `1` is the clip
            as a whole. Defaults to `1`.
        spatial_views: Parts of the frames, along their longer side; `1` is
            the whole frame. Defaults to `1`: with both, what `predict_video`
            answers.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        `(clips, classes)`.

    Raises:
        VideoError: If a video cannot be read.
    """
    assert isinstance(model.backbone, Backbone)
    extractor = FeatureExtractor(model.backbone, memory=_MEMORY)
    rows = []
    with progress_bar(len(videos), 0, progress) as bar:
        for video in videos:
            views = _views(
                video,
                extractor.description,
                crop_frames,
                temporal_views,
                spatial_views,
            )
            scores = []
            for frames, count in views:
                features, _ = extractor(frames, functools.partial(int, count))
                scores.append(answer(model, features)["scores"])
            rows.append(np.mean(scores, axis=0))
            bar.update()
    return np.stack(rows)


def _views(
    video: VideoClip,
    description: BackboneDescription,
    crop_frames: int,
    temporal_views: int,
    spatial_views: int,
) -> Iterator[tuple[Iterator[np.ndarray], int]]:
    """Yields the frames of each view, and their number."""
    count = video.frames
    if temporal_views > 1 and description.num_frames is None:
        count = min(crop_frames, count)
    firsts = np.linspace(0, video.frames - count, temporal_views)
    for first in sorted({*np.rint(firsts).astype(int).tolist()}):
        for view in _parts(video, spatial_views):
            frames = iterate_stretch(video, description, first, count, view)
            yield frames, count


def _parts(video, count):
    """Parts of the frames, evenly along the longer side."""
    if count == 1:
        return [None]
    places = np.linspace(0, 1, count).tolist()
    if video.width >= video.height:
        return [View(_SHARE, (place, 0.5)) for place in places]
    return [View(_SHARE, (0.5, place)) for place in places]
