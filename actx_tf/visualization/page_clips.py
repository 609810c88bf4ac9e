"""Clips for the page: of a feature store, and of the built-in set."""

import functools
import os
from collections.abc import Sequence

from actx_tf.backbones.description import BackboneDescription
from actx_tf.backbones.description import location_centers
from actx_tf.data import synthetic
from actx_tf.data.clip_index import Clip
from actx_tf.data.feature_store import FeatureStore
from actx_tf.data.shown_frames import read_shown_frames
from actx_tf.data.video import video_duration
from actx_tf.export.served_model import check_backbone
from actx_tf.export.trained_model import ExportedModel
from actx_tf.export.trained_model import answer
from actx_tf.export.trained_model import check_features
from actx_tf.models.paired_model import PairedModel
from actx_tf.prediction import VideoPrediction
from actx_tf.visualization.page import RUNGS
from actx_tf.visualization.page import Page
from actx_tf.visualization.page import PageClip
from actx_tf.visualization.page import write_page

_MOST_FRAMES = 600  # that are read of a long clip
_BUILT_IN_RATE = 8.0  # frames a second: the built-in set has none


def view_clips(
    model: PairedModel | ExportedModel,
    store: FeatureStore,
    clips: Sequence[Clip],
    path: str | os.PathLike,
    *,
    title: str = "ActX",
    max_megabytes: float = 30.0,
    progress: bool = True,
) -> Page:
    """Writes a page that plays clips with their action and context maps.

    The model is run on the features of the store; frames are read from the
    files that the clips name. Clips that are not in the store, have a class
    that the model does not know, or whose file is missing or broken are left
    out, and the page lists them.

    Args:
        model: A `PairedModel` with maps that has `class_names`, or an
            `ExportedModel` of one.
        store: The features of the clips.
        clips: The clips, in the order of the page.
        path: Path of the page: see `write_page`.
        title: Title of the page. Defaults to `"ActX"`.
        max_megabytes: Largest size of the page, in 10^6 bytes. Defaults to
            `30.0`.
        progress: Whether to show a progress bar. Defaults to `True`.

    Returns:
        A `Page`: what was written, and what was left out.

    Raises:
        ValueError: If the model has no class names, was trained on features of
            another backbone, or no clip is left to show.
        TypeError: If the model has no maps.
        ImportError: If a package for it is not installed.
    """
    _check_model(model)
    check_features(model, store.description, store.path)
    shown, left_out = [], []
    for clip in clips:
        if clip.clip not in store:
            left_out.append((clip.clip, f"not in {store.path}"))
            continue
        several = model.activation == "sigmoid"
        shown.append(
            PageClip(
                clip.clip,
                clip.labels if several else (clip.label,),
                functools.partial(predict_stored, model, store, clip),
            )
        )
    return write_page(
        path,
        shown,
        model.class_names,
        model.activation,
        title=title,
        max_megabytes=max_megabytes,
        left_out=left_out,
        progress=progress,
    )


def built_in_clips(
    model: PairedModel | ExportedModel, split: str = "test", num_clips: int = 50
) -> list[PageClip]:
    """Returns clips of the built-in set, for `write_page`.

    Args:
        model: A `PairedModel` with maps that was trained on the built-in set,
            or an `ExportedModel` of one.
        split: Name of the split. Defaults to `"test"`.
        num_clips: Number of clips. Defaults to `50`.

    Raises:
        ValueError: If there is no such split, or the model was trained on
            features of another backbone.
        TypeError: If the model is neither.
    """
    _check_model(model)
    backbone = synthetic.backbone()
    if isinstance(model, PairedModel):
        check_backbone(backbone, model)
    check_features(model, backbone.description, "the built-in set")
    part = synthetic.make_part(split, num_clips)
    features = backbone.predict(part.videos, verbose=0)
    centers = backbone.description.centers(
        features.shape[1:4], part.videos.shape[1:4]
    )
    return [
        PageClip(
            f"{split} {i}",
            [synthetic.CLASS_NAMES[part.labels[i]]],
            functools.partial(
                _predict,
                model,
                features[i],
                part.videos[i],
                _BUILT_IN_RATE,
                centers,
            ),
        )
        for i in range(num_clips)
    ]


def _check_model(model):
    if not isinstance(model, (PairedModel, ExportedModel)):
        raise TypeError(
            "`model` must be a PairedModel with maps, such as ActX, or an "
            "ExportedModel of one. "
            f"Received: model={model!r:.100}"
        )


def predict_stored(
    model: PairedModel | ExportedModel, store: FeatureStore, clip: Clip
) -> VideoPrediction:
    """Runs a model on a clip's features in a store, and reads its frames.

    Args:
        model: As in `view_clips`.
        store: The features.
        clip: The clip, which the store holds.

    Raises:
        VideoError: If its file cannot be read.
        TypeError: If the model has no maps.
    """
    features = store[clip.clip].astype("float32")
    frames, rate, shape = _read_frames(clip)
    centers = _centers(
        store.description,
        features.shape[:3],
        store.attributes(clip.clip)["frames"],
        *shape,
    )
    return _predict(model, features, frames, rate, centers)


def _predict(model, features, frames, rate, centers):
    answers = answer(model, features)
    if "action_map" not in answers:
        raise TypeError("`model` must have maps. Received: one without")
    return VideoPrediction(
        num_frames=len(frames),
        read_frames=lambda: (frames, rate),
        action_map=answers["action_map"],
        context_map=answers["context_map"],
        centers=centers,
        scores=answers["scores"],
        class_names=model.class_names,
    )


def _centers(
    description: BackboneDescription | None, map_shape, frames, height, width
):
    """Where the locations look in a clip whose frames have this size."""
    if description is None:
        return location_centers(None, map_shape)
    seen = description.seen_size(height, width)
    return description.centers(map_shape, (frames, *seen))


def _read_frames(clip):
    """Returns a clip's frames, made smaller, their rate, and their own size."""
    end = video_duration(clip.file) if clip.end is None else clip.end
    seconds = max(end - clip.start, 1e-3)
    # More than so many a second are never shown.
    longest, _, most = RUNGS[0]
    rate = _MOST_FRAMES / seconds if seconds > _MOST_FRAMES / most else None
    return read_shown_frames(clip.file, longest, frame_rate=rate, **clip.part)
